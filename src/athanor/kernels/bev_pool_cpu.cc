#include <algorithm>

#include "athanor/base/parallel.h"
#include "athanor/kernels/bev_pool.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "athanor/kernels/bev_pool_cpu.cc"
// clang-format off
#include <hwy/foreach_target.h>
// clang-format on
#include <hwy/highway.h>

HWY_BEFORE_NAMESPACE();
namespace athanor {
namespace HWY_NAMESPACE {

namespace hn = hwy::HWY_NAMESPACE;

using D = hn::CappedTag<float, 16>;
using V = hn::Vec<D>;
constexpr int kLanes = static_cast<int>(hn::MaxLanes(D()));

// Both loops keep kCount vectors of channels in registers while they walk a list.

// Channels first ... of one cell.
template <int kCount>
HWY_ATTR void PoolCell(const BevPoolArgs& args, int64_t cell, int first) {
  const D d;
  V sums[kCount];
#pragma GCC unroll 4
  for (int i = 0; i < kCount; ++i) sums[i] = hn::Zero(d);
  for (int32_t m = args.offsets[cell]; m < args.offsets[cell + 1]; ++m) {
    const float* row = args.features + int64_t{args.pixels[m]} * args.channels + first;
    const V weight = hn::Set(d, args.weights != nullptr ? args.weights[args.places[m]] : 1.0f);
#pragma GCC unroll 4
    for (int i = 0; i < kCount; ++i) {
      sums[i] = hn::MulAdd(weight, hn::LoadU(d, row + i * kLanes), sums[i]);
    }
  }
  float* out = args.out + cell * args.channels + first;
#pragma GCC unroll 4
  for (int i = 0; i < kCount; ++i) hn::StoreU(sums[i], d, out + i * kLanes);
}

HWY_ATTR void PoolCells(const BevPoolArgs& args, int64_t begin, int64_t end) {
  for (int64_t cell = begin; cell < end; ++cell) {
    float* out = args.out + cell * args.channels;
    if (args.offsets[cell] == args.offsets[cell + 1]) {
      std::fill_n(out, args.channels, 0.0f);
      continue;
    }
    int c = 0;
    for (; c + 4 * kLanes <= args.channels; c += 4 * kLanes) PoolCell<4>(args, cell, c);
    for (; c + kLanes <= args.channels; c += kLanes) PoolCell<1>(args, cell, c);
    for (; c < args.channels; ++c) {
      float sum = 0;
      for (int32_t m = args.offsets[cell]; m < args.offsets[cell + 1]; ++m) {
        const float weight = args.weights != nullptr ? args.weights[args.places[m]] : 1.0f;
        sum += weight * args.features[int64_t{args.pixels[m]} * args.channels + c];
      }
      out[c] = sum;
    }
  }
}

// Channels first ... of one pixel. `place` is that of the weight of its first bin.
template <int kCount, bool kWithWeights>
HWY_ATTR void SpreadToPixel(const BevSpreadArgs& args, int64_t pixel, int64_t place, int first) {
  const D d;
  V sums[kCount], features[kCount];
#pragma GCC unroll 4
  for (int i = 0; i < kCount; ++i) {
    sums[i] = hn::Zero(d);
    if constexpr (kWithWeights) {
      features[i] = hn::LoadU(d, args.features + pixel * args.channels + first + i * kLanes);
    }
  }
  const int32_t* cells = args.cells + pixel * args.bins;
  for (int bin = 0; bin < args.bins; ++bin, place += args.plane) {
    if (cells[bin] < 0) continue;
    const float* row = args.values + int64_t{cells[bin]} * args.channels + first;
    const V weight = hn::Set(d, args.weights != nullptr ? args.weights[place] : 1.0f);
    V dot = hn::Zero(d);
#pragma GCC unroll 4
    for (int i = 0; i < kCount; ++i) {
      const V value = hn::LoadU(d, row + i * kLanes);
      sums[i] = hn::MulAdd(weight, value, sums[i]);
      if constexpr (kWithWeights) dot = hn::MulAdd(features[i], value, dot);
    }
    if constexpr (kWithWeights) args.d_weights[place] += hn::GetLane(hn::SumOfLanes(d, dot));
  }
  if (args.out == nullptr) return;
  float* out = args.out + pixel * args.channels + first;
#pragma GCC unroll 4
  for (int i = 0; i < kCount; ++i) hn::StoreU(sums[i], d, out + i * kLanes);
}

template <bool kWithWeights>
HWY_ATTR void SpreadToPixels(const BevSpreadArgs& args, int64_t begin, int64_t end) {
  for (int64_t pixel = begin; pixel < end; ++pixel) {
    const int64_t first_place = pixel / args.plane * args.bins * args.plane + pixel % args.plane;
    if constexpr (kWithWeights) {
      for (int bin = 0; bin < args.bins; ++bin) args.d_weights[first_place + bin * args.plane] = 0;
    }
    int c = 0;
    for (; c + 4 * kLanes <= args.channels; c += 4 * kLanes) {
      SpreadToPixel<4, kWithWeights>(args, pixel, first_place, c);
    }
    for (; c + kLanes <= args.channels; c += kLanes) {
      SpreadToPixel<1, kWithWeights>(args, pixel, first_place, c);
    }
    const int32_t* cells = args.cells + pixel * args.bins;
    for (; c < args.channels; ++c) {
      float sum = 0;
      for (int bin = 0; bin < args.bins; ++bin) {
        if (cells[bin] < 0) continue;
        const int64_t place = first_place + bin * args.plane;
        const float value = args.values[int64_t{cells[bin]} * args.channels + c];
        sum += (args.weights != nullptr ? args.weights[place] : 1.0f) * value;
        if constexpr (kWithWeights) {
          args.d_weights[place] += args.features[pixel * args.channels + c] * value;
        }
      }
      if (args.out != nullptr) args.out[pixel * args.channels + c] = sum;
    }
  }
}

HWY_ATTR void Spread(const BevSpreadArgs& args, int64_t begin, int64_t end) {
  if (args.d_weights != nullptr) {
    SpreadToPixels<true>(args, begin, end);
  } else {
    SpreadToPixels<false>(args, begin, end);
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace athanor
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace athanor {

HWY_EXPORT(PoolCells);
HWY_EXPORT(Spread);

void BevPoolCpu(const BevPoolArgs& args) {
  ParallelFor(args.cells, 512, [&](int64_t begin, int64_t end) {
    HWY_DYNAMIC_DISPATCH(PoolCells)(args, begin, end);
  });
}

void BevSpreadCpu(const BevSpreadArgs& args) {
  ParallelFor(args.pixels, 64, [&](int64_t begin, int64_t end) {
    HWY_DYNAMIC_DISPATCH(Spread)(args, begin, end);
  });
}

}  // namespace athanor
#endif
