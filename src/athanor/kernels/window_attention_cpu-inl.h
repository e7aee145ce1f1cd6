// What attention in windows computes with, compiled once per instruction set: products of matrices
// that fit the L1 cache, and an exponential.
#if defined(ATHANOR_KERNELS_WINDOW_ATTENTION_CPU_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef ATHANOR_KERNELS_WINDOW_ATTENTION_CPU_INL_H_
#undef ATHANOR_KERNELS_WINDOW_ATTENTION_CPU_INL_H_
#else
#define ATHANOR_KERNELS_WINDOW_ATTENTION_CPU_INL_H_
#endif

#include <hwy/highway.h>

HWY_BEFORE_NAMESPACE();
namespace athanor {
namespace HWY_NAMESPACE {

namespace hn = hwy::HWY_NAMESPACE;

using D = hn::CappedTag<float, 16>;
using V = hn::Vec<D>;

constexpr int kLanes = static_cast<int>(hn::MaxLanes(D()));
// Sums that a tile of a product keeps in registers: 4 rows by these vectors, or 8 by 1.
constexpr int kMaxVectors = kLanes == 16 ? 4 : 2;

// out[r][.] = init[r][.] + sum_k a(r, k) b[k][.], where a(r, k) = a[r * row_step + k * depth_step].
struct Product {
  int rows, depth;
  int stride;  // of b, out and init; whole vectors
  const float* a;
  int row_step, depth_step;
  const float* b;
  float* out;
  const float* init;     // null: 0
  const int* init_rows;  // which rows of it
};

template <int kRows, int kVectors>
HWY_INLINE void ProductTile(const Product& p, int row, int column) {
  const D d;
  V sums[kRows][kVectors];
  for (int r = 0; r < kRows; ++r) {
    for (int v = 0; v < kVectors; ++v) {
      sums[r][v] =
          p.init == nullptr
              ? hn::Zero(d)
              : hn::Load(d, p.init + p.init_rows[row + r] * p.stride + column + v * kLanes);
    }
  }
  const float* a = p.a + row * p.row_step;
  const float* b = p.b + column;
  for (int k = 0; k < p.depth; ++k, a += p.depth_step, b += p.stride) {
    V right[kVectors];
    for (int v = 0; v < kVectors; ++v) right[v] = hn::Load(d, b + v * kLanes);
    for (int r = 0; r < kRows; ++r) {
      const V left = hn::Set(d, a[r * p.row_step]);
      for (int v = 0; v < kVectors; ++v) sums[r][v] = hn::MulAdd(left, right[v], sums[r][v]);
    }
  }
  float* out = p.out + row * p.stride + column;
  for (int r = 0; r < kRows; ++r, out += p.stride) {
    for (int v = 0; v < kVectors; ++v) hn::Store(sums[r][v], d, out + v * kLanes);
  }
}

template <int kVectors>
void ProductColumns(const Product& p, int column) {
  int row = 0;
  if constexpr (kVectors == 1) {
    for (; row + 8 <= p.rows; row += 8) ProductTile<8, 1>(p, row, column);
  }
  for (; row + 4 <= p.rows; row += 4) ProductTile<4, kVectors>(p, row, column);
  for (; row < p.rows; ++row) ProductTile<1, kVectors>(p, row, column);
}

inline void Multiply(const Product& p) {
  int left = p.stride / kLanes, column = 0;
  for (; left > kMaxVectors; left -= kMaxVectors, column += kMaxVectors * kLanes) {
    ProductColumns<kMaxVectors>(p, column);
  }
  if (left == 1) return ProductColumns<1>(p, column);
  if (left == 2) return ProductColumns<2>(p, column);
  if constexpr (kMaxVectors == 4) {
    if (left == 3) return ProductColumns<3>(p, column);
    ProductColumns<4>(p, column);
  }
}

// 2^x for x in [-126, 0], to 1e-7 relative: minimax polynomial of degree 5 on [-1/2, 1/2]. Below,
// the value at -126. NaN stays NaN.
HWY_INLINE V Exp2(V x) {
  const D d;
  const hn::RebindToSigned<D> di;
  x = hn::Max(hn::Set(d, -126.0f), x);
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

}  // namespace HWY_NAMESPACE
}  // namespace athanor
HWY_AFTER_NAMESPACE();

#endif
