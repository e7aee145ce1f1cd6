#include "athanor/simulation/render/sensor_effects.h"

#include <algorithm>
#include <array>
#include <cmath>

#include "athanor/base/random.h"

namespace athanor {
namespace {

using Eigen::Vector3f;

constexpr int kTableSize = 4096;

float ExactSrgb(float linear) {
  return linear <= 0.0031308f ? 12.92f * linear : 1.055f * std::pow(linear, 1 / 2.4f) - 0.055f;
}

}  // namespace

Vector3f ToneCurve(const Vector3f& light) {
  constexpr float kKnee = 0.6f, kRoom = 1 - kKnee;
  Vector3f value = light.cwiseMax(0);
  const float peak = value.maxCoeff();
  if (!(peak > kKnee)) return value;
  // Half of what is above the knee spreads to the other colours, as film and sensors do.
  const float spread = 0.25f * (peak - kKnee) / peak;
  value += spread * (Vector3f::Constant(peak) - value);
  for (int c = 0; c < 3; ++c) {
    if (value[c] > kKnee) value[c] = kKnee + kRoom * (1 - std::exp((kKnee - value[c]) / kRoom));
  }
  return value;
}

uint8_t EncodeSrgb(float value) {
  static const std::array<uint8_t, kTableSize + 1> table = [] {
    std::array<uint8_t, kTableSize + 1> t;
    for (int i = 0; i <= kTableSize; ++i) {
      t[i] = static_cast<uint8_t>(255 * ExactSrgb(static_cast<float>(i) / kTableSize) + 0.5f);
    }
    return t;
  }();
  return table[static_cast<int>(std::clamp(value, 0.f, 1.f) * kTableSize + 0.5f)];
}

float DecodeSrgb(float value) {
  const float v = value / 255;
  return v <= 0.04045f ? v / 12.92f : std::pow((v + 0.055f) / 1.055f, 2.4f);
}

// The sum of two uniform numbers of a byte is normal enough; its deviation is 255 / sqrt(6).
SensorNoise::SensorNoise(float deviation_dark, float deviation_bright)
    : any_(deviation_dark > 0 || deviation_bright > 0) {
  for (int i = 0; i < 256; ++i) {
    const float share = static_cast<float>(i) / 255;
    scale_[i] = (deviation_dark + share * (deviation_bright - deviation_dark)) / 104.5f;
  }
}

void SensorNoise::Add(uint64_t counter, uint8_t* rgb) const {
  const uint64_t bits = MixBits(counter);
  for (int c = 0; c < 3; ++c) {
    const int sum = static_cast<int>(bits >> (16 * c) & 0xff) +
                    static_cast<int>(bits >> (16 * c + 8) & 0xff) - 255;
    const float value = static_cast<float>(rgb[c]) + scale_[rgb[c]] * static_cast<float>(sum);
    rgb[c] = static_cast<uint8_t>(std::clamp(value + 0.5f, 0.f, 255.f));
  }
}

void DrawRain(const Lighting& lighting, uint64_t seed, Image* image) {
  Random random(MixBits(seed ^ 0x5261696eull));
  const float area = static_cast<float>(image->width) * static_cast<float>(image->height);
  const int streaks = static_cast<int>(area / 307200 * 90 * std::sqrt(lighting.rain_mm_per_h));
  const float slant = random.Uniform(-0.12f, 0.12f);
  const Vector3f light = ToneCurve(lighting.exposure * 1.1f * lighting.airlight_color);
  float gray[3];
  for (int c = 0; c < 3; ++c) gray[c] = EncodeSrgb(light[c]);
  for (int s = 0; s < streaks; ++s) {
    // Near drops are long and faint, far ones short.
    const float depth = random.Uniform();
    const float length = static_cast<float>(image->height) * (0.015f + 0.09f * (1 - depth));
    const float alpha = 0.10f + 0.22f * depth * random.Uniform();
    const float x0 = random.Uniform(0, static_cast<float>(image->width));
    const float y0 = random.Uniform(-length, static_cast<float>(image->height));
    for (int i = 0; i < static_cast<int>(length); ++i) {
      const int y = static_cast<int>(y0) + i;
      const float x = x0 + slant * static_cast<float>(i);
      const int left = static_cast<int>(std::floor(x));
      const float share = x - static_cast<float>(left);
      if (y < 0 || y >= image->height) continue;
      for (int k = 0; k < 2; ++k) {
        if (left + k < 0 || left + k >= image->width) continue;
        const float a = alpha * (k == 0 ? 1 - share : share) *
                        std::min(1.f, 4 * (length - static_cast<float>(i)) / length);
        uint8_t* pixel = image->at(left + k, y);
        for (int c = 0; c < 3; ++c) {
          const float old = pixel[c];
          pixel[c] = static_cast<uint8_t>(old + a * (gray[c] - old) + 0.5f);
        }
      }
    }
  }
}

}  // namespace athanor
