// Moving scenes: a picture of the moved scene from the moved camera is the picture of the scene.
#include "athanor/scenes/semantics/network/augment.h"

#include <ATen/ATen.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <Eigen/Dense>
#include <cmath>

#include "athanor/base/test_util.h"
#include "athanor/ops/rasterize.h"
#include "athanor/scenes/gaussians/transform.h"
#include "athanor/scenes/semantics/network/network_inputs.h"

namespace athanor {
namespace {

GaussianCloud SomeCloud(int64_t n) {
  Random random(5);
  GaussianCloud cloud;
  cloud.sh_degree = 3;
  cloud.Resize(n);
  for (float& v : cloud.means) v = random.Uniform(-1, 1);
  for (float& v : cloud.quats) v = random.Normal();
  for (float& v : cloud.log_scales) v = random.Uniform(-3.5f, -1.2f);
  for (float& v : cloud.opacity_logits) v = random.Uniform(-2, 3);
  for (float& v : cloud.sh) v = random.Uniform(-0.4f, 0.4f);
  return cloud;
}

at::Tensor View(const std::vector<float>& values, std::vector<int64_t> shape) {
  return at::from_blob(const_cast<float*>(values.data()), shape, at::kFloat);
}

// [3,H,W], seen by a camera whose axes and centre are given in the world.
at::Tensor Picture(const GaussianCloud& cloud, const Eigen::Matrix3d& world_from_camera,
                   const Eigen::Vector3d& center) {
  PinholeView view = {};
  view.width_px = 48, view.height_px = 48;
  view.fx_px = view.fy_px = 40, view.cx_px = view.cy_px = 24;
  const Eigen::Matrix3d r = world_from_camera.transpose();
  const Eigen::Vector3d t = -r * center;
  for (int row = 0; row < 3; ++row) {
    for (int column = 0; column < 3; ++column) {
      view.camera_from_world[4 * row + column] = static_cast<float>(r(row, column));
    }
    view.camera_from_world[4 * row + 3] = static_cast<float>(t[row]);
  }
  const int64_t n = cloud.size();
  const at::Tensor means = View(cloud.means, {n, 3});
  const float eye[3] = {static_cast<float>(center.x()), static_cast<float>(center.y()),
                        static_cast<float>(center.z())};
  const at::Tensor colors = ShColors(means, View(cloud.sh, {n, 3, 16}), 3, eye, {});
  return RenderFeatures({means, View(cloud.quats, {n, 4}), View(cloud.log_scales, {n, 3}),
                         View(cloud.opacity_logits, {n})},
                        colors, view, {})
      .image;
}

TEST(SceneTransform, PicturesStayTheSame) {
  const GaussianCloud cloud = SomeCloud(150);
  const Eigen::Matrix3d axes = Eigen::Matrix3d::Identity();
  const Eigen::Vector3d center(0.2, -0.1, -4);
  const at::Tensor before = Picture(cloud, axes, center);
  EXPECT_GT(before.max().item<float>(), 0.2f);
  const Eigen::Matrix3d q = (Eigen::AngleAxisd(1.1, Eigen::Vector3d::UnitZ()) *
                             Eigen::AngleAxisd(-0.7, Eigen::Vector3d::UnitY()) *
                             Eigen::AngleAxisd(2.3, Eigen::Vector3d::UnitX()))
                                .toRotationMatrix();
  GaussianCloud moved = cloud;
  TransformGaussians({1.7, q}, &moved);
  const at::Tensor after = Picture(moved, q * axes, 1.7 * (q * center));
  EXPECT_LT((after - before).abs().max().item<float>(), 2e-3f);
  EXPECT_LT((after - before).abs().mean().item<float>(), 2e-5f);
}

TEST(SceneTransform, AMirrorGivesTheMirroredPicture) {
  const GaussianCloud cloud = SomeCloud(150);
  // The camera looks along z, and its x axis is the world's: the mirrored scene's picture is the
  // scene's, left for right.
  const Eigen::Matrix3d axes = Eigen::Matrix3d::Identity();
  const at::Tensor before = Picture(cloud, axes, {0.3, 0.1, -4});
  GaussianCloud moved = cloud;
  TransformGaussians({1, Eigen::Vector3d(-1, 1, 1).asDiagonal().toDenseMatrix()}, &moved);
  const at::Tensor after = Picture(moved, axes, {-0.3, 0.1, -4}).flip({2});
  EXPECT_LT((after - before).abs().max().item<float>(), 2e-3f);
}

TEST(SceneTransform, BandMatricesAreOrthogonal) {
  Random random(9);
  for (int i = 0; i < 5; ++i) {
    const Eigen::Quaterniond any(random.Normal(), random.Normal(), random.Normal(),
                                 random.Normal());
    const ShRotation r(any.normalized().toRotationMatrix());
    // Column k: what becomes of the k-th basis function.
    Eigen::Matrix<float, 16, 16> m = Eigen::Matrix<float, 16, 16>::Identity();
    for (int k = 0; k < 16; ++k) r.Apply(3, m.col(k).data());
    const auto error = [&](int first, int size) {
      const Eigen::MatrixXd band = m.block(first, first, size, size).cast<double>();
      return (band * band.transpose() - Eigen::MatrixXd::Identity(size, size)).norm();
    };
    EXPECT_LT(error(1, 3), 1e-5);
    EXPECT_LT(error(4, 5), 1e-5);
    EXPECT_LT(error(9, 7), 1e-5);
  }
}

TEST(SceneTransform, GoesBack) {
  const GaussianCloud cloud = SomeCloud(50);
  const Eigen::Matrix3d q =
      Eigen::AngleAxisd(0.9, Eigen::Vector3d(1, 2, 3).normalized()).toRotationMatrix();
  GaussianCloud moved = cloud;
  TransformGaussians({2, q}, &moved);
  TransformGaussians({0.5, q.transpose()}, &moved);
  for (size_t i = 0; i < cloud.means.size(); ++i) {
    EXPECT_NEAR(moved.means[i], cloud.means[i], 1e-5);
  }
  for (size_t i = 0; i < cloud.sh.size(); ++i) EXPECT_NEAR(moved.sh[i], cloud.sh[i], 1e-5);
  EXPECT_THAT(ErrorOf([&] {
                TransformGaussians({1, 2 * q}, &moved);
              }),
              testing::HasSubstr("expected an orthogonal matrix"));
}

TEST(SceneTransform, ElasticNoiseIsSmooth) {
  GaussianCloud cloud;
  cloud.Resize(2000);
  for (int i = 0; i < 2000; ++i) cloud.means[3 * i] = 0.001f * static_cast<float>(i);
  const GaussianCloud before = cloud;
  Random random(4);
  DistortElastically(0.2, 0.4, &random, &cloud);
  double largest = 0, steepest = 0;
  for (int i = 0; i + 1 < 2000; ++i) {
    const auto moved = [&](int k) { return double{cloud.means[3 * k]} - before.means[3 * k]; };
    largest = std::max(largest, std::abs(moved(i)));
    steepest = std::max(steepest, std::abs(moved(i + 1) - moved(i)));
  }
  EXPECT_GT(largest, 1e-3);
  EXPECT_LT(largest, 0.4);
  EXPECT_LT(steepest, 0.002);
}

TEST(SceneTransform, WhatIsSwitchedOffLeavesTheOtherDrawsAsTheyWere) {
  const auto augmented = [](const AugmentOptions& options, uint32_t* next) {
    Random random(9);
    GaussianCloud cloud = SomeCloud(50);
    AugmentCloud(options, &random, &cloud);
    *next = random.NextBits();
    return cloud;
  };
  uint32_t all_next = 0, next = 0;
  const GaussianCloud all = augmented({}, &all_next);
  const GaussianCloud rigid = augmented({.elastic = false}, &next);
  EXPECT_EQ(next, all_next);
  EXPECT_EQ(rigid.quats, all.quats);  // turned alike
  EXPECT_EQ(rigid.log_scales, all.log_scales);
  EXPECT_NE(rigid.means, all.means);
  augmented({.rotate = false, .mirror = false, .resize = false}, &next);
  EXPECT_EQ(next, all_next);
}

TEST(NetworkInputs, AreTheSameForBothNamesOfARotation) {
  GaussianCloud cloud = SomeCloud(20);
  const at::Tensor features = NetworkFeatures(cloud, NetworkInput::kGaussian);
  EXPECT_EQ(features.size(1), 56);
  for (float& q : cloud.quats) q *= -3;
  EXPECT_TRUE(at::allclose(NetworkFeatures(cloud, NetworkInput::kGaussian), features, 0, 1e-6));
  EXPECT_NEAR(features[4][0].item<float>(), cloud.opacity_logits[4], 0);
  EXPECT_EQ(features[4][2].item<float>(), cloud.sh[4 * 48 + 16]);       // DC of green
  EXPECT_EQ(features[4][4 + 15].item<float>(), cloud.sh[4 * 48 + 17]);  // first of green's rest
  EXPECT_EQ(features[4][49].item<float>(), cloud.log_scales[12]);
  EXPECT_NEAR(features.narrow(1, 52, 4).norm(2, 1).sub(1).abs().max().item<float>(), 0, 1e-6);
  EXPECT_GE(features.select(1, 52).min().item<float>(), 0);
  EXPECT_EQ(NetworkFeatures(cloud, NetworkInput::kColor).size(1), 6);
}

TEST(NetworkInputs, EveryGaussianHasItsVoxel) {
  const GaussianCloud cloud = SomeCloud(500);
  constexpr int kShift[3] = {3, 0, 7};
  const NetworkSample sample = MakeNetworkSample(cloud, NetworkInput::kGaussian, 0.5, kShift);
  EXPECT_EQ(sample.voxel_of_gaussian.size(0), 500);
  EXPECT_LE(sample.voxels.grid->size(), 125);
  const at::Tensor counts = sample.voxel_of_gaussian.bincount();
  EXPECT_EQ(counts.size(0), sample.voxels.grid->size());
  EXPECT_GE(counts.min().item<int64_t>(), 1);
}

TEST(NetworkInputs, StraysAreInNoVoxel) {
  GaussianCloud cloud = SomeCloud(500);
  constexpr int kShift[3] = {3, 0, 7};
  std::vector<int64_t> others;
  for (int64_t i = 0; i < cloud.size(); ++i) {
    if (i == 0 || i == 77) continue;
    others.push_back(i);
  }
  cloud.means[0] = 1e30f;
  cloud.means[3 * 77 + 2] = -2e5f;  // 4e5 voxels
  for (const NetworkInput input : {NetworkInput::kGaussian, NetworkInput::kColor}) {
    const NetworkSample sample = MakeNetworkSample(cloud, input, 0.5, kShift);
    const NetworkSample clean =
        MakeNetworkSample(SelectGaussians(cloud, others), input, 0.5, kShift);
    EXPECT_EQ(sample.voxel_of_gaussian[0].item<int64_t>(), -1);
    EXPECT_EQ(sample.voxel_of_gaussian[77].item<int64_t>(), -1);
    EXPECT_TRUE(at::equal(sample.voxels.features, clean.voxels.features));
    EXPECT_TRUE(at::equal(sample.voxel_of_gaussian.index_select(0, at::tensor(others, at::kLong)),
                          clean.voxel_of_gaussian));
  }
}

}  // namespace
}  // namespace athanor
