// Features of a view as the lifting kernels take them: a table of vectors, and for every pixel the
// row that speaks for it.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <string_view>
#include <vector>

#include "athanor/scenes/semantics/view_features.h"

namespace athanor {

struct ViewCells {
  int width_px = 0, height_px = 0;
  std::vector<int32_t> cells;  // [H,W] row of `vectors`; -1 where the pixel says nothing
  at::Tensor vectors;          // [rows,D] f16
  std::vector<float> scales;   // [rows] one over each vector's length; 0 for zero vectors

  int64_t rows() const { return static_cast<int64_t>(scales.size()); }
  const uint16_t* data() const { return static_cast<const uint16_t*>(vectors.data_ptr()); }
};

// Dense features: a row per cell of the grid. Per mask: a row per set of masks that some pixel lies
// in, their vectors summed. Rows that are zero speak for no pixel. Throws Error, naming `where`,
// for vectors that are not finite.
ViewCells MakeViewCells(const ViewFeatures& features, std::string_view where);

}  // namespace athanor
