#include <ATen/ATen.h>

#include <cmath>

#include "athanor/ops/window_attention.h"

namespace athanor {
namespace {

// [B,H,W,n * heads * d], H and W multiples of M, to n tensors [B,windows down, windows across,
// heads,M * M,d].
std::vector<at::Tensor> Windows(const at::Tensor& map, int64_t n, const WindowOptions& options) {
  const int64_t m = options.window, heads = options.heads;
  const at::Tensor split = map.view(
      {map.size(0), map.size(1) / m, m, map.size(2) / m, m, n, heads, map.size(3) / (n * heads)});
  std::vector<at::Tensor> parts;
  for (const at::Tensor& part : split.unbind(5)) {
    parts.push_back(part.permute({0, 1, 3, 5, 2, 4, 6}).flatten(4, 5));
  }
  return parts;
}

// Whether the keys' row (or column) that a roll by -shift brings to each place is one of the map's
// `size`, which lie behind `offset` others, and did not come around from the other side.
at::Tensor Present(int64_t size, int64_t padded, int64_t shift, int64_t offset) {
  const at::Tensor places = at::arange(padded, at::kLong);
  const at::Tensor rolled = places.roll({-shift}, {0});
  return rolled.ge(offset)
      .logical_and(rolled.lt(offset + size))
      .logical_and(rolled.eq(places + shift));
}

// Into the table of one head, for each pair of places in a window: [M * M,M * M].
at::Tensor TableIndex(int64_t m) {
  const at::Tensor place = at::arange(m * m, at::kLong);
  const at::Tensor row = place.floor_divide(m), column = place.remainder(m);
  return (row.unsqueeze(1) - row + m - 1) * (2 * m - 1) + (column.unsqueeze(1) - column + m - 1);
}

}  // namespace

at::Tensor WindowAttentionReference(const at::Tensor& queries, const at::Tensor& keys_values,
                                    const at::Tensor& bias_table, const WindowOptions& options) {
  const int64_t m = options.window, rows = queries.size(1), columns = queries.size(2);
  const int64_t above = options.offset_rows, left = options.offset_columns;
  const int64_t padded_rows = (above + rows + m - 1) / m * m;
  const int64_t padded_columns = (left + columns + m - 1) / m * m;
  const std::vector<int64_t> padding = {
      0, 0, left, padded_columns - columns - left, above, padded_rows - rows - above};
  const at::Tensor q = Windows(at::constant_pad_nd(queries, padding).contiguous(), 1, options)[0];
  const at::Tensor rolled = at::constant_pad_nd(keys_values, padding)
                                .roll({-options.shift_rows, -options.shift_columns}, {1, 2});
  const std::vector<at::Tensor> kv = Windows(rolled.contiguous(), 2, options);
  const at::Tensor present =
      Present(rows, padded_rows, options.shift_rows, above)
          .view({padded_rows / m, 1, 1, m, 1})
          .logical_and(Present(columns, padded_columns, options.shift_columns, left)
                           .view({1, padded_columns / m, 1, 1, m}))
          .flatten(3)
          .unsqueeze(2)
          .to(queries.device());  // [down,across,1,1,M * M]
  const at::Tensor bias = bias_table.view({options.heads, -1})
                              .index_select(1, TableIndex(m).flatten().to(queries.device()))
                              .view({options.heads, m * m, m * m});
  const double scale = 1 / std::sqrt(static_cast<double>(q.size(-1)));
  // A window without keys gets equal weights, which the product then takes away again.
  constexpr double kNever = -1e30;
  const at::Tensor scores = at::matmul(q * scale, kv[0].transpose(-1, -2)) + bias;
  const at::Tensor weights = scores.masked_fill(present.logical_not(), kNever)
                                 .softmax(-1)
                                 .mul(present)
                                 .to(q.scalar_type());
  const at::Tensor out = at::matmul(weights, kv[1]);  // [B,down,across,heads,M * M,d]
  return out.view({out.size(0), out.size(1), out.size(2), out.size(3), m, m, out.size(5)})
      .permute({0, 1, 4, 2, 5, 3, 6})
      .reshape({queries.size(0), padded_rows, padded_columns, queries.size(3)})
      .slice(1, above, above + rows)
      .slice(2, left, left + columns)
      .contiguous();
}

}  // namespace athanor
