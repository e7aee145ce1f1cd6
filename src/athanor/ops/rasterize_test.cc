// Operations against the plain-tensor oracle in values and gradients, on the CPU and on CUDA.
#include "athanor/ops/rasterize.h"

#include <ATen/ATen.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <torch/csrc/autograd/autograd.h>

#include <cmath>
#include <functional>
#include <vector>

#include "athanor/base/random.h"
#include "athanor/base/test_util.h"
#include "athanor/ops/device.h"
#include "athanor/ops/ops_test_util.h"
#include "athanor/ops/rasterize_reference.h"
#include "athanor/ops/self_test.h"

#ifdef ATHANOR_HAS_CUDA
#include <c10/cuda/CUDAFunctions.h>
#endif

namespace athanor {
namespace {

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
