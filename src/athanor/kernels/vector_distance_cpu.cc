#include <algorithm>
#include <cmath>
#include <cstring>
#include <vector>

#include "athanor/kernels/vector_distance.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "athanor/kernels/vector_distance_cpu.cc"
// clang-format off
#include <hwy/foreach_target.h>
// clang-format on
#include <hwy/cache_control.h>
#include <hwy/highway.h>

HWY_BEFORE_NAMESPACE();
namespace athanor {
namespace HWY_NAMESPACE {

namespace hn = hwy::HWY_NAMESPACE;

// Vectors of at most 32 components, the padding of rows.
using D = hn::CappedTag<float, 16>;
using D16 = hn::CappedTag<int16_t, 32>;
using D32 = hn::RepartitionToWide<D16>;

// How the rows of one precision are loaded and multiplied. A query of f16 rows is f32, of i8 rows
// i16; a row can stand in for the query.
struct Float32Rows {
  using Query = float;
  using Sum = hn::Vec<D>;
  static HWY_INLINE Sum Zero() { return hn::Zero(D()); }
  static HWY_INLINE int Step() { return static_cast<int>(hn::Lanes(D())); }
  static HWY_INLINE auto LoadRow(const void* row, int c) {
    return hn::LoadU(D(), static_cast<const float*>(row) + c);
  }
  static HWY_INLINE auto LoadQuery(const void* query, int c) { return LoadRow(query, c); }
  template <class V>
  static HWY_INLINE Sum Add(V a, V b, Sum sum) {
    return hn::MulAdd(a, b, sum);
  }
  static HWY_INLINE float Total(Sum sum) { return hn::GetLane(hn::SumOfLanes(D(), sum)); }
  static HWY_INLINE float Scale(const void*, int) { return 1.0f; }
};

struct Float16Rows : Float32Rows {
  static HWY_INLINE auto LoadRow(const void* row, int c) {
    const hn::Rebind<hwy::float16_t, D> half;
    return hn::PromoteTo(D(), hn::LoadU(half, static_cast<const hwy::float16_t*>(row) + c));
  }
};

struct Int8Rows {
  using Query = int16_t;
  using Sum = hn::Vec<D32>;
  static HWY_INLINE Sum Zero() { return hn::Zero(D32()); }
  static HWY_INLINE int Step() { return static_cast<int>(hn::Lanes(D16())); }
  static HWY_INLINE auto LoadRow(const void* row, int c) {
    const hn::Rebind<int8_t, D16> bytes;
    return hn::PromoteTo(D16(), hn::LoadU(bytes, static_cast<const int8_t*>(row) + c));
  }
  static HWY_INLINE auto LoadQuery(const void* query, int c) {
    return hn::LoadU(D16(), static_cast<const int16_t*>(query) + c);
  }
  template <class V>
  static HWY_INLINE Sum Add(V a, V b, Sum sum) {
    Sum other = hn::Zero(D32());
    sum = hn::ReorderWidenMulAccumulate(D32(), a, b, sum, other);
    return hn::Add(sum, other);
  }
  // In float: the sum over all lanes may pass 2^31.
  static HWY_INLINE float Total(Sum sum) {
    const hn::Rebind<float, D32> d;
    return hn::GetLane(hn::SumOfLanes(d, hn::ConvertTo(d, sum)));
  }
  static HWY_INLINE float Scale(const void* row, int padded) {
    float scale;
    std::memcpy(&scale, static_cast<const int8_t*>(row) + padded, sizeof scale);
    return scale;
  }
};

// kRows rows with kQueries queries at once: enough sums that none waits for itself.
template <class Rows, int kRows, int kQueries>
HWY_ATTR HWY_INLINE void Block(const void* const* rows, const EncodedQuery* const* queries,
                               int padded, float* scores, int64_t stride) {
  typename Rows::Sum sums[kRows * kQueries];
  for (auto& sum : sums) sum = Rows::Zero();
  for (int c = 0; c < padded; c += Rows::Step()) {
    for (int q = 0; q < kQueries; ++q) {
      const auto query = Rows::LoadQuery(queries[q]->data(), c);
      for (int r = 0; r < kRows; ++r) {
        sums[q * kRows + r] = Rows::Add(Rows::LoadRow(rows[r], c), query, sums[q * kRows + r]);
      }
    }
  }
  for (int q = 0; q < kQueries; ++q) {
    for (int r = 0; r < kRows; ++r) {
      scores[q * stride + r] =
          Rows::Total(sums[q * kRows + r]) * (queries[q]->scale() * Rows::Scale(rows[r], padded));
    }
  }
}

template <class Rows>
HWY_ATTR void Scores(const VectorScoresArgs& args) {
  const int padded = args.layout.padded();
  const auto bytes = static_cast<int>(args.layout.row_bytes());
  constexpr int64_t kAhead = 6;  // rows: what memory takes to answer
  const auto prefetch = [&](int64_t i) HWY_ATTR {
    if (i >= args.n) return;
    const auto* row = static_cast<const uint8_t*>(args.rows[i]);
    for (int byte = 0; byte < bytes; byte += 64) hwy::Prefetch(row + byte);
  };
  for (int64_t i = 0; i < std::min(args.n, kAhead); ++i) prefetch(i);
  for (int64_t i = 0; i < args.n;) {
    const int rows = args.n - i >= 2 ? 2 : 1;
    for (int r = 0; r < rows; ++r) prefetch(i + kAhead + r);
    const void* const* row = args.rows + i;
    int q = 0;
    for (; q + 4 <= args.queries_count; q += 4) {
      float* out = args.scores + q * args.n + i;
      if (rows == 2) {
        Block<Rows, 2, 4>(row, args.queries + q, padded, out, args.n);
      } else {
        Block<Rows, 1, 4>(row, args.queries + q, padded, out, args.n);
      }
    }
    for (; q < args.queries_count; ++q) {
      float* out = args.scores + q * args.n + i;
      if (rows == 2) {
        Block<Rows, 2, 1>(row, args.queries + q, padded, out, args.n);
      } else {
        Block<Rows, 1, 1>(row, args.queries + q, padded, out, args.n);
      }
    }
    i += rows;
  }
}

HWY_ATTR void ScoresOf(const VectorScoresArgs& args) {
  switch (args.layout.precision) {
    case VectorPrecision::kFloat32:
      return Scores<Float32Rows>(args);
    case VectorPrecision::kFloat16:
      return Scores<Float16Rows>(args);
    case VectorPrecision::kInt8:
      return Scores<Int8Rows>(args);
  }
}

template <class Rows>
HWY_ATTR HWY_INLINE float Dot(const void* a, const void* b, int padded) {
  typename Rows::Sum even = Rows::Zero(), odd = Rows::Zero();
  const int step = Rows::Step();
  int c = 0;
  for (; c + 2 * step <= padded; c += 2 * step) {
    even = Rows::Add(Rows::LoadRow(a, c), Rows::LoadRow(b, c), even);
    odd = Rows::Add(Rows::LoadRow(a, c + step), Rows::LoadRow(b, c + step), odd);
  }
  if (c < padded) even = Rows::Add(Rows::LoadRow(a, c), Rows::LoadRow(b, c), even);
  return Rows::Total(hn::Add(even, odd)) * (Rows::Scale(a, padded) * Rows::Scale(b, padded));
}

HWY_ATTR float DotFloat32(const void* a, const void* b, int n) { return Dot<Float32Rows>(a, b, n); }
HWY_ATTR float DotFloat16(const void* a, const void* b, int n) { return Dot<Float16Rows>(a, b, n); }
HWY_ATTR float DotInt8(const void* a, const void* b, int n) { return Dot<Int8Rows>(a, b, n); }

// Between f32 and f16, `n` a multiple of 32.
HWY_ATTR void ToHalf(const float* from, uint16_t* to, int n) {
  const D d;
  const hn::Rebind<hwy::float16_t, D> half;
  for (int c = 0; c < n; c += static_cast<int>(hn::Lanes(d))) {
    hn::StoreU(hn::DemoteTo(half, hn::LoadU(d, from + c)), half,
               reinterpret_cast<hwy::float16_t*>(to + c));
  }
}

HWY_ATTR void FromHalf(const uint16_t* from, float* to, int n) {
  const D d;
  for (int c = 0; c < n; c += static_cast<int>(hn::Lanes(d))) {
    hn::StoreU(Float16Rows::LoadRow(from, c), d, to + c);
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace athanor
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace athanor {
namespace {

constexpr float kInt8Steps = 127, kQuerySteps = 8191;

float LargestMagnitude(const float* vector, int n) {
  float largest = 0;
  for (int c = 0; c < n; ++c) largest = std::max(largest, std::abs(vector[c]));
  return largest;
}

// Rounds to whole steps and returns the size of one.
template <typename Integer>
float Quantize(const float* vector, int n, float steps, Integer* out) {
  const float largest = LargestMagnitude(vector, n);
  if (!(largest > 0)) {
    std::fill_n(out, n, Integer{0});
    return 0;
  }
  for (int c = 0; c < n; ++c) {
    out[c] = static_cast<Integer>(std::lrintf(vector[c] / largest * steps));
  }
  return largest / steps;
}

}  // namespace

HWY_EXPORT(ScoresOf);
HWY_EXPORT(DotFloat32);
HWY_EXPORT(DotFloat16);
HWY_EXPORT(DotInt8);
HWY_EXPORT(ToHalf);
HWY_EXPORT(FromHalf);

std::string_view VectorPrecisionName(VectorPrecision precision) {
  constexpr std::string_view kNames[] = {"f32", "f16", "i8"};
  return kNames[static_cast<int>(precision)];
}

int64_t VectorLayout::row_bytes() const {
  switch (precision) {
    case VectorPrecision::kFloat32:
      return int64_t{4} * padded();
    case VectorPrecision::kFloat16:
      return int64_t{2} * padded();
    case VectorPrecision::kInt8:
      return int64_t{1} * padded() + static_cast<int64_t>(sizeof(float));
  }
  return 0;
}

void EncodeVector(const VectorLayout& layout, const float* vector, void* row) {
  const int dimension = layout.dimension, padded = layout.padded();
  switch (layout.precision) {
    case VectorPrecision::kFloat32: {
      std::memset(row, 0, layout.row_bytes());
      std::memcpy(row, vector, sizeof(float) * dimension);
      return;
    }
    case VectorPrecision::kFloat16: {
      std::vector<float> whole(padded, 0.0f);
      std::vector<uint16_t> halves(padded);
      std::copy_n(vector, dimension, whole.data());
      HWY_DYNAMIC_DISPATCH(ToHalf)(whole.data(), halves.data(), padded);
      std::memcpy(row, halves.data(), layout.row_bytes());
      return;
    }
    case VectorPrecision::kInt8: {
      auto* bytes = static_cast<int8_t*>(row);
      std::memset(row, 0, layout.row_bytes());
      const float scale = Quantize(vector, dimension, kInt8Steps, bytes);
      std::memcpy(bytes + padded, &scale, sizeof scale);
      return;
    }
  }
}

void DecodeVector(const VectorLayout& layout, const void* row, float* vector) {
  const int dimension = layout.dimension, padded = layout.padded();
  switch (layout.precision) {
    case VectorPrecision::kFloat32:
      std::memcpy(vector, row, sizeof(float) * dimension);
      return;
    case VectorPrecision::kFloat16: {
      std::vector<float> whole(padded);
      std::vector<uint16_t> halves(padded);
      std::memcpy(halves.data(), row, layout.row_bytes());
      HWY_DYNAMIC_DISPATCH(FromHalf)(halves.data(), whole.data(), padded);
      std::copy_n(whole.data(), dimension, vector);
      return;
    }
    case VectorPrecision::kInt8: {
      const auto* bytes = static_cast<const int8_t*>(row);
      float scale;
      std::memcpy(&scale, bytes + padded, sizeof scale);
      for (int c = 0; c < dimension; ++c) vector[c] = scale * static_cast<float>(bytes[c]);
      return;
    }
  }
}

EncodedQuery::EncodedQuery(const VectorLayout& layout, const float* vector) {
  if (layout.precision == VectorPrecision::kInt8) {
    std::vector<int16_t> steps(layout.padded(), 0);
    scale_ = Quantize(vector, layout.dimension, kQuerySteps, steps.data());
    data_.resize(steps.size() * sizeof(int16_t));
    std::memcpy(data_.data(), steps.data(), data_.size());
  } else {
    data_.resize(sizeof(float) * layout.padded(), 0);
    std::memcpy(data_.data(), vector, sizeof(float) * layout.dimension);
  }
}

void VectorScoresCpu(const VectorScoresArgs& args) { HWY_DYNAMIC_DISPATCH(ScoresOf)(args); }

VectorDotFunction FindVectorDot(VectorPrecision precision) {
  // Until it is told, the table holds functions that look for the target at every call.
  hwy::GetChosenTarget().Update(hwy::SupportedTargets());
  switch (precision) {
    case VectorPrecision::kFloat32:
      return &HWY_DYNAMIC_DISPATCH(DotFloat32);
    case VectorPrecision::kFloat16:
      return &HWY_DYNAMIC_DISPATCH(DotFloat16);
    case VectorPrecision::kInt8:
      return &HWY_DYNAMIC_DISPATCH(DotInt8);
  }
  return nullptr;
}

}  // namespace athanor
#endif
