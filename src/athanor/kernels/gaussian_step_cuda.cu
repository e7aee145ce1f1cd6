// One thread per Gaussian for its geometry; the harmonics, most of the bytes, move through shared
// memory so that neighbouring threads touch neighbouring addresses.
#include <cuda_bf16.h>

#include <cmath>

#include "athanor/kernels/cuda_check.cuh"
#include "athanor/kernels/gaussian_step.h"
#include "athanor/kernels/project_math.h"
#include "athanor/kernels/spherical_harmonics_math.h"

namespace athanor {
namespace {

constexpr int kThreads = 128;  // Gaussians of a block

// What does not depend on the Gaussian.
struct StepConstants {
  ProjectionConstants projection;
  float first_correction, second_correction;
  float opacity_regularizer, scale_regularizer;  // per Gaussian, per scale
};

// What the update of one Gaussian's harmonics above DC needs: the change of coefficient k of
// channel c is rate[c] * basis[k]. An odd number of words, so that the threads of a warp do not
// meet in a bank of shared memory.
template <int kCount>
struct HarmonicsStep {
  float basis[kCount];  // 0 for DC
  float rate[3];
  float unused[1 + kCount % 2];
};

// Adam for one parameter.
__device__ void StepParameter(const GaussianStepArgs& args, const StepConstants& constants,
                              float lr, float gradient, uint16_t* first, float* second,
                              float* parameter) {
  const float before = __bfloat162float(__ushort_as_bfloat16(*first));
  const float m = args.beta1 * before + (1 - args.beta1) * gradient;
  const float v = args.beta2 * *second + (1 - args.beta2) * gradient * gradient;
  *first = __bfloat16_as_ushort(__float2bfloat16_rn(m));
  *second = v;
  *parameter -=
      lr * constants.first_correction * m / (sqrtf(v * constants.second_correction) + args.epsilon);
}

// Steps the DC of Gaussian i in `sh` ([3,kCount]), says in `step` what its other coefficients do,
// and adds to d_mean what the direction contributes.
template <int kCount>
__device__ void StepHarmonics(const GaussianStepArgs& args, const StepConstants& constants,
                              int64_t i, bool visible, const float* mean, float* sh,
                              HarmonicsStep<kCount>* step, float* d_mean) {
  constexpr int kDegree = kCount == 1 ? 0 : kCount == 4 ? 1 : kCount == 9 ? 2 : 3;
  const float x = mean[0] - args.camera_center[0], y = mean[1] - args.camera_center[1],
              z = mean[2] - args.camera_center[2];
  const float inverse_length = 1.0f / sqrtf(fmaxf(x * x + y * y + z * z, 1e-20f));
  const float unit[3] = {x * inverse_length, y * inverse_length, z * inverse_length};
  float basis[16], along[kCount == 1 ? 4 : kCount] = {};
  ShBasis(kDegree, unit[0], unit[1], unit[2], basis);
  step->basis[0] = 0;
#pragma unroll
  for (int k = 1; k < kCount; ++k) step->basis[k] = basis[k];
#pragma unroll
  for (int c = 0; c < 3; ++c) {
    const bool open = visible && args.colors[3 * i + c] > 0;
    const float g = open ? args.d_colors[3 * i + c] : 0.0f;
#pragma unroll
    for (int k = 0; k < kCount; ++k) along[k] += g * sh[c * kCount + k];
    uint16_t* first = args.moments.first + kNumMoments * i + 11 + c;
    float* second = args.moments.second + kNumMoments * i + 11 + c;
    StepParameter(args, constants, args.lr_sh_dc, kSh0 * g, first, second, sh + c * kCount);
    step->rate[c] =
        -args.lr_sh_rest * g / (sqrtf(*second * constants.second_correction) + args.epsilon);
  }
  if (!visible) return;
  float d_unit[3], d_position[3];
  ShBasisGradient(kDegree, unit[0], unit[1], unit[2], along, d_unit);
  NormalizeGradient(unit, inverse_length, d_unit, d_position);
  for (int axis = 0; axis < 3; ++axis) d_mean[axis] += d_position[axis];
}

__device__ void StepGeometry(const GaussianStepArgs& args, const StepConstants& constants,
                             int64_t i, const GaussianValues& values, GaussianGradient d) {
  if (constants.scale_regularizer > 0) {
    for (int f = 0; f < 3; ++f) {
      d.log_scale[f] += constants.scale_regularizer * FastExp(values.log_scale[f]);
    }
  }
  if (constants.opacity_regularizer > 0) {
    const float o = 1.0f / (1.0f + FastExp(-values.opacity_logit));
    d.opacity_logit += constants.opacity_regularizer * o * (1 - o);
  }
  uint16_t* first = args.moments.first + kNumMoments * i;
  float* second = args.moments.second + kNumMoments * i;
  const GaussianParameters& p = args.parameters;
#pragma unroll
  for (int f = 0; f < 3; ++f) {
    StepParameter(args, constants, args.lr_means, d.mean[f], first + f, second + f,
                  p.means + 3 * i + f);
  }
#pragma unroll
  for (int f = 0; f < 4; ++f) {
    StepParameter(args, constants, args.lr_quats, d.quat[f], first + 3 + f, second + 3 + f,
                  p.quats + 4 * i + f);
  }
#pragma unroll
  for (int f = 0; f < 3; ++f) {
    StepParameter(args, constants, args.lr_log_scales, d.log_scale[f], first + 7 + f,
                  second + 7 + f, p.log_scales + 3 * i + f);
  }
  StepParameter(args, constants, args.lr_opacity_logits, d.opacity_logit, first + 10, second + 10,
                p.opacity_logits + i);
}

// kCount = (degree + 1)^2
template <int kCount>
__global__ void __launch_bounds__(kThreads)
    StepKernel(GaussianStepArgs args, StepConstants constants) {
  constexpr int kRow = 3 * kCount;
  __shared__ float sh[kThreads][kRow + 1 - kRow % 2];  // rows of odd length: no bank conflicts
  __shared__ HarmonicsStep<kCount> steps[kThreads];
  __shared__ bool takes_step[kThreads];

  const int64_t block_begin = int64_t{blockIdx.x} * kThreads;
  const int64_t i = block_begin + threadIdx.x;
  const bool visible = i < args.n && args.splats[i].radius > 0;
  const bool steps_here = i < args.n && (visible || !args.visible_only);
  takes_step[threadIdx.x] = steps_here;
  __syncthreads();

  // Calls visit(gaussian of the block, channel, coefficient, index into args.parameters.sh).
  const auto for_each_harmonic = [&](const auto& visit) {
    for (int e = threadIdx.x; e < kThreads * kRow; e += kThreads) {
      const int g = e / kRow, c = e % kRow / kCount, k = e % kCount;
      if (takes_step[g]) {
        visit(g, c, k, (3 * (block_begin + g) + c) * args.sh_coefficients + k);
      }
    }
  };
  for_each_harmonic(
      [&](int g, int c, int k, int64_t at) { sh[g][c * kCount + k] = args.parameters.sh[at]; });
  __syncthreads();

  if (steps_here) {
    GaussianValues values;
    for (int f = 0; f < 3; ++f) values.mean[f] = args.parameters.means[3 * i + f];
    for (int f = 0; f < 4; ++f) values.quat[f] = args.parameters.quats[4 * i + f];
    for (int f = 0; f < 3; ++f) values.log_scale[f] = args.parameters.log_scales[3 * i + f];
    values.opacity_logit = args.parameters.opacity_logits[i];
    GaussianGradient d = {};
    if (visible) {
      d = ProjectGaussianBackward(ProjectGaussian(values, constants.projection),
                                  constants.projection, args.d_splats[i]);
    }
    StepHarmonics<kCount>(args, constants, i, visible, values.mean, sh[threadIdx.x],
                          &steps[threadIdx.x], d.mean);
    StepGeometry(args, constants, i, values, d);
  }
  __syncthreads();

  for_each_harmonic([&](int g, int c, int k, int64_t at) {
    args.parameters.sh[at] = sh[g][c * kCount + k] + steps[g].rate[c] * steps[g].basis[k];
  });
}

}  // namespace

void GaussianStepCuda(const GaussianStepArgs& args, void* stream) {
  if (args.n == 0) return;
  StepConstants constants;
  constants.projection = MakeProjectionConstants(args.view, args.options);
  const auto t = static_cast<double>(args.step);
  constants.first_correction = static_cast<float>(1.0 / (1.0 - std::pow(args.beta1, t)));
  constants.second_correction = static_cast<float>(1.0 / (1.0 - std::pow(args.beta2, t)));
  constants.opacity_regularizer = args.opacity_regularizer / static_cast<float>(args.n);
  constants.scale_regularizer = args.scale_regularizer / static_cast<float>(3 * args.n);
  const unsigned blocks = BlockCount(args.n, kThreads);
  const auto s = static_cast<cudaStream_t>(stream);
  switch (args.sh_degree) {
    case 0:
      StepKernel<1><<<blocks, kThreads, 0, s>>>(args, constants);
      break;
    case 1:
      StepKernel<4><<<blocks, kThreads, 0, s>>>(args, constants);
      break;
    case 2:
      StepKernel<9><<<blocks, kThreads, 0, s>>>(args, constants);
      break;
    default:
      StepKernel<16><<<blocks, kThreads, 0, s>>>(args, constants);
      break;
  }
  CheckLaunch("Gaussian step");
}

}  // namespace athanor
