// Pooling of camera pixels into the cells of a bird's-eye-view grid, and spreading of cells to
// pixels, on tensors and with gradients. The maths is that of kernels/bev_pool.h.
#pragma once

#include <ATen/core/Tensor.h>

namespace athanor {

// Which pixel meets which cell at which depth bin, listed from both sides: computed once per
// calibration, used by all layers and steps.
struct BevLinks {
  int64_t cameras = 0, height = 0, width = 0;  // of the pixels
  int64_t bins = 0;                            // per pixel
  int64_t cells = 0;
  at::Tensor cell_of;  // [cameras*height*width,bins] i32; -1 = none
  at::Tensor offsets;  // [cells+1] i32 into the two lists below
  at::Tensor pixels;   // [M] i32, the pixels of each cell, rising
  at::Tensor places;   // [M] i32, where their weights lie in [cameras,bins,height,width]

  // The same on another device.
  BevLinks To(const c10::Device& device) const;
};

// From the table of cells [cameras,height,width,bins] i32 on the CPU; entries < 0 meet none. One
// counting sort. Throws Error for entries at or above `cells`, and for more of either than i32
// can number.
BevLinks MakeBevLinks(const at::Tensor& cell_of, int64_t cells);

// The sum of weight times feature over all pixels and bins that meet each cell: [cells,F] in the
// type of the features, differentiable in both.
//   features [cameras,F,height,width] f32 or bf16, read without a copy when channels-last and f32
//   weights [cameras,bins,height,width] f32 or bf16; usually a distribution over the bins
// Sums are float32. Throws Error for other shapes, types and devices than those of the links.
at::Tensor BevPool(const at::Tensor& features, const at::Tensor& weights, const BevLinks& links);

// The other way: the sum of the values [cells,F] (f32 or bf16) over the cells that each pixel
// meets, [cameras,F,height,width] of the same type and channels-last. Differentiable in the values.
at::Tensor BevSpread(const at::Tensor& values, const BevLinks& links);

}  // namespace athanor
