// What the tests of samples share.
#pragma once

#include <ATen/ATen.h>

#include <Eigen/Core>
#include <Eigen/Geometry>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "athanor/datasets/log_test_util.h"
#include "athanor/detection/profusion3d/detector_options.h"
#include "athanor/detection/profusion3d/sample.h"
#include "athanor/geometry/box3.h"

namespace athanor {

// WriteTestLog with paths that lead to the files.
inline Log OpenTestLog(const std::filesystem::path& root, int frames = 3) {
  Log log = WriteTestLog(root, "scene-1", frames);
  log.source = "test-logs";
  log.dataset = "nuscenes";
  for (int f = 0; f < frames; ++f) log.frames[f].id = "sample-" + std::to_string(f);
  for (LogReading& reading : log.readings) reading.path = root / reading.path;
  return log;
}

inline Box3 BoxOfRow(const at::Tensor& row) {
  const auto value = [&](int i) { return static_cast<double>(row[i].item<float>()); };
  return MakeBox3({value(0), value(1), value(2)}, {value(3), value(4), value(5)}, value(6));
}

// Points of the sample in each of its boxes, which are grown by `margin_m` on each side.
inline std::vector<int> CountPoints(const DetectionSample& sample, double margin_m = 0) {
  std::vector<int> counts;
  const at::Tensor points = sample.points.contiguous();
  for (int64_t b = 0; b < sample.boxes.size(0); ++b) {
    Box3 box = BoxOfRow(sample.boxes[b]);
    box.size_m.array() += 2 * margin_m;
    int count = 0;
    for (int64_t i = 0; i < points.size(0); ++i) {
      const float* p = points.data_ptr<float>() + i * kPointColumns;
      count += box.Contains(Eigen::Vector3d(p[0], p[1], p[2]));
    }
    counts.push_back(count);
  }
  return counts;
}

struct SeenPoint {
  Eigen::Vector2d pixel;
  double depth_m;
};

// Where a camera of the sample sees a point of the ego frame; none behind it.
inline std::optional<SeenPoint> SeePoint(const DetectionSample& sample, int64_t camera,
                                         const Eigen::Vector3d& point) {
  const at::Tensor e = sample.camera_from_ego[camera].contiguous();
  const at::Tensor k = sample.intrinsics[camera].contiguous();
  const Eigen::Matrix4d camera_from_ego =
      Eigen::Map<const Eigen::Matrix<float, 4, 4, Eigen::RowMajor>>(e.data_ptr<float>())
          .cast<double>();
  const Eigen::Matrix3d intrinsics =
      Eigen::Map<const Eigen::Matrix<float, 3, 3, Eigen::RowMajor>>(k.data_ptr<float>())
          .cast<double>();
  const Eigen::Vector3d x = (camera_from_ego * point.homogeneous()).head<3>();
  if (x.z() < 0.1) return std::nullopt;
  return SeenPoint{(intrinsics * x).hnormalized(), x.z()};
}

// Two pinhole cameras of 96x64 pixels in the ego frame's origin, one ahead and one behind.
inline void AddTwoCameras(DetectionSample* sample) {
  sample->camera_from_ego = at::zeros({2, 4, 4});
  for (int c = 0; c < 2; ++c) {
    const float ahead = c == 0 ? 1.0f : -1.0f;
    // Camera x to the right, y down, z along the view.
    sample->camera_from_ego[c][0][1] = -ahead;
    sample->camera_from_ego[c][1][2] = -1;
    sample->camera_from_ego[c][2][0] = ahead;
    sample->camera_from_ego[c][3][3] = 1;
  }
  sample->intrinsics = at::tensor({60.0f, 0.0f, 48.0f, 0.0f, 60.0f, 32.0f, 0.0f, 0.0f, 1.0f})
                           .view({1, 3, 3})
                           .repeat({2, 1, 1});
  sample->has_camera = at::ones({2}, at::kByte);
}

// The small network that sees them.
inline DetectorOptions SmallDetector() {
  DetectorOptions options;
  options.image_width_px = 96, options.image_height_px = 64;
  options.range_m = 12.8f, options.low_m = -2, options.high_m = 2;
  options.voxel_m = 0.2f;
  options.width = 16, options.lift_width = 8, options.heads = 2, options.window = 4;
  options.lidar_channels = "8,8,16", options.bev_layers = 1;
  options.camera_channels = "8,8,16", options.camera_blocks = "0,1,1", options.camera_stride = 8;
  options.depth_high_m = 17, options.depths = 8;
  options.queries = 12, options.proposals = 8, options.decoder_hidden = 32;
  return options;
}

}  // namespace athanor
