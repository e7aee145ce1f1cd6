// One block per tile and one thread per pixel. The splats of a tile pass through shared memory in
// batches; channels beyond what registers hold are further blocks, which derive the weights again.
#include <cstdint>

#include "athanor/kernels/cuda_check.cuh"
#include "athanor/kernels/rasterize.h"
#include "athanor/kernels/tile_binning.h"

namespace athanor {
namespace {

constexpr int kPixels = kTileSize * kTileSize;  // threads of a block, splats of a batch
constexpr int kMaxTopK = 16;
constexpr unsigned kWarp = 0xffffffffu;

static_assert(kTileSize == 16, "PixelOfThread lays 8 warps over a tile");
static_assert(sizeof(Splat) == 2 * sizeof(float4), "LoadBatch reads a splat as two float4");

// A splat in shared memory: log2(alpha) = log2_opacity + xx dx^2 + xy dx dy + yy dy^2.
struct __align__(16) BatchSplat {
  float x, y;
  float xx, xy, yy;
  float log2_opacity;
  float depth;
  int id;
};

constexpr float kLog2E = 1.4426950408889634f;
constexpr float kLn2 = 0.6931471805599453f;
constexpr float kLog2MinAlpha = -7.994353436858858f;  // kMinAlpha = 1/255

__device__ void LoadBatch(const Splat* splats, const int32_t* ids, int count, BatchSplat* batch) {
  const int i = threadIdx.x;
  if (i >= count) return;
  const int id = ids[i];
  const auto* halves = reinterpret_cast<const float4*>(splats + id);
  const float4 low = __ldg(halves), high = __ldg(halves + 1);  // x y a b, c opacity depth radius
  batch[i] = {low.x,
              low.y,
              -0.5f * kLog2E * low.z,
              -kLog2E * low.w,
              -0.5f * kLog2E * high.x,
              log2f(high.y),
              high.z,
              id};
}

// Channels [first, first + kStride) of a batch; from `end` on they are 0.
template <int kStride>
__device__ void LoadFeatures(const float* features, int channels, int first, int end,
                             const BatchSplat* batch, int count, float* out) {
  for (int i = threadIdx.x; i < count * kStride; i += kPixels) {
    const int c = first + i % kStride;
    out[i] = c < end ? __ldg(features + int64_t{batch[i / kStride].id} * channels + c) : 0.0f;
  }
}

// The pixel of a thread. A warp takes 8 x 4 pixels: the closer they are, the more often all of them
// agree to skip a splat.
struct Pixel {
  bool inside;
  int64_t index;  // into [H,W]
  float x, y;     // centre
};

__device__ Pixel PixelOfThread(int tile, int width_px, int height_px) {
  const int columns = (width_px + kTileSize - 1) / kTileSize;
  const int warp = threadIdx.x / 32, lane = threadIdx.x % 32;
  const int x = tile % columns * kTileSize + warp % 2 * 8 + lane % 8;
  const int y = tile / columns * kTileSize + warp / 2 * 4 + lane / 8;
  return {x < width_px && y < height_px, int64_t{y} * width_px + x, static_cast<float>(x) + 0.5f,
          static_cast<float>(y) + 0.5f};
}

// Of alpha before it is clipped. Rounding is spelled out, so that forward and backward stop alike.
__device__ float Log2AlphaAt(const BatchSplat& s, float dx, float dy) {
  const float along_y = __fmaf_rn(__fmul_rn(s.yy, dy), dy, s.log2_opacity);
  return __fmaf_rn(dx, __fmaf_rn(s.xx, dx, __fmul_rn(s.xy, dy)), along_y);
}

// 2^x to 2e-7 relative, in one instruction.
__device__ float Exp2(float x) {
  float y;
  asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
  return y;
}

struct WalkEnd {
  float transmittance;
  int walked;  // entries of the list that this pixel looked at
};

// Walks the list of a tile front to back. All threads of the block take part: load(count) is called
// once `batch` is filled, visit(i, weight, before, after) for splat i of the batch where it
// contributes to the thread's pixel, with the transmittance before and after it.
template <typename Load, typename Visit>
__device__ WalkEnd WalkTile(const RasterizeForwardArgs& args, int tile, const Pixel& pixel,
                            BatchSplat* batch, const Load& load, const Visit& visit) {
  const int begin = args.tile_offsets[tile], end = args.tile_offsets[tile + 1];
  WalkEnd state = {1.0f, pixel.inside ? end - begin : 0};
  bool full = !pixel.inside;
  for (int base = begin; base < end; base += kPixels) {
    if (__syncthreads_and(full)) break;
    const int count = min(kPixels, end - base);
    LoadBatch(args.splats, args.tile_ids + base, count, batch);
    __syncthreads();
    load(count);
    for (int i = 0; i < count && !full; ++i) {
      const BatchSplat& s = batch[i];
      const float log2_alpha = Log2AlphaAt(s, pixel.x - s.x, pixel.y - s.y);
      if (!(log2_alpha >= kLog2MinAlpha)) continue;
      const float alpha = fminf(Exp2(log2_alpha), kMaxAlpha);
      const float after = __fmul_rn(state.transmittance, 1.0f - alpha);
      if (after < kMinTransmittance) {
        full = true;
        state.walked = base - begin + i + 1;
        break;
      }
      visit(i, alpha * state.transmittance, state.transmittance, after);
      state.transmittance = after;
    }
  }
  return state;
}

// Image channels [blockIdx.y * kChannels, ...); the first of these blocks also writes the rest.
template <int kChannels>
__global__ void __launch_bounds__(kPixels) ForwardKernel(RasterizeForwardArgs args) {
  constexpr int kQuads = kChannels / 4;
  __shared__ BatchSplat batch[kPixels];
  __shared__ float4 features[kPixels * kQuads];
  __shared__ int block_walked;
  const int tile = blockIdx.x, first = blockIdx.y * kChannels;
  const Pixel pixel = PixelOfThread(tile, args.width_px, args.height_px);
  if (threadIdx.x == 0) block_walked = 0;

  float image[kChannels] = {};
  float depth = 0, median = 0;
  const auto load = [&](int count) {
    LoadFeatures<kChannels>(args.features, args.channels, first, args.channels, batch, count,
                            reinterpret_cast<float*>(features));
    __syncthreads();
  };
  const auto visit = [&](int i, float weight, float before, float after) {
#pragma unroll
    for (int q = 0; q < kQuads; ++q) {
      const float4 f = features[i * kQuads + q];
      image[4 * q] += weight * f.x, image[4 * q + 1] += weight * f.y;
      image[4 * q + 2] += weight * f.z, image[4 * q + 3] += weight * f.w;
    }
    depth += weight * batch[i].depth;
    if (before > 0.5f && after <= 0.5f) median = batch[i].depth;
  };
  const WalkEnd end = WalkTile(args, tile, pixel, batch, load, visit);

  if (pixel.inside) {
    const int64_t plane = int64_t{args.width_px} * args.height_px;
#pragma unroll
    for (int c = 0; c < kChannels; ++c) {
      if (first + c >= args.channels) break;
      const float behind = args.background != nullptr ? args.background[first + c] : 0.0f;
      args.image[(first + c) * plane + pixel.index] = image[c] + end.transmittance * behind;
    }
  }
  if (blockIdx.y != 0) return;
  if (pixel.inside) {
    args.transmittance[pixel.index] = end.transmittance;
    if (args.depth != nullptr) args.depth[pixel.index] = depth;
    if (args.median_depth != nullptr) args.median_depth[pixel.index] = median;
  }
  __syncthreads();
  const int warp_walked = __reduce_max_sync(kWarp, end.walked);
  if (threadIdx.x % 32 == 0) atomicMax(&block_walked, warp_walked);
  __syncthreads();
  if (threadIdx.x == 0) args.tile_walked[tile] = block_walked;
}

// The kTop largest weights, of which args.top_k <= kTop are written.
template <int kTop>
__global__ void __launch_bounds__(kPixels) TopKernel(RasterizeForwardArgs args) {
  __shared__ BatchSplat batch[kPixels];
  const Pixel pixel = PixelOfThread(blockIdx.x, args.width_px, args.height_px);
  float weights[kTop];
  int ids[kTop];
#pragma unroll
  for (int k = 0; k < kTop; ++k) weights[k] = 0, ids[k] = -1;
  // Insertion without indexing by a variable, so that the lists stay in registers.
  const auto visit = [&](int i, float weight, float, float) {
    if (weight <= weights[kTop - 1]) return;
    int id = batch[i].id;
#pragma unroll
    for (int k = 0; k < kTop; ++k) {
      const bool larger = weight > weights[k];
      const float other_weight = weights[k];
      const int other_id = ids[k];
      weights[k] = larger ? weight : other_weight, ids[k] = larger ? id : other_id;
      weight = larger ? other_weight : weight, id = larger ? other_id : id;
    }
  };
  WalkTile(
      args, blockIdx.x, pixel, batch, [](int) {}, visit);
  if (!pixel.inside) return;
#pragma unroll
  for (int k = 0; k < kTop; ++k) {
    if (k >= args.top_k) break;
    args.top_weights[pixel.index * args.top_k + k] = weights[k];
    args.top_ids[pixel.index * args.top_k + k] = ids[k];
  }
}

// Sums each of kCount values over the lanes that differ in the bits of kBit, kBit / 2, ..., 1, with
// 2 kBit >= kCount, both powers of 2. In every step a lane hands half of its values over and takes
// over the other half: a shuffle per value, where separate sums take five. Over a whole warp
// (kBit = 16) a lane gets the sum of value lane / (32 / kCount).
template <int kCount, int kBit = 16>
__device__ float SumSlots(const float (&values)[kCount]) {
  if constexpr (kCount == 1) {
    float sum = values[0];
#pragma unroll
    for (int bit = kBit; bit > 0; bit /= 2) sum += __shfl_xor_sync(kWarp, sum, bit);
    return sum;
  } else {
    const bool upper = (threadIdx.x & kBit) != 0;
    float half[kCount / 2];
#pragma unroll
    for (int i = 0; i < kCount / 2; ++i) {
      const float keep = upper ? values[kCount / 2 + i] : values[i];
      const float give = upper ? values[i] : values[kCount / 2 + i];
      half[i] = keep + __shfl_xor_sync(kWarp, give, kBit);
    }
    return SumSlots<kCount / 2, kBit / 2>(half);
  }
}

constexpr int kSplatSlots = sizeof(SplatGradient) / sizeof(float);
static_assert(kSplatSlots == 9, "the slots below are the fields of SplatGradient");

// Gradients of splats, and of feature channels [blockIdx.y * kChannels, ...). A loss is linear in
// the channels, so each block adds what its own channels say about the splats. Only the absolute
// sums are not linear: for them the first block looks at all channels.
//
// Sums go through float atomics: unlike on the CPU, the last bits differ from run to run.
template <int kChannels>
__global__ void __launch_bounds__(kPixels) BackwardKernel(RasterizeBackwardArgs args) {
  constexpr int kSlots = kSplatSlots + kChannels <= 16 ? 16 : 32;
  constexpr int kQuads = (kChannels + 3) / 4;
  static_assert(kSplatSlots + kChannels <= kSlots);
  __shared__ BatchSplat batch[kPixels];
  __shared__ float4 features[kPixels * kQuads];
  const int tile = blockIdx.x, first = blockIdx.y * kChannels;
  const Pixel pixel = PixelOfThread(tile, args.width_px, args.height_px);
  const int64_t plane = int64_t{args.width_px} * args.height_px;
  const bool first_block = blockIdx.y == 0;
  const bool all_channels_at_once =  // the smaller kernel has no further blocks
      kSlots == 32 && args.absolute && first_block && args.channels > kChannels;
  const int own_end = min(first + kChannels, args.channels);
  const int end_channel = all_channels_at_once ? args.channels : own_end;

  // `remaining` is the loss gradient times what lies behind the splat that the walk is at.
  float d_image[4 * kQuads] = {};
  float d_depth = 0, remaining = 0;
  if (pixel.inside) {
#pragma unroll
    for (int c = 0; c < kChannels; ++c) {
      if (first + c < args.channels) d_image[c] = args.d_image[(first + c) * plane + pixel.index];
    }
    for (int c = first; c < end_channel; ++c) {
      const int64_t at = c * plane + pixel.index;
      remaining += args.d_image[at] * args.image[at];
    }
    if (first_block && args.d_depth != nullptr) {
      d_depth = args.d_depth[pixel.index];
      remaining += d_depth * args.depth[pixel.index];
    }
    if (first_block && args.d_transmittance != nullptr) {
      remaining += args.d_transmittance[pixel.index] * args.transmittance[pixel.index];
    }
  }

  // Where this lane adds the slot that SumSlots gives it: to target + id * stride.
  const int slot = threadIdx.x % 32 / (32 / kSlots);
  const int channel = first + slot - kSplatSlots;
  float* target = nullptr;
  int64_t stride = kSplatSlots;
  if (threadIdx.x % (32 / kSlots) != 0) {
    target = nullptr;  // a second lane with the same slot
  } else if (slot < kSplatSlots) {
    if (slot < 7 ? first_block || !args.absolute : first_block && args.absolute)
      target = reinterpret_cast<float*>(args.d_splats) + slot;
  } else if (channel < args.channels) {
    target = args.d_features + channel;
    stride = args.channels;
  }

  const int begin = args.tile_offsets[tile], end = begin + args.tile_walked[tile];
  float transmittance = 1;
  bool full = !pixel.inside;
  bool warp_full = __all_sync(kWarp, full);
  for (int base = begin; base < end; base += kPixels) {
    if (__syncthreads_and(full)) break;
    const int count = min(kPixels, end - base);
    LoadBatch(args.splats, args.tile_ids + base, count, batch);
    __syncthreads();
    LoadFeatures<4 * kQuads>(args.features, args.channels, first, own_end, batch, count,
                             reinterpret_cast<float*>(features));
    __syncthreads();
    for (int i = 0; i < count && !warp_full; ++i) {
      const BatchSplat& s = batch[i];
      const float dx = pixel.x - s.x, dy = pixel.y - s.y;
      const float log2_alpha = Log2AlphaAt(s, dx, dy);
      bool contributes = !full && log2_alpha >= kLog2MinAlpha;
      if (!__any_sync(kWarp, contributes)) continue;
      const float unclipped = Exp2(log2_alpha);
      const float alpha = fminf(unclipped, kMaxAlpha);
      const float after = __fmul_rn(transmittance, 1.0f - alpha);
      if (contributes && after < kMinTransmittance) full = true, contributes = false;
      if (!__any_sync(kWarp, contributes)) {
        warp_full = __all_sync(kWarp, full);
        continue;
      }

      float slots[kSlots] = {};
      if (contributes) {
        const float weight = alpha * transmittance;
        float value = d_depth * s.depth;  // the loss gradient times what the splat shows
#pragma unroll
        for (int q = 0; q < kQuads; ++q) {
          const float4 f = features[i * kQuads + q];
          value += d_image[4 * q] * f.x + d_image[4 * q + 1] * f.y + d_image[4 * q + 2] * f.z +
                   d_image[4 * q + 3] * f.w;
        }
        if (all_channels_at_once) {
          for (int c = own_end; c < end_channel; ++c) {
            value += args.d_image[c * plane + pixel.index] *
                     args.features[int64_t{s.id} * args.channels + c];
          }
        }
        remaining -= weight * value;
        const float d_alpha = transmittance * value - remaining / (1.0f - alpha);
        if (unclipped < kMaxAlpha) {
          // alpha = opacity exp(-sigma), sigma = (a dx^2 + c dy^2) / 2 + b dx dy
          const float d_sigma = -alpha * d_alpha;
          slots[0] = kLn2 * d_sigma * (2 * s.xx * dx + s.xy * dy);
          slots[1] = kLn2 * d_sigma * (s.xy * dx + 2 * s.yy * dy);
          slots[2] = 0.5f * d_sigma * dx * dx;
          slots[3] = d_sigma * dx * dy;
          slots[4] = 0.5f * d_sigma * dy * dy;
          slots[5] = -d_sigma * Exp2(-s.log2_opacity);
          slots[7] = fabsf(slots[0]);
          slots[8] = fabsf(slots[1]);
        }
        slots[6] = weight * d_depth;
#pragma unroll
        for (int c = 0; c < kChannels; ++c) slots[kSplatSlots + c] = weight * d_image[c];
        transmittance = after;
      }
      const float sum = SumSlots(slots);
      if (target != nullptr && sum != 0) atomicAdd(target + int64_t{s.id} * stride, sum);
    }
  }
}

void CheckSplats(const Splat* splats) {
  ATHANOR_CHECK(reinterpret_cast<uintptr_t>(splats) % sizeof(float4) == 0,
                "rasterize: expected splats at a multiple of 16 bytes, found ",
                static_cast<const void*>(splats));
}

template <int kChannels>
void LaunchForward(const RasterizeForwardArgs& args, int tiles, cudaStream_t stream) {
  const int chunks = std::max(1, (args.channels + kChannels - 1) / kChannels);
  ForwardKernel<kChannels><<<dim3(tiles, chunks), kPixels, 0, stream>>>(args);
  CheckLaunch("rasterize forward");
}

template <int kChannels>
void LaunchBackward(const RasterizeBackwardArgs& args, int tiles, cudaStream_t stream) {
  const int chunks = std::max(1, (args.channels + kChannels - 1) / kChannels);
  BackwardKernel<kChannels><<<dim3(tiles, chunks), kPixels, 0, stream>>>(args);
  CheckLaunch("rasterize backward");
}

}  // namespace

void RasterizeForwardCuda(const RasterizeForwardArgs& args, void* stream) {
  ATHANOR_CHECK(args.top_k >= 0 && args.top_k <= kMaxTopK, "rasterize: expected top_k in 0..",
                kMaxTopK, ", found ", args.top_k);
  CheckSplats(args.splats);
  const int tiles = MakeTileGrid(args.width_px, args.height_px).size();
  if (tiles == 0) return;
  const auto s = static_cast<cudaStream_t>(stream);
  if (args.channels <= 4) {
    LaunchForward<4>(args, tiles, s);
  } else if (args.channels <= 16) {
    LaunchForward<16>(args, tiles, s);
  } else {
    LaunchForward<32>(args, tiles, s);
  }
  if (args.top_k == 0) return;
  if (args.top_k <= 4) {
    TopKernel<4><<<tiles, kPixels, 0, s>>>(args);
  } else {
    TopKernel<kMaxTopK><<<tiles, kPixels, 0, s>>>(args);
  }
  CheckLaunch("rasterize the largest weights");
}

void RasterizeBackwardCuda(const RasterizeBackwardArgs& args, void* stream) {
  CheckSplats(args.splats);
  const int tiles = MakeTileGrid(args.width_px, args.height_px).size();
  const auto s = static_cast<cudaStream_t>(stream);
  CheckCuda(cudaMemsetAsync(args.d_splats, 0, args.n * sizeof(SplatGradient), s),
            "clear the gradients of splats");
  CheckCuda(cudaMemsetAsync(args.d_features, 0, args.n * args.channels * sizeof(float), s),
            "clear the gradients of features");
  if (tiles == 0 || args.n == 0) return;
  if (args.channels <= 4) {
    LaunchBackward<4>(args, tiles, s);
  } else {
    LaunchBackward<23>(args, tiles, s);  // with the splat's own 9 these fill 32 slots
  }
}

}  // namespace athanor
