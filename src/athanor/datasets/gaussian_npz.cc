// gsplat's test_garden.npz.
#include <algorithm>

#include "athanor/base/error.h"
#include "athanor/datasets/gaussian_formats.h"
#include "athanor/datasets/numpy_files.h"
#include "athanor/geometry/nearest.h"

namespace athanor::internal {
namespace {

constexpr float kPointOpacity = 0.9f;
constexpr int kNeighbors = 3;
// Points that lie upon each other would get a Gaussian of size 0.
constexpr float kMinVariance = 1e-7f;
// A point far from all others would cover the picture: no scale is larger than this many medians.
constexpr float kMaxScaleInMedians = 4.0f;

int ReadSize(const NpzArchive& archive, std::string_view key, std::string_view name) {
  const auto size = archive.Read(key, "<i8", {}).at<int64_t>(0);
  ATHANOR_CHECK(size > 0 && size <= 1 << 20, name, ": ", key,
                ".npy: expected a size in pixels, found ", size);
  return static_cast<int>(size);
}

std::vector<ColoredPoint> ReadPoints(const NpzArchive& archive, std::string_view name) {
  const NpyArray means = archive.Read("means3d", "<f4", {0, 3});
  const NpyArray colors = archive.Read("colors", "|u1", {0, 3});
  ATHANOR_CHECK(means.shape[0] > 0, name, ": expected at least 1 point, found none");
  ATHANOR_CHECK(means.shape[0] == colors.shape[0], name, ": expected as many colours as points, ",
                "found ", colors.shape[0], " and ", means.shape[0]);
  std::vector<ColoredPoint> points(means.shape[0]);
  for (size_t i = 0; i < points.size(); ++i) {
    for (int j = 0; j < 3; ++j) {
      points[i].position[j] = means.at<float>(i * 3 + j);
      points[i].color[j] = colors.at<uint8_t>(i * 3 + j);
      ATHANOR_CHECK(std::isfinite(points[i].position[j]), name, ": means3d.npy: point ", i,
                    ": expected a finite position, found ", points[i].position[j]);
    }
  }
  return points;
}

}  // namespace

GaussianCloud DecodeGardenNpz(std::string_view bytes, std::string_view name) {
  const NpzArchive archive(bytes, name);
  const std::vector<ColoredPoint> points = ReadPoints(archive, name);
  GaussianCloud cloud;
  cloud.Resize(static_cast<int64_t>(points.size()));
  for (size_t i = 0; i < points.size(); ++i) {
    for (int j = 0; j < 3; ++j) {
      cloud.means[i * 3 + j] = points[i].position[j];
      cloud.sh[i * 3 + j] = (static_cast<float>(points[i].color[j]) / 255.0f - 0.5f) / kShDc;
    }
    cloud.quats[i * 4] = 1;
  }
  const std::vector<float> squared =
      MeanSquaredDistanceToNearest(cloud.means.data(), cloud.size(), kNeighbors);
  std::vector<float> sorted = squared;
  std::nth_element(sorted.begin(), sorted.begin() + sorted.size() / 2, sorted.end());
  const float max_variance =
      std::max(kMinVariance, kMaxScaleInMedians * kMaxScaleInMedians * sorted[sorted.size() / 2]);
  for (size_t i = 0; i < points.size(); ++i) {
    const float log_scale = 0.5f * std::log(std::clamp(squared[i], kMinVariance, max_variance));
    std::fill_n(&cloud.log_scales[i * 3], 3, log_scale);
    cloud.opacity_logits[i] = std::log(kPointOpacity / (1 - kPointOpacity));
  }
  cloud.Check(name);
  return cloud;
}

PosedImages DecodeGardenViews(std::string_view bytes, std::string_view name) {
  const NpzArchive archive(bytes, name);
  const int width = ReadSize(archive, "width", name);
  const int height = ReadSize(archive, "height", name);
  const NpyArray intrinsics = archive.Read("Ks", "<f4", {0, 3, 3});
  const NpyArray poses = archive.Read("viewmats", "<f4", {0, 4, 4});
  ATHANOR_CHECK(intrinsics.shape[0] == poses.shape[0], name,
                ": expected as many cameras as poses, found ", intrinsics.shape[0], " and ",
                poses.shape[0]);
  PosedImages posed;
  posed.source = name;
  posed.points = ReadPoints(archive, name);
  for (size_t view = 0; view < poses.shape[0]; ++view) {
    const std::string where = StrCat(name, ": view ", view);
    Camera camera;
    camera.width_px = width;
    camera.height_px = height;
    const auto k = [&](int i) { return intrinsics.at<float>(view * 9 + i); };
    camera.parameters = {k(0), k(4), k(2), k(5)};  // fx, fy, cx, cy
    camera.Check(where);
    posed.cameras.push_back(camera);

    Eigen::Matrix3d rotation;
    PosedImage image;
    for (int row = 0; row < 3; ++row) {
      for (int column = 0; column < 3; ++column) {
        rotation(row, column) = poses.at<float>(view * 16 + row * 4 + column);
      }
      image.camera_from_world.translation[row] = poses.at<float>(view * 16 + row * 4 + 3);
    }
    const double error = (rotation * rotation.transpose() - Eigen::Matrix3d::Identity()).norm();
    ATHANOR_CHECK(error < 1e-3 && rotation.determinant() > 0 &&
                      image.camera_from_world.translation.allFinite(),
                  where, ": viewmats.npy: expected a rigid pose, found one off by ", error);
    image.camera_from_world.rotation = Eigen::Quaterniond(rotation).normalized();
    image.name = StrCat(view);
    image.camera = static_cast<int>(view);
    posed.images.push_back(std::move(image));
  }
  return posed;
}

}  // namespace athanor::internal
