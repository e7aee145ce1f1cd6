// Exponential and logarithm without branches or tables, which compilers vectorise.
#pragma once

#include <bit>
#include <cstdint>

#include "athanor/kernels/host_device.h"

namespace athanor {

#if defined(__CUDACC__)

ATHANOR_HOST_DEVICE float FastExp(float x) { return expf(x); }
ATHANOR_HOST_DEVICE float FastLog(float x) { return logf(x); }

#else

// exp(x) to 3e-7 relative for |x| <= 87; beyond, the value at the limit. NaN stays NaN.
ATHANOR_HOST_DEVICE float FastExp(float x) {
  x = x > 87.0f ? 87.0f : x;
  x = x < -87.0f ? -87.0f : x;
  constexpr float kRound = 12582912.0f;  // 1.5 * 2^23: adding it rounds to an integer
  const float n = (x * 1.44269504088896f + kRound) - kRound;
  // x - n ln 2, with ln 2 in two parts so that no digits are lost.
  const float r = (x - n * 0.693359375f) + n * 2.12194440e-4f;
  float p = 1.9875691500e-4f;
  p = p * r + 1.3981999507e-3f;
  p = p * r + 8.3334519073e-3f;
  p = p * r + 4.1665795894e-2f;
  p = p * r + 1.6666665459e-1f;
  p = p * r + 5.0000001201e-1f;
  p = p * r * r + r + 1.0f;
  const auto scale = std::bit_cast<float>((static_cast<int32_t>(n) + 127) << 23);
  return p * scale;
}

// log(x) to 1e-6 absolute for normal positive x.
ATHANOR_HOST_DEVICE float FastLog(float x) {
  const auto bits = std::bit_cast<int32_t>(x);
  // Mantissa in [sqrt(1/2), sqrt(2)).
  const int32_t exponent = (bits - 0x3f3504f3) >> 23;
  const auto m = std::bit_cast<float>(bits - (exponent << 23));
  // log(m) = 2 atanh(s), s = (m - 1) / (m + 1)
  const float s = (m - 1.0f) / (m + 1.0f);
  const float s2 = s * s;
  const float series =
      2.0f + s2 * (0.666666667f + s2 * (0.4f + s2 * (0.285714286f + s2 * 0.222222222f)));
  return s * series + static_cast<float>(exponent) * 0.69314718056f;
}

#endif

}  // namespace athanor
