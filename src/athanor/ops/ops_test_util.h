// What the tests of operations share: Gaussians before a camera, leaves of the graph, differences.
#pragma once

#include <ATen/ATen.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <vector>

#include "athanor/base/random.h"
#include "athanor/ops/rasterize.h"

namespace athanor {

// One line that says all of this.
template <typename... Parts>
auto OneLine(Parts... parts) {
  return ::testing::AllOf(::testing::HasSubstr(parts)...,
                          ::testing::Not(::testing::HasSubstr("\n")));
}

inline at::Tensor Uniform(at::IntArrayRef shape, float low, float high, Random* random) {
  at::Tensor values = at::empty(shape, at::kFloat);
  auto* data = values.data_ptr<float>();
  for (int64_t i = 0; i < values.numel(); ++i) data[i] = random->Uniform(low, high);
  return values;
}

constexpr int kWidth = 41, kHeight = 27;
constexpr float kOrigin[3] = {0, 0, 0};

inline PinholeView TestView() {
  const float angle = 0.2f;
  return {{std::cos(angle), 0, std::sin(angle), 0.1f,  //
           0, 1, 0, -0.05f,                            //
           -std::sin(angle), 0, std::cos(angle), 0.5f},
          35,
          33,
          20.3f,
          12.7f,
          kWidth,
          kHeight};
}

inline GaussianTensors TestGaussians(int64_t n, uint64_t seed) {
  Random random(seed);
  const at::Tensor xy = Uniform({n, 2}, -1.3f, 1.3f, &random);
  return {at::cat({xy, Uniform({n, 1}, 0.5f, 4, &random)}, 1), Uniform({n, 4}, -1, 1, &random),
          Uniform({n, 3}, -3, -1.2f, &random), Uniform({n}, -3, 4, &random)};
}

inline at::Tensor Leaf(const at::Tensor& tensor, at::ScalarType type) {
  return tensor.detach().to(type).clone().requires_grad_(true);
}

inline GaussianTensors Leaves(const GaussianTensors& g, at::ScalarType type) {
  return {Leaf(g.means, type), Leaf(g.quats, type), Leaf(g.log_scales, type),
          Leaf(g.opacity_logits, type)};
}

inline std::vector<at::Tensor> List(const GaussianTensors& g) {
  return {g.means, g.quats, g.log_scales, g.opacity_logits};
}

// Largest difference, relative to the largest expected value.
inline double Difference(const at::Tensor& actual, const at::Tensor& expected) {
  EXPECT_EQ(actual.sizes(), expected.sizes());
  if (expected.numel() == 0) return 0;
  const at::Tensor e = expected.detach().to(at::kDouble);
  const at::Tensor d = (actual.detach().cpu().to(at::kDouble) - e).abs().max();
  const auto difference = (d / e.abs().max().clamp_min(1e-30)).item<double>();
  return std::isnan(difference) ? std::numeric_limits<double>::infinity() : difference;
}

inline bool IsFinite(const at::Tensor& tensor) { return at::isfinite(tensor).all().item<bool>(); }

}  // namespace athanor
