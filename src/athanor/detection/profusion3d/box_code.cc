#include "athanor/detection/profusion3d/box_code.h"

#include <ATen/ATen.h>

#include <cmath>
#include <utility>

#include "athanor/base/error.h"
#include "athanor/detection/profusion3d/sample.h"

namespace athanor {
namespace {

constexpr double kLogSize = 5;

// The low corner and the extent of the grid's range, [3] each, of the type of `like`.
std::pair<at::Tensor, at::Tensor> RangeOf(const BevGrid& grid, const at::Tensor& like) {
  const auto& r = grid.range_m;
  const at::Tensor low = at::tensor({r[0], r[1], r[2]}).to(like.options());
  const at::Tensor high = at::tensor({r[3], r[4], r[5]}).to(like.options());
  return {low, high - low};
}

}  // namespace

at::Tensor NormalizePoints(const at::Tensor& points_m, const BevGrid& grid) {
  const auto [low, extent] = RangeOf(grid, points_m);
  return (points_m - low) / extent;
}

at::Tensor DenormalizePoints(const at::Tensor& normalized, const BevGrid& grid) {
  const auto [low, extent] = RangeOf(grid, normalized);
  return low + normalized * extent;
}

at::Tensor EncodeBoxes(const at::Tensor& boxes) {
  ATHANOR_CHECK(boxes.dim() == 2 && boxes.size(1) == kBoxColumns, "boxes: expected [B,",
                kBoxColumns, "], found ", boxes.sizes());
  const at::Tensor plain = boxes.detach().to(at::kCPU, at::kDouble).contiguous();
  for (int64_t i = 0; i < plain.size(0); ++i) {
    const double* box = plain.data_ptr<double>() + i * kBoxColumns;
    for (int k = 0; k < 7; ++k) {
      ATHANOR_CHECK(std::isfinite(box[k]), "box ", i, ": expected a finite number in column ", k,
                    ", found ", box[k]);
    }
    for (int k = 3; k < 6; ++k) {
      ATHANOR_CHECK(box[k] > 0, "box ", i, ": expected a size above 0 m in column ", k, ", found ",
                    box[k]);
    }
    for (int k = 7; k < 9; ++k) {
      ATHANOR_CHECK(!std::isinf(box[k]), "box ", i, ": expected a velocity or NaN in column ", k,
                    ", found ", box[k]);
    }
  }
  const auto column = [&](int64_t k) { return boxes.select(1, k); };
  return at::stack({column(0), column(1), column(4).log(), column(3).log(), column(2),
                    column(5).log(), column(6).sin(), column(6).cos(), column(7), column(8)},
                   1);
}

at::Tensor DecodeBoxes(const at::Tensor& code) {
  ATHANOR_CHECK(code.dim() >= 1 && code.size(-1) == kBoxCode, "box codes: expected [...,", kBoxCode,
                "], found ", code.sizes());
  const auto column = [&](int64_t k) { return code.select(-1, k); };
  const auto size = [&](int64_t k) { return column(k).clamp(-kLogSize, kLogSize).exp(); };
  return at::stack({column(0), column(1), column(4), size(3), size(2), size(5),
                    at::atan2(column(6), column(7)), column(8), column(9)},
                   -1);
}

at::Tensor CodeOfHead(const at::Tensor& head, const at::Tensor& anchors, const BevGrid& grid,
                      double unit_m) {
  ATHANOR_CHECK(head.size(-1) == kBoxCode && anchors.size(-1) == 3,
                "box head: expected [...,10] with anchors [...,3], found ", head.sizes(), " with ",
                anchors.sizes());
  const auto part = [&](int64_t begin, int64_t end) { return head.slice(-1, begin, end); };
  const at::Tensor offset = at::cat({part(0, 2), part(4, 5)}, -1);
  const auto [low, extent] = RangeOf(grid, anchors);
  const at::Tensor centre = at::minimum(
      at::maximum(DenormalizePoints(anchors, grid) + unit_m * offset, low), low + extent);
  return at::cat({centre.slice(-1, 0, 2), part(2, 4), centre.slice(-1, 2, 3), part(5, 10)}, -1);
}

}  // namespace athanor
