// What pre-training hides and disturbs: patches of pictures and columns of points. Masked
// multi-modal pre-training of ProFusion3D (Mohan et al. 2024, section 3.2): one sensor, drawn at
// random, loses more of its tokens than the other, so that what it lost is often seen by the other;
// tokens that stay get Gaussian noise. The paper's text leaves ratios, noise and the size of a
// token open: the values here are ours.
//
// Tokens: squares of patch_px of all pictures, and columns of column_cells x column_cells cells of
// the bird's-eye view that hold points. What is to be found is said per cell of the camera maps
// (squares of their stride) and per cell of the bird's-eye view, the places where a network has a
// feature each; a token is one cell or several.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>

#include "athanor/base/random.h"
#include "athanor/detection/profusion3d/bev_grid.h"
#include "athanor/detection/profusion3d/sample.h"

namespace athanor {

struct MaskingOptions {
  double high_ratio = 0.75, low_ratio = 0.5;  // of the tokens of the two sensors
  int patch_px = 16;                          // a multiple of the camera map's stride
  int column_cells = 1;
  // Noise of what stays, cut off at noise_clip deviations; 0: none.
  double pixel_sigma = 0.25;    // in units of kPixelDeviation
  double point_sigma_m = 0.05;  // along each axis
  double noise_clip = 3;
  // Noise is the same for the pixels of a square of this side, which divides the stride: a feature
  // of 64 numbers does not hold the 768 of a square of 16 pixels.
  int noise_block_px = 4;
  int max_points = 32;  // of a cell that are to be found; of more, a random part
};

// Points per cell of the bird's-eye view. The first counts[m] of the N rows of cell m are points,
// those after them zeros.
struct PointTargets {
  at::Tensor cells;       // [M] i64: row * columns + column, rising
  at::Tensor places;      // [M,N,3] f32, metres: x and y from the cell's middle, z of the ego frame
  at::Tensor attributes;  // [M,N,A] f32; NaN where not known
  at::Tensor counts;      // [M] i32, at least 1

  PointTargets To(const c10::Device& device) const {
    return {cells.to(device), places.to(device), attributes.to(device), counts.to(device)};
  }
};

struct MaskedSample {
  DetectionSample input;                // without the masked points; masked patches are grey
  bool hides_more_of_pictures = false;  // else of the LiDAR

  // Cells of the camera maps: i64, (camera * height + row) * width + column, rising.
  int64_t map_height = 0, map_width = 0;
  int stride_px = 0;
  at::Tensor masked_patches;  // [T]
  at::Tensor patch_pixels;    // [T,3,s,s] f32 of the masked: less the patch's mean, over its spread
  at::Tensor patch_mean;      // [T] f32, bytes: over pixels and colours of the patch
  at::Tensor patch_spread;    // [T] f32, bytes: their deviation, at least 1
  at::Tensor patch_log_depth;  // [T] f32: mean logarithm of z of the camera, metres, of the points
                               // seen there, masked or not; NaN without any
  at::Tensor visible_patches;  // [V]
  at::Tensor patch_noise;      // [V,3,s/b,s/b] f32 that was added, in deviations of the noise

  // Attribute: brightness (0..1) of the pixel where the first camera that looks there sees it.
  PointTargets masked_points;
  // Where they are now. Attributes: the noise added to x, y, z, in deviations.
  PointTargets visible_points;
};

// A missing sensor has no tokens. Depends on the sample, the options and the state of `random`
// alone; what stays, and its noise, not on what is hidden. Throws Error for options that do not
// fit one another or the pictures.
MaskedSample MaskSample(const DetectionSample& sample, const BevGrid& grid, int stride_px,
                        const MaskingOptions& options, Random* random);

}  // namespace athanor
