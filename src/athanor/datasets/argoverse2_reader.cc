#include "athanor/datasets/argoverse2_reader.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <map>
#include <set>
#include <unordered_map>

#include "athanor/base/error.h"
#include "athanor/base/files.h"
#include "athanor/datasets/argoverse2_files.h"
#include "athanor/datasets/paths.h"
#include "athanor/datasets/text_lines.h"

namespace athanor {
namespace {

namespace fs = std::filesystem;

constexpr std::string_view kLidar = "lidar";
// Half a LiDAR turn: the image of a frame is the nearest one within it.
constexpr int64_t kMaxImageOffsetNs = 51'000'000;
// Further apart, two annotations of a track say nothing of its velocity between them.
constexpr double kMaxVelocityGapS = 1.5;

std::vector<fs::path> Folders(const fs::path& path) {
  std::vector<fs::path> folders;
  std::error_code error;
  for (const auto& entry : fs::directory_iterator(path, error)) {
    if (IsFolder(entry.path())) folders.push_back(entry.path());
  }
  std::sort(folders.begin(), folders.end());
  return folders;
}

// The times that a sensor's files are named after.
std::vector<int64_t> FileTimes(const fs::path& folder, const char* extension) {
  std::vector<int64_t> times;
  if (!IsFolder(folder)) return times;
  for (const fs::path& path : ListFiles(folder, {extension})) {
    const std::string stem = path.stem().string();
    int64_t time = 0;
    const auto [end, error] = std::from_chars(stem.data(), stem.data() + stem.size(), time);
    ATHANOR_CHECK(error == std::errc() && end == stem.data() + stem.size(), path.string(),
                  ": expected a file named after its time in nanoseconds");
    times.push_back(time);
  }
  std::sort(times.begin(), times.end());
  return times;
}

std::vector<LogSensor> ReadSensors(const fs::path& folder) {
  const fs::path poses_path = folder / "calibration" / "egovehicle_SE3_sensor.feather";
  const ArrowTable poses_table = ReadArrow(poses_path);
  const auto pose_names = poses_table.Strings("sensor_name");
  const std::vector<Rigid3> poses = ParseArgoverse2Transforms(poses_table);

  const fs::path cameras_path = folder / "calibration" / "intrinsics.feather";
  const ArrowTable table = ReadArrow(cameras_path);
  const auto names = table.Strings("sensor_name");
  const auto fx = table.FiniteReals("fx_px"), fy = table.FiniteReals("fy_px");
  const auto cx = table.FiniteReals("cx_px"), cy = table.FiniteReals("cy_px");
  const auto width = table.Integers("width_px"), height = table.Integers("height_px");
  std::vector<LogSensor> sensors;
  for (size_t i = 0; i < names.size(); ++i) {
    const std::string where =
        StrCat(cameras_path.string(), ": row ", i, ": camera ", Quoted(names[i]));
    LogSensor sensor;
    sensor.channel = names[i];
    sensor.kind = SensorKind::kCamera;
    for (const int64_t side : {width[i], height[i]}) {
      ATHANOR_CHECK(side > 0 && side <= 1 << 16, where, ": expected sides of 1 to 65536 pixels, ",
                    "found ", side);
    }
    sensor.camera = {CameraModel::kPinhole,
                     static_cast<int>(width[i]),
                     static_cast<int>(height[i]),
                     {fx[i], fy[i], cx[i] + 0.5, cy[i] + 0.5}};
    sensor.camera.Check(where);
    const auto pose = std::find(pose_names.begin(), pose_names.end(), names[i]);
    ATHANOR_CHECK(pose != pose_names.end(), where, ": expected its pose in ", poses_path.string(),
                  ", found none");
    sensor.ego_from_sensor = poses[pose - pose_names.begin()];
    for (const LogSensor& other : sensors) {
      ATHANOR_CHECK(other.channel != sensor.channel, where, ": it occurs twice");
    }
    sensors.push_back(std::move(sensor));
  }
  LogSensor lidar;
  lidar.channel = kLidar;
  lidar.kind = SensorKind::kLidar;
  sensors.push_back(std::move(lidar));
  return sensors;
}

// The difference to the neighbours of a track's box, or to one of them at the ends.
void SetVelocities(Log& log) {
  struct Place {
    int frame, box;
  };
  std::vector<std::vector<Place>> places(log.tracks.size());
  for (size_t f = 0; f < log.frames.size(); ++f) {
    for (size_t b = 0; b < log.frames[f].boxes.size(); ++b) {
      places[log.frames[f].boxes[b].track].push_back({static_cast<int>(f), static_cast<int>(b)});
    }
  }
  const auto box = [&](Place place) -> LogBox& { return log.frames[place.frame].boxes[place.box]; };
  const auto seconds = [&](Place a, Place b) {
    return 1e-6 * static_cast<double>(log.frames[b.frame].time_us - log.frames[a.frame].time_us);
  };
  for (const auto& track : places) {
    for (size_t i = 0; i < track.size(); ++i) {
      size_t before = i, after = i;
      if (i > 0 && seconds(track[i - 1], track[i]) <= kMaxVelocityGapS) before = i - 1;
      if (i + 1 < track.size() && seconds(track[i], track[i + 1]) <= kMaxVelocityGapS) {
        after = i + 1;
      }
      const double time_s = seconds(track[before], track[after]);
      if (!(time_s > 0)) continue;
      const Eigen::Vector3d way = box(track[after]).box.frame_from_box.translation -
                                  box(track[before]).box.frame_from_box.translation;
      box(track[i]).velocity_mps = way.head<2>() / time_s;
    }
  }
}

Log ReadLog(const fs::path& folder) {
  Log log;
  log.source = folder.string();
  log.dataset = "argoverse2";
  log.name = (folder / "").parent_path().filename().string();
  log.sensors = ReadSensors(folder);
  const auto num_sensors = static_cast<int>(log.sensors.size());
  const int lidar = num_sensors - 1;
  const Argoverse2Poses poses = ReadArgoverse2Poses(folder / "city_SE3_egovehicle.feather");
  if (IsFolder(folder / "map")) {
    // log_map_archive_LOG____PIT_city_47896.json
    for (const fs::path& path : ListFiles(folder / "map", {".json"})) {
      const std::string name = path.stem().string();
      const size_t begin = name.find("____"), end = name.find("_city_");
      if (begin != name.npos && end != name.npos && end > begin + 4) {
        log.location = name.substr(begin + 4, end - begin - 4);
      }
    }
  }

  const fs::path annotations_path = folder / "annotations.feather";
  std::vector<Argoverse2Cuboid> cuboids;
  if (IsFile(annotations_path)) cuboids = ReadArgoverse2Cuboids(annotations_path);
  const std::vector<int64_t> sweeps = FileTimes(folder / "sensors" / "lidar", ".feather");
  std::set<int64_t> times(sweeps.begin(), sweeps.end());
  for (const Argoverse2Cuboid& cuboid : cuboids) times.insert(cuboid.timestamp_ns);
  ATHANOR_CHECK(!times.empty(), folder.string(),
                ": expected annotations.feather or sensors/lidar/*.feather, found neither");

  std::unordered_map<int64_t, int> frame_at;
  for (const int64_t time : times) {
    frame_at[time] = static_cast<int>(log.frames.size());
    LogFrame frame;
    frame.id = std::to_string(time);
    frame.time_us = time / 1000;
    frame.world_from_ego = poses.At(time);
    frame.readings.assign(num_sensors, -1);
    log.frames.push_back(std::move(frame));
  }
  for (int s = 0; s < num_sensors; ++s) {
    const std::string& channel = log.sensors[s].channel;
    const fs::path images = folder / "sensors" / "cameras" / channel;
    const std::vector<int64_t> taken = s == lidar ? sweeps : FileTimes(images, ".jpg");
    const int first = static_cast<int>(log.readings.size());
    for (const int64_t time : taken) {
      LogReading reading;
      reading.id = std::to_string(time);
      reading.sensor = s;
      reading.time_us = time / 1000;
      reading.world_from_ego = poses.At(time);
      reading.path = s == lidar ? folder / "sensors" / "lidar" / (reading.id + ".feather")
                                : images / (reading.id + ".jpg");
      log.readings.push_back(std::move(reading));
    }
    for (const int64_t time : times) {
      const int frame = frame_at[time];
      const auto after = std::lower_bound(taken.begin(), taken.end(), time);
      auto nearest = after;
      if (after != taken.begin() &&
          (after == taken.end() || time - *(after - 1) <= *after - time)) {
        nearest = after - 1;
      }
      const int64_t offset_ns = nearest == taken.end() ? INT64_MAX : std::abs(*nearest - time);
      if (offset_ns > (s == lidar ? 0 : kMaxImageOffsetNs)) continue;
      const int reading = first + static_cast<int>(nearest - taken.begin());
      log.frames[frame].readings[s] = reading;
      log.readings[reading].frame = frame;
    }
  }

  std::map<std::string, int> track_of;
  std::set<std::pair<int, int>> seen;
  for (size_t i = 0; i < cuboids.size(); ++i) {
    const Argoverse2Cuboid& cuboid = cuboids[i];
    const auto [track, is_new] =
        track_of.emplace(cuboid.track_uuid, static_cast<int>(log.tracks.size()));
    if (is_new) log.tracks.push_back({cuboid.track_uuid, cuboid.category});
    const int frame = frame_at.at(cuboid.timestamp_ns);
    ATHANOR_CHECK(seen.emplace(frame, track->second).second, annotations_path.string(), ": row ", i,
                  ": track ", Quoted(cuboid.track_uuid), " has two boxes at ", cuboid.timestamp_ns,
                  " ns");
    LogBox box;
    box.track = track->second;
    box.box = log.frames[frame].world_from_ego * cuboid.box_in_ego;
    box.num_lidar_points =
        static_cast<int>(std::clamp<int64_t>(cuboid.num_interior_pts, -1, INT32_MAX));
    log.frames[frame].boxes.push_back(std::move(box));
  }
  SetVelocities(log);
  return log;
}

// The folder itself, its logs, or those of its splits.
std::vector<fs::path> FindLogs(const fs::path& path) {
  if (IsArgoverse2Log(path)) return {path};
  std::vector<fs::path> logs;
  for (const fs::path& split : Folders(path)) {
    if (IsArgoverse2Log(split)) {
      logs.push_back(split);
      continue;
    }
    for (const fs::path& log : Folders(split)) {
      if (IsArgoverse2Log(log)) logs.push_back(log);
    }
  }
  return logs;
}

class Argoverse2Dataset : public LogDataset {
 public:
  explicit Argoverse2Dataset(std::vector<fs::path> folders) : folders_(std::move(folders)) {
    for (const fs::path& folder : folders_) {
      names_.push_back((folder / "").parent_path().filename().string());
    }
  }
  const std::string& format() const override {
    static const std::string format = "argoverse2";
    return format;
  }
  const std::vector<std::string>& names() const override { return names_; }
  Log Read(int index) const override {
    ATHANOR_CHECK(index >= 0 && index < static_cast<int>(folders_.size()),
                  "Argoverse 2: expected a log from 0 to ", folders_.size() - 1, ", found ", index);
    return ReadLog(folders_[index]);
  }

 private:
  std::vector<fs::path> folders_;
  std::vector<std::string> names_;
};

}  // namespace

bool IsArgoverse2Log(const fs::path& folder) {
  return IsFolder(folder / "calibration") && IsFile(folder / "city_SE3_egovehicle.feather");
}

std::unique_ptr<LogDataset> OpenArgoverse2Logs(const fs::path& path) {
  std::vector<fs::path> logs = FindLogs(path);
  ATHANOR_CHECK(!logs.empty(), path.string(),
                ": expected an Argoverse 2 log (calibration/ and city_SE3_egovehicle.feather) or "
                "a folder of them, found none");
  return std::make_unique<Argoverse2Dataset>(std::move(logs));
}

}  // namespace athanor
