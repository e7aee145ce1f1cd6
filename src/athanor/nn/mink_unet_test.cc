// The sparse U-Net: inference against the plain path, gradients, files, and the optimiser.
#include "athanor/nn/mink_unet.h"

#include <ATen/ATen.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>

#include "athanor/base/test_util.h"
#include "athanor/nn/adamw.h"

namespace athanor {
namespace {

using ::testing::HasSubstr;

// Small, with every kind of layer: blocks that widen and blocks that do not.
MinkUNetOptions Small() {
  MinkUNetOptions options;
  options.in_channels = 5, options.out_channels = 6, options.stem_channels = 4;
  options.channels = {4, 8, 8, 12, 12, 8, 8, 4};
  options.blocks = {1, 2, 1, 1, 1, 1, 2, 1};
  return options;
}

SparseTensor SomeInput(int points = 3000) {
  at::manual_seed(3);
  const at::Tensor at = at::rand({points, 3}) * at::tensor({4.0f, 4.0f, 0.5f});
  const VoxelizedPoints voxels = VoxelizePoints(at, {}, 0.1);
  return {voxels.grid, VoxelMeans(voxels, at::randn({points, 5}))};
}

AdamW Optimizer(const MinkUNet& network) {
  auto parameters = network.Parameters();
  for (auto& [name, tensor] : parameters) tensor.requires_grad_();
  return AdamW(parameters, {});
}

// Some steps towards made-up targets; returns first and last loss.
std::pair<double, double> Train(const MinkUNet& network, AdamW* optimizer, int steps) {
  const SparseTensor input = SomeInput();
  const at::Tensor target = at::cat({input.features, input.features.narrow(1, 0, 1)}, 1).tanh();
  double first = 0, last = 0;
  for (int step = 0; step < steps; ++step) {
    const at::Tensor loss = (network.Forward(input, true) - target).square().mean();
    loss.backward();
    optimizer->Step(1e-2);
    last = loss.item<double>();
    if (step == 0) first = last;
  }
  return {first, last};
}

TEST(MinkUNet, HasTheSizesOfThePaper) {
  const MinkUNet network(NamedMinkUNet("34A", 3, 20), 1);
  int64_t weights = 0;
  for (const auto& layer : network.layers()) {
    weights += layer.weights.numel();
  }
  EXPECT_EQ(weights, 36590560);  // by hand, from the table of planes and blocks
  EXPECT_THAT(ErrorOf([] { NamedMinkUNet("50", 3, 20); }), HasSubstr("14A, 18A or 34A"));
}

TEST(MinkUNet, LearnsAndPredictsAsItTrains) {
  const MinkUNet network(Small(), 7);
  AdamW optimizer = Optimizer(network);
  const auto [first, last] = Train(network, &optimizer, 30);
  EXPECT_LT(last, 0.6 * first);
  const SparseTensor input = SomeInput();
  const at::NoGradGuard no_grad;
  const at::Tensor expected = network.Forward(input, false);
  const at::Tensor exact = MinkUNetPredictor(network, ConvPrecision::kFloat32).Predict(input);
  const at::Tensor rounded = MinkUNetPredictor(network, ConvPrecision::kBfloat16).Predict(input);
  const double scale = expected.abs().max().item<double>();
  EXPECT_LT((exact - expected).abs().max().item<double>(), 1e-4 * scale);
  EXPECT_LT((rounded - expected).abs().max().item<double>(), 0.1 * scale);
  EXPECT_LT((rounded - expected).square().mean().sqrt().item<double>(),
            0.02 * expected.square().mean().sqrt().item<double>());
}

TEST(MinkUNet, GradientsEqualDifferenceQuotients) {
  const MinkUNet network(Small(), 8);
  SparseTensor input = SomeInput(400);
  auto parameters = network.Parameters();
  for (auto& [name, tensor] : parameters) tensor.requires_grad_();
  const auto loss = [&] { return network.Forward(input, true).square().mean(); };
  loss().backward();
  const at::NoGradGuard no_grad;
  for (const auto& [name, tensor] : parameters) {
    if (!name.ends_with(".weight") || name.find("norm") != std::string::npos) continue;
    const at::Tensor step = tensor.grad() / (tensor.grad().norm() + 1e-20) * 3e-4 * tensor.norm();
    const double expected = (tensor.grad() * step).sum().item<double>();
    tensor.add_(step);
    const double above = loss().item<double>();
    tensor.sub_(2 * step);
    const double below = loss().item<double>();
    tensor.add_(step);
    EXPECT_NEAR((above - below) / 2, expected, 0.04 * expected + 2e-6) << name;
  }
}

TEST(MinkUNet, ComesBackFromItsFile) {
  const MinkUNet network(Small(), 9);
  const auto path = TestFolder("unet") / "network.safetensors";
  WriteSafeTensors(path, network.ToSafeTensors());
  const MinkUNet back = MinkUNet::FromSafeTensors(ReadSafeTensors(path), path.string());
  EXPECT_EQ(back.options(), network.options());
  const SparseTensor input = SomeInput(500);
  EXPECT_TRUE(at::equal(back.Forward(input, false), network.Forward(input, false)));

  SafeTensors damaged = network.ToSafeTensors();
  damaged.metadata["in_channels"] = "4000";
  EXPECT_THAT(ErrorOf([&] { MinkUNet::FromSafeTensors(damaged, "w"); }),
              HasSubstr("w: tensor 'stem.weight': expected shape [125, 4000, 4]"));
  damaged.metadata["blocks"] = "1 2 x";
  EXPECT_THAT(ErrorOf([&] { MinkUNet::FromSafeTensors(damaged, "w"); }),
              HasSubstr("metadata 'blocks': expected 8 numbers"));
}

TEST(MinkUNet, TakesOneVoxelAndNone) {
  const MinkUNet network(Small(), 10);
  const MinkUNetPredictor predictor(network, ConvPrecision::kFloat32);
  for (const int points : {0, 1}) {
    const VoxelizedPoints voxels = VoxelizePoints(at::zeros({points, 3}), {}, 0.1);
    EXPECT_EQ(predictor.Predict({voxels.grid, at::ones({points, 5})}).size(0), points);
  }
  EXPECT_THAT(ErrorOf([&] {
                predictor.Predict({nullptr, at::ones({1, 5})});
              }),
              HasSubstr("network input: expected features of shape [voxels,5]"));
}

TEST(AdamW, GoesOnFromItsState) {
  const MinkUNet unbroken(Small(), 11), broken(Small(), 11);
  AdamW optimizer = Optimizer(unbroken);
  Train(unbroken, &optimizer, 6);
  SafeTensors state;
  {
    AdamW first_half = Optimizer(broken);
    Train(broken, &first_half, 3);
    state = broken.ToSafeTensors();
    first_half.AddState(&state);
  }
  const MinkUNet resumed(Small(), 12);
  resumed.State();
  AdamW second_half = Optimizer(resumed);
  MinkUNet target = resumed;
  target.SetState(state, "state");
  second_half.SetState(state, "state");
  Train(resumed, &second_half, 3);
  const auto expected = unbroken.State(), got = resumed.State();
  for (size_t i = 0; i < expected.size(); ++i) {
    EXPECT_TRUE(at::equal(got[i].second, expected[i].second)) << expected[i].first;
  }
}

TEST(AdamW, FirstStepMovesByTheRate) {
  at::Tensor p = at::ones({4}).requires_grad_();
  AdamW optimizer({{"p", p}}, {});
  (p * at::tensor({3.0f, -2.0f, 1e-3f, 0.0f})).sum().backward();
  optimizer.Step(0.1);
  EXPECT_TRUE(at::allclose(p.detach(), at::tensor({0.9f, 1.1f, 0.9f, 1.0f}), 0, 1e-5));
  EXPECT_DOUBLE_EQ(CosineRate(2, 0, 10), 2);
  EXPECT_NEAR(CosineRate(2, 5, 10), 1, 1e-12);
  EXPECT_NEAR(CosineRate(2, 10, 10), 0, 1e-12);
}

}  // namespace
}  // namespace athanor
