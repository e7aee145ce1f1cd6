// Between the pixels of cameras and the cells of a bird's-eye-view grid: pixels pooled into the
// cells that their rays cross (lift-splat, Philion & Fidler 2020, with interval pooling as in
// BEVFusion, Liu et al. 2023), cells spread to the pixels that see them, and the gradients of both.
//
//   out_c = sum over (q, d) that meet c of w_qd f_q        pool: a cell from its pixels
//   out_q = sum over d of w_qd v_c(q,d)                    spread: a pixel from its cells
//
// Each is the transpose of the other. Which pixel q meets which cell at its depth bin d is known
// from both sides, so that every sum belongs to one task: same input, same bytes, whatever the
// threads. The product of all weights and features is never in memory.
#pragma once

#include <cstdint>

namespace athanor {

// Pixels are numbered over all cameras, camera by camera and row by row. The weight of pixel q at
// bin d is weights[(q / plane * bins + d) * plane + q % plane]: [cameras,bins,plane].
struct BevPoolArgs {
  int64_t cells;
  const int32_t* offsets;  // [cells+1] into the two lists
  const int32_t* pixels;   // [M] the pixels of each cell
  const int32_t* places;   // [M] where their weights are; not read when weights is null
  const float* weights;    // null: 1
  int channels;
  const float* features;  // [pixels,channels]
  float* out;             // [cells,channels], overwritten; zeros where nothing falls
};

struct BevSpreadArgs {
  int64_t pixels;
  int64_t plane;         // pixels of a camera
  int bins;              // of a pixel
  const int32_t* cells;  // [pixels,bins]; < 0 = none
  const float* weights;  // null: 1
  int channels;
  const float* values;  // [cells,channels]
  float* out;           // [pixels,channels], overwritten; null: not wanted
  // The gradient of the pool with respect to its weights, values being that of its sums: of each
  // pixel and bin the dot product of features_q and values_c. Null: not wanted.
  const float* features;  // [pixels,channels]
  float* d_weights;       // as weights, overwritten; zeros where there is no cell
};

void BevPoolCpu(const BevPoolArgs& args);
void BevSpreadCpu(const BevSpreadArgs& args);

void BevPoolCuda(const BevPoolArgs& args, void* stream);
void BevSpreadCuda(const BevSpreadArgs& args, void* stream);

}  // namespace athanor
