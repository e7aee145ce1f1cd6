// Implicit GEMM: a block of threads has 64 x 64 sums in registers, 4 x 4 each, and brings rows and
// weights through shared memory, 16 channels (or pairs of voxels) at a time.
#include "athanor/kernels/cuda_check.cuh"
#include "athanor/kernels/sparse_conv.h"

namespace athanor {
namespace {

constexpr int kTile = 64, kDepth = 16, kThreads = 256, kPerThread = 4;

struct TileMemory {
  float left[kDepth][kTile + 4], right[kDepth][kTile + 4];
};

// sums += left^T right over the depth of the tile.
__device__ void MultiplyTile(const TileMemory& tile, int row, int column,
                             float sums[kPerThread][kPerThread]) {
#pragma unroll
  for (int d = 0; d < kDepth; ++d) {
    float left[kPerThread], right[kPerThread];
#pragma unroll
    for (int i = 0; i < kPerThread; ++i) {
      left[i] = tile.left[d][row + i];
      right[i] = tile.right[d][column + i];
    }
#pragma unroll
    for (int i = 0; i < kPerThread; ++i) {
#pragma unroll
      for (int j = 0; j < kPerThread; ++j) sums[i][j] += left[i] * right[j];
    }
  }
}

// blockIdx: tile of outputs, tile of output channels.
__global__ void __launch_bounds__(kThreads) ForwardKernel(SparseConvTableArgs args) {
  __shared__ TileMemory tile;
  __shared__ int32_t inputs[kTile];
  const int64_t first_row = int64_t{blockIdx.x} * kTile;
  const int first_channel = static_cast<int>(blockIdx.y) * kTile;
  const int t = static_cast<int>(threadIdx.x);
  const int row = t / (kTile / kPerThread) * kPerThread;
  const int column = t % (kTile / kPerThread) * kPerThread;
  float sums[kPerThread][kPerThread] = {};
  for (int k = 0; k < args.volume; ++k) {
    int32_t input = -1;
    if (t < kTile && first_row + t < args.num_outputs) {
      input = args.table[k * args.num_outputs + first_row + t];
    }
    if (t < kTile) inputs[t] = input;
    if (__syncthreads_or(input >= 0) == 0) continue;
    const float* weights = args.weights + int64_t{k} * args.in_channels * args.out_channels;
    for (int c0 = 0; c0 < args.in_channels; c0 += kDepth) {
      for (int e = t; e < kTile * kDepth; e += kThreads) {
        const int r = e / kDepth, c = c0 + e % kDepth;
        const bool inside = inputs[r] >= 0 && c < args.in_channels;
        tile.left[e % kDepth][r] =
            inside ? args.features[int64_t{inputs[r]} * args.in_channels + c] : 0.0f;
      }
      for (int e = t; e < kTile * kDepth; e += kThreads) {
        // Neighbouring threads read neighbouring weights, whichever way these lie.
        const int c = args.transposed ? c0 + e % kDepth : c0 + e / kTile;
        const int o = args.transposed ? e / kDepth : e % kTile;
        const bool inside = c < args.in_channels && first_channel + o < args.out_channels;
        const int64_t at = args.transposed ? int64_t{first_channel + o} * args.in_channels + c
                                           : int64_t{c} * args.out_channels + first_channel + o;
        tile.right[c - c0][o] = inside ? weights[at] : 0.0f;
      }
      __syncthreads();
      MultiplyTile(tile, row, column, sums);
      __syncthreads();
    }
  }
#pragma unroll
  for (int i = 0; i < kPerThread; ++i) {
#pragma unroll
    for (int j = 0; j < kPerThread; ++j) {
      const int64_t r = first_row + row + i;
      const int o = first_channel + column + j;
      if (r < args.num_outputs && o < args.out_channels) {
        args.out[r * args.out_channels + o] = sums[i][j];
      }
    }
  }
}

// blockIdx: tile of input channels and tile of output channels, offset, part of the outputs.
// `parts` [gridDim.z,K,in,out].
__global__ void __launch_bounds__(kThreads)
    WeightsKernel(SparseConvTableWeightsArgs args, int out_tiles, float* parts) {
  __shared__ TileMemory tile;
  const int first_in = static_cast<int>(blockIdx.x) / out_tiles * kTile;
  const int first_out = static_cast<int>(blockIdx.x) % out_tiles * kTile;
  const int64_t k = blockIdx.y;
  const int64_t per_part = (args.num_outputs + gridDim.z - 1) / gridDim.z;
  const int64_t begin = blockIdx.z * per_part;
  const int64_t end = begin + per_part < args.num_outputs ? begin + per_part : args.num_outputs;
  const int t = static_cast<int>(threadIdx.x);
  const int row = t / (kTile / kPerThread) * kPerThread;
  const int column = t % (kTile / kPerThread) * kPerThread;
  float sums[kPerThread][kPerThread] = {};
  for (int64_t r0 = begin; r0 < end; r0 += kDepth) {
    bool any = false;
    for (int e = t; e < kTile * kDepth; e += kThreads) {
      const int64_t r = r0 + e / kTile;
      const int c = e % kTile;
      const int32_t input = r < end ? args.table[k * args.num_outputs + r] : -1;
      any = any || input >= 0;
      const bool in_inside = input >= 0 && first_in + c < args.in_channels;
      const bool out_inside = input >= 0 && first_out + c < args.out_channels;
      tile.left[e / kTile][c] =
          in_inside ? args.features[int64_t{input} * args.in_channels + first_in + c] : 0.0f;
      tile.right[e / kTile][c] =
          out_inside ? args.d_out[r * args.out_channels + first_out + c] : 0.0f;
    }
    if (__syncthreads_or(any) != 0) MultiplyTile(tile, row, column, sums);
    __syncthreads();
  }
  float* out =
      parts + (int64_t{blockIdx.z} * args.volume + k) * args.in_channels * args.out_channels;
#pragma unroll
  for (int i = 0; i < kPerThread; ++i) {
#pragma unroll
    for (int j = 0; j < kPerThread; ++j) {
      const int c = first_in + row + i, o = first_out + column + j;
      if (c < args.in_channels && o < args.out_channels) {
        out[int64_t{c} * args.out_channels + o] = sums[i][j];
      }
    }
  }
}

__global__ void SumPartsKernel(const float* parts, int count, int64_t n, float* out) {
  const int64_t i = int64_t{blockIdx.x} * blockDim.x + threadIdx.x;
  if (i >= n) return;
  float sum = 0;
  for (int p = 0; p < count; ++p) sum += parts[p * n + i];
  out[i] = sum;
}

}  // namespace

void SparseConvForwardCuda(const SparseConvTableArgs& args, void* stream) {
  if (args.num_outputs == 0 || args.out_channels == 0) return;
  const dim3 grid(BlockCount(args.num_outputs, kTile), BlockCount(args.out_channels, kTile));
  ForwardKernel<<<grid, kThreads, 0, static_cast<cudaStream_t>(stream)>>>(args);
  CheckLaunch("sparse convolution");
}

void SparseConvBackwardWeightsCuda(const SparseConvTableWeightsArgs& args, void* stream) {
  const int64_t n = int64_t{args.volume} * args.in_channels * args.out_channels;
  if (n == 0) return;
  constexpr int64_t kRowsPerPart = 8192;
  constexpr int64_t kMaxParts = 16;
  const auto parts =
      static_cast<unsigned>(std::clamp<int64_t>(args.num_outputs / kRowsPerPart, 1, kMaxParts));
  const auto s = static_cast<cudaStream_t>(stream);
  const DeviceScratch<float> scratch(n * parts, s);
  const unsigned out_tiles = BlockCount(args.out_channels, kTile);
  const dim3 grid(BlockCount(args.in_channels, kTile) * out_tiles,
                  static_cast<unsigned>(args.volume), parts);
  WeightsKernel<<<grid, kThreads, 0, s>>>(args, static_cast<int>(out_tiles), scratch.data());
  CheckLaunch("gradient of sparse convolution weights");
  SumPartsKernel<<<BlockCount(n, kThreads), kThreads, 0, s>>>(
      scratch.data(), static_cast<int>(parts), n, args.d_weights);
  CheckLaunch("sum of weight gradients");
}

}  // namespace athanor
