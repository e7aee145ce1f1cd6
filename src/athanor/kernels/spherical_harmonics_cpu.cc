#include <algorithm>
#include <cmath>

#include "athanor/base/parallel.h"
#include "athanor/kernels/spherical_harmonics.h"
#include "athanor/kernels/spherical_harmonics_math.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "athanor/kernels/spherical_harmonics_cpu.cc"
// clang-format off
#include <hwy/foreach_target.h>
// clang-format on
#include <hwy/highway.h>

HWY_BEFORE_NAMESPACE();
namespace athanor {
namespace HWY_NAMESPACE {

// Direction from the camera to a Gaussian.
struct Direction {
  float unit[3];
  float inverse_length;
};

HWY_ATTR inline Direction DirectionTo(const float* mean, const float* center) {
  const float x = mean[0] - center[0], y = mean[1] - center[1], z = mean[2] - center[2];
  const float inverse_length = 1.0f / std::sqrt(std::max(x * x + y * y + z * z, 1e-20f));
  return {{x * inverse_length, y * inverse_length, z * inverse_length}, inverse_length};
}

// kCount = (degree+1)^2 known at compile time: the sums over it become vector operations.
template <int kCount>
HWY_ATTR void ShForwardRange(const ShForwardArgs& args, int64_t begin, int64_t end) {
  for (int64_t i = begin; i < end; ++i) {
    if (args.splats != nullptr && !(args.splats[i].radius > 0)) continue;
    const Direction d = DirectionTo(args.means + 3 * i, args.camera_center);
    float basis[16] = {};
    ShBasis(args.degree, d.unit[0], d.unit[1], d.unit[2], basis);
    for (int c = 0; c < 3; ++c) {
      const float* sh = args.sh + (3 * i + c) * args.coefficients;
      float sum = 0.5f;
#pragma omp simd reduction(+ : sum)
      for (int k = 0; k < kCount; ++k) sum += basis[k] * sh[k];
      args.colors[3 * i + c] = std::max(sum, 0.0f);
    }
  }
}

template <int kCount>
HWY_ATTR void ShBackwardRange(const ShBackwardArgs& args, int64_t begin, int64_t end) {
  for (int64_t i = begin; i < end; ++i) {
    float* d_sh = args.d_sh + 3 * i * args.coefficients;
    float* d_mean = args.d_means + 3 * i;
    std::fill_n(d_sh, 3 * args.coefficients, 0.0f);
    std::fill_n(d_mean, 3, 0.0f);
    if (args.splats != nullptr && !(args.splats[i].radius > 0)) continue;
    const Direction d = DirectionTo(args.means + 3 * i, args.camera_center);
    float basis[16] = {}, along[16] = {};
    ShBasis(args.degree, d.unit[0], d.unit[1], d.unit[2], basis);
    for (int c = 0; c < 3; ++c) {
      const float g = args.colors[3 * i + c] > 0 ? args.d_colors[3 * i + c] : 0.0f;
      const float* sh = args.sh + (3 * i + c) * args.coefficients;
      for (int k = 0; k < kCount; ++k) {
        d_sh[c * args.coefficients + k] = g * basis[k];
        along[k] += g * sh[k];
      }
    }
    float d_unit[3];
    ShBasisGradient(args.degree, d.unit[0], d.unit[1], d.unit[2], along, d_unit);
    NormalizeGradient(d.unit, d.inverse_length, d_unit, d_mean);
  }
}

HWY_ATTR void ShForwardDegrees(const ShForwardArgs& args, int64_t begin, int64_t end) {
  switch (args.degree) {
    case 0:
      return ShForwardRange<1>(args, begin, end);
    case 1:
      return ShForwardRange<4>(args, begin, end);
    case 2:
      return ShForwardRange<9>(args, begin, end);
    default:
      return ShForwardRange<16>(args, begin, end);
  }
}

HWY_ATTR void ShBackwardDegrees(const ShBackwardArgs& args, int64_t begin, int64_t end) {
  switch (args.degree) {
    case 0:
      return ShBackwardRange<1>(args, begin, end);
    case 1:
      return ShBackwardRange<4>(args, begin, end);
    case 2:
      return ShBackwardRange<9>(args, begin, end);
    default:
      return ShBackwardRange<16>(args, begin, end);
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace athanor
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace athanor {

HWY_EXPORT(ShForwardDegrees);
HWY_EXPORT(ShBackwardDegrees);

namespace {
constexpr int64_t kGrain = 2048;  // Gaussians per task
}

void ShForwardCpu(const ShForwardArgs& args) {
  ParallelFor(args.n, kGrain, [&](int64_t begin, int64_t end) {
    HWY_DYNAMIC_DISPATCH(ShForwardDegrees)(args, begin, end);
  });
}

void ShBackwardCpu(const ShBackwardArgs& args) {
  ParallelFor(args.n, kGrain, [&](int64_t begin, int64_t end) {
    HWY_DYNAMIC_DISPATCH(ShBackwardDegrees)(args, begin, end);
  });
}

}  // namespace athanor
#endif
