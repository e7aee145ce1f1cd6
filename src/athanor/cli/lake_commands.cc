// athanor lake ...
#include <algorithm>
#include <chrono>
#include <iostream>

#include "athanor/base/log.h"
#include "athanor/base/progress.h"
#include "athanor/cli/commands.h"
#include "athanor/cli/options_cli.h"
#include "athanor/lake/lake.h"
#include "athanor/lake/mirror.h"

namespace athanor {
namespace {

namespace fs = std::filesystem;

constexpr size_t kShownIdDigits = 12;

std::string Megabytes(int64_t bytes) { return Fixed(1e-6 * static_cast<double>(bytes), 1) + " MB"; }

// One bar for each data set, with what was read and how fast.
class IngestBar {
 public:
  void Update(const IngestProgress& now) {
    if (bar_ == nullptr || now.source != source_) {
      bar_.reset();  // the old line ends before the new one begins
      source_ = now.source;
      bar_ = std::make_unique<Progress>("ingesting " + source_, now.total);
    }
    const double seconds =
        std::chrono::duration<double>(std::chrono::steady_clock::now() - start_).count();
    bar_->Update(
        now.logs,
        StrCat(Megabytes(now.bytes), ", ",
               Fixed(1e-6 * static_cast<double>(now.bytes) / std::max(seconds, 1e-3), 0), " MB/s"));
  }

 private:
  const std::chrono::steady_clock::time_point start_ = std::chrono::steady_clock::now();
  std::string source_;
  std::unique_ptr<Progress> bar_;
};

CLI::Option* AddLake(CLI::App& app, fs::path* lake) {
  return AddPath(app, "LAKE", lake, "folder of the lake")->required();
}

}  // namespace

CommandAction SetUpLakeIngest(CLI::App& app) {
  struct Arguments {
    std::vector<std::string> sources;
    fs::path lake;
    LakeOptions options;
    IngestOptions ingest;
    int64_t shard_megabytes = 1024;
  };
  auto arguments = std::make_shared<Arguments>();
  app.add_option(
         "SOURCES", arguments->sources,
         "data sets: nuScenes, Argoverse 2, KITTI, a lake, or folders that are being filled "
         "with them")
      ->required()
      ->type_name("PATH ...");
  AddPath(app, "-o,--out", &arguments->lake, "folder of the lake; made when missing")->required();
  app.add_flag("--partial", arguments->ingest.partial,
               "take logs, too, of which files are missing (data sets shipped in parts)");
  app.add_option("--settle", arguments->ingest.settle_s,
                 "a source written to within so many seconds is not called bad yet (default: 10)")
      ->check(CLI::Range(0.0, 1e9).description(""))
      ->type_name("SECONDS");
  app.add_option("--shard-size", arguments->shard_megabytes,
                 "a shard is closed once it is larger, MB (default: 1024)")
      ->check(CLI::Range(int64_t{1}, int64_t{1} << 20).description(""))
      ->type_name("MB");
  return [arguments] {
    arguments->options.shard_bytes = arguments->shard_megabytes << 20;
    Lake lake(arguments->lake, Lake::Mode::kCreate, arguments->options);
    const auto start = std::chrono::steady_clock::now();
    IngestReport total;
    for (const std::string& source : arguments->sources) {
      IngestBar bar;
      IngestOptions options = arguments->ingest;
      options.progress = [&](const IngestProgress& now) { bar.Update(now); };
      const IngestReport report = lake.IngestSource(source, options);
      total.added += report.added;
      total.present += report.present;
      total.bytes += report.bytes;
      total.stored_bytes += report.stored_bytes;
      total.waiting.insert(total.waiting.end(), report.waiting.begin(), report.waiting.end());
      total.dead.insert(total.dead.end(), report.dead.begin(), report.dead.end());
    }
    const double seconds =
        std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
    for (const std::string& line : total.waiting) LogInfo(line);
    for (const std::string& line : total.dead) LogWarning(line);
    std::cout << "lake       " << arguments->lake.string() << "\nadded      "
              << Grouped(total.added) << " clips, " << Megabytes(total.stored_bytes)
              << "\npresent    " << Grouped(total.present) << " clips\nread       "
              << Megabytes(total.bytes) << " in " << Fixed(seconds, 2) << " s, "
              << Fixed(1e-6 * static_cast<double>(total.bytes) / std::max(seconds, 1e-6), 0)
              << " MB/s\nwaiting    " << total.waiting.size() << "\nrefused    "
              << total.dead.size() << "\n";
    return total.dead.empty() ? 0 : 1;
  };
}

CommandAction SetUpLakeInfo(CLI::App& app) {
  struct Arguments {
    fs::path lake;
    int list = 20;
  };
  auto arguments = std::make_shared<Arguments>();
  AddLake(app, &arguments->lake);
  app.add_option("--list", arguments->list, "clips to list one by one (default: 20)")
      ->check(CLI::Range(0, 1000000000).description(""))
      ->type_name("N");
  return [arguments] {
    Lake lake(arguments->lake);
    const std::vector<LakeClip> clips = lake.Clips();
    std::vector<std::vector<std::string>> rows = {
        {"clip", "name", "frames", "boxes", "readings", "MB", "seconds", "place"}};
    int64_t frames = 0, boxes = 0, readings = 0, bytes = 0, stored = 0;
    for (const LakeClip& clip : clips) {
      frames += clip.frames;
      boxes += clip.boxes;
      readings += clip.readings;
      bytes += clip.bytes;
      if (static_cast<int>(rows.size()) > arguments->list) continue;
      rows.push_back({clip.id.substr(0, kShownIdDigits), clip.name, Grouped(clip.frames),
                      Grouped(clip.boxes), Grouped(clip.readings),
                      Fixed(1e-6 * static_cast<double>(clip.bytes), 1),
                      Fixed(1e-6 * static_cast<double>(clip.end_us - clip.begin_us), 1),
                      clip.location.empty() ? "-" : clip.location});
    }
    const std::vector<LakeShard> shards = lake.catalog().Shards();
    for (const LakeShard& shard : shards) stored += shard.bytes;
    std::cout << "lake       " << arguments->lake.string()
              << (lake.is_mirror() ? ", a mirror of " + ReadMirrorOptions(lake.path()).store : "")
              << "\nclips      " << Grouped(std::ssize(clips)) << "\nframes     " << Grouped(frames)
              << "\nboxes      " << Grouped(boxes) << "\nreadings   " << Grouped(readings) << ", "
              << Megabytes(bytes) << "\nshards     " << shards.size() << ", " << Megabytes(stored)
              << "\n\n"
              << Table(rows);
    if (std::ssize(clips) > arguments->list) {
      std::cout << "and " << std::ssize(clips) - arguments->list << " more\n";
    }
    const std::vector<DeadLetter> letters = lake.catalog().DeadLetters();
    if (!letters.empty()) std::cout << "\nrefused\n";
    for (const DeadLetter& letter : letters) {
      std::cout << letter.source << (letter.name.empty() ? "" : ": log " + letter.name) << ": "
                << letter.reason << "\n";
    }
    return 0;
  };
}

CommandAction SetUpLakeMirror(CLI::App& app) {
  struct Arguments {
    fs::path out;
    MirrorOptions options;
  };
  auto arguments = std::make_shared<Arguments>();
  app.add_option("STORE", arguments->options.store,
                 "the lake: http://HOST:PORT/LAKE of a web server that serves its folder, or a "
                 "folder on a slow disk")
      ->required()
      ->type_name("URL|PATH");
  AddPath(app, "-o,--out", &arguments->out, "folder of the mirror; one that is there is renewed")
      ->required();
  OptionList options = Describe(arguments->options);
  std::erase_if(options.options(), [](const Option& option) { return option.name == "store"; });
  OptionFlags flags(app, options, false, "Cache");
  app.footer(
      "Every command that reads a lake reads the mirror: what it needs is fetched once, checked, "
      "and kept. The same command again sees the clips that came in meanwhile.");
  return [arguments, flags]() mutable {
    flags.Apply();
    MirrorLake(arguments->out, arguments->options);
    Lake lake(arguments->out);
    std::cout << "mirror     " << arguments->out.string() << " of " << arguments->options.store
              << "\nclips      " << Grouped(std::ssize(lake.Clips())) << "\n";
    return 0;
  };
}

CommandAction SetUpLakeVerify(CLI::App& app) {
  auto path = std::make_shared<fs::path>();
  AddLake(app, path.get());
  return [path] {
    Lake lake(*path);
    std::unique_ptr<Progress> progress;
    const LakeReport report = lake.Verify([&](int64_t done, int64_t total) {
      if (progress == nullptr) progress = std::make_unique<Progress>("verifying bytes", total);
      progress->Update(done);
    });
    progress.reset();
    for (const std::string& fault : report.faults) std::cout << fault << "\n";
    std::cout << "verified   " << Grouped(report.clips) << " clips, " << Grouped(report.payloads)
              << " readings, " << Grouped(report.blocks) << " blocks in " << report.shards
              << " shards, " << Megabytes(report.bytes) << "\nfaults     " << report.faults.size()
              << "\n";
    return report.faults.empty() ? 0 : 1;
  };
}

CommandAction SetUpLakeRemove(CLI::App& app) {
  struct Arguments {
    fs::path lake;
    std::vector<std::string> ids;
  };
  auto arguments = std::make_shared<Arguments>();
  AddLake(app, &arguments->lake);
  app.add_option("IDS", arguments->ids, "clips, by the first digits of their ids")
      ->required()
      ->type_name("ID ...");
  return [arguments] {
    Lake lake(arguments->lake, Lake::Mode::kWrite);
    std::vector<std::string> ids;  // all of them found before the first goes
    for (const std::string& prefix : arguments->ids) ids.push_back(lake.FindId(prefix));
    for (const std::string& id : ids) {
      lake.Remove(id);
      std::cout << "removed    " << id << "\n";
    }
    return 0;
  };
}

CommandAction SetUpLakeGc(CLI::App& app) {
  auto path = std::make_shared<fs::path>();
  AddLake(app, path.get());
  return [path] {
    Lake lake(*path, Lake::Mode::kWrite);
    const GarbageReport report = lake.CollectGarbage();
    for (const std::string& fault : report.faults) LogWarning(fault);
    std::cout << "freed      " << Megabytes(report.bytes_freed) << "\nshards     "
              << report.shards_removed << " removed, " << Grouped(report.blocks_kept)
              << " blocks kept\n";
    return report.faults.empty() ? 0 : 1;
  };
}

CommandAction SetUpLakeExport(CLI::App& app) {
  struct Arguments {
    fs::path lake, out;
    std::vector<std::string> clips;
  };
  auto arguments = std::make_shared<Arguments>();
  AddLake(app, &arguments->lake);
  AddPath(app, "OUT", &arguments->out, "folder of the data set to write")->required();
  app.add_option("--clip", arguments->clips,
                 "clips, by the first digits of their ids (default: all)")
      ->type_name("ID ...");
  return [arguments] {
    Lake lake(arguments->lake);
    std::vector<std::string> ids;
    for (const std::string& prefix : arguments->clips) ids.push_back(lake.FindId(prefix));
    if (arguments->clips.empty()) {
      for (const LakeClip& clip : lake.Clips()) ids.push_back(clip.id);
    }
    std::unique_ptr<Progress> progress;
    lake.ExportNuscenes(arguments->out, ids, [&](int64_t done, int64_t total) {
      if (progress == nullptr) progress = std::make_unique<Progress>("exporting", total);
      progress->Update(done);
    });
    progress.reset();
    std::cout << "data set   " << arguments->out.string() << " (nuscenes)\nlogs       "
              << ids.size() << "\n";
    return 0;
  };
}

}  // namespace athanor
