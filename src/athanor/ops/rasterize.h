// Gaussian splatting on tensors, with gradients: projection, colours, blending of any number of
// feature channels, the image loss. The maths is that of kernels/; here are checks and autograd.
//
// All tensors are float32 and on one device; they may be views of any strides (what is not dense is
// copied). Wrong types, shapes, devices or sizes throw Error. Values are not looked at: a Gaussian
// that is not finite is not visible, and a feature that is not finite spoils the pixels around it.
// Gradients are first derivatives: backward with create_graph throws Error. Views have none.
#pragma once

#include <ATen/core/Tensor.h>

#include "athanor/kernels/project.h"
#include "athanor/ops/tile_bins.h"

namespace athanor {

struct GaussianTensors {
  at::Tensor means;           // [N,3] world frame
  at::Tensor quats;           // [N,4] wxyz, any positive length
  at::Tensor log_scales;      // [N,3]
  at::Tensor opacity_logits;  // [N]
};

// [N,8], the fields of Splat; differentiable in all four tensors. The last column, the radius, has
// no gradient; where it is 0 the Gaussian is not visible and the other columns mean nothing.
at::Tensor Project(const GaussianTensors& gaussians, const PinholeView& view,
                   const ProjectOptions& options);

// Colours [N,3] from spherical harmonics, at least 0; differentiable in means and sh. Those of
// Gaussians that `splats` says are not visible are 0.
//   sh      [N,3,K], K one of 1, 4, 9, 16
//   degree  bands to evaluate, (degree+1)^2 <= K
//   splats  [N,8]; undefined: all are visible
at::Tensor ShColors(const at::Tensor& means, const at::Tensor& sh, int degree,
                    const float camera_center[3], const at::Tensor& splats);

struct Rasterized {
  at::Tensor image;          // [C,H,W]
  at::Tensor transmittance;  // [H,W] what is left behind the last splat: 1 - alpha
  at::Tensor depth;          // [H,W] sum of weight * z; divide by alpha for the expected depth
  at::Tensor splats;         // [N,8] what was blended
};

// Blends features front to back; differentiable in splats, features and background.
//   splats      [N,8]
//   features    [N,C], C >= 0
//   bins        of BinTiles for these splats and this size
//   background  [C]; undefined: 0
//   absolute_gradients  [N,2]; undefined: not wanted. The backward pass adds the sums over pixels
//   of
//                       |d/dx| and |d/dy| of every splat to it (AbsGS, Ye et al. 2024)
Rasterized Rasterize(const at::Tensor& splats, const at::Tensor& features,
                     const TileBinTensors& bins, const at::Tensor& background, int width_px,
                     int height_px, const at::Tensor& absolute_gradients = {});

struct FeatureRenderOptions {
  ProjectOptions project;
  // As Rasterize takes them.
  at::Tensor background;
  at::Tensor absolute_gradients;
};

// Project, BinTiles and Rasterize; differentiable in the Gaussians, features and background.
Rasterized RenderFeatures(const GaussianTensors& gaussians, const at::Tensor& features,
                          const PinholeView& view, const FeatureRenderOptions& options);

struct TopContributors {
  at::Tensor ids;           // [H,W,k] i32, by falling weight; -1 = none
  at::Tensor weights;       // [H,W,k]
  at::Tensor median_depth;  // [H,W] z where the transmittance falls to one half; 0 = it does not
};

// The splats with the largest blending weights of every pixel. Has no gradient. 1 <= k <= 64.
TopContributors FindTopContributors(const at::Tensor& splats, const TileBinTensors& bins,
                                    int width_px, int height_px, int k);

// (1 - w) mean |x - y| + w (1 - SSIM(x, y)), see kernels/image_loss.h; a scalar, differentiable in
// the image.
//   image, target  [C,H,W], not empty; values around [0, 1]
//   mask           [H,W] u8 or bool; pixels of 0 count as equal in both images. Undefined: none
//   does
at::Tensor ImageLoss(const at::Tensor& image, const at::Tensor& target, const at::Tensor& mask,
                     double ssim_weight);

}  // namespace athanor
