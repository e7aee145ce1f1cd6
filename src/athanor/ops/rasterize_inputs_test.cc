// Inputs that are empty, huge, not finite or wrong.
#include <ATen/ATen.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "athanor/base/random.h"
#include "athanor/base/test_util.h"
#include "athanor/ops/device.h"
#include "athanor/ops/ops_test_util.h"
#include "athanor/ops/rasterize.h"
#include "athanor/ops/rasterize_reference.h"

namespace athanor {
namespace {

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

}  // namespace
}  // namespace athanor
