#include "athanor/detection/profusion3d/view_mapping.h"

#include <ATen/ATen.h>

#include <Eigen/Core>
#include <Eigen/LU>
#include <cmath>
#include <limits>
#include <optional>
#include <vector>

#include "athanor/base/error.h"
#include "athanor/base/parallel.h"
#include "athanor/datasets/rotation_matrix.h"
#include "athanor/geometry/rigid3.h"
#include "athanor/ops/device.h"

namespace athanor {
namespace {

constexpr double kNearestM = 0.1;

struct Pinhole {
  Rigid3 camera_from_ego;
  Eigen::Matrix3d intrinsics;
};

using RowMatrix3 = Eigen::Matrix<float, 3, 3, Eigen::RowMajor>;
using RowMatrix4 = Eigen::Matrix<float, 4, 4, Eigen::RowMajor>;

Pinhole ReadCamera(int64_t c, const float* transform, const float* intrinsics) {
  const Eigen::Matrix4d m = Eigen::Map<const RowMatrix4>(transform).cast<double>();
  const Eigen::Matrix3d k = Eigen::Map<const RowMatrix3>(intrinsics).cast<double>();
  ATHANOR_CHECK(m.allFinite() && k.allFinite(), "camera ", c,
                ": expected a finite calibration, found ",
                m.allFinite() ? "intrinsics" : "camera_from_ego", " with NaN or infinity");
  const Eigen::Matrix3d turn = m.topLeftCorner<3, 3>();
  const auto rotation = NearestRotation(turn);
  ATHANOR_CHECK(rotation.has_value(), "camera ", c,
                ": expected camera_from_ego with a rotation, found a matrix R with |R R^T - 1| = ",
                (turn * turn.transpose() - Eigen::Matrix3d::Identity()).norm(), " and determinant ",
                turn.determinant());
  ATHANOR_CHECK(m.row(3) == Eigen::RowVector4d(0, 0, 0, 1), "camera ", c,
                ": expected camera_from_ego with a last row of 0 0 0 1, found ", m.row(3));
  ATHANOR_CHECK(
      k(0, 0) > 0 && k(1, 1) > 0 && k(1, 0) == 0 && k.row(2) == Eigen::RowVector3d(0, 0, 1),
      "camera ", c, ": expected intrinsics (f s x; 0 f y; 0 0 1) with f > 0, found (", k.row(0),
      "; ", k.row(1), "; ", k.row(2), ")");
  return {{*rotation, m.topRightCorner<3, 1>()}, k};
}

// Checks the rig and reads the cameras that are there; none for a missing one.
std::vector<std::optional<Pinhole>> ReadCameras(const CameraRig& rig, const PvGrid& pv) {
  ATHANOR_CHECK(pv.height > 0 && pv.width > 0 && pv.stride_px > 0,
                "camera features: expected a height, width and stride of at least 1, found ",
                pv.height, ", ", pv.width, ", ", pv.stride_px);
  ATHANOR_CHECK(rig.image_height_px > 0 && rig.image_width_px > 0,
                "camera images: expected a height and width of at least 1, found ",
                rig.image_height_px, ", ", rig.image_width_px);
  CheckTensor(rig.camera_from_ego, "camera_from_ego", at::kFloat, at::kCPU, {-1, 4, 4});
  const int64_t count = rig.camera_from_ego.size(0);
  CheckTensor(rig.intrinsics, "intrinsics", at::kFloat, at::kCPU, {count, 3, 3});
  const bool all = !rig.has_camera.defined();
  if (!all) CheckTensor(rig.has_camera, "has_camera", at::kByte, at::kCPU, {count});
  std::vector<std::optional<Pinhole>> cameras(count);
  for (int64_t c = 0; c < count; ++c) {
    if (!all && rig.has_camera.data_ptr<uint8_t>()[c] == 0) continue;
    cameras[c] = ReadCamera(c, rig.camera_from_ego.data_ptr<float>() + c * 16,
                            rig.intrinsics.data_ptr<float>() + c * 9);
  }
  return cameras;
}

// The cells of a grid, with levels of height.
class Lattice {
 public:
  Lattice(const BevGrid& grid, int64_t levels, double level_m)
      : x_low_(grid.range_m[0]),
        y_low_(grid.range_m[1]),
        z_low_(grid.range_m[2]),
        cell_m_(grid.cell_m),
        level_m_(level_m),
        rows_(grid.rows()),
        columns_(grid.columns()),
        levels_(levels) {
    ATHANOR_CHECK(rows_ > 0 && columns_ > 0 && levels_ > 0 && level_m_ > 0 && cell_m_ > 0,
                  "BEV grid: expected at least one row, column and level, found ", rows_, ", ",
                  columns_, ", ", levels_);
    constexpr double kMost = std::numeric_limits<int32_t>::max();
    ATHANOR_CHECK(static_cast<double>(rows_) * columns_ * levels_ < kMost,
                  "BEV grid: expected fewer than 2^31 cells, found ", rows_, " x ", columns_, " x ",
                  levels_);
  }

  int64_t rows() const { return rows_; }
  int64_t columns() const { return columns_; }
  int64_t cells() const { return rows_ * columns_ * levels_; }
  // (row * columns + column) * levels + level, or -1 out of range.
  int32_t CellOf(const Eigen::Vector3d& x) const {
    const double column = (x[0] - x_low_) / cell_m_;
    const double row = (x[1] - y_low_) / cell_m_;
    const double level = (x[2] - z_low_) / level_m_;
    // Written so that NaN falls outside.
    const bool inside = column >= 0 && column < static_cast<double>(columns_) && row >= 0 &&
                        row < static_cast<double>(rows_) && level >= 0 &&
                        level < static_cast<double>(levels_);
    if (!inside) return -1;
    return static_cast<int32_t>(
        (static_cast<int64_t>(row) * columns_ + static_cast<int64_t>(column)) * levels_ +
        static_cast<int64_t>(level));
  }
  double CenterX(int64_t column) const { return x_low_ + (column + 0.5) * cell_m_; }
  double CenterY(int64_t row) const { return y_low_ + (row + 0.5) * cell_m_; }
  double CenterZ(int64_t level) const { return z_low_ + (level + 0.5) * level_m_; }

 private:
  double x_low_, y_low_, z_low_, cell_m_, level_m_;
  int64_t rows_, columns_, levels_;
};

struct FeaturePixel {
  int64_t index;  // row * width + column
  float depth_m;
};

// Where a camera sees points of the ego frame.
class Projection {
 public:
  Projection(const Pinhole& camera, const CameraRig& rig, const PvGrid& pv)
      : matrix_(camera.intrinsics * camera.camera_from_ego.rotation.toRotationMatrix()),
        shift_(camera.intrinsics * camera.camera_from_ego.translation),
        height_(static_cast<double>(rig.image_height_px)),
        width_(static_cast<double>(rig.image_width_px)),
        pv_(pv) {}
  // None behind the camera, nearer than kNearestM, beside the image, or for what is not finite.
  std::optional<FeaturePixel> PixelOf(const Eigen::Vector3d& point) const {
    // The last row of the intrinsics is 0 0 1, so that z is the depth.
    const Eigen::Vector3d at = matrix_ * point + shift_;
    if (!(at[2] >= kNearestM)) return std::nullopt;
    const double u = at[0] / at[2], v = at[1] / at[2];
    if (!(u >= 0 && v >= 0 && u < width_ && v < height_)) return std::nullopt;
    const auto row = static_cast<int64_t>(v / pv_.stride_px);
    const auto column = static_cast<int64_t>(u / pv_.stride_px);
    if (row >= pv_.height || column >= pv_.width) return std::nullopt;
    return FeaturePixel{row * pv_.width + column, static_cast<float>(at[2])};
  }

 private:
  Eigen::Matrix3d matrix_;
  Eigen::Vector3d shift_;
  double height_, width_;
  PvGrid pv_;
};

double HeightOf(const BevGrid& grid) { return double{grid.range_m[5]} - grid.range_m[2]; }

}  // namespace

LiftPlan LiftPlan::To(const c10::Device& device) const {
  return {rows, columns, slices, links.To(device)};
}

PvPlan PvPlan::To(const c10::Device& device) const {
  return {rows, columns, links.To(device), depth.to(device)};
}

LiftPlan MakeLiftPlan(const CameraRig& rig, const PvGrid& pv, const DepthBins& bins,
                      const BevGrid& grid, int64_t slices) {
  ATHANOR_CHECK(slices > 0, "lift: expected at least one slice of height, found ", slices);
  ATHANOR_CHECK(bins.count > 0 && bins.first_m >= 0 && bins.step_m > 0 &&
                    std::isfinite(bins.first_m + bins.step_m * static_cast<float>(bins.count)),
                "depth bins: expected first >= 0 m, step > 0 m and at least one, found ",
                bins.first_m, ", ", bins.step_m, ", ", bins.count);
  const Lattice lattice(grid, slices, HeightOf(grid) / static_cast<double>(slices));
  const auto cameras = ReadCameras(rig, pv);
  const auto count = static_cast<int64_t>(cameras.size());
  const at::Tensor table = at::full({count, pv.height, pv.width, bins.count}, -1, at::kInt);
  auto* cells = table.data_ptr<int32_t>();
  ParallelFor(count * pv.height, 1, [&](int64_t begin, int64_t end) {
    for (int64_t line = begin; line < end; ++line) {
      const auto& camera = cameras[line / pv.height];
      const double v = (static_cast<double>(line % pv.height) + 0.5) * pv.stride_px;
      if (!camera.has_value() || v >= static_cast<double>(rig.image_height_px)) continue;
      const Rigid3 ego_from_camera = camera->camera_from_ego.Inverse();
      const Eigen::Matrix3d ray_of_pixel =
          ego_from_camera.rotation.toRotationMatrix() * camera->intrinsics.inverse();
      int32_t* out = cells + line * pv.width * bins.count;
      for (int64_t j = 0; j < pv.width; ++j, out += bins.count) {
        const double u = (static_cast<double>(j) + 0.5) * pv.stride_px;
        if (u >= static_cast<double>(rig.image_width_px)) break;
        const Eigen::Vector3d ray = ray_of_pixel * Eigen::Vector3d(u, v, 1);
        for (int64_t d = 0; d < bins.count; ++d) {
          const double depth = bins.first_m + (static_cast<double>(d) + 0.5) * bins.step_m;
          out[d] = lattice.CellOf(ego_from_camera.translation + depth * ray);
        }
      }
    }
  });
  return {lattice.rows(), lattice.columns(), slices, MakeBevLinks(table, lattice.cells())};
}

at::Tensor LiftToBev(const at::Tensor& features, const at::Tensor& depth, const LiftPlan& plan) {
  const at::Tensor cells = BevPool(features, depth, plan.links);
  return cells.view({plan.rows, plan.columns, plan.slices * cells.size(1)}).permute({2, 0, 1});
}

at::Tensor ViewRays(const CameraRig& rig, const PvGrid& pv) {
  const auto cameras = ReadCameras(rig, pv);
  at::Tensor rays = at::zeros({std::ssize(cameras), 3, pv.height, pv.width});
  const int64_t pixels = pv.height * pv.width;
  for (int64_t c = 0; c < std::ssize(cameras); ++c) {
    if (!cameras[c].has_value()) continue;
    const Eigen::Matrix3d& k = cameras[c]->intrinsics;
    const Eigen::Matrix3d from_pixel = k.inverse();
    // The last row of the rotation from the camera to the ego frame.
    const Eigen::Vector3d up =
        cameras[c]->camera_from_ego.rotation.toRotationMatrix() * Eigen::Vector3d::UnitZ();
    auto* sine = rays.data_ptr<float>() + c * 3 * pixels;
    auto* cosine = sine + pixels;
    auto* view = cosine + pixels;
    const auto width = static_cast<float>(static_cast<double>(rig.image_width_px) / k(0, 0));
    for (int64_t i = 0; i < pixels; ++i) {
      const double u = (static_cast<double>(i % pv.width) + 0.5) * pv.stride_px;
      const double v = (static_cast<double>(i / pv.width) + 0.5) * pv.stride_px;
      const Eigen::Vector3d ray = (from_pixel * Eigen::Vector3d(u, v, 1)).normalized();
      sine[i] = static_cast<float>(up.dot(ray));
      cosine[i] = static_cast<float>(ray.z());
      view[i] = width;
    }
  }
  return rays;
}

OccupiedColumns FindOccupiedColumns(const at::Tensor& points, const BevGrid& grid, float z_step_m) {
  ATHANOR_CHECK(z_step_m > 0, "occupied columns: expected a step of height above 0 m, found ",
                z_step_m);
  const double levels = std::ceil(HeightOf(grid) / z_step_m - 1e-6);
  ATHANOR_CHECK(levels >= 1 && levels < 1e9,
                "occupied columns: expected a range of 1 to 10^9 steps of height, found ", levels);
  const Lattice lattice(grid, static_cast<int64_t>(levels), z_step_m);
  const at::Tensor dense = points.defined() ? points.contiguous() : points;
  CheckTensor(dense, "points", at::kFloat, at::kCPU, {-1, -1});
  const int64_t stride = dense.size(1);
  ATHANOR_CHECK(stride >= 3, "points: expected x, y and z in each row, found ", dense.sizes());
  const auto* x = dense.data_ptr<float>();
  const auto per_cell = static_cast<int64_t>(levels);
  std::vector<bool> occupied(lattice.cells());
  int64_t count = 0;
  for (int64_t n = 0; n < dense.size(0); ++n, x += stride) {
    // The last level may stand out of the range.
    if (!(x[2] < grid.range_m[5])) continue;
    const int32_t voxel = lattice.CellOf({x[0], x[1], x[2]});
    if (voxel < 0 || occupied[voxel]) continue;
    occupied[voxel] = true;
    ++count;
  }
  OccupiedColumns result = {at::empty({count}, at::kInt), at::empty({count}, at::kFloat)};
  auto* cells = result.cells.data_ptr<int32_t>();
  auto* z_m = result.z_m.data_ptr<float>();
  for (int64_t voxel = 0, i = 0; i < count; ++voxel) {
    if (!occupied[voxel]) continue;
    cells[i] = static_cast<int32_t>(voxel / per_cell);
    z_m[i] = static_cast<float>(lattice.CenterZ(voxel % per_cell));
    ++i;
  }
  return result;
}

PvPlan MakePvPlan(const CameraRig& rig, const PvGrid& pv, const BevGrid& grid,
                  const OccupiedColumns& occupied) {
  const Lattice lattice(grid, 1, HeightOf(grid));
  const auto cameras = ReadCameras(rig, pv);
  CheckTensor(occupied.cells, "occupied cells", at::kInt, at::kCPU, {-1});
  const int64_t voxels = occupied.cells.size(0);
  CheckTensor(occupied.z_m, "heights of occupied cells", at::kFloat, at::kCPU, {voxels});
  const auto* cells = occupied.cells.data_ptr<int32_t>();
  const auto* z_m = occupied.z_m.data_ptr<float>();
  std::vector<Eigen::Vector3d> centers(voxels);
  for (int64_t i = 0; i < voxels; ++i) {
    ATHANOR_CHECK(cells[i] >= 0 && cells[i] < lattice.cells(), "occupied cell ", i,
                  ": expected 0 to ", lattice.cells() - 1, ", found ", cells[i]);
    centers[i] = {lattice.CenterX(cells[i] % lattice.columns()),
                  lattice.CenterY(cells[i] / lattice.columns()), z_m[i]};
  }
  const auto count = static_cast<int64_t>(cameras.size());
  const at::Tensor table = at::full({count, pv.height, pv.width, 1}, -1, at::kInt);
  PvPlan plan = {lattice.rows(), lattice.columns(), {}, at::zeros({count, pv.height, pv.width})};
  ParallelFor(count, 1, [&](int64_t begin, int64_t end) {
    for (int64_t c = begin; c < end; ++c) {
      if (!cameras[c].has_value()) continue;
      const Projection projection(*cameras[c], rig, pv);
      int32_t* winners = table.data_ptr<int32_t>() + c * pv.height * pv.width;
      float* depths = plan.depth.data_ptr<float>() + c * pv.height * pv.width;
      for (int64_t i = 0; i < voxels; ++i) {
        const std::optional<FeaturePixel> seen = projection.PixelOf(centers[i]);
        if (!seen) continue;
        const auto [pixel, depth] = *seen;
        const bool nearer = winners[pixel] < 0 || depth < depths[pixel] ||
                            (depth == depths[pixel] && cells[i] < winners[pixel]);
        if (!nearer) continue;
        winners[pixel] = cells[i];
        depths[pixel] = depth;
      }
    }
  });
  plan.links = MakeBevLinks(table, lattice.cells());
  return plan;
}

NearestPoints FindNearestPoints(const CameraRig& rig, const PvGrid& pv, const at::Tensor& points) {
  const auto cameras = ReadCameras(rig, pv);
  const at::Tensor dense = points.defined() ? points.contiguous() : points;
  CheckTensor(dense, "points", at::kFloat, at::kCPU, {-1, -1});
  const int64_t count = dense.size(0), stride = dense.size(1);
  ATHANOR_CHECK(stride >= 3, "points: expected x, y and z in each row, found ", dense.sizes());
  const NearestPoints nearest = {
      at::full({std::ssize(cameras), pv.height, pv.width}, -1, at::kLong),
      at::zeros({std::ssize(cameras), pv.height, pv.width})};
  for (int64_t c = 0; c < std::ssize(cameras); ++c) {
    if (!cameras[c].has_value()) continue;
    const Projection projection(*cameras[c], rig, pv);
    const int64_t first = c * pv.height * pv.width;
    auto* index = nearest.index.data_ptr<int64_t>() + first;
    auto* depths = nearest.depth.data_ptr<float>() + first;
    const float* x = dense.data_ptr<float>();
    for (int64_t n = 0; n < count; ++n, x += stride) {
      const std::optional<FeaturePixel> seen = projection.PixelOf({x[0], x[1], x[2]});
      if (!seen) continue;
      const auto [pixel, depth] = *seen;
      if (index[pixel] >= 0 && depths[pixel] <= depth) continue;
      index[pixel] = n, depths[pixel] = depth;
    }
  }
  return nearest;
}

at::Tensor ProjectToPv(const at::Tensor& bev, const PvPlan& plan) {
  ATHANOR_CHECK(
      bev.defined() && bev.dim() == 3 && bev.size(1) == plan.rows && bev.size(2) == plan.columns,
      "BEV map: expected shape [F, ", plan.rows, ", ", plan.columns, "], found ",
      bev.defined() ? StrCat(bev.sizes()) : "no tensor");
  return BevSpread(bev.permute({1, 2, 0}).reshape({plan.rows * plan.columns, bev.size(0)}),
                   plan.links);
}

}  // namespace athanor
