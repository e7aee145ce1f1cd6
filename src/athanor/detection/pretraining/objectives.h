// What pre-training learns from: the three objectives of ProFusion3D (Mohan et al. 2024, section
// 3.2), summed without weights, each of which can be left out.
//
//   reconstruction  pixels of masked patches, from the perspective view: L1 on colours less the
//                   patch's mean over its spread (He et al., "Masked Autoencoders", 2022); points
//                   of masked cells, from the bird's-eye view: Chamfer distance
//   denoising       noise added to visible patches: L1; noise added to visible points: each cell
//                   says a few places and the noise there; Chamfer distance of the places to the
//                   noisy points, and L1 on the noise of those that meet. Noise counts in its own
//                   deviations, so that saying "none" costs 0.8 whatever they are
//   attributes      what only the other sensor sees. Brightness of the pixel that a masked point
//                   projects to: L1 between those that meet in the Chamfer distance, and so part of
//                   the reconstruction of points. Depth of masked patches: L1 on its logarithm,
//                   where LiDAR points are seen
//
// The form of the points' noise and of the depth loss, units and the number of predicted points are
// ours: the paper's text does not say.
#pragma once

#include <ATen/core/Tensor.h>

#include <array>
#include <string_view>
#include <utility>

#include "athanor/detection/pretraining/masking.h"
#include "athanor/detection/profusion3d/detector.h"
#include "athanor/nn/dense_layers.h"

namespace athanor {

// What sets of points differ by. Undefined where there is nothing to compare.
struct SetDistance {
  // Metres: from each predicted point to the nearest true one, mean, plus the other way round; mean
  // over cells.
  at::Tensor places;
  // L1 between the attributes of the pairs so met in both directions, mean over those known.
  at::Tensor attributes;
};
// predicted: [M,K,3+A] f32: places, then attributes. A may be 0: targets' are then not looked at.
// Differentiable in `predicted`; of equally near points the first is met. O(M K N).
SetDistance CompareSets(const at::Tensor& predicted, const PointTargets& targets);

struct ObjectiveOptions {
  bool reconstruction = true, denoising = true, attributes = true;
  int points_per_cell = 10;  // that are predicted
};

// What the network says about a masked sample. Undefined when not asked for, or where the sample
// has no such token.
struct PretrainOutputs {
  at::Tensor pixels;       // [T,3*s*s] of masked patches
  at::Tensor pixel_noise;  // [V,3*(s/b)*(s/b)] of visible patches
  at::Tensor log_depth;    // [T]
  at::Tensor points;       // [M,K,3 or 4] of masked cells: place, brightness
  at::Tensor point_noise;  // [M',K,6] of visible cells: place, noise

  PretrainOutputs To(const c10::Device& device) const;
};

// The decoders: for each thing to be said, a perceptron on the feature of a token's cell, which is
// two 1x1 convolutions taken at the tokens alone.
class PretrainHeads {
 public:
  // Throws Error without any objective or point.
  PretrainHeads(const LayerScope& scope, int64_t width, int stride_px,
                const MaskingOptions& masking, const ObjectiveOptions& options);
  PretrainOutputs Forward(const ViewMaps& maps, const MaskedSample& sample) const;

 private:
  ObjectiveOptions options_;
  Mlp pixels_, pixel_noise_, log_depth_, points_, point_noise_;
};

// Undefined parts add nothing.
struct PretrainLoss {
  static constexpr std::array<std::string_view, 6> kNames = {
      "pixels", "points", "pixel_noise", "point_noise", "brightness", "depth"};
  std::array<at::Tensor, 6> parts;  // scalars, in the order of the names

  at::Tensor Total() const;  // undefined when all parts are
};
PretrainLoss ComputePretrainLoss(const PretrainOutputs& outputs, const MaskedSample& sample);

}  // namespace athanor
