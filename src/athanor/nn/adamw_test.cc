// AdamW against the paper's formulas on plain numbers.
#include "athanor/nn/adamw.h"

#include <ATen/ATen.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>

#include "athanor/base/files.h"
#include "athanor/base/log.h"
#include "athanor/base/test_util.h"

namespace athanor {
namespace {

using ::testing::HasSubstr;

TEST(AdamW, FollowsThePaper) {
  Parameters parameters;
  at::Tensor weight = parameters.Add("weight", at::tensor({1.5f, -2.0f}).view({1, 2}));
  const AdamWOptions options = {.weight_decay = 0.1, .clip_norm = 0};
  AdamW adam(&parameters, options);
  std::vector<double> x = {1.5, -2.0}, m(2), v(2);
  for (int step = 1; step <= 20; ++step) {
    (weight.pow(2).sum() * 0.5 + weight.sum()).backward();  // gradient x + 1
    adam.Step(0.05);
    for (int i = 0; i < 2; ++i) {
      const double g = x[i] + 1;
      m[i] = 0.9 * m[i] + 0.1 * g;
      v[i] = 0.99 * v[i] + 0.01 * g * g;
      x[i] -= 0.05 * 0.1 * x[i];
      x[i] -= 0.05 * (m[i] / (1 - std::pow(0.9, step))) /
              (std::sqrt(v[i] / (1 - std::pow(0.99, step))) + 1e-8);
      EXPECT_NEAR(weight[0][i].item<double>(), x[i], 1e-5) << "step " << step;
    }
  }
}

TEST(AdamW, ClipsAndLeavesOutStepsThatAreNotFinite) {
  Parameters parameters;
  at::Tensor weight = parameters.Add("weight", at::zeros({3}));
  AdamW adam(&parameters, {.clip_norm = 1});
  (weight * at::tensor({30.0f, 40.0f, 0.0f})).sum().backward();
  EXPECT_NEAR(adam.Step(0.1), 50, 1e-4);
  const at::Tensor before = weight.detach().clone();
  (weight * std::nan("")).sum().backward();
  const auto log_path = TestFolder("adamw") / "log.txt";
  {
    const LogFile log(log_path);
    EXPECT_TRUE(std::isnan(adam.Step(0.1)));
  }
  EXPECT_TRUE(at::equal(weight.detach(), before));
  EXPECT_EQ(adam.left_out(), 1);
  EXPECT_THAT(ReadFile(log_path), HasSubstr("not finite; the step is left out"));
}

TEST(AdamW, GivesUpWhenNoStepIsFinite) {
  Parameters parameters;
  at::Tensor weight = parameters.Add("weight", at::zeros({3}));
  AdamW adam(&parameters, {});
  const auto step = [&](double factor) {
    (weight * factor).sum().backward();
    adam.Step(0.1);
  };
  for (int i = 0; i < 9; ++i) step(std::nan(""));
  step(1);  // one that is finite: counted from the start again
  for (int i = 0; i < 9; ++i) step(std::nan(""));
  EXPECT_EQ(adam.left_out(), 18);
  EXPECT_THAT(ErrorOf([&] { step(std::nan("")); }), HasSubstr("10 steps in a row"));
}

TEST(AdamW, GoesOnFromItsFile) {
  const auto make = [](Parameters* parameters) {
    parameters->Add("a", at::tensor({1.0f, 2.0f}));
    parameters->AddBuffer("mean", at::tensor({4.0f}));
  };
  const auto step = [](Parameters* parameters, AdamW* adam) {
    parameters->Get("a").pow(3).sum().backward();
    adam->Step(0.01);
  };
  Parameters whole, first, rest;
  make(&whole);
  make(&first);
  make(&rest);
  AdamW adam_whole(&whole, {}), adam_first(&first, {}), adam_rest(&rest, {});
  for (int i = 0; i < 6; ++i) step(&whole, &adam_whole);
  for (int i = 0; i < 3; ++i) step(&first, &adam_first);
  SafeTensors file;
  first.Save("net.", &file);
  adam_first.Save("net.", &file);
  rest.Load("net.", file, "file");
  adam_rest.Load("net.", file, "file");
  for (int i = 0; i < 3; ++i) step(&rest, &adam_rest);
  EXPECT_TRUE(at::equal(whole.Get("a"), rest.Get("a")));
  EXPECT_EQ(rest.CountTrained(), 2);
  file.tensors[0].second = at::zeros({3});
  EXPECT_THAT(ErrorOf([&] { rest.Load("net.", file, "file"); }), HasSubstr("file: expected net.a"));
  EXPECT_THAT(ErrorOf([&] { rest.Get("b"); }), HasSubstr("'b'"));
}

TEST(WarmupStableDecay, RisesStaysAndFallsToZero) {
  const auto rate = [](int64_t step) { return WarmupStableDecay(step, 100, 10, 0.5, 2.0); };
  EXPECT_NEAR(rate(0), 0.2, 1e-12);
  EXPECT_NEAR(rate(10), 2.0, 1e-12);
  EXPECT_NEAR(rate(49), 2.0, 1e-12);
  EXPECT_NEAR(rate(75), 1.0, 1e-12);
  EXPECT_NEAR(rate(100), 0, 1e-12);
}

TEST(AdamW, OneCycleRisesAndFalls) {
  EXPECT_NEAR(OneCycle(0, 1000, 2, 0.4), 0.2, 1e-12);
  EXPECT_NEAR(OneCycle(200, 1000, 2, 0.4), (0.2 + 2) / 2, 1e-12);  // half-way up
  EXPECT_NEAR(OneCycle(400, 1000, 2, 0.4), 2, 1e-12);
  EXPECT_NEAR(OneCycle(700, 1000, 2, 0.4), 1, 1e-12);  // half-way down
  EXPECT_NEAR(OneCycle(1000, 1000, 2, 0.4), 0, 1e-12);
  EXPECT_NEAR(OneCycle(50, 1000, 2, 0.1), (0.2 + 2) / 2, 1e-12);
  EXPECT_NEAR(OneCycle(550, 1000, 2, 0.1), 1, 1e-12);
}

}  // namespace
}  // namespace athanor
