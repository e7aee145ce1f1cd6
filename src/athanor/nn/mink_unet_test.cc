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

struct Optimizer {
  explicit Optimizer(const MinkUNet& network)
      : parameters(ParametersOf(network)), adamw(&parameters, {}) {}

  static Parameters ParametersOf(const MinkUNet& network) {
    Parameters parameters;
    for (const auto& [name, tensor] : network.Parameters()) parameters.Add(name, tensor);
    return parameters;
  }

  Parameters parameters;
  AdamW adamw;
};

// Some steps towards made-up targets; returns first and last loss.
std::pair<double, double> Train(const MinkUNet& network, Optimizer* optimizer, int steps) {
  const SparseTensor input = SomeInput();
  const at::Tensor target = at::cat({input.features, input.features.narrow(1, 0, 1)}, 1).tanh();
  double first = 0, last = 0;
  for (int step = 0; step < steps; ++step) {
    const at::Tensor loss = (network.Forward(input, true) - target).square().mean();
    loss.backward();
    optimizer->adamw.Step(1e-2);
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
  Optimizer optimizer(network);
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

TEST(MinkUNet, TrainingGoesOnFromItsState) {
  const MinkUNet unbroken(Small(), 11), broken(Small(), 11);
  Optimizer optimizer(unbroken);
  Train(unbroken, &optimizer, 6);
  SafeTensors state;
  {
    Optimizer first_half(broken);
    Train(broken, &first_half, 3);
    state = broken.ToSafeTensors();
    first_half.adamw.Save("", &state);
  }
  const MinkUNet resumed(Small(), 12);
  resumed.State();
  Optimizer second_half(resumed);
  MinkUNet target = resumed;
  target.SetState(state, "state");
  second_half.adamw.Load("", state, "state");
  Train(resumed, &second_half, 3);
  const auto expected = unbroken.State(), got = resumed.State();
  for (size_t i = 0; i < expected.size(); ++i) {
    EXPECT_TRUE(at::equal(got[i].second, expected[i].second)) << expected[i].first;
  }
}

}  // namespace
}  // namespace athanor
