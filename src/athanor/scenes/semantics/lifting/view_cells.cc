#include "athanor/scenes/semantics/lifting/view_cells.h"

#include <ATen/ATen.h>

#include <cmath>
#include <map>

#include "athanor/base/error.h"
#include "athanor/base/parallel.h"
#include "athanor/kernels/lift.h"

namespace athanor {
namespace {

// Rows of several masks, summed in float32; scaled to at most 1, as float16 has an end.
at::Tensor SumMasks(const at::Tensor& features, const std::vector<std::vector<int32_t>>& sets) {
  at::Tensor sums = at::zeros({static_cast<int64_t>(sets.size()), features.size(1)});
  for (size_t s = 0; s < sets.size(); ++s) {
    at::Tensor row = sums[static_cast<int64_t>(s)];
    for (const int32_t mask : sets[s]) row += features[mask].to(at::kFloat);
    const float largest = row.abs().max().item<float>();
    if (largest > 0) row /= largest;
  }
  return sums.to(at::kHalf);
}

}  // namespace

ViewCells MakeViewCells(const ViewFeatures& features, std::string_view where) {
  ViewCells view;
  view.width_px = features.width_px, view.height_px = features.height_px;
  const int width = view.width_px, height = view.height_px;
  view.cells.resize(static_cast<size_t>(width) * height);
  if (features.is_dense()) {
    const int64_t grid_rows = features.features.size(0), grid_columns = features.features.size(1);
    std::vector<int32_t> column_of(width);
    // The cell that holds the pixel's centre, in whole numbers.
    for (int x = 0; x < width; ++x) {
      column_of[x] =
          static_cast<int32_t>((2 * int64_t{x} + 1) * grid_columns / (2 * int64_t{width}));
    }
    for (int y = 0; y < height; ++y) {
      const int64_t row = (2 * int64_t{y} + 1) * grid_rows / (2 * int64_t{height});
      int32_t* out = view.cells.data() + int64_t{y} * width;
      for (int x = 0; x < width; ++x) {
        out[x] = static_cast<int32_t>(row * grid_columns) + column_of[x];
      }
    }
    view.vectors = features.features.view({grid_rows * grid_columns, features.dimension()});
  } else {
    const int64_t levels = features.mask_ids.size(0), plane = int64_t{width} * height;
    const int32_t* ids = features.mask_ids.data_ptr<int32_t>();
    if (levels == 1) {
      std::copy_n(ids, plane, view.cells.data());
      view.vectors = features.features;
    } else {
      std::map<std::vector<int32_t>, int32_t> numbers;
      std::vector<std::vector<int32_t>> sets;
      std::vector<int32_t> set, last;
      int32_t last_number = -1;
      for (int64_t p = 0; p < plane; ++p) {
        set.clear();
        for (int64_t l = 0; l < levels; ++l) {
          if (ids[l * plane + p] >= 0) set.push_back(ids[l * plane + p]);
        }
        if (p == 0 || set != last) {
          last = set;
          last_number = -1;
          if (!set.empty()) {
            const auto [entry, is_new] = numbers.emplace(set, static_cast<int32_t>(sets.size()));
            if (is_new) sets.push_back(set);
            last_number = entry->second;
          }
        }
        view.cells[p] = last_number;
      }
      view.vectors = SumMasks(features.features, sets);
    }
  }
  view.scales.resize(view.vectors.size(0));
  InverseLengthsCpu(view.data(), view.rows(), features.dimension(), view.scales.data());
  for (int64_t r = 0; r < view.rows(); ++r) {
    ATHANOR_CHECK(!std::isnan(view.scales[r]), where, ": row ", r, " holds NaN or infinity");
  }
  ParallelFor(static_cast<int64_t>(view.cells.size()), 1 << 16, [&](int64_t begin, int64_t end) {
    for (int64_t p = begin; p < end; ++p) {
      if (view.cells[p] >= 0 && view.scales[view.cells[p]] == 0) view.cells[p] = -1;
    }
  });
  return view;
}

}  // namespace athanor
