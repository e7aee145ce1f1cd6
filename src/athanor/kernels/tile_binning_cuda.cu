// Splats are sorted by depth, emitted in that order, then sorted by tile alone: a stable sort keeps
// the depths in order, and its keys have only as many bits as tiles have numbers.
#include <bit>
#include <cub/device/device_radix_sort.cuh>
#include <cub/device/device_scan.cuh>
#include <limits>

#include "athanor/kernels/cuda_check.cuh"
#include "athanor/kernels/splat_extent.h"
#include "athanor/kernels/tile_binning.h"

namespace athanor {
namespace {

constexpr int kThreads = 256;
constexpr unsigned kWarp = 0xffffffffu;
constexpr int kRowsAlone = 4;  // a splat over more rows of tiles is shared out over its warp

__global__ void __launch_bounds__(kThreads)
    DepthKeysKernel(const Splat* splats, int64_t n, uint32_t* keys, int32_t* ids) {
  const int64_t i = int64_t{blockIdx.x} * kThreads + threadIdx.x;
  if (i >= n) return;
  // Bits of positive floats are in the order of their values. Last come those not visible.
  keys[i] = splats[i].radius > 0 ? __float_as_uint(splats[i].depth) : 0xffffffffu;
  ids[i] = static_cast<int32_t>(i);
}

struct TileRow {
  int first, count;
};

__device__ TileRow TilesInRow(const Splat& s, const SplatEllipse& e, int row, int width_px,
                              int tile_columns) {
  const float y0 = static_cast<float>(row * kTileSize) + 0.5f;
  const PixelRange columns =
      ColumnsInBand(s, e, y0, y0 + static_cast<float>(kTileSize - 1), width_px);
  if (columns.begin >= columns.end) return {0, 0};
  const int first = columns.begin / kTileSize;
  return {row * tile_columns + first, (columns.end - 1) / kTileSize + 1 - first};
}

__device__ Splat ShuffleSplat(const Splat& s, int lane) {
  return {__shfl_sync(kWarp, s.x, lane),     __shfl_sync(kWarp, s.y, lane),
          __shfl_sync(kWarp, s.a, lane),     __shfl_sync(kWarp, s.b, lane),
          __shfl_sync(kWarp, s.c, lane),     __shfl_sync(kWarp, s.opacity, lane),
          __shfl_sync(kWarp, s.depth, lane), __shfl_sync(kWarp, s.radius, lane)};
}

__device__ int SumOfLanesBefore(int value) {
  const int lane = threadIdx.x & 31;
  int sum = value;
  for (int step = 1; step < 32; step *= 2) {
    const int other = __shfl_up_sync(kWarp, sum, step);
    if (lane >= step) sum += other;
  }
  return sum - value;
}

struct EmitArgs {
  const Splat* splats;
  const int32_t* order;  // [n] splat numbers by depth
  int64_t n;
  int width_px, height_px, tile_columns;
  int64_t* begins;  // [n+1] counting: out, entries of each splat; writing: where they begin
  uint32_t* tiles;  // of the entries, out; null when counting
  int32_t* ids;
};

__device__ void WriteRow(const EmitArgs& args, const TileRow& row, int32_t id, int64_t at) {
  for (int i = 0; i < row.count; ++i) {
    args.tiles[at + i] = static_cast<uint32_t>(row.first + i);
    args.ids[at + i] = id;
  }
}

// Counts the tiles of each splat, or writes the entries when there is memory for them. One kernel,
// not two: both must round alike, or entries would not fit their places.
__global__ void __launch_bounds__(kThreads) EmitKernel(EmitArgs args) {
  const bool write = args.tiles != nullptr;
  const int64_t i = int64_t{blockIdx.x} * kThreads + threadIdx.x;
  const int lane = threadIdx.x & 31;
  Splat splat = {};
  SplatEllipse ellipse = {};
  int32_t id = 0;
  int first_row = 0, rows = 0;
  if (i < args.n) {
    id = args.order[i];
    splat = args.splats[id];
    if (splat.radius > 0) {
      ellipse = MakeSplatEllipse(splat);
      constexpr float kMargin = 1e-2f;
      const PixelRange range = PixelsBetween(splat.y - ellipse.half_y - kMargin,
                                             splat.y + ellipse.half_y + kMargin, args.height_px);
      first_row = range.begin / kTileSize;
      rows = range.begin < range.end ? (range.end - 1) / kTileSize + 1 - first_row : 0;
    }
  }
  const int64_t at = write && i < args.n ? args.begins[i] : 0;
  int64_t total = 0;
  if (rows <= kRowsAlone) {
    for (int row = first_row; row < first_row + rows; ++row) {
      const TileRow tiles = TilesInRow(splat, ellipse, row, args.width_px, args.tile_columns);
      if (write) WriteRow(args, tiles, id, at + total);
      total += tiles.count;
    }
  }
  for (unsigned large = __ballot_sync(kWarp, rows > kRowsAlone); large != 0; large &= large - 1) {
    const int owner = __ffs(static_cast<int>(large)) - 1;
    const Splat shared_splat = ShuffleSplat(splat, owner);
    const SplatEllipse shared_ellipse = MakeSplatEllipse(shared_splat);
    const int32_t shared_id = __shfl_sync(kWarp, id, owner);
    const int begin_row = __shfl_sync(kWarp, first_row, owner);
    const int end_row = begin_row + __shfl_sync(kWarp, rows, owner);
    const int64_t begin = __shfl_sync(kWarp, at, owner);
    int64_t sum = 0;
    for (int base = begin_row; base < end_row; base += 32) {
      TileRow tiles = {0, 0};
      if (base + lane < end_row) {
        tiles =
            TilesInRow(shared_splat, shared_ellipse, base + lane, args.width_px, args.tile_columns);
      }
      if (write) WriteRow(args, tiles, shared_id, begin + sum + SumOfLanesBefore(tiles.count));
      sum += __reduce_add_sync(kWarp, tiles.count);
    }
    if (lane == owner) total = sum;
  }
  if (!write && i < args.n) args.begins[i] = total;
}

// offsets[t] = first entry whose tile is at least t.
__global__ void __launch_bounds__(kThreads)
    OffsetsKernel(const uint32_t* tiles, int count, int tile_count, int32_t* offsets) {
  const int64_t i = int64_t{blockIdx.x} * kThreads + threadIdx.x;
  if (i >= count) return;
  const int here = static_cast<int>(tiles[i]);
  const int before = i == 0 ? -1 : static_cast<int>(tiles[i - 1]);
  for (int tile = before + 1; tile <= here; ++tile) offsets[tile] = static_cast<int32_t>(i);
  if (i == count - 1) {
    for (int tile = here + 1; tile <= tile_count; ++tile) offsets[tile] = count;
  }
}

// Stable.
void SortPairs(const uint32_t* keys_in, uint32_t* keys_out, const int32_t* values_in,
               int32_t* values_out, int64_t count, int bits, cudaStream_t stream) {
  size_t bytes = 0;
  CheckCuda(cub::DeviceRadixSort::SortPairs(nullptr, bytes, keys_in, keys_out, values_in,
                                            values_out, count, 0, bits, stream),
            "plan a radix sort");
  DeviceScratch<char> scratch(static_cast<int64_t>(bytes), stream);
  CheckCuda(cub::DeviceRadixSort::SortPairs(scratch.data(), bytes, keys_in, keys_out, values_in,
                                            values_out, count, 0, bits, stream),
            "radix sort");
}

void ExclusiveSumInPlace(int64_t* values, int64_t count, cudaStream_t stream) {
  size_t bytes = 0;
  CheckCuda(cub::DeviceScan::ExclusiveSum(nullptr, bytes, values, values, count, stream),
            "plan a prefix sum");
  DeviceScratch<char> scratch(static_cast<int64_t>(bytes), stream);
  CheckCuda(cub::DeviceScan::ExclusiveSum(scratch.data(), bytes, values, values, count, stream),
            "prefix sum");
}

}  // namespace

int64_t BinTilesCuda(const Splat* splats, int64_t n, int width_px, int height_px,
                     void* (*allocate)(void* context, size_t bytes), void* context, void* stream,
                     int32_t** offsets, int32_t** ids) {
  ATHANOR_CHECK(n <= std::numeric_limits<int32_t>::max(),
                "tile binning: expected at most 2^31 - 1 ", "Gaussians, found ", n);
  const TileGrid grid = MakeTileGrid(width_px, height_px);
  const auto s = static_cast<cudaStream_t>(stream);
  *offsets = static_cast<int32_t*>(allocate(context, (grid.size() + size_t{1}) * sizeof(int32_t)));

  int64_t total = 0;
  DeviceScratch<int32_t> order(n, s);
  DeviceScratch<int64_t> begins(n + 1, s);
  EmitArgs emit = {splats,       order.data(),  n,       width_px, height_px,
                   grid.columns, begins.data(), nullptr, nullptr};
  const unsigned blocks = BlockCount(n, kThreads);
  if (n > 0) {
    DeviceScratch<uint32_t> keys(2 * n, s);
    DeviceScratch<int32_t> numbers(n, s);
    DepthKeysKernel<<<blocks, kThreads, 0, s>>>(splats, n, keys.data(), numbers.data());
    CheckLaunch("depth keys");
    SortPairs(keys.data(), keys.data() + n, numbers.data(), order.data(), n, 32, s);

    CheckCuda(cudaMemsetAsync(begins.data() + n, 0, sizeof(int64_t), s), "clear the last count");
    EmitKernel<<<blocks, kThreads, 0, s>>>(emit);
    CheckLaunch("count tiles");
    ExclusiveSumInPlace(begins.data(), n + 1, s);
    CheckCuda(cudaMemcpyAsync(&total, begins.data() + n, sizeof(total), cudaMemcpyDeviceToHost, s),
              "read the number of entries");
    CheckCuda(cudaStreamSynchronize(s), "count tiles");
    ATHANOR_CHECK(total <= std::numeric_limits<int32_t>::max(),
                  "tile binning: expected at most 2^31 - 1 pairs of a Gaussian and a tile, found ",
                  total);
  }
  *ids = static_cast<int32_t*>(allocate(context, std::max<int64_t>(total, 1) * sizeof(int32_t)));
  if (total == 0) {
    CheckCuda(cudaMemsetAsync(*offsets, 0, (grid.size() + size_t{1}) * sizeof(int32_t), s),
              "clear the offsets");
    return 0;
  }

  DeviceScratch<uint32_t> tiles(2 * total, s);
  DeviceScratch<int32_t> unsorted_ids(total, s);
  emit.tiles = tiles.data();
  emit.ids = unsorted_ids.data();
  EmitKernel<<<blocks, kThreads, 0, s>>>(emit);
  CheckLaunch("write tile entries");
  const int bits = std::max<int>(1, std::bit_width(static_cast<unsigned>(grid.size() - 1)));
  SortPairs(tiles.data(), tiles.data() + total, unsorted_ids.data(), *ids, total, bits, s);
  OffsetsKernel<<<BlockCount(total, kThreads), kThreads, 0, s>>>(
      tiles.data() + total, static_cast<int>(total), grid.size(), *offsets);
  CheckLaunch("tile offsets");
  return total;
}

}  // namespace athanor
