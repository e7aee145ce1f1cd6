// What words mean to the pixels of a picture, without a scene: the vectors that a teacher gives to
// the cells or masks of a view are asked as those of Gaussians are.
#pragma once

#include <ATen/core/Tensor.h>

#include "athanor/scenes/semantics/lifting/view_cells.h"
#include "athanor/scenes/semantics/semantic_field.h"
#include "athanor/scenes/semantics/teachers/teacher.h"

namespace athanor {

// The rows of a view as a field; rows that say nothing were never seen.
SemanticField FieldOfView(const ViewCells& cells, const Teacher& teacher);

// scores: [rows,P] f32 of the cells' rows -> [P,H,W] of the view's pixels, interpolated between the
// cells of a grid; 0 where a pixel says nothing. `features` are those that the cells were made of.
at::Tensor SpreadOverPixels(const ViewCells& cells, const ViewFeatures& features,
                            const at::Tensor& scores);

}  // namespace athanor
