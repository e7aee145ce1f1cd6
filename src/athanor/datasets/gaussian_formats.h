// One decoder and one encoder per file format of Gaussians, on bytes in memory. Internal to
// datasets/: callers use gaussian_cloud.h.
//
// Decoders take bytes from outside, which they never trust, and `name`, what messages call them.
// They throw Error; sizes are checked against the bytes at hand before anything is allocated.
#pragma once

#include <cmath>
#include <string>
#include <string_view>

#include "athanor/datasets/gaussian_cloud.h"
#include "athanor/datasets/posed_images.h"

namespace athanor::internal {

// Inria's PLY and SuperSplat's packed PLY.
GaussianCloud DecodeGaussianPly(std::string_view bytes, std::string_view name);
std::string EncodeGaussianPly(const GaussianCloud& cloud);

GaussianCloud DecodeSplat(std::string_view bytes, std::string_view name);
std::string EncodeSplat(const GaussianCloud& cloud);

GaussianCloud DecodeSpz(std::string_view bytes, std::string_view name);
// Throws Error, naming `name`, for positions beyond what 24 bits can hold.
std::string EncodeSpz(const GaussianCloud& cloud, std::string_view name);

GaussianCloud DecodeGardenNpz(std::string_view bytes, std::string_view name);
PosedImages DecodeGardenViews(std::string_view bytes, std::string_view name);

// The first spherical harmonic, 1 / (2 sqrt(pi)): colour = 0.5 + kShDc * coefficient.
inline constexpr float kShDc = 0.28209479177387814f;

inline float Sigmoid(float x) { return 1.0f / (1.0f + std::exp(-x)); }
// Inverse of Sigmoid for an opacity stored in a few bits: finite at 0 and 1 too, since a file's 0
// means "below half a step", and an infinite logit could never be trained again.
inline float LogitOfStored(float opacity) {
  constexpr float kMargin = 1e-6f;
  const float inside = std::fmin(std::fmax(opacity, kMargin), 1.0f - kMargin);
  return std::log(inside / (1.0f - inside));
}

// Rounds to the nearest byte.
inline uint8_t ToByte(float x) {
  return static_cast<uint8_t>(std::fmin(std::fmax(std::round(x), 0.0f), 255.0f));
}

// How many Gaussians one chunk of a parallel loop takes.
inline constexpr int64_t kGaussianGrain = 4096;

}  // namespace athanor::internal
