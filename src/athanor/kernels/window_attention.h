// Attention inside windows of a map: queries of one map, keys and values of another (Liu et al.,
// "Swin Transformer", 2021), where the windows of keys may lie beside those of queries.
//
// Query windows are M x M pixels; the first begins `offset_rows` above and `offset_columns` left of
// the map's corner, so that windows at its edges may be cut off. The keys of a window are M x M
// pixels, too, `shift_rows` down and `shift_columns` right of its queries, so far as they lie in
// the map: a key is never met across the map's edge. For query i and key j at rows r, columns c of
// their windows, and each head,
//   out_i = sum_j softmax_j(q_i . k_j / sqrt(d) + table[r_i - r_j + M - 1][c_i - c_j + M - 1]) v_j.
// Where a window has no key at all, out is 0.
//
// Queries stay where they are, so a wrapped key would meet queries that lie a map's width away, and
// none that lies near it: Swin's mask, which keeps the two groups of a wrapped window apart, here
// leaves only the keys that did not wrap. Swin's own shifted windows, where queries wrap as keys
// do, are those with an offset of M less Swin's shift and no shift here.
//
// On the CPU lanes run over the queries of a window, so that the softmax adds nothing across lanes;
// up to M = 8 scores stay in the L1 cache. Same input, same bytes, whatever the threads.
#pragma once

#include <cstdint>

#include "athanor/kernels/host_device.h"

namespace athanor {

struct WindowShape {
  int64_t maps;                     // B
  int64_t rows, columns;            // H, W; need not be multiples of M
  int heads, channels;              // channels d of a head, a multiple of 4; C = heads * d
  int window;                       // M >= 1
  int shift_rows, shift_columns;    // of keys and values; may be negative
  int offset_rows, offset_columns;  // 0 .. M-1

  ATHANOR_HOST_DEVICE int64_t window_rows() const {
    return (rows + offset_rows + window - 1) / window;
  }
  ATHANOR_HOST_DEVICE int64_t window_columns() const {
    return (columns + offset_columns + window - 1) / window;
  }
  ATHANOR_HOST_DEVICE int64_t windows() const { return maps * window_rows() * window_columns(); }
};

// The pixels of a window that lie in the map: rows first_row up to end_row of the window, columns
// likewise, counted from its corner.
struct WindowRectangle {
  int first_row, end_row, first_column, end_column;
  int64_t corner;  // as a pixel of [B,H,W]; the corner itself may lie outside

  ATHANOR_HOST_DEVICE int height() const { return end_row - first_row; }
  ATHANOR_HOST_DEVICE int width() const { return end_column - first_column; }
  ATHANOR_HOST_DEVICE int count() const { return height() * width(); }
};

// Window `index` of shape.windows(), moved by that many rows and columns.
ATHANOR_HOST_DEVICE WindowRectangle RectangleOf(const WindowShape& shape, int64_t index,
                                                int shift_rows, int shift_columns) {
  const int64_t across = shape.window_columns(), down = shape.window_rows();
  const int64_t row = index / across % down * shape.window - shape.offset_rows + shift_rows;
  const int64_t column = index % across * shape.window - shape.offset_columns + shift_columns;
  const int m = shape.window;
  const auto clamp = [m](int64_t place, int low) {
    return place < low ? low : static_cast<int>(place < m ? place : m);
  };
  WindowRectangle r = {};
  r.first_row = clamp(-row, 0);
  r.end_row = clamp(shape.rows - row, r.first_row);
  r.first_column = clamp(-column, 0);
  r.end_column = clamp(shape.columns - column, r.first_column);
  r.corner = (index / (across * down) * shape.rows + row) * shape.columns + column;
  return r;
}

// Values are float32, or all of them bfloat16 (as uint16_t); sums are float32 in any case.
struct WindowForwardArgs {
  WindowShape shape;
  bool is_bfloat16;
  const void* queries;      // [B,H,W,C]
  const void* keys_values;  // [B,H,W,2C], keys first
  const float* bias_table;  // [heads,2M-1,2M-1]
  void* out;                // [B,H,W,C]
};

struct WindowBackwardArgs {
  WindowForwardArgs forward;  // `out` is not read
  const void* d_out;          // [B,H,W,C]
  void* d_queries;            // [B,H,W,C] out
  void* d_keys_values;        // [B,H,W,2C] out; left as it is where no window has its keys
  float* d_bias_table;        // [heads,2M-1,2M-1] out
};

void WindowAttentionForwardCpu(const WindowForwardArgs& args);
void WindowAttentionBackwardCpu(const WindowBackwardArgs& args);

// float32 only; M up to 8, d up to 32.
void WindowAttentionForwardCuda(const WindowForwardArgs& args, void* stream);
void WindowAttentionBackwardCuda(const WindowBackwardArgs& args, void* stream);

}  // namespace athanor
