// The operations of rasterize.h in plain tensor arithmetic: every Gaussian against every pixel,
// gradients by autograd. Slow, and written apart from the kernels: the oracle for tests and for
// CheckKernels. Any floating type (double, to be exact) and any device; no checks.
#pragma once

#include <ATen/core/Tensor.h>

#include "athanor/ops/rasterize.h"

namespace athanor {

// [N,8]; all of a row is 0 where the Gaussian is not visible.
at::Tensor ProjectReference(const GaussianTensors& gaussians, const PinholeView& view,
                            const ProjectOptions& options);

// [N,3]; of all Gaussians, visible or not.
at::Tensor ShColorsReference(const at::Tensor& means, const at::Tensor& sh, int degree,
                             const float camera_center[3]);

struct RasterizedReference {
  at::Tensor image;          // [C,H,W]
  at::Tensor transmittance;  // [H,W]
  at::Tensor depth;          // [H,W]
  at::Tensor weights;        // [N,H*W] of every splat in every pixel
  // [H,W] bool: an alpha or a transmittance lies within 1e-3 of a cut (1/255, 0.99, 1e-4), so that
  // rounding decides on which side, and values and gradients jump there.
  at::Tensor doubtful;
};

// `center_shifts` [2,N,H*W] is added to the centres, pixel by pixel: a leaf of zeros there receives
// the gradient that each pixel has on each centre. Undefined: 0.
RasterizedReference RasterizeReference(const at::Tensor& splats, const at::Tensor& features,
                                       const at::Tensor& background, int width_px, int height_px,
                                       const at::Tensor& center_shifts = {});

at::Tensor ImageLossReference(const at::Tensor& image, const at::Tensor& target,
                              const at::Tensor& mask, double ssim_weight);

}  // namespace athanor
