#include <algorithm>
#include <array>
#include <bit>
#include <limits>
#include <utility>

#include "athanor/base/error.h"
#include "athanor/base/parallel.h"
#include "athanor/kernels/splat_extent.h"
#include "athanor/kernels/tile_binning.h"

namespace athanor {
namespace {

constexpr int kDigitBits = 11;
constexpr int kDigits = 1 << kDigitBits;
constexpr int kPasses = 3;  // 3 * 11 bits cover the 31 bits of a positive float

// Stable radix sort by the upper 32 bits. A pass in which all keys share their digit is skipped.
void SortByUpperHalf(std::vector<uint64_t>* keys) {
  std::vector<uint64_t> swap(keys->size());
  std::array<std::array<uint32_t, kDigits>, kPasses> counts = {};
  for (const uint64_t key : *keys) {
    for (int pass = 0; pass < kPasses; ++pass) {
      ++counts[pass][(key >> (32 + pass * kDigitBits)) & (kDigits - 1)];
    }
  }
  for (int pass = 0; pass < kPasses; ++pass) {
    auto& count = counts[pass];
    if (std::any_of(count.begin(), count.end(), [&](uint32_t c) { return c == keys->size(); })) {
      continue;
    }
    uint32_t sum = 0;
    for (uint32_t& c : count) c = std::exchange(sum, sum + c);
    for (const uint64_t key : *keys) {
      swap[count[(key >> (32 + pass * kDigitBits)) & (kDigits - 1)]++] = key;
    }
    keys->swap(swap);
  }
}

}  // namespace

void BinTilesCpu(const Splat* splats, int64_t n, int width_px, int height_px, TileBins* bins) {
  ATHANOR_CHECK(n <= std::numeric_limits<int32_t>::max(),
                "tile binning: expected at most 2^31 - 1 ", "Gaussians, found ", n);
  const TileGrid grid = MakeTileGrid(width_px, height_px);
  const int tiles = grid.size();

  std::vector<uint64_t> keys;  // depth, splat
  for (int64_t i = 0; i < n; ++i) {
    if (splats[i].radius > 0) {
      const auto depth = std::bit_cast<uint32_t>(splats[i].depth);
      keys.push_back(uint64_t{depth} << 32 | static_cast<uint32_t>(i));
    }
  }
  SortByUpperHalf(&keys);

  // Each thread takes a range of depths, counts its entries per tile, and after a prefix sum over
  // tiles and threads writes them: depth order holds within every tile.
  const int64_t visible = static_cast<int64_t>(keys.size());
  const int parts = std::max<int>(1, std::min<int64_t>(NumThreads(), visible / 4096));
  std::vector<int32_t> all_counts(static_cast<size_t>(parts) * tiles);
  std::vector<std::vector<int32_t>> all_reached(parts);  // tiles of a splat, then ~splat
  ParallelChunks(parts, [&](int64_t part) {
    int32_t* counts = all_counts.data() + part * tiles;
    std::vector<int32_t>& reached = all_reached[part];
    for (int64_t k = visible * part / parts; k < visible * (part + 1) / parts; ++k) {
      const auto id = static_cast<int32_t>(keys[k] & 0xffffffffu);
      ForEachTile(splats[id], width_px, height_px, grid.columns, [&](int tile) {
        ++counts[tile];
        reached.push_back(tile);
      });
      reached.push_back(~id);
    }
  });
  keys = {};
  bins->offsets.resize(tiles + 1);
  int64_t sum = 0;
  for (int tile = 0; tile < tiles; ++tile) {
    bins->offsets[tile] = static_cast<int32_t>(sum);
    for (int part = 0; part < parts; ++part) {
      int32_t& count = all_counts[static_cast<size_t>(part) * tiles + tile];
      count = static_cast<int32_t>(std::exchange(sum, sum + count));
    }
    ATHANOR_CHECK(sum <= std::numeric_limits<int32_t>::max(),
                  "tile binning: more than 2^31 - 1 pairs of a Gaussian and a tile");
  }
  bins->offsets[tiles] = static_cast<int32_t>(sum);
  bins->ids.resize(sum);
  ParallelChunks(parts, [&](int64_t part) {
    int32_t* next = all_counts.data() + part * tiles;
    const int32_t* first = all_reached[part].data();
    const int32_t* end = first + all_reached[part].size();
    for (const int32_t* entry = first; entry != end; ++entry) {
      if (*entry >= 0) continue;
      for (; first != entry; ++first) bins->ids[next[*first]++] = ~*entry;
      ++first;  // past the splat's number
    }
  });
}

}  // namespace athanor
