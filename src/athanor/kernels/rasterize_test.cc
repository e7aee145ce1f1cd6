// Blending against the oracle, and the gradients of projection and blending against finite
// differences of it.
#include "athanor/kernels/rasterize.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <numeric>
#include <vector>

#include "athanor/base/parallel.h"
#include "athanor/base/random.h"
#include "athanor/kernels/kernel_test_util.h"
#include "athanor/kernels/project.h"

namespace athanor {
namespace {

TEST(RasterizeTest, AgreesWithTheOracle) {
  for (int channels : {1, 3, 4, 19}) {
    const TestScene s(500, 3, channels);
    const Rendered r = Render(s, channels);
    const OracleImage o = OracleRender(OracleSplats(s), {s.features.begin(), s.features.end()},
                                       channels, s.view.width_px, s.view.height_px, false);
    // A splat right at a cut may fall on either side of it: worth 1/255 at most.
    EXPECT_LT(MaxDifference(r.image, o.image), 5e-3);
    double sum = 0;
    for (size_t i = 0; i < r.image.size(); ++i) sum += std::abs(r.image[i] - o.image[i]);
    EXPECT_LT(sum / static_cast<double>(r.image.size()), 1e-5);
    EXPECT_LT(MaxDifference(r.transmittance, o.transmittance), 5e-3);
    EXPECT_LT(MaxDifference(r.depth, o.depth), 2e-2);
    int wrong_median = 0;
    for (size_t i = 0; i < r.median.size(); ++i) {
      wrong_median += std::abs(r.median[i] - o.median[i]) > 1e-4;
    }
    EXPECT_LT(wrong_median, 10);
  }
}

TEST(RasterizeTest, EmptyAndTinyImages) {
  for (auto [width, height] : {std::pair{1, 1}, {17, 1}, {1, 33}, {16, 16}}) {
    TestScene s(50);
    s.view.width_px = width, s.view.height_px = height;
    s.view.cx_px = 0.5f * width, s.view.cy_px = 0.5f * height;
    const Rendered r = Render(s);
    const OracleImage o = OracleRender(OracleSplats(s), {s.features.begin(), s.features.end()},
                                       kChannels, width, height, false);
    EXPECT_LT(MaxDifference(r.image, o.image), 5e-3) << width << "x" << height;
  }
  TestScene none(0);
  const float background[] = {0.1f, 0.2f, 0.3f};
  const Rendered r = Render(none, kChannels, background);
  const size_t pixels = r.transmittance.size();
  for (size_t i = 0; i < pixels; ++i) {
    ASSERT_EQ(r.transmittance[i], 1);
    ASSERT_EQ(r.image[2 * pixels + i], 0.3f);
  }
}

TEST(RasterizeTest, TopSplatsAreThoseOfLargestWeight) {
  const TestScene s(300, 5);
  const Rendered r = Render(s);
  constexpr int kTop = 4;
  const int width = s.view.width_px, height = s.view.height_px;
  const size_t pixels = static_cast<size_t>(width) * height;
  std::vector<int32_t> ids(pixels * kTop);
  std::vector<float> weights(pixels * kTop), image(kChannels * pixels), transmittance(pixels);
  std::vector<int32_t> walked(r.walked.size());
  RasterizeForwardArgs args = {};
  args.width_px = width, args.height_px = height, args.channels = kChannels;
  args.splats = r.splats.data(), args.features = s.features.data();
  args.tile_offsets = r.bins.offsets.data(), args.tile_ids = r.bins.ids.data();
  args.image = image.data(), args.transmittance = transmittance.data();
  args.tile_walked = walked.data();
  args.top_k = kTop, args.top_ids = ids.data(), args.top_weights = weights.data();
  RasterizeForwardCpu(args);
  // One-hot features render each splat's weight.
  std::vector<double> one_hot(s.n * s.n);
  for (int64_t i = 0; i < s.n; ++i) one_hot[i * s.n + i] = 1;
  const OracleImage o =
      OracleRender(OracleSplats(s), one_hot, static_cast<int>(s.n), width, height, false);
  int wrong = 0;
  for (size_t pixel = 0; pixel < pixels; ++pixel) {
    std::vector<std::pair<double, int>> sorted;
    for (int64_t i = 0; i < s.n; ++i) sorted.push_back({-o.image[i * pixels + pixel], i});
    std::stable_sort(sorted.begin(), sorted.end());
    for (int k = 0; k < kTop; ++k) {
      const double expected = -sorted[k].first;
      wrong += std::abs(expected - weights[pixel * kTop + k]) > 1e-4;
      EXPECT_EQ(weights[pixel * kTop + k] == 0, ids[pixel * kTop + k] == -1);
    }
  }
  EXPECT_LT(wrong, 20);
}

// --- Gradients ---

// A loss that weighs every output: sum_i g_i out_i with fixed random g.
struct LossWeights {
  std::vector<float> image, transmittance, depth;
  explicit LossWeights(size_t pixels, int channels) {
    Random random(77);
    for (size_t i = 0; i < pixels * channels; ++i) image.push_back(random.Uniform(-1, 1));
    for (size_t i = 0; i < pixels; ++i) transmittance.push_back(random.Uniform(-1, 1));
    for (size_t i = 0; i < pixels; ++i) depth.push_back(random.Uniform(-1, 1));
  }
  double Of(const OracleImage& o) const {
    double sum = 0;
    for (size_t i = 0; i < image.size(); ++i) sum += image[i] * o.image[i];
    for (size_t i = 0; i < transmittance.size(); ++i) {
      sum += transmittance[i] * o.transmittance[i] + depth[i] * o.depth[i];
    }
    return sum;
  }
};

struct Gradients {
  std::vector<SplatGradient> splats;
  std::vector<float> features;
};

Gradients Backward(const TestScene& s, const Rendered& r, const LossWeights& loss, int channels) {
  Gradients g;
  g.splats.resize(s.n);
  g.features.resize(s.n * channels);
  RasterizeBackwardArgs args = {};
  args.n = s.n;
  args.width_px = s.view.width_px, args.height_px = s.view.height_px, args.channels = channels;
  args.splats = r.splats.data(), args.features = s.features.data();
  args.tile_offsets = r.bins.offsets.data(), args.tile_ids = r.bins.ids.data();
  args.image = r.image.data(), args.transmittance = r.transmittance.data();
  args.depth = r.depth.data(), args.tile_walked = r.walked.data();
  args.d_image = loss.image.data(), args.d_transmittance = loss.transmittance.data();
  args.d_depth = loss.depth.data();
  args.absolute = true;
  args.d_splats = g.splats.data(), args.d_features = g.features.data();
  RasterizeBackwardCpu(args);
  return g;
}

// Few, broad and faint Gaussians: no pixel meets a cut other than 1/255, whose jump is then the
// only difference from the smooth oracle.
TestScene GentleScene(int channels) {
  TestScene s(14, 21, channels);
  s.view.width_px = 24, s.view.height_px = 20;
  s.view.cx_px = 12, s.view.cy_px = 10, s.view.fx_px = s.view.fy_px = 20;
  for (int64_t i = 0; i < s.n; ++i) {
    s.means[3 * i + 2] = 1.5f + 0.1f * static_cast<float>(i);
    s.opacity_logits[i] = -1.0f + 0.1f * static_cast<float>(i % 5);
    for (int k = 0; k < 3; ++k) s.log_scales[3 * i + k] = 0.6f + 0.1f * static_cast<float>(k);
  }
  return s;
}

TEST(GradientTest, OfEveryParameterAgreesWithFiniteDifferences) {
  for (bool antialias : {false, true}) {
    for (int channels : {3, 6}) {
      TestScene s = GentleScene(channels);
      s.options.antialias = antialias;
      if (antialias) {
        for (float& v : s.log_scales) v -= 1.2f;  // the low-pass matters, the cut at 1/255 too
      }
      const Rendered r = Render(s, channels);
      const LossWeights loss(r.transmittance.size(), channels);
      const Gradients g = Backward(s, r, loss, channels);
      std::vector<float> d_means(3 * s.n), d_quats(4 * s.n), d_scales(3 * s.n), d_opacity(s.n);
      ProjectBackwardCpu({s.arrays(), s.view, s.options, r.splats.data(), g.splats.data(),
                          d_means.data(), d_quats.data(), d_scales.data(), d_opacity.data()});

      std::vector<OracleGaussian> gaussians;
      for (int64_t i = 0; i < s.n; ++i) gaussians.push_back(GaussianAt(s, i));
      std::vector<double> features(s.features.begin(), s.features.end());
      const auto value = [&] {
        std::vector<OracleSplat> splats;
        for (const auto& gaussian : gaussians) {
          splats.push_back(OracleProject(gaussian, s.view, s.options));
        }
        return loss.Of(OracleRender(splats, features, channels, s.view.width_px, s.view.height_px,
                                    /*smooth=*/true));
      };
      const auto check = [&](double* parameter, float found, const char* name, int64_t i) {
        constexpr double kStep = 1e-5;
        const double at = *parameter;
        *parameter = at + kStep;
        const double above = value();
        *parameter = at - kStep;
        const double below = value();
        *parameter = at;
        const double expected = (above - below) / (2 * kStep);
        const double tolerance = antialias ? 0.05 : 0.004;
        EXPECT_NEAR(found, expected, tolerance * std::abs(expected) + 10 * tolerance)
            << name << " of Gaussian " << i << (antialias ? ", antialiased" : "");
      };
      for (int64_t i = 0; i < s.n; ++i) {
        for (int k = 0; k < 3; ++k) check(&gaussians[i].mean[k], d_means[3 * i + k], "mean", i);
        for (int k = 0; k < 4; ++k) check(&gaussians[i].quat[k], d_quats[4 * i + k], "quat", i);
        for (int k = 0; k < 3; ++k) {
          check(&gaussians[i].log_scale[k], d_scales[3 * i + k], "log_scale", i);
        }
        check(&gaussians[i].opacity_logit, d_opacity[i], "opacity", i);
        for (int c = 0; c < channels; ++c) {
          check(&features[i * channels + c], g.features[i * channels + c], "feature", i);
        }
      }
    }
  }
}

// With cuts, occlusion and full pixels: against the analytic gradient of the oracle's own
// recursion.
TEST(GradientTest, OfADenseSceneAgreesWithTheOracle) {
  const int channels = 3;
  TestScene s(600, 11, channels);
  // Several parts of the tiles, so that the splats that straddle them are checked too.
  s.view.width_px = 400, s.view.height_px = 260, s.view.cx_px = 200, s.view.cy_px = 130;
  s.view.fx_px = s.view.fy_px = 300;
  const Rendered r = Render(s, channels);
  const LossWeights loss(r.transmittance.size(), channels);
  const Gradients g = Backward(s, r, loss, channels);
  std::vector<double> d_features(s.n * channels), d_opacity(s.n), d_x(s.n), abs_x(s.n);
  const size_t pixels = r.transmittance.size();
  std::vector<int> order(s.n);
  std::iota(order.begin(), order.end(), 0);
  std::stable_sort(order.begin(), order.end(),
                   [&](int i, int j) { return r.splats[i].depth < r.splats[j].depth; });
  for (size_t pixel = 0; pixel < pixels; ++pixel) {
    const double x = static_cast<double>(pixel % s.view.width_px) + 0.5;
    const double y = static_cast<double>(pixel / s.view.width_px) + 0.5;
    struct Hit {
      int id;
      double alpha, t;
    };
    std::vector<Hit> hits;
    double t = 1;
    for (int i : order) {
      const Splat& p = r.splats[i];
      if (p.radius == 0) continue;
      const double dx = x - p.x, dy = y - p.y;
      double alpha = p.opacity * std::exp(-0.5 * (p.a * dx * dx + p.c * dy * dy) - p.b * dx * dy);
      if (alpha < 1.0 / 255) continue;
      alpha = std::min(alpha, 0.99);
      if (t * (1 - alpha) < 1e-4) break;
      hits.push_back({i, alpha, t});
      t *= 1 - alpha;
    }
    double behind = loss.transmittance[pixel] * t;
    for (auto hit = hits.rbegin(); hit != hits.rend(); ++hit) {
      const Splat& p = r.splats[hit->id];
      double along = loss.depth[pixel] * p.depth;
      for (int c = 0; c < channels; ++c) {
        along += loss.image[c * pixels + pixel] * s.features[hit->id * channels + c];
        d_features[hit->id * channels + c] += hit->alpha * hit->t * loss.image[c * pixels + pixel];
      }
      const double d_alpha = hit->t * along - behind / (1 - hit->alpha);
      behind += hit->alpha * hit->t * along;
      if (hit->alpha >= 0.99) continue;
      d_opacity[hit->id] += d_alpha * hit->alpha / p.opacity;
      const double term = d_alpha * hit->alpha * (p.a * (x - p.x) + p.b * (y - p.y));
      d_x[hit->id] += term;
      abs_x[hit->id] += std::abs(term);
    }
  }
  for (int64_t i = 0; i < s.n; ++i) {
    const double scale = 1e-3 * abs_x[i] + 2e-2;
    EXPECT_NEAR(g.splats[i].x, d_x[i], scale) << i;
    EXPECT_NEAR(g.splats[i].abs_x, abs_x[i], scale) << i;
    EXPECT_NEAR(g.splats[i].opacity, d_opacity[i], 2e-3 * std::abs(d_opacity[i]) + 5e-2) << i;
    for (int c = 0; c < channels; ++c) {
      EXPECT_NEAR(g.features[i * channels + c], d_features[i * channels + c], 1e-2) << i;
    }
  }
}

TEST(GradientTest, SameBytesWhateverTheThreads) {
  TestScene s(3000, 13);
  // Large enough for several parts of the tiles, with splats that straddle them.
  s.view.width_px = 640, s.view.height_px = 400, s.view.cx_px = 320, s.view.cy_px = 200;
  s.view.fx_px = s.view.fy_px = 500;
  std::vector<Gradients> runs;
  for (int threads : {1, 4, 3}) {
    SetNumThreads(threads);
    const Rendered r = Render(s);
    runs.push_back(Backward(s, r, LossWeights(r.transmittance.size(), kChannels), kChannels));
  }
  SetNumThreads(0);
  for (int run : {1, 2}) {
    EXPECT_EQ(
        std::memcmp(runs[0].splats.data(), runs[run].splats.data(), s.n * sizeof(SplatGradient)),
        0);
    EXPECT_EQ(runs[0].features, runs[run].features);
  }
}

}  // namespace
}  // namespace athanor
