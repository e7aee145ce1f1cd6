#include "athanor/scenes/semantics/query/pixels.h"

#include <ATen/ATen.h>

#include "athanor/base/error.h"

namespace athanor {

SemanticField FieldOfView(const ViewCells& cells, const Teacher& teacher) {
  SemanticField field;
  field.features = FeatureTable::FromRows(cells.vectors.to(at::kFloat));
  const at::Tensor scales =
      at::from_blob(const_cast<float*>(cells.scales.data()), {cells.rows()}, at::kFloat);
  field.seen = scales.gt(0).to(at::kByte);
  field.agreement = field.seen.to(at::kFloat);
  field.max_weight = field.seen.to(at::kFloat);
  field.text_space = teacher.text_space();
  field.teacher_key = teacher.key();
  field.classes = teacher.classes();
  return field;
}

at::Tensor SpreadOverPixels(const ViewCells& cells, const ViewFeatures& features,
                            const at::Tensor& scores) {
  ATHANOR_CHECK(scores.dim() == 2 && scores.size(0) == cells.rows(), "pixels: expected scores of ",
                cells.rows(), " rows, found ", scores.sizes());
  const int64_t prompts = scores.size(1), height = cells.height_px, width = cells.width_px;
  const at::Tensor columns = scores.t().contiguous();  // [P,rows]
  if (features.is_dense()) {
    const int64_t rows = features.features.size(0), of_row = features.features.size(1);
    return at::upsample_bilinear2d(columns.view({1, prompts, rows, of_row}), {height, width},
                                   /*align_corners=*/false)
        .squeeze(0);
  }
  const at::Tensor ids =
      at::from_blob(const_cast<int32_t*>(cells.cells.data()), {height * width}, at::kInt)
          .to(at::kLong);
  return columns.index_select(1, ids.clamp_min(0))
      .mul(ids.ge(0).to(at::kFloat))
      .view({prompts, height, width});
}

}  // namespace athanor
