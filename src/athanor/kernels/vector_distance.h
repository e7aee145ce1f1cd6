// Inner products of stored vectors with queries: what search by similarity spends its time on. Rows
// are f32, f16, or i8 with a scale of their own; read where they lie, one pointer each, so that
// neighbours in a graph and the rows of a block are the same to it.
//
// Bytes per row (D rounded up to a multiple of 32): f32 4 D, f16 2 D, i8 D + 4. 256-d: 1024, 512,
// 260. i8 keeps a component to 1/254 of the row's largest; queries on i8 rows are rounded to 1/8191
// of theirs. Components have to be finite; f16 holds up to 65504.
#pragma once

#include <cstdint>
#include <string_view>

#include "athanor/base/aligned.h"

namespace athanor {

enum class VectorPrecision : uint8_t { kFloat32 = 0, kFloat16 = 1, kInt8 = 2 };

// "f32", "f16", "i8".
std::string_view VectorPrecisionName(VectorPrecision precision);

inline constexpr int kMaxVectorDimension = 8192;

struct VectorLayout {
  VectorPrecision precision = VectorPrecision::kFloat16;
  int dimension = 0;  // D, 1 .. kMaxVectorDimension

  int padded() const { return (dimension + 31) / 32 * 32; }
  int64_t row_bytes() const;
};

// `vector`: [D]; `row`: row_bytes() bytes, of any alignment.
void EncodeVector(const VectorLayout& layout, const float* vector, void* row);
void DecodeVector(const VectorLayout& layout, const void* row, float* vector);

// A query in the form that the rows of one layout are multiplied with.
class EncodedQuery {
 public:
  EncodedQuery(const VectorLayout& layout, const float* vector);

  const void* data() const { return data_.data(); }
  float scale() const { return scale_; }

 private:
  AlignedVector<uint8_t> data_;  // [padded] float, or int16 for i8 rows
  float scale_ = 1;
};

// scores[q * n + i] = queries[q] . rows[i]. On the calling thread.
struct VectorScoresArgs {
  VectorLayout layout;
  int queries_count;                   // Q >= 0
  const EncodedQuery* const* queries;  // [Q]
  int64_t n;
  const void* const* rows;  // [N], each row_bytes() long
  float* scores;            // [Q,N] out
};
void VectorScoresCpu(const VectorScoresArgs& args);

// The inner product of two rows of the same layout: what building a graph needs.
using VectorDotFunction = float (*)(const void* a, const void* b, int padded);
VectorDotFunction FindVectorDot(VectorPrecision precision);

}  // namespace athanor
