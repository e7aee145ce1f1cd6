// Weights first, a band of tiles at a time, by tiles; then sums, by channels: each thread owns some
// channels of all splats, so nothing is atomic and the order of additions is fixed. A band is small
// enough for its weights and features to stay in cache in between.
#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdint>
#include <limits>
#include <vector>

#include "athanor/base/aligned.h"
#include "athanor/base/parallel.h"
#include "athanor/kernels/lift.h"
#include "athanor/kernels/lift_bfloat16.h"
#include "athanor/kernels/tile_binning.h"
#include "athanor/kernels/tile_weights.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "athanor/kernels/lift_tiles_cpu.cc"
// clang-format off
#include <hwy/foreach_target.h>
// clang-format on
#include <hwy/cache_control.h>

#include "athanor/kernels/rasterize_cpu-inl.h"

HWY_BEFORE_NAMESPACE();
namespace athanor {
namespace HWY_NAMESPACE {

using Wide = hn::ScalableTag<float>;
using WideVector = hn::Vec<Wide>;
constexpr size_t kAhead = 2;  // splats whose sums are fetched before they are needed

int SumLanes() { return static_cast<int>(hn::Lanes(Wide())); }

constexpr int kFewCells = 64;  // bits of a mask

struct WeighScratch {
  BatchWeights weights;
  SplatBatch batch;
  TileTransmittance transmittance;
  MergeScratch merge;
  alignas(64) int32_t places[kTilePixels];  // cell of the tile per pixel
  alignas(64) int32_t pixels[kTilePixels];
  // Where a tile has few cells: those of each segment, and whether one holds all of its pixels.
  int cell_count[kSegments];
  bool one_cell[kSegments];
  int32_t cells[kSegments][kLanes];
  alignas(64) float sums[kFewCells][kLanes];
};

// Largest weight of splat i in the tile's pixels within 1 px of the pixel that holds its centre.
inline float CenterWeight(const BatchWeights& weights, int i, const Splat& splat,
                          const TilePlace& place) {
  const float column = std::floor(splat.x) - static_cast<float>(place.x);
  const float row = std::floor(splat.y) - static_cast<float>(place.y);
  float largest = 0;
  if (!(column >= -1 && column <= kTileSize && row >= -1 && row <= kTileSize)) return largest;
  for (int y = std::max(0, int(row) - 1); y <= std::min(place.rows - 1, int(row) + 1); ++y) {
    for (int x = std::max(0, int(column) - 1); x <= std::min(place.columns - 1, int(column) + 1);
         ++x) {
      const int pixel = y * kTileSize + x;
      if ((weights.active[pixel / kLanes] >> i & 1) != 0) {
        largest = std::max(largest, weights.value[i][pixel]);
      }
    }
  }
  return largest;
}

// Appends the run of splat i of the batch; returns the largest weight, of all pixels.
HWY_ATTR float AppendRun(const BatchWeights& weights, int i, const int32_t* places, float least,
                         TileWeights* tile, int32_t* entries) {
  const D d;
  const V enough = hn::Set(d, std::max(least, std::numeric_limits<float>::denorm_min()));
  const hn::RebindToSigned<D> di;
  V largest = hn::Zero(d);
  // Room for all pixels, and for what a vector stores beyond what it compresses.
  const size_t room = static_cast<size_t>(*entries) + kTilePixels + kTileSize;
  if (tile->weights.size() < room) {
    tile->weights.resize(2 * room);
    tile->places.resize(2 * room);
  }
  for (int segment = 0; segment < kSegments; ++segment) {
    if ((weights.active[segment] >> i & 1) == 0) continue;
    const V weight = hn::Load(d, weights.value[i] + segment * kLanes);
    const auto place = hn::Load(di, places + segment * kLanes);
    largest = hn::Max(largest, weight);
    const M speaks =
        hn::And(hn::Ge(weight, enough), hn::RebindMask(d, hn::Gt(place, hn::Set(di, -1))));
    // Not CompressStore: on some processors, storing under a mask costs a hundred cycles.
    hn::StoreU(hn::Compress(weight, speaks), d, tile->weights.data() + *entries);
    hn::StoreU(hn::Compress(place, hn::RebindMask(di, speaks)), di, tile->places.data() + *entries);
    *entries += static_cast<int32_t>(hn::CountTrue(d, speaks));
  }
  return hn::GetLane(hn::MaxOfLanes(d, largest));
}

void ListCells(WeighScratch* scratch) {
  for (int segment = 0; segment < kSegments; ++segment) {
    const int32_t* places = scratch->places + segment * kLanes;
    int32_t* cells = scratch->cells[segment];
    int count = 0;
    for (int lane = 0; lane < kLanes; ++lane) {
      if (places[lane] < 0 || std::find(cells, cells + count, places[lane]) != cells + count) {
        continue;
      }
      cells[count++] = places[lane];
    }
    scratch->cell_count[segment] = count;
    scratch->one_cell[segment] =
        std::count(places, places + kLanes, places[0]) == kLanes && count == 1;
  }
  for (auto& sum : scratch->sums) std::fill_n(sum, kLanes, 0.0f);
}

// AppendRun where a tile has few cells: weights are summed as vectors, a cell at a time.
HWY_ATTR float AppendSums(int i, float least, WeighScratch* scratch, TileWeights* tile,
                          int32_t* entries) {
  const D d;
  const V enough = hn::Set(d, least);
  const hn::RebindToSigned<D> di;
  const BatchWeights& weights = scratch->weights;
  V largest = hn::Zero(d);
  uint64_t touched = 0;
  for (int segment = 0; segment < kSegments; ++segment) {
    if ((weights.active[segment] >> i & 1) == 0) continue;
    const V weight = hn::Load(d, weights.value[i] + segment * kLanes);
    largest = hn::Max(largest, weight);
    const V speaking = hn::IfThenElseZero(hn::Ge(weight, enough), weight);
    const auto place = hn::Load(di, scratch->places + segment * kLanes);
    for (int k = 0; k < scratch->cell_count[segment]; ++k) {
      const int32_t cell = scratch->cells[segment][k];
      const M in_cell = hn::RebindMask(d, hn::Eq(place, hn::Set(di, cell)));
      const V part = scratch->one_cell[segment] ? speaking : hn::IfThenElseZero(in_cell, speaking);
      float* sum = scratch->sums[cell];
      hn::Store(hn::Add(hn::Load(d, sum), part), d, sum);
      touched |= uint64_t{1} << cell;
    }
  }
  const size_t room = static_cast<size_t>(*entries) + kFewCells;
  if (tile->weights.size() < room) {
    tile->weights.resize(2 * room);
    tile->places.resize(2 * room);
  }
  for (; touched != 0; touched &= touched - 1) {
    const int cell = std::countr_zero(touched);
    float* sums = scratch->sums[cell];
    const float sum = hn::GetLane(hn::SumOfLanes(d, hn::Load(d, sums)));
    hn::Store(hn::Zero(d), d, sums);
    if (!(sum > 0)) continue;
    tile->places[*entries] = cell;
    tile->weights[(*entries)++] = sum;
  }
  return hn::GetLane(hn::MaxOfLanes(d, largest));
}

// With `rows`, splats without a row are weighed but not kept.
HWY_ATTR void WeighTile(const LiftView& view, const int32_t* rows, bool want_centers, int tile,
                        TileWeights* out, WeighScratch* scratch) {
  const TileGrid grid = MakeTileGrid(view.width_px, view.height_px);
  const TilePlace place = PlaceOfTile(tile, grid.columns, view.width_px, view.height_px);
  out->Clear();
  NumberCells(view, place.x, place.y, place.columns, place.rows, &out->cells, scratch->places);
  // Cells as fine as pixels need no merging: then runs hold the cells right away.
  const int32_t* places = scratch->places;
  const bool merge =
      view.top_k > 0 || static_cast<int>(out->cells.size()) < place.columns * place.rows;
  const bool few = merge && view.top_k == 0 && out->cells.size() <= kFewCells;
  if (few) {
    ListCells(scratch);
  } else if (merge) {
    for (int p = 0; p < kTilePixels; ++p) {
      scratch->pixels[p] = scratch->places[p] < 0 && view.top_k == 0 ? -1 : p;
    }
    places = scratch->pixels;
  }
  scratch->transmittance.Reset(place);
  const int32_t begin = view.tile_offsets[tile], end = view.tile_offsets[tile + 1];
  int32_t entries = 0;
  alignas(64) const float no_depth[kBatch] = {};
  for (int32_t at = begin; at < end && scratch->transmittance.live != 0;) {
    const int count = std::min<int>(kBatch, end - at);
    const int32_t* ids = view.tile_ids + at;
    scratch->batch.Gather(view.splats, ids, count, place.y, place.rows);
    const int walked = WeighBatch(scratch->batch, no_depth, place, &scratch->transmittance,
                                  &scratch->weights, nullptr);
    uint32_t any = 0;
    for (const uint32_t active : scratch->weights.active) any |= active;
    for (; any != 0; any &= any - 1) {
      const int i = std::countr_zero(any);
      // Those without a row still take places among the largest of a pixel.
      if (rows != nullptr && rows[ids[i]] < 0 && view.top_k == 0) continue;
      const float largest =
          few ? AppendSums(i, view.least_weight, scratch, out, &entries)
              : AppendRun(scratch->weights, i, places, view.least_weight, out, &entries);
      if (!(largest > 0)) continue;
      out->splats.push_back(ids[i]);
      out->ends.push_back(entries);
      out->maxima.push_back(largest);
      if (want_centers) {
        out->centers.push_back(CenterWeight(scratch->weights, i, view.splats[ids[i]], place));
      }
    }
    at += walked;
  }
  if (view.top_k > 0) {
    KeepTop(view.top_k, out, &scratch->merge);
    if (rows != nullptr) DropSplats(rows, out);
  }
  if (merge && !few) MergeCells(scratch->places, out, &scratch->merge);
  if (view.per_footprint) ScaleByFootprint(view.splats, out);
  SumRuns(out);
}

HWY_ATTR void WeighTiles(const LiftView& view, const int32_t* rows, bool want_centers,
                         int first_tile, int begin, int end, TileWeights* out) {
  WeighScratch scratch;
  for (int i = begin; i < end; ++i) {
    WeighTile(view, rows, want_centers, first_tile + i, out + i, &scratch);
  }
}

// out[v] += sum_e weights[e] features[places[e]] for kCount vectors held in registers.
template <int kCount>
HWY_ATTR void AddRun(const float* HWY_RESTRICT features, size_t stride,
                     const int32_t* HWY_RESTRICT places, const float* HWY_RESTRICT weights,
                     int count, float factor, float* HWY_RESTRICT out) {
  const Wide d;
  const size_t lanes = hn::Lanes(d);
  WideVector sum[kCount];
  for (int v = 0; v < kCount; ++v) sum[v] = hn::Zero(d);
  for (int e = 0; e < count; ++e) {
    const WideVector weight = hn::Set(d, weights[e]);
    const float* f = features + static_cast<size_t>(places[e]) * stride;
    for (int v = 0; v < kCount; ++v) {
      sum[v] = hn::MulAdd(weight, hn::Load(d, f + v * lanes), sum[v]);
    }
  }
  const WideVector by = hn::Set(d, factor);
  for (int v = 0; v < kCount; ++v) {
    hn::StoreU(hn::MulAdd(by, sum[v], hn::LoadU(d, out + v * lanes)), d, out + v * lanes);
  }
}

HWY_ATTR void AddRunOf(int vectors, const float* features, size_t stride, const int32_t* places,
                       const float* weights, int count, float factor, float* out) {
  switch (vectors) {
    case 1:
      return AddRun<1>(features, stride, places, weights, count, factor, out);
    case 2:
      return AddRun<2>(features, stride, places, weights, count, factor, out);
    case 3:
      return AddRun<3>(features, stride, places, weights, count, factor, out);
    case 4:
      return AddRun<4>(features, stride, places, weights, count, factor, out);
    case 5:
      return AddRun<5>(features, stride, places, weights, count, factor, out);
    case 6:
      return AddRun<6>(features, stride, places, weights, count, factor, out);
    case 7:
      return AddRun<7>(features, stride, places, weights, count, factor, out);
    default:
      return AddRun<8>(features, stride, places, weights, count, factor, out);
  }
}

// Channels [first, first + count) of the cells of a tile as float32, scaled; rest of the last
// vector 0.
HWY_ATTR void LoadCells(const LiftTilesArgs& args, const std::vector<int32_t>& cells, int first,
                        int count, size_t stride, float* out) {
  const Wide d;
  const hn::Rebind<hwy::float16_t, Wide> half;
  const int lanes = static_cast<int>(hn::Lanes(d));
  alignas(64) uint16_t tail[64];
  for (const int32_t cell : cells) {
    const uint16_t* from = args.features + int64_t{cell} * args.dimension + first;
    const WideVector scale = hn::Set(d, args.scales != nullptr ? args.scales[cell] : 1.0f);
    int c = 0;
    for (; c + lanes <= count; c += lanes) {
      const auto* f = reinterpret_cast<const hwy::float16_t*>(from + c);
      hn::Store(hn::Mul(scale, hn::PromoteTo(d, hn::LoadU(half, f))), d, out + c);
    }
    if (c < count) {
      std::fill_n(tail, lanes, uint16_t{0});
      std::copy_n(from + c, count - c, tail);
      const auto* f = reinterpret_cast<const hwy::float16_t*>(tail);
      hn::Store(hn::Mul(scale, hn::PromoteTo(d, hn::LoadU(half, f))), d, out + c);
    }
    out += stride;
  }
}

// Adds the weights of a band of tiles, [rows,columns], to channels [first, first + count). Tiles of
// a column follow each other, so that a splat of several tiles is met again soon.
HWY_ATTR void AddChannels(const LiftTilesArgs& args, const TileWeights* tiles, int num_tiles,
                          int columns, int first, int count) {
  const int lanes = static_cast<int>(hn::Lanes(Wide()));
  const int vectors = (count + lanes - 1) / lanes;
  const size_t stride = static_cast<size_t>(vectors) * lanes;
  AlignedVector<float> features(kTilePixels * stride);
  // Where the row of sums ends inside of a vector, the last run goes through here.
  AlignedVector<float> padded(stride);
  const bool fits = first + static_cast<int64_t>(stride) <= args.stride;
  const auto row_of = [&](int32_t splat) {
    return args.sums + (args.rows != nullptr ? args.rows[splat] : splat) * args.stride + first;
  };
  const int rows = num_tiles / columns;
  for (int k = 0; k < num_tiles; ++k) {
    const TileWeights& tile = tiles[k % rows * columns + k / rows];
    if (tile.splats.empty()) continue;
    LoadCells(args, tile.cells, first, count, stride, features.data());
    int32_t begin = 0;
    for (size_t s = 0; s < tile.splats.size(); ++s) {
      const int32_t end = tile.ends[s];
      if (s + kAhead < tile.splats.size()) {
        const float* ahead = row_of(tile.splats[s + kAhead]);
        for (int c = 0; c < count; c += 16) hwy::Prefetch(ahead + c);
      }
      if (end > begin) {
        float* out = row_of(tile.splats[s]);
        if (fits) {
          AddRunOf(vectors, features.data(), stride, tile.places.data() + begin,
                   tile.weights.data() + begin, end - begin, args.factor, out);
        } else {
          std::fill(padded.begin(), padded.end(), 0.0f);
          AddRunOf(vectors, features.data(), stride, tile.places.data() + begin,
                   tile.weights.data() + begin, end - begin, args.factor, padded.data());
          for (int c = 0; c < count; ++c) out[c] += padded[c];
        }
      }
      begin = end;
    }
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace athanor
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace athanor {
namespace {

constexpr int kBandRows = 6;  // of tiles

// The largest of both, where a totals array is wanted.
void RaiseTo(float* to, float value) {
  if (value > *to) *to = value;
}

void AddTotals(const LiftTotals& totals, const std::vector<TileWeights>& tiles, int count) {
  for (int t = 0; t < count; ++t) {
    const TileWeights& tile = tiles[t];
    for (size_t s = 0; s < tile.splats.size(); ++s) {
      const int32_t id = tile.splats[s];
      if (totals.weights != nullptr) totals.weights[id] += tile.sums[s];
      if (totals.max_weights != nullptr) RaiseTo(totals.max_weights + id, tile.maxima[s]);
      if (totals.center_weights != nullptr) RaiseTo(totals.center_weights + id, tile.centers[s]);
    }
  }
}

}  // namespace

HWY_EXPORT(SumLanes);
HWY_EXPORT(WeighTiles);
HWY_EXPORT(AddChannels);

namespace {

// visit(tiles, count) for each band in turn.
template <typename Visit>
void ForEachBand(const LiftView& view, const LiftTotals& totals, const int32_t* rows, bool in_pairs,
                 const Visit& visit) {
  const TileGrid grid = MakeTileGrid(view.width_px, view.height_px);
  std::vector<TileWeights> tiles(static_cast<size_t>(kBandRows) * grid.columns);
  constexpr int64_t kGrain = 4;
  for (int row = 0; row < grid.rows; row += kBandRows) {
    const int count = std::min(kBandRows, grid.rows - row) * grid.columns;
    ParallelFor(count, kGrain, [&](int64_t begin, int64_t end) {
      HWY_DYNAMIC_DISPATCH(WeighTiles)
      (view, rows, totals.center_weights != nullptr, row * grid.columns, static_cast<int>(begin),
       static_cast<int>(end), tiles.data());
      if (!in_pairs) return;
      for (int64_t t = begin; t < end; ++t) PairRuns(&tiles[t]);
    });
    AddTotals(totals, tiles, count);
    visit(tiles, count);
  }
}

}  // namespace

void LiftTilesCpu(const LiftTilesArgs& args) {
  const bool in_pairs = args.bfloat16 && HasNativeBfloat16();
  const int lanes = in_pairs ? 16 : HWY_DYNAMIC_DISPATCH(SumLanes)();
  const int vectors = (args.dimension + lanes - 1) / lanes;
  // Vectors per task: as many as registers hold, fewer when there would be too few tasks. In pairs,
  // a task takes several such parts tile by tile, as its share of each vector is then fetched once.
  const int share = std::max(1, vectors / NumThreads());
  const int per_task = in_pairs ? (vectors + NumThreads() - 1) / NumThreads() : std::min(share, 8);
  const int tasks = (vectors + per_task - 1) / per_task;
  const int columns = MakeTileGrid(args.view.width_px, args.view.height_px).columns;
  ForEachBand(args.view, args.totals, args.rows, in_pairs,
              [&](const std::vector<TileWeights>& tiles, int count) {
                ParallelChunks(tasks, [&](int64_t task) {
                  const int first = static_cast<int>(task) * per_task * lanes;
                  const int channels = std::min(per_task * lanes, args.dimension - first);
                  if (in_pairs) {
                    AddChannelsBfloat16(args, tiles.data(), count, columns, first, channels);
                    return;
                  }
                  HWY_DYNAMIC_DISPATCH(AddChannels)
                  (args, tiles.data(), count, columns, first, channels);
                });
              });
}

void LiftWeightsCpu(const LiftView& view, const LiftTotals& totals,
                    std::vector<LiftEntry>* entries) {
  if (entries != nullptr) entries->clear();
  ForEachBand(view, totals, nullptr, false, [&](const std::vector<TileWeights>& tiles, int count) {
    if (entries == nullptr) return;
    for (int t = 0; t < count; ++t) {
      const TileWeights& tile = tiles[t];
      int32_t e = 0;
      for (size_t s = 0; s < tile.splats.size(); ++s) {
        for (; e < tile.ends[s]; ++e) {
          entries->push_back({tile.splats[s], tile.cells[tile.places[e]], tile.weights[e]});
        }
      }
    }
  });
  if (entries == nullptr) return;
  // By splat: a counting sort. Runs of a splat are short; those of one cell are added up.
  std::vector<int64_t> starts(static_cast<size_t>(view.n) + 1, 0);
  for (const LiftEntry& entry : *entries) ++starts[entry.splat + 1];
  for (int64_t i = 0; i < view.n; ++i) starts[i + 1] += starts[i];
  std::vector<LiftEntry> sorted(entries->size());
  std::vector<int64_t> next(starts.begin(), starts.end() - 1);
  for (const LiftEntry& entry : *entries) sorted[next[entry.splat]++] = entry;
  entries->clear();
  for (int64_t i = 0; i < view.n; ++i) {
    const auto begin = sorted.begin() + starts[i], end = sorted.begin() + starts[i + 1];
    std::stable_sort(begin, end,
                     [](const LiftEntry& a, const LiftEntry& b) { return a.cell < b.cell; });
    for (auto entry = begin; entry != end; ++entry) {
      if (entry != begin && entry->cell == entries->back().cell) {
        entries->back().weight += entry->weight;
      } else {
        entries->push_back(*entry);
      }
    }
  }
}

}  // namespace athanor
#endif
