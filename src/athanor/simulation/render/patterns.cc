#include "athanor/simulation/render/patterns.h"

#include <algorithm>
#include <cmath>
#include <numbers>
#include <vector>

#include "athanor/base/random.h"

namespace athanor {
namespace {

using Eigen::Vector2f;
using Eigen::Vector3f;
using Pattern = SurfaceMaterial::Pattern;

// Noise is looked up in a volume that repeats, made once, with coarser copies for wider pixels.
constexpr int kLogSide = 6;
constexpr int kSide = 1 << kLogSide;  // cells
constexpr int kCellsPerUnit = 8;
constexpr int kNumLevels = 5;

struct NoiseVolume {
  std::vector<float> level[kNumLevels];

  NoiseVolume() {
    std::vector<float>& finest = level[0];
    finest.assign(kSide * kSide * kSide, 0);
    // Octaves of random values on ever finer lattices, smoothly interpolated.
    float amplitude = 0.5f;
    for (int octave = 0; octave < 4; ++octave, amplitude *= 0.55f) {
      const int spacing = kCellsPerUnit >> octave;
      const int lattice = kSide / spacing;
      const auto value = [&](int x, int y, int z) {
        const uint64_t index =
            ((static_cast<uint64_t>(octave) * lattice + z % lattice) * lattice + y % lattice) *
                lattice +
            x % lattice;
        return static_cast<float>(MixBits(index) >> 40) * 0x1p-24f;
      };
      const auto ease = [&](int cell) {
        const float t = static_cast<float>(cell % spacing) / static_cast<float>(spacing);
        return t * t * (3 - 2 * t);
      };
      for (int z = 0; z < kSide; ++z) {
        for (int y = 0; y < kSide; ++y) {
          for (int x = 0; x < kSide; ++x) {
            const int i = x / spacing, j = y / spacing, k = z / spacing;
            const float a = ease(x), b = ease(y), c = ease(z);
            const auto row = [&](int jj, int kk) {
              return value(i, jj, kk) + a * (value(i + 1, jj, kk) - value(i, jj, kk));
            };
            const float near = row(j, k) + b * (row(j + 1, k) - row(j, k));
            const float far = row(j, k + 1) + b * (row(j + 1, k + 1) - row(j, k + 1));
            finest[(z * kSide + y) * kSide + x] += amplitude * (near + c * (far - near));
          }
        }
      }
    }
    // Mean 0.5, contrast such that it fills 0..1 without touching the ends often.
    double mean = 0, square = 0;
    for (const float v : finest) mean += v;
    mean /= static_cast<double>(finest.size());
    for (const float v : finest) square += (v - mean) * (v - mean);
    const double scale = 0.2 / std::sqrt(square / static_cast<double>(finest.size()));
    for (float& v : finest) {
      v = std::clamp(static_cast<float>(0.5 + (v - mean) * scale), 0.f, 1.f);
    }
    for (int l = 1; l < kNumLevels; ++l) {
      const int side = kSide >> l;
      level[l].resize(static_cast<size_t>(side) * side * side);
      for (int z = 0; z < side; ++z) {
        for (int y = 0; y < side; ++y) {
          for (int x = 0; x < side; ++x) {
            float sum = 0;
            for (int c = 0; c < 8; ++c) {
              sum +=
                  level[l - 1][((2 * z + (c >> 2)) * 2 * side + 2 * y + (c >> 1 & 1)) * 2 * side +
                               2 * x + (c & 1)];
            }
            level[l][(z * side + y) * side + x] = sum / 8;
          }
        }
      }
    }
  }

  float Sample(float x, float y, float z, int l) const {
    const int log_side = kLogSide - l, mask = (1 << log_side) - 1;
    const float scale = static_cast<float>(kCellsPerUnit) / static_cast<float>(1 << l);
    x *= scale;
    y *= scale;
    z *= scale;
    const float fx = std::floor(x), fy = std::floor(y), fz = std::floor(z);
    const float a = x - fx, b = y - fy, c = z - fz;
    const int x0 = static_cast<int>(fx) & mask, y0 = static_cast<int>(fy) & mask,
              z0 = static_cast<int>(fz) & mask;
    const int x1 = (x0 + 1) & mask, y1 = (y0 + 1) & mask, z1 = (z0 + 1) & mask;
    const float* data = level[l].data();
    const auto row = [&](int yy, int zz) {
      const float* line = data + (static_cast<ptrdiff_t>(((zz << log_side) + yy)) << log_side);
      return line[x0] + a * (line[x1] - line[x0]);
    };
    const float r00 = row(y0, z0), r10 = row(y1, z0), r01 = row(y0, z1), r11 = row(y1, z1);
    const float near = r00 + b * (r10 - r00), far = r01 + b * (r11 - r01);
    return near + c * (far - near);
  }
};

const NoiseVolume& Volume() {
  static const NoiseVolume volume;
  return volume;
}

uint32_t Hash(int x, int y, uint32_t seed) {
  return static_cast<uint32_t>(
      MixBits((static_cast<uint64_t>(static_cast<uint32_t>(x)) << 32 | static_cast<uint32_t>(y)) ^
              (static_cast<uint64_t>(seed) * 0x9e3779b97f4a7c15ull)) >>
      32);
}

float HashUniform(int x, int y, uint32_t seed) {
  return static_cast<float>(Hash(x, y, seed) >> 8) * 0x1p-24f;
}

// Share of [x - width/2, x + width/2] in which the fraction of x is below `edge`.
float Pulse(float x, float edge, float width) {
  const float w = std::max(width, 1e-4f);
  const auto integral = [&](float t) {
    const float whole = std::floor(t);
    return whole * edge + std::min(t - whole, edge);
  };
  return (integral(x + 0.5f * w) - integral(x - 0.5f * w)) / w;
}

// 1 for details of size `period` that a pixel resolves, 0 for those that it does not.
float Resolved(float period, float width) { return std::clamp(2 - 2 * width / period, 0.f, 1.f); }

float Mix(float a, float b, float t) { return a + (b - a) * t; }
Vector3f Mix(const Vector3f& a, const Vector3f& b, float t) { return a + (b - a) * t; }
float SmoothStep(float low, float high, float x) {
  const float t = std::clamp((x - low) / (high - low), 0.f, 1.f);
  return t * t * (3 - 2 * t);
}

}  // namespace

float Noise(const Vector3f& p, float width) {
  int level = 0;
  for (float w = width * kCellsPerUnit; w > 1.5f && level < kNumLevels; w *= 0.5f) ++level;
  if (level >= kNumLevels) return 0.5f;
  return Volume().Sample(p.x(), p.y(), p.z(), level);
}

PatternSample EvaluatePattern(const SurfaceMaterial& material, const Vector3f& color,
                              const Vector3f& position, const Vector2f& uv, float width_m,
                              float lit_share, uint32_t seed) {
  const Vector3f& second = material.second_color;
  const float scale = material.pattern_scale;
  const float width = width_m * scale;
  const float x = uv.x() * scale, y = uv.y() * scale;
  const Vector3f p = position * scale;
  PatternSample sample;
  switch (material.pattern) {
    case Pattern::kPlain:
      sample.color = color;
      break;
    case Pattern::kNoise:
      sample.color = Mix(color, second, SmoothStep(0.3f, 0.7f, Noise(p, width)));
      break;
    case Pattern::kWood: {
      // Year rings that wander along the plank, and pores a few millimetres apart.
      const float wander = Noise({0.35f * x, 1.3f * y, 0.37f}, 0.5f * width);
      const float ring = 7 * y + 5 * wander;
      const float rings = Resolved(0.14f, width) *
                          std::sin(2 * std::numbers::pi_v<float> * (ring - std::floor(ring)));
      const float pores = Noise({1.2f * x, 14 * y, 0.71f}, 6 * width);
      sample.color =
          Mix(color, second,
              std::clamp(0.35f + 0.25f * rings + 0.9f * (pores - 0.5f) + 0.5f * (wander - 0.5f),
                         0.f, 1.f));
      break;
    }
    case Pattern::kTiles: {
      const float inside = Pulse(x, 0.96f, width) * Pulse(y, 0.96f, width);
      const int i = static_cast<int>(std::floor(x)), j = static_cast<int>(std::floor(y));
      const float shade = 1 + Resolved(1, width) * 0.16f * (HashUniform(i, j, 17) - 0.5f) +
                          0.14f * (Noise(2 * p, 2 * width) - 0.5f);
      sample.color = Mix(second, color * shade, inside);
      break;
    }
    case Pattern::kBricks: {
      // Bricks of 1 x 0.3, every other row shifted by a half.
      const float row = y / 0.3f;
      const int j = static_cast<int>(std::floor(row));
      const float along = x + 0.5f * static_cast<float>(j & 1);
      const int i = static_cast<int>(std::floor(along));
      const float inside = Pulse(along, 0.95f, width) * Pulse(row, 0.86f, width / 0.3f);
      const float shade = 1 + Resolved(0.6f, width) * 0.45f * (HashUniform(i, j, 29) - 0.5f) +
                          0.35f * (Noise(3 * p, 3 * width) - 0.5f);
      sample.color = Mix(second, color * shade, inside);
      break;
    }
    case Pattern::kChecks: {
      const float a = Pulse(0.5f * x, 0.5f, 0.5f * width), b = Pulse(0.5f * y, 0.5f, 0.5f * width);
      sample.color = Mix(color, second, a + b - 2 * a * b);
      break;
    }
    case Pattern::kStripes:
      sample.color = Mix(color, second, Pulse(y, 0.5f, width));
      break;
    case Pattern::kAsphalt: {
      const float grains = Noise(16 * p, 16 * width);
      const float patches = Noise(0.23f * p, 0.23f * width);
      sample.color =
          Mix(color, second,
              std::clamp(0.5f + 1.1f * (grains - 0.5f) + 0.9f * (patches - 0.5f), 0.f, 1.f));
      break;
    }
    case Pattern::kGrass: {
      const float blades = Noise({11 * p.x(), 7 * p.y(), 3 * p.z()}, 9 * width);
      const float patches = Noise(0.31f * p, 0.31f * width);
      sample.color =
          Mix(color, second,
              std::clamp(0.5f + 1.2f * (blades - 0.5f) + 1.1f * (patches - 0.5f), 0.f, 1.f));
      break;
    }
    case Pattern::kMarble: {
      const float cloud = Noise(0.6f * p, 0.6f * width);
      const float phase = 1.3f * p.x() + 0.8f * p.y() + 0.5f * p.z() + 3.5f * cloud;
      const float vein = 1 - std::abs(2 * (phase - std::floor(phase)) - 1);
      const float sharp = vein * vein * vein * vein;
      sample.color = Mix(
          color, second,
          std::clamp(Mix(0.2f, sharp, Resolved(0.5f, width)) + 0.4f * (cloud - 0.5f), 0.f, 1.f));
      break;
    }
    case Pattern::kFabric: {
      // Threads over and under: 1 / 40 of a unit wide.
      const float a = Pulse(20 * x, 0.5f, 20 * width), b = Pulse(20 * y, 0.5f, 20 * width);
      const float weave = a + b - 2 * a * b;
      sample.color = Mix(
          color, second,
          std::clamp(0.25f + 0.5f * (weave - 0.5f) + 0.7f * (Noise(1.7f * p, 1.7f * width) - 0.5f),
                     0.f, 1.f));
      break;
    }
    case Pattern::kWindows: {
      const float pane = Pulse(x - 0.22f, 0.56f, width) * Pulse(y - 0.25f, 0.52f, width);
      const float bar = Pulse(x - 0.48f, 0.04f, width) * pane;
      const int i = static_cast<int>(std::floor(x)), j = static_cast<int>(std::floor(y));
      const float chance = HashUniform(i, j, 51 + seed);
      const Vector3f wall = color * (1 + 0.25f * (Noise(0.7f * p, 0.7f * width) - 0.5f));
      const float glass = pane - bar;
      const float tint = 0.6f + 0.8f * Resolved(1, width) * (HashUniform(i, j, 83 + seed) - 0.5f);
      sample.color = Mix(wall, second * tint, glass);
      sample.mirror = 0.35f * glass;
      if (lit_share > 0) {
        const float lit = Mix(lit_share, chance < lit_share ? 1.f : 0.f, Resolved(1, width));
        sample.color = Mix(sample.color, Vector3f(1.0f, 0.78f, 0.45f), glass * lit);
        sample.emission = glass * lit * (0.5f + HashUniform(i, j, 7 + seed));
      }
      break;
    }
    case Pattern::kLeaves: {
      const float leaves = Noise(5 * p, 5 * width), clumps = Noise(0.9f * p, 0.9f * width);
      sample.color =
          Mix(color, second, std::clamp(0.5f + 1.3f * (leaves - 0.5f) + (clumps - 0.5f), 0.f, 1.f));
      // Gaps between leaves are dark.
      sample.color *= 0.35f + 0.65f * SmoothStep(0.28f, 0.5f, leaves);
      break;
    }
  }
  return sample;
}

}  // namespace athanor
