// One instruction multiplies the weights of two cells by 16 channels of both and adds the products:
// half the instructions of float32, and half the bytes of features to fetch, which are what limits
// lifting.
#include <algorithm>

#include "athanor/base/aligned.h"
#include "athanor/kernels/lift_bfloat16.h"

#if defined(__x86_64__)
// GCC 12 takes the undefined values inside its own intrinsics for ours.
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#include <immintrin.h>

#define ATHANOR_BF16 __attribute__((target("avx512f,avx512bw,avx512vl,avx512bf16,f16c")))

namespace athanor {
namespace {

constexpr int kLanes = 16, kMaxVectors = 8, kPairs = kTilePixelCount / 2;
constexpr size_t kAhead = 2;  // splats whose sums are fetched before they are needed

// Channels [first, first + count) of the tile's cells: for each pair of cells, vectors of 16
// channels, each the two cells' values side by side. What is missing is 0.
ATHANOR_BF16 void LoadPairs(const LiftTilesArgs& args, const std::vector<int32_t>& cells, int first,
                            int count, int vectors, __m512i* out) {
  const size_t pairs = (cells.size() + 1) / 2;
  for (size_t p = 0; p < pairs; ++p) {
    for (int v = 0; v < vectors; ++v) {
      const int left = count - v * kLanes;
      const auto mask = static_cast<__mmask16>(left >= kLanes ? 0xffff : (1 << left) - 1);
      __m512i half[2] = {_mm512_setzero_si512(), _mm512_setzero_si512()};
      for (int k = 0; k < 2 && 2 * p + k < cells.size(); ++k) {
        const int32_t cell = cells[2 * p + k];
        const uint16_t* from = args.features + int64_t{cell} * args.dimension + first + v * kLanes;
        const __m512 values = _mm512_cvtph_ps(_mm256_maskz_loadu_epi16(mask, from));
        const float scale = args.scales != nullptr ? args.scales[cell] : 1.0f;
        const __m256bh rounded = _mm512_cvtneps_pbh(_mm512_mul_ps(values, _mm512_set1_ps(scale)));
        half[k] = _mm512_cvtepu16_epi32((__m256i)rounded);  // NOLINT: as the intrinsics want it
      }
      out[p * vectors + v] = _mm512_or_si512(half[0], _mm512_slli_epi32(half[1], 16));
    }
  }
}

// out += factor sum_e weights[e] features[pairs[e]] for kCount vectors held in registers.
template <int kCount>
ATHANOR_BF16 void AddRun(const __m512i* features, const PairWeight* run, int count, float factor,
                         float* out) {
  __m512 sum[kCount];
  for (int v = 0; v < kCount; ++v) sum[v] = _mm512_setzero_ps();
  for (int e = 0; e < count; ++e) {
    const __m512bh weights = (__m512bh)_mm512_set1_epi32(run[e].weights);  // NOLINT
    const __m512i* f = features + static_cast<size_t>(run[e].pair) * kCount;
    for (int v = 0; v < kCount; ++v) {
      sum[v] = _mm512_dpbf16_ps(sum[v], weights, (__m512bh)_mm512_load_si512(f + v));  // NOLINT
    }
  }
  const __m512 by = _mm512_set1_ps(factor);
  for (int v = 0; v < kCount; ++v) {
    float* to = out + v * kLanes;
    _mm512_storeu_ps(to, _mm512_fmadd_ps(by, sum[v], _mm512_loadu_ps(to)));
  }
}

using AddRunFunction = void (*)(const __m512i*, const PairWeight*, int, float, float*);
constexpr AddRunFunction kAddRun[kMaxVectors] = {AddRun<1>, AddRun<2>, AddRun<3>, AddRun<4>,
                                                 AddRun<5>, AddRun<6>, AddRun<7>, AddRun<8>};

// Adds the weights of a tile to channels [first, first + count), which are kMaxVectors vectors at
// most.
ATHANOR_BF16 void AddTile(const LiftTilesArgs& args, const TileWeights& tile, int first, int count,
                          __m512i* features) {
  const int vectors = (count + kLanes - 1) / kLanes;
  // Where the row of sums ends inside of a vector, the run goes through here.
  alignas(64) float padded[kLanes * kMaxVectors];
  const bool fits = first + int64_t{vectors} * kLanes <= args.stride;
  const auto row_of = [&](int32_t splat) {
    return args.sums + (args.rows != nullptr ? args.rows[splat] : splat) * args.stride + first;
  };
  LoadPairs(args, tile.cells, first, count, vectors, features);
  int32_t begin = 0;
  for (size_t s = 0; s < tile.splats.size(); ++s) {
    const int32_t end = tile.pair_ends[s];
    if (s + kAhead < tile.splats.size()) {
      const float* ahead = row_of(tile.splats[s + kAhead]);
      for (int c = 0; c < count; c += kLanes) __builtin_prefetch(ahead + c, 1);
    }
    if (end > begin) {
      float* out = row_of(tile.splats[s]);
      const PairWeight* run = tile.pairs.data() + begin;
      if (fits) {
        kAddRun[vectors - 1](features, run, end - begin, args.factor, out);
      } else {
        std::fill_n(padded, vectors * kLanes, 0.0f);
        kAddRun[vectors - 1](features, run, end - begin, args.factor, padded);
        for (int c = 0; c < count; ++c) out[c] += padded[c];
      }
    }
    begin = end;
  }
}

}  // namespace

bool HasNativeBfloat16() {
  return __builtin_cpu_supports("avx512bf16") != 0 && __builtin_cpu_supports("avx512bw") != 0 &&
         __builtin_cpu_supports("avx512vl") != 0;
}

ATHANOR_BF16 void AddChannelsBfloat16(const LiftTilesArgs& args, const TileWeights* tiles,
                                      int num_tiles, int columns, int first, int count) {
  alignas(64) __m512i features[kPairs * kMaxVectors];
  const int rows = num_tiles / columns;
  for (int k = 0; k < num_tiles; ++k) {
    const TileWeights& tile = tiles[k % rows * columns + k / rows];
    if (tile.splats.empty()) continue;
    for (int done = 0; done < count; done += kMaxVectors * kLanes) {
      AddTile(args, tile, first + done, std::min(kMaxVectors * kLanes, count - done), features);
    }
  }
}

}  // namespace athanor

#else

namespace athanor {
bool HasNativeBfloat16() { return false; }
void AddChannelsBfloat16(const LiftTilesArgs&, const TileWeights*, int, int, int, int) {}
}  // namespace athanor

#endif
