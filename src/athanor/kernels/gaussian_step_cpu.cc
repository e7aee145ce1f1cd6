#include <algorithm>
#include <bit>
#include <cmath>

#include "athanor/base/parallel.h"
#include "athanor/kernels/fast_math.h"
#include "athanor/kernels/gaussian_step.h"
#include "athanor/kernels/spherical_harmonics_math.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "athanor/kernels/gaussian_step_cpu.cc"
// clang-format off
#include <hwy/foreach_target.h>
// clang-format on
#include <hwy/highway.h>

#ifndef ATHANOR_KERNELS_STEP_BLOCK_  // this file is read again for every instruction set
#define ATHANOR_KERNELS_STEP_BLOCK_
namespace athanor {
namespace {

constexpr int64_t kStepBlock = 256;  // Gaussians whose gradients are held in cache

struct StepBlock {
  float d_means[3 * kStepBlock];
  float d_quats[4 * kStepBlock];
  float d_log_scales[3 * kStepBlock];
  float d_opacity_logits[kStepBlock];
};

}  // namespace
}  // namespace athanor
#endif

HWY_BEFORE_NAMESPACE();
namespace athanor {
namespace HWY_NAMESPACE {

ATHANOR_HOST_DEVICE float FromBfloat16(uint16_t bits) {
  return std::bit_cast<float>(static_cast<uint32_t>(bits) << 16);
}

// To nearest, ties to even.
ATHANOR_HOST_DEVICE uint16_t ToBfloat16(float value) {
  const auto bits = std::bit_cast<uint32_t>(value);
  return static_cast<uint16_t>((bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16);
}

// Gradients of the colours of Gaussian i before clamping, the basis, and what the direction adds to
// the gradient of the mean.
template <int kCount>
HWY_ATTR void HarmonicsGradient(const GaussianStepArgs& args, int64_t i, float* d_color,
                                float* basis, float* d_mean) {
  const float* mean = args.parameters.means + 3 * i;
  const float x = mean[0] - args.camera_center[0], y = mean[1] - args.camera_center[1],
              z = mean[2] - args.camera_center[2];
  const float inverse_length = 1.0f / std::sqrt(std::max(x * x + y * y + z * z, 1e-20f));
  const float unit[3] = {x * inverse_length, y * inverse_length, z * inverse_length};
  ShBasis(args.sh_degree, unit[0], unit[1], unit[2], basis);
  alignas(64) float along[16] = {};
  for (int c = 0; c < 3; ++c) {
    const float g = args.colors[3 * i + c] > 0 ? args.d_colors[3 * i + c] : 0.0f;
    const float* sh = args.parameters.sh + (3 * i + c) * args.sh_coefficients;
#pragma omp simd
    for (int k = 0; k < kCount; ++k) along[k] += g * sh[k];
    d_color[c] = g;
  }
  float d_unit[3], d_position[3];
  ShBasisGradient(args.sh_degree, unit[0], unit[1], unit[2], along, d_unit);
  NormalizeGradient(unit, inverse_length, d_unit, d_position);
  for (int axis = 0; axis < 3; ++axis) d_mean[axis] += d_position[axis];
}

// Coefficients above DC: basis[0] is 0 here, so that whole vectors move.
template <int kCount>
HWY_ATTR void StepHarmonics(const GaussianStepArgs& args, int64_t i, const float* d_color,
                            const float* basis, const float* dc_second, float second_correction) {
  for (int c = 0; c < 3; ++c) {
    const float rate =
        args.lr_sh_rest * d_color[c] / (std::sqrt(dc_second[c] * second_correction) + args.epsilon);
    float* __restrict sh = args.parameters.sh + (3 * i + c) * args.sh_coefficients;
#pragma omp simd
    for (int k = 0; k < kCount; ++k) sh[k] -= rate * basis[k];
  }
}

template <int kCount>
HWY_ATTR void StepRange(const GaussianStepArgs& args, StepBlock* block, int64_t begin,
                        int64_t end) {
  const auto t = static_cast<double>(args.step);
  const auto first_correction = static_cast<float>(1.0 / (1.0 - std::pow(args.beta1, t)));
  const auto second_correction = static_cast<float>(1.0 / (1.0 - std::pow(args.beta2, t)));
  const float opacity_regularizer = args.opacity_regularizer / static_cast<float>(args.n);
  const float scale_regularizer = args.scale_regularizer / static_cast<float>(3 * args.n);
  constexpr int kPadded = 16;
  alignas(64) float rate[kPadded] = {};
  for (int f = 0; f < kNumMoments; ++f) {
    rate[f] = first_correction * (f < 3     ? args.lr_means
                                  : f < 7   ? args.lr_quats
                                  : f < 10  ? args.lr_log_scales
                                  : f == 10 ? args.lr_opacity_logits
                                            : args.lr_sh_dc);
  }
  for (int64_t i = begin; i < end; ++i) {
    const bool visible = args.splats[i].radius > 0;
    if (args.visible_only && !visible) continue;
    const int64_t at = i - begin;
    alignas(64) float basis[16] = {};
    float d_color[3] = {};
    if (visible) HarmonicsGradient<kCount>(args, i, d_color, basis, block->d_means + 3 * at);

    alignas(64) float p[kPadded] = {}, g[kPadded] = {}, v[kPadded] = {};
    alignas(64) uint16_t m[kPadded] = {};
    const GaussianParameters& q = args.parameters;
    float* sh = q.sh + 3 * i * args.sh_coefficients;
    std::copy_n(q.means + 3 * i, 3, p);
    std::copy_n(q.quats + 4 * i, 4, p + 3);
    std::copy_n(q.log_scales + 3 * i, 3, p + 7);
    p[10] = q.opacity_logits[i];
    for (int c = 0; c < 3; ++c) p[11 + c] = sh[c * args.sh_coefficients];
    std::copy_n(block->d_means + 3 * at, 3, g);
    std::copy_n(block->d_quats + 4 * at, 4, g + 3);
    std::copy_n(block->d_log_scales + 3 * at, 3, g + 7);
    g[10] = block->d_opacity_logits[at];
    for (int c = 0; c < 3; ++c) g[11 + c] = kSh0 * d_color[c];
    if (scale_regularizer > 0) {
      for (int f = 7; f < 10; ++f) g[f] += scale_regularizer * FastExp(p[f]);
    }
    if (opacity_regularizer > 0) {
      const float o = 1.0f / (1.0f + FastExp(-p[10]));
      g[10] += opacity_regularizer * o * (1 - o);
    }
    uint16_t* first = args.moments.first + kNumMoments * i;
    float* second = args.moments.second + kNumMoments * i;
    std::copy_n(first, kNumMoments, m);
    std::copy_n(second, kNumMoments, v);
#pragma omp simd
    for (int f = 0; f < kPadded; ++f) {
      const float mean = args.beta1 * FromBfloat16(m[f]) + (1 - args.beta1) * g[f];
      m[f] = ToBfloat16(mean);
      v[f] = args.beta2 * v[f] + (1 - args.beta2) * g[f] * g[f];
      p[f] -= rate[f] * mean / (__builtin_sqrtf(v[f] * second_correction) + args.epsilon);
    }
    std::copy_n(m, kNumMoments, first);
    std::copy_n(v, kNumMoments, second);
    std::copy_n(p, 3, q.means + 3 * i);
    std::copy_n(p + 3, 4, q.quats + 4 * i);
    std::copy_n(p + 7, 3, q.log_scales + 3 * i);
    q.opacity_logits[i] = p[10];
    for (int c = 0; c < 3; ++c) sh[c * args.sh_coefficients] = p[11 + c];
    basis[0] = 0;
    if (visible) StepHarmonics<kCount>(args, i, d_color, basis, v + 11, second_correction);
  }
}

HWY_ATTR void StepDegrees(const GaussianStepArgs& args, StepBlock* block, int64_t begin,
                          int64_t end) {
  switch (args.sh_degree) {
    case 0:
      return StepRange<1>(args, block, begin, end);
    case 1:
      return StepRange<4>(args, block, begin, end);
    case 2:
      return StepRange<9>(args, block, begin, end);
    default:
      return StepRange<16>(args, block, begin, end);
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace athanor
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace athanor {

HWY_EXPORT(StepDegrees);

void GaussianStepCpu(const GaussianStepArgs& args) {
  const GaussianParameters& p = args.parameters;
  ProjectBackwardArgs project = {};
  project.gaussians = {args.n, p.means, p.quats, p.log_scales, p.opacity_logits};
  project.view = args.view;
  project.options = args.options;
  project.splats = args.splats;
  project.gradients = args.d_splats;
  ParallelFor(args.n, kStepBlock, [&](int64_t begin, int64_t end) {
    StepBlock block;
    ProjectBackwardArgs range = project;
    range.d_means = block.d_means;
    range.d_quats = block.d_quats;
    range.d_log_scales = block.d_log_scales;
    range.d_opacity_logits = block.d_opacity_logits;
    ProjectBackwardRangeCpu(range, begin, end);
    HWY_DYNAMIC_DISPATCH(StepDegrees)(args, &block, begin, end);
  });
}

}  // namespace athanor
#endif
