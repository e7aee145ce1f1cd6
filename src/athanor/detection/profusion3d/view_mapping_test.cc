// The mappings between views against brute force in double precision, known places, and rigs that
// lack cameras or calibration.
#include "athanor/detection/profusion3d/view_mapping.h"

#include <ATen/ATen.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <array>
#include <cmath>
#include <functional>
#include <limits>
#include <vector>

#include "athanor/base/parallel.h"
#include "athanor/base/test_util.h"

namespace athanor {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

constexpr int64_t kImageHeight = 64, kImageWidth = 112;
constexpr double kFocal = 60;

// Looks along `yaw` about z of the ego frame, from (x, y, z).
at::Tensor CameraFromEgo(double yaw, double x, double y, double z) {
  const double c = std::cos(yaw), s = std::sin(yaw);
  // Rows: right, down, forward.
  const double rows[3][3] = {{s, -c, 0}, {0, 0, -1}, {c, s, 0}};
  const at::Tensor matrix = at::eye(4, at::kFloat);
  auto at = matrix.accessor<float, 2>();
  for (int i = 0; i < 3; ++i) {
    for (int j = 0; j < 3; ++j) at[i][j] = static_cast<float>(rows[i][j]);
    at[i][3] = static_cast<float>(-(rows[i][0] * x + rows[i][1] * y + rows[i][2] * z));
  }
  return matrix;
}

CameraRig Rig(const std::vector<double>& yaws) {
  std::vector<at::Tensor> transforms, intrinsics;
  for (const double yaw : yaws) {
    transforms.push_back(
        CameraFromEgo(yaw, 0.5 * std::cos(yaw), 0.5 * std::sin(yaw), 1.2 + 0.01 * yaw));
    intrinsics.push_back(at::tensor({kFocal, 0.3, 55.3, 0.0, kFocal + 1, 30.7, 0.0, 0.0, 1.0})
                             .view({3, 3})
                             .to(at::kFloat));
  }
  return {at::stack(transforms), at::stack(intrinsics), {}, kImageHeight, kImageWidth};
}

const PvGrid kPv = {8, 14, 8};
const DepthBins kBins = {1, 0.7f, 20};

BevGrid SmallGrid() { return {{-9, -6, -2, 15, 6, 3}, 0.75f}; }  // 16 rows, 32 columns

using Mat = std::array<std::array<double, 4>, 4>;

Mat Matrix(const at::Tensor& tensor) {
  Mat m = {};
  for (int64_t i = 0; i < tensor.size(0); ++i) {
    for (int64_t j = 0; j < tensor.size(1); ++j) m[i][j] = tensor[i][j].item<double>();
  }
  return m;
}

// The point of the ego frame at a place in the image and a depth.
std::array<double, 3> Unproject(const Mat& t, const Mat& k, double u, double v, double depth) {
  const double y = (v - k[1][2]) / k[1][1] * depth;
  const double x = ((u - k[0][2]) * depth - k[0][1] * y) / k[0][0];
  const double in_camera[3] = {x - t[0][3], y - t[1][3], depth - t[2][3]};
  std::array<double, 3> ego = {};
  for (int i = 0; i < 3; ++i) {
    for (int j = 0; j < 3; ++j) ego[i] += t[j][i] * in_camera[j];
  }
  return ego;
}

// Every point of every ray by itself, straight into [slices*F,rows,columns], in double.
at::Tensor LiftReference(const at::Tensor& features, const at::Tensor& depth, const CameraRig& rig,
                         const BevGrid& grid, int64_t slices) {
  const int64_t channels = features.size(1), rows = grid.rows(), columns = grid.columns();
  std::vector<int64_t> places, sources;
  for (int64_t c = 0; c < features.size(0); ++c) {
    if (rig.has_camera.defined() && rig.has_camera[c].item<int>() == 0) continue;
    const Mat t = Matrix(rig.camera_from_ego[c]), k = Matrix(rig.intrinsics[c]);
    for (int64_t i = 0; i < kPv.height; ++i) {
      for (int64_t j = 0; j < kPv.width; ++j) {
        for (int64_t d = 0; d < kBins.count; ++d) {
          const auto x = Unproject(t, k, kPv.stride_px * (j + 0.5), kPv.stride_px * (i + 0.5),
                                   kBins.first_m + (static_cast<double>(d) + 0.5) * kBins.step_m);
          const double column = std::floor((x[0] - grid.range_m[0]) / grid.cell_m);
          const double row = std::floor((x[1] - grid.range_m[1]) / grid.cell_m);
          const double height = double{grid.range_m[5]} - grid.range_m[2];
          const double slice = std::floor((x[2] - grid.range_m[2]) / height * slices);
          if (column < 0 || column >= columns || row < 0 || row >= rows || slice < 0 ||
              slice >= slices) {
            continue;
          }
          places.push_back(static_cast<int64_t>((slice * rows + row) * columns + column));
          sources.push_back(((c * kPv.height + i) * kPv.width + j) * kBins.count + d);
        }
      }
    }
  }
  const at::Tensor products =
      (depth.permute({0, 2, 3, 1}).unsqueeze(4) * features.permute({0, 2, 3, 1}).unsqueeze(3))
          .reshape({-1, channels});
  return at::zeros({slices * rows * columns, channels}, features.options())
      .index_add(0, at::tensor(places, at::kLong),
                 products.index_select(0, at::tensor(sources, at::kLong)))
      .view({slices, rows, columns, channels})
      .permute({0, 3, 1, 2})
      .reshape({slices * channels, rows, columns});
}

double RelativeError(const at::Tensor& got, const at::Tensor& expected) {
  EXPECT_EQ(got.sizes(), expected.sizes());
  const double scale = expected.abs().max().item<double>();
  return (got.to(at::kDouble) - expected).abs().max().item<double>() / std::max(scale, 1e-12);
}

at::Tensor Leaf(const at::Tensor& tensor, at::ScalarType type) {
  return tensor.detach().to(type).clone().requires_grad_();
}

at::Tensor Features(int64_t cameras, int64_t channels) {
  return at::randn({cameras, channels, kPv.height, kPv.width});
}

at::Tensor Depth(int64_t cameras) {
  return at::randn({cameras, kBins.count, kPv.height, kPv.width}).softmax(1);
}

TEST(LiftToBev, EqualsEveryPointByItself) {
  at::manual_seed(1);
  const CameraRig rig = Rig({0, 1.1, 3.0});
  for (const int64_t slices : {1, 4}) {
    const LiftPlan plan = MakeLiftPlan(rig, kPv, kBins, SmallGrid(), slices);
    const at::Tensor values = Features(3, 6), share = Depth(3);
    const at::Tensor features = Leaf(values, at::kFloat), depth = Leaf(share, at::kFloat);
    const at::Tensor exact = Leaf(values, at::kDouble), exact_depth = Leaf(share, at::kDouble);
    const at::Tensor bev = LiftToBev(features, depth, plan);
    const at::Tensor expected = LiftReference(exact, exact_depth, rig, SmallGrid(), slices);
    EXPECT_EQ(bev.sizes(), at::IntArrayRef({slices * 6, 16, 32}));
    EXPECT_TRUE(bev.unsqueeze(0).is_contiguous(at::MemoryFormat::ChannelsLast));
    EXPECT_LT(RelativeError(bev.detach(), expected.detach()), 2e-6);
    EXPECT_GT(expected.abs().sum().item<double>(), 10);
    const at::Tensor d_bev = at::randn(bev.sizes());
    bev.backward(d_bev);
    expected.backward(d_bev.to(at::kDouble));
    EXPECT_LT(RelativeError(features.grad(), exact.grad()), 2e-6);
    EXPECT_LT(RelativeError(depth.grad(), exact_depth.grad()), 2e-6);
  }
}

// A difference quotient: the map is linear in each operand.
TEST(LiftToBev, GradientsAgreeWithDifferences) {
  at::manual_seed(2);
  const LiftPlan plan = MakeLiftPlan(Rig({0.4, -2}), kPv, kBins, SmallGrid(), 2);
  const at::Tensor features = Leaf(Features(2, 5), at::kFloat), depth = Leaf(Depth(2), at::kFloat);
  const at::Tensor weights = at::randn({10, 16, 32});
  const auto value = [&](const at::Tensor& f, const at::Tensor& p) {
    return (LiftToBev(f, p, plan).to(at::kDouble) * weights).sum().item<double>();
  };
  (LiftToBev(features, depth, plan) * weights).sum().backward();
  const at::NoGradGuard no_grad;
  const at::Tensor step_f = at::randn_like(features), step_d = at::randn_like(depth);
  const double by_features =
      (value(features + step_f, depth) - value(features - step_f, depth)) / 2;
  const double by_depth = (value(features, depth + step_d) - value(features, depth - step_d)) / 2;
  EXPECT_NEAR((features.grad() * step_f).sum().item<double>() / by_features, 1, 1e-4);
  EXPECT_NEAR((depth.grad() * step_d).sum().item<double>() / by_depth, 1, 1e-4);
}

// The pixel and the bin that see a place fill its cell, and the voxel at that place fills the
// pixel.
TEST(Views, AKnownPlaceIsFoundBothWays) {
  const at::Tensor transform = CameraFromEgo(0, 1, 0.2, 1.5);
  const at::Tensor intrinsics =
      at::tensor({60.0f, 0.0f, 56.0f, 0.0f, 60.0f, 32.0f, 0.0f, 0.0f, 1.0f}).view({1, 3, 3});
  const CameraRig rig = {transform.unsqueeze(0), intrinsics, {}, kImageHeight, kImageWidth};
  const BevGrid grid = SmallGrid();
  // Image (76, 44): feature pixel row 5, column 9. Depth 1 + 9.5 * 0.7 = 7.65 m, so that
  // x = 1 + 7.65, y = 0.2 - 20 / 60 * 7.65 and z = 1.5 - 12 / 60 * 7.65.
  const double x = 8.65, y = -2.35, z = -0.03;
  const auto column = static_cast<int64_t>((x + 9) / 0.75);
  const auto row = static_cast<int64_t>((y + 6) / 0.75);
  const at::Tensor features = at::zeros({1, 2, 8, 14}), depth = at::zeros({1, 20, 8, 14});
  features[0][0].fill_(1), features[0][1][5][9].fill_(3);
  depth[0][9][5][9].fill_(0.25);
  const at::Tensor bev =
      LiftToBev(features, depth, MakeLiftPlan(rig, kPv, kBins, grid, 5));  // slices of 1 m
  const auto slice = static_cast<int64_t>(z + 2);
  EXPECT_EQ(bev.count_nonzero().item<int64_t>(), 2);
  EXPECT_EQ(bev[slice * 2][row][column].item<float>(), 0.25f);
  EXPECT_EQ(bev[slice * 2 + 1][row][column].item<float>(), 0.75f);

  const OccupiedColumns occupied =
      FindOccupiedColumns(at::tensor({x, y, z}, at::kFloat).view({1, 3}), grid, 0.2f);
  ASSERT_EQ(occupied.cells.numel(), 1);
  EXPECT_EQ(occupied.cells[0].item<int64_t>(), row * grid.columns() + column);
  EXPECT_NEAR(occupied.z_m[0].item<float>(), -0.1, 1e-6);
  const PvPlan plan = MakePvPlan(rig, kPv, grid, occupied);
  const at::Tensor map = at::zeros({3, 16, 32});
  map.select(1, row).select(1, column).copy_(at::tensor({1.0f, 2.0f, 3.0f}));
  const at::Tensor pv = ProjectToPv(map, plan);
  EXPECT_EQ(pv.sizes(), at::IntArrayRef({1, 3, 8, 14}));
  EXPECT_EQ(pv.count_nonzero().item<int64_t>(), 3);
  EXPECT_EQ(pv[0][2][5][9].item<float>(), 3);
  EXPECT_NEAR(plan.depth[0][5][9].item<float>(), -9 + (column + 0.5) * 0.75 - 1, 1e-5);
  EXPECT_EQ(plan.depth.count_nonzero().item<int64_t>(), 1);
}

// Two cameras back to back over a grid that is the same on both sides.
TEST(Views, OppositeCamerasSeeOppositeHalves) {
  at::manual_seed(3);
  CameraRig rig = Rig({0, 0});
  // No cell border passes through a point of a ray, which rounding could put on either side.
  rig.camera_from_ego = at::stack({CameraFromEgo(0, 0.03, 0, 1), CameraFromEgo(M_PI, -0.03, 0, 1)});
  const BevGrid grid = {{-9.1f, -6.3f, -2, 9.1f, 6.3f, 3}, 0.7f};
  const LiftPlan plan = MakeLiftPlan(rig, kPv, kBins, grid, 3);
  const at::Tensor features = Features(1, 4).repeat({2, 1, 1, 1});
  const at::Tensor bev = LiftToBev(features, Depth(1).repeat({2, 1, 1, 1}), plan);
  EXPECT_LT(RelativeError(bev.flip({1, 2}), bev.to(at::kDouble)), 1e-5);

  const at::Tensor points = at::rand({300, 3}) * at::tensor({9.0f, 6.0f, 3.0f});
  const at::Tensor turned = points * at::tensor({-1.0f, -1.0f, 1.0f});
  const PvPlan pv_plan =
      MakePvPlan(rig, kPv, grid, FindOccupiedColumns(at::cat({points, turned}), grid, 0.25f));
  const at::Tensor map = at::randn({4, 18, 26});
  const at::Tensor pv = ProjectToPv(map + map.flip({1, 2}), pv_plan);
  EXPECT_GT(pv.count_nonzero().item<int64_t>(), 50);
  EXPECT_LT((pv_plan.depth[0] - pv_plan.depth[1]).abs().max().item<float>(), 1e-5);
}

// For each pixel the nearest voxel, found by looking at all of them.
TEST(ProjectToPv, EqualsASearchOverAllVoxels) {
  at::manual_seed(4);
  const CameraRig rig = Rig({0, 1.5, -2.2});
  const BevGrid grid = SmallGrid();
  const at::Tensor points = at::rand({4000, 5}) * at::tensor({26.0f, 14.0f, 6.0f, 1.0f, 1.0f}) -
                            at::tensor({10.0f, 7.0f, 2.5f, 0.0f, 0.0f});
  const OccupiedColumns occupied = FindOccupiedColumns(points, grid, 0.2f);
  const PvPlan plan = MakePvPlan(rig, kPv, grid, occupied);
  const at::Tensor start = at::randn({7, 16, 32});
  const at::Tensor bev = Leaf(start, at::kFloat), exact = Leaf(start, at::kDouble);
  const at::Tensor pv = ProjectToPv(bev, plan);
  std::vector<int64_t> winners(3 * 8 * 14, -1);
  std::vector<double> nearest(winners.size(), std::numeric_limits<double>::infinity());
  const auto cells = occupied.cells.accessor<int, 1>();
  const auto z = occupied.z_m.accessor<float, 1>();
  for (int64_t c = 0; c < 3; ++c) {
    const Mat t = Matrix(rig.camera_from_ego[c]), k = Matrix(rig.intrinsics[c]);
    for (int64_t n = 0; n < cells.size(0); ++n) {
      const double ego[3] = {-9 + (cells[n] % 32 + 0.5) * 0.75, -6 + (cells[n] / 32 + 0.5) * 0.75,
                             z[n]};
      double at[3];
      for (int i = 0; i < 3; ++i) {
        at[i] = t[i][0] * ego[0] + t[i][1] * ego[1] + t[i][2] * ego[2] + t[i][3];
      }
      if (at[2] < 0.1) continue;
      const double u = (k[0][0] * at[0] + k[0][1] * at[1]) / at[2] + k[0][2];
      const double v = k[1][1] * at[1] / at[2] + k[1][2];
      if (u < 0 || u >= kImageWidth || v < 0 || v >= kImageHeight) continue;
      const auto pixel = (c * 8 + static_cast<int64_t>(v / 8)) * 14 + static_cast<int64_t>(u / 8);
      if (at[2] < nearest[pixel] - 1e-9) nearest[pixel] = at[2], winners[pixel] = cells[n];
    }
  }
  const at::Tensor winner = at::tensor(winners, at::kLong);
  const at::Tensor hit = (winner >= 0).to(at::kDouble);
  const at::Tensor expected = (exact.flatten(1).index_select(1, winner.clamp_min(0)) * hit)
                                  .view({7, 3, 8, 14})
                                  .transpose(0, 1);
  EXPECT_GT(hit.sum().item<double>(), 100);
  EXPECT_EQ(RelativeError(pv.detach(), expected.detach()), 0);
  for (size_t p = 0; p < winners.size(); ++p) {
    const double depth = plan.depth.flatten()[static_cast<int64_t>(p)].item<double>();
    EXPECT_NEAR(depth, winners[p] < 0 ? 0 : nearest[p], 1e-5);
  }
  const at::Tensor d_pv = at::randn(pv.sizes());
  pv.backward(d_pv);
  expected.backward(d_pv.to(at::kDouble));
  EXPECT_LT(RelativeError(bev.grad(), exact.grad()), 1e-6);
}

// Cells at the same depth on one line of sight: the lower one, whatever the order of the voxels.
TEST(ProjectToPv, OfEquallyNearCellsTheLowerStays) {
  const CameraRig rig = {
      CameraFromEgo(0, 0, 0, 0).unsqueeze(0),
      at::tensor({8.0f, 0.0f, 8.0f, 0.0f, 8.0f, 8.0f, 0.0f, 0.0f, 1.0f}).view({1, 3, 3}),
      {},
      16,
      16};
  const BevGrid grid = {{0, -4, -2, 8, 4, 2}, 0.5f};
  const PvGrid coarse = {1, 1, 16};
  // Column 6 in rows 7 and 8, at x = 3.25 and y = -0.25 and 0.25; column 10 behind them.
  const int low = 7 * 16 + 6, high = 8 * 16 + 6, behind = 7 * 16 + 10;
  for (const auto& order : {std::array{low, high, behind}, std::array{behind, high, low}}) {
    const OccupiedColumns occupied = {at::tensor({order[0], order[1], order[2]}, at::kInt),
                                      at::zeros({3})};
    const PvPlan plan = MakePvPlan(rig, coarse, grid, occupied);
    EXPECT_EQ(plan.links.cell_of.item<int>(), low);
    EXPECT_EQ(plan.depth.item<float>(), 3.25f);
  }
}

TEST(NearestPoints, AreThoseOfASearchOverAllPoints) {
  CameraRig rig = Rig({0, 2.1, -1.4});
  rig.has_camera = at::tensor({1, 0, 1}, at::kByte);
  at::manual_seed(8);
  at::Tensor points = at::randn({3000, 5}) * at::tensor({12, 12, 1, 1, 1});
  points[5][1] = std::numeric_limits<float>::quiet_NaN();
  const NearestPoints nearest = FindNearestPoints(rig, kPv, points);
  at::Tensor expected = at::zeros({3, kPv.height, kPv.width});
  at::Tensor index = at::full({3, kPv.height, kPv.width}, -1, at::kLong);
  for (const int c : {0, 2}) {
    const at::Tensor x =
        at::matmul(points.slice(1, 0, 3).to(at::kDouble),
                   rig.camera_from_ego[c].slice(0, 0, 3).slice(1, 0, 3).to(at::kDouble).t()) +
        rig.camera_from_ego[c].slice(0, 0, 3).select(1, 3).to(at::kDouble);
    const at::Tensor seen = at::matmul(x, rig.intrinsics[c].to(at::kDouble).t());
    for (int64_t n = 0; n < points.size(0); ++n) {
      const double depth = seen[n][2].item<double>();
      const double u = seen[n][0].item<double>() / depth, v = seen[n][1].item<double>() / depth;
      if (!(depth > 0.1 && u >= 0 && v >= 0 && u < kImageWidth && v < kImageHeight)) continue;
      at::Tensor cell = expected[c][static_cast<int64_t>(v / 8)][static_cast<int64_t>(u / 8)];
      if (cell.item<float>() != 0 && depth >= cell.item<float>()) continue;
      cell.fill_(depth);
      index[c][static_cast<int64_t>(v / 8)][static_cast<int64_t>(u / 8)] = n;
    }
  }
  EXPECT_TRUE(at::allclose(nearest.depth, expected, 1e-5));
  EXPECT_TRUE(nearest.index.equal(index));
  EXPECT_GT(expected.gt(0).sum().item<int64_t>(), 50);
  EXPECT_EQ(expected[1].gt(0).sum().item<int64_t>(), 0);
}

// A ray that meets the ground h below the camera does so at a depth of h cosine / -sine.
TEST(ViewRays, SayHowFarTheGroundIs) {
  const CameraRig rig = Rig({0.4});
  const at::Tensor rays = ViewRays(rig, kPv);
  const Mat t = Matrix(rig.camera_from_ego[0]), k = Matrix(rig.intrinsics[0]);
  const double height = 1.2 + 0.004;
  for (int64_t i = 5; i < kPv.height; ++i) {
    for (int64_t j = 0; j < kPv.width; ++j) {
      const double sine = rays[0][0][i][j].item<double>(), cosine = rays[0][1][i][j].item<double>();
      const double depth = height * cosine / -sine;
      EXPECT_NEAR(Unproject(t, k, 8 * (j + 0.5), 8 * (i + 0.5), depth)[2], 0, 1e-4);
    }
  }
  EXPECT_FLOAT_EQ(rays[0][2][3][4].item<float>(), kImageWidth / kFocal);
}

TEST(OccupiedColumns, EveryNonEmptyVoxelOnce) {
  const BevGrid grid = SmallGrid();
  const float nan = std::numeric_limits<float>::quiet_NaN();
  const float inf = std::numeric_limits<float>::infinity();
  const at::Tensor points =
      at::tensor({0.1f,  0.1f,  2.9f,  0.2f, 0.2f, -1.9f, 0.3f,  0.3f, 2.85f, -8.9f, -5.9f,
                  0.05f, nan,   0.0f,  0.0f, 0.0f, inf,   0.0f,  0.0f, 0.0f,  3.0f,  0.0f,
                  0.0f,  -2.1f, 15.0f, 0.0f, 0.0f, 0.0f,  -6.5f, 0.0f, 0.0f,  0.0f,  nan})
          .view({11, 3});
  const OccupiedColumns occupied = FindOccupiedColumns(points, grid, 0.3f);
  const int64_t cell = 8 * 32 + 12;
  EXPECT_TRUE(at::equal(occupied.cells, at::tensor({int64_t{0}, cell, cell}).to(at::kInt)));
  EXPECT_TRUE(at::allclose(occupied.z_m, at::tensor({-2 + 6.5f * 0.3f, -1.85f, -2 + 16.5f * 0.3f}),
                           0, 1e-5));
}

TEST(Views, NoSensorsNoFeatures) {
  CameraRig rig = Rig({0, 2});
  const BevGrid grid = SmallGrid();
  const PvPlan empty =
      MakePvPlan(rig, kPv, grid, FindOccupiedColumns(at::zeros({0, 5}), grid, 0.2f));
  const at::Tensor bev = Leaf(at::randn({4, 16, 32}), at::kFloat), pv = ProjectToPv(bev, empty);
  EXPECT_EQ(pv.sizes(), at::IntArrayRef({2, 4, 8, 14}));
  EXPECT_EQ(pv.count_nonzero().item<int64_t>(), 0);
  pv.sum().backward();
  EXPECT_EQ(bev.grad().count_nonzero().item<int64_t>(), 0);

  rig.has_camera = at::zeros({2}, at::kByte);
  const at::Tensor features = Features(2, 4);
  const at::Tensor dark = LiftToBev(features, Depth(2), MakeLiftPlan(rig, kPv, kBins, grid, 2));
  EXPECT_EQ(dark.sizes(), at::IntArrayRef({8, 16, 32}));
  EXPECT_EQ(dark.count_nonzero().item<int64_t>(), 0);
}

// A camera that is missing may hold anything: no feature and no calibration of it is looked at.
TEST(Views, MissingCamerasMeetNothing) {
  at::manual_seed(6);
  const float nan = std::numeric_limits<float>::quiet_NaN();
  const BevGrid grid = SmallGrid();
  CameraRig rig = Rig({0, 1.5, -2.2});
  const at::Tensor values = Features(3, 4), share = Depth(3), points = at::rand({500, 3}) * 4;
  values[1].fill_(nan), share[1].fill_(nan);
  rig.camera_from_ego[1].fill_(nan), rig.intrinsics[1].zero_();
  rig.has_camera = at::tensor({1, 0, 1}, at::kByte);
  const at::Tensor features = Leaf(values, at::kFloat), depth = Leaf(share, at::kFloat);
  const at::Tensor bev = LiftToBev(features, depth, MakeLiftPlan(rig, kPv, kBins, grid, 2));
  const at::Tensor two = at::tensor({0, 2}, at::kLong);
  const CameraRig others = {rig.camera_from_ego.index_select(0, two),
                            rig.intrinsics.index_select(0, two),
                            {},
                            kImageHeight,
                            kImageWidth};
  EXPECT_TRUE(at::equal(bev, LiftToBev(values.index_select(0, two), share.index_select(0, two),
                                       MakeLiftPlan(others, kPv, kBins, grid, 2))));
  bev.square().sum().backward();
  EXPECT_EQ(features.grad()[1].count_nonzero().item<int64_t>(), 0);
  EXPECT_EQ(depth.grad()[1].count_nonzero().item<int64_t>(), 0);
  EXPECT_GT(features.grad()[2].count_nonzero().item<int64_t>(), 0);

  const PvPlan plan = MakePvPlan(rig, kPv, grid, FindOccupiedColumns(points, grid, 0.2f));
  const at::Tensor pv = ProjectToPv(at::randn({4, 16, 32}), plan);
  EXPECT_EQ(pv[1].count_nonzero().item<int64_t>(), 0);
  EXPECT_GT(pv[0].count_nonzero().item<int64_t>(), 0);
}

TEST(Views, PaddingBeyondTheImageMeetsNothing) {
  CameraRig rig = Rig({0});
  rig.image_height_px = 50, rig.image_width_px = 100;  // the last rows and columns are padding
  const LiftPlan plan = MakeLiftPlan(rig, kPv, kBins, SmallGrid(), 1);
  const at::Tensor cells = plan.links.cell_of.view({8, 14, 20});
  EXPECT_GE(cells[5].max().item<int>(), 0);              // centre at 44
  EXPECT_EQ(cells[6].max().item<int>(), -1);             // centre at 52
  EXPECT_GE(cells.select(1, 11).max().item<int>(), 0);   // 92
  EXPECT_EQ(cells.select(1, 12).max().item<int>(), -1);  // 100
}

TEST(Views, SameBytesWhateverTheThreads) {
  at::manual_seed(7);
  const CameraRig rig = Rig({0, 1, 2, 3, 4, 5});
  const BevGrid grid = {{-12, -12, -2, 12, 12, 3}, 0.3f};
  const at::Tensor points = at::rand({20000, 3}) * at::tensor({24.0f, 24.0f, 4.0f}) - 12;
  const at::Tensor values = Features(6, 32), share = Depth(6), map = at::randn({32, 80, 80});
  const at::Tensor d_bev = at::randn({64, 80, 80});
  std::vector<at::Tensor> first;
  for (const int threads : {1, 2, 5}) {
    SetNumThreads(threads);
    const at::Tensor features = Leaf(values, at::kFloat), depth = Leaf(share, at::kFloat);
    const at::Tensor bev = LiftToBev(features, depth, MakeLiftPlan(rig, kPv, kBins, grid, 2));
    bev.backward(d_bev);
    const at::Tensor leaf = Leaf(map, at::kFloat);
    const PvPlan plan = MakePvPlan(rig, kPv, grid, FindOccupiedColumns(points, grid, 0.2f));
    const at::Tensor pv = ProjectToPv(leaf, plan);
    pv.backward(values);
    const std::vector<at::Tensor> all = {bev.detach(), features.grad(), depth.grad(),
                                         pv.detach(),  leaf.grad(),     plan.depth};
    if (first.empty()) first = all;
    for (size_t i = 0; i < all.size(); ++i) EXPECT_TRUE(at::equal(all[i], first[i])) << i;
  }
  SetNumThreads(0);
}

TEST(Views, RefuseBadCalibrationsByCamera) {
  const auto lift_error = [](const std::function<void(CameraRig*)>& spoil) {
    CameraRig rig = Rig({0, 1, 2});
    spoil(&rig);
    const std::string error = ErrorOf([&] { MakeLiftPlan(rig, kPv, kBins, SmallGrid(), 2); });
    EXPECT_EQ(error, ErrorOf([&] {
                MakePvPlan(rig, kPv, SmallGrid(),
                           FindOccupiedColumns(at::zeros({1, 3}), SmallGrid(), 0.2f));
              }));
    EXPECT_EQ(error.find('\n'), std::string::npos);
    return error;
  };
  EXPECT_THAT(lift_error([](CameraRig* rig) { rig->camera_from_ego[1][0][3].fill_(NAN); }),
              HasSubstr("camera 1: expected a finite calibration, found camera_from_ego with NaN"));
  EXPECT_THAT(lift_error([](CameraRig* rig) { rig->intrinsics[2][0][0].fill_(INFINITY); }),
              HasSubstr("camera 2: expected a finite calibration, found intrinsics"));
  EXPECT_THAT(lift_error([](CameraRig* rig) { rig->camera_from_ego[2].mul_(1.1); }),
              AllOf(HasSubstr("camera 2"), HasSubstr("with a rotation")));
  EXPECT_THAT(lift_error([](CameraRig* rig) { rig->camera_from_ego[0][0].neg_(); }),
              AllOf(HasSubstr("camera 0"), HasSubstr("determinant -1")));
  EXPECT_THAT(lift_error([](CameraRig* rig) { rig->camera_from_ego[0][3][0].fill_(0.5); }),
              AllOf(HasSubstr("camera 0"), HasSubstr("last row of 0 0 0 1")));
  EXPECT_THAT(lift_error([](CameraRig* rig) { rig->intrinsics[1][1][1].fill_(0); }),
              AllOf(HasSubstr("camera 1"), HasSubstr("expected intrinsics")));
  EXPECT_THAT(lift_error([](CameraRig* rig) { rig->intrinsics = rig->intrinsics.narrow(0, 0, 2); }),
              HasSubstr("intrinsics: expected shape [3, 3, 3]"));
  EXPECT_THAT(lift_error([](CameraRig* rig) { rig->image_width_px = 0; }),
              HasSubstr("camera images: expected a height and width of at least 1"));
}

TEST(Views, RefuseWrongSizes) {
  const CameraRig rig = Rig({0});
  const BevGrid grid = SmallGrid();
  EXPECT_THAT(ErrorOf([&] {
                MakeLiftPlan(rig, {0, 14, 8}, kBins, grid, 2);
              }),
              HasSubstr("camera features: expected a height"));
  EXPECT_THAT(ErrorOf([&] {
                MakeLiftPlan(rig, kPv, {1, 0, 20}, grid, 2);
              }),
              HasSubstr("depth bins: expected"));
  EXPECT_THAT(ErrorOf([&] { MakeLiftPlan(rig, kPv, kBins, grid, 0); }),
              HasSubstr("at least one slice"));
  EXPECT_THAT(ErrorOf([&] {
                MakeLiftPlan(rig, kPv, kBins, {{0, 0, 0, 1, 1, 0}, 0.5f}, 2);
              }),
              HasSubstr("BEV grid: expected"));
  EXPECT_THAT(ErrorOf([&] {
                FindOccupiedColumns(at::zeros({4, 2}), grid, 0.2f);
              }),
              HasSubstr("points: expected x, y and z"));
  EXPECT_THAT(ErrorOf([&] {
                FindOccupiedColumns(at::zeros({4, 3}), grid, 0);
              }),
              HasSubstr("expected a step of height above 0 m"));
  EXPECT_THAT(ErrorOf([&] {
                MakePvPlan(rig, kPv, grid, {at::tensor({0, 512}, at::kInt), at::zeros({2})});
              }),
              HasSubstr("occupied cell 1: expected 0 to 511, found 512"));
  const PvPlan plan = MakePvPlan(rig, kPv, grid, FindOccupiedColumns(at::zeros({0, 3}), grid, 1));
  EXPECT_THAT(ErrorOf([&] {
                ProjectToPv(at::zeros({3, 32, 16}), plan);
              }),
              HasSubstr("BEV map: expected shape [F, 16, 32], found [3, 32, 16]"));
}

}  // namespace
}  // namespace athanor
