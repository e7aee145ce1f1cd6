// Which splats touch which tile, front to back.
//
// Splats are radix-sorted by depth, then scattered into the tiles by a counting sort, which keeps
// that order: a list entry costs 4 bytes and needs no tile key. A splat enters a tile only when its
// ellipse alpha >= 1/255 reaches it (Speedy-Splat, Hanson et al. 2024), not merely its box.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "athanor/kernels/splat.h"

namespace athanor {

struct TileGrid {
  int columns, rows;
  int size() const { return columns * rows; }
};

inline TileGrid MakeTileGrid(int width_px, int height_px) {
  return {(width_px + kTileSize - 1) / kTileSize, (height_px + kTileSize - 1) / kTileSize};
}

// Lists of splats per tile. Their memory is kept from call to call.
struct TileBins {
  std::vector<int32_t> offsets;  // [tiles+1] into ids; tiles row by row
  std::vector<int32_t> ids;      // splat numbers, by depth within a tile; ties by number
};

// Throws Error for more than 2^31 - 1 entries.
void BinTilesCpu(const Splat* splats, int64_t n, int width_px, int height_px, TileBins* bins);

// The same lists in device memory. `allocate(context, bytes)` gives device memory that lives until
// the caller frees it; offsets and ids are set to such memory, the number of entries is returned.
int64_t BinTilesCuda(const Splat* splats, int64_t n, int width_px, int height_px,
                     void* (*allocate)(void* context, size_t bytes), void* context, void* stream,
                     int32_t** offsets, int32_t** ids);

}  // namespace athanor
