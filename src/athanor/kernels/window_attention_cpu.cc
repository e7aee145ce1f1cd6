#include <algorithm>
#include <bit>
#include <cmath>
#include <vector>

#include "athanor/base/aligned.h"
#include "athanor/base/parallel.h"
#include "athanor/kernels/window_attention.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "athanor/kernels/window_attention_cpu.cc"
// clang-format off
#include <hwy/foreach_target.h>
// clang-format on
#include <hwy/highway.h>

#include "athanor/kernels/window_attention_cpu-inl.h"

HWY_BEFORE_NAMESPACE();
namespace athanor {
namespace HWY_NAMESPACE {

int AttentionLanes() { return kLanes; }

int WholeVectors(int n) { return (n + kLanes - 1) / kLanes * kLanes; }

inline float Widen(float value) { return value; }
inline float Widen(uint16_t bits) { return std::bit_cast<float>(uint32_t{bits} << 16); }
inline void Narrow(float value, float* out) { *out = value; }
inline void Narrow(float value, uint16_t* out) {
  const auto bits = std::bit_cast<uint32_t>(value);
  const uint32_t rounded = (bits + 0x7fff + (bits >> 16 & 1)) >> 16;
  *out = static_cast<uint16_t>((bits & 0x7fffffff) > 0x7f800000 ? bits >> 16 | 0x40 : rounded);
}

// Calls f(pixel, slot) for the pixels of a rectangle; slots count the window's places row by row.
template <typename F>
HWY_INLINE void ForEachPixel(const WindowRectangle& r, const WindowShape& shape, const F& f) {
  for (int row = r.first_row; row < r.end_row; ++row) {
    const int64_t pixel = r.corner + row * shape.columns;
    for (int c = r.first_column; c < r.end_column; ++c) f(pixel + c, row * shape.window + c);
  }
}

// The work of one thread on one head of one window. All rows are whole vectors long.
struct Workspace {
  Workspace(const WindowShape& s, bool backward)
      : shape(s),
        slots(s.window * s.window),
        lanes(WholeVectors(slots)),
        d(s.channels),
        row(WholeVectors(d)) {
    const size_t columns = static_cast<size_t>(lanes) * d,
                 rows_size = static_cast<size_t>(slots) * row;
    const size_t pairs = static_cast<size_t>(slots) * lanes;
    for (auto* values : {&pieces, &results, &q, &out}) values->assign(columns, 0);
    for (auto* values : {&k, &v}) values->assign(rows_size, 0);
    scores.assign(pairs, 0);
    inverse.assign(lanes, 0);
    key_slots.assign(slots, 0);
    if (!backward) return;
    d_out.assign(columns, 0);
    for (auto* values : {&q_rows, &d_out_rows, &rows}) values->assign(rows_size, 0);
    d_scores.assign(pairs, 0);
  }

  // Takes the window's queries (or what has their shape), times `factor`, to [d,lanes], and if
  // wanted to rows [slots,row], too. Places outside the map are 0.
  template <typename T>
  void ReadQueries(const WindowRectangle& r, const T* map, float factor, float* columns,
                   float* as_rows) {
    if (r.count() < slots) {
      std::fill(pieces.begin(), pieces.end(), 0.0f);
      if (as_rows != nullptr) std::fill_n(as_rows, static_cast<size_t>(slots) * row, 0.0f);
    }
    const int64_t width = int64_t{shape.heads} * d;
    // Four channels of a pixel stay together until vectors take them apart.
    ForEachPixel(r, shape, [&](int64_t pixel, int slot) {
      const T* from = map + pixel * width;
      for (int c = 0; c < d; c += 4) {
        float* to = pieces.data() + static_cast<size_t>(c) * lanes + slot * 4;
        for (int i = 0; i < 4; ++i) to[i] = Widen(from[c + i]) * factor;
        if (as_rows == nullptr) continue;
        for (int i = 0; i < 4; ++i) as_rows[slot * row + c + i] = to[i];
      }
    });
    const D tag;
    for (int c = 0; c < d; c += 4) {
      const float* from = pieces.data() + static_cast<size_t>(c) * lanes;
      float* to = columns + static_cast<size_t>(c) * lanes;
      for (int at = 0; at < lanes; at += kLanes) {
        V x0, x1, x2, x3;
        hn::LoadInterleaved4(tag, from + static_cast<size_t>(at) * 4, x0, x1, x2, x3);
        hn::Store(x0, tag, to + at), hn::Store(x1, tag, to + lanes + at);
        hn::Store(x2, tag, to + 2 * lanes + at), hn::Store(x3, tag, to + 3 * lanes + at);
      }
    }
  }

  // The way back: [d,lanes], lanes times `factors` (null: all times `factor`).
  template <typename T>
  void WriteQueries(const WindowRectangle& r, const float* columns, const float* factors,
                    float factor, T* map) {
    const D tag;
    for (int at = 0; at < lanes; at += kLanes) {
      const V f = factors != nullptr ? hn::Load(tag, factors + at) : hn::Set(tag, factor);
      for (int c = 0; c < d; c += 4) {
        const float* from = columns + static_cast<size_t>(c) * lanes + at;
        hn::StoreInterleaved4(hn::Mul(hn::Load(tag, from), f),
                              hn::Mul(hn::Load(tag, from + lanes), f),
                              hn::Mul(hn::Load(tag, from + 2 * lanes), f),
                              hn::Mul(hn::Load(tag, from + 3 * lanes), f), tag,
                              results.data() + static_cast<size_t>(c) * lanes + at * 4);
      }
    }
    const int64_t width = int64_t{shape.heads} * d;
    ForEachPixel(r, shape, [&](int64_t pixel, int slot) {
      T* to = map + pixel * width;
      for (int c = 0; c < d; c += 4) {
        const float* from = results.data() + static_cast<size_t>(c) * lanes + slot * 4;
        for (int i = 0; i < 4; ++i) Narrow(from[i], to + c + i);
      }
    });
  }

  // Keys and values of the head: rows of `k` and `v`, without those that lie outside.
  template <typename T>
  void ReadKeys(const WindowRectangle& r, const T* map) {
    const int64_t width = int64_t{shape.heads} * d;
    keys = 0;
    ForEachPixel(r, shape, [&](int64_t pixel, int slot) {
      const T* from = map + pixel * 2 * width;
      float *to_k = k.data() + keys * row, *to_v = v.data() + keys * row;
      for (int c = 0; c < d; ++c) to_k[c] = Widen(from[c]);
      for (int c = 0; c < d; ++c) to_v[c] = Widen(from[width + c]);
      key_slots[keys++] = slot;
    });
  }

  // Rows [keys,row] to a head's part of the keys (or values).
  template <typename T>
  void WriteKeys(const WindowRectangle& r, T* map) {
    const int64_t width = int64_t{shape.heads} * d;
    const float* from = rows.data();
    ForEachPixel(r, shape, [&](int64_t pixel, int) {
      T* to = map + pixel * 2 * width;
      for (int c = 0; c < d; ++c) Narrow(from[c], to + c);
      from += row;
    });
  }

  // scores [keys,lanes]: exp(q . k + bias - their maximum); inverse: 1 / the sum over keys.
  void Softmax(const float* bias) {
    Multiply({keys, d, lanes, k.data(), row, 1, q.data(), scores.data(), bias, key_slots.data()});
    const D tag;
    const V log2e = hn::Set(tag, 1.4426950408889634f);
    for (int at = 0; at < lanes; at += kLanes) {
      float* column = scores.data() + at;
      V top = hn::Load(tag, column), other = top;
      for (int j = 1; j + 1 < keys; j += 2) {
        top = hn::Max(top, hn::Load(tag, column + j * lanes));
        other = hn::Max(other, hn::Load(tag, column + (j + 1) * lanes));
      }
      if (keys % 2 == 0) other = hn::Max(other, hn::Load(tag, column + (keys - 1) * lanes));
      const V shift = hn::Mul(hn::Max(top, other), log2e);
      V sum = hn::Zero(tag);
      for (int j = 0; j < keys; ++j) {
        const V e = Exp2(hn::MulSub(hn::Load(tag, column + j * lanes), log2e, shift));
        hn::Store(e, tag, column + j * lanes);
        sum = hn::Add(sum, e);
      }
      hn::Store(hn::Div(hn::Set(tag, 1.0f), sum), tag, inverse.data() + at);
    }
  }

  // d_scores: from gradients of weights to those of scores; scores: to weights.
  void SoftmaxBackward() {
    const D tag;
    for (int at = 0; at < lanes; at += kLanes) {
      const V f = hn::Load(tag, inverse.data() + at);
      V mean = hn::Zero(tag);
      for (int j = 0; j < keys; ++j) {
        float* weight = scores.data() + j * lanes + at;
        const V w = hn::Mul(hn::Load(tag, weight), f);
        hn::Store(w, tag, weight);
        mean = hn::MulAdd(w, hn::Load(tag, d_scores.data() + j * lanes + at), mean);
      }
      for (int j = 0; j < keys; ++j) {
        float* gradient = d_scores.data() + j * lanes + at;
        const V w = hn::Load(tag, scores.data() + j * lanes + at);
        hn::Store(hn::Mul(w, hn::Sub(hn::Load(tag, gradient), mean)), tag, gradient);
      }
    }
  }

  WindowShape shape;
  int slots, lanes, d, row, keys = 0;
  // `pieces` holds 0 behind the last slot, always.
  AlignedVector<float> pieces, results, q, out, d_out, k, v, q_rows, d_out_rows, rows, scores,
      d_scores, inverse;
  std::vector<int> key_slots;
};

// `bias`: [heads,slots of keys,lanes of queries].
template <typename T>
void ForwardWindows(const WindowForwardArgs& args, const float* bias, int64_t begin, int64_t end) {
  const WindowShape& s = args.shape;
  Workspace work(s, false);
  const float scale = 1.0f / std::sqrt(static_cast<float>(s.channels));
  for (int64_t w = begin; w < end; ++w) {
    const WindowRectangle queries = RectangleOf(s, w, 0, 0);
    const WindowRectangle keys = RectangleOf(s, w, s.shift_rows, s.shift_columns);
    for (int head = 0; head < s.heads; ++head) {
      const int at = head * s.channels;
      work.ReadKeys(keys, static_cast<const T*>(args.keys_values) + at);
      work.ReadQueries(queries, static_cast<const T*>(args.queries) + at, scale, work.q.data(),
                       nullptr);
      if (work.keys == 0) {
        std::fill(work.inverse.begin(), work.inverse.end(), 0.0f);
      } else {
        work.Softmax(bias + static_cast<size_t>(head) * work.slots * work.lanes);
      }
      Multiply({work.d, work.keys, work.lanes, work.v.data(), 1, work.row, work.scores.data(),
                work.out.data(), nullptr, nullptr});
      work.WriteQueries(queries, work.out.data(), work.inverse.data(), 0,
                        static_cast<T*>(args.out) + at);
    }
  }
}

// Adds to d_bias, which is as `bias`.
template <typename T>
void BackwardWindows(const WindowBackwardArgs& args, const float* bias, float* d_bias,
                     int64_t begin, int64_t end) {
  const WindowShape& s = args.forward.shape;
  Workspace work(s, true);
  const float scale = 1.0f / std::sqrt(static_cast<float>(s.channels));
  const int64_t width = int64_t{s.heads} * s.channels;
  for (int64_t w = begin; w < end; ++w) {
    const WindowRectangle queries = RectangleOf(s, w, 0, 0);
    const WindowRectangle keys = RectangleOf(s, w, s.shift_rows, s.shift_columns);
    for (int head = 0; head < s.heads; ++head) {
      const int at = head * s.channels;
      const size_t bias_at = static_cast<size_t>(head) * work.slots * work.lanes;
      work.ReadKeys(keys, static_cast<const T*>(args.forward.keys_values) + at);
      if (work.keys > 0) {
        work.ReadQueries(queries, static_cast<const T*>(args.forward.queries) + at, scale,
                         work.q.data(), work.q_rows.data());
        work.ReadQueries(queries, static_cast<const T*>(args.d_out) + at, 1, work.d_out.data(),
                         work.d_out_rows.data());
        work.Softmax(bias + bias_at);
        Multiply({work.keys, work.d, work.lanes, work.v.data(), work.row, 1, work.d_out.data(),
                  work.d_scores.data(), nullptr, nullptr});
        work.SoftmaxBackward();
        const D tag;
        for (int j = 0; j < work.keys; ++j) {
          float* to = d_bias + bias_at + static_cast<size_t>(work.key_slots[j]) * work.lanes;
          const float* from = work.d_scores.data() + static_cast<size_t>(j) * work.lanes;
          for (int i = 0; i < work.lanes; i += kLanes) {
            hn::Store(hn::Add(hn::Load(tag, to + i), hn::Load(tag, from + i)), tag, to + i);
          }
        }
        T* d_keys = static_cast<T*>(args.d_keys_values) + at;
        Multiply({work.keys, work.slots, work.row, work.d_scores.data(), work.lanes, 1,
                  work.q_rows.data(), work.rows.data(), nullptr, nullptr});
        work.WriteKeys(keys, d_keys);
        Multiply({work.keys, work.slots, work.row, work.scores.data(), work.lanes, 1,
                  work.d_out_rows.data(), work.rows.data(), nullptr, nullptr});
        work.WriteKeys(keys, d_keys + width);
      }
      Multiply({work.d, work.keys, work.lanes, work.k.data(), 1, work.row, work.d_scores.data(),
                work.out.data(), nullptr, nullptr});
      work.WriteQueries(queries, work.out.data(), nullptr, scale,
                        static_cast<T*>(args.d_queries) + at);
    }
  }
}

void ForwardFloats(const WindowForwardArgs& args, const float* bias, int64_t begin, int64_t end) {
  ForwardWindows<float>(args, bias, begin, end);
}
void ForwardBfloat16(const WindowForwardArgs& args, const float* bias, int64_t begin, int64_t end) {
  ForwardWindows<uint16_t>(args, bias, begin, end);
}
void BackwardFloats(const WindowBackwardArgs& args, const float* bias, float* d_bias, int64_t begin,
                    int64_t end) {
  BackwardWindows<float>(args, bias, d_bias, begin, end);
}
void BackwardBfloat16(const WindowBackwardArgs& args, const float* bias, float* d_bias,
                      int64_t begin, int64_t end) {
  BackwardWindows<uint16_t>(args, bias, d_bias, begin, end);
}

}  // namespace HWY_NAMESPACE
}  // namespace athanor
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace athanor {
HWY_EXPORT(AttentionLanes);
HWY_EXPORT(ForwardFloats);
HWY_EXPORT(ForwardBfloat16);
HWY_EXPORT(BackwardFloats);
HWY_EXPORT(BackwardBfloat16);

namespace {

// The table written out, one value for each key and query of a window: [heads,slots,lanes].
class WideBias {
 public:
  explicit WideBias(const WindowShape& shape) : shape_(shape), slots_(shape.window * shape.window) {
    const int lanes = HWY_DYNAMIC_DISPATCH(AttentionLanes)();
    stride_ = (slots_ + lanes - 1) / lanes * lanes;
  }
  size_t size() const { return static_cast<size_t>(shape_.heads) * slots_ * stride_; }

  // Calls f(place in the table, place in the wide one) for all.
  template <typename F>
  void ForEach(const F& f) const {
    const int m = shape_.window, side = 2 * m - 1;
    for (int head = 0; head < shape_.heads; ++head) {
      for (int key = 0; key < slots_; ++key) {
        const size_t row = (static_cast<size_t>(head) * slots_ + key) * stride_;
        for (int query = 0; query < slots_; ++query) {
          const int down = query / m - key / m + m - 1, across = query % m - key % m + m - 1;
          f((head * side + down) * side + across, row + query);
        }
      }
    }
  }

 private:
  WindowShape shape_;
  int slots_, stride_ = 0;
};

AlignedVector<float> Widened(const WideBias& wide, const float* table) {
  AlignedVector<float> values(wide.size(), 0.0f);
  wide.ForEach([&](int from, size_t to) { values[to] = table[from]; });
  return values;
}

}  // namespace

void WindowAttentionForwardCpu(const WindowForwardArgs& args) {
  const WideBias wide(args.shape);
  const AlignedVector<float> bias = Widened(wide, args.bias_table);
  constexpr int64_t kGrain = 16;  // windows
  ParallelFor(args.shape.windows(), kGrain, [&](int64_t begin, int64_t end) {
    if (args.is_bfloat16) {
      HWY_DYNAMIC_DISPATCH(ForwardBfloat16)(args, bias.data(), begin, end);
    } else {
      HWY_DYNAMIC_DISPATCH(ForwardFloats)(args, bias.data(), begin, end);
    }
  });
}

void WindowAttentionBackwardCpu(const WindowBackwardArgs& args) {
  const WindowShape& shape = args.forward.shape;
  const WideBias wide(shape);
  const AlignedVector<float> bias = Widened(wide, args.forward.bias_table);
  // Each task has its own sums of the bias; they are as many whatever the threads.
  constexpr int64_t kMaxTasks = 32;
  const int64_t windows = shape.windows(), tasks = std::min(windows, kMaxTasks);
  std::vector<AlignedVector<float>> sums(tasks);
  ParallelChunks(tasks, [&](int64_t task) {
    sums[task].assign(wide.size(), 0.0f);
    const int64_t begin = windows * task / tasks, end = windows * (task + 1) / tasks;
    float* d_bias = sums[task].data();
    if (args.forward.is_bfloat16) {
      HWY_DYNAMIC_DISPATCH(BackwardBfloat16)(args, bias.data(), d_bias, begin, end);
    } else {
      HWY_DYNAMIC_DISPATCH(BackwardFloats)(args, bias.data(), d_bias, begin, end);
    }
  });
  const int side = 2 * shape.window - 1;
  std::fill_n(args.d_bias_table, static_cast<size_t>(shape.heads) * side * side, 0.0f);
  for (int64_t task = 1; task < tasks; ++task) {
    for (size_t i = 0; i < wide.size(); ++i) sums[0][i] += sums[task][i];
  }
  if (tasks == 0) return;
  wide.ForEach([&](int to, size_t from) { args.d_bias_table[to] += sums[0][from]; });
}

}  // namespace athanor
#endif
