#include "athanor/nn/dense_layers.h"

#include <ATen/ATen.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "athanor/base/test_util.h"

namespace athanor {
namespace {

TEST(DenseLayers, FirstValuesDependOnNameAndSeedAlone) {
  Parameters a, b;
  const Linear one({&a, 3, "one."}, 4, 5);
  const Linear two({&a, 3, "two."}, 4, 5);
  const Linear alone({&b, 3, "two."}, 4, 5);
  EXPECT_TRUE(at::equal(a.Get("two.weight"), b.Get("two.weight")));
  EXPECT_FALSE(at::equal(a.Get("one.weight"), a.Get("two.weight")));
  const at::Tensor x = at::ones({2, 3, 4});
  EXPECT_TRUE(at::equal(two.Forward(x), alone.Forward(x)));
  EXPECT_EQ(two.Forward(x).sizes(), (std::vector<int64_t>{2, 3, 5}));
  EXPECT_THAT(ErrorOf([&] { Linear({&a, 3, "two."}, 4, 5); }), testing::HasSubstr("two.weight"));
}

TEST(DenseLayers, PerceptronIsLinearLayersWithReluBetween) {
  Parameters parameters;
  const Mlp mlp({&parameters, 1, "mlp."}, {3, 8, 2});
  const at::Tensor x = at::randn({5, 3});
  const at::Tensor hidden =
      at::relu(at::linear(x, parameters.Get("mlp.0.weight"), parameters.Get("mlp.0.bias")));
  const at::Tensor expected =
      at::linear(hidden, parameters.Get("mlp.1.weight"), parameters.Get("mlp.1.bias"));
  EXPECT_TRUE(at::allclose(mlp.Forward(x), expected));
}

TEST(DenseLayers, ConvolutionNormalisesByTheBatchOnlyInTraining) {
  Parameters parameters;
  const Convolution2d layer({&parameters, 1, "conv."}, 3, 4, {.kernel = 3, .stride = 2});
  const at::Tensor x = 3 + 2 * at::randn({2, 3, 16, 12});
  const at::Tensor trained = layer.Forward(x, true);
  EXPECT_EQ(trained.sizes(), (std::vector<int64_t>{2, 4, 8, 6}));
  EXPECT_LT(trained.mean({0, 2, 3}).abs().max().item<float>(), 1e-4f);
  EXPECT_NEAR(trained.var().item<float>(), 1, 0.05f);
  const at::Tensor before = parameters.Get("conv.mean").clone();
  layer.Forward(x, false);
  EXPECT_TRUE(at::equal(before, parameters.Get("conv.mean")));
  EXPECT_GT(before.abs().max().item<float>(), 0);
  EXPECT_TRUE(at::allclose(layer.ForwardByBatch(x), trained));
  EXPECT_TRUE(at::equal(before, parameters.Get("conv.mean")));
  // bfloat16 in, bfloat16 out, and near.
  const at::Tensor exact = layer.Forward(x, false);
  const at::Tensor rounded = layer.Forward(x.to(at::kBFloat16), false);
  EXPECT_EQ(rounded.scalar_type(), at::kBFloat16);
  EXPECT_LT((rounded.to(at::kFloat) - exact).abs().mean().item<float>(),
            0.02f * exact.abs().mean().item<float>());
}

}  // namespace
}  // namespace athanor
