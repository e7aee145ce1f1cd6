#include "athanor/nn/hidden_units.h"

#include <ATen/ATen.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "athanor/base/test_util.h"
#include "athanor/nn/dense_layers.h"

namespace athanor {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

// A perceptron of 8 hidden units and a residual block of 6 channels.
struct Network {
  Parameters parameters;
  Mlp perceptron;
  Convolution2d first, second;

  explicit Network(uint64_t seed) {
    const LayerScope scope{&parameters, seed, ""};
    perceptron = Mlp(scope / "perceptron", {3, 8, 2});
    first = Convolution2d(scope / "block.first", 4, 6);
    second = Convolution2d(scope / "block.second", 6, 4);
  }
  at::Tensor Perceive(const at::Tensor& x) const { return perceptron.Forward(x); }
  at::Tensor Filter(const at::Tensor& x, bool training) const {
    return x + second.Forward(at::relu(first.Forward(x, training)), training);
  }
};

at::Tensor Inputs() { return at::randn({64, 3}, at::detail::createCPUGenerator(5)); }
at::Tensor Pictures() { return at::randn({2, 4, 5, 6}, at::detail::createCPUGenerator(6)); }

void Learn(const Network& network, AdamW* adam, int steps) {
  for (int i = 0; i < steps; ++i) {
    const at::Tensor x = Inputs();
    const at::Tensor target = at::stack({x.select(1, 0) * 2, x.select(1, 1).abs()}, 1);
    ((network.Perceive(x) - target).square().mean() +
     (network.Filter(Pictures(), true) - Pictures().roll(1, 3)).square().mean())
        .backward();
    adam->Step(0.01);
  }
}

TEST(HiddenUnits, AreFoundByTheNamesOfLayers) {
  Parameters parameters;
  const LayerScope scope{&parameters, 1, ""};
  const Mlp three(scope / "head", {3, 8, 5, 2});
  const Linear expand(scope / "decoder.0.expand", 4, 16), shrink(scope / "decoder.0.shrink", 16, 4);
  const Linear alone(scope / "decoder.1.expand", 4, 16);
  const Linear of_another_width(scope / "first", 4, 7), behind(scope / "second", 6, 4);
  parameters.Add("stage.first.weight", at::zeros({27, 4, 9}));
  parameters.Add("stage.second.weight", at::zeros({27, 9, 4}));
  std::vector<std::string> found;
  for (const HiddenLayer& layer : HiddenLayersOf(parameters)) {
    found.push_back(StrCat(layer.in, " ", layer.out, " ", layer.units));
  }
  EXPECT_THAT(found,
              ElementsAre("head.0 head.1 8", "head.1 head.2 5",
                          "decoder.0.expand decoder.0.shrink 16", "stage.first stage.second 9"));
}

TEST(HiddenUnits, AUnitThatSaysNothingIsOfNoUse) {
  Network network(1);
  AdamW adam(&network.parameters, {.weight_decay = 0});
  EXPECT_EQ(DormantShare(network.parameters, adam), 0);  // nobody knows yet
  {
    const at::NoGradGuard no_gradient;
    at::Tensor bias = network.parameters.Get("perceptron.0.bias");
    bias[2] = -1000, bias[5] = -1000;  // their ReLU lets nothing through
  }
  Learn(network, &adam, 20);
  const std::vector<HiddenLayer> layers = HiddenLayersOf(network.parameters);
  ASSERT_EQ(layers.size(), 2u);
  const at::Tensor use = UseOfUnits(layers[0], network.parameters, adam);
  for (int u = 0; u < 8; ++u) EXPECT_EQ(use[u].item<float>() > 0, u != 2 && u != 5) << u;
  EXPECT_DOUBLE_EQ(DormantShare(network.parameters, adam), 2.0 / 14);
}

TEST(HiddenUnits, UseIsWhatLeavingAUnitOutChangesOfTheLossAtFirst) {
  Network network(2);
  // One step from nothing: the mean square is (1 - beta2) of the gradient's square.
  AdamW adam(&network.parameters, {.beta2 = 0.75, .weight_decay = 0, .clip_norm = 0});
  const at::Tensor x = Inputs().slice(0, 0, 1);
  network.Perceive(x).select(1, 1).sum().backward();
  adam.Step(0);
  const HiddenLayer layer = HiddenLayersOf(network.parameters)[0];
  const at::Tensor use = UseOfUnits(layer, network.parameters, adam);
  for (int u = 0; u < 8; ++u) {
    const at::NoGradGuard no_gradient;
    at::Tensor behind = network.parameters.Get("perceptron.1.weight");
    const float whole = network.Perceive(x)[0][1].item<float>();
    const at::Tensor weights = behind.clone();
    behind.select(1, u).zero_();
    EXPECT_NEAR(use[u].item<float>(),
                0.5 * std::abs(whole - network.Perceive(x)[0][1].item<float>()), 1e-6)
        << u;
    behind.copy_(weights);
  }
}

TEST(HiddenUnits, ThoseOfLeastUseBeginAnewAndLittleChanges) {
  Network network(3);
  AdamW adam(&network.parameters, {.weight_decay = 0});
  {
    const at::NoGradGuard no_gradient;
    network.parameters.Get("perceptron.0.bias")[3] = -1000;
    network.parameters.Get("block.first.shift")[4] = -1000;
  }
  Learn(network, &adam, 20);
  const at::Tensor said = network.Perceive(Inputs()).detach(),
                   seen = network.Filter(Pictures(), false).detach();
  const SafeTensors before = [&] {
    SafeTensors file;
    network.parameters.Save("", &file);
    for (auto& [name, tensor] : file.tensors) tensor = tensor.clone();
    return file;
  }();
  const Network fresh(77);
  // A tenth of 8 and of 6 is one unit each: those that say nothing.
  EXPECT_EQ(RenewLeastUsed(0.1, fresh.parameters, &network.parameters, &adam), 2);
  EXPECT_TRUE(network.Perceive(Inputs()).allclose(said, 0, 1e-6));
  EXPECT_TRUE(network.Filter(Pictures(), false).allclose(seen, 0, 1e-6));
  const auto now = [&](const char* name) { return network.parameters.Get(name).detach(); };
  const auto was = [&](const char* name) { return before.Get(name, "before"); };
  const auto new_one = [&](const char* name) { return fresh.parameters.Get(name).detach(); };
  EXPECT_TRUE(now("perceptron.0.weight")[3].equal(new_one("perceptron.0.weight")[3]));
  EXPECT_EQ(now("perceptron.0.bias")[3].item<float>(), 0);
  EXPECT_EQ(now("perceptron.1.weight").select(1, 3).abs().sum().item<float>(), 0);
  EXPECT_TRUE(now("block.first.weight")[4].equal(new_one("block.first.weight")[4]));
  EXPECT_EQ(now("block.first.shift")[4].item<float>(), 0);
  EXPECT_EQ(now("block.first.variance")[4].item<float>(), 1);
  EXPECT_EQ(now("block.second.weight").select(1, 4).abs().sum().item<float>(), 0);
  EXPECT_EQ(adam.MeanSquareOf("block.second.weight").select(1, 4).abs().sum().item<float>(), 0);
  // All others stay.
  for (int u = 0; u < 8; ++u) {
    if (u == 3) continue;
    EXPECT_TRUE(now("perceptron.0.weight")[u].equal(was("perceptron.0.weight")[u])) << u;
    EXPECT_TRUE(
        now("perceptron.1.weight").select(1, u).equal(was("perceptron.1.weight").select(1, u)))
        << u;
  }
  EXPECT_TRUE(now("perceptron.1.bias").equal(was("perceptron.1.bias")));
  EXPECT_TRUE(now("block.second.scale").equal(was("block.second.scale")));
  // They learn: nothing is dormant any more.
  EXPECT_GT(DormantShare(network.parameters, adam), 0);
  Learn(network, &adam, 40);
  EXPECT_EQ(DormantShare(network.parameters, adam), 0);
  EXPECT_THAT(ErrorOf([&] { RenewLeastUsed(1.5, fresh.parameters, &network.parameters, &adam); }),
              HasSubstr("expected a share of 0 to 1, found 1.5"));
}

}  // namespace
}  // namespace athanor
