// Where features and queries are in the world, as vectors that a decoder compares: the 3D position
// encoding of PETR (Liu et al., ECCV 2022) and CMT (Yan et al., ICCV 2023), which ProFusion3D's
// decoder takes for both of its views. All positions are normalised to the grid's range before they
// enter a perceptron (box_code.h). Differentiable in the perceptrons' weights and the anchors.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <vector>

#include "athanor/detection/profusion3d/bev_grid.h"
#include "athanor/nn/dense_layers.h"

namespace athanor {

struct PositionEncodingOptions {
  int64_t width = 128;   // of the encoding
  int64_t hidden = 512;  // of the perceptrons of views
  int depths = 64;       // points of a pixel's ray
  float nearest_m = 1;   // depth of the first; the last lies before the far edge of the range
  // Distances between depths grow with depth (PETR), instead of being equal (CMT).
  bool growing_depths = false;
  int heights = 8;  // points of a cell's column
  // Of the waves that accompany x, y (and z of anchors): sines and cosines of pi x 2^k (Mildenhall
  // et al., ECCV 2020). A perceptron of plain coordinates tells near places apart badly; 6 take it
  // to a wavelength of 1/16 of the range. 0: the paper's plain coordinates.
  int frequencies = 6;
};

// Along the camera's axis, metres. Equal: n + i (f - n) / D; growing: n + i (i + 1) (f - n) /
// (D (D + 1)), for i = 0..D-1, from n, the nearest, to f, the high x of the range.
std::vector<float> FrustumDepths(const PositionEncodingOptions& options, const BevGrid& grid);

// [N,K] in 0..1 to [N, K 2F]: sines, then cosines of each number.
at::Tensor Waves(const at::Tensor& x, int frequencies);

// Of feature maps in perspective view: a pixel's points at all depths, in the ego frame, through a
// perceptron of two layers.
class ImagePositions {
 public:
  ImagePositions() = default;
  ImagePositions(const LayerScope& scope, const BevGrid& grid,
                 const PositionEncodingOptions& options);
  // [C,width,height,columns] for maps whose pixels are `stride` image pixels wide. camera_from_ego
  // [C,4,4] (rigid), intrinsics [C,3,3] of image pixels. The points of a ray are linear in depth
  // and so is the first layer: its weights are summed over depths first, exactly, so that the cost
  // is that of 6 inputs and not of 3 D. Throws Error (camera) when a calibration is not finite or
  // has no focal length.
  at::Tensor Forward(const at::Tensor& camera_from_ego, const at::Tensor& intrinsics,
                     int64_t height, int64_t columns, double stride) const;

 private:
  BevGrid grid_;
  std::vector<float> depths_;
  at::Tensor weight_, bias_;  // of the first layer: [hidden, D 3], depth by depth
  Linear second_;
};

// Of maps over the grid's range: the points of a cell's column, and waves of x and y, through a
// perceptron of two layers.
class BevPositions {
 public:
  BevPositions() = default;
  BevPositions(const LayerScope& scope, const PositionEncodingOptions& options);
  // [width,rows,columns], of any resolution.
  at::Tensor Forward(int64_t rows, int64_t columns, const c10::Device& device = c10::kCPU) const;

 private:
  int heights_ = 0, frequencies_ = 0;
  Mlp mlp_;
};

// What queries begin as. Learnt places in the world, uniform over the range at first, and a
// perceptron of two layers that makes a query of any place: anchors with their waves, as in PETR.
class AnchorQueries {
 public:
  AnchorQueries() = default;
  AnchorQueries(const LayerScope& scope, int64_t count, const PositionEncodingOptions& options);
  // [Q,3] in 0..1.
  at::Tensor Anchors() const;
  // [N,3] in 0..1 to [N,width].
  at::Tensor Embed(const at::Tensor& anchors) const;

 private:
  int frequencies_ = 0;
  at::Tensor anchors_;
  Mlp mlp_;
};

}  // namespace athanor
