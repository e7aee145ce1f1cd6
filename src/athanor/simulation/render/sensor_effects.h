// From light to bytes: tone curve, sRGB, sensor noise, and rain in the air. Internal to
// simulation/.
#pragma once

#include <Eigen/Core>
#include <array>
#include <cstdint>

#include "athanor/media/image.h"
#include "athanor/simulation/render/lighting.h"

namespace athanor {

// Linear up to 0.6, then a shoulder that never reaches 1; bright colours turn white.
Eigen::Vector3f ToneCurve(const Eigen::Vector3f& light);
// Linear 0..1 to a byte.
uint8_t EncodeSrgb(float value);
// The inverse: 0..255 to linear 0..1.
float DecodeSrgb(float value);
// Noise of a sensor; standard deviations in steps of a byte, at 0 and at 255.
class SensorNoise {
 public:
  SensorNoise(float deviation_dark, float deviation_bright);
  bool any() const { return any_; }
  // `counter` must be different for every pixel and picture.
  void Add(uint64_t counter, uint8_t* rgb) const;

 private:
  bool any_;
  std::array<float, 256> scale_;  // by value
};
// Streaks of falling drops, as long as the exposure makes them.
void DrawRain(const Lighting& lighting, uint64_t seed, Image* image);

}  // namespace athanor
