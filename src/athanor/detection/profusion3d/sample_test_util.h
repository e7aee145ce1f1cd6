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

}  // namespace athanor
