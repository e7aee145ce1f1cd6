// From pixels to splats: sums of feature vectors by blending weights, the transpose of rasterising.
//
//   sums_i = sum_p w_ip f_p,   w_ip as in rasterize.h
//
// Pixels share vectors: each pixel names a cell (of a feature grid, or a mask), and weights are
// summed per splat and cell before any vector is touched. What a splat gets is sums_i / weight_i
// (LUDVIG, Marrie et al. 2024; Splat Feature Solver 2025).
#pragma once

#include <cmath>
#include <cstdint>
#include <vector>

#include "athanor/kernels/host_device.h"
#include "athanor/kernels/splat.h"

namespace athanor {

// A view whose pixels say something.
struct LiftView {
  int width_px, height_px;
  int64_t n;
  const Splat* splats;          // [N]
  const int32_t* tile_offsets;  // [tiles+1], see tile_binning.h
  const int32_t* tile_ids;
  const int32_t* cells;  // [H,W]; < 0 = the pixel says nothing
  int top_k;             // 0: all splats of a pixel; else those of the k largest weights only
  float least_weight;    // smaller weights say nothing: 0 = all do
  // Weights of a splat are divided by the pixels that it covers (PerPixelCovered), so that a view
  // counts by how much it sees of the splat, not by how near it is.
  bool per_footprint;
};

// 1 / (integral of the splat's falloff over the image plane, 2 pi sqrt(det covariance)), 1/px^2.
ATHANOR_HOST_DEVICE float PerPixelCovered(const Splat& splat) {
  constexpr float kPerTurn = 0.15915494f;  // 1 / (2 pi)
  const float determinant = splat.a * splat.c - splat.b * splat.b;
  return determinant > 0 ? kPerTurn * std::sqrt(determinant) : 0;
}

// What is known of splats after a view; any may be null.
struct LiftTotals {
  float* weights;         // [N] += sum of (scaled) weights over pixels that say something
  float* max_weights;     // [N] max= weight in any pixel, whether it says something or not
  float* center_weights;  // [N] max= weight in pixels within 1 px of the one that holds the centre
};

struct LiftTilesArgs {
  LiftView view;
  LiftTotals totals;
  int dimension;             // D >= 1
  const uint16_t* features;  // [cells,D] float16
  const float* scales;       // [cells] vectors are multiplied by these; null: 1
  // Splats are looked up here for their row of sums, < 0 = left out. Null: rows are splats.
  const int32_t* rows;
  float factor;  // weights are multiplied by this: -1 takes away what was added
  // Round weights and vectors to bfloat16 (the sums are float32) where the processor multiplies
  // such pairs; elsewhere it changes nothing.
  bool bfloat16;
  // [rows,stride] +=. A stride that is a multiple of 16 keeps vectors whole.
  float* sums;
  int64_t stride;
};

// Weights summed per splat and cell of one view.
struct LiftEntry {
  int32_t splat, cell;
  float weight;
};

// Sparse rows times vectors: sums[row_ids[r]] += sum_e weights[e] scales[columns[e]]
// features[columns[e]] over e in [offsets[r], offsets[r+1]).
struct LiftRowsArgs {
  int64_t rows;
  const int32_t* row_ids;  // [R], each once; null: r
  const int64_t* offsets;  // [R+1]
  const int32_t* columns;
  const float* weights;
  int dimension;
  const uint16_t* features;  // [columns,D] float16
  const float* scales;       // [columns]
  float* sums;               // [.,stride]
  int64_t stride;
};

// As LiftRows into sums that are overwritten, but views that contradict the others are left out:
// with y_v the part of a row's sum that comes from view v, those whose cosine to sum_v y_v lies
// more than z_limit standard deviations below the mean of the row's views (ReLaGS 2026).
struct LiftRobustRowsArgs {
  LiftRowsArgs rows;        // row_ids null; columns of a row rise
  const int32_t* views;     // [columns] the view that each column belongs to, rising
  float z_limit;            // > 0
  float* weights;           // [R] out: sum of the weights that were kept
  int32_t* rejected_views;  // [R] out
};

// scales[c] = 1 / |features[c]|; 0 for a vector of zeros, NaN for one that is not finite. features:
// [cells,D] float16.
void InverseLengthsCpu(const uint16_t* features, int64_t cells, int dimension, float* scales);

// A pixel whose scale is 0 should have no cell: else its weight counts.
// Same inputs, same bytes, whatever the number of threads.
void LiftTilesCpu(const LiftTilesArgs& args);
// Only the totals and, unless null, the weights: sorted by splat, then cell.
void LiftWeightsCpu(const LiftView& view, const LiftTotals& totals,
                    std::vector<LiftEntry>* entries);
void LiftRowsCpu(const LiftRowsArgs& args);
void LiftRobustRowsCpu(const LiftRobustRowsArgs& args);

// top_k must be 0. Sums are atomic: their last bits differ from run to run.
void LiftTilesCuda(const LiftTilesArgs& args, void* stream);
void LiftRowsCuda(const LiftRowsArgs& args, void* stream);

}  // namespace athanor
