// Sparse convolution on tensors against plain tensor arithmetic.
#include "athanor/ops/sparse_conv.h"

#include <ATen/ATen.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "athanor/base/test_util.h"

namespace athanor {
namespace {

using ::testing::HasSubstr;

// out = sum over offsets of index_add(features[inputs] weights[k]), in the type of the features;
// gradients by autograd.
at::Tensor Reference(const at::Tensor& features, const at::Tensor& weights, const KernelMap& map) {
  at::Tensor out = at::zeros({map.num_outputs, weights.size(2)}, features.options());
  for (size_t b = 0; b < map.blocks.size(); ++b) {
    const MapBlock& block = map.blocks[b];
    for (int k = 0; k < map.volume; ++k) {
      std::vector<int64_t> inputs, outputs;
      for (int i = block.starts[k]; i < block.starts[k + 1]; ++i) {
        inputs.push_back(block.inputs[i]);
        outputs.push_back(static_cast<int64_t>(b) * kMapBlock + block.outputs[i]);
      }
      if (inputs.empty()) continue;
      out = out.index_add(
          0, at::tensor(outputs, at::kLong),
          at::matmul(features.index_select(0, at::tensor(inputs, at::kLong)), weights[k]));
    }
  }
  return out;
}

double RelativeError(const at::Tensor& got, const at::Tensor& expected) {
  const double scale = expected.abs().max().item<double>();
  return (got.to(at::kDouble) - expected).abs().max().item<double>() / std::max(scale, 1e-12);
}

class SparseConvTest : public ::testing::Test {
 protected:
  SparseConvTest() {
    at::manual_seed(1);
    points_ = at::rand({3000, 3}) * at::tensor({3.0f, 3.0f, 0.4f});
    voxels_ = VoxelizePoints(points_, {}, 0.1);
  }
  std::shared_ptr<VoxelGrid> grid() { return voxels_.grid; }
  // Submanifold of sizes 1 and 3, strided 2 and 3, and the inverse of the strided one.
  std::vector<ConvMap> Maps() {
    const ConvMap& down = grid()->Down(2, 2).map;
    return {grid()->Submanifold(1), grid()->Submanifold(3), down, grid()->Down(3, 2).map,
            down.Inverse()};
  }
  at::Tensor points_;
  VoxelizedPoints voxels_;
};

TEST_F(SparseConvTest, ValuesAndGradientsEqualTheReference) {
  for (const ConvMap& map : Maps()) {
    const auto features = at::randn({map.map->num_inputs, 7}).requires_grad_();
    const auto weights = at::randn({map.map->volume, 7, 35}).requires_grad_();
    const at::Tensor out = SparseConv(features, weights, map);
    const at::Tensor d_out = at::randn_like(out);
    out.backward(d_out);
    const auto exact_features = features.detach().to(at::kDouble).requires_grad_();
    const auto exact_weights = weights.detach().to(at::kDouble).requires_grad_();
    const at::Tensor exact = Reference(exact_features, exact_weights, *map.map);
    exact.backward(d_out.to(at::kDouble));
    EXPECT_LT(RelativeError(out.detach(), exact.detach()), 5e-6);
    EXPECT_LT(RelativeError(features.grad(), exact_features.grad()), 5e-6);
    EXPECT_LT(RelativeError(weights.grad(), exact_weights.grad()), 5e-6);
  }
}

TEST_F(SparseConvTest, Bfloat16RoundsOperandsOnly) {
  const ConvMap& map = grid()->Submanifold(3);
  const auto features = at::randn({grid()->size(), 6}).requires_grad_();
  const auto weights = at::randn({27, 6, 8}).requires_grad_();
  const at::Tensor out = SparseConv(features, weights, map, ConvPrecision::kBfloat16);
  const auto rounded = [](const at::Tensor& t) {
    return t.detach().to(at::kBFloat16).to(at::kDouble);
  };
  EXPECT_LT(RelativeError(out.detach(), Reference(rounded(features), rounded(weights), *map.map)),
            1e-6);
  out.sum().backward();
  EXPECT_TRUE(features.grad().isfinite().all().item<bool>());
}

// The convolution is linear in each operand, so that a difference quotient has no error of its own.
TEST_F(SparseConvTest, GradientsEqualDifferenceQuotients) {
  const ConvMap& map = grid()->Down(3, 2).map;
  const auto features = at::randn({map.map->num_inputs, 4}).requires_grad_();
  const auto weights = at::randn({27, 4, 5}).requires_grad_();
  const at::Tensor along = at::randn({map.map->num_outputs, 5});
  (SparseConv(features, weights, map) * along).sum().backward();
  const auto value = [&](const at::Tensor& f, const at::Tensor& w) {
    return (SparseConv(f, w, map).to(at::kDouble) * along).sum().item<double>();
  };
  const at::NoGradGuard no_grad;
  const at::Tensor step_f = at::randn_like(features), step_w = at::randn_like(weights);
  const double by_features =
      (value(features + step_f, weights) - value(features - step_f, weights)) / 2;
  const double by_weights =
      (value(features, weights + step_w) - value(features, weights - step_w)) / 2;
  EXPECT_NEAR((features.grad() * step_f).sum().item<double>() / by_features, 1, 1e-4);
  EXPECT_NEAR((weights.grad() * step_w).sum().item<double>() / by_weights, 1, 1e-4);
}

TEST_F(SparseConvTest, CudaEqualsCpu) {
#ifdef ATHANOR_HAS_CUDA
  if (!at::hasCUDA()) GTEST_SKIP() << "needs a GPU";
  for (const ConvMap& map : Maps()) {
    const at::Tensor values = at::randn({map.map->num_inputs, 37});
    const at::Tensor kernel = at::randn({map.map->volume, 37, 70});
    const at::Tensor d_out = at::randn({map.map->num_outputs, 70});
    std::vector<at::Tensor> results[2];
    for (const bool on_gpu : {false, true}) {
      const c10::Device device = on_gpu ? at::kCUDA : at::kCPU;
      const auto features = values.detach().to(device).requires_grad_();
      const auto weights = kernel.detach().to(device).requires_grad_();
      const at::Tensor out = SparseConv(features, weights, map);
      out.backward(d_out.to(device));
      results[on_gpu] = {out.detach(), features.grad(), weights.grad()};
    }
    for (int i = 0; i < 3; ++i) {
      EXPECT_LT(RelativeError(results[1][i].to(at::kCPU), results[0][i].to(at::kDouble)), 1e-5);
    }
  }
#else
  GTEST_SKIP() << "this build has no CUDA";
#endif
}

TEST_F(SparseConvTest, MapsAreBuiltOnce) {
  EXPECT_EQ(grid()->Submanifold(3).map, grid()->Submanifold(3).map);
  EXPECT_EQ(grid()->Down(2, 2).grid, grid()->Down(2, 2).grid);
  EXPECT_NE(grid()->Down(2, 2).grid, grid()->Down(3, 2).grid);
}

TEST_F(SparseConvTest, VoxelsGiveBackToEveryPoint) {
  const at::Tensor back =
      VoxelMeans(voxels_, points_).index_select(0, voxels_.voxel_of_point) - points_;
  EXPECT_LT(voxels_.grid->size(), points_.size(0));
  EXPECT_LE(back.abs().max().item<float>(), 0.1f);
}

TEST_F(SparseConvTest, RefusesWrongTensors) {
  const ConvMap& map = grid()->Submanifold(3);
  const at::Tensor features = at::zeros({grid()->size(), 4});
  EXPECT_THAT(ErrorOf([&] {
                SparseConv(features, at::zeros({8, 4, 4}), map);
              }),
              HasSubstr("weights: expected shape [27, -1, -1]"));
  EXPECT_THAT(ErrorOf([&] {
                SparseConv(features, at::zeros({27, 5, 4}), map);
              }),
              HasSubstr("features: expected shape"));
  EXPECT_THAT(ErrorOf([&] {
                SparseConv(features.to(at::kDouble), at::zeros({27, 4, 4}), map);
              }),
              HasSubstr("features: expected type Float"));
  EXPECT_THAT(ErrorOf([&] {
                SparseConv(features, at::zeros({27, 4, 4}), ConvMap());
              }),
              HasSubstr("expected a kernel map"));
  EXPECT_THAT(ErrorOf([&] {
                VoxelizePoints(at::zeros({4, 2}), {}, 0.1);
              }),
              HasSubstr("points: expected shape"));
}

TEST(SparseConvOfNothing, IsEmpty) {
  const VoxelizedPoints none = VoxelizePoints(at::zeros({0, 3}), {}, 0.1);
  const auto weights = at::ones({27, 2, 3}).requires_grad_();
  const at::Tensor out = SparseConv(at::zeros({0, 2}), weights, none.grid->Submanifold(3));
  EXPECT_EQ(out.sizes(), (std::vector<int64_t>{0, 3}));
  out.sum().backward();
  EXPECT_EQ(weights.grad().abs().sum().item<float>(), 0);
}

}  // namespace
}  // namespace athanor
