#include <algorithm>
#include <bit>
#include <vector>

#include "athanor/base/aligned.h"
#include "athanor/base/parallel.h"
#include "athanor/kernels/rasterize.h"
#include "athanor/kernels/tile_binning.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "athanor/kernels/rasterize_forward_cpu.cc"
// clang-format off
#include <hwy/foreach_target.h>
// clang-format on
#include "athanor/kernels/rasterize_cpu-inl.h"

HWY_BEFORE_NAMESPACE();
namespace athanor {
namespace HWY_NAMESPACE {

// sums[c][pixel] += sum over the batch of weight * feature, for kCount channels held in registers.
// Features: [channel][kBatch].
template <int kCount>
HWY_ATTR void BlendChannels(const BatchWeights& weights, const float* features, float* sums) {
  const D d;
  for (int segment = 0; segment < kSegments; ++segment) {
    uint32_t active = weights.active[segment];
    if (active == 0) continue;
    float* out = sums + segment * kLanes;
    V sum[kCount];
    for (int c = 0; c < kCount; ++c) sum[c] = hn::Load(d, out + c * kTilePixels);
    for (; active != 0; active &= active - 1) {
      const int i = std::countr_zero(active);
      const V weight = hn::Load(d, weights.value[i] + segment * kLanes);
      for (int c = 0; c < kCount; ++c) {
        sum[c] = hn::MulAdd(weight, hn::Set(d, features[c * kBatch + i]), sum[c]);
      }
    }
    for (int c = 0; c < kCount; ++c) hn::Store(sum[c], d, out + c * kTilePixels);
  }
}

HWY_ATTR void BlendBatch(const BatchWeights& weights, const float* features, int channels,
                         float* sums) {
  int c = 0;
  for (; c + 8 <= channels; c += 8) {
    BlendChannels<8>(weights, features + c * kBatch, sums + c * kTilePixels);
  }
  features += c * kBatch;
  sums += c * kTilePixels;
  switch (channels - c) {
    case 1:
      return BlendChannels<1>(weights, features, sums);
    case 2:
      return BlendChannels<2>(weights, features, sums);
    case 3:
      return BlendChannels<3>(weights, features, sums);
    case 4:
      return BlendChannels<4>(weights, features, sums);
    case 5:
      return BlendChannels<5>(weights, features, sums);
    case 6:
      return BlendChannels<6>(weights, features, sums);
    case 7:
      return BlendChannels<7>(weights, features, sums);
    default:
      return;
  }
}

// Keeps the k largest weights of a pixel, by falling weight; an earlier splat wins a tie.
void InsertTop(float weight, int32_t id, int k, float* top_weights, int32_t* top_ids) {
  if (!(weight > top_weights[k - 1])) return;
  int at = k - 1;
  for (; at > 0 && weight > top_weights[at - 1]; --at) {
    top_weights[at] = top_weights[at - 1];
    top_ids[at] = top_ids[at - 1];
  }
  top_weights[at] = weight;
  top_ids[at] = id;
}

// What a thread keeps from tile to tile.
struct ForwardScratch {
  BatchWeights weights;
  SplatBatch batch;
  TileTransmittance transmittance;
  AlignedVector<float> sums;    // [C (+1 for depth)][kTilePixels]
  std::vector<float> features;  // [C (+1)][kBatch]
  alignas(64) float median[kTilePixels];
};

HWY_ATTR void ForwardTile(const RasterizeForwardArgs& args, int tile, ForwardScratch* scratch) {
  const TileGrid grid = MakeTileGrid(args.width_px, args.height_px);
  const TilePlace place = PlaceOfTile(tile, grid.columns, args.width_px, args.height_px);
  const int channels = args.channels;
  const int blended = channels + (args.depth != nullptr ? 1 : 0);
  scratch->sums.assign(static_cast<size_t>(blended) * kTilePixels, 0.0f);
  scratch->features.resize(static_cast<size_t>(std::max(blended, 1)) * kBatch);
  scratch->transmittance.Reset(place);
  float* median = args.median_depth != nullptr ? scratch->median : nullptr;
  if (median != nullptr) std::fill_n(median, kTilePixels, 0.0f);
  const size_t plane = static_cast<size_t>(args.width_px) * args.height_px;
  const auto pixel_at = [&](int x, int y) {
    return static_cast<size_t>(place.y + y) * args.width_px + place.x + x;
  };
  if (args.top_k > 0) {
    for (int y = 0; y < place.rows; ++y) {
      const size_t first = pixel_at(0, y) * args.top_k;
      std::fill_n(args.top_ids + first, place.columns * args.top_k, -1);
      std::fill_n(args.top_weights + first, place.columns * args.top_k, 0.0f);
    }
  }

  const int32_t begin = args.tile_offsets[tile], end = args.tile_offsets[tile + 1];
  int32_t at = begin;
  while (at < end && scratch->transmittance.live != 0) {
    const int count = std::min<int>(kBatch, end - at);
    const int32_t* ids = args.tile_ids + at;
    scratch->batch.Gather(args.splats, ids, count, place.y, place.rows);
    alignas(64) float depth[kBatch];
    for (int i = 0; i < count; ++i) {
      depth[i] = args.splats[ids[i]].depth;
      const float* f = args.features + static_cast<size_t>(ids[i]) * channels;
      for (int c = 0; c < channels; ++c) scratch->features[c * kBatch + i] = f[c];
      if (blended > channels) scratch->features[channels * kBatch + i] = depth[i];
    }
    at += WeighBatch(scratch->batch, depth, place, &scratch->transmittance, &scratch->weights,
                     median);
    BlendBatch(scratch->weights, scratch->features.data(), blended, scratch->sums.data());
    if (args.top_k > 0) {
      for (int segment = 0; segment < place.rows * kParts; ++segment) {
        for (uint32_t active = scratch->weights.active[segment]; active != 0;
             active &= active - 1) {
          const int i = std::countr_zero(active);
          for (int lane = 0; lane < kLanes; ++lane) {
            const int pixel = segment * kLanes + lane;
            const int x = pixel % kTileSize;
            if (x >= place.columns) break;
            const size_t top = pixel_at(x, pixel / kTileSize) * args.top_k;
            InsertTop(scratch->weights.value[i][pixel], ids[i], args.top_k, args.top_weights + top,
                      args.top_ids + top);
          }
        }
      }
    }
  }
  args.tile_walked[tile] = at - begin;

  // Out of the tile, row by row.
  const D d;
  const auto store_row = [&](float* to, const auto& value_of_segment, int y) HWY_ATTR {
    alignas(64) float row[kTileSize];
    for (int part = 0; part < kParts; ++part) {
      const V value = value_of_segment((y * kParts + part) * kLanes);
      if (place.columns == kTileSize) {
        hn::StoreU(value, d, to + part * kLanes);
      } else {
        hn::Store(value, d, row + part * kLanes);
      }
    }
    if (place.columns < kTileSize) std::copy_n(row, place.columns, to);
  };
  const float* left = scratch->transmittance.value;
  for (int y = 0; y < place.rows; ++y) {
    const size_t row = pixel_at(0, y);
    const auto transmittance = [&](int at) HWY_ATTR { return hn::Abs(hn::Load(d, left + at)); };
    store_row(args.transmittance + row, transmittance, y);
    for (int c = 0; c < blended; ++c) {
      const float* sum = scratch->sums.data() + c * kTilePixels;
      const bool has_background = c < channels && args.background != nullptr;
      const V background = hn::Set(d, has_background ? args.background[c] : 0.0f);
      const auto value = [&](int at) HWY_ATTR {
        return hn::MulAdd(background, transmittance(at), hn::Load(d, sum + at));
      };
      store_row((c < channels ? args.image + c * plane : args.depth) + row, value, y);
    }
    if (median != nullptr) {
      store_row(
          args.median_depth + row, [&](int at) HWY_ATTR { return hn::Load(d, median + at); }, y);
    }
  }
}

HWY_ATTR void ForwardTiles(const RasterizeForwardArgs& args, int begin, int end) {
  ForwardScratch scratch;
  for (int tile = begin; tile < end; ++tile) ForwardTile(args, tile, &scratch);
}

}  // namespace HWY_NAMESPACE
}  // namespace athanor
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace athanor {

HWY_EXPORT(ForwardTiles);

void RasterizeForwardCpu(const RasterizeForwardArgs& args) {
  constexpr int64_t kGrain = 8;  // tiles per task
  ParallelFor(MakeTileGrid(args.width_px, args.height_px).size(), kGrain,
              [&](int64_t begin, int64_t end) {
                HWY_DYNAMIC_DISPATCH(ForwardTiles)
                (args, static_cast<int>(begin), static_cast<int>(end));
              });
}

}  // namespace athanor
#endif
