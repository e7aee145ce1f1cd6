#include "athanor/datasets/log.h"

#include <algorithm>

#include "athanor/base/error.h"
#include "athanor/base/files.h"
#include "athanor/datasets/argoverse2_files.h"
#include "athanor/datasets/argoverse2_reader.h"
#include "athanor/datasets/kitti_reader.h"
#include "athanor/datasets/nuscenes_keyframe_reader.h"
#include "athanor/datasets/nuscenes_points.h"
#include "athanor/datasets/nuscenes_reader.h"

namespace athanor {
namespace {

namespace fs = std::filesystem;

bool EndsWith(std::string_view text, std::string_view end) {
  return text.size() >= end.size() && text.substr(text.size() - end.size()) == end;
}

// One log, a folder of logs, or a folder of folders of logs.
bool HoldsArgoverse2(const fs::path& folder, int levels = 2) {
  if (IsArgoverse2Log(folder)) return true;
  if (levels == 0) return false;
  std::error_code error;
  const fs::directory_iterator entries(folder, error);
  return std::any_of(begin(entries), end(entries), [&](const fs::directory_entry& entry) {
    std::error_code entry_error;
    return entry.is_directory(entry_error) && HoldsArgoverse2(entry.path(), levels - 1);
  });
}

Rigid3 WorldFromSensor(const Log& log, const LogReading& reading) {
  return reading.world_from_ego * log.sensors[reading.sensor].ego_from_sensor;
}

std::vector<LogFormat>& RegisteredFormats() {
  static std::vector<LogFormat> formats;
  return formats;
}

}  // namespace

std::string_view SensorKindName(SensorKind kind) {
  switch (kind) {
    case SensorKind::kCamera:
      return "camera";
    case SensorKind::kLidar:
      return "lidar";
    default:
      return "radar";
  }
}

const LogSensor* Log::FindSensor(std::string_view channel) const {
  const auto found = std::find_if(sensors.begin(), sensors.end(), [&](const LogSensor& sensor) {
    return sensor.channel == channel;
  });
  return found == sensors.end() ? nullptr : &*found;
}

int Log::MainLidar() const {
  for (size_t i = 0; i < sensors.size(); ++i) {
    if (sensors[i].kind == SensorKind::kLidar) return static_cast<int>(i);
  }
  return -1;
}

bool HasPayload(const Log& log, const LogReading& reading) {
  if (log.payloads != nullptr) return log.payloads->Has(reading);
  std::error_code error;
  return fs::is_regular_file(reading.path, error);
}

std::string ReadPayload(const Log& log, const LogReading& reading) {
  return log.payloads != nullptr ? log.payloads->Read(reading) : ReadFile(reading.path);
}

std::string ReadPayload(const Log& log, int reading) {
  ATHANOR_CHECK(reading >= 0 && reading < static_cast<int>(log.readings.size()), log.source,
                ": log ", log.name, ": expected a reading of 0 to ", log.readings.size(),
                " (excluded), found ", reading);
  return ReadPayload(log, log.readings[reading]);
}

void RegisterLogFormat(LogFormat format) {
  std::vector<LogFormat>& formats = RegisteredFormats();
  const bool known = std::any_of(formats.begin(), formats.end(), [&](const LogFormat& other) {
    return other.looked_for == format.looked_for;
  });
  if (!known) formats.push_back(std::move(format));
}

std::unique_ptr<LogDataset> OpenLogs(const fs::path& path) {
  std::error_code error;
  ATHANOR_CHECK(fs::exists(path, error), path.string(), ": no such file or folder");
  std::string others;
  for (const LogFormat& format : RegisteredFormats()) {
    if (format.is_one(path)) return format.open(path);
    others += format.looked_for + ", ";
  }
  if (IsNuscenes(path)) return OpenNuscenesLogs(path);
  if (IsNuscenesKeyframe(path)) return OpenNuscenesKeyframe(path);
  if (IsKittiFolder(path)) return OpenKittiLogs(path);
  if (HoldsArgoverse2(path)) return OpenArgoverse2Logs(path);
  throw Error(
      StrCat(path.string(), ": no driving log found: expected ", others,
             "nuScenes (v1.0-*/scene.json), Argoverse 2 "
             "(calibration/ and city_SE3_egovehicle.feather, or folders of them), KITTI (label_2/ "
             "or velodyne/ beside calib/) or one exported key frame (sample.json)"));
}

LidarSweep ReadSweep(const Log& log, int reading) {
  ATHANOR_CHECK(reading >= 0 && reading < static_cast<int>(log.readings.size()), log.source,
                ": log ", log.name, ": expected a reading of 0 to ", log.readings.size(),
                " (excluded), found ", reading);
  const LogReading& r = log.readings[reading];
  const LogSensor& sensor = log.sensors[r.sensor];
  const std::string name = r.path.string();
  ATHANOR_CHECK(sensor.kind == SensorKind::kLidar, log.source, ": log ", log.name, ": reading ",
                reading, " is of ", sensor.channel, ", which is no LiDAR");
  if (EndsWith(name, ".pcd.bin") || log.dataset == "nuscenes_keyframe") {
    return DecodePcdBin(ReadPayload(log, r), name);
  }
  const fs::path extension = r.path.extension();
  if (extension == ".feather") return ParseArgoverse2Sweep(ReadPayload(log, r), name);
  if (extension == ".bin") return ParseKittiSweep(ReadPayload(log, r), name);
  throw Error(StrCat(
      name, ": expected a sweep: .pcd.bin (nuScenes), .feather (Argoverse 2) or .bin ", "(KITTI)"));
}

LidarSweep MergeSweeps(const Log& log, int frame, int max_sweeps, float min_distance_m) {
  ATHANOR_CHECK(frame >= 0 && frame < static_cast<int>(log.frames.size()), log.source, ": log ",
                log.name, ": expected a frame of 0 to ", log.frames.size(), " (excluded), found ",
                frame);
  ATHANOR_CHECK(max_sweeps >= 1, "max_sweeps: expected 1 or more, found ", max_sweeps);
  const int lidar = log.MainLidar();
  const int key = lidar < 0 ? -1 : log.frames[frame].readings[lidar];
  ATHANOR_CHECK(key >= 0, log.source, ": log ", log.name, ": frame ", frame, " has no LiDAR sweep");
  const Rigid3 key_from_world = WorldFromSensor(log, log.readings[key]).Inverse();

  LidarSweep merged;
  bool with_rings = true;
  for (int i = key; i >= 0 && i > key - max_sweeps && log.readings[i].sensor == lidar; --i) {
    const LogReading& reading = log.readings[i];
    if (i != key && !HasPayload(log, reading)) continue;
    const LidarSweep sweep = ReadSweep(log, i);
    const Rigid3 key_from_sweep = key_from_world * WorldFromSensor(log, reading);
    const Eigen::Matrix3d rotation = key_from_sweep.rotation.toRotationMatrix();
    const float time_s = static_cast<float>(1e-6 * (reading.time_us - log.readings[key].time_us));
    with_rings &= sweep.ring.size() == sweep.points.size();
    for (size_t k = 0; k < sweep.points.size(); ++k) {
      const Eigen::Vector3f& point = sweep.points[k];
      if (std::abs(point.x()) < min_distance_m && std::abs(point.y()) < min_distance_m) continue;
      merged.points.push_back(
          i == key ? point
                   : Eigen::Vector3d(rotation * point.cast<double>() + key_from_sweep.translation)
                         .cast<float>());
      merged.intensity.push_back(sweep.intensity[k]);
      if (with_rings) merged.ring.push_back(sweep.ring[k]);
      merged.time_s.push_back(time_s);
    }
  }
  if (!with_rings) merged.ring.clear();
  return merged;
}

int FindLog(const LogDataset& logs, const std::filesystem::path& path, const std::string& name) {
  const std::vector<std::string>& names = logs.names();
  ATHANOR_CHECK(!names.empty(), path.string(), ": expected at least one log, found none");
  const auto found = std::find(names.begin(), names.end(), name);
  if (found != names.end()) return static_cast<int>(found - names.begin());
  const bool is_number =
      name.size() <= 9 && name.find_first_not_of("0123456789") == std::string::npos;
  if (is_number && std::stoul(name) < names.size()) return static_cast<int>(std::stoul(name));
  throw Error(StrCat(path.string(), ": no log is called '", name, "'; the first of ", names.size(),
                     " is ", names[0]));
}

}  // namespace athanor
