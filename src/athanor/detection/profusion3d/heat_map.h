// Where objects may be: a score for each class and cell of the bird's-eye view (Zhou et al.,
// "Objects as Points", 2019; Yin et al., "CenterPoint", CVPR 2021), at whose peaks queries begin
// (Bai et al., "TransFusion", CVPR 2022).
//
// ProFusion3D's own queries begin at learnt places, the same for every scene. That takes millions
// of samples to learn; peaks find objects after thousands, which is what a CPU has time for. It is
// an option of ours (DetectorOptions::proposals).
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>

#include "athanor/detection/profusion3d/bev_grid.h"
#include "athanor/nn/dense_layers.h"

namespace athanor {

class HeatHead {
 public:
  HeatHead() = default;
  // A class is as likely as 0.01 at first.
  HeatHead(const LayerScope& scope, int64_t width);
  // [width,rows,columns] to logits [classes,rows,columns], a row of kDetectionClasses each.
  // `by_batch`: see Convolution2d::ForwardByBatch.
  at::Tensor Forward(const at::Tensor& bev, bool training, bool by_batch = false) const;

 private:
  Convolution2d hidden_, out_;
};

// Of cells, row * columns + column, [P] i64, the centres at half the height of the range: [P,3] f32
// in 0..1.
at::Tensor CellCenters(const at::Tensor& cells, int64_t rows, int64_t columns);

struct HeatPeaks {
  at::Tensor cells;   // [P] i64: row * columns + column
  at::Tensor labels;  // [P] i64, into kDetectionClasses
};

// The `count` best cells and classes, best first: first those that no cell of the same class
// beside them surpasses, then, when there are too few, the rest. Without gradients. Throws Error
// when a logit is not finite, or there are fewer cells than `count`.
HeatPeaks FindPeaks(const at::Tensor& logits, int64_t count);

// The focal loss of "Objects as Points" against Gaussians around the centres of boxes in range,
// which are as wide as a sixth of the box, and half a cell at least; over the number of boxes.
// boxes [B,9], labels [B] as in DetectionSample. Scalar, differentiable.
at::Tensor HeatLoss(const at::Tensor& logits, const at::Tensor& boxes, const at::Tensor& labels,
                    const BevGrid& grid);

}  // namespace athanor
