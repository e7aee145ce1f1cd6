// Crops of pictures for training, changed as light, lenses, rendering and sensors change pictures.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <vector>

#include "athanor/base/random.h"
#include "athanor/scenes/semantics/teachers/embedded/labelled_worlds.h"

namespace athanor {

struct TrainingCrop {
  at::Tensor image;             // [3,S,S] f32 in [0,1]
  std::vector<int32_t> labels;  // [S/4 * S/4], of the middle of each cell, as LabelledView's
};

struct ZoomRange {
  float low = 0.5f, high = 1.1f;  // of the crop's pixels against the picture's
};

// A square of a scale in that range (nothing beyond the picture), mirrored or not; brightness,
// contrast, gamma, tint; blur, as Gaussians and soft photographs have it; noise. The tint stays
// small: colours keep their names.
TrainingCrop MakeCrop(const LabelledView& view, int side_px, const ZoomRange& zoom, Random& random);

}  // namespace athanor
