#include <algorithm>
#include <vector>

#include "athanor/base/aligned.h"
#include "athanor/base/parallel.h"
#include "athanor/kernels/feature_scores.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "athanor/kernels/feature_scores_cpu.cc"
// clang-format off
#include <hwy/foreach_target.h>
// clang-format on
#include <hwy/cache_control.h>
#include <hwy/highway.h>

HWY_BEFORE_NAMESPACE();
namespace athanor {
namespace HWY_NAMESPACE {

namespace hn = hwy::HWY_NAMESPACE;

using D = hn::ScalableTag<float>;
using V = hn::Vec<D>;
using H = hn::Rebind<hwy::float16_t, D>;

// Dot products of two rows with kCount targets, which are loaded once for both. Rows and targets
// are padded with zeros to whole vectors, `padded` floats long.
template <int kCount>
HWY_ATTR void DotRows(const hwy::float16_t* row_a, const hwy::float16_t* row_b,
                      const float* targets, int padded, float* out_a, float* out_b) {
  const D d;
  const H half;
  V a[kCount], b[kCount];
  for (int p = 0; p < kCount; ++p) a[p] = b[p] = hn::Zero(d);
  const int lanes = static_cast<int>(hn::Lanes(d));
  for (int c = 0; c < padded; c += lanes) {
    const V x = hn::PromoteTo(d, hn::LoadU(half, row_a + c));
    const V y = hn::PromoteTo(d, hn::LoadU(half, row_b + c));
    for (int p = 0; p < kCount; ++p) {
      const V target = hn::Load(d, targets + static_cast<size_t>(p) * padded + c);
      a[p] = hn::MulAdd(x, target, a[p]);
      b[p] = hn::MulAdd(y, target, b[p]);
    }
  }
  for (int p = 0; p < kCount; ++p) {
    out_a[p] = hn::GetLane(hn::SumOfLanes(d, a[p]));
    out_b[p] = hn::GetLane(hn::SumOfLanes(d, b[p]));
  }
}

constexpr int64_t kRowsAhead = 8;

int FeatureLanes() { return static_cast<int>(hn::Lanes(D())); }

// `targets`: [P,padded]. Rows that are no whole number of vectors are copied, so that nothing
// behind the last row is read.
HWY_ATTR void HalfScoreRows(const HalfScoresArgs& args, const float* targets, int padded,
                            int64_t begin, int64_t end) {
  AlignedVector<uint16_t> copies(2 * static_cast<size_t>(padded), 0);
  std::vector<float> unused(args.vectors);
  for (int64_t i = begin; i < end; i += 2) {
    const bool pair = i + 1 < end;
    // Several targets keep the processor busy: it would be late to ask for the next rows.
    if (i + kRowsAhead + 2 <= end) {
      const uint16_t* ahead = args.rows + (i + kRowsAhead) * args.dimension;
      for (int c = 0; c < 2 * args.dimension; c += 32) hwy::Prefetch(ahead + c);
    }
    const uint16_t* rows[2];
    for (int k = 0; k < 2; ++k) {
      rows[k] = args.rows + (k == 1 && pair ? i + 1 : i) * args.dimension;
      if (padded == args.dimension) continue;
      uint16_t* copy = copies.data() + static_cast<size_t>(k) * padded;
      std::copy_n(rows[k], args.dimension, copy);
      rows[k] = copy;
    }
    const auto* a = reinterpret_cast<const hwy::float16_t*>(rows[0]);
    const auto* b = reinterpret_cast<const hwy::float16_t*>(rows[1]);
    float* out_a = args.scores + i * args.vectors;
    float* out_b = pair ? out_a + args.vectors : unused.data();
    int p = 0;
    const auto target = [&] { return targets + static_cast<size_t>(p) * padded; };
    // Five: a prompt and LERF's four negatives.
    for (; p + 5 <= args.vectors; p += 5) {
      DotRows<5>(a, b, target(), padded, out_a + p, out_b + p);
    }
    switch (args.vectors - p) {
      case 1:
        DotRows<1>(a, b, target(), padded, out_a + p, out_b + p);
        break;
      case 2:
        DotRows<2>(a, b, target(), padded, out_a + p, out_b + p);
        break;
      case 3:
        DotRows<3>(a, b, target(), padded, out_a + p, out_b + p);
        break;
      case 4:
        DotRows<4>(a, b, target(), padded, out_a + p, out_b + p);
        break;
      default:
        break;
    }
  }
}

using E = hn::CappedTag<float, 8>;  // a prompt and LERF's four negatives fit

int EntryLanes() { return static_cast<int>(hn::Lanes(E())); }

// `entries`: entry_scores with rows padded to `padded`, a whole number of vectors.
HWY_ATTR void CodedScoreRows(const CodedScoresArgs& args, const float* entries, int padded,
                             int64_t begin, int64_t end) {
  const E d;
  const hn::Rebind<hwy::float16_t, E> half;
  const int lanes = static_cast<int>(hn::Lanes(d)), terms = args.terms, vectors = args.vectors;
  // Weights of some rows at a time as float32.
  constexpr int64_t kRows = 64;
  AlignedVector<float> weights(static_cast<size_t>(kRows) * terms + lanes, 1.0f);
  AlignedVector<uint16_t> tail(lanes, 0);
  AlignedVector<float> last(lanes);
  for (int64_t first = begin; first < end; first += kRows) {
    const int64_t rows = std::min(kRows, end - first), count = rows * terms;
    if (args.weights != nullptr) {
      const uint16_t* from = args.weights + first * terms;
      for (int64_t c = 0; c < count; c += lanes) {
        const uint16_t* some = from + c;
        if (c + lanes > count) {
          std::copy_n(some, count - c, tail.data());
          some = tail.data();
        }
        const auto* halves = reinterpret_cast<const hwy::float16_t*>(some);
        hn::StoreU(hn::PromoteTo(d, hn::LoadU(half, halves)), d, weights.data() + c);
      }
    }
    for (int64_t i = 0; i < rows; ++i) {
      const uint16_t* codes = args.codes + (first + i) * terms;
      float* out = args.scores + (first + i) * vectors;
      for (int p = 0; p < vectors; p += lanes) {
        auto sum = hn::Zero(d);
        for (int k = 0; k < terms; ++k) {
          sum = hn::MulAdd(hn::Set(d, weights[i * terms + k]),
                           hn::Load(d, entries + static_cast<size_t>(codes[k]) * padded + p), sum);
        }
        // What is written past this row's end belongs to the next ones, which come later; but not
        // past the last of them.
        if ((first + i) * vectors + p + lanes <= end * vectors) {
          hn::StoreU(sum, d, out + p);
        } else {
          hn::Store(sum, d, last.data());
          std::copy_n(last.data(), std::min(lanes, vectors - p), out + p);
        }
      }
    }
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace athanor
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace athanor {
namespace {

constexpr int64_t kGrain = 4096;  // rows per task

}  // namespace

HWY_EXPORT(FeatureLanes);
HWY_EXPORT(HalfScoreRows);
HWY_EXPORT(EntryLanes);
HWY_EXPORT(CodedScoreRows);

void HalfScoresCpu(const HalfScoresArgs& args) {
  if (args.vectors == 0) return;
  const int lanes = HWY_DYNAMIC_DISPATCH(FeatureLanes)();
  const int padded = (args.dimension + lanes - 1) / lanes * lanes;
  AlignedVector<float> targets(static_cast<size_t>(args.vectors) * padded, 0.0f);
  for (int p = 0; p < args.vectors; ++p) {
    std::copy_n(args.targets + static_cast<size_t>(p) * args.dimension, args.dimension,
                targets.data() + static_cast<size_t>(p) * padded);
  }
  ParallelFor(args.n, kGrain, [&](int64_t begin, int64_t end) {
    HWY_DYNAMIC_DISPATCH(HalfScoreRows)(args, targets.data(), padded, begin, end);
  });
}

void CodedScoresCpu(const CodedScoresArgs& args) {
  if (args.n == 0 || args.vectors == 0) return;
  const int lanes = HWY_DYNAMIC_DISPATCH(EntryLanes)();
  const int padded = (args.vectors + lanes - 1) / lanes * lanes;
  AlignedVector<float> entries(static_cast<size_t>(args.entries) * padded, 0.0f);
  for (int e = 0; e < args.entries; ++e) {
    std::copy_n(args.entry_scores + static_cast<size_t>(e) * args.vectors, args.vectors,
                entries.data() + static_cast<size_t>(e) * padded);
  }
  ParallelFor(args.n, kGrain, [&](int64_t begin, int64_t end) {
    HWY_DYNAMIC_DISPATCH(CodedScoreRows)(args, entries.data(), padded, begin, end);
  });
}

void ProductScoresCpu(const ProductScoresArgs& args) {
  const int parts = args.parts, vectors = args.vectors;
  ParallelFor(args.n, kGrain, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      const uint8_t* codes = args.codes + i * parts;
      float* out = args.scores + i * vectors;
      if (vectors == 1) {
        float sums[4] = {};  // one sum alone would wait for itself
        int m = 0;
        for (; m + 4 <= parts; m += 4) {
          for (int k = 0; k < 4; ++k) sums[k] += args.table[(m + k) * 256 + codes[m + k]];
        }
        for (; m < parts; ++m) sums[0] += args.table[m * 256 + codes[m]];
        out[0] = (sums[0] + sums[1]) + (sums[2] + sums[3]);
        continue;
      }
      std::fill_n(out, vectors, 0.0f);
      for (int m = 0; m < parts; ++m) {
        const float* entry = args.table + (static_cast<size_t>(m) * 256 + codes[m]) * vectors;
        for (int p = 0; p < vectors; ++p) out[p] += entry[p];
      }
    }
  });
}

}  // namespace athanor
#endif
