// The scene that the kernels are tested on, and the oracle: slow double-precision twins of
// projection and blending, every pixel against every Gaussian, that share no code with the kernels.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <numeric>
#include <vector>

#include "athanor/base/random.h"
#include "athanor/kernels/project.h"
#include "athanor/kernels/rasterize.h"
#include "athanor/kernels/tile_binning.h"

namespace athanor {

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

inline Rendered Render(const TestScene& s, int channels = kChannels,
                       const float* background = nullptr) {
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

inline OracleGaussian GaussianAt(const TestScene& s, int64_t i) {
  OracleGaussian g;
  std::copy_n(s.means.data() + 3 * i, 3, g.mean);
  std::copy_n(s.quats.data() + 4 * i, 4, g.quat);
  std::copy_n(s.log_scales.data() + 3 * i, 3, g.log_scale);
  g.opacity_logit = s.opacity_logits[i];
  return g;
}

inline OracleSplat OracleProject(const OracleGaussian& g, const PinholeView& view,
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
inline OracleImage OracleRender(const std::vector<OracleSplat>& splats,
                                const std::vector<double>& features, int channels, int width,
                                int height, bool smooth) {
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

inline std::vector<OracleSplat> OracleSplats(const TestScene& s) {
  std::vector<OracleSplat> splats;
  for (int64_t i = 0; i < s.n; ++i) {
    splats.push_back(OracleProject(GaussianAt(s, i), s.view, s.options));
  }
  return splats;
}

inline double MaxDifference(const std::vector<float>& a, const std::vector<double>& b) {
  EXPECT_EQ(a.size(), b.size());
  double largest = 0;
  for (size_t i = 0; i < a.size(); ++i) largest = std::max(largest, std::abs(a[i] - b[i]));
  return largest;
}

}  // namespace athanor
