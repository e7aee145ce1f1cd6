// One warp per row for float16 rows; one thread per row for coded ones.
#include <cuda_fp16.h>

#include "athanor/kernels/cuda_check.cuh"
#include "athanor/kernels/feature_scores.h"

namespace athanor {
namespace {

constexpr int kThreads = 256;
constexpr int kBlockVectors = 4;  // targets that a warp takes at once

__global__ void __launch_bounds__(kThreads) HalfScoresKernel(HalfScoresArgs args) {
  const int64_t row = (int64_t{blockIdx.x} * kThreads + threadIdx.x) / 32;
  const int lane = threadIdx.x % 32;
  if (row >= args.n) return;
  const auto* x = reinterpret_cast<const __half*>(args.rows) + row * args.dimension;
  for (int first = 0; first < args.vectors; first += kBlockVectors) {
    float sums[kBlockVectors] = {};
    for (int c = lane; c < args.dimension; c += 32) {
      const float value = __half2float(x[c]);
#pragma unroll
      for (int p = 0; p < kBlockVectors; ++p) {
        if (first + p < args.vectors) {
          sums[p] += value * __ldg(args.targets + int64_t{first + p} * args.dimension + c);
        }
      }
    }
#pragma unroll
    for (int p = 0; p < kBlockVectors; ++p) {
      for (int step = 16; step > 0; step /= 2) {
        sums[p] += __shfl_down_sync(0xffffffffu, sums[p], step);
      }
      if (lane == 0 && first + p < args.vectors) {
        args.scores[row * args.vectors + first + p] = sums[p];
      }
    }
  }
}

__global__ void __launch_bounds__(kThreads) CodedScoresKernel(CodedScoresArgs args) {
  const int64_t i = int64_t{blockIdx.x} * kThreads + threadIdx.x;
  if (i >= args.n) return;
  for (int p = 0; p < args.vectors; ++p) {
    float sum = 0;
    for (int k = 0; k < args.terms; ++k) {
      const int64_t at = i * args.terms + k;
      const float weight = args.weights == nullptr
                               ? 1.0f
                               : __half2float(reinterpret_cast<const __half*>(args.weights)[at]);
      sum += weight * __ldg(args.entry_scores + int64_t{args.codes[at]} * args.vectors + p);
    }
    args.scores[i * args.vectors + p] = sum;
  }
}

__global__ void __launch_bounds__(kThreads) ProductScoresKernel(ProductScoresArgs args) {
  const int64_t i = int64_t{blockIdx.x} * kThreads + threadIdx.x;
  if (i >= args.n) return;
  for (int p = 0; p < args.vectors; ++p) {
    float sum = 0;
    for (int m = 0; m < args.parts; ++m) {
      const int64_t entry = int64_t{m} * 256 + args.codes[i * args.parts + m];
      sum += __ldg(args.table + entry * args.vectors + p);
    }
    args.scores[i * args.vectors + p] = sum;
  }
}

}  // namespace

void HalfScoresCuda(const HalfScoresArgs& args, void* stream) {
  if (args.n == 0 || args.vectors == 0) return;
  HalfScoresKernel<<<BlockCount(args.n * 32, kThreads), kThreads, 0,
                     static_cast<cudaStream_t>(stream)>>>(args);
  CheckLaunch("scores of float16 rows");
}

void CodedScoresCuda(const CodedScoresArgs& args, void* stream) {
  if (args.n == 0 || args.vectors == 0) return;
  CodedScoresKernel<<<BlockCount(args.n, kThreads), kThreads, 0,
                      static_cast<cudaStream_t>(stream)>>>(args);
  CheckLaunch("scores of coded rows");
}

void ProductScoresCuda(const ProductScoresArgs& args, void* stream) {
  if (args.n == 0 || args.vectors == 0) return;
  ProductScoresKernel<<<BlockCount(args.n, kThreads), kThreads, 0,
                        static_cast<cudaStream_t>(stream)>>>(args);
  CheckLaunch("scores of product-quantised rows");
}

}  // namespace athanor
