#include "athanor/datasets/log_check.h"

#include <algorithm>
#include <cmath>
#include <mutex>

#include "athanor/base/error.h"
#include "athanor/base/files.h"
#include "athanor/base/parallel.h"
#include "athanor/datasets/nuscenes_points.h"
#include "athanor/datasets/nuscenes_reader.h"
#include "athanor/media/image.h"

namespace athanor {
namespace {

namespace fs = std::filesystem;

using Fault = std::function<void(const std::string&)>;

// Points of a sweep in a box of the same frame.
int64_t CountInside(const Box3& box, const std::vector<Eigen::Vector3f>& points) {
  const Rigid3 box_from_frame = box.frame_from_box.Inverse();
  const Eigen::Matrix3d rotation = box_from_frame.rotation.toRotationMatrix();
  const Eigen::Vector3d centre = box.frame_from_box.translation;
  const double reach = 0.5 * box.size_m.norm() + 1e-3;
  int64_t count = 0;
  for (const Eigen::Vector3f& point : points) {
    const Eigen::Vector3d p = point.cast<double>();
    if (std::abs(p.x() - centre.x()) > reach || std::abs(p.y() - centre.y()) > reach) continue;
    const Eigen::Vector3d local = rotation * (p - centre);
    count += (local.cwiseAbs().array() <= 0.5 * box.size_m.array()).all();
  }
  return count;
}

std::vector<int64_t> CountPoints(const Log& log, int frame, const LidarSweep& sweep) {
  const int lidar = log.MainLidar();
  const LogReading& reading = log.readings[log.frames[frame].readings[lidar]];
  const Rigid3 lidar_from_world =
      (reading.world_from_ego * log.sensors[lidar].ego_from_sensor).Inverse();
  std::vector<int64_t> counts;
  for (const LogBox& box : log.frames[frame].boxes) {
    counts.push_back(CountInside(lidar_from_world * box.box, sweep.points));
  }
  return counts;
}

bool IsFinite(const Rigid3& pose) {
  return pose.translation.allFinite() && pose.rotation.coeffs().allFinite();
}

void CheckBoxes(const Log& log, const std::string& where, const Fault& fault) {
  for (size_t f = 0; f < log.frames.size(); ++f) {
    const LogFrame& frame = log.frames[f];
    for (size_t b = 0; b < frame.boxes.size(); ++b) {
      const LogBox& box = frame.boxes[b];
      if (!IsFinite(box.box.frame_from_box) || !(box.box.size_m.array() > 0).all() ||
          !box.box.size_m.allFinite()) {
        fault(StrCat(where, ": frame ", f, ": box ", b, " (", log.tracks[box.track].category,
                     "): expected finite numbers and a size above 0, found ",
                     box.box.size_m.transpose()));
      }
    }
  }
}

// Opens the file of a reading; fills `points` for the main LiDAR's.
void CheckFile(const Log& log, int index, LidarSweep* points) {
  const LogReading& reading = log.readings[index];
  const LogSensor& sensor = log.sensors[reading.sensor];
  ATHANOR_CHECK(HasPayload(log, reading), reading.path.string(),
                ": no such file, but the log names it");
  switch (sensor.kind) {
    case SensorKind::kCamera: {
      const ImageSize size = log.payloads == nullptr ? ReadImageSize(reading.path)
                                                     : DecodeImageSize(ReadPayload(log, reading),
                                                                       reading.path.string());
      ATHANOR_CHECK(size.width == sensor.camera.width_px && size.height == sensor.camera.height_px,
                    reading.path.string(), ": the picture is ", size.width, "x", size.height,
                    ", but its camera is ", sensor.camera.width_px, "x", sensor.camera.height_px);
      break;
    }
    case SensorKind::kLidar:
      *points = ReadSweep(log, index);
      ATHANOR_CHECK(points->size() > 0, reading.path.string(), ": expected points, found none");
      break;
    case SensorKind::kRadar:
      if (reading.path.extension() == ".pcd") {
        DecodeRadarPcd(ReadPayload(log, reading), reading.path.string());
      }
  }
}

void CheckLog(const Log& log, const std::string& where, const Fault& fault,
              LogCheckResult& result) {
  result.frames += static_cast<int64_t>(log.frames.size());
  result.files += static_cast<int64_t>(log.readings.size());
  if (log.frames.empty()) fault(where + ": expected at least one frame, found none");
  for (const LogFrame& frame : log.frames) result.boxes += static_cast<int64_t>(frame.boxes.size());
  CheckBoxes(log, where, fault);
  const int lidar = log.MainLidar();
  std::mutex mutex;
  std::vector<std::pair<int64_t, std::string>> faults;  // in the order of the readings
  ParallelFor(static_cast<int64_t>(log.readings.size()), 4, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      const LogReading& reading = log.readings[i];
      LidarSweep sweep;
      std::string found;
      int64_t counted = 0, annotated = 0;
      try {
        CheckFile(log, static_cast<int>(i), &sweep);
        if (reading.frame >= 0 && reading.sensor == lidar) {
          const std::vector<int64_t> counts = CountPoints(log, reading.frame, sweep);
          const std::vector<LogBox>& boxes = log.frames[reading.frame].boxes;
          for (size_t b = 0; b < boxes.size(); ++b) {
            if (boxes[b].num_lidar_points < 0) continue;
            counted += counts[b];
            annotated += boxes[b].num_lidar_points;
          }
          constexpr double kShare = 0.1, kLeast = 20;
          if (std::abs(static_cast<double>(counted - annotated)) >
              std::max(kLeast, kShare * static_cast<double>(annotated))) {
            found = StrCat(where, ": frame ", reading.frame, ": ", counted,
                           " points lie in its boxes, but they say ", annotated);
          }
        }
      } catch (const Error& error) {
        found = error.what();
      }
      const std::lock_guard lock(mutex);
      result.points_counted += counted;
      result.points_annotated += annotated;
      if (!found.empty()) faults.emplace_back(i, found);
    }
  });
  std::sort(faults.begin(), faults.end());
  for (const auto& [reading, line] : faults) fault(line);
}

}  // namespace

std::vector<int64_t> CountPointsInBoxes(const Log& log, int frame) {
  ATHANOR_CHECK(frame >= 0 && frame < static_cast<int>(log.frames.size()), log.source, ": log ",
                log.name, ": expected a frame of 0 to ", log.frames.size(), " (excluded), found ",
                frame);
  const int lidar = log.MainLidar();
  const int reading = lidar < 0 ? -1 : log.frames[frame].readings[lidar];
  ATHANOR_CHECK(reading >= 0, log.source, ": log ", log.name, ": frame ", frame,
                " has no LiDAR sweep");
  return CountPoints(log, frame, ReadSweep(log, reading));
}

LogCheckResult CheckLogs(const fs::path& path, const Fault& fault,
                         const std::function<void(int64_t done, int64_t total)>& progress) {
  LogCheckResult result;
  const Fault count_fault = [&](const std::string& line) {
    ++result.faults;
    fault(line);
  };
  const std::unique_ptr<LogDataset> logs =
      IsNuscenes(path) ? OpenNuscenesLogs(path, count_fault) : OpenLogs(path);
  result.logs = static_cast<int64_t>(logs->names().size());
  for (int i = 0; i < static_cast<int>(result.logs); ++i) {
    try {
      const Log log = logs->Read(i);
      CheckLog(log, StrCat(log.source, ": ", log.name), count_fault, result);
    } catch (const Error& error) {
      count_fault(error.what());
    }
    if (progress) progress(i + 1, result.logs);
  }
  return result;
}

}  // namespace athanor
