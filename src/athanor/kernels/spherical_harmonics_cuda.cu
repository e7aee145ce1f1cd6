#include <cstdint>

#include "athanor/kernels/cuda_check.cuh"
#include "athanor/kernels/spherical_harmonics.h"
#include "athanor/kernels/spherical_harmonics_math.h"

namespace athanor {
namespace {

constexpr int kThreads = 128;

// Direction from the camera to a Gaussian.
struct Direction {
  float unit[3];
  float inverse_length;
};

__device__ Direction DirectionTo(const float* mean, const float* center) {
  const float x = mean[0] - center[0], y = mean[1] - center[1], z = mean[2] - center[2];
  const float inverse_length = 1.0f / sqrtf(fmaxf(x * x + y * y + z * z, 1e-20f));
  return {{x * inverse_length, y * inverse_length, z * inverse_length}, inverse_length};
}

// A whole row of 16 coefficients moves in pieces of 16 bytes, where it lies on such a boundary.
template <int kCount>
__device__ bool MovesInVectors(const float* row) {
  return kCount == 16 && reinterpret_cast<uintptr_t>(row) % sizeof(float4) == 0;
}

template <int kCount>
__device__ void LoadRow(const float* row, float* values) {
  if (MovesInVectors<kCount>(row)) {
#pragma unroll
    for (int k = 0; k + 3 < kCount; k += 4) {
      const float4 v = *reinterpret_cast<const float4*>(row + k);
      values[k] = v.x, values[k + 1] = v.y, values[k + 2] = v.z, values[k + 3] = v.w;
    }
  } else {
#pragma unroll
    for (int k = 0; k < kCount; ++k) values[k] = row[k];
  }
}

// row[k] = factor * values[k]
template <int kCount>
__device__ void StoreRow(float factor, const float* values, float* row) {
  if (MovesInVectors<kCount>(row)) {
#pragma unroll
    for (int k = 0; k + 3 < kCount; k += 4) {
      *reinterpret_cast<float4*>(row + k) =
          make_float4(factor * values[k], factor * values[k + 1], factor * values[k + 2],
                      factor * values[k + 3]);
    }
  } else {
#pragma unroll
    for (int k = 0; k < kCount; ++k) row[k] = factor * values[k];
  }
}

// The degree that evaluates kCount coefficients.
template <int kCount>
constexpr int kDegree = kCount == 1   ? 0
                        : kCount == 4 ? 1
                        : kCount == 9 ? 2
                                      : 3;

template <int kCount>
__global__ void __launch_bounds__(kThreads) ShForwardKernel(ShForwardArgs args) {
  const int64_t i = int64_t{blockIdx.x} * kThreads + threadIdx.x;
  if (i >= args.n) return;
  if (args.splats != nullptr && !(args.splats[i].radius > 0)) return;
  const Direction d = DirectionTo(args.means + 3 * i, args.camera_center);
  float basis[16];
  ShBasis(kDegree<kCount>, d.unit[0], d.unit[1], d.unit[2], basis);
#pragma unroll
  for (int c = 0; c < 3; ++c) {
    float sh[kCount];
    LoadRow<kCount>(args.sh + (3 * i + c) * args.coefficients, sh);
    float sum = 0.5f;
#pragma unroll
    for (int k = 0; k < kCount; ++k) sum += basis[k] * sh[k];
    args.colors[3 * i + c] = fmaxf(sum, 0.0f);
  }
}

template <int kCount>
__global__ void __launch_bounds__(kThreads) ShBackwardKernel(ShBackwardArgs args) {
  const int64_t i = int64_t{blockIdx.x} * kThreads + threadIdx.x;
  if (i >= args.n) return;
  const bool visible = args.splats == nullptr || args.splats[i].radius > 0;
  const Direction d = DirectionTo(args.means + 3 * i, args.camera_center);
  float basis[16], along[kCount == 1 ? 4 : kCount] = {};
  ShBasis(kDegree<kCount>, d.unit[0], d.unit[1], d.unit[2], basis);
#pragma unroll
  for (int c = 0; c < 3; ++c) {
    float* d_row = args.d_sh + (3 * i + c) * args.coefficients;
    for (int k = kCount; k < args.coefficients; ++k) d_row[k] = 0;
    if (!visible) {
      for (int k = 0; k < kCount; ++k) d_row[k] = 0;
      continue;
    }
    const float g = args.colors[3 * i + c] > 0 ? args.d_colors[3 * i + c] : 0.0f;
    float sh[kCount];
    LoadRow<kCount>(args.sh + (3 * i + c) * args.coefficients, sh);
    StoreRow<kCount>(g, basis, d_row);
#pragma unroll
    for (int k = 0; k < kCount; ++k) along[k] += g * sh[k];
  }
  float d_unit[3], d_mean[3] = {};
  if (visible) {
    ShBasisGradient(kDegree<kCount>, d.unit[0], d.unit[1], d.unit[2], along, d_unit);
    NormalizeGradient(d.unit, d.inverse_length, d_unit, d_mean);
  }
  for (int f = 0; f < 3; ++f) args.d_means[3 * i + f] = d_mean[f];
}

}  // namespace

void ShForwardCuda(const ShForwardArgs& args, void* stream) {
  if (args.n == 0) return;
  const unsigned blocks = BlockCount(args.n, kThreads);
  const auto s = static_cast<cudaStream_t>(stream);
  switch (args.degree) {
    case 0:
      ShForwardKernel<1><<<blocks, kThreads, 0, s>>>(args);
      break;
    case 1:
      ShForwardKernel<4><<<blocks, kThreads, 0, s>>>(args);
      break;
    case 2:
      ShForwardKernel<9><<<blocks, kThreads, 0, s>>>(args);
      break;
    default:
      ShForwardKernel<16><<<blocks, kThreads, 0, s>>>(args);
      break;
  }
  CheckLaunch("spherical harmonics forward");
}

void ShBackwardCuda(const ShBackwardArgs& args, void* stream) {
  if (args.n == 0) return;
  const unsigned blocks = BlockCount(args.n, kThreads);
  const auto s = static_cast<cudaStream_t>(stream);
  switch (args.degree) {
    case 0:
      ShBackwardKernel<1><<<blocks, kThreads, 0, s>>>(args);
      break;
    case 1:
      ShBackwardKernel<4><<<blocks, kThreads, 0, s>>>(args);
      break;
    case 2:
      ShBackwardKernel<9><<<blocks, kThreads, 0, s>>>(args);
      break;
    default:
      ShBackwardKernel<16><<<blocks, kThreads, 0, s>>>(args);
      break;
  }
  CheckLaunch("spherical harmonics backward");
}

}  // namespace athanor
