#include <hwy/cache_control.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>
#include <vector>

#include "athanor/base/aligned.h"
#include "athanor/base/parallel.h"
#include "athanor/kernels/rasterize.h"
#include "athanor/kernels/tile_binning.h"

#ifndef ATHANOR_KERNELS_GRADIENT_SINK_  // this file is read again for every instruction set
#define ATHANOR_KERNELS_GRADIENT_SINK_
namespace athanor {
namespace {

// How the tiles are shared out. The tiles are cut into parts, runs of about equal work, which
// threads take as they become free. A splat whose tiles lie in one part has its gradient added in
// place; one that straddles parts gets a slot for each of them, and the slots are added up in order
// afterwards. So nothing is atomic, and the sums come out the same whatever the number of threads.
struct GradientPlace {
  SplatGradient* splat;
  float* features;  // [C]
};

constexpr int32_t kInPlace = std::numeric_limits<int32_t>::min();

struct GradientSink {
  int channels;
  SplatGradient* splats;  // [N]
  float* features;        // [N,C]
  const int32_t* slots;   // [N]: slot in part 0, had it one there; kInPlace: no slots
  SplatGradient* slot_splats;
  float* slot_features;
  int part;

  GradientPlace Find(int32_t id) const {
    const int32_t first_slot = slots[id];
    if (first_slot == kInPlace) return {splats + id, features + static_cast<size_t>(id) * channels};
    const int32_t slot = first_slot + part;
    return {slot_splats + slot, slot_features + static_cast<size_t>(slot) * channels};
  }
};

}  // namespace
}  // namespace athanor
#endif

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "athanor/kernels/rasterize_backward_cpu.cc"
// clang-format off
#include <hwy/foreach_target.h>
// clang-format on
#include "athanor/kernels/rasterize_cpu-inl.h"

HWY_BEFORE_NAMESPACE();
namespace athanor {
namespace HWY_NAMESPACE {

// Moments of q = alpha dL/dalpha over the pixels of a splat give all gradients of its shape.
enum Sum { kQ, kQx, kQy, kQxx, kQxy, kQyy, kAbsX, kAbsY, kFirstFeature };
constexpr int kMaxFeatureSums = 4;  // more channels than this are summed splat by splat
constexpr int kMaxSums = kFirstFeature + kMaxFeatureSums;

struct BackwardScratch {
  SplatBatch batch;
  TileTransmittance transmittance;
  alignas(64) float remaining[kTilePixels];  // what lies behind, times the gradient of the image
  AlignedVector<float> d_image;              // [C (+1 for depth)][kTilePixels]
  std::vector<float> features;               // [kBatch][C (+1)]
  // Sums over the pixels, lane by lane, of what a batch needs: see Sum.
  alignas(64) float sums[kMaxSums][kBatch][kLanes];
  alignas(64) float totals[kMaxSums][kBatch];
  AlignedVector<float> d_features;  // [C (+1)][kLanes]
};

// Up to kTileSize values of a row of pixels, zeros behind them.
HWY_INLINE V LoadPixels(const float* row, int part, int columns) {
  const D d;
  if (columns == kTileSize) return hn::LoadU(d, row + part * kLanes);
  alignas(64) float copy[kTileSize] = {};
  std::copy_n(row, columns, copy);
  return hn::Load(d, copy + part * kLanes);
}

HWY_ATTR void LoadTileGradients(const RasterizeBackwardArgs& args, const TilePlace& place,
                                int blended, BackwardScratch* scratch) {
  const D d;
  scratch->d_image.resize(static_cast<size_t>(blended) * kTilePixels);
  const size_t plane = static_cast<size_t>(args.width_px) * args.height_px;
  for (int segment = 0; segment < kSegments; ++segment) {
    const int y = segment / kParts, part = segment % kParts;
    if (y >= place.rows) break;
    const size_t row = static_cast<size_t>(place.y + y) * args.width_px + place.x;
    V remaining = hn::Zero(d);
    for (int c = 0; c < blended; ++c) {
      const bool is_depth = c == args.channels;
      const float* gradient = is_depth ? args.d_depth + row : args.d_image + c * plane + row;
      const float* value = is_depth ? args.depth + row : args.image + c * plane + row;
      const V g = LoadPixels(gradient, part, place.columns);
      hn::Store(g, d, scratch->d_image.data() + c * kTilePixels + segment * kLanes);
      remaining = hn::MulAdd(g, LoadPixels(value, part, place.columns), remaining);
    }
    if (args.d_transmittance != nullptr) {
      remaining = hn::MulAdd(LoadPixels(args.d_transmittance + row, part, place.columns),
                             LoadPixels(args.transmittance + row, part, place.columns), remaining);
    }
    hn::Store(remaining, d, scratch->remaining + segment * kLanes);
  }
}

// kBlended: channels including depth when known at compile time, else 0.
template <int kBlended, bool kAbsolute>
HWY_ATTR void BackwardTile(const RasterizeBackwardArgs& args, const GradientSink& sink, int tile,
                           BackwardScratch* scratch) {
  const D d;
  const TileGrid grid = MakeTileGrid(args.width_px, args.height_px);
  const TilePlace place = PlaceOfTile(tile, grid.columns, args.width_px, args.height_px);
  const int channels = args.channels;
  const int blended = kBlended > 0 ? kBlended : channels + (args.d_depth != nullptr ? 1 : 0);
  LoadTileGradients(args, place, blended, scratch);
  scratch->transmittance.Reset(place);
  scratch->features.resize(static_cast<size_t>(kBatch) * std::max(blended, 1));
  scratch->d_features.resize(static_cast<size_t>(kLanes) * std::max(blended, 1));
  SplatBatch& batch = scratch->batch;
  TileTransmittance& transmittance = scratch->transmittance;
  const float* d_image = scratch->d_image.data();

  const V min_log2_alpha = hn::Set(d, kLog2MinAlpha);
  const V max_alpha = hn::Set(d, kMaxAlpha);
  const V min_transmittance = hn::Set(d, kMinTransmittance);
  const V sign = hn::Set(d, -0.0f);
  const V one = hn::Set(d, 1.0f);

  const int32_t begin = args.tile_offsets[tile];
  const int32_t end = begin + args.tile_walked[tile];
  for (int32_t at = begin; at < end; at += kBatch) {
    const int count = std::min<int>(kBatch, end - at);
    const int32_t* ids = args.tile_ids + at;
    batch.Gather(args.splats, ids, count, place.y, place.rows);
    for (int i = 0; i < count; ++i) {
      const float* from = args.features + static_cast<size_t>(ids[i]) * channels;
      float* to = scratch->features.data() + i * blended;
      for (int c = 0; c < channels; ++c) to[c] = from[c];
      if (blended > channels) to[channels] = args.splats[ids[i]].depth;
      hwy::Prefetch(sink.slots + ids[i]);
      hwy::Prefetch(sink.splats + ids[i]);
    }
    uint32_t reached_splats = 0;
    for (int i = 0; i < count; ++i) {
      uint64_t segments = transmittance.live & batch.Segments(i);
      if (segments == 0) continue;
      SplatColumns columns;
      columns.Set(batch, i, static_cast<float>(place.x));
      const float* feature = scratch->features.data() + i * blended;
      const float from_top = static_cast<float>(place.y) + 0.5f - batch.y[i];
      const Splat& splat = args.splats[ids[i]];

      V q0 = hn::Zero(d), qx = q0, qy = q0, qxx = q0, qxy = q0, qyy = q0;
      V abs_x = q0, abs_y = q0;
      V d_feature[kBlended > 0 ? kBlended : 1];
      if constexpr (kBlended > 0) {
        for (V& sum : d_feature) sum = q0;
      } else {
        std::fill(scratch->d_features.begin(), scratch->d_features.end(), 0.0f);
      }
      bool reached_any = false;
      for (; segments != 0; segments &= segments - 1) {
        const int segment = std::countr_zero(segments);
        const int part = segment % kParts;
        const float dy = from_top + static_cast<float>(segment / kParts);
        const V log2_alpha = columns.Log2Alpha(part, dy, batch.c[i] * dy * dy);
        const M reached = hn::Ge(log2_alpha, min_log2_alpha);
        if (hn::AllFalse(d, reached)) continue;
        reached_any = true;
        const V unclipped = hn::IfThenElseZero(reached, Exp2(log2_alpha));
        const V alpha = hn::Min(unclipped, max_alpha);
        float* t = transmittance.value + segment * kLanes;
        const V before = hn::Load(d, t);
        V weight = hn::Mul(alpha, before);
        const V after = hn::Sub(before, weight);
        const M open = hn::Ge(after, min_transmittance);
        hn::Store(hn::IfThenElse(open, after, hn::Or(before, sign)), d, t);
        if (hn::AllFalse(d, open)) transmittance.live &= ~(uint64_t{1} << segment);
        weight = hn::IfThenElseZero(open, weight);

        const float* g = d_image + segment * kLanes;
        V along = hn::Zero(d);  // d_image . feature
        if constexpr (kBlended > 0) {
          for (int c = 0; c < kBlended; ++c) {
            const V dc = hn::Load(d, g + c * kTilePixels);
            along = hn::MulAdd(dc, hn::Set(d, feature[c]), along);
            d_feature[c] = hn::MulAdd(weight, dc, d_feature[c]);
          }
        } else {
          for (int c = 0; c < blended; ++c) {
            const V dc = hn::Load(d, g + c * kTilePixels);
            float* sum = scratch->d_features.data() + c * kLanes;
            along = hn::MulAdd(dc, hn::Set(d, feature[c]), along);
            hn::Store(hn::MulAdd(weight, dc, hn::Load(d, sum)), d, sum);
          }
        }
        float* r = scratch->remaining + segment * kLanes;
        const V behind = hn::NegMulAdd(weight, along, hn::Load(d, r));
        hn::Store(behind, d, r);
        // alpha dL/dalpha = w (d . f) - alpha / (1 - alpha) behind; a clipped alpha is a constant.
        const V ratio = hn::Mul(alpha, Reciprocal(hn::Sub(one, alpha)));
        const M moves = hn::And(open, hn::Lt(unclipped, max_alpha));
        const V q = hn::IfThenElseZero(moves, hn::NegMulAdd(ratio, behind, hn::Mul(weight, along)));
        const V q_dx = hn::Mul(q, columns.dx[part]);
        const V vdy = hn::Set(d, dy);
        q0 = hn::Add(q0, q);
        qx = hn::Add(qx, q_dx);
        qxx = hn::MulAdd(q_dx, columns.dx[part], qxx);
        qxy = hn::MulAdd(q_dx, vdy, qxy);
        const V q_dy = hn::Mul(q, vdy);
        qy = hn::Add(qy, q_dy);
        qyy = hn::MulAdd(q_dy, vdy, qyy);
        if constexpr (kAbsolute) {
          const V a = hn::Set(d, splat.a), b = hn::Set(d, splat.b), c = hn::Set(d, splat.c);
          abs_x = hn::Add(abs_x, hn::Abs(hn::MulAdd(a, q_dx, hn::Mul(b, q_dy))));
          abs_y = hn::Add(abs_y, hn::Abs(hn::MulAdd(b, q_dx, hn::Mul(c, q_dy))));
        }
      }
      if (!reached_any) continue;
      reached_splats |= 1u << i;
      auto& sums = scratch->sums;
      hn::Store(q0, d, sums[kQ][i]);
      hn::Store(qx, d, sums[kQx][i]);
      hn::Store(qy, d, sums[kQy][i]);
      hn::Store(qxx, d, sums[kQxx][i]);
      hn::Store(qxy, d, sums[kQxy][i]);
      hn::Store(qyy, d, sums[kQyy][i]);
      if constexpr (kAbsolute) {
        hn::Store(abs_x, d, sums[kAbsX][i]);
        hn::Store(abs_y, d, sums[kAbsY][i]);
      }
      if constexpr (kBlended > 0) {
        for (int c = 0; c < kBlended; ++c) hn::Store(d_feature[c], d, sums[kFirstFeature + c][i]);
      } else {
        const GradientPlace place_of = sink.Find(ids[i]);
        float* out = place_of.features;
        for (int c = 0; c < blended; ++c) {
          const V lanes = hn::Load(d, scratch->d_features.data() + c * kLanes);
          (c < channels ? out[c] : place_of.splat->depth) += hn::GetLane(hn::SumOfLanes(d, lanes));
        }
      }
    }

    if (reached_splats == 0) continue;
    auto& totals = scratch->totals;
    for (int sum = 0; sum < kFirstFeature + kBlended; ++sum) {
      if (kAbsolute || (sum != kAbsX && sum != kAbsY)) SumRows(scratch->sums[sum], totals[sum]);
    }
    for (; reached_splats != 0; reached_splats &= reached_splats - 1) {
      const int i = std::countr_zero(reached_splats);
      const Splat& splat = args.splats[ids[i]];
      const GradientPlace out = sink.Find(ids[i]);
      out.splat->x += splat.a * totals[kQx][i] + splat.b * totals[kQy][i];
      out.splat->y += splat.b * totals[kQx][i] + splat.c * totals[kQy][i];
      out.splat->a -= 0.5f * totals[kQxx][i];
      out.splat->b -= totals[kQxy][i];
      out.splat->c -= 0.5f * totals[kQyy][i];
      out.splat->opacity += totals[kQ][i] / splat.opacity;
      if constexpr (kAbsolute) {
        out.splat->abs_x += totals[kAbsX][i];
        out.splat->abs_y += totals[kAbsY][i];
      }
      for (int c = 0; c < kBlended; ++c) {
        (c < channels ? out.features[c] : out.splat->depth) += totals[kFirstFeature + c][i];
      }
    }
  }
}

HWY_ATTR void BackwardTiles(const RasterizeBackwardArgs& args, const GradientSink& sink, int begin,
                            int end) {
  BackwardScratch scratch = {};
  const int blended = args.channels + (args.d_depth != nullptr ? 1 : 0);
  const auto tile_function = [&]() HWY_ATTR {
    if (blended == 3) return args.absolute ? &BackwardTile<3, true> : &BackwardTile<3, false>;
    if (blended == 4) return args.absolute ? &BackwardTile<4, true> : &BackwardTile<4, false>;
    return args.absolute ? &BackwardTile<0, true> : &BackwardTile<0, false>;
  }();
  for (int tile = begin; tile < end; ++tile) tile_function(args, sink, tile, &scratch);
}

}  // namespace HWY_NAMESPACE
}  // namespace athanor
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace athanor {

HWY_EXPORT(BackwardTiles);

namespace {

// Ends of `parts` runs of tiles of about equal work.
std::vector<int> ShareOutTiles(const int32_t* tile_walked, int tiles, int parts) {
  constexpr int64_t kTileCost = 16;  // an empty tile, in splats
  int64_t total = 0;
  for (int tile = 0; tile < tiles; ++tile) total += tile_walked[tile] + kTileCost;
  std::vector<int> ends;
  int64_t sum = 0;
  for (int tile = 0; tile < tiles; ++tile) {
    sum += tile_walked[tile] + kTileCost;
    while (static_cast<int>(ends.size()) < parts - 1 &&
           sum * parts >= total * static_cast<int64_t>(ends.size() + 1)) {
      ends.push_back(tile + 1);
    }
  }
  ends.resize(parts, tiles);
  return ends;
}

// First and last part whose tiles a splat may touch: by its box, row by row of tiles.
struct PartRange {
  int first, last;
};

PartRange PartsOf(const Splat& s, const TileGrid& grid, const std::vector<int>& ends) {
  const auto tile_of = [](float v, int n) {
    return std::clamp(static_cast<int>(std::floor(v / kTileSize)), 0, n - 1);
  };
  const auto part_of = [&](float x, float y) {
    const int tile = tile_of(y, grid.rows) * grid.columns + tile_of(x, grid.columns);
    return static_cast<int>(std::upper_bound(ends.begin(), ends.end(), tile) - ends.begin());
  };
  const float reach = s.radius + 1.0f;
  return {part_of(s.x - reach, s.y - reach), part_of(s.x + reach, s.y + reach)};
}

}  // namespace

void RasterizeBackwardCpu(const RasterizeBackwardArgs& args) {
  const TileGrid grid = MakeTileGrid(args.width_px, args.height_px);
  const int channels = args.channels;
  constexpr int64_t kGrain = 1 << 15;
  ParallelFor(args.n, kGrain, [&](int64_t begin, int64_t end) {
    std::fill(args.d_splats + begin, args.d_splats + end, SplatGradient{});
    std::fill(args.d_features + begin * channels, args.d_features + end * channels, 0.0f);
  });

  constexpr int kTilesPerPart = 128;
  const int parts = std::clamp(grid.size() / kTilesPerPart, 1, 64);
  const std::vector<int> ends = ShareOutTiles(args.tile_walked, grid.size(), parts);
  std::vector<int32_t> slots(args.n, kInPlace);
  struct Straddler {
    int32_t splat, first_slot, end_slot;
  };
  std::vector<Straddler> straddlers;
  int32_t num_slots = 0;
  for (int64_t i = 0; i < args.n && parts > 1; ++i) {
    if (!(args.splats[i].radius > 0)) continue;
    const PartRange range = PartsOf(args.splats[i], grid, ends);
    if (range.first == range.last) continue;
    slots[i] = num_slots - range.first;
    const int32_t first_slot = num_slots;
    num_slots += range.last - range.first + 1;
    straddlers.push_back({static_cast<int32_t>(i), first_slot, num_slots});
  }
  std::vector<SplatGradient> slot_splats(num_slots);
  std::vector<float> slot_features(static_cast<size_t>(num_slots) * channels);
  ParallelChunks(parts, [&](int64_t part) {
    const GradientSink sink = {
        channels,           args.d_splats,        args.d_features,       slots.data(),
        slot_splats.data(), slot_features.data(), static_cast<int>(part)};
    HWY_DYNAMIC_DISPATCH(BackwardTiles)(args, sink, part == 0 ? 0 : ends[part - 1], ends[part]);
  });
  for (const Straddler& straddler : straddlers) {
    auto* sum = reinterpret_cast<float*>(args.d_splats + straddler.splat);
    float* feature_sum = args.d_features + static_cast<size_t>(straddler.splat) * channels;
    for (int32_t slot = straddler.first_slot; slot < straddler.end_slot; ++slot) {
      constexpr int kFields = sizeof(SplatGradient) / sizeof(float);
      const auto* add = reinterpret_cast<const float*>(slot_splats.data() + slot);
      const float* feature_add = slot_features.data() + static_cast<size_t>(slot) * channels;
      for (int f = 0; f < kFields; ++f) sum[f] += add[f];
      for (int c = 0; c < channels; ++c) feature_sum[c] += feature_add[c];
    }
  }
}

}  // namespace athanor
#endif
