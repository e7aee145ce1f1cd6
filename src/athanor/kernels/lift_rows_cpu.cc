#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include "athanor/base/aligned.h"
#include "athanor/base/parallel.h"
#include "athanor/kernels/lift.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "athanor/kernels/lift_rows_cpu.cc"
// clang-format off
#include <hwy/foreach_target.h>
// clang-format on
#include <hwy/highway.h>

HWY_BEFORE_NAMESPACE();
namespace athanor {
namespace HWY_NAMESPACE {

namespace hn = hwy::HWY_NAMESPACE;

using D = hn::ScalableTag<float>;
using V = hn::Vec<D>;

// out[0, padded) += weight * row, the row's end padded with zeros.
HWY_ATTR void AddHalfRow(const uint16_t* row, int dimension, float weight, float* out) {
  const D d;
  const hn::Rebind<hwy::float16_t, D> half;
  const int lanes = static_cast<int>(hn::Lanes(d));
  const V w = hn::Set(d, weight);
  int c = 0;
  for (; c + lanes <= dimension; c += lanes) {
    const auto* f = reinterpret_cast<const hwy::float16_t*>(row + c);
    hn::Store(hn::MulAdd(w, hn::PromoteTo(d, hn::LoadU(half, f)), hn::Load(d, out + c)), d,
              out + c);
  }
  if (c < dimension) {
    alignas(64) uint16_t tail[64] = {};
    std::copy_n(row + c, dimension - c, tail);
    const auto* f = reinterpret_cast<const hwy::float16_t*>(tail);
    hn::Store(hn::MulAdd(w, hn::PromoteTo(d, hn::Load(half, f)), hn::Load(d, out + c)), d, out + c);
  }
}

HWY_ATTR float Dot(const float* a, const float* b, int padded) {
  const D d;
  const int lanes = static_cast<int>(hn::Lanes(d));
  V sum = hn::Zero(d);
  for (int c = 0; c < padded; c += lanes) {
    sum = hn::MulAdd(hn::Load(d, a + c), hn::Load(d, b + c), sum);
  }
  return hn::GetLane(hn::SumOfLanes(d, sum));
}

int PaddedLength(int dimension) {
  const int lanes = static_cast<int>(hn::Lanes(D()));
  return (dimension + lanes - 1) / lanes * lanes;
}

HWY_ATTR void HalfLengths(const uint16_t* features, int64_t begin, int64_t end, int dimension,
                          float* scales) {
  const D d;
  const hn::Rebind<hwy::float16_t, D> half;
  const int lanes = static_cast<int>(hn::Lanes(d));
  const int padded = PaddedLength(dimension);
  AlignedVector<float> row(padded, 0.0f);
  for (int64_t i = begin; i < end; ++i) {
    const uint16_t* from = features + i * dimension;
    float square = 0;
    if (padded == dimension) {
      V even = hn::Zero(d), odd = hn::Zero(d);
      for (int c = 0; c < padded; c += lanes) {
        const auto* f = reinterpret_cast<const hwy::float16_t*>(from + c);
        const V x = hn::PromoteTo(d, hn::LoadU(half, f));
        odd = hn::MulAdd(x, x, odd);
        std::swap(even, odd);
      }
      square = hn::GetLane(hn::SumOfLanes(d, hn::Add(even, odd)));
    } else {
      std::fill(row.begin(), row.end(), 0.0f);
      AddHalfRow(from, dimension, 1.0f, row.data());
      square = Dot(row.data(), row.data(), padded);
    }
    // Written so that NaN and infinity come out as NaN.
    scales[i] = square <= std::numeric_limits<float>::max()
                    ? (square > 0 ? 1.0f / std::sqrt(square) : 0.0f)
                    : std::numeric_limits<float>::quiet_NaN();
  }
}

HWY_ATTR void AddRows(const LiftRowsArgs& args, int64_t begin, int64_t end) {
  AlignedVector<float> sum(PaddedLength(args.dimension));
  for (int64_t r = begin; r < end; ++r) {
    if (args.offsets[r] == args.offsets[r + 1]) continue;
    std::fill(sum.begin(), sum.end(), 0.0f);
    for (int64_t e = args.offsets[r]; e < args.offsets[r + 1]; ++e) {
      const int64_t column = args.columns[e];
      AddHalfRow(args.features + column * args.dimension, args.dimension,
                 args.weights[e] * args.scales[column], sum.data());
    }
    const int64_t row = args.row_ids != nullptr ? args.row_ids[r] : r;
    float* out = args.sums + row * args.stride;
    for (int c = 0; c < args.dimension; ++c) out[c] += sum[c];
  }
}

HWY_ATTR void AddRobustRows(const LiftRobustRowsArgs& args, int64_t begin, int64_t end) {
  const LiftRowsArgs& in = args.rows;
  const int padded = PaddedLength(in.dimension);
  AlignedVector<float> parts, total(padded);  // parts: [views,padded]
  std::vector<float> part_weights, cosines;
  for (int64_t r = begin; r < end; ++r) {
    parts.clear(), part_weights.clear(), cosines.clear();
    std::fill(total.begin(), total.end(), 0.0f);
    int32_t view = -1;
    for (int64_t e = in.offsets[r]; e < in.offsets[r + 1]; ++e) {
      const int64_t column = in.columns[e];
      if (part_weights.empty() || args.views[column] != view) {
        view = args.views[column];
        parts.resize(parts.size() + padded, 0.0f);
        part_weights.push_back(0);
      }
      part_weights.back() += in.weights[e];
      AddHalfRow(in.features + column * in.dimension, in.dimension,
                 in.weights[e] * in.scales[column], parts.data() + parts.size() - padded);
    }
    const size_t views = part_weights.size();
    for (size_t v = 0; v < views; ++v) {
      for (int c = 0; c < padded; ++c) total[c] += parts[v * padded + c];
    }
    const float length = std::sqrt(Dot(total.data(), total.data(), padded));
    double mean = 0, square = 0;
    for (size_t v = 0; v < views; ++v) {
      const float* part = parts.data() + v * padded;
      const float scale = length * std::sqrt(Dot(part, part, padded));
      cosines.push_back(scale > 0 ? Dot(part, total.data(), padded) / scale : 0.0f);
      mean += cosines.back();
    }
    mean /= std::max<double>(1, static_cast<double>(views));
    for (const float cosine : cosines) square += (cosine - mean) * (cosine - mean);
    const double deviation = std::sqrt(square / std::max<double>(1, static_cast<double>(views)));
    // Views that agree up to rounding have no outliers.
    const double limit = mean - args.z_limit * std::max(deviation, 1e-4);
    args.weights[r] = 0;
    args.rejected_views[r] = 0;
    for (size_t v = 0; v < views; ++v) {
      if (cosines[v] < limit) {
        ++args.rejected_views[r];
        const float* part = parts.data() + v * padded;
        for (int c = 0; c < padded; ++c) total[c] -= part[c];
      } else {
        args.weights[r] += part_weights[v];
      }
    }
    std::copy_n(total.data(), in.dimension, in.sums + r * in.stride);
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace athanor
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace athanor {

HWY_EXPORT(HalfLengths);
HWY_EXPORT(AddRows);
HWY_EXPORT(AddRobustRows);

void InverseLengthsCpu(const uint16_t* features, int64_t cells, int dimension, float* scales) {
  ParallelFor(cells, 4096, [&](int64_t begin, int64_t end) {
    HWY_DYNAMIC_DISPATCH(HalfLengths)(features, begin, end, dimension, scales);
  });
}

void LiftRowsCpu(const LiftRowsArgs& args) {
  ParallelFor(args.rows, 512, [&](int64_t begin, int64_t end) {
    HWY_DYNAMIC_DISPATCH(AddRows)(args, begin, end);
  });
}

void LiftRobustRowsCpu(const LiftRobustRowsArgs& args) {
  ParallelFor(args.rows.rows, 512, [&](int64_t begin, int64_t end) {
    HWY_DYNAMIC_DISPATCH(AddRobustRows)(args, begin, end);
  });
}

}  // namespace athanor
#endif
