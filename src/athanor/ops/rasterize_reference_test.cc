// The plain-tensor oracle against finite differences, and the checks of kernels that the doctor
// runs.
#include "athanor/ops/rasterize_reference.h"

#include <ATen/ATen.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <functional>
#include <limits>

#include "athanor/base/random.h"
#include "athanor/base/test_util.h"
#include "athanor/ops/ops_test_util.h"
#include "athanor/ops/self_test.h"

namespace athanor {
namespace {

// The gradient of loss() in some entries of `leaf` (double), by autograd and by differences.
void ExpectGradient(const std::function<at::Tensor()>& loss, const at::Tensor& leaf,
                    const char* name) {
  leaf.mutable_grad() = at::Tensor();
  loss().backward();
  const at::Tensor gradient = leaf.grad().clone().flatten();
  const c10::NoGradGuard no_gradient;
  const at::Tensor values = leaf.flatten();  // the same memory
  const double scale = gradient.abs().max().item<double>();
  EXPECT_GT(scale, 0) << name;
  Random random(5);
  for (int trial = 0; trial < 12; ++trial) {
    const auto i = static_cast<int64_t>(random.Below(static_cast<uint32_t>(values.numel())));
    constexpr double kStep = 1e-6;
    const auto value = values[i].item<double>();
    values[i] = value + kStep;
    const auto above = loss().item<double>();
    values[i] = value - kStep;
    const auto below = loss().item<double>();
    values[i] = value;
    EXPECT_NEAR(gradient[i].item<double>(), (above - below) / (2 * kStep), 1e-5 * scale)
        << name << " " << i;
  }
}

TEST(ReferenceTest, ProjectionAndColorsHaveTheGradientsOfFiniteDifferences) {
  Random random(1);
  for (const bool antialias : {false, true}) {
    ProjectOptions options;
    options.antialias = antialias;
    const GaussianTensors g = Leaves(TestGaussians(30, 2), at::kDouble);
    at::Tensor weights = Uniform({30, 8}, -1, 1, &random);
    weights.select(1, 7).zero_();
    const auto loss = [&] { return (ProjectReference(g, TestView(), options) * weights).sum(); };
    ExpectGradient(loss, g.means, "means");
    ExpectGradient(loss, g.quats, "quats");
    ExpectGradient(loss, g.log_scales, "log_scales");
    ExpectGradient(loss, g.opacity_logits, "opacity_logits");
  }
  const at::Tensor means = Leaf(Uniform({9, 3}, -1, 1, &random), at::kDouble);
  const at::Tensor sh = Leaf(Uniform({9, 3, 16}, -0.3f, 0.4f, &random), at::kDouble);
  const at::Tensor weights = Uniform({9, 3}, -1, 1, &random);
  const float center[3] = {2, 1, 0};
  const auto loss = [&] { return (ShColorsReference(means, sh, 3, center) * weights).sum(); };
  ExpectGradient(loss, means, "means");
  ExpectGradient(loss, sh, "sh");
}

TEST(ReferenceTest, BlendingAndLossHaveTheGradientsOfFiniteDifferences) {
  Random random(1);
  const at::Tensor projected = ProjectReference(TestGaussians(25, 3), TestView(), ProjectOptions());
  const at::Tensor splats = Leaf(projected, at::kDouble);
  const at::Tensor features = Leaf(Uniform({25, 2}, -1, 1, &random), at::kDouble);
  const at::Tensor background = Leaf(Uniform({2}, 0, 1, &random), at::kDouble);
  const at::Tensor sure =
      RasterizeReference(splats.detach(), features.detach(), {}, kWidth, kHeight)
          .doubtful.logical_not();
  EXPECT_GT(sure.to(at::kFloat).mean().item<float>(), 0.8f);
  const at::Tensor weights = Uniform({4, kHeight, kWidth}, -1, 1, &random) * sure;
  const auto loss = [&] {
    const auto r = RasterizeReference(splats, features, background, kWidth, kHeight);
    return (at::cat({r.image, r.transmittance.unsqueeze(0), r.depth.unsqueeze(0)}) * weights).sum();
  };
  ExpectGradient(loss, splats, "splats");
  ExpectGradient(loss, features, "features");
  ExpectGradient(loss, background, "background");

  const at::Tensor target = Uniform({2, 15, 13}, 0, 1, &random).to(at::kDouble);
  const at::Tensor image = Leaf(0.5 * target + 0.2, at::kDouble);
  const at::Tensor mask = Uniform({15, 13}, 0, 1, &random) > 0.3;
  ExpectGradient([&] { return ImageLossReference(image, target, mask, 0.2); }, image, "image");
}

TEST(KernelCheckTest, AllPassOnTheCpu) {
  const std::vector<KernelCheck> checks = CheckKernels(c10::kCPU);
  EXPECT_EQ(checks.size(), 18u);
  for (const KernelCheck& check : checks) {
    EXPECT_TRUE(check.passed()) << check.name << ": " << check.max_error;
    // Equal to the last bit would mean that nothing was compared.
    if (check.tolerance > 0) {
      EXPECT_GT(check.max_error, 0) << check.name;
    }
    RecordProperty(check.name, testing::PrintToString(check.max_error));
  }
  EXPECT_FALSE((KernelCheck{"", std::numeric_limits<double>::quiet_NaN(), 1}.passed()));
  EXPECT_THAT(ErrorOf([] { CheckKernels(c10::kMeta); }), OneLine("expected device cpu", "meta"));
}

}  // namespace
}  // namespace athanor
