// The kernels against slow double-precision twins that share no code with them, and against finite
// differences of those.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>
#include <limits>
#include <numeric>
#include <vector>

#include "athanor/base/parallel.h"
#include "athanor/base/random.h"
#include "athanor/kernels/gaussian_step.h"
#include "athanor/kernels/image_loss.h"
#include "athanor/kernels/project.h"
#include "athanor/kernels/rasterize.h"
#include "athanor/kernels/spherical_harmonics.h"
#include "athanor/kernels/tile_binning.h"

namespace athanor {
namespace {

constexpr int kChannels = 3;

// A handful of Gaussians in front of a camera, some of them outside the image or behind it.
struct TestScene {
  int64_t n;
  std::vector<float> means, quats, log_scales, opacity_logits, features;
  PinholeView view;
  ProjectOptions options;

  explicit TestScene(int64_t num, uint64_t seed = 1, int channels = kChannels) : n(num) {
    Random random(seed);
    for (int64_t i = 0; i < n; ++i) {
      means.insert(means.end(), {random.Uniform(-1.5f, 1.5f), random.Uniform(-1.2f, 1.2f),
                                 random.Uniform(-0.5f, 4.0f)});
      for (int k = 0; k < 4; ++k) quats.push_back(random.Normal());
      for (int k = 0; k < 3; ++k) log_scales.push_back(random.Uniform(-3.5f, -1.5f));
      opacity_logits.push_back(random.Uniform(-4.0f, 4.0f));
      for (int c = 0; c < channels; ++c) features.push_back(random.Uniform());
    }
    const float angle = 0.2f;
    view = {{std::cos(angle), 0, std::sin(angle), 0.1f,  //
             0, 1, 0, -0.05f,                            //
             -std::sin(angle), 0, std::cos(angle), 1.0f},
            60,
            55,
            33.3f,
            22.7f,
            70,
            45};
  }
  GaussianArrays arrays() const {
    return {n, means.data(), quats.data(), log_scales.data(), opacity_logits.data()};
  }
};

struct Rendered {
  std::vector<Splat> splats;
  TileBins bins;
  std::vector<float> image, transmittance, depth, median;
  std::vector<int32_t> walked;
};

Rendered Render(const TestScene& s, int channels = kChannels, const float* background = nullptr) {
  Rendered r;
  r.splats.resize(s.n);
  ProjectForwardCpu({s.arrays(), s.view, s.options, r.splats.data()});
  BinTilesCpu(r.splats.data(), s.n, s.view.width_px, s.view.height_px, &r.bins);
  const size_t pixels = static_cast<size_t>(s.view.width_px) * s.view.height_px;
  r.image.resize(channels * pixels);
  r.transmittance.resize(pixels);
  r.depth.resize(pixels);
  r.median.resize(pixels);
  r.walked.resize(MakeTileGrid(s.view.width_px, s.view.height_px).size());
  RasterizeForwardArgs args = {};
  args.width_px = s.view.width_px, args.height_px = s.view.height_px;
  args.channels = channels;
  args.splats = r.splats.data(), args.features = s.features.data();
  args.background = background;
  args.tile_offsets = r.bins.offsets.data(), args.tile_ids = r.bins.ids.data();
  args.image = r.image.data(), args.transmittance = r.transmittance.data();
  args.depth = r.depth.data(), args.median_depth = r.median.data();
  args.tile_walked = r.walked.data();
  RasterizeForwardCpu(args);
  return r;
}

// --- The oracle: every pixel against every Gaussian, in double. ---

struct OracleSplat {
  bool visible;
  double x, y, a, b, c, opacity, depth;
};

struct OracleGaussian {
  double mean[3], quat[4], log_scale[3], opacity_logit;
};

OracleGaussian GaussianAt(const TestScene& s, int64_t i) {
  OracleGaussian g;
  std::copy_n(s.means.data() + 3 * i, 3, g.mean);
  std::copy_n(s.quats.data() + 4 * i, 4, g.quat);
  std::copy_n(s.log_scales.data() + 3 * i, 3, g.log_scale);
  g.opacity_logit = s.opacity_logits[i];
  return g;
}

OracleSplat OracleProject(const OracleGaussian& g, const PinholeView& view,
                          const ProjectOptions& options) {
  double camera[3];
  for (int r = 0; r < 3; ++r) {
    const float* row = view.camera_from_world + 4 * r;
    camera[r] = row[0] * g.mean[0] + row[1] * g.mean[1] + row[2] * g.mean[2] + row[3];
  }
  const double z = camera[2];
  OracleSplat s = {};
  s.depth = z;
  if (z < options.near || z > options.far) return s;
  double q[4], norm = 0;
  for (double v : g.quat) norm += v * v;
  for (int k = 0; k < 4; ++k) q[k] = g.quat[k] / std::sqrt(norm);
  const double w = q[0], x = q[1], y = q[2], zz = q[3];
  const double rotation[3][3] = {
      {w * w + x * x - y * y - zz * zz, 2 * (x * y - w * zz), 2 * (x * zz + w * y)},
      {2 * (x * y + w * zz), w * w - x * x + y * y - zz * zz, 2 * (y * zz - w * x)},
      {2 * (x * zz - w * y), 2 * (y * zz + w * x), w * w - x * x - y * y + zz * zz}};
  double sigma[3][3] = {};
  for (int i = 0; i < 3; ++i) {
    for (int j = 0; j < 3; ++j) {
      for (int k = 0; k < 3; ++k) {
        sigma[i][j] += rotation[i][k] * rotation[j][k] * std::exp(2 * g.log_scale[k]);
      }
    }
  }
  const double fx = view.fx_px, fy = view.fy_px;
  const auto clamped = [](double ratio, double c, double size, double f) {
    const double margin = 0.15 * size / f;
    return std::clamp(ratio, -c / f - margin, (size - c) / f + margin);
  };
  const double u = clamped(camera[0] / z, view.cx_px, view.width_px, fx);
  const double v = clamped(camera[1] / z, view.cy_px, view.height_px, fy);
  const double jacobian[2][3] = {{fx / z, 0, -fx * u / z}, {0, fy / z, -fy * v / z}};
  double t[2][3] = {};
  for (int i = 0; i < 2; ++i) {
    for (int j = 0; j < 3; ++j) {
      for (int k = 0; k < 3; ++k) t[i][j] += jacobian[i][k] * view.camera_from_world[4 * k + j];
    }
  }
  double cov[2][2] = {};
  for (int i = 0; i < 2; ++i) {
    for (int j = 0; j < 2; ++j) {
      for (int k = 0; k < 3; ++k) {
        for (int l = 0; l < 3; ++l) cov[i][j] += t[i][k] * sigma[k][l] * t[j][l];
      }
    }
  }
  const double before = cov[0][0] * cov[1][1] - cov[0][1] * cov[1][0];
  cov[0][0] += options.low_pass_px2;
  cov[1][1] += options.low_pass_px2;
  const double det = cov[0][0] * cov[1][1] - cov[0][1] * cov[1][0];
  s.opacity = 1 / (1 + std::exp(-g.opacity_logit));
  if (options.antialias) s.opacity *= std::sqrt(std::max(0.0, before / det));
  s.x = fx * camera[0] / z + view.cx_px;
  s.y = fy * camera[1] / z + view.cy_px;
  s.a = cov[1][1] / det, s.b = -cov[0][1] / det, s.c = cov[0][0] / det;
  s.visible = s.opacity >= 1.0 / 255;
  return s;
}

struct OracleImage {
  std::vector<double> image, transmittance, depth, median;
};

// `smooth` drops the cuts at 1/255, 0.99 and 1e-4, so that finite differences are valid.
OracleImage OracleRender(const std::vector<OracleSplat>& splats,
                         const std::vector<double>& features, int channels, int width, int height,
                         bool smooth) {
  std::vector<int> order(splats.size());
  std::iota(order.begin(), order.end(), 0);
  std::stable_sort(order.begin(), order.end(),
                   [&](int i, int j) { return splats[i].depth < splats[j].depth; });
  const size_t pixels = static_cast<size_t>(width) * height;
  OracleImage out = {std::vector<double>(channels * pixels), std::vector<double>(pixels),
                     std::vector<double>(pixels), std::vector<double>(pixels)};
  for (int y = 0; y < height; ++y) {
    for (int x = 0; x < width; ++x) {
      const size_t pixel = static_cast<size_t>(y) * width + x;
      double t = 1;
      for (int i : order) {
        const OracleSplat& s = splats[i];
        if (!s.visible) continue;
        const double dx = x + 0.5 - s.x, dy = y + 0.5 - s.y;
        double alpha = s.opacity * std::exp(-0.5 * (s.a * dx * dx + s.c * dy * dy) - s.b * dx * dy);
        if (!smooth) {
          if (alpha < 1.0 / 255) continue;
          alpha = std::min(alpha, 0.99);
          if (t * (1 - alpha) < 1e-4) break;
        }
        for (int c = 0; c < channels; ++c) {
          out.image[c * pixels + pixel] += features[i * channels + c] * alpha * t;
        }
        out.depth[pixel] += s.depth * alpha * t;
        if (t > 0.5 && t * (1 - alpha) <= 0.5) out.median[pixel] = s.depth;
        t *= 1 - alpha;
      }
      out.transmittance[pixel] = t;
    }
  }
  return out;
}

std::vector<OracleSplat> OracleSplats(const TestScene& s) {
  std::vector<OracleSplat> splats;
  for (int64_t i = 0; i < s.n; ++i) {
    splats.push_back(OracleProject(GaussianAt(s, i), s.view, s.options));
  }
  return splats;
}

double MaxDifference(const std::vector<float>& a, const std::vector<double>& b) {
  EXPECT_EQ(a.size(), b.size());
  double largest = 0;
  for (size_t i = 0; i < a.size(); ++i) largest = std::max(largest, std::abs(a[i] - b[i]));
  return largest;
}

// --- Forward ---

TEST(ProjectTest, AgreesWithTheOracle) {
  for (bool antialias : {false, true}) {
    TestScene s(400);
    s.options.antialias = antialias;
    const Rendered r = Render(s);
    int visible = 0;
    for (int64_t i = 0; i < s.n; ++i) {
      const OracleSplat o = OracleProject(GaussianAt(s, i), s.view, s.options);
      if (r.splats[i].radius == 0) continue;
      ++visible;
      ASSERT_TRUE(o.visible);
      EXPECT_NEAR(r.splats[i].x, o.x, 1e-3 + 1e-4 * std::abs(o.x));
      EXPECT_NEAR(r.splats[i].y, o.y, 1e-3 + 1e-4 * std::abs(o.y));
      const double scale = std::abs(o.a) + std::abs(o.c);
      EXPECT_NEAR(r.splats[i].a, o.a, 2e-4 * scale);
      EXPECT_NEAR(r.splats[i].b, o.b, 2e-4 * scale);
      EXPECT_NEAR(r.splats[i].c, o.c, 2e-4 * scale);
      EXPECT_NEAR(r.splats[i].opacity, o.opacity, 1e-4);
      EXPECT_NEAR(r.splats[i].depth, o.depth, 1e-5);
    }
    EXPECT_GT(visible, 150);
  }
}

TEST(ProjectTest, WhatIsNotFiniteOrOutsideIsNotVisible) {
  constexpr float kNan = std::numeric_limits<float>::quiet_NaN();
  constexpr float kInf = std::numeric_limits<float>::infinity();
  TestScene s(12);
  for (int64_t i = 0; i < s.n; ++i) {
    s.means[3 * i] = s.means[3 * i + 1] = 0, s.means[3 * i + 2] = 2;
    s.opacity_logits[i] = 1;
  }
  s.means[0] = kNan;
  s.means[3 + 2] = kInf;
  s.quats[4 * 2] = kNan;
  std::fill_n(s.quats.begin() + 4 * 3, 4, 0.0f);
  s.log_scales[3 * 4] = kInf;
  s.log_scales[3 * 5] = 1000;
  s.opacity_logits[6] = kNan;
  s.opacity_logits[7] = -kInf;
  s.means[3 * 8 + 2] = -2;       // behind
  s.means[3 * 9] = 1000;         // far to the right
  s.log_scales[3 * 10] = -1000;  // a flat one is fine
  const Rendered r = Render(s);
  for (int i = 0; i < 10; ++i) EXPECT_EQ(r.splats[i].radius, 0) << i;
  EXPECT_GT(r.splats[10].radius, 0);
  EXPECT_GT(r.splats[11].radius, 0);
  for (float v : r.image) ASSERT_TRUE(std::isfinite(v));
}

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

TEST(TileBinningTest, ListsAreSortedAndHoldEveryTileReached) {
  TestScene s(3000, 9);
  s.view.width_px = 200, s.view.height_px = 150, s.view.cx_px = 100, s.view.cy_px = 75;
  s.view.fx_px = s.view.fy_px = 170;
  const Rendered r = Render(s);
  const TileGrid grid = MakeTileGrid(200, 150);
  std::vector<std::vector<char>> listed(grid.size(), std::vector<char>(s.n));
  for (int tile = 0; tile < grid.size(); ++tile) {
    for (int k = r.bins.offsets[tile]; k < r.bins.offsets[tile + 1]; ++k) {
      const int32_t id = r.bins.ids[k];
      EXPECT_FALSE(listed[tile][id]) << "listed twice";
      listed[tile][id] = 1;
      if (k > r.bins.offsets[tile]) {
        ASSERT_LE(r.splats[r.bins.ids[k - 1]].depth, r.splats[id].depth);
      }
    }
  }
  int64_t needed = 0;
  for (int64_t i = 0; i < s.n; ++i) {
    const Splat& p = r.splats[i];
    if (p.radius == 0) continue;
    std::vector<char> reached(grid.size());
    for (int y = 0; y < 150; ++y) {
      for (int x = 0; x < 200; ++x) {
        const double dx = x + 0.5 - p.x, dy = y + 0.5 - p.y;
        const double alpha =
            p.opacity * std::exp(-0.5 * (p.a * dx * dx + p.c * dy * dy) - p.b * dx * dy);
        if (alpha >= 1.0 / 255) reached[y / kTileSize * grid.columns + x / kTileSize] = 1;
      }
    }
    for (int tile = 0; tile < grid.size(); ++tile) {
      ASSERT_GE(listed[tile][i], reached[tile]) << "splat " << i << " tile " << tile;
      needed += reached[tile];
    }
  }
  EXPECT_LT(static_cast<double>(r.bins.ids.size()), 1.06 * static_cast<double>(needed))
      << "tiles that the ellipse does not reach are left out";
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

// --- Spherical harmonics ---

// Real harmonics from associated Legendre functions, with the signs of Inria's files: (-1)^m.
double OracleHarmonic(int l, int m, double x, double y, double z) {
  const double theta = std::acos(std::clamp(z, -1.0, 1.0)), phi = std::atan2(y, x);
  const int n = std::abs(m);
  const double norm =
      std::sqrt((2 * l + 1) / (4 * M_PI) * std::tgamma(l - n + 1) / std::tgamma(l + n + 1));
  // std::assoc_legendre has no Condon-Shortley phase.
  const double p = std::assoc_legendre(l, n, std::cos(theta));
  const double sign = n % 2 == 1 ? -1 : 1;
  if (m == 0) return norm * p;
  return sign * std::sqrt(2.0) * norm * p * (m > 0 ? std::cos(n * phi) : std::sin(n * phi));
}

TEST(SphericalHarmonicsTest, AgreeWithLegendreFunctionsAndFiniteDifferences) {
  Random random(4);
  for (int degree = 0; degree <= 3; ++degree) {
    constexpr int kCoefficients = 16;
    const int64_t n = 20;
    std::vector<float> means, sh, colors(3 * n), d_colors, d_sh(3 * kCoefficients * n),
        d_means(3 * n);
    for (int64_t i = 0; i < 3 * n; ++i) means.push_back(random.Uniform(-2, 2));
    for (int64_t i = 0; i < 3 * kCoefficients * n; ++i) sh.push_back(random.Uniform(-0.3f, 0.4f));
    for (int64_t i = 0; i < 3 * n; ++i) d_colors.push_back(random.Uniform(-1, 1));
    const float center[3] = {0.3f, -0.2f, 0.1f};
    const auto color = [&](const double* mean, int64_t i, int c) {
      const double v[3] = {mean[0] - center[0], mean[1] - center[1], mean[2] - center[2]};
      const double length = std::sqrt(v[0] * v[0] + v[1] * v[1] + v[2] * v[2]);
      double sum = 0.5;
      for (int l = 0, k = 0; l <= degree; ++l) {
        for (int m = -l; m <= l; ++m, ++k) {
          sum += sh[(3 * i + c) * kCoefficients + k] *
                 OracleHarmonic(l, m, v[0] / length, v[1] / length, v[2] / length);
        }
      }
      return std::max(sum, 0.0);
    };
    ShForwardCpu({n,
                  degree,
                  kCoefficients,
                  means.data(),
                  sh.data(),
                  {center[0], center[1], center[2]},
                  nullptr,
                  colors.data()});
    ShBackwardCpu({n,
                   degree,
                   kCoefficients,
                   means.data(),
                   sh.data(),
                   {center[0], center[1], center[2]},
                   nullptr,
                   colors.data(),
                   d_colors.data(),
                   d_sh.data(),
                   d_means.data()});
    for (int64_t i = 0; i < n; ++i) {
      double mean[3] = {means[3 * i], means[3 * i + 1], means[3 * i + 2]};
      for (int c = 0; c < 3; ++c) {
        ASSERT_NEAR(colors[3 * i + c], color(mean, i, c), 1e-5) << "degree " << degree;
      }
      const auto loss = [&] {
        double sum = 0;
        for (int c = 0; c < 3; ++c) sum += d_colors[3 * i + c] * color(mean, i, c);
        return sum;
      };
      for (int axis = 0; axis < 3; ++axis) {
        const double at = mean[axis];
        mean[axis] = at + 1e-5;
        const double above = loss();
        mean[axis] = at - 1e-5;
        const double below = loss();
        mean[axis] = at;
        EXPECT_NEAR(d_means[3 * i + axis], (above - below) / 2e-5, 2e-3) << "degree " << degree;
      }
      for (int c = 0; c < 3; ++c) {
        const int k = (degree + 1) * (degree + 1) - 1;
        float& coefficient = sh[(3 * i + c) * kCoefficients + k];
        const float at = coefficient;
        coefficient = at + 1e-2f;
        const double above = loss();
        coefficient = at - 1e-2f;
        const double below = loss();
        coefficient = at;
        EXPECT_NEAR(d_sh[(3 * i + c) * kCoefficients + k], (above - below) / 2e-2, 2e-3);
      }
    }
  }
}

// --- Loss ---

double OracleLoss(const std::vector<double>& x, const std::vector<double>& y, int width, int height,
                  int channels, double weight, double* l1, double* ssim) {
  double window[11], total = 0;
  for (int k = 0; k < 11; ++k) total += window[k] = std::exp(-(k - 5) * (k - 5) / (2 * 1.5 * 1.5));
  for (double& v : window) v /= total;
  const size_t pixels = static_cast<size_t>(width) * height;
  *l1 = *ssim = 0;
  for (int c = 0; c < channels; ++c) {
    for (int row = 0; row < height; ++row) {
      for (int column = 0; column < width; ++column) {
        double mx = 0, my = 0, xx = 0, yy = 0, xy = 0;
        for (int j = -5; j <= 5; ++j) {
          for (int i = -5; i <= 5; ++i) {
            if (row + j < 0 || row + j >= height || column + i < 0 || column + i >= width) continue;
            const double w = window[j + 5] * window[i + 5];
            const size_t at = c * pixels + static_cast<size_t>(row + j) * width + column + i;
            mx += w * x[at], my += w * y[at];
            xx += w * x[at] * x[at], yy += w * y[at] * y[at], xy += w * x[at] * y[at];
          }
        }
        *ssim += (2 * mx * my + 1e-4) * (2 * (xy - mx * my) + 9e-4) /
                 ((mx * mx + my * my + 1e-4) * (xx - mx * mx + yy - my * my + 9e-4));
        const size_t at = c * pixels + static_cast<size_t>(row) * width + column;
        *l1 += std::abs(x[at] - y[at]);
      }
    }
  }
  *l1 /= static_cast<double>(pixels * channels);
  *ssim /= static_cast<double>(pixels * channels);
  return (1 - weight) * *l1 + weight * (1 - *ssim);
}

TEST(ImageLossTest, ValueAndGradientAgreeWithTheOracle) {
  for (auto [width, height] : {std::pair{23, 19}, {1, 1}, {40, 150}, {3, 7}}) {
    constexpr int kColors = 2;
    Random random(6);
    std::vector<float> x, y;
    for (int i = 0; i < width * height * kColors; ++i) {
      x.push_back(random.Uniform());
      y.push_back(0.5f * x.back() + 0.5f * random.Uniform());
    }
    std::vector<float> d(x.size());
    ImageLossArgs args = {width,   height, kColors,  x.data(), y.data(),
                          nullptr, 0.2f,   d.data(), 0,        0};
    ImageLossCpu(&args);
    std::vector<double> dx(x.begin(), x.end());
    const std::vector<double> dy(y.begin(), y.end());
    double l1, ssim;
    OracleLoss(dx, dy, width, height, kColors, 0.2, &l1, &ssim);
    EXPECT_NEAR(args.l1, l1, 1e-6);
    EXPECT_NEAR(args.ssim, ssim, 2e-5);
    for (int trial = 0; trial < 12; ++trial) {
      const size_t at = random.Below(static_cast<uint32_t>(dx.size()));
      const double value = dx[at];
      dx[at] = value + 1e-6;
      const double above = OracleLoss(dx, dy, width, height, kColors, 0.2, &l1, &ssim);
      dx[at] = value - 1e-6;
      const double below = OracleLoss(dx, dy, width, height, kColors, 0.2, &l1, &ssim);
      dx[at] = value;
      const double expected = (above - below) / 2e-6;
      EXPECT_NEAR(d[at], expected, 2e-3 * std::abs(expected) + 2e-7) << width << "x" << height;
    }
    // Values alone are the same, and so is the loss of an image with itself: none.
    ImageLossArgs values = args;
    values.d_image = nullptr;
    ImageLossCpu(&values);
    EXPECT_EQ(values.l1, args.l1);
    EXPECT_EQ(values.ssim, args.ssim);
    values.target = values.image;
    ImageLossCpu(&values);
    EXPECT_EQ(values.l1, 0);
    EXPECT_NEAR(values.ssim, 1, 1e-6);
  }
}

TEST(ImageLossTest, MaskedPixelsCountAsEqual) {
  constexpr int kWidth = 30, kHeight = 20;
  Random random(8);
  std::vector<float> x, y;
  std::vector<uint8_t> mask;
  for (int i = 0; i < kWidth * kHeight; ++i) {
    x.push_back(random.Uniform());
    y.push_back(random.Uniform());
    mask.push_back(random.Uniform() < 0.5f ? 0 : 255);
  }
  std::vector<float> equal = x, d(x.size()), d_equal(x.size());
  for (size_t i = 0; i < x.size(); ++i) {
    if (mask[i] == 0) equal[i] = y[i];
  }
  ImageLossArgs args = {kWidth, kHeight, 1, x.data(), y.data(), mask.data(), 0.2f, d.data(), 0, 0};
  ImageLossCpu(&args);
  ImageLossArgs other = {kWidth,         kHeight, 1, equal.data(), y.data(), nullptr, 0.2f,
                         d_equal.data(), 0,       0};
  ImageLossCpu(&other);
  EXPECT_NEAR(args.l1, other.l1, 1e-7);
  EXPECT_NEAR(args.ssim, other.ssim, 1e-6);
  for (size_t i = 0; i < x.size(); ++i) {
    if (mask[i] == 0) {
      EXPECT_EQ(d[i], 0);
    } else {
      EXPECT_NEAR(d[i], d_equal[i], 1e-8);
    }
  }
}

// --- The optimiser step ---

TEST(GaussianStepTest, GeometryAndDcFollowAdam) {
  TestScene s(200, 17);
  constexpr int kCoefficients = 16;
  std::vector<float> sh(3 * kCoefficients * s.n);
  Random random(2);
  for (float& v : sh) v = random.Uniform(-0.2f, 0.3f);
  const std::vector<float> sh_before = sh, means_before = s.means;
  const Rendered r = Render(s);
  std::vector<float> colors(3 * s.n), d_colors(3 * s.n);
  ShForwardCpu({s.n,
                3,
                kCoefficients,
                s.means.data(),
                sh.data(),
                {0, 0, 0},
                r.splats.data(),
                colors.data()});
  for (float& v : d_colors) v = random.Uniform(-1, 1);
  std::vector<SplatGradient> d_splats(s.n);
  for (auto& g : d_splats) {
    for (float* v : {&g.x, &g.y, &g.a, &g.b, &g.c, &g.opacity, &g.depth})
      *v = random.Uniform(-1, 1);
  }
  std::vector<float> d_means(3 * s.n), d_quats(4 * s.n), d_scales(3 * s.n), d_opacity(s.n);
  ProjectBackwardCpu({s.arrays(), s.view, s.options, r.splats.data(), d_splats.data(),
                      d_means.data(), d_quats.data(), d_scales.data(), d_opacity.data()});
  std::vector<float> d_sh(sh.size()), d_means_of_color(3 * s.n);
  ShBackwardCpu({s.n,
                 3,
                 kCoefficients,
                 s.means.data(),
                 sh.data(),
                 {0, 0, 0},
                 r.splats.data(),
                 colors.data(),
                 d_colors.data(),
                 d_sh.data(),
                 d_means_of_color.data()});

  std::vector<uint16_t> first(kNumMoments * s.n);
  std::vector<float> second(kNumMoments * s.n);
  GaussianStepArgs args = {};
  args.n = s.n, args.sh_degree = 3, args.sh_coefficients = kCoefficients;
  args.parameters = {s.means.data(), s.quats.data(), s.log_scales.data(), s.opacity_logits.data(),
                     sh.data()};
  args.moments = {first.data(), second.data()};
  args.view = s.view, args.options = s.options;
  args.splats = r.splats.data(), args.colors = colors.data();
  args.d_splats = d_splats.data(), args.d_colors = d_colors.data();
  args.lr_means = 1e-3f, args.lr_quats = 2e-3f, args.lr_log_scales = 3e-3f;
  args.lr_opacity_logits = 4e-3f, args.lr_sh_dc = 5e-3f, args.lr_sh_rest = 6e-3f;
  args.beta1 = 0.9f, args.beta2 = 0.999f, args.epsilon = 1e-15f;
  args.step = 1;
  args.visible_only = true;
  GaussianStepCpu(args);
  for (int64_t i = 0; i < s.n; ++i) {
    const bool visible = r.splats[i].radius > 0;
    for (int axis = 0; axis < 3; ++axis) {
      // The first step of Adam is the learning rate against the sign of the gradient.
      const float g = d_means[3 * i + axis] + d_means_of_color[3 * i + axis];
      const float moved = s.means[3 * i + axis] - means_before[3 * i + axis];
      if (!visible) {
        ASSERT_EQ(moved, 0);
      } else if (std::abs(g) > 1e-3f) {
        ASSERT_NEAR(moved, g > 0 ? -1e-3f : 1e-3f, 2e-6f);
        const auto mean = std::bit_cast<float>(uint32_t{first[kNumMoments * i + axis]} << 16);
        ASSERT_NEAR(mean, 0.1f * g, 4e-4f * std::abs(g) + 1e-6f) << "bfloat16 keeps 8 bits";
        ASSERT_NEAR(second[kNumMoments * i + axis], 0.001f * g * g, 1e-3f * 0.001f * g * g + 1e-9f);
      }
    }
    for (int c = 0; c < 3; ++c) {
      const int64_t at = (3 * i + c) * kCoefficients;
      const float g = d_sh[at];
      const float moved = sh[at] - sh_before[at];
      if (visible && std::abs(g) > 1e-3f) {
        ASSERT_NEAR(moved, g > 0 ? -5e-3f : 5e-3f, 5e-6f);
        // The other coefficients move along their basis function, relative to DC's.
        const float ratio = d_sh[at + 7] / g;
        ASSERT_NEAR(sh[at + 7] - sh_before[at + 7], (g > 0 ? -6e-3f : 6e-3f) * ratio,
                    1e-3f * 6e-3f * (std::abs(ratio) + 0.1f));
      } else if (!visible) {
        ASSERT_EQ(moved, 0);
      }
    }
  }
}

}  // namespace
}  // namespace athanor
