#include "athanor/detection/corruption/log_corruption.h"

#include <algorithm>
#include <cmath>
#include <optional>

#include "athanor/base/error.h"
#include "athanor/base/random.h"
#include "athanor/detection/corruption/image_corruption.h"
#include "athanor/detection/corruption/lidar_corruption.h"
#include "athanor/detection/corruption/view_depth.h"

namespace athanor {
namespace {

namespace fs = std::filesystem;

uint64_t KeyOf(const Log& log, const Corruption& corruption, int reading) {
  const LogReading& r = log.readings[reading];
  return CorruptionKey(corruption, log.name, log.sensors[r.sensor].channel, r.time_us);
}

// Of the readings of that sensor, the one nearest in time; -1: there is none.
int NearestReading(const Log& log, int sensor, int64_t time_us) {
  const auto order = [](const LogReading& reading, const std::pair<int, int64_t>& key) {
    return std::pair(reading.sensor, reading.time_us) < key;
  };
  const auto found =
      std::lower_bound(log.readings.begin(), log.readings.end(), std::pair(sensor, time_us), order);
  const int after = static_cast<int>(found - log.readings.begin());
  const int count = static_cast<int>(log.readings.size());
  const bool has_after = after < count && log.readings[after].sensor == sensor;
  const bool has_before = after > 0 && log.readings[after - 1].sensor == sensor;
  if (!has_after) return has_before ? after - 1 : -1;
  if (!has_before) return after;
  return log.readings[after].time_us - time_us < time_us - log.readings[after - 1].time_us
             ? after
             : after - 1;
}

void PlanTemporal(const Log& log, const Corruption& corruption, std::vector<ReadingPlan>* plans) {
  for (size_t s = 0; s < log.sensors.size(); ++s) {
    const SensorKind kind = log.sensors[s].kind;
    if (kind == SensorKind::kRadar) continue;
    const size_t first = kind == SensorKind::kLidar ? 2 : 1;
    for (size_t f = first; f < log.frames.size(); ++f) {
      const int key = log.frames[f].readings[s], before = log.frames[f - 1].readings[s];
      if (key < 0 || before < 0 || !IsDrawn(corruption, KeyOf(log, corruption, key))) continue;
      const int64_t late_us = log.readings[key].time_us - log.readings[before].time_us;
      for (int i = before + 1; i <= key; ++i) {
        (*plans)[i].source =
            NearestReading(log, static_cast<int>(s), log.readings[i].time_us - late_us);
      }
    }
  }
}

void PlanStale(const Log& log, const Corruption& corruption, SensorKind kind,
               std::vector<ReadingPlan>* plans) {
  const auto late_us = corruption.Of<int64_t>({100000, 200000, 500000});
  for (size_t i = 0; i < log.readings.size(); ++i) {
    const LogReading& reading = log.readings[i];
    if (log.sensors[reading.sensor].kind != kind) continue;
    (*plans)[i].source = NearestReading(log, reading.sensor, reading.time_us - late_us);
  }
}

// Per sensor: whether kLostCamera takes it.
std::vector<bool> LostCameras(const Log& log, const Corruption& corruption) {
  std::vector<std::pair<uint64_t, int>> cameras;
  for (size_t s = 0; s < log.sensors.size(); ++s) {
    if (log.sensors[s].kind != SensorKind::kCamera) continue;
    cameras.emplace_back(CorruptionKey(corruption, log.name, log.sensors[s].channel, 0),
                         static_cast<int>(s));
  }
  std::sort(cameras.begin(), cameras.end());
  std::vector<bool> is_lost(log.sensors.size(), false);
  for (size_t i = 0; i < cameras.size() && i < static_cast<size_t>(corruption.severity); ++i) {
    is_lost[cameras[i].second] = true;
  }
  return is_lost;
}

bool ChangesSweeps(CorruptionKind kind) {
  switch (kind) {
    case CorruptionKind::kBeamsReducing:
    case CorruptionKind::kPointsReducing:
    case CorruptionKind::kMotionBlur:
    case CorruptionKind::kFog:
    case CorruptionKind::kSnow:
    case CorruptionKind::kNoLidar:
    case CorruptionKind::kBeamLoss:
    case CorruptionKind::kFieldLoss:
      return true;
    default:
      return false;
  }
}

bool ChangesPictures(CorruptionKind kind) {
  switch (kind) {
    case CorruptionKind::kMotionBlur:
    case CorruptionKind::kBrightness:
    case CorruptionKind::kDark:
    case CorruptionKind::kFog:
    case CorruptionKind::kSnow:
    case CorruptionKind::kNoCameras:
      return true;
    default:
      return false;
  }
}

// Depth as the camera of a picture saw it, from the sweep nearest in time that is on disk.
std::optional<FloatImage> DepthFor(const Log& log, const LogReading& picture) {
  const int lidar = log.MainLidar();
  if (lidar < 0) return std::nullopt;
  const int nearest = NearestReading(log, lidar, picture.time_us);
  if (nearest < 0 || !HasPayload(log, log.readings[nearest])) return std::nullopt;
  const LogSensor& camera = log.sensors[picture.sensor];
  const Rigid3 camera_from_lidar = (picture.world_from_ego * camera.ego_from_sensor).Inverse() *
                                   log.readings[nearest].world_from_ego *
                                   log.sensors[lidar].ego_from_sensor;
  return GuessDepth(ReadSweep(log, nearest), camera.camera, camera_from_lidar,
                    camera.ego_from_sensor);
}

}  // namespace

std::vector<ReadingPlan> PlanCorruption(const Log& log, const Corruption& corruption) {
  corruption.Check();
  std::vector<ReadingPlan> plans(log.readings.size());
  for (size_t i = 0; i < plans.size(); ++i) plans[i].source = static_cast<int>(i);
  const CorruptionKind kind = corruption.kind;
  if (kind == CorruptionKind::kTemporalMisalignment) PlanTemporal(log, corruption, &plans);
  if (kind == CorruptionKind::kStaleLidar) PlanStale(log, corruption, SensorKind::kLidar, &plans);
  if (kind == CorruptionKind::kStaleCameras) {
    PlanStale(log, corruption, SensorKind::kCamera, &plans);
  }
  const std::vector<bool> is_lost = LostCameras(log, corruption);
  for (size_t i = 0; i < plans.size(); ++i) {
    const int sensor = log.readings[i].sensor;
    const auto is_drawn = [&] {
      return IsDrawn(corruption, KeyOf(log, corruption, static_cast<int>(i)));
    };
    if (log.sensors[sensor].kind == SensorKind::kLidar) {
      plans[i].is_changed =
          ChangesSweeps(kind) || (kind == CorruptionKind::kSpatialMisalignment && is_drawn());
    } else if (log.sensors[sensor].kind == SensorKind::kCamera) {
      plans[i].is_changed = ChangesPictures(kind) ||
                            (kind == CorruptionKind::kMissingCamera && is_drawn()) ||
                            (kind == CorruptionKind::kLostCamera && is_lost[sensor]);
    }
  }
  return plans;
}

Rigid3 MisalignedMount(const Corruption& corruption, const std::string& channel,
                       const Rigid3& ego_from_camera) {
  corruption.Check();
  Random random(CorruptionKey(corruption, "", channel, 0));
  const auto direction = [&] {
    Eigen::Vector3d axis(random.Normal(), random.Normal(), random.Normal());
    return axis.norm() > 1e-6 ? axis.normalized().eval() : Eigen::Vector3d(1, 0, 0);
  };
  const Eigen::Vector3d axis = direction(), shift = direction();
  const double angle_rad = corruption.Of<double>({1, 3, 5}) * M_PI / 180;
  const Rigid3 camera_from_moved = {Eigen::Quaterniond(Eigen::AngleAxisd(angle_rad, axis)),
                                    corruption.Of<double>({0.005, 0.0075, 0.01}) * shift};
  return ego_from_camera * camera_from_moved;
}

Log CorruptLog(const Log& log, const Corruption& corruption) {
  const std::vector<ReadingPlan> plans = PlanCorruption(log, corruption);
  Log result = log;
  for (size_t i = 0; i < plans.size(); ++i) {
    const SensorKind kind = log.sensors[log.readings[i].sensor].kind;
    const bool is_lost =
        (corruption.kind == CorruptionKind::kNoLidar && kind == SensorKind::kLidar) ||
        (plans[i].is_changed && (corruption.kind == CorruptionKind::kMissingCamera ||
                                 corruption.kind == CorruptionKind::kNoCameras ||
                                 corruption.kind == CorruptionKind::kLostCamera));
    result.readings[i].path = is_lost ? fs::path() : log.readings[plans[i].source].path;
  }
  if (corruption.kind != CorruptionKind::kExtrinsics) return result;
  for (LogSensor& sensor : result.sensors) {
    if (sensor.kind != SensorKind::kCamera) continue;
    sensor.ego_from_sensor = MisalignedMount(corruption, sensor.channel, sensor.ego_from_sensor);
  }
  return result;
}

LidarSweep ReadCorruptedSweep(const Log& log, int reading, const Corruption& corruption,
                              const ReadingPlan& plan) {
  if (!plan.is_changed) return ReadSweep(log, plan.source);
  const LogSensor& sensor = log.sensors[log.readings[reading].sensor];
  return CorruptSweep(
      ReadSweep(log, plan.source), corruption,
      {KeyOf(log, corruption, reading), CorruptionKey(corruption, log.name, sensor.channel, 0),
       sensor.ego_from_sensor});
}

Image ReadCorruptedImage(const Log& log, int reading, const Corruption& corruption,
                         const ReadingPlan& plan, ImageFog fog) {
  const LogReading& source = log.readings[plan.source];
  const Image image = DecodeImage(ReadPayload(log, source), source.path.string());
  if (!plan.is_changed) return image;
  std::optional<FloatImage> depth;
  if (corruption.kind == CorruptionKind::kFog && fog == ImageFog::kByDepth) {
    depth = DepthFor(log, log.readings[reading]);
    if (depth) AlignDepth(image, &*depth);
  }
  return CorruptImage(image, corruption, KeyOf(log, corruption, reading),
                      depth ? &*depth : nullptr);
}

}  // namespace athanor
