// The encoders of both sensors: shapes, what a place in the map depends on, gradients, bad input.
#include <ATen/ATen.h>
#include <ATen/CPUGeneratorImpl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "athanor/base/parallel.h"
#include "athanor/base/random.h"
#include "athanor/base/test_util.h"
#include "athanor/detection/profusion3d/camera_encoder.h"
#include "athanor/detection/profusion3d/lidar_encoder.h"

namespace athanor {
namespace {

using ::testing::HasSubstr;

constexpr BevGrid kGrid = {{-12.8f, -6.4f, -2, 12.8f, 6.4f, 2}, 0.8f};

LidarEncoderOptions SmallLidar() {
  LidarEncoderOptions options;
  options.channels = {8, 16, 16, 16};
  options.width = 12;
  options.dense_layers = 0;
  return options;
}

at::Tensor RandomPoints(int64_t n, uint64_t seed) {
  Random random(seed);
  at::Tensor points = at::zeros({n, 5});
  auto p = points.accessor<float, 2>();
  for (int64_t i = 0; i < n; ++i) {
    p[i][0] = random.Uniform(-15, 15), p[i][1] = random.Uniform(-8, 8);
    p[i][2] = random.Uniform(-2.2f, 2.2f), p[i][3] = random.Uniform();
  }
  return points;
}

TEST(LidarEncoder, VoxelsAreMeansOfTheirPoints) {
  Parameters parameters;
  const LidarEncoder encoder({&parameters, 1, "lidar."}, kGrid, SmallLidar());
  // Two points of one voxel, one of another, one outside.
  const at::Tensor points = at::tensor({0.01f, 0.02f,  0.05f, 0.2f, 0.0f,   //
                                        0.05f, 0.08f,  0.15f, 0.6f, -0.1f,  //
                                        3.05f, -1.05f, 0.5f,  0.9f, 0.0f,   //
                                        12.9f, 0.0f,   0.0f,  0.5f, 0.0f})
                                .view({4, 5});
  const LidarVoxels voxels = encoder.Voxelize(points);
  ASSERT_EQ(voxels.tensor.grid->size(), 2);
  const int64_t near = voxels.means[0][0].item<float>() < 1 ? 0 : 1;
  EXPECT_TRUE(at::allclose(voxels.means[near], at::tensor({0.03f, 0.05f, 0.1f}), 1e-4, 1e-5));
  const at::Tensor features = voxels.tensor.features[near];
  EXPECT_NEAR(features[0].item<float>(), 0.3f - 0.5f, 1e-3f);
  EXPECT_NEAR(features[1].item<float>(), 0.5f - 0.5f, 1e-3f);
  EXPECT_NEAR(features[3].item<float>(), 0.1f, 1e-5f);  // height
  EXPECT_NEAR(features[4].item<float>(), 0.4f, 1e-5f);
  EXPECT_NEAR(features[5].item<float>(), -0.05f, 1e-5f);
}

TEST(LidarEncoder, APointShowsWhereItIs) {
  Parameters parameters;
  const LidarEncoder encoder({&parameters, 1, "lidar."}, kGrid, SmallLidar());
  const at::Tensor empty = encoder.Forward(encoder.Voxelize(at::zeros({0, 5})), /*training=*/false);
  ASSERT_EQ(empty.sizes(), (std::vector<int64_t>{12, 16, 32}));
  const at::Tensor points = at::tensor({5.0f, -3.0f, 0.3f, 0.5f, 0.0f}).view({1, 5});
  const at::Tensor map = encoder.Forward(encoder.Voxelize(points), false);
  const at::Tensor differs = (map - empty).abs().sum(0).gt(1e-6).nonzero();
  ASSERT_GT(differs.size(0), 0);
  for (int64_t k = 0; k < differs.size(0); ++k) {
    // Row with y, column with x; strided kernels spread by a cell.
    EXPECT_NEAR(differs[k][0].item<int64_t>(), (-3.0 + 6.4) / 0.8, 1.6);
    EXPECT_NEAR(differs[k][1].item<int64_t>(), (5.0 + 12.8) / 0.8, 1.6);
  }
}

TEST(LidarEncoder, OrderAndThreadsDoNotMatterAndGradientsReachEveryParameter) {
  Parameters parameters;
  const LidarEncoder encoder({&parameters, 1, "lidar."}, kGrid, SmallLidar());
  const at::Tensor points = RandomPoints(3000, 5);
  const at::Tensor map = encoder.Forward(encoder.Voxelize(points), false);
  const at::Tensor turned = encoder.Forward(encoder.Voxelize(points.flip({0})), false);
  EXPECT_TRUE(at::allclose(map, turned, 1e-3, 1e-4));
  const int threads = NumThreads();
  SetNumThreads(1);
  EXPECT_TRUE(at::equal(map, encoder.Forward(encoder.Voxelize(points), false)));
  SetNumThreads(threads);
  const at::Tensor trained = encoder.Forward(encoder.Voxelize(points), true);
  (trained * at::randn_like(trained)).sum().backward();
  for (const auto& [name, tensor] : parameters.trained()) {
    ASSERT_TRUE(tensor.grad().defined()) << name;
    EXPECT_GT(tensor.grad().abs().max().item<float>(), 0) << name;
  }
}

TEST(LidarEncoder, RefusesWhatDoesNotFit) {
  Parameters parameters;
  LidarEncoderOptions odd = SmallLidar();
  odd.voxel_m[0] = 0.15f;
  EXPECT_THAT(ErrorOf([&] {
                LidarEncoder({&parameters, 1, "a."}, kGrid, odd);
              }),
              HasSubstr("expected cells of 8 voxels of 0.15 m, found 0.8 m"));
  const LidarEncoder encoder({&parameters, 1, "b."}, kGrid, SmallLidar());
  EXPECT_THAT(ErrorOf([&] { encoder.Voxelize(at::zeros({4, 4})); }), HasSubstr("points [N,5]"));
  at::Tensor points = RandomPoints(10, 1);
  points[3][2] = NAN;
  EXPECT_THAT(ErrorOf([&] { encoder.Voxelize(points); }), HasSubstr("found NaN"));
}

TEST(CameraEncoder, MapsHaveTheirStrideAndSeeOnlyTheirPicture) {
  Parameters parameters;
  CameraEncoderOptions options;
  options.channels = {8, 8, 16, 16}, options.blocks = {0, 1, 1, 1};
  options.stride = 8, options.width = 12;
  const CameraEncoder encoder({&parameters, 2, "camera."}, options);
  at::Tensor images = at::randint(0, 256, {2, 3, 64, 96}, at::kByte);
  const at::Tensor maps = encoder.Forward(images, false);
  ASSERT_EQ(maps.sizes(), (std::vector<int64_t>{2, 12, 8, 12}));
  at::Tensor other = images.clone();
  other[1].zero_();
  const at::Tensor changed = encoder.Forward(other, false);
  EXPECT_TRUE(at::allclose(maps[0], changed[0], 1e-5, 1e-6));
  EXPECT_FALSE(at::allclose(maps[1], changed[1]));
  const at::Tensor rounded = encoder.Forward(images, false, /*bfloat16=*/true);
  EXPECT_LT((rounded - maps).abs().mean().item<float>(), 0.03f * maps.abs().mean().item<float>());

  const at::Tensor trained = encoder.Forward(images, true);
  (trained * at::randn_like(trained)).sum().backward();
  for (const auto& [name, tensor] : parameters.trained()) {
    EXPECT_TRUE(tensor.grad().defined()) << name;
  }
  EXPECT_THAT(ErrorOf([&] {
                encoder.Forward(at::zeros({1, 3, 60, 96}, at::kByte), false);
              }),
              HasSubstr("multiples of 16"));
}

TEST(CameraEncoder, SwinTakesTheResidualNetworksPlace) {
  Parameters parameters;
  CameraEncoderOptions options;
  options.swin.emplace();
  options.swin->embed = 8, options.swin->window = 4;
  options.swin->depths = {1, 2, 1}, options.swin->heads = {1, 2, 2};
  options.stride = 8, options.width = 12;
  const CameraEncoder encoder({&parameters, 2, "camera."}, options);
  const at::Tensor images = at::randint(0, 256, {2, 3, 64, 96}, at::kByte);
  const at::Tensor maps = encoder.Forward(images, false);
  ASSERT_EQ(maps.sizes(), (std::vector<int64_t>{2, 12, 8, 12}));
  const at::Tensor rounded = encoder.Forward(images, false, /*bfloat16=*/true);
  EXPECT_LT((rounded - maps).abs().mean().item<float>(), 0.05f * maps.abs().mean().item<float>());
  // Paths are left out where a generator says so, and not otherwise.
  at::Generator generator = at::detail::createCPUGenerator(3);
  EXPECT_FALSE(at::equal(encoder.Forward(images, false, false, &generator), maps));
  EXPECT_TRUE(at::equal(encoder.Forward(images, false), maps));

  const at::Tensor trained = encoder.Forward(images, true);
  (trained * at::randn_like(trained)).sum().backward();
  for (const auto& [name, tensor] : parameters.trained()) {
    // The finest stage's own map is not looked at.
    EXPECT_EQ(tensor.grad().defined(), name.find("stage0.out_norm") == std::string::npos) << name;
  }
  options.stride = 2;
  EXPECT_THAT(ErrorOf([&] {
                Parameters other;
                CameraEncoder({&other, 2, "camera."}, options);
              }),
              HasSubstr("expected a stride of 4, 8, ... 16, found 2"));
}

}  // namespace
}  // namespace athanor
