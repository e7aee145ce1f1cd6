// What the detector is trained with: after every layer of its decoder each true box is given to one
// query (matching.h), which is to say its class, numbers and attribute; all others are to say that
// nothing is there. Denoising queries know their box.
//
//   classes     focal loss (Lin et al., ICCV 2017), over all queries
//   boxes       L1 of codes (box_code.h) with a weight for each number, but for velocities that are
//               NaN; and L1 of sine and cosine of twice the yaw, whatever the length of what was
//               said. Where fronts cannot be told from backs, L1 of sine and cosine is the same
//               anywhere between the two: it teaches no axis, only this does
//   attributes  cross-entropy among the attributes of the box's class, for boxes that have one
//               which is known and which their class has
//
// Each is divided by the number of true boxes (attributes: of those that count; denoising: of the
// positive queries), at least 1, and summed over layers. Weights are CMT's but for those
// of attributes and axes, which are ours.
#pragma once

#include <ATen/core/Tensor.h>

#include <vector>

#include "athanor/detection/profusion3d/bev_grid.h"
#include "athanor/detection/profusion3d/decoder.h"
#include "athanor/detection/profusion3d/denoising.h"
#include "athanor/detection/profusion3d/matching.h"

namespace athanor {

struct DetectionTruth {
  at::Tensor boxes;   // [B,9], the columns of DetectionSample::boxes
  at::Tensor labels;  // [B] i64, into kDetectionClasses
  at::Tensor
      attributes;  // [B] i64, into kNuscenesAttributeNames, -1 not known; undefined: none known
};

// Without the boxes whose centre is outside of the grid's range: no query can say these.
DetectionTruth TruthInRange(const DetectionTruth& truth, const BevGrid& grid);

struct DetectionLossOptions {
  DetectionWeights weights;
  double attributes = 0.2;
  double denoising = 1;  // of the three parts together, for denoising queries
};

// What `codes` [B,10] (box_code.h) lack of boxes [B,9], row by row: the boxes' part of the loss.
at::Tensor BoxLoss(const at::Tensor& codes, const at::Tensor& boxes,
                   const DetectionWeights& weights);

// What pixels are: cross-entropy of logits [C,K,h,w] against labels [C,h,w] i64, those that are not
// -1. Its mean over objects ([C,h,w] bool), which are few, plus its mean over the rest; 0 without.
at::Tensor PixelLoss(const at::Tensor& logits, const at::Tensor& labels, const at::Tensor& objects);

struct DetectionLoss {
  at::Tensor total;  // scalar, differentiable
  // Its parts, weighted, of all layers.
  double classes = 0, boxes = 0, attributes = 0, denoising = 0;
};

// `denoising`: what the outputs were made with, of these very boxes. With more boxes than queries
// as many boxes are matched as there are queries, those that cost least; the rest count for
// nothing. Throws Error (layer, query, what) when an output is not finite, and for boxes (index)
// that cannot be.
DetectionLoss ComputeDetectionLoss(const std::vector<LayerOutputs>& layers,
                                   const DenoisingQueries& denoising, const DetectionTruth& truth,
                                   const DetectionLossOptions& options);

}  // namespace athanor
