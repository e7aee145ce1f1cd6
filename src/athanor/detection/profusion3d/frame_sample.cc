#include "athanor/detection/profusion3d/frame_sample.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <filesystem>
#include <mutex>
#include <set>
#include <vector>

#include "athanor/base/error.h"
#include "athanor/base/log.h"
#include "athanor/detection/evaluation/nuscenes_eval.h"
#include "athanor/detection/profusion3d/class_names.h"
#include "athanor/detection/profusion3d/plain_tensor.h"
#include "athanor/media/image.h"
#include "athanor/media/undistort.h"

namespace athanor {
namespace {

namespace fs = std::filesystem;

// A line about something is said once in the life of the program: epochs come back to the same
// frame, and what one reading lacks, thousands may.
void WarnOnce(const std::string& about, const std::string& line) {
  static std::mutex mutex;
  static std::set<std::string> said;
  const std::lock_guard lock(mutex);
  if (said.insert(about).second) LogWarning(line);
}

void CheckPose(const Log& log, const Rigid3& pose, const std::string& what) {
  const double length = pose.rotation.norm();
  ATHANOR_CHECK(std::abs(length - 1) < 1e-3, log.source, ": log ", log.name, ": ", what,
                ": expected a rotation (a quaternion of length 1), found one of length ", length);
  ATHANOR_CHECK(pose.translation.allFinite(), log.source, ": log ", log.name, ": ", what,
                ": expected a finite position");
}

// Index of the reading of a sensor, or -1.
int ReadingOf(const Log& log, int frame, int sensor) {
  const std::vector<int>& readings = log.frames[frame].readings;
  return sensor < static_cast<int>(readings.size()) ? readings[sensor] : -1;
}

// False after a warning.
bool IsOnDisk(const Log& log, int frame, int sensor) {
  const int reading = ReadingOf(log, frame, sensor);
  const fs::path path = reading < 0 ? fs::path() : log.readings[reading].path;
  if (!path.empty() && HasPayload(log, log.readings[reading])) return true;
  const std::string& channel = log.sensors[sensor].channel;
  const std::string about = StrCat(log.source, ": log ", log.name, ": ", channel);
  if (path.empty()) {
    WarnOnce(about + " in some frames", StrCat(log.source, ": log ", log.name,
                                               ": not all frames have a reading of ", channel));
  } else {
    WarnOnce(about, StrCat(path.string(), ": log ", log.name, ", frame ", frame, ": ", channel,
                           " is not on disk; of this sensor and log no more is said"));
  }
  return false;
}

void ReadPoints(const Log& log, int frame, const FrameSampleOptions& options,
                DetectionSample* sample) {
  sample->points = at::empty({0, kPointColumns}, at::kFloat);
  sample->has_lidar = false;
  if (!options.with_points) return;
  const int lidar = log.MainLidar();
  if (lidar < 0) {
    const std::string line = StrCat(log.source, ": log ", log.name, " has no LiDAR");
    WarnOnce(line, line);
    return;
  }
  if (!IsOnDisk(log, frame, lidar)) return;
  const int reading = ReadingOf(log, frame, lidar);
  sample->has_lidar = true;
  CheckPose(log, log.sensors[lidar].ego_from_sensor, log.sensors[lidar].channel);
  // Logs of key frames alone have nothing recent.
  const int64_t oldest_us =
      log.readings[reading].time_us - static_cast<int64_t>(std::llround(1e6 * options.max_age_s));
  int sweeps = 0;
  for (int i = reading; i >= 0 && sweeps < options.sweeps && log.readings[i].sensor == lidar &&
                        log.readings[i].time_us >= oldest_us;
       --i, ++sweeps) {
    CheckPose(log, log.readings[i].world_from_ego, StrCat("pose of reading ", i));
  }
  const LidarSweep merged = MergeSweeps(log, frame, sweeps);
  // The frame has the ego pose of some reading, which need not be the LiDAR's.
  const Rigid3 ego_from_lidar = log.frames[frame].world_from_ego.Inverse() *
                                log.readings[reading].world_from_ego *
                                log.sensors[lidar].ego_from_sensor;
  const Eigen::Matrix3f rotation = ego_from_lidar.rotation.toRotationMatrix().cast<float>();
  const Eigen::Vector3f translation = ego_from_lidar.translation.cast<float>();
  sample->points = at::empty({merged.size(), kPointColumns}, at::kFloat);
  float* const begin = sample->points.data_ptr<float>();
  float* row = begin;
  for (int64_t i = 0; i < merged.size(); ++i) {
    const Eigen::Vector3f point = rotation * merged.points[i] + translation;
    if (!point.allFinite()) continue;
    row[0] = point.x(), row[1] = point.y(), row[2] = point.z();
    row[3] = merged.intensity[i];
    row[4] = merged.time_s[i];
    row += kPointColumns;
  }
  sample->points = sample->points.narrow(0, 0, (row - begin) / kPointColumns);
}

// The picture through the window, as planes.
void CopyWindow(const Image& scaled, const ImageWindow& window, int width, int height,
                uint8_t* planes) {
  std::memset(planes, 0, static_cast<size_t>(3) * width * height);
  const int first = std::max(0, -window.left_px);
  const int last = std::min(width, scaled.width - window.left_px);
  for (int y = std::max(0, -window.top_px); y < std::min(height, scaled.height - window.top_px);
       ++y) {
    if (first >= last) break;
    const uint8_t* in = scaled.at(first + window.left_px, y + window.top_px);
    for (int x = first; x < last; ++x, in += 3) {
      uint8_t* out =
          planes + static_cast<size_t>(y) * width + (window.is_mirrored ? width - 1 - x : x);
      for (int c = 0; c < 3; ++c) out[static_cast<size_t>(c) * width * height] = in[c];
    }
  }
}

Image ReadScaled(const Log& log, const LogReading& reading, const Camera& pinhole,
                 const ImageWindow& window) {
  const Camera& camera = log.sensors[reading.sensor].camera;
  Image image = DecodeImage(ReadPayload(log, reading), reading.path.string(), 3);
  ATHANOR_CHECK(image.width == camera.width_px && image.height == camera.height_px,
                reading.path.string(), ": expected ", camera.width_px, "x", camera.height_px,
                " pixels as its camera ", log.sensors[reading.sensor].channel, " has, found ",
                image.width, "x", image.height);
  if (!camera.IsPinhole()) image = Undistort(image, camera, pinhole);
  return Resize(image, window.scaled_width_px, window.scaled_height_px);
}

void ReadCameras(const Log& log, int frame, const FrameSampleOptions& options,
                 std::span<const ImageWindow> windows, DetectionSample* sample) {
  const std::vector<int> cameras = CamerasOf(log);
  const auto count = static_cast<int64_t>(cameras.size());
  ATHANOR_CHECK(windows.empty() || windows.size() == cameras.size(), log.source, ": log ", log.name,
                ": expected a window for each of ", count, " cameras, found ", windows.size());
  const int width = options.width_px, height = options.height_px;
  sample->images = PlainZeros({count, 3, height, width}, at::kByte);
  sample->camera_from_ego = PlainZeros({count, 4, 4}, at::kFloat);
  sample->intrinsics = PlainZeros({count, 3, 3}, at::kFloat);
  sample->has_camera = PlainZeros({count}, at::kByte);
  const LogFrame& moment = log.frames[frame];
  for (int64_t c = 0; c < count; ++c) {
    const LogSensor& sensor = log.sensors[cameras[c]];
    sensor.camera.Check(StrCat(log.source, ": log ", log.name, ": ", sensor.channel));
    CheckPose(log, sensor.ego_from_sensor, sensor.channel);
    const Camera pinhole = PinholeOf(sensor.camera);
    const ImageWindow window = windows.empty() ? FitWindow(pinhole, options) : windows[c];
    Rigid3 camera_from_ego = sensor.ego_from_sensor.Inverse();
    const int reading = ReadingOf(log, frame, cameras[c]);
    if (reading >= 0) {
      const Rigid3& world_from_ego = log.readings[reading].world_from_ego;
      CheckPose(log, world_from_ego, StrCat("pose of reading ", reading));
      camera_from_ego = camera_from_ego * (world_from_ego.Inverse() * moment.world_from_ego);
    }
    if (options.with_pictures && IsOnDisk(log, frame, cameras[c])) {
      CopyWindow(ReadScaled(log, log.readings[reading], pinhole, window), window, width, height,
                 sample->images.data_ptr<uint8_t>() + c * 3 * width * height);
      sample->has_camera.data_ptr<uint8_t>()[c] = 1;
    }
    Eigen::Matrix4d matrix = Eigen::Matrix4d::Identity();
    matrix.topRows<3>() = camera_from_ego.ToMatrix();
    const double sx = static_cast<double>(window.scaled_width_px) / pinhole.width_px;
    const double sy = static_cast<double>(window.scaled_height_px) / pinhole.height_px;
    double cx = pinhole.cx() * sx - window.left_px;
    if (window.is_mirrored) {
      // A mirrored picture is that of a mirrored camera, whose focal length stays positive.
      cx = width - cx;
      matrix.row(0) *= -1;
    }
    Eigen::Map<Eigen::Matrix<float, 4, 4, Eigen::RowMajor>>(
        sample->camera_from_ego.data_ptr<float>() + c * 16) = matrix.cast<float>();
    float* k = sample->intrinsics.data_ptr<float>() + c * 9;
    k[0] = static_cast<float>(pinhole.fx() * sx), k[2] = static_cast<float>(cx);
    k[4] = static_cast<float>(pinhole.fy() * sy);
    k[5] = static_cast<float>(pinhole.cy() * sy - window.top_px);
    k[8] = 1;
  }
}

}  // namespace

Camera PinholeOf(const Camera& camera) {
  return camera.IsPinhole() ? camera : UndistortedCamera(camera);
}

std::vector<int> CamerasOf(const Log& log) {
  std::vector<int> cameras;
  for (size_t i = 0; i < log.sensors.size(); ++i) {
    if (log.sensors[i].kind == SensorKind::kCamera) cameras.push_back(static_cast<int>(i));
  }
  return cameras;
}

ImageWindow FitWindow(const Camera& camera, const FrameSampleOptions& options, double zoom) {
  const double scale = zoom * std::max(static_cast<double>(options.width_px) / camera.width_px,
                                       static_cast<double>(options.height_px) / camera.height_px);
  ImageWindow window;
  window.scaled_width_px = std::max(1, static_cast<int>(std::lround(camera.width_px * scale)));
  window.scaled_height_px = std::max(1, static_cast<int>(std::lround(camera.height_px * scale)));
  window.left_px = (window.scaled_width_px - options.width_px) / 2;
  const int bottom = window.scaled_height_px - options.height_px;
  const auto horizon = static_cast<int>(std::lround(camera.cy() * scale - options.height_px / 4.0));
  window.top_px = std::min(bottom, std::max(0, horizon));
  return window;
}

FrameBoxes BoxesOfFrame(const Log& log, int frame, const FrameSampleOptions& options) {
  const LogFrame& moment = log.frames[frame];
  CheckPose(log, moment.world_from_ego, StrCat("pose of frame ", frame));
  const Rigid3 ego_from_world = moment.world_from_ego.Inverse();
  FrameBoxes result;
  std::vector<float> rows;
  std::vector<int64_t> labels, attributes;
  for (size_t i = 0; i < moment.boxes.size(); ++i) {
    const LogBox& from = moment.boxes[i];
    const int label = DetectionClassOf(log.dataset, log.tracks.at(from.track).category);
    if (label < 0 || (from.num_lidar_points == 0 && !options.with_empty_boxes)) continue;
    const Box3 box = ego_from_world * from.box;
    const Eigen::Vector3d& center = box.frame_from_box.translation;
    const Eigen::Vector3d velocity =
        ego_from_world.rotation * Eigen::Vector3d(from.velocity_mps.x(), from.velocity_mps.y(), 0);
    for (const double value : {center.x(), center.y(), center.z(), box.size_m.x(), box.size_m.y(),
                               box.size_m.z(), box.yaw_rad(), velocity.x(), velocity.y()}) {
      rows.push_back(static_cast<float>(value));
    }
    labels.push_back(label);
    attributes.push_back(from.attributes.size() == 1 ? FindNuscenesAttribute(from.attributes[0])
                                                     : -1);
    result.index.push_back(static_cast<int>(i));
  }
  const auto count = static_cast<int64_t>(labels.size());
  result.boxes = at::empty({count, kBoxColumns}, at::kFloat);
  result.labels = at::empty({count}, at::kLong);
  result.attributes = at::empty({count}, at::kLong);
  std::copy(rows.begin(), rows.end(), result.boxes.data_ptr<float>());
  std::copy(labels.begin(), labels.end(), result.labels.data_ptr<int64_t>());
  std::copy(attributes.begin(), attributes.end(), result.attributes.data_ptr<int64_t>());
  return result;
}

DetectionSample ReadFrameSample(const Log& log, int frame, const FrameSampleOptions& options,
                                std::span<const ImageWindow> windows) {
  ATHANOR_CHECK(frame >= 0 && frame < static_cast<int>(log.frames.size()), log.source, ": log ",
                log.name, ": expected a frame of 0 to ", log.frames.size(), " (excluded), found ",
                frame);
  ATHANOR_CHECK(options.width_px > 0 && options.height_px > 0,
                "pictures of the detector: expected a positive size, found ", options.width_px, "x",
                options.height_px);
  DetectionSample sample;
  sample.id = log.frames[frame].id;
  FrameBoxes boxes = BoxesOfFrame(log, frame, options);
  sample.boxes = std::move(boxes.boxes);
  sample.labels = std::move(boxes.labels);
  sample.attributes = std::move(boxes.attributes);
  ReadPoints(log, frame, options, &sample);
  ReadCameras(log, frame, options, windows, &sample);
  return sample;
}

void CutToRange(const FrameSampleOptions& options, DetectionSample* sample) {
  const std::array<float, 6>& range = options.range_m;
  const auto is_inside = [&](const float* row, float margin) {
    for (int axis = 0; axis < 3; ++axis) {
      if (row[axis] < range[axis] - margin || row[axis] >= range[axis + 3] + margin) return false;
    }
    return true;
  };
  const at::Tensor points = sample->points.contiguous();
  at::Tensor kept = at::empty(points.sizes(), at::kFloat);
  const float* in = points.data_ptr<float>();
  float* out = kept.data_ptr<float>();
  int64_t count = 0;
  for (int64_t i = 0; i < points.size(0); ++i, in += kPointColumns) {
    if (!is_inside(in, options.margin_m)) continue;
    std::copy(in, in + kPointColumns, out + count++ * kPointColumns);
  }
  sample->points = PlainCopy(kept.narrow(0, 0, count));

  const at::Tensor boxes = sample->boxes.contiguous();
  std::vector<int64_t> inside;
  for (int64_t i = 0; i < boxes.size(0); ++i) {
    if (is_inside(boxes.data_ptr<float>() + i * kBoxColumns, 0)) inside.push_back(i);
  }
  const at::Tensor index = at::empty({static_cast<int64_t>(inside.size())}, at::kLong);
  std::copy(inside.begin(), inside.end(), index.data_ptr<int64_t>());
  sample->boxes = boxes.index_select(0, index);
  sample->labels = sample->labels.index_select(0, index);
  sample->attributes = sample->attributes.index_select(0, index);
}

DetectionSample MakeFrameSample(const Log& log, int frame, const FrameSampleOptions& options) {
  DetectionSample sample = ReadFrameSample(log, frame, options);
  CutToRange(options, &sample);
  return sample;
}

}  // namespace athanor
