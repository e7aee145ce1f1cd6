#include "athanor/datasets/nuscenes_reader.h"

#include <algorithm>
#include <cmath>
#include <fstream>
#include <numeric>

#include "athanor/base/error.h"
#include "athanor/base/files.h"
#include "athanor/datasets/nuscenes_tables.h"
#include "athanor/datasets/text_lines.h"

namespace athanor {
namespace {

namespace fs = std::filesystem;

// Rows by what they belong to: the rows of group g are rows[begin[g]] to rows[begin[g + 1] - 1], in
// the order of the table.
struct Groups {
  std::vector<int> begin, rows;

  template <typename GroupOf>
  Groups(int num_groups, int num_rows, GroupOf group_of)
      : begin(num_groups + 1, 0), rows(num_rows) {
    for (int i = 0; i < num_rows; ++i) ++begin[group_of(i) + 1];
    std::partial_sum(begin.begin(), begin.end(), begin.begin());
    std::vector<int> next(begin.begin(), begin.end() - 1);
    for (int i = 0; i < num_rows; ++i) rows[next[group_of(i)]++] = i;
  }
  std::vector<int> Of(int group) const {
    return {rows.begin() + begin[group], rows.begin() + begin[group + 1]};
  }
};

class NuscenesLogs : public LogDataset {
 public:
  NuscenesLogs(const std::string& where, const fs::path& root, NuscenesTables tables)
      : where_(where),
        root_(root),
        t_(std::move(tables)),
        samples_of_scene_(static_cast<int>(t_.scenes.size()), static_cast<int>(t_.samples.size()),
                          [&](int i) { return t_.samples[i].scene; }),
        data_of_scene_(static_cast<int>(t_.scenes.size()), static_cast<int>(t_.data.size()),
                       [&](int i) { return t_.samples[t_.data[i].sample].scene; }),
        boxes_of_sample_(static_cast<int>(t_.samples.size()),
                         static_cast<int>(t_.annotations.size()),
                         [&](int i) { return t_.annotations[i].sample; }) {
    for (const NuscenesTables::Scene& scene : t_.scenes) names_.push_back(scene.name);
  }

  const std::string& format() const override { return format_; }
  const std::vector<std::string>& names() const override { return names_; }

  Log Read(int index) const override {
    ATHANOR_CHECK(index >= 0 && index < static_cast<int>(names_.size()), where_,
                  ": expected a scene of 0 to ", names_.size(), " (excluded), found ", index);
    const NuscenesTables::Scene& scene = t_.scenes[index];
    Log log;
    log.source = where_;
    log.dataset = format_;
    log.name = scene.name;
    log.description = scene.description;
    log.location = t_.logs[scene.log].location;
    log.vehicle = t_.logs[scene.log].vehicle;
    const std::vector<int> frame_rows = ReadFrames(index, log);
    ReadReadings(index, frame_rows, log);
    const std::vector<int> instances = ReadBoxes(index, frame_rows, log);
    for (const NuscenesTables::Tag& tag : t_.tags) {
      if (tag.scene != index) continue;
      log.tags.push_back({tag.name, tag.instance < 0 ? -1 : PlaceOf(instances, tag.instance),
                          tag.begin_us, tag.end_us});
    }
    return log;
  }

 private:
  static int PlaceOf(const std::vector<int>& sorted, int value) {
    const auto found = std::lower_bound(sorted.begin(), sorted.end(), value);
    return found != sorted.end() && *found == value ? static_cast<int>(found - sorted.begin()) : -1;
  }

  // Rows of the samples of the scene, in order of time.
  std::vector<int> ReadFrames(int scene, Log& log) const {
    std::vector<int> rows = samples_of_scene_.Of(scene);
    std::stable_sort(rows.begin(), rows.end(),
                     [&](int a, int b) { return t_.samples[a].time_us < t_.samples[b].time_us; });
    for (const int row : rows) {
      LogFrame& frame = log.frames.emplace_back();
      frame.id = t_.pool.TextOf(t_.sample_index.token(row));
      frame.time_us = t_.samples[row].time_us;
    }
    return rows;
  }

  void ReadReadings(int scene, const std::vector<int>& frame_rows, Log& log) const {
    std::vector<int> rows = data_of_scene_.Of(scene);
    // Sensors in the order of their table.
    std::vector<int> sensors;
    for (const int row : rows) sensors.push_back(t_.data[row].calibrated_sensor);
    std::sort(sensors.begin(), sensors.end());
    sensors.erase(std::unique(sensors.begin(), sensors.end()), sensors.end());
    for (const int calibrated_row : sensors) {
      const NuscenesTables::CalibratedSensor& calibrated = t_.calibrated_sensors[calibrated_row];
      const NuscenesTables::Sensor& sensor = t_.sensors[calibrated.sensor];
      ATHANOR_CHECK(log.FindSensor(sensor.channel) == nullptr, where_, ": scene ", Quoted(log.name),
                    ": ", Quoted(sensor.channel), " is calibrated twice");
      LogSensor& added = log.sensors.emplace_back();
      added.channel = sensor.channel;
      added.kind = sensor.kind;
      added.ego_from_sensor = calibrated.ego_from_sensor;
      added.camera.parameters = {calibrated.fx, calibrated.fy, calibrated.cx, calibrated.cy};
    }
    std::stable_sort(rows.begin(), rows.end(), [&](int a, int b) {
      const auto& x = t_.data[a];
      const auto& y = t_.data[b];
      return std::pair(x.calibrated_sensor, x.time_us) < std::pair(y.calibrated_sensor, y.time_us);
    });
    for (LogFrame& frame : log.frames) frame.readings.assign(sensors.size(), -1);
    std::vector<std::pair<int, int>> frame_of_row;  // sample's row, frame; sorted
    for (size_t f = 0; f < frame_rows.size(); ++f) {
      frame_of_row.emplace_back(frame_rows[f], static_cast<int>(f));
    }
    std::sort(frame_of_row.begin(), frame_of_row.end());
    log.readings.reserve(rows.size());
    for (const int row : rows) {
      const NuscenesTables::SampleData& data = t_.data[row];
      const int index = static_cast<int>(log.readings.size());
      LogReading& reading = log.readings.emplace_back();
      reading.id = t_.pool.TextOf(t_.data_index.token(row));
      reading.sensor = PlaceOf(sensors, data.calibrated_sensor);
      reading.time_us = data.time_us;
      reading.world_from_ego = t_.poses[data.pose].world_from_ego();
      reading.path = root_ / t_.FilenameOf(data);
      LogSensor& sensor = log.sensors[reading.sensor];
      if (sensor.kind == SensorKind::kCamera) FitCamera(data, reading, sensor);
      if (!data.is_key_frame) continue;
      reading.frame =
          std::lower_bound(frame_of_row.begin(), frame_of_row.end(), std::pair(data.sample, 0))
              ->second;
      int& of_frame = log.frames[reading.frame].readings[reading.sensor];
      ATHANOR_CHECK(of_frame < 0, where_, ": sample ", Quoted(log.frames[reading.frame].id),
                    ": two key frames of ", Quoted(sensor.channel));
      of_frame = index;
    }
    const int lidar = log.MainLidar();
    for (LogFrame& frame : log.frames) {
      int of_pose = lidar < 0 ? -1 : frame.readings[lidar];
      for (size_t s = 0; s < sensors.size() && of_pose < 0; ++s) of_pose = frame.readings[s];
      if (of_pose >= 0) frame.world_from_ego = log.readings[of_pose].world_from_ego;
    }
  }

  void FitCamera(const NuscenesTables::SampleData& data, const LogReading& reading,
                 LogSensor& sensor) const {
    Camera& camera = sensor.camera;
    if (camera.width_px == 0) {
      camera.width_px = data.width_px;
      camera.height_px = data.height_px;
    }
    ATHANOR_CHECK(camera.width_px == data.width_px && camera.height_px == data.height_px, where_,
                  ": sample_data ", Quoted(reading.id), ": ", data.width_px, "x", data.height_px,
                  " pixels, but others of ", Quoted(sensor.channel), " have ", camera.width_px, "x",
                  camera.height_px);
  }

  // Returns the instances that are the tracks.
  std::vector<int> ReadBoxes(int scene, const std::vector<int>& frame_rows, Log& log) const {
    std::vector<int> instances;
    for (const int sample : frame_rows) {
      for (const int row : boxes_of_sample_.Of(sample)) {
        instances.push_back(t_.annotations[row].instance);
      }
    }
    for (const NuscenesTables::Tag& tag : t_.tags) {
      if (tag.scene == scene && tag.instance >= 0) instances.push_back(tag.instance);
    }
    std::sort(instances.begin(), instances.end());
    instances.erase(std::unique(instances.begin(), instances.end()), instances.end());
    for (const int instance : instances) {
      log.tracks.push_back({t_.pool.TextOf(t_.instance_index.token(instance)),
                            t_.categories[t_.instances[instance].category]});
    }
    for (size_t f = 0; f < frame_rows.size(); ++f) {
      for (const int row : boxes_of_sample_.Of(frame_rows[f])) {
        const NuscenesTables::Annotation& annotation = t_.annotations[row];
        LogBox& box = log.frames[f].boxes.emplace_back();
        box.id = t_.pool.TextOf(t_.annotation_index.token(row));
        box.track = PlaceOf(instances, annotation.instance);
        const double* q = annotation.rotation;
        box.box.frame_from_box.rotation = Eigen::Quaterniond(q[0], q[1], q[2], q[3]);
        box.box.frame_from_box.translation =
            Eigen::Map<const Eigen::Vector3d>(annotation.translation);
        box.box.size_m = {annotation.size[1], annotation.size[0], annotation.size[2]};
        box.velocity_mps = Velocity(row);
        for (int i = 0; i < annotation.num_attributes; ++i) {
          box.attributes.push_back(
              t_.attributes[t_.attribute_lists[annotation.attributes_begin + i]]);
        }
        box.num_lidar_points = annotation.num_lidar_points;
        box.num_radar_points = annotation.num_radar_points;
        box.visibility = annotation.visibility;
      }
    }
    return instances;
  }

  Eigen::Vector2d Velocity(int row) const {
    constexpr double kMaxGap_s = 1.5;
    const NuscenesTables::Annotation& box = t_.annotations[row];
    const NuscenesTables::Annotation& first = box.prev >= 0 ? t_.annotations[box.prev] : box;
    const NuscenesTables::Annotation& last = box.next >= 0 ? t_.annotations[box.next] : box;
    const double gap_s = 1e-6 * static_cast<double>(t_.samples[last.sample].time_us) -
                         1e-6 * static_cast<double>(t_.samples[first.sample].time_us);
    const double max_gap_s = box.prev >= 0 && box.next >= 0 ? 2 * kMaxGap_s : kMaxGap_s;
    if (!(gap_s > 0 && gap_s <= max_gap_s)) return Eigen::Vector2d::Constant(std::nan(""));
    return {(last.translation[0] - first.translation[0]) / gap_s,
            (last.translation[1] - first.translation[1]) / gap_s};
  }

  std::string where_;
  fs::path root_;
  NuscenesTables t_;
  Groups samples_of_scene_, data_of_scene_, boxes_of_sample_;
  std::vector<std::string> names_;
  std::string format_ = "nuscenes";
};

bool HoldsTables(const fs::path& folder) {
  std::error_code error;
  return fs::is_regular_file(folder / "scene.json", error) &&
         fs::is_regular_file(folder / "sample_data.json", error);
}

std::vector<fs::path> TableFolders(const fs::path& path) {
  if (HoldsTables(path)) return {path};
  std::vector<fs::path> folders;
  std::error_code error;
  for (const fs::directory_entry& entry : fs::directory_iterator(path, error)) {
    if (entry.path().filename().string().rfind("v1.0-", 0) == 0 && HoldsTables(entry.path())) {
      folders.push_back(entry.path());
    }
  }
  std::sort(folders.begin(), folders.end());
  return folders;
}

}  // namespace

bool IsNuscenes(const fs::path& path) { return !TableFolders(path).empty(); }

std::unique_ptr<LogDataset> OpenNuscenesTables(
    const std::string& where, const fs::path& root,
    const std::function<std::unique_ptr<std::istream>(const std::string& table)>& open,
    const FaultSink& faults) {
  return std::make_unique<NuscenesLogs>(where, root, ReadNuscenesTables(where, open, faults));
}

std::unique_ptr<LogDataset> OpenNuscenesLogs(const fs::path& path, const FaultSink& faults) {
  const std::vector<fs::path> folders = TableFolders(path);
  ATHANOR_CHECK(!folders.empty(), path.string(), ": expected nuScenes tables (v1.0-*/scene.json)");
  ATHANOR_CHECK(folders.size() == 1, path.string(), ": holds ", folders.size(),
                " sets of tables: name one of them, such as ", folders[0].string());
  const fs::path tables = folders[0].lexically_normal();
  const auto open = [&](const std::string& table) -> std::unique_ptr<std::istream> {
    const fs::path file = tables / (table + ".json");
    std::error_code error;
    if (!fs::exists(file, error)) return nullptr;
    auto stream = std::make_unique<std::ifstream>(file, std::ios::binary);
    ATHANOR_CHECK(*stream, file.string(), ": cannot open");
    return stream;
  };
  const fs::path named = fs::absolute(tables);
  const fs::path folder = named.has_filename() ? named : named.parent_path();
  return OpenNuscenesTables(folders[0].string(), folder.parent_path(), open, faults);
}

}  // namespace athanor
