#include "athanor/kernels/sparse_conv_tiles.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "athanor/kernels/sparse_conv_tiles_cpu.cc"
// clang-format off
#include <hwy/foreach_target.h>
// clang-format on
#include <hwy/highway.h>

#include <bit>
#include <utility>

HWY_BEFORE_NAMESPACE();
namespace athanor {
namespace HWY_NAMESPACE {

namespace hn = hwy::HWY_NAMESPACE;

using D = hn::CappedTag<float, 16>;
using V = hn::Vec<D>;
constexpr int kLanes = static_cast<int>(hn::MaxLanes(D()));
constexpr int kWidth = 2 * kLanes;
// Two vectors per row, two of weights and a broadcast have to fit the registers: 32 or 16.
#if HWY_TARGET <= HWY_AVX3 || HWY_ARCH_ARM
constexpr int kRows = 14;
#else
constexpr int kRows = 6;
#endif

HWY_INLINE float Widen(float value) { return value; }
HWY_INLINE float Widen(uint16_t value) { return std::bit_cast<float>(uint32_t{value} << 16); }

template <typename T, int kCount>
HWY_ATTR void AddTile(const ConvTile& tile) {
  const D d;
  const auto* features = static_cast<const T*>(tile.features);
  const T* rows[kCount];
  V low[kCount], high[kCount];
#pragma GCC unroll 16
  for (int i = 0; i < kCount; ++i) {
    rows[i] = features + int64_t{tile.inputs[i]} * tile.channels;
    low[i] = hn::Load(d, tile.sums + tile.outputs[i] * kWidth);
    high[i] = hn::Load(d, tile.sums + tile.outputs[i] * kWidth + kLanes);
  }
  const auto* weights = static_cast<const float*>(tile.weights);
  for (int c = 0; c < tile.channels; ++c, weights += kWidth) {
    const V w_low = hn::Load(d, weights), w_high = hn::Load(d, weights + kLanes);
#pragma GCC unroll 16
    for (int i = 0; i < kCount; ++i) {
      const V value = hn::Set(d, Widen(rows[i][c]));
      low[i] = hn::MulAdd(value, w_low, low[i]);
      high[i] = hn::MulAdd(value, w_high, high[i]);
    }
  }
#pragma GCC unroll 16
  for (int i = 0; i < kCount; ++i) {
    hn::Store(low[i], d, tile.sums + tile.outputs[i] * kWidth);
    hn::Store(high[i], d, tile.sums + tile.outputs[i] * kWidth + kLanes);
  }
}

template <int kCount>
HWY_ATTR void AddWeightTile(const WeightTile& tile) {
  const D d;
  V low[kCount], high[kCount];
#pragma GCC unroll 16
  for (int c = 0; c < kCount; ++c) {
    low[c] = hn::Load(d, tile.d_weights + c * kWidth);
    high[c] = hn::Load(d, tile.d_weights + c * kWidth + kLanes);
  }
  for (int i = 0; i < tile.pairs; ++i) {
    const float* row = tile.features + tile.inputs[i] * tile.stride;
    const V d_low = hn::Load(d, tile.d_out + i * kWidth);
    const V d_high = hn::Load(d, tile.d_out + i * kWidth + kLanes);
#pragma GCC unroll 16
    for (int c = 0; c < kCount; ++c) {
      const V value = hn::Set(d, row[c]);
      low[c] = hn::MulAdd(value, d_low, low[c]);
      high[c] = hn::MulAdd(value, d_high, high[c]);
    }
  }
#pragma GCC unroll 16
  for (int c = 0; c < kCount; ++c) {
    hn::Store(low[c], d, tile.d_weights + c * kWidth);
    hn::Store(high[c], d, tile.d_weights + c * kWidth + kLanes);
  }
}

using Half = hn::Rebind<uint16_t, D>;

HWY_ATTR HWY_INLINE hn::Vec<Half> RoundToHalf(V value) {
  const hn::RebindToUnsigned<D> du;
  const auto bits = hn::BitCast(du, value);
  const auto odd = hn::And(hn::ShiftRight<16>(bits), hn::Set(du, 1));
  const auto rounded = hn::Add(bits, hn::Add(odd, hn::Set(du, 0x7fff)));
  const auto quiet = hn::Or(bits, hn::Set(du, 0x400000));
  const auto is_nan = hn::RebindMask(du, hn::IsNaN(value));
  return hn::TruncateTo(Half(), hn::ShiftRight<16>(hn::IfThenElse(is_nan, quiet, rounded)));
}

HWY_ATTR HWY_INLINE uint16_t RoundOne(float value) {
  const auto bits = std::bit_cast<uint32_t>(value);
  if (value != value) return static_cast<uint16_t>((bits | 0x400000) >> 16);
  return static_cast<uint16_t>((bits + (bits >> 16 & 1) + 0x7fff) >> 16);
}

HWY_ATTR void ToBfloat16(const float* in, int64_t n, uint16_t* out) {
  const D d;
  int64_t i = 0;
  for (; i + kLanes <= n; i += kLanes)
    hn::StoreU(RoundToHalf(hn::LoadU(d, in + i)), Half(), out + i);
  for (; i < n; ++i) out[i] = RoundOne(in[i]);
}

HWY_ATTR HWY_INLINE V LoadValues(const float* in) { return hn::LoadU(D(), in); }
HWY_ATTR HWY_INLINE V LoadValues(const uint16_t* in) {
  const hn::RebindToUnsigned<D> du;
  return hn::BitCast(D(), hn::ShiftLeft<16>(hn::PromoteTo(du, hn::LoadU(Half(), in))));
}
HWY_ATTR HWY_INLINE void StoreValues(V value, float* out) { hn::StoreU(value, D(), out); }
HWY_ATTR HWY_INLINE void StoreValues(V value, uint16_t* out) {
  hn::StoreU(RoundToHalf(value), Half(), out);
}
HWY_ATTR HWY_INLINE void StoreOne(float value, float* out) { *out = value; }
HWY_ATTR HWY_INLINE void StoreOne(float value, uint16_t* out) { *out = RoundOne(value); }

template <typename T>
HWY_ATTR void FinishRows(const ConvEpilogue& e) {
  const D d;
  const V least = e.relu ? hn::Zero(d) : hn::Set(d, -__builtin_inff());
  for (int64_t row = 0; row < e.rows; ++row) {
    const float* sums = e.sums + row * kWidth;
    const T* residual =
        e.residual == nullptr ? nullptr : static_cast<const T*>(e.residual) + row * e.stride;
    T* out = static_cast<T*>(e.out) + row * e.stride;
    int c = 0;
    for (; c + kLanes <= e.channels; c += kLanes) {
      V value = hn::Load(d, sums + c);
      if (residual != nullptr) value = hn::Add(value, LoadValues(residual + c));
      // This way round, NaN passes through.
      StoreValues(hn::IfThenElse(hn::Lt(value, least), least, value), out + c);
    }
    for (; c < e.channels; ++c) {
      float value = sums[c];
      if (residual != nullptr) value += Widen(residual[c]);
      StoreOne(e.relu && value < 0 ? 0.0f : value, out + c);
    }
  }
}

HWY_ATTR void Finish(const ConvEpilogue& epilogue) {
  if (epilogue.is_bfloat16) {
    FinishRows<uint16_t>(epilogue);
  } else {
    FinishRows<float>(epilogue);
  }
}

template <int... kCounts>
void SetTiles(std::integer_sequence<int, kCounts...>, ConvKernels* kernels) {
  ((kernels->float_tiles[kCounts] = AddTile<float, kCounts + 1>), ...);
  ((kernels->bfloat16_tiles[kCounts] = AddTile<uint16_t, kCounts + 1>), ...);
  ((kernels->weight_tiles[kCounts] = AddWeightTile<kCounts + 1>), ...);
}

ConvKernels MakeKernels() {
  ConvKernels kernels = {};
  kernels.width = kWidth;
  kernels.rows = kRows;
  SetTiles(std::make_integer_sequence<int, kRows>(), &kernels);
  kernels.epilogue = Finish;
  kernels.to_bfloat16 = ToBfloat16;
  return kernels;
}

}  // namespace HWY_NAMESPACE
}  // namespace athanor
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace athanor {

HWY_EXPORT(MakeKernels);

const ConvKernels& GetConvKernels() {
  static const ConvKernels kernels = [] {
    ConvKernels best = HWY_DYNAMIC_DISPATCH(MakeKernels)();
    best.packs_pairs = best.width == 32 && AddNativeBfloat16(&best);
    return best;
  }();
  return kernels;
}

}  // namespace athanor
#endif
