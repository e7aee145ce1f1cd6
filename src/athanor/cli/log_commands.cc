// athanor log ...
#include <algorithm>
#include <iostream>
#include <map>
#include <set>

#include "athanor/base/log.h"
#include "athanor/base/progress.h"
#include "athanor/cli/commands.h"
#include "athanor/cli/options_cli.h"
#include "athanor/datasets/log.h"
#include "athanor/datasets/log_check.h"
#include "athanor/datasets/log_view.h"
#include "athanor/media/draw.h"

namespace athanor {
namespace {

namespace fs = std::filesystem;

constexpr const char* kDataset =
    "data set: nuScenes, Argoverse 2, KITTI, or an exported key frame (told apart by content)";

double DurationOf(const Log& log) {
  if (log.frames.empty()) return 0;
  return 1e-6 * static_cast<double>(log.frames.back().time_us - log.frames.front().time_us);
}

// What all logs of a data set hold together.
struct Totals {
  struct Sensor {
    std::string kind, size;
    int64_t readings = 0, logs = 0;
  };
  struct Category {
    int64_t boxes = 0, tracks = 0, points = 0;
    bool has_points = false;  // KITTI counts none
  };
  struct Tag {
    int64_t count = 0;
    double seconds = 0;
  };
  std::vector<std::string> channels;  // in order of appearance
  std::map<std::string, Sensor> sensors;
  std::map<std::string, Category> categories;
  std::map<std::string, Tag> tags;
  int64_t frames = 0, boxes = 0;
  double seconds = 0;

  void Add(const Log& log) {
    frames += static_cast<int64_t>(log.frames.size());
    seconds += DurationOf(log);
    for (const LogSensor& sensor : log.sensors) {
      if (!sensors.contains(sensor.channel)) channels.push_back(sensor.channel);
      Sensor& total = sensors[sensor.channel];
      total.kind = SensorKindName(sensor.kind);
      if (sensor.kind == SensorKind::kCamera) {
        total.size = StrCat(sensor.camera.width_px, "x", sensor.camera.height_px);
      }
      ++total.logs;
    }
    for (const LogReading& reading : log.readings) {
      ++sensors[log.sensors[reading.sensor].channel].readings;
    }
    std::vector<bool> seen(log.tracks.size(), false);
    for (const LogFrame& frame : log.frames) {
      boxes += static_cast<int64_t>(frame.boxes.size());
      for (const LogBox& box : frame.boxes) {
        Category& category = categories[log.tracks[box.track].category];
        ++category.boxes;
        category.tracks += !seen[box.track];
        category.points += std::max(box.num_lidar_points, 0);
        category.has_points |= box.num_lidar_points >= 0;
        seen[box.track] = true;
      }
    }
    for (const LogTag& tag : log.tags) {
      ++tags[tag.name].count;
      tags[tag.name].seconds += 1e-6 * static_cast<double>(tag.end_us - tag.begin_us);
    }
  }
};

void PrintTotals(const Totals& totals) {
  std::vector<std::vector<std::string>> rows = {{"sensor", "kind", "pixels", "readings"}};
  for (const std::string& channel : totals.channels) {
    const Totals::Sensor& sensor = totals.sensors.at(channel);
    rows.push_back(
        {channel, sensor.kind, sensor.size.empty() ? "-" : sensor.size, Grouped(sensor.readings)});
  }
  std::cout << "\n" << Table(rows);
  if (!totals.categories.empty()) {
    std::vector<std::pair<int64_t, std::string>> order;
    for (const auto& [name, category] : totals.categories)
      order.emplace_back(-category.boxes, name);
    std::sort(order.begin(), order.end());
    rows = {{"category", "boxes", "tracks", "LiDAR points"}};
    for (const auto& [count, name] : order) {
      const Totals::Category& category = totals.categories.at(name);
      rows.push_back({name, Grouped(category.boxes), Grouped(category.tracks),
                      category.has_points ? Grouped(category.points) : "-"});
    }
    std::cout << "\n" << Table(rows);
  }
  if (!totals.tags.empty()) {
    rows = {{"tag", "times", "seconds"}};
    for (const auto& [name, tag] : totals.tags) {
      rows.push_back({name, Grouped(tag.count), Fixed(tag.seconds, 1)});
    }
    std::cout << "\n" << Table(rows);
  }
}

}  // namespace

CommandAction SetUpLogInfo(CLI::App& app) {
  struct Arguments {
    fs::path path;
    int list = 20;
  };
  auto arguments = std::make_shared<Arguments>();
  AddPath(app, "PATH", &arguments->path, kDataset)->required();
  app.add_option("--list", arguments->list, "logs to list one by one (default: 20)")
      ->check(CLI::Range(0, 1000000).description(""))
      ->type_name("N");
  return [arguments] {
    const auto logs = OpenLogs(arguments->path);
    const int count = static_cast<int>(logs->names().size());
    Totals totals;
    std::vector<std::vector<std::string>> rows = {
        {"log", "frames", "seconds", "boxes", "tracks", "tags", "place"}};
    {
      Progress progress("reading logs", count);
      for (int i = 0; i < count; ++i) {
        const Log log = logs->Read(i);
        const int64_t boxes_before = totals.boxes;
        totals.Add(log);
        if (i < arguments->list) {
          rows.push_back({log.name, Grouped(log.frames.size()), Fixed(DurationOf(log), 1),
                          Grouped(totals.boxes - boxes_before), Grouped(log.tracks.size()),
                          Grouped(log.tags.size()), log.location.empty() ? "-" : log.location});
        }
        progress.Update(i + 1);
      }
    }
    std::cout << "data set   " << arguments->path.string() << " (" << logs->format()
              << ")\nlogs       " << Grouped(count) << "\nframes     " << Grouped(totals.frames)
              << "\nseconds    " << Fixed(totals.seconds, 1) << "\nboxes      "
              << Grouped(totals.boxes) << "\n\n"
              << Table(rows);
    if (count > arguments->list) std::cout << "and " << count - arguments->list << " more\n";
    PrintTotals(totals);
    return 0;
  };
}

CommandAction SetUpLogCheck(CLI::App& app) {
  struct Arguments {
    fs::path path;
    int64_t max_faults = 100;
  };
  auto arguments = std::make_shared<Arguments>();
  AddPath(app, "PATH", &arguments->path, kDataset)->required();
  app.add_option("--max-faults", arguments->max_faults, "faults to print (default: 100)")
      ->check(CLI::Range(int64_t{0}, int64_t{1000000000}).description(""))
      ->type_name("N");
  return [arguments] {
    int64_t printed = 0;
    std::unique_ptr<Progress> progress;
    const LogCheckResult result = CheckLogs(
        arguments->path,
        [&](const std::string& fault) {
          if (printed++ < arguments->max_faults) std::cout << fault << "\n";
        },
        [&](int64_t done, int64_t total) {
          if (progress == nullptr) progress = std::make_unique<Progress>("checking logs", total);
          progress->Update(done);
        });
    progress.reset();
    std::cout << "checked    " << Grouped(result.logs) << " logs, " << Grouped(result.frames)
              << " frames, " << Grouped(result.files) << " files, " << Grouped(result.boxes)
              << " boxes\npoints     " << Grouped(result.points_counted) << " counted in boxes, "
              << Grouped(result.points_annotated) << " annotated\nfaults     "
              << Grouped(result.faults) << "\n";
    return result.faults == 0 ? 0 : 1;
  };
}

CommandAction SetUpLogView(CLI::App& app) {
  struct Arguments {
    fs::path path, out;
    std::string log;
    std::vector<int> frames;
    LogViewOptions options;
  };
  auto arguments = std::make_shared<Arguments>();
  AddPath(app, "PATH", &arguments->path, kDataset)->required();
  app.add_option("--log", arguments->log, "name of the log, or its number from 0 (default: 0)")
      ->type_name("TEXT");
  app.add_option("--frame", arguments->frames,
                 "frames to show, from 0, one below the other (default: the middle one, or the "
                 "nearest to it with files)")
      ->type_name("N ...")
      ->expected(1, 100);
  AddPath(app, "-o,--out", &arguments->out, "picture to write, .png or .jpg")->required();
  OptionFlags flags(app, Describe(arguments->options), false, "Options of the picture");
  return [arguments, flags]() mutable {
    flags.Apply();
    const auto logs = OpenLogs(arguments->path);
    const Log log =
        logs->Read(FindLog(*logs, arguments->path, arguments->log.empty() ? "0" : arguments->log));
    std::vector<int> frames = arguments->frames;
    if (frames.empty()) frames = {FrameToShow(log)};
    std::vector<Image> sheets;
    int width = 0, height = 0;
    for (const int frame : frames) {
      sheets.push_back(DrawFrame(log, frame, arguments->options));
      width = std::max(width, sheets.back().width);
      height += sheets.back().height;
    }
    Image all(width, height, 3);
    int y = 0;
    for (const Image& sheet : sheets) {
      Paste(&all, sheet, 0, y);
      y += sheet.height;
    }
    WriteImage(arguments->out, all);
    std::cout << "picture    " << arguments->out.string() << " (" << width << "x" << height
              << ")\n";
    return 0;
  };
}

}  // namespace athanor
