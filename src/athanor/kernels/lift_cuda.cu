// One block per tile. Its threads weigh a batch of splats, one pixel each; then they take channels
// and walk the pixels that a splat reaches, whose features neighbours read side by side.
#include <cuda_fp16.h>

#include "athanor/kernels/cuda_check.cuh"
#include "athanor/kernels/lift.h"
#include "athanor/kernels/tile_binning.h"

namespace athanor {
namespace {

constexpr int kPixels = kTileSize * kTileSize;  // threads of a block
constexpr int kBatch = 16;
constexpr int kThreads = 256;
constexpr float kLog2E = 1.4426950408889634f;
constexpr float kLog2MinAlpha = -7.994353436858858f;  // kMinAlpha = 1/255

__device__ void RaiseTo(float* to, float value) {
  // Floats that are not negative are ordered as their bits are.
  atomicMax(reinterpret_cast<int*>(to), __float_as_int(value));
}

// A splat's pixels in the tile, closed up.
struct Reached {
  int count;
  uint8_t pixels[kPixels];
};

__global__ void __launch_bounds__(kPixels) LiftTilesKernel(LiftTilesArgs args) {
  __shared__ float weights[kBatch][kPixels];
  __shared__ int cells[kPixels];
  __shared__ float scales[kPixels];
  __shared__ Reached reached;
  __shared__ float sum, largest, center;
  const LiftView& view = args.view;
  const int columns = (view.width_px + kTileSize - 1) / kTileSize;
  const int tile = blockIdx.x, thread = threadIdx.x;
  const int x = tile % columns * kTileSize + thread % kTileSize;
  const int y = tile / columns * kTileSize + thread / kTileSize;
  const bool inside = x < view.width_px && y < view.height_px;
  cells[thread] = inside ? view.cells[int64_t{y} * view.width_px + x] : -1;
  scales[thread] = cells[thread] < 0        ? 0.0f
                   : args.scales != nullptr ? args.scales[cells[thread]]
                                            : 1.0f;
  const float px = static_cast<float>(x) + 0.5f, py = static_cast<float>(y) + 0.5f;

  float transmittance = 1;
  bool full = !inside;
  const int begin = view.tile_offsets[tile], end = view.tile_offsets[tile + 1];
  for (int base = begin; base < end; base += kBatch) {
    if (__syncthreads_and(full)) break;
    const int count = min(kBatch, end - base);
    for (int i = 0; i < count; ++i) {
      float weight = 0;
      if (!full) {
        const Splat& s = view.splats[view.tile_ids[base + i]];
        const float dx = px - s.x, dy = py - s.y;
        const float power = -0.5f * (s.a * dx * dx + s.c * dy * dy) - s.b * dx * dy;
        const float log2_alpha = log2f(s.opacity) + kLog2E * power;
        if (log2_alpha >= kLog2MinAlpha) {
          const float alpha = fminf(exp2f(log2_alpha), kMaxAlpha);
          const float after = transmittance * (1 - alpha);
          if (after < kMinTransmittance) {
            full = true;
          } else {
            weight = alpha * transmittance;
            transmittance = after;
          }
        }
      }
      weights[i][thread] = weight;
    }
    __syncthreads();
    for (int i = 0; i < count; ++i) {
      const int id = view.tile_ids[base + i];
      const int64_t row = args.rows != nullptr ? args.rows[id] : id;
      if (row < 0) continue;  // the same for the whole block
      const float scale = view.per_footprint ? PerPixelCovered(view.splats[id]) : 1.0f;
      if (thread == 0) {
        reached.count = 0;
        sum = largest = center = 0;
      }
      __syncthreads();
      const float weight = weights[i][thread];
      if (weight > 0) {
        const Splat& s = view.splats[id];
        RaiseTo(&largest, weight);
        if (fabsf(static_cast<float>(x) - floorf(s.x)) <= 1 &&
            fabsf(static_cast<float>(y) - floorf(s.y)) <= 1) {
          RaiseTo(&center, weight);
        }
        if (cells[thread] >= 0 && weight >= view.least_weight) {
          atomicAdd(&sum, weight);
          reached.pixels[atomicAdd(&reached.count, 1)] = static_cast<uint8_t>(thread);
        }
      }
      __syncthreads();
      if (thread == 0 && largest > 0) {
        if (args.totals.weights != nullptr) atomicAdd(args.totals.weights + id, scale * sum);
        if (args.totals.max_weights != nullptr) RaiseTo(args.totals.max_weights + id, largest);
        if (args.totals.center_weights != nullptr) RaiseTo(args.totals.center_weights + id, center);
      }
      for (int c = thread; c < args.dimension; c += kPixels) {
        float total = 0;
        for (int k = 0; k < reached.count; ++k) {
          const int p = reached.pixels[k];
          const auto* f =
              reinterpret_cast<const __half*>(args.features) + int64_t{cells[p]} * args.dimension;
          total += weights[i][p] * scales[p] * __half2float(f[c]);
        }
        if (total != 0) atomicAdd(args.sums + row * args.stride + c, args.factor * scale * total);
      }
      __syncthreads();
    }
  }
}

// One warp per row; its lanes take channels.
__global__ void __launch_bounds__(kThreads) LiftRowsKernel(LiftRowsArgs args) {
  const int64_t r = (int64_t{blockIdx.x} * kThreads + threadIdx.x) / 32;
  if (r >= args.rows) return;
  float* out = args.sums + (args.row_ids != nullptr ? args.row_ids[r] : r) * args.stride;
  for (int c = threadIdx.x % 32; c < args.dimension; c += 32) {
    float total = 0;
    for (int64_t e = args.offsets[r]; e < args.offsets[r + 1]; ++e) {
      const int64_t column = args.columns[e];
      const auto* f = reinterpret_cast<const __half*>(args.features) + column * args.dimension;
      total += args.weights[e] * args.scales[column] * __half2float(f[c]);
    }
    out[c] += total;
  }
}

}  // namespace

void LiftTilesCuda(const LiftTilesArgs& args, void* stream) {
  ATHANOR_CHECK(args.view.top_k == 0, "CUDA: lifting by the largest weights per pixel runs on the ",
                "CPU only, found top_k = ", args.view.top_k);
  const int tiles = MakeTileGrid(args.view.width_px, args.view.height_px).size();
  if (tiles == 0) return;
  LiftTilesKernel<<<static_cast<unsigned>(tiles), kPixels, 0, static_cast<cudaStream_t>(stream)>>>(
      args);
  CheckLaunch("lifting of tiles");
}

void LiftRowsCuda(const LiftRowsArgs& args, void* stream) {
  if (args.rows == 0) return;
  LiftRowsKernel<<<BlockCount(args.rows * 32, kThreads), kThreads, 0,
                   static_cast<cudaStream_t>(stream)>>>(args);
  CheckLaunch("lifting of rows");
}

}  // namespace athanor
