#include "athanor/detection/profusion3d/heat_map.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>
#include <vector>

#include "athanor/base/error.h"
#include "athanor/detection/profusion3d/decoder_layer.h"
#include "athanor/detection/profusion3d/sample.h"

namespace athanor {
HeatHead::HeatHead(const LayerScope& scope, int64_t width)
    : hidden_(scope / "hidden", width, width),
      out_(scope / "out", width, kNumDetectionClasses, {.kernel = 1, .norm = false}) {
  const at::NoGradGuard no_gradient;
  out_.bias().fill_(kPriorLogit);
}

at::Tensor HeatHead::Forward(const at::Tensor& bev, bool training, bool by_batch) const {
  const at::Tensor map = bev.unsqueeze(0);
  const at::Tensor hidden =
      at::relu(by_batch ? hidden_.ForwardByBatch(map) : hidden_.Forward(map, training));
  return out_.Forward(hidden, training).squeeze(0);
}

at::Tensor CellCenters(const at::Tensor& cells, int64_t rows, int64_t columns) {
  const at::Tensor row = cells.div(columns, "floor");
  const at::Tensor x = ((cells - row * columns).to(at::kFloat) + 0.5) / columns;
  return at::stack({x, (row.to(at::kFloat) + 0.5) / rows, at::full_like(x, 0.5)}, 1);
}

HeatPeaks FindPeaks(const at::Tensor& logits, int64_t count) {
  ATHANOR_CHECK(logits.dim() == 3 && logits.size(0) == kNumDetectionClasses, "heat map: expected [",
                kNumDetectionClasses, ",rows,columns], found ", logits.sizes());
  const at::Tensor plain = logits.detach().to(at::kCPU, at::kFloat).contiguous();
  const int64_t rows = plain.size(1), columns = plain.size(2), cells = rows * columns;
  ATHANOR_CHECK(count <= cells, "heat map: expected at least ", count, " cells, found ", cells);
  const at::Tensor beside = at::max_pool2d(plain.unsqueeze(0), {3, 3}, {1, 1}, {1, 1}).contiguous();
  const auto* score = plain.data_ptr<float>();
  const auto* highest = beside.data_ptr<float>();
  std::vector<int64_t> order(plain.numel());
  for (int64_t i = 0; i < plain.numel(); ++i) {
    ATHANOR_CHECK(std::isfinite(score[i]), "heat map: expected finite numbers, found ", score[i],
                  " at class ", i / cells, ", cell ", i % cells);
    order[i] = i;
  }
  std::partial_sort(order.begin(), order.begin() + count, order.end(), [&](int64_t a, int64_t b) {
    const bool peak_a = score[a] == highest[a], peak_b = score[b] == highest[b];
    if (peak_a != peak_b) return peak_a;
    return score[a] != score[b] ? score[a] > score[b] : a < b;
  });
  HeatPeaks peaks;
  peaks.cells = at::empty({count}, at::kLong), peaks.labels = at::empty({count}, at::kLong);
  for (int64_t i = 0; i < count; ++i) {
    peaks.cells.data_ptr<int64_t>()[i] = order[i] % cells;
    peaks.labels.data_ptr<int64_t>()[i] = order[i] / cells;
  }
  for (at::Tensor* x : {&peaks.cells, &peaks.labels}) *x = x->to(logits.device());
  return peaks;
}

at::Tensor HeatLoss(const at::Tensor& logits, const at::Tensor& boxes, const at::Tensor& labels,
                    const BevGrid& grid) {
  const int64_t rows = logits.size(1), columns = logits.size(2);
  const at::Tensor target = at::zeros({kNumDetectionClasses, rows, columns}, at::kFloat);
  const at::Tensor plain_boxes = boxes.to(at::kCPU, at::kFloat).contiguous();
  const at::Tensor plain_labels = labels.to(at::kCPU, at::kLong).contiguous();
  const auto* box = plain_boxes.data_ptr<float>();
  int64_t count = 0;
  for (int64_t b = 0; b < plain_boxes.size(0); ++b, box += kBoxColumns) {
    const auto place = [&](int axis, int64_t size) {
      const float low = grid.range_m[axis], high = grid.range_m[3 + axis];
      return static_cast<int64_t>(
          std::floor((box[axis] - low) / (high - low) * static_cast<float>(size)));
    };
    const int64_t column = place(0, columns), row = place(1, rows);
    if (column < 0 || column >= columns || row < 0 || row >= rows) continue;
    ++count;
    const double cell_m = (grid.range_m[3] - grid.range_m[0]) / static_cast<double>(columns);
    const double sigma = std::max(0.5, std::sqrt(double{box[3]} * box[4]) / 6 / cell_m);
    const auto reach = static_cast<int64_t>(std::ceil(3 * sigma));
    auto* map = target.data_ptr<float>() + plain_labels.data_ptr<int64_t>()[b] * rows * columns;
    for (int64_t r = std::max<int64_t>(0, row - reach); r <= std::min(rows - 1, row + reach); ++r) {
      for (int64_t c = std::max<int64_t>(0, column - reach);
           c <= std::min(columns - 1, column + reach); ++c) {
        const auto squared =
            static_cast<double>((r - row) * (r - row) + (c - column) * (c - column));
        const auto value = static_cast<float>(std::exp(-squared / (2 * sigma * sigma)));
        map[r * columns + c] = std::max(map[r * columns + c], value);
      }
    }
  }
  const at::Tensor truth = target.to(logits.options().requires_grad(false));
  const at::Tensor p = at::sigmoid(logits);
  // log p and log (1 - p) without overflow.
  const at::Tensor log_p = -at::softplus(-logits), log_not = -at::softplus(logits);
  const at::Tensor centre = truth.eq(1).to(logits.scalar_type());
  const at::Tensor found = centre * (1 - p).square() * log_p;
  const at::Tensor empty = (1 - centre) * (1 - truth).pow(4) * p.square() * log_not;
  return -(found + empty).sum() / static_cast<double>(std::max<int64_t>(1, count));
}

}  // namespace athanor
