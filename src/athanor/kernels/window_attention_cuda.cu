// A block has one head of one window in shared memory. The gradient of the bias is summed by blocks
// that each take every so many windows, then over blocks in a fixed order: no sum is atomic.
#include <algorithm>

#include "athanor/kernels/cuda_check.cuh"
#include "athanor/kernels/window_attention.h"

namespace athanor {
namespace {

constexpr int kThreads = 128, kMaxSlots = 64, kMaxChannels = 32, kMaxParts = 64;

// One more than needed: neighbouring rows then begin in different banks.
using Rows = float[kMaxSlots][kMaxChannels + 1];
using Scores = float[kMaxSlots][kMaxSlots + 1];

struct ForwardMemory {
  Rows q, k, v;
  Scores weights;  // [query][key]
};

struct BackwardMemory {
  ForwardMemory forward;
  Rows d_out;
  Scores d_scores;
};

__device__ bool Inside(const WindowRectangle& r, int slot, int window) {
  const int row = slot / window, column = slot % window;
  return row >= r.first_row && row < r.end_row && column >= r.first_column && column < r.end_column;
}

__device__ int64_t PixelOf(const WindowRectangle& r, int slot, const WindowShape& s) {
  return r.corner + slot / s.window * s.columns + slot % s.window;
}

// Rows of the window from map[pixel * stride + c], times `factor`; 0 where it leaves the map.
__device__ void Load(const WindowRectangle& r, const WindowShape& s, const float* map,
                     int64_t stride, float factor, Rows& out) {
  for (int e = threadIdx.x; e < s.window * s.window * s.channels; e += kThreads) {
    const int slot = e / s.channels, c = e % s.channels;
    out[slot][c] =
        Inside(r, slot, s.window) ? map[PixelOf(r, slot, s) * stride + c] * factor : 0.0f;
  }
}

// Loads the operands and leaves the weights of the softmax.
__device__ void Weigh(const WindowForwardArgs& args, const WindowRectangle& queries,
                      const WindowRectangle& keys, int head, ForwardMemory& memory) {
  const WindowShape& s = args.shape;
  const int m = s.window, slots = m * m, side = 2 * m - 1;
  const int64_t width = int64_t{s.heads} * s.channels;
  const auto* kv = static_cast<const float*>(args.keys_values) + head * s.channels;
  Load(queries, s, static_cast<const float*>(args.queries) + head * s.channels, width,
       rsqrtf(static_cast<float>(s.channels)), memory.q);
  Load(keys, s, kv, 2 * width, 1.0f, memory.k);
  Load(keys, s, kv + width, 2 * width, 1.0f, memory.v);
  __syncthreads();
  for (int e = threadIdx.x; e < slots * slots; e += kThreads) {
    const int i = e / slots, j = e % slots;
    const int down = i / m - j / m + m - 1, across = i % m - j % m + m - 1;
    float score = args.bias_table[(head * side + down) * side + across];
    for (int c = 0; c < s.channels; ++c) score += memory.q[i][c] * memory.k[j][c];
    memory.weights[i][j] = score;
  }
  __syncthreads();
  for (int i = threadIdx.x; i < slots; i += kThreads) {
    float top = -INFINITY, sum = 0;
    for (int j = 0; j < slots; ++j) {
      if (Inside(keys, j, m)) top = fmaxf(top, memory.weights[i][j]);
    }
    for (int j = 0; j < slots; ++j) {
      const float e = Inside(keys, j, m) ? expf(memory.weights[i][j] - top) : 0.0f;
      memory.weights[i][j] = e;
      sum += e;
    }
    const float inverse = keys.count() > 0 ? 1.0f / sum : 0.0f;
    for (int j = 0; j < slots; ++j) memory.weights[i][j] *= inverse;
  }
  __syncthreads();
}

// blockIdx: window, head.
__global__ void __launch_bounds__(kThreads) ForwardKernel(WindowForwardArgs args) {
  __shared__ ForwardMemory memory;
  const WindowShape& s = args.shape;
  const int head = static_cast<int>(blockIdx.y), slots = s.window * s.window;
  const WindowRectangle queries = RectangleOf(s, blockIdx.x, 0, 0);
  const WindowRectangle keys = RectangleOf(s, blockIdx.x, s.shift_rows, s.shift_columns);
  Weigh(args, queries, keys, head, memory);
  auto* out = static_cast<float*>(args.out) + head * s.channels;
  for (int e = threadIdx.x; e < slots * s.channels; e += kThreads) {
    const int i = e / s.channels, c = e % s.channels;
    if (!Inside(queries, i, s.window)) continue;
    float sum = 0;
    for (int j = 0; j < slots; ++j) sum += memory.weights[i][j] * memory.v[j][c];
    out[PixelOf(queries, i, s) * s.heads * s.channels + c] = sum;
  }
}

// blockIdx: part, head. d_bias: [parts,heads,slots of queries,slots of keys].
__global__ void __launch_bounds__(kThreads)
    BackwardKernel(WindowBackwardArgs args, int64_t windows, float* d_bias) {
  extern __shared__ float shared[];
  auto& memory = *reinterpret_cast<BackwardMemory*>(shared);
  ForwardMemory& forward = memory.forward;
  const WindowShape& s = args.forward.shape;
  const int head = static_cast<int>(blockIdx.y), slots = s.window * s.window;
  const int64_t width = int64_t{s.heads} * s.channels;
  const float scale = rsqrtf(static_cast<float>(s.channels));
  const auto* d_out = static_cast<const float*>(args.d_out) + head * s.channels;
  auto* d_queries = static_cast<float*>(args.d_queries) + head * s.channels;
  auto* d_keys = static_cast<float*>(args.d_keys_values) + head * s.channels;
  d_bias += (int64_t{blockIdx.x} * s.heads + head) * slots * slots;
  for (int e = threadIdx.x; e < slots * slots; e += kThreads) d_bias[e] = 0;
  for (int64_t w = blockIdx.x; w < windows; w += gridDim.x) {
    const WindowRectangle queries = RectangleOf(s, w, 0, 0);
    const WindowRectangle keys = RectangleOf(s, w, s.shift_rows, s.shift_columns);
    Load(queries, s, d_out, width, 1.0f, memory.d_out);
    Weigh(args.forward, queries, keys, head, forward);
    for (int e = threadIdx.x; e < slots * slots; e += kThreads) {
      const int i = e / slots, j = e % slots;
      float sum = 0;
      for (int c = 0; c < s.channels; ++c) sum += memory.d_out[i][c] * forward.v[j][c];
      memory.d_scores[i][j] = sum;
    }
    __syncthreads();
    for (int i = threadIdx.x; i < slots; i += kThreads) {
      float mean = 0;
      for (int j = 0; j < slots; ++j) mean += forward.weights[i][j] * memory.d_scores[i][j];
      for (int j = 0; j < slots; ++j) {
        memory.d_scores[i][j] = forward.weights[i][j] * (memory.d_scores[i][j] - mean);
      }
    }
    __syncthreads();
    for (int e = threadIdx.x; e < slots * slots; e += kThreads) {
      d_bias[e] += memory.d_scores[e / slots][e % slots];
    }
    for (int e = threadIdx.x; e < slots * s.channels; e += kThreads) {
      const int slot = e / s.channels, c = e % s.channels;
      if (Inside(queries, slot, s.window)) {
        float sum = 0;
        for (int j = 0; j < slots; ++j) sum += memory.d_scores[slot][j] * forward.k[j][c];
        d_queries[PixelOf(queries, slot, s) * width + c] = sum * scale;
      }
      if (Inside(keys, slot, s.window)) {
        float d_k = 0, d_v = 0;
        for (int i = 0; i < slots; ++i) {
          d_k += memory.d_scores[i][slot] * forward.q[i][c];  // the queries are scaled already
          d_v += forward.weights[i][slot] * memory.d_out[i][c];
        }
        float* to = d_keys + PixelOf(keys, slot, s) * 2 * width + c;
        to[0] = d_k, to[width] = d_v;
      }
    }
    __syncthreads();
  }
}

// A thread per value of the table.
__global__ void TableKernel(const float* d_bias, int parts, int heads, int m, float* table) {
  const int side = 2 * m - 1, slots = m * m;
  const int at = static_cast<int>(blockIdx.x * blockDim.x + threadIdx.x);
  if (at >= heads * side * side) return;
  const int head = at / (side * side), down = at / side % side - (m - 1),
            across = at % side - (m - 1);
  float sum = 0;
  for (int part = 0; part < parts; ++part) {
    const float* values = d_bias + (int64_t{part} * heads + head) * slots * slots;
    for (int i = 0; i < slots; ++i) {
      const int row = i / m - down, column = i % m - across;
      if (row < 0 || row >= m || column < 0 || column >= m) continue;
      sum += values[i * slots + row * m + column];
    }
  }
  table[at] = sum;
}

void CheckFits(const WindowForwardArgs& args) {
  const WindowShape& s = args.shape;
  ATHANOR_CHECK(s.window * s.window <= kMaxSlots && s.channels <= kMaxChannels && !args.is_bfloat16,
                "CUDA: window attention: expected float32, at most ", kMaxSlots,
                " pixels in a window and ", kMaxChannels, " channels in a head, found ",
                args.is_bfloat16 ? "bfloat16, " : "float32, ", s.window * s.window, " and ",
                s.channels);
}

}  // namespace

void WindowAttentionForwardCuda(const WindowForwardArgs& args, void* stream) {
  CheckFits(args);
  if (args.shape.windows() == 0) return;
  const dim3 grid(BlockCount(args.shape.windows(), 1), static_cast<unsigned>(args.shape.heads));
  ForwardKernel<<<grid, kThreads, 0, static_cast<cudaStream_t>(stream)>>>(args);
  CheckLaunch("window attention");
}

void WindowAttentionBackwardCuda(const WindowBackwardArgs& args, void* stream) {
  CheckFits(args.forward);
  const WindowShape& shape = args.forward.shape;
  const int slots = shape.window * shape.window, side = 2 * shape.window - 1;
  const auto s = static_cast<cudaStream_t>(stream);
  const auto parts = static_cast<int>(std::min<int64_t>(shape.windows(), kMaxParts));
  const DeviceScratch<float> d_bias(int64_t{parts} * shape.heads * slots * slots, s);
  if (parts > 0) {
    CheckCuda(cudaFuncSetAttribute(BackwardKernel, cudaFuncAttributeMaxDynamicSharedMemorySize,
                                   sizeof(BackwardMemory)),
              "reserve shared memory");
    const dim3 grid(static_cast<unsigned>(parts), static_cast<unsigned>(shape.heads));
    BackwardKernel<<<grid, kThreads, sizeof(BackwardMemory), s>>>(args, shape.windows(),
                                                                  d_bias.data());
    CheckLaunch("gradient of window attention");
  }
  const int values = shape.heads * side * side;
  TableKernel<<<BlockCount(values, kThreads), kThreads, 0, s>>>(d_bias.data(), parts, shape.heads,
                                                                shape.window, args.d_bias_table);
  CheckLaunch("gradient of the window attention's table");
}

}  // namespace athanor
