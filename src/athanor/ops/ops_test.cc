// Operations against the plain-tensor oracle in values and gradients, the oracle against finite
// differences, and inputs that are wrong, empty, huge or not finite.
#include <ATen/ATen.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <torch/csrc/autograd/autograd.h>

#include <chrono>
#include <cmath>
#include <functional>
#include <limits>

#include "athanor/base/random.h"
#include "athanor/base/test_util.h"
#include "athanor/ops/device.h"
#include "athanor/ops/rasterize.h"
#include "athanor/ops/rasterize_reference.h"
#include "athanor/ops/self_test.h"

#ifdef ATHANOR_HAS_CUDA
#include <c10/cuda/CUDAFunctions.h>
#endif

namespace athanor {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;

// One line that says all of this.
template <typename... Parts>
auto OneLine(Parts... parts) {
  return AllOf(HasSubstr(parts)..., Not(HasSubstr("\n")));
}

at::Tensor Uniform(at::IntArrayRef shape, float low, float high, Random* random) {
  at::Tensor values = at::empty(shape, at::kFloat);
  auto* data = values.data_ptr<float>();
  for (int64_t i = 0; i < values.numel(); ++i) data[i] = random->Uniform(low, high);
  return values;
}

constexpr int kWidth = 41, kHeight = 27;
constexpr float kOrigin[3] = {0, 0, 0};

PinholeView TestView() {
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

GaussianTensors TestGaussians(int64_t n, uint64_t seed) {
  Random random(seed);
  const at::Tensor xy = Uniform({n, 2}, -1.3f, 1.3f, &random);
  return {at::cat({xy, Uniform({n, 1}, 0.5f, 4, &random)}, 1), Uniform({n, 4}, -1, 1, &random),
          Uniform({n, 3}, -3, -1.2f, &random), Uniform({n}, -3, 4, &random)};
}

at::Tensor Leaf(const at::Tensor& tensor, at::ScalarType type) {
  return tensor.detach().to(type).clone().requires_grad_(true);
}

GaussianTensors Leaves(const GaussianTensors& g, at::ScalarType type) {
  return {Leaf(g.means, type), Leaf(g.quats, type), Leaf(g.log_scales, type),
          Leaf(g.opacity_logits, type)};
}

std::vector<at::Tensor> List(const GaussianTensors& g) {
  return {g.means, g.quats, g.log_scales, g.opacity_logits};
}

// Largest difference, relative to the largest expected value.
double Difference(const at::Tensor& actual, const at::Tensor& expected) {
  EXPECT_EQ(actual.sizes(), expected.sizes());
  if (expected.numel() == 0) return 0;
  const at::Tensor e = expected.detach().to(at::kDouble);
  const at::Tensor d = (actual.detach().cpu().to(at::kDouble) - e).abs().max();
  const auto difference = (d / e.abs().max().clamp_min(1e-30)).item<double>();
  return std::isnan(difference) ? std::numeric_limits<double>::infinity() : difference;
}

bool IsFinite(const at::Tensor& tensor) { return at::isfinite(tensor).all().item<bool>(); }

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

// --- The oracle against finite differences
// --------------------------------------------------------

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

// --- Kernels against the oracle
// -------------------------------------------------------------------

TEST(KernelCheckTest, AllPassOnTheCpu) {
  CheckKernels(c10::kCPU);  // starts threads
  const auto start = std::chrono::steady_clock::now();
  const std::vector<KernelCheck> checks = CheckKernels(c10::kCPU);
  const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - start;
  EXPECT_LT(seconds.count(), 2) << "doctor should answer at once";
  EXPECT_EQ(checks.size(), 9u);
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

struct Case {
  int64_t channels;
  bool background, antialias;
  bool d_image, d_transmittance, d_depth;
};

class RenderFeaturesTest : public testing::TestWithParam<Case> {};

TEST_P(RenderFeaturesTest, ValuesAndGradientsAreThoseOfTheOracle) {
  const Case p = GetParam();
  Random random(7);
  constexpr int64_t kGaussians = 120;
  const GaussianTensors scene = TestGaussians(kGaussians, 8);
  FeatureRenderOptions options;
  options.project.antialias = p.antialias;
  const GaussianTensors g = Leaves(scene, at::kFloat), oracle = Leaves(scene, at::kDouble);
  const at::Tensor initial = Uniform({kGaussians, p.channels}, -1, 1, &random);
  const at::Tensor features = Leaf(initial, at::kFloat), wide = Leaf(initial, at::kDouble);
  at::Tensor wide_background;
  if (p.background) {
    options.background = Leaf(Uniform({p.channels}, 0, 1, &random), at::kFloat);
    wide_background = Leaf(options.background, at::kDouble);
  }
  const Rasterized r = RenderFeatures(g, features, TestView(), options);
  const RasterizedReference expected =
      RasterizeReference(ProjectReference(oracle, TestView(), options.project), wide,
                         wide_background, kWidth, kHeight);
  const at::Tensor sure = expected.doubtful.logical_not();
  EXPECT_GT(sure.to(at::kFloat).mean().item<float>(), 0.6f);
  EXPECT_LT(Difference(r.image * sure, expected.image * sure), 1e-4);
  EXPECT_LT(Difference(r.transmittance * sure, expected.transmittance * sure), 1e-4);
  EXPECT_LT(Difference(r.depth * sure, expected.depth * sure), 1e-4);
  // Where rounding decided, it decided about one splat of alpha 1/255.
  EXPECT_LT(Difference(r.transmittance, expected.transmittance), 5e-3);

  const at::Tensor d_image = Uniform({p.channels, kHeight, kWidth}, -1, 1, &random) * sure;
  const at::Tensor d_plane = Uniform({kHeight, kWidth}, -1, 1, &random) * sure;
  const auto loss = [&](const auto& out) {
    at::Tensor sum = at::zeros({}, out.image.options());
    if (p.d_image) sum = sum + (out.image * d_image).sum();
    if (p.d_transmittance) sum = sum + (out.transmittance * d_plane).sum();
    if (p.d_depth) sum = sum + (out.depth * d_plane).sum();
    return sum;
  };
  loss(r).backward();
  loss(expected).backward();
  const char* const names[] = {"means", "quats", "log_scales", "opacity_logits"};
  for (int i = 0; i < 4; ++i) {
    const at::Tensor gradient = List(oracle)[i].grad();
    EXPECT_LT(Difference(List(g)[i].grad(), gradient), 1e-3) << names[i];
    EXPECT_GT(gradient.abs().max().item<double>(), 0) << names[i];
  }
  if (p.d_image) {
    EXPECT_LT(Difference(features.grad(), wide.grad()), 1e-4);
    if (p.background) {
      EXPECT_LT(Difference(options.background.grad(), wide_background.grad()), 1e-4);
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Cases, RenderFeaturesTest,
                         testing::Values(Case{3, false, false, true, false, false},
                                         Case{3, true, true, true, true, true},
                                         Case{1, true, false, true, false, true},
                                         Case{4, false, true, true, true, false},
                                         Case{19, true, false, true, false, false},
                                         Case{64, true, true, true, true, true},
                                         Case{3, true, false, false, true, false},
                                         Case{0, false, false, false, false, true}),
                         [](const auto& test) {
                           const Case& p = test.param;
                           return StrCat(p.channels, "Channels", p.background ? "Background" : "",
                                         p.antialias ? "Antialias" : "", p.d_image ? "Image" : "",
                                         p.d_transmittance ? "Transmittance" : "",
                                         p.d_depth ? "Depth" : "");
                         });

TEST(ShColorsTest, EveryDegreeAgreesWithTheOracle) {
  Random random(9);
  const GaussianTensors scene = TestGaussians(50, 8);
  const at::Tensor splats = Project(scene, TestView(), {});
  const at::Tensor visible = (splats.select(1, 7) > 0).unsqueeze(1);
  ASSERT_TRUE(visible.any().item<bool>() && !visible.all().item<bool>());
  for (int degree = 0; degree <= 3; ++degree) {
    for (int k = (degree + 1) * (degree + 1); k <= 16; k = k == 1 ? 4 : (k == 4 ? 9 : k + 7)) {
      const at::Tensor initial = Uniform({50, 3, k}, -0.4f, 0.4f, &random);
      const at::Tensor sh = Leaf(initial, at::kFloat), wide_sh = Leaf(initial, at::kDouble);
      const at::Tensor means = Leaf(scene.means, at::kFloat),
                       wide_means = Leaf(scene.means, at::kDouble);
      const at::Tensor colors = ShColors(means, sh, degree, kOrigin, splats);
      const at::Tensor expected = ShColorsReference(wide_means, wide_sh, degree, kOrigin) * visible;
      EXPECT_LT(Difference(colors, expected), 1e-5) << degree << " " << k;
      const at::Tensor weights = Uniform({50, 3}, -1, 1, &random);
      (colors * weights).sum().backward();
      (expected * weights).sum().backward();
      EXPECT_LT(Difference(sh.grad(), wide_sh.grad()), 1e-5) << degree << " " << k;
      if (degree > 0) {
        EXPECT_LT(Difference(means.grad(), wide_means.grad()), 1e-4) << degree << " " << k;
      } else {
        EXPECT_EQ(means.grad().abs().max().item<float>(), 0);
      }
    }
  }
}

TEST(ImageLossTest, AgreesWithTheOracleWithAndWithoutAMask) {
  Random random(10);
  for (const double weight : {0.0, 0.2, 1.0}) {
    for (const bool masked : {false, true}) {
      const at::Tensor target = Uniform({3, 31, 37}, 0, 1, &random);
      const at::Tensor initial = 0.7 * target + 0.1 * Uniform({3, 31, 37}, 0, 1, &random);
      const at::Tensor mask =
          masked ? (Uniform({31, 37}, 0, 1, &random) > 0.3).to(at::kByte) * 255 : at::Tensor();
      const at::Tensor image = Leaf(initial, at::kFloat), wide = Leaf(initial, at::kDouble);
      const at::Tensor loss = ImageLoss(image, target, mask, weight);
      const at::Tensor expected = ImageLossReference(wide, target.to(at::kDouble), mask, weight);
      EXPECT_NEAR(loss.item<double>(), expected.item<double>(), 1e-5);
      (3 * loss).backward();
      (3 * expected).backward();
      EXPECT_LT(Difference(image.grad(), wide.grad()), 2e-3) << weight << " " << masked;
      if (masked) {
        EXPECT_FLOAT_EQ(loss.item<float>(),
                        ImageLoss(image, target, mask != 0, weight).item<float>());
      }
      const c10::NoGradGuard no_gradient;
      EXPECT_EQ(ImageLoss(image, target, mask, weight).item<float>(), loss.item<float>());
    }
  }
}

TEST(TopContributorsTest, AreThoseOfTheOracle) {
  const at::Tensor splats = Project(TestGaussians(120, 8), TestView(), {});
  TileBinTensors bins;
  BinTiles(splats, kWidth, kHeight, &bins);
  constexpr int kTop = 4;
  const TopContributors top = FindTopContributors(splats, bins, kWidth, kHeight, kTop);
  const RasterizedReference r = RasterizeReference(
      splats.to(at::kDouble), at::zeros({120, 0}, at::kDouble), {}, kWidth, kHeight);
  const auto [weights, ids] = r.weights.t().topk(kTop + 1, 1);
  int compared = 0, empty = 0;
  for (int pixel = 0; pixel < kWidth * kHeight; ++pixel) {
    const int y = pixel / kWidth, x = pixel % kWidth;
    if (r.doubtful[y][x].item<bool>()) continue;
    for (int k = 0; k < kTop; ++k) {
      const auto weight = weights[pixel][k].item<double>();
      ASSERT_NEAR(top.weights[y][x][k].item<double>(), weight, 1e-5) << pixel;
      if (weight == 0) {
        ASSERT_EQ(top.ids[y][x][k].item<int>(), -1) << pixel;
        ++empty;
      } else if (weight - weights[pixel][k + 1].item<double>() > 1e-5 &&
                 (k == 0 || weights[pixel][k - 1].item<double>() - weight > 1e-5)) {
        ASSERT_EQ(top.ids[y][x][k].item<int>(), ids[pixel][k].item<int64_t>()) << pixel;
        ++compared;
      }
    }
    // The nearest splat behind which at most half of the light is left.
    const at::Tensor z = splats.select(1, 6);
    const at::Tensor order = std::get<1>(z.sort());
    double left = 1;
    float median = 0;
    for (int i = 0; i < 120 && left > 0.5; ++i) {
      left -= r.weights[order[i]][pixel].item<double>();
      if (left <= 0.5) median = z[order[i]].item<float>();
    }
    if (std::abs(left - 0.5) > 1e-5) {
      ASSERT_EQ(top.median_depth[y][x].item<float>(), median) << pixel;
    }
  }
  EXPECT_GT(compared, 1000);
  EXPECT_GT(empty, 10);
}

// --- Autograd
// -------------------------------------------------------------------------------------

// A render and its gradients of a fixed loss.
struct Outcome {
  at::Tensor image, d_means, d_features, absolute;
};

Outcome RunScene(const GaussianTensors& scene, const at::Tensor& features_of_scene,
                 const std::function<void(TileBinTensors*)>& before_backward = nullptr) {
  const at::Tensor means = scene.means.detach().requires_grad_(true);
  const at::Tensor features = features_of_scene.detach().requires_grad_(true);
  const at::Tensor splats =
      Project({means, scene.quats, scene.log_scales, scene.opacity_logits}, TestView(), {});
  TileBinTensors bins;
  BinTiles(splats, kWidth, kHeight, &bins);
  const at::Tensor absolute = at::zeros({means.size(0), 2});
  const Rasterized r = Rasterize(splats, features, bins, {}, kWidth, kHeight, absolute);
  if (before_backward) before_backward(&bins);
  // A gradient that arrives with strides.
  const at::Tensor weights = at::arange(kWidth * kHeight, at::kFloat).view({kWidth, kHeight}).sin();
  (r.image.transpose(1, 2) * weights).sum().backward();
  return {r.image.detach(), means.grad(), features.grad(), absolute};
}

TEST(AutogradTest, TensorsNeedNotBeDense) {
  Random random(11);
  const GaussianTensors scene = TestGaussians(60, 12);
  const at::Tensor features = Uniform({60, 3}, 0, 1, &random);
  const Outcome dense = RunScene(scene, features);
  const GaussianTensors strided = {scene.means.t().contiguous().t(),
                                   at::cat({scene.quats, scene.quats}, 1).narrow(1, 0, 4),
                                   at::stack({scene.log_scales, scene.log_scales}, 1).select(1, 1),
                                   scene.opacity_logits.repeat_interleave(2).slice(0, 0, 120, 2)};
  ASSERT_FALSE(strided.means.is_contiguous() || strided.quats.is_contiguous() ||
               strided.log_scales.is_contiguous() || strided.opacity_logits.is_contiguous());
  const Outcome other = RunScene(strided, features.t().contiguous().t());
  EXPECT_TRUE(at::equal(other.image, dense.image));
  EXPECT_TRUE(at::equal(other.d_means, dense.d_means));
  EXPECT_TRUE(at::equal(other.d_features, dense.d_features));
}

TEST(AutogradTest, BinsMayBeUsedAgainBeforeTheBackwardPass) {
  Random random(11);
  const GaussianTensors scene = TestGaussians(60, 12);
  const at::Tensor features = Uniform({60, 3}, 0, 1, &random);
  const Outcome expected = RunScene(scene, features);
  const Outcome run = RunScene(scene, features, [](TileBinTensors* bins) {
    BinTiles(Project(TestGaussians(500, 13), TestView(), {}), kWidth, kHeight, bins);
  });
  EXPECT_TRUE(at::equal(run.d_means, expected.d_means));
}

TEST(AutogradTest, AbsoluteGradientsAddUp) {
  const GaussianTensors scene = TestGaussians(60, 12);
  FeatureRenderOptions options;
  options.absolute_gradients = at::zeros({60, 2});
  const at::Tensor features = at::ones({60, 1}).requires_grad_(true);
  const Rasterized r = RenderFeatures(scene, features, TestView(), options);
  EXPECT_EQ(options.absolute_gradients.abs().max().item<float>(), 0);
  const auto backward = [&] {
    torch::autograd::backward({r.image.sum()}, {}, /*retain_graph=*/true);
  };
  backward();
  const at::Tensor once = options.absolute_gradients.clone();
  EXPECT_GT(once.max().item<float>(), 0);
  EXPECT_GE(once.min().item<float>(), 0);
  backward();
  EXPECT_LT(Difference(options.absolute_gradients, 2 * once), 1e-6);
}

TEST(AutogradTest, NoGraphWithoutNeedAndNoSecondDerivatives) {
  const GaussianTensors scene = TestGaussians(20, 12);
  const at::Tensor features = at::ones({20, 1}).requires_grad_(true);
  {
    const c10::NoGradGuard no_gradient;
    EXPECT_FALSE(RenderFeatures(scene, features, TestView(), {}).image.requires_grad());
  }
  const Rasterized r = RenderFeatures(scene, features, TestView(), {});
  EXPECT_TRUE(r.image.requires_grad());
  EXPECT_FALSE(r.splats.requires_grad());
  EXPECT_THAT(ErrorOf([&] {
                torch::autograd::grad({r.image.sum()}, {features}, {}, /*retain_graph=*/true,
                                      /*create_graph=*/true);
              }),
              OneLine("create_graph", "no second derivatives"));
}

TEST(AutogradTest, AFewStepsOfAdamFitAnImage) {
  // A bright disc on a dark ground.
  const at::Tensor x = at::arange(kWidth, at::kFloat) - 20,
                   y = at::arange(kHeight, at::kFloat) - 13;
  const at::Tensor disc = ((x * x).unsqueeze(0) + (y * y).unsqueeze(1) < 64).to(at::kFloat);
  const at::Tensor target = at::stack({0.9 * disc, 0.5 * disc, 0.1 + 0.2 * disc});
  const GaussianTensors g = Leaves(TestGaussians(40, 14), at::kFloat);
  const at::Tensor sh = at::zeros({40, 3, 4}).requires_grad_(true);
  std::vector<at::Tensor> parameters = List(g), first, second;
  parameters.push_back(sh);
  for (const at::Tensor& p : parameters) {
    first.push_back(at::zeros_like(p));
    second.push_back(at::zeros_like(p));
  }
  std::vector<float> losses;
  for (int step = 1; step <= 60; ++step) {
    const at::Tensor splats = Project(g, TestView(), {});
    const at::Tensor colors = ShColors(g.means, sh, 1, kOrigin, splats);
    TileBinTensors bins;
    BinTiles(splats, kWidth, kHeight, &bins);
    const Rasterized r = Rasterize(splats, colors, bins, {}, kWidth, kHeight);
    const at::Tensor loss = ImageLoss(r.image, target, {}, 0.2);
    losses.push_back(loss.item<float>());
    loss.backward();
    const c10::NoGradGuard no_gradient;
    for (size_t i = 0; i < parameters.size(); ++i) {
      const at::Tensor d = parameters[i].grad();
      first[i].mul_(0.9).add_(0.1 * d);
      second[i].mul_(0.99).add_(0.01 * d * d);
      parameters[i].sub_(0.03 * (first[i] / (1 - std::pow(0.9, step))) /
                         ((second[i] / (1 - std::pow(0.99, step))).sqrt() + 1e-8));
      parameters[i].mutable_grad() = at::Tensor();
    }
  }
  EXPECT_LT(losses.back(), 0.35f * losses.front());
}

// --- Inputs that are empty, huge or not finite
// ----------------------------------------------------

TEST(ExtremeInputTest, NoGaussiansLeaveTheBackground) {
  const GaussianTensors g = Leaves(TestGaussians(0, 1), at::kFloat);
  const at::Tensor sh = at::zeros({0, 3, 16}).requires_grad_(true);
  FeatureRenderOptions options;
  options.background = at::tensor({0.25f, 0.5f, 1.0f}).requires_grad_(true);
  options.absolute_gradients = at::zeros({0, 2});
  const at::Tensor colors = ShColors(g.means, sh, 3, kOrigin, {});
  const Rasterized r = RenderFeatures(g, colors, TestView(), options);
  EXPECT_TRUE(at::equal(r.image, options.background.view({3, 1, 1}).expand_as(r.image)));
  EXPECT_TRUE(at::equal(r.transmittance, at::ones({kHeight, kWidth})));
  EXPECT_TRUE(at::equal(r.depth, at::zeros({kHeight, kWidth})));
  r.image.sum().backward();
  EXPECT_EQ(g.means.grad().sizes(), g.means.sizes());
  EXPECT_EQ(sh.grad().sizes(), sh.sizes());
  EXPECT_FLOAT_EQ(options.background.grad()[0].item<float>(), kWidth * kHeight);
}

TEST(ExtremeInputTest, GaussiansThatAreNotFiniteAreNotThere) {
  Random random(15);
  const GaussianTensors scene = TestGaussians(64, 16);
  const at::Tensor features = Uniform({64, 3}, 0, 1, &random);
  const float bad[] = {std::numeric_limits<float>::quiet_NaN(),
                       std::numeric_limits<float>::infinity(),
                       -std::numeric_limits<float>::infinity(), 3e38f};
  // Rows 0..15 get a bad mean, quaternion, scale or opacity; their features stay finite.
  GaussianTensors spoilt = Leaves(scene, at::kFloat);
  std::vector<int64_t> broken;
  {
    const c10::NoGradGuard no_gradient;
    for (int64_t row = 0; row < 16; ++row) {
      const float value = bad[row % 4];
      at::Tensor parameter = List(spoilt)[row / 4];
      if (row == 7) continue;                      // too long a quaternion is no rotation
      if (row / 4 == 3 && row % 4 != 0) continue;  // an infinite logit is an opacity of 0 or 1
      if (row / 4 == 2 && row % 4 == 2) continue;  // and a scale of 0 is a flat Gaussian
      if (parameter.dim() == 2) {
        parameter[row][1] = value;
      } else {
        parameter[row] = value;
      }
      broken.push_back(row);
    }
  }
  const at::Tensor leaf = features.clone().requires_grad_(true);
  const Rasterized r = RenderFeatures(spoilt, leaf, TestView(), {});
  const at::Tensor rows = at::tensor(broken);
  EXPECT_EQ(r.splats.detach().select(1, 7).index_select(0, rows).abs().max().item<float>(), 0);
  at::Tensor whole = at::ones({64}, at::kBool);
  whole.index_fill_(0, rows, 0);
  const at::Tensor kept = whole.nonzero().squeeze(1);
  const Rasterized expected = RenderFeatures(
      {scene.means.index_select(0, kept), scene.quats.index_select(0, kept),
       scene.log_scales.index_select(0, kept), scene.opacity_logits.index_select(0, kept)},
      features.index_select(0, kept), TestView(), {});
  EXPECT_TRUE(at::equal(r.image, expected.image));
  EXPECT_TRUE(at::equal(r.depth, expected.depth));
  (r.image.sum() + r.depth.sum()).backward();
  for (const at::Tensor& parameter : List(spoilt)) {
    EXPECT_TRUE(IsFinite(parameter.grad()));
    EXPECT_EQ(parameter.grad().index_select(0, rows).abs().max().item<float>(), 0);
  }
  EXPECT_TRUE(IsFinite(leaf.grad()));
}

TEST(ExtremeInputTest, FeaturesThatAreNotFiniteStayInTheirTiles) {
  // One small splat at the top left, of value NaN.
  const at::Tensor splats =
      at::tensor({3.0f, 3.0f, 1.0f, 0.0f, 1.0f, 0.9f, 1.0f, 3.4f}).view({1, 8});
  TileBinTensors bins;
  BinTiles(splats, kWidth, kHeight, &bins);
  const at::Tensor features = at::full({1, 1}, std::numeric_limits<float>::quiet_NaN());
  const Rasterized r = Rasterize(splats, features, bins, {}, kWidth, kHeight);
  EXPECT_TRUE(std::isnan(r.image[0][3][3].item<float>()));
  EXPECT_TRUE(IsFinite(r.image.slice(2, kTileSize)));
  EXPECT_TRUE(IsFinite(r.image.slice(1, kTileSize)));
  EXPECT_TRUE(IsFinite(r.transmittance));
}

TEST(ExtremeInputTest, SplatsOfAMillionPixels) {
  // Radii of 1e5 to beyond 1e6 px, where the projection gives up.
  GaussianTensors scene = TestGaussians(24, 17);
  scene.log_scales = at::linspace(6, 14, 24, at::kFloat).unsqueeze(1).expand({24, 3});
  scene.opacity_logits = at::full({24}, -1.0f);
  const at::Tensor features = at::linspace(0, 1, 24, at::kFloat).unsqueeze(1);
  const GaussianTensors g = Leaves(scene, at::kFloat), oracle = Leaves(scene, at::kDouble);
  const Rasterized r = RenderFeatures(g, features, TestView(), {});
  const at::Tensor radius = r.splats.detach().select(1, 7);
  EXPECT_GT(radius.max().item<float>(), 3e5f);
  EXPECT_LE(radius.max().item<float>(), 1e6f);
  EXPECT_TRUE((radius == 0).any().item<bool>());
  const RasterizedReference expected = RasterizeReference(
      ProjectReference(oracle, TestView(), {}), features.to(at::kDouble), {}, kWidth, kHeight);
  EXPECT_LT(Difference(r.image, expected.image), 1e-4);
  EXPECT_LT(Difference(r.transmittance, expected.transmittance), 1e-4);
  r.image.sum().backward();
  expected.image.sum().backward();
  EXPECT_LT(Difference(g.opacity_logits.grad(), oracle.opacity_logits.grad()), 1e-3);
  for (const at::Tensor& parameter : List(g)) EXPECT_TRUE(IsFinite(parameter.grad()));
}

// --- Wrong inputs
// ---------------------------------------------------------------------------------

TEST(WrongInputTest, ProjectSaysWhatItExpected) {
  const GaussianTensors good = TestGaussians(5, 1);
  const auto error_of = [](const GaussianTensors& g, const PinholeView& view = TestView()) {
    return ErrorOf([&] { Project(g, view, {}); });
  };
  EXPECT_EQ(error_of(good), "");
  GaussianTensors g = good;
  g.means = at::Tensor();
  EXPECT_THAT(error_of(g), OneLine("means", "found none"));
  g.means = at::zeros({5, 4});
  EXPECT_THAT(error_of(g), OneLine("means", "[-1, 3]", "found [5, 4]"));
  g.means = at::zeros({15});
  EXPECT_THAT(error_of(g), OneLine("means", "found [15]"));
  g.means = at::zeros({5, 3}, at::kDouble);
  EXPECT_THAT(error_of(g), OneLine("means", "Float", "found Double"));
  g.means = at::empty({5, 3}, at::TensorOptions().dtype(at::kFloat).device(at::kMeta));
  EXPECT_THAT(error_of(g), OneLine("means", "expected device cpu", "found meta"));
  g = good;
  g.quats = at::zeros({4, 4});
  EXPECT_THAT(error_of(g), OneLine("quats", "[5, 4]", "found [4, 4]"));
  g.quats = at::empty({5, 4}, at::TensorOptions().dtype(at::kFloat).device(at::kMeta));
  EXPECT_THAT(error_of(g), OneLine("quats", "expected device cpu", "found meta"));
  g = good;
  g.log_scales = at::Tensor();
  EXPECT_THAT(error_of(g), OneLine("log_scales", "found none"));
  g = good;
  g.opacity_logits = at::zeros({5, 1});
  EXPECT_THAT(error_of(g), OneLine("opacity_logits", "[5]", "found [5, 1]"));
  PinholeView view = TestView();
  view.width_px = 0;
  EXPECT_THAT(error_of(good, view), OneLine("image size", "found 0 x 27"));
  view = TestView();
  view.fy_px = std::numeric_limits<float>::quiet_NaN();
  EXPECT_THAT(error_of(good, view), OneLine("focal lengths above 0", "nan"));
}

TEST(WrongInputTest, RasterizeAndBinsSayWhatTheyExpected) {
  const at::Tensor splats = Project(TestGaussians(5, 1), TestView(), {});
  const at::Tensor features = at::zeros({5, 3});
  TileBinTensors bins;
  const auto error_of = [&](const at::Tensor& s, const at::Tensor& f, const at::Tensor& b = {},
                            int width = kWidth, const at::Tensor& absolute = {}) {
    return ErrorOf([&] { Rasterize(s, f, bins, b, width, kHeight, absolute); });
  };
  EXPECT_THAT(error_of(splats, features),
              OneLine("bins", "those of 5 splats", "found those of -1"));
  EXPECT_THAT(ErrorOf([&] { BinTiles(splats, 70000, 3, &bins); }),
              OneLine("image size", "65536", "found 70000 x 3"));
  EXPECT_THAT(ErrorOf([&] { BinTiles(splats.t(), kWidth, kHeight, &bins); }),
              OneLine("splats", "[-1, 8]", "found [8, 5]"));
  EXPECT_THAT(ErrorOf([&] { BinTiles(splats.slice(0, 0, 5, 2), kWidth, kHeight, &bins); }),
              OneLine("splats", "contiguous"));
  BinTiles(splats, kWidth, kHeight, &bins);
  EXPECT_EQ(error_of(splats, features), "");
  EXPECT_THAT(error_of(splats, features, {}, kWidth + 1), OneLine("bins", "42 x 27", "41 x 27"));
  EXPECT_THAT(error_of(splats.slice(0, 1), features.slice(0, 1)),
              OneLine("bins", "those of 4 splats", "found those of 5"));
  EXPECT_THAT(error_of(splats.slice(1, 1), features), OneLine("splats", "[-1, 8]", "[5, 7]"));
  EXPECT_THAT(error_of(splats, at::zeros({4, 3})), OneLine("features", "[5, -1]", "[4, 3]"));
  EXPECT_THAT(error_of(splats, at::zeros({5, 3}, at::kHalf)), OneLine("features", "found Half"));
  EXPECT_THAT(error_of(splats, {}), OneLine("features", "found none"));
  EXPECT_THAT(error_of(splats, features, at::zeros({2})), OneLine("background", "[3]", "[2]"));
  EXPECT_THAT(error_of(splats, features, {}, kWidth, at::zeros({5})),
              OneLine("absolute_gradients", "[5, 2]", "found [5]"));
  EXPECT_THAT(ErrorOf([&] { FindTopContributors(splats, bins, kWidth, kHeight, 0); }),
              OneLine("contributors", "1 to 64", "found 0"));
}

TEST(WrongInputTest, ColorsAndLossSayWhatTheyExpected) {
  const at::Tensor means = at::zeros({5, 3});
  const auto colors = [&](const at::Tensor& sh, int degree, const at::Tensor& splats = {}) {
    return ErrorOf([&] { ShColors(means, sh, degree, kOrigin, splats); });
  };
  EXPECT_EQ(colors(at::zeros({5, 3, 4}), 1), "");
  EXPECT_THAT(colors(at::zeros({5, 3, 5}), 1), OneLine("1, 4, 9 or 16", "found 5"));
  EXPECT_THAT(colors(at::zeros({5, 3, 4}), 2), OneLine("degree", "4 coefficients", "found 2"));
  EXPECT_THAT(colors(at::zeros({5, 3, 4}), -1), OneLine("degree", "found -1"));
  EXPECT_THAT(colors(at::zeros({5, 4, 3}), 1), OneLine("sh", "[5, 3, -1]", "[5, 4, 3]"));
  EXPECT_THAT(colors(at::zeros({5, 3, 4}), 1, at::zeros({5, 3})), OneLine("splats", "[5, 8]"));

  const at::Tensor image = at::zeros({3, 4, 6});
  const auto loss = [&](const at::Tensor& x, const at::Tensor& y, const at::Tensor& mask = {},
                        double weight = 0.2) {
    return ErrorOf([&] { ImageLoss(x, y, mask, weight); });
  };
  EXPECT_EQ(loss(image, image), "");
  EXPECT_THAT(loss(image, at::zeros({3, 6, 4})), OneLine("target", "[3, 4, 6]", "[3, 6, 4]"));
  EXPECT_THAT(loss(image, {}), OneLine("target", "found none"));
  EXPECT_THAT(loss(at::zeros({4, 6}), image), OneLine("image", "[4, 6]"));
  EXPECT_THAT(loss(at::zeros({3, 0, 6}), at::zeros({3, 0, 6})), OneLine("image", "[3, 0, 6]"));
  EXPECT_THAT(loss(image, image, at::zeros({4, 6})), OneLine("mask", "Byte", "found Float"));
  EXPECT_THAT(loss(image, image, at::zeros({6, 4}, at::kByte)), OneLine("mask", "[6, 4]"));
  EXPECT_THAT(loss(image, image, {}, 1.5), OneLine("ssim_weight", "[0, 1]", "1.5"));
  EXPECT_THAT(loss(image, image, {}, std::nan("")), OneLine("ssim_weight", "nan"));
}

TEST(DeviceTest, NamesAreChecked) {
  EXPECT_EQ(ParseDevice("cpu"), c10::Device(c10::kCPU));
  EXPECT_EQ(ParseDevice("cpu:0"), at::zeros({1}).device());
  for (const char* name : {"gpu", "", "cuda:x", "cuda:-1", "meta"}) {
    EXPECT_THAT(ErrorOf([&] { ParseDevice(name); }),
                OneLine(StrCat("device '", name, "'"), "expected cpu, cuda or cuda:N"));
  }
#ifndef ATHANOR_HAS_CUDA
  EXPECT_THAT(ErrorOf([] { ParseDevice("cuda"); }), OneLine("'cuda'", "has no CUDA"));
#endif
}

// --- CUDA
// -----------------------------------------------------------------------------------------

TEST(CudaTest, AgreesWithTheOraclesAndTheCpu) {
#ifdef ATHANOR_HAS_CUDA
  if (c10::cuda::device_count() == 0) GTEST_SKIP() << "this machine has no GPU";
  const c10::Device device = ParseDevice("cuda");
  for (const KernelCheck& check : CheckKernels(device)) {
    EXPECT_TRUE(check.passed()) << check.name << ": " << check.max_error;
  }
  Random random(18);
  const GaussianTensors scene = TestGaussians(3000, 19);
  const at::Tensor features = Uniform({3000, 19}, -1, 1, &random);
  const auto render = [&](const c10::Device& where, at::Tensor* gradient) {
    const at::Tensor leaf = features.to(where).requires_grad_(true);
    const Rasterized r =
        RenderFeatures({scene.means.to(where), scene.quats.to(where), scene.log_scales.to(where),
                        scene.opacity_logits.to(where)},
                       leaf, TestView(), {});
    r.image.square().sum().backward();
    *gradient = leaf.grad().cpu();
    return r.image.detach().cpu();
  };
  at::Tensor d_cpu, d_cuda;
  const at::Tensor cpu = render(c10::kCPU, &d_cpu), cuda = render(device, &d_cuda);
  // Here and there rounding decides whether a splat of alpha 1/255 is seen.
  EXPECT_LT((cpu - cuda).abs().mean().item<float>(), 1e-4f);
  EXPECT_LT((cpu - cuda).abs().max().item<float>(), 2e-2f);
  EXPECT_LT(((d_cpu - d_cuda).norm() / d_cpu.norm()).item<float>(), 1e-3f);
  EXPECT_THAT(
      ErrorOf([&] { ShColors(features.narrow(1, 0, 3).to(device), features, 0, kOrigin, {}); }),
      OneLine("sh", "expected device cuda:0", "found cpu"));
#else
  GTEST_SKIP() << "this build has no CUDA (ATHANOR_WITH_CUDA is off)";
#endif
}

}  // namespace
}  // namespace athanor
