// Tiles for processors with AVX-512 BF16 (Zen 4, Sapphire Rapids and later): one instruction
// multiplies two channels of a row by two channels of 16 outputs and adds both products. Highway of
// Debian 12 does not reach it.
#include "athanor/kernels/sparse_conv_tiles.h"

#if defined(__x86_64__)
#include <immintrin.h>

#include <cstring>
#include <utility>

#define ATHANOR_BF16 __attribute__((target("avx512f,avx512bw,avx512vl,avx512bf16")))

namespace athanor {
namespace {

constexpr int kWidth = 32, kRows = kMaxTileRows;

ATHANOR_BF16 inline __m512bh Pairs(const uint16_t* at) {
  return (__m512bh)_mm512_load_si512(at);  // NOLINT: the intrinsics' own way to reinterpret
}

ATHANOR_BF16 inline __m512bh Broadcast(const uint16_t* pair) {
  int32_t both;
  std::memcpy(&both, pair, sizeof both);
  return (__m512bh)_mm512_set1_epi32(both);  // NOLINT
}

template <int kCount>
ATHANOR_BF16 void AddTile(const ConvTile& tile) {
  const auto* features = static_cast<const uint16_t*>(tile.features);
  const auto* weights = static_cast<const uint16_t*>(tile.weights);
  const uint16_t* rows[kCount];
  __m512 low[kCount], high[kCount];
#pragma GCC unroll 16
  for (int i = 0; i < kCount; ++i) {
    rows[i] = features + int64_t{tile.inputs[i]} * tile.channels;
    low[i] = _mm512_load_ps(tile.sums + tile.outputs[i] * kWidth);
    high[i] = _mm512_load_ps(tile.sums + tile.outputs[i] * kWidth + 16);
  }
  int c = 0;
  for (; c + 2 <= tile.channels; c += 2, weights += 2 * kWidth) {
    const __m512bh w_low = Pairs(weights), w_high = Pairs(weights + kWidth);
#pragma GCC unroll 16
    for (int i = 0; i < kCount; ++i) {
      const __m512bh value = Broadcast(rows[i] + c);
      low[i] = _mm512_dpbf16_ps(low[i], value, w_low);
      high[i] = _mm512_dpbf16_ps(high[i], value, w_high);
    }
  }
  if (c < tile.channels) {  // an odd channel: its partner is 0, and lies outside the row
    const __m512bh w_low = Pairs(weights), w_high = Pairs(weights + kWidth);
#pragma GCC unroll 16
    for (int i = 0; i < kCount; ++i) {
      const __m512bh value = (__m512bh)_mm512_set1_epi32(rows[i][c]);  // NOLINT
      low[i] = _mm512_dpbf16_ps(low[i], value, w_low);
      high[i] = _mm512_dpbf16_ps(high[i], value, w_high);
    }
  }
#pragma GCC unroll 16
  for (int i = 0; i < kCount; ++i) {
    _mm512_store_ps(tile.sums + tile.outputs[i] * kWidth, low[i]);
    _mm512_store_ps(tile.sums + tile.outputs[i] * kWidth + 16, high[i]);
  }
}

template <int... kCounts>
void SetTiles(std::integer_sequence<int, kCounts...>, ConvKernels* kernels) {
  ((kernels->bfloat16_tiles[kCounts] = AddTile<kCounts + 1>), ...);
}

}  // namespace

bool AddNativeBfloat16(ConvKernels* kernels) {
  if (!__builtin_cpu_supports("avx512bf16") || !__builtin_cpu_supports("avx512bw")) return false;
  SetTiles(std::make_integer_sequence<int, kRows>(), kernels);
  return true;
}

}  // namespace athanor

#else

namespace athanor {
bool AddNativeBfloat16(ConvKernels*) { return false; }
}  // namespace athanor

#endif
