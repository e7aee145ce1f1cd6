// What the passes over one tile share, compiled once per instruction set.
//
// A tile is cut into segments of as many pixels of a row as a vector has lanes. Splats of a tile
// are gathered in batches into plain arrays; a splat is evaluated only on the segments of rows that
// its ellipse reaches and in which some pixel is not yet full.
#if defined(ATHANOR_KERNELS_RASTERIZE_CPU_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef ATHANOR_KERNELS_RASTERIZE_CPU_INL_H_
#undef ATHANOR_KERNELS_RASTERIZE_CPU_INL_H_
#else
#define ATHANOR_KERNELS_RASTERIZE_CPU_INL_H_
#endif

#include <hwy/highway.h>

#include <bit>
#include <cstdint>

#include "athanor/kernels/splat_extent.h"

HWY_BEFORE_NAMESPACE();
namespace athanor {
namespace HWY_NAMESPACE {

namespace hn = hwy::HWY_NAMESPACE;

using D = hn::CappedTag<float, kTileSize>;
using V = hn::Vec<D>;
using M = hn::Mask<D>;

constexpr int kLanes = static_cast<int>(hn::MaxLanes(D()));
constexpr int kParts = kTileSize / kLanes;     // segments of a row
constexpr int kSegments = kTileSize * kParts;  // at most 64
constexpr int kTilePixels = kTileSize * kTileSize;
constexpr int kBatch = 16;

constexpr float kLog2E = 1.4426950408889634f;
constexpr float kLn2 = 0.6931471805599453f;
constexpr float kLog2MinAlpha = -7.994353436858858f;  // log2(1/255)

// 2^x for x in [-100, 100], to 1e-7 relative: minimax polynomial of degree 5 on [-1/2, 1/2].
HWY_INLINE V Exp2(V x) {
  const D d;
  const hn::RebindToSigned<D> di;
  const V n = hn::Round(x);
  const V f = hn::Sub(x, n);
  V p = hn::Set(d, 0.0013276471979f);
  p = hn::MulAdd(p, f, hn::Set(d, 0.0096755413342f));
  p = hn::MulAdd(p, f, hn::Set(d, 0.0555071327354f));
  p = hn::MulAdd(p, f, hn::Set(d, 0.2402211972385f));
  p = hn::MulAdd(p, f, hn::Set(d, 0.6931469670647f));
  p = hn::MulAdd(p, f, hn::Set(d, 1.0000000716547f));
  const auto exponent = hn::ShiftLeft<23>(hn::ConvertTo(di, n));
  return hn::BitCast(d, hn::Add(hn::BitCast(di, p), exponent));
}

// 1/x to 1e-6 relative: an estimate and a step of Newton's method, cheaper than dividing.
HWY_INLINE V Reciprocal(V x) {
  const D d;
  const V estimate = hn::ApproximateReciprocal(x);
  return hn::Mul(estimate, hn::NegMulAdd(x, estimate, hn::Set(d, 2.0f)));
}

// sums[i] = sum of the lanes of rows[i], for a whole batch.
#if HWY_TARGET == HWY_SCALAR
HWY_INLINE void SumRows(const float (&rows)[kBatch][kLanes], float* sums) {
  for (int i = 0; i < kBatch; ++i) sums[i] = rows[i][0];
}
#else
// Adding while transposing takes a third of the instructions of kBatch separate sums, and none of
// them waits for another.
template <int lanes>
HWY_INLINE void SumRows(const float (&rows)[kBatch][lanes], float* HWY_RESTRICT sums) {
  const hn::CappedTag<float, lanes> d;
  const hn::Repartition<uint64_t, decltype(d)> d64;
  using Row = hn::Vec<decltype(d)>;
  const auto add_pairs = [d](Row a, Row b) HWY_ATTR {
    return hn::Add(hn::InterleaveLower(d, a, b), hn::InterleaveUpper(d, a, b));
  };
  const hn::CappedTag<float, 4> d4;
  for (int i = 0; i < kBatch; i += 4) {
    // In each block of 4 lanes: a0 + a2, b0 + b2, a1 + a3, b1 + b3; then the four rows' sums.
    const auto ab = hn::BitCast(d64, add_pairs(hn::Load(d, rows[i]), hn::Load(d, rows[i + 1])));
    const auto cd = hn::BitCast(d64, add_pairs(hn::Load(d, rows[i + 2]), hn::Load(d, rows[i + 3])));
    const Row blocks = hn::Add(hn::BitCast(d, hn::InterleaveLower(d64, ab, cd)),
                               hn::BitCast(d, hn::InterleaveUpper(d64, ab, cd)));
    static_assert(lanes == 4 || lanes == 8 || lanes == 16);
    if constexpr (lanes == 16) {
      const hn::Half<decltype(d)> half;
      const auto two = hn::Add(hn::LowerHalf(half, blocks), hn::UpperHalf(half, blocks));
      hn::Store(hn::Add(hn::LowerHalf(d4, two), hn::UpperHalf(d4, two)), d4, sums + i);
    } else if constexpr (lanes == 8) {
      hn::Store(hn::Add(hn::LowerHalf(d4, blocks), hn::UpperHalf(d4, blocks)), d4, sums + i);
    } else {
      hn::Store(blocks, d4, sums + i);
    }
  }
}
#endif

// Splats of a batch, ready for log2 alpha = peak - a dx^2 - b dx dy - c dy^2.
struct SplatBatch {
  int count;
  alignas(64) float x[kBatch], y[kBatch], a[kBatch], b[kBatch], c[kBatch], peak[kBatch];
  // Rows of the tile that the ellipse reaches.
  alignas(64) float first_row[kBatch], end_row[kBatch];

  // `tile_y` is the first row of the tile, `rows` how many of them lie in the image.
  HWY_ATTR void Gather(const Splat* splats, const int32_t* ids, int num, int tile_y, int rows) {
    count = num;
    alignas(64) float opacity[kBatch];
    for (int i = 0; i < kBatch; ++i) {
      const Splat& s = splats[ids[i < num ? i : num - 1]];
      x[i] = s.x, y[i] = s.y, a[i] = s.a, b[i] = s.b, c[i] = s.c, opacity[i] = s.opacity;
    }
    const auto top = static_cast<float>(tile_y), limit = static_cast<float>(rows);
#pragma omp simd
    for (int i = 0; i < kBatch; ++i) {
      peak[i] = FastLog(opacity[i]) * kLog2E;
      const float extent2 = 2.0f * kLn2 * (peak[i] - kLog2MinAlpha) * 1.0001f + 1e-4f;
      const float half_y = __builtin_sqrtf(extent2 * a[i] / (a[i] * c[i] - b[i] * b[i])) + 1e-2f;
      // Row r has its pixel centres at top + r + 0.5.
      const float first = y[i] - half_y - top - 0.5f, last = y[i] + half_y - top - 0.5f;
      first_row[i] = first > 0.0f ? (first < limit ? first : limit) : 0.0f;
      end_row[i] = last > -1.0f ? (last < limit ? last + 1.0f : limit) : 0.0f;
      a[i] *= 0.5f * kLog2E;
      b[i] *= kLog2E;
      c[i] *= 0.5f * kLog2E;
    }
  }

  // Bit per segment: those of the rows that splat i reaches.
  HWY_INLINE uint64_t Segments(int i) const {
    const int first = static_cast<int>(first_row[i] + 0.999999f) * kParts;
    const int end = static_cast<int>(end_row[i]) * kParts;
    if (first >= end) return 0;
    const uint64_t below_end = end >= 64 ? ~uint64_t{0} : (uint64_t{1} << end) - 1;
    return below_end & (~uint64_t{0} << first);
  }
};

// One splat along x: what does not change from row to row.
struct SplatColumns {
  V dx[kParts];
  V peak[kParts];  // peak - a dx^2
  V b_dx[kParts];

  HWY_INLINE void Set(const SplatBatch& batch, int i, float tile_x) {
    const D d;
    const V start = hn::Sub(hn::Add(hn::Iota(d, 0.5f), hn::Set(d, tile_x)), hn::Set(d, batch.x[i]));
    const V a = hn::Set(d, batch.a[i]), b = hn::Set(d, batch.b[i]), top = hn::Set(d, batch.peak[i]);
    for (int part = 0; part < kParts; ++part) {
      dx[part] = hn::Add(start, hn::Set(d, static_cast<float>(part * kLanes)));
      peak[part] = hn::NegMulAdd(hn::Mul(a, dx[part]), dx[part], top);
      b_dx[part] = hn::Mul(b, dx[part]);
    }
  }
  // log2 alpha at height dy.
  HWY_INLINE V Log2Alpha(int part, float dy, float c_dy2) const {
    const D d;
    return hn::NegMulAdd(hn::Set(d, dy), b_dx[part], hn::Sub(peak[part], hn::Set(d, c_dy2)));
  }
};

// A tile's place in the image.
struct TilePlace {
  int x, y;           // first pixel
  int columns, rows;  // of pixels inside the image
};

HWY_INLINE TilePlace PlaceOfTile(int tile, int tile_columns, int width_px, int height_px) {
  TilePlace p;
  p.x = tile % tile_columns * kTileSize;
  p.y = tile / tile_columns * kTileSize;
  p.columns = width_px - p.x < kTileSize ? width_px - p.x : kTileSize;
  p.rows = height_px - p.y < kTileSize ? height_px - p.y : kTileSize;
  return p;
}

// Transmittance of every pixel of a tile: positive while the pixel takes more splats, negated once
// it is full, -1 outside the image.
struct TileTransmittance {
  alignas(64) float value[kTilePixels];
  uint64_t live;  // bit per segment: may have pixels that are not full

  HWY_ATTR void Reset(const TilePlace& place) {
    for (int y = 0; y < kTileSize; ++y) {
      for (int x = 0; x < kTileSize; ++x) {
        value[y * kTileSize + x] = x < place.columns && y < place.rows ? 1.0f : -1.0f;
      }
    }
    const int segments = place.rows * kParts;
    live = segments >= 64 ? ~uint64_t{0} : (uint64_t{1} << segments) - 1;
  }
};

// Blending weights of a batch of splats.
struct BatchWeights {
  alignas(64) float value[kBatch][kTilePixels];
  uint32_t active[kSegments];  // bit per splat: its weights are set there
};

// Evaluates the batch on the tile, front to back. Returns how many splats were looked at before all
// pixels were full. `median`: [kTilePixels] or null.
inline HWY_ATTR int WeighBatch(const SplatBatch& batch, const float* depth, const TilePlace& place,
                               TileTransmittance* transmittance, BatchWeights* weights,
                               float* median) {
  const D d;
  const V min_log2_alpha = hn::Set(d, kLog2MinAlpha);
  const V max_alpha = hn::Set(d, kMaxAlpha);
  const V min_transmittance = hn::Set(d, kMinTransmittance);
  const V sign = hn::Set(d, -0.0f);
  for (uint32_t& active : weights->active) active = 0;
  int i = 0;
  for (; i < batch.count && transmittance->live != 0; ++i) {
    uint64_t segments = transmittance->live & batch.Segments(i);
    if (segments == 0) continue;
    SplatColumns columns;
    columns.Set(batch, i, static_cast<float>(place.x));
    const float from_top = static_cast<float>(place.y) + 0.5f - batch.y[i];
    for (; segments != 0; segments &= segments - 1) {
      const int segment = std::countr_zero(segments);
      const int part = segment % kParts;
      const float dy = from_top + static_cast<float>(segment / kParts);
      const V log2_alpha = columns.Log2Alpha(part, dy, batch.c[i] * dy * dy);
      const M reached = hn::Ge(log2_alpha, min_log2_alpha);
      if (hn::AllFalse(d, reached)) continue;
      const V alpha = hn::IfThenElseZero(reached, hn::Min(Exp2(log2_alpha), max_alpha));
      float* t = transmittance->value + segment * kLanes;
      const V before = hn::Load(d, t);
      const V weight = hn::Mul(alpha, before);
      const V after = hn::Sub(before, weight);
      const M open = hn::Ge(after, min_transmittance);
      hn::Store(hn::IfThenElseZero(open, weight), d, weights->value[i] + segment * kLanes);
      hn::Store(hn::IfThenElse(open, after, hn::Or(before, sign)), d, t);
      weights->active[segment] |= 1u << i;
      if (hn::AllFalse(d, open)) transmittance->live &= ~(uint64_t{1} << segment);
      if (median != nullptr) {
        const V half = hn::Set(d, 0.5f);
        const M crosses = hn::And(open, hn::And(hn::Gt(before, half), hn::Le(after, half)));
        float* m = median + segment * kLanes;
        hn::Store(hn::IfThenElse(crosses, hn::Set(d, depth[i]), hn::Load(d, m)), d, m);
      }
    }
  }
  return i;
}

}  // namespace HWY_NAMESPACE
}  // namespace athanor
HWY_AFTER_NAMESPACE();

#endif
