#include "athanor/detection/profusion3d/position_encoding.h"

#include <ATen/ATen.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <utility>
#include <vector>

#include "athanor/base/test_util.h"
#include "athanor/detection/profusion3d/decoder_test_util.h"

namespace athanor {
namespace {

using ::testing::HasSubstr;

const PositionEncodingOptions kSmall = {.width = 8, .hidden = 16, .depths = 5, .heights = 3};

at::Tensor Intrinsics() {
  const at::Tensor one =
      at::tensor({40.0f, 0.0f, 30.0f, 0.0f, 42.0f, 17.0f, 0.0f, 0.0f, 1.0f}).view({3, 3});
  return at::stack({one, one});
}

// The perceptron on all points of a pixel's ray, each taken to the vehicle by itself.
at::Tensor EncodePixel(const Parameters& parameters, const at::Tensor& camera_from_ego,
                       const at::Tensor& intrinsics, double u, double v, const BevGrid& grid,
                       const std::vector<float>& depths) {
  std::vector<double> inputs;
  const at::Tensor ego_from_camera = at::inverse(camera_from_ego.to(at::kDouble));
  const at::Tensor lens = intrinsics.to(at::kDouble);
  const auto k = lens.accessor<double, 2>();
  for (const float d : depths) {
    const at::Tensor point =
        at::tensor({(u - k[0][2]) / k[0][0] * d, (v - k[1][2]) / k[1][1] * d, double{d}, 1.0});
    const at::Tensor ego = ego_from_camera.matmul(point);
    for (int axis = 0; axis < 3; ++axis) {
      const double low = grid.range_m[axis], high = grid.range_m[axis + 3];
      inputs.push_back((ego[axis].item<double>() - low) / (high - low));
    }
  }
  const at::Tensor x = at::tensor(inputs).to(at::kFloat);
  const at::Tensor hidden =
      at::relu(at::linear(x, parameters.Get("pv.0.weight"), parameters.Get("pv.0.bias")));
  return at::linear(hidden, parameters.Get("pv.1.weight"), parameters.Get("pv.1.bias"));
}

TEST(PositionEncoding, PixelsAreTheirRaysPointsThroughThePerceptron) {
  const BevGrid grid;
  for (const bool growing : {false, true}) {
    PositionEncodingOptions options = kSmall;
    options.growing_depths = growing;
    Parameters parameters;
    const ImagePositions positions({&parameters, 4, "pv."}, grid, options);
    const at::Tensor encoded = positions.Forward(CamerasAheadAndLeft(), Intrinsics(), 3, 5, 8);
    ASSERT_EQ(encoded.sizes(), (std::vector<int64_t>{2, 8, 3, 5}));
    const std::vector<float> depths = FrustumDepths(options, grid);
    for (int camera = 0; camera < 2; ++camera) {
      for (const auto& [row, column] : {std::pair{0, 0}, {2, 4}, {1, 3}}) {
        const at::Tensor expected =
            EncodePixel(parameters, CamerasAheadAndLeft()[camera], Intrinsics()[camera],
                        (column + 0.5) * 8, (row + 0.5) * 8, grid, depths);
        const at::Tensor found = encoded[camera].select(1, row).select(1, column);
        EXPECT_TRUE(at::allclose(found, expected, 1e-4, 1e-4)) << camera << " " << row;
      }
    }
  }
}

TEST(PositionEncoding, DepthsAreEqualOrGrow) {
  BevGrid grid;
  PositionEncodingOptions options;
  std::vector<float> depths = FrustumDepths(options, grid);
  EXPECT_EQ(depths.size(), 64u);
  EXPECT_FLOAT_EQ(depths[0], 1);
  EXPECT_NEAR(depths[63] + (depths[63] - depths[62]), 54, 1e-4);
  options.growing_depths = true;
  depths = FrustumDepths(options, grid);
  EXPECT_FLOAT_EQ(depths[0], 1);
  for (int i = 2; i < 64; ++i) {  // each distance is i times the first
    EXPECT_NEAR(depths[i] - depths[i - 1], i * (depths[1] - depths[0]), 1e-4);
  }
  EXPECT_LT(depths[63], 54);
  options.nearest_m = 60;
  EXPECT_THAT(ErrorOf([&] { FrustumDepths(options, grid); }), HasSubstr("60 m"));
}

TEST(PositionEncoding, CellsAndAnchorsShareTheirWaves) {
  Parameters parameters;
  const BevPositions cells({&parameters, 1, "bev."}, kSmall);
  const at::Tensor encoded = cells.Forward(4, 6);
  ASSERT_EQ(encoded.sizes(), (std::vector<int64_t>{8, 4, 6}));
  // Cell of row 1, column 4, by hand.
  const float x = 4.5f / 6, y = 1.5f / 4;
  std::vector<float> inputs;
  for (int k = 0; k < 3; ++k) inputs.insert(inputs.end(), {x, y, (k + 0.5f) / 3});
  for (const float s : {x, y}) {
    for (int k = 0; k < 6; ++k) inputs.push_back(std::sin(std::ldexp(3.14159265f, k) * s));
    for (int k = 0; k < 6; ++k) inputs.push_back(std::cos(std::ldexp(3.14159265f, k) * s));
  }
  const at::Tensor hidden = at::relu(
      at::linear(at::tensor(inputs), parameters.Get("bev.0.weight"), parameters.Get("bev.0.bias")));
  const at::Tensor expected =
      at::linear(hidden, parameters.Get("bev.1.weight"), parameters.Get("bev.1.bias"));
  EXPECT_TRUE(at::allclose(encoded.select(1, 1).select(1, 4), expected, 1e-4, 1e-5));

  const AnchorQueries queries({&parameters, 1, "query."}, 500, kSmall);
  const at::Tensor anchors = queries.Anchors();
  EXPECT_TRUE((anchors.ge(0) & anchors.le(1)).all().item<bool>());
  EXPECT_LT((anchors.mean(0) - 0.5).abs().max().item<float>(), 0.05f);
  EXPECT_NEAR(anchors.var().item<float>(), 1.0 / 12, 0.01);
  const at::Tensor embedded = queries.Embed(anchors);
  EXPECT_EQ(embedded.sizes(), (std::vector<int64_t>{500, 8}));
  embedded.pow(2).sum().backward();
  EXPECT_GT(parameters.Get("query.anchors").grad().abs().sum().item<float>(), 0);
  EXPECT_EQ(queries.Embed(anchors.slice(0, 0, 0)).sizes(), (std::vector<int64_t>{0, 8}));
}

TEST(PositionEncoding, NamesTheCameraThatIsNotCalibrated) {
  Parameters parameters;
  const ImagePositions positions({&parameters, 4, "pv."}, BevGrid(), kSmall);
  at::Tensor broken = Intrinsics();
  broken[1][0][0] = 0;
  EXPECT_THAT(ErrorOf([&] { positions.Forward(CamerasAheadAndLeft(), broken, 3, 5, 8); }),
              HasSubstr("camera 1: expected focal lengths above 0"));
  at::Tensor pose = CamerasAheadAndLeft();
  pose[0][1][3] = std::nan("");
  EXPECT_THAT(ErrorOf([&] { positions.Forward(pose, Intrinsics(), 3, 5, 8); }),
              HasSubstr("camera 0: expected finite numbers"));
  EXPECT_THAT(ErrorOf([&] { positions.Forward(CamerasAheadAndLeft(), Intrinsics()[0], 3, 5, 8); }),
              HasSubstr("[C,3,3]"));
}

}  // namespace
}  // namespace athanor
