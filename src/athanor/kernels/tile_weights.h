// The weights of one tile on their way from pixels to cells: what lift_tiles_cpu.cc does that needs
// no vectors.
#pragma once

#include <algorithm>
#include <bit>
#include <cstdint>
#include <vector>

#include "athanor/base/aligned.h"
#include "athanor/kernels/lift.h"

namespace athanor {

inline constexpr int kTilePixelCount = kTileSize * kTileSize;

// Weights of the cells 2 pair and 2 pair + 1 of a tile, as two bfloat16, the first in the low half.
struct PairWeight {
  int32_t pair;
  uint32_t weights;
};

// The weights of one tile: for each of its splats a run of (cell, weight).
struct TileWeights {
  std::vector<int32_t> cells;   // of the view, in order of first use; the numbers below index them
  std::vector<int32_t> splats;  // those with a weight in some pixel
  std::vector<int32_t> ends;    // of their runs
  std::vector<float> sums, maxima, centers;  // per splat, see LiftTotals
  AlignedVector<int32_t> places;             // into cells
  AlignedVector<float> weights;
  // The same runs by pairs of cells: PairRuns.
  AlignedVector<PairWeight> pairs;
  std::vector<int32_t> pair_ends;

  void Clear() {
    pairs.clear(), pair_ends.clear();
    cells.clear(), splats.clear(), ends.clear();
    sums.clear(), maxima.clear(), centers.clear();
  }
};

// Numbers the cells of a tile's pixels from 0. places: [kTilePixelCount], -1 = says nothing.
inline void NumberCells(const LiftView& view, int tile_x, int tile_y, int columns, int rows,
                        std::vector<int32_t>* cells, int32_t* places) {
  constexpr int kSlots = 4 * kTilePixelCount;
  int16_t slots[kSlots];
  std::fill_n(slots, kSlots, int16_t{-1});
  std::fill_n(places, kTilePixelCount, -1);
  for (int y = 0; y < rows; ++y) {
    const int32_t* row = view.cells + int64_t{tile_y + y} * view.width_px + tile_x;
    for (int x = 0; x < columns; ++x) {
      const int32_t cell = row[x];
      if (cell < 0) continue;
      auto slot = (static_cast<uint32_t>(cell) * 2654435761u) >> 22;
      static_assert(kSlots == 1 << 10);
      while (slots[slot] >= 0 && (*cells)[slots[slot]] != cell) slot = (slot + 1) % kSlots;
      if (slots[slot] < 0) {
        slots[slot] = static_cast<int16_t>(cells->size());
        cells->push_back(cell);
      }
      places[y * kTileSize + x] = slots[slot];
    }
  }
}

// What a thread keeps from tile to tile, beside what vectors need.
struct MergeScratch {
  std::vector<float> sums = std::vector<float>(kTilePixelCount, 0.0f);
  std::vector<int32_t> touched;
  std::vector<int32_t> top_splats;  // [pixels,k] numbers of splats in the tile's list
  std::vector<float> top_weights;
};

// Keeps in each pixel the k largest weights; an earlier splat wins a tie. Places are pixels.
inline void KeepTop(int k, TileWeights* tile, MergeScratch* scratch) {
  scratch->top_weights.assign(static_cast<size_t>(kTilePixelCount) * k, 0.0f);
  scratch->top_splats.assign(static_cast<size_t>(kTilePixelCount) * k, -1);
  int32_t e = 0;
  for (int32_t s = 0; s < static_cast<int32_t>(tile->splats.size()); ++s) {
    for (; e < tile->ends[s]; ++e) {
      float* weights = scratch->top_weights.data() + static_cast<size_t>(tile->places[e]) * k;
      int32_t* splats = scratch->top_splats.data() + static_cast<size_t>(tile->places[e]) * k;
      if (!(tile->weights[e] > weights[k - 1])) continue;
      int at = k - 1;
      for (; at > 0 && tile->weights[e] > weights[at - 1]; --at) {
        weights[at] = weights[at - 1];
        splats[at] = splats[at - 1];
      }
      weights[at] = tile->weights[e];
      splats[at] = s;
    }
  }
  int32_t kept = 0;
  e = 0;
  for (int32_t s = 0; s < static_cast<int32_t>(tile->splats.size()); ++s) {
    for (const int32_t end = tile->ends[s]; e < end; ++e) {
      const int32_t* splats = scratch->top_splats.data() + static_cast<size_t>(tile->places[e]) * k;
      if (std::find(splats, splats + k, s) == splats + k) continue;
      tile->places[kept] = tile->places[e];
      tile->weights[kept++] = tile->weights[e];
    }
    tile->ends[s] = kept;
  }
}

// Drops the splats that have no row.
inline void DropSplats(const int32_t* rows, TileWeights* tile) {
  size_t kept_splats = 0;
  int32_t kept = 0, e = 0;
  for (size_t s = 0; s < tile->splats.size(); ++s) {
    const int32_t end = tile->ends[s];
    if (rows[tile->splats[s]] < 0) {
      e = end;
      continue;
    }
    for (; e < end; ++e) {
      tile->places[kept] = tile->places[e];
      tile->weights[kept++] = tile->weights[e];
    }
    tile->splats[kept_splats] = tile->splats[s];
    tile->maxima[kept_splats] = tile->maxima[s];
    if (!tile->centers.empty()) tile->centers[kept_splats] = tile->centers[s];
    tile->ends[kept_splats++] = kept;
  }
  tile->splats.resize(kept_splats);
  tile->ends.resize(kept_splats);
  tile->maxima.resize(kept_splats);
  if (!tile->centers.empty()) tile->centers.resize(kept_splats);
}

// Turns pixels into cells and adds up the weights of a splat in the same cell.
inline void MergeCells(const int32_t* places, TileWeights* tile, MergeScratch* scratch) {
  int32_t kept = 0, e = 0;
  float* sums = scratch->sums.data();
  for (size_t s = 0; s < tile->splats.size(); ++s) {
    scratch->touched.clear();
    for (const int32_t end = tile->ends[s]; e < end; ++e) {
      const int32_t place = places[tile->places[e]];
      if (place < 0) continue;
      if (sums[place] == 0) scratch->touched.push_back(place);
      sums[place] += tile->weights[e];
    }
    for (const int32_t place : scratch->touched) {
      tile->places[kept] = place;
      tile->weights[kept++] = sums[place];
      sums[place] = 0;
    }
    tile->ends[s] = kept;
  }
}

// Weights per pixel that the splat covers: LiftView::per_footprint.
inline void ScaleByFootprint(const Splat* splats, TileWeights* tile) {
  int32_t e = 0;
  for (size_t s = 0; s < tile->splats.size(); ++s) {
    const float scale = PerPixelCovered(splats[tile->splats[s]]);
    for (; e < tile->ends[s]; ++e) tile->weights[e] *= scale;
  }
}

// The sum of each run, once runs are final.
inline void SumRuns(TileWeights* tile) {
  int32_t e = 0;
  for (const int32_t end : tile->ends) {
    float sum = 0;
    for (; e < end; ++e) sum += tile->weights[e];
    tile->sums.push_back(sum);
  }
}

inline uint32_t RoundToBfloat16(float value) {
  const auto bits = std::bit_cast<uint32_t>(value);
  return (bits + 0x7fff + (bits >> 16 & 1)) >> 16;
}

// Puts neighbours of a run together where they are a pair; a pair may come more than once. A run
// holds each cell once.
inline void PairRuns(TileWeights* tile) {
  tile->pairs.reserve(tile->ends.empty() ? 0 : tile->ends.back());
  int32_t e = 0;
  for (const int32_t end : tile->ends) {
    const size_t first = tile->pairs.size();
    for (; e < end; ++e) {
      const int32_t place = tile->places[e];
      const uint32_t weight = RoundToBfloat16(tile->weights[e]) << (place % 2 * 16);
      if (tile->pairs.size() > first && tile->pairs.back().pair == place / 2) {
        tile->pairs.back().weights |= weight;
      } else {
        tile->pairs.push_back({place / 2, weight});
      }
    }
    tile->pair_ends.push_back(static_cast<int32_t>(tile->pairs.size()));
  }
}

}  // namespace athanor
