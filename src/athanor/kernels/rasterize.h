// Alpha blending of splats, front to back, for any number of feature channels, and its gradient.
//
// Per pixel: image_c = sum_i w_i f_ic + T background_c with w_i = alpha_i T_i, T the transmittance
// that is left. Constants: splat.h. Kerbl et al. 2023, section 6.
//
// The backward pass walks the same lists front to back and re-derives alpha and T, so nothing is
// stored per pixel and splat: what lies behind splat i is image - prefix(i).
#pragma once

#include <cstdint>

#include "athanor/kernels/splat.h"

namespace athanor {

struct RasterizeForwardArgs {
  int width_px, height_px;
  int channels;                 // C >= 0
  const Splat* splats;          // [N]
  const float* features;        // [N,C]; colours, or anything else
  const float* background;      // [C]; null: 0
  const int32_t* tile_offsets;  // [tiles+1], see tile_binning.h
  const int32_t* tile_ids;      // splat numbers
  // Out.
  float* image;          // [C,H,W]
  float* transmittance;  // [H,W] what is left behind the last splat: 1 - alpha
  float* depth;          // [H,W] sum w_i z_i; divide by alpha for the expected depth. Null: skipped
  float*
      median_depth;  // [H,W] z of the splat at which T falls to 0.5 or below; 0 = never. Null: ..
  int32_t* tile_walked;  // [tiles] list entries looked at before every pixel was full
  // The splats with the largest weights of each pixel, by falling weight.
  int top_k;           // 0: skipped
  int32_t* top_ids;    // [H,W,top_k]; -1 = none
  float* top_weights;  // [H,W,top_k]
};

struct RasterizeBackwardArgs {
  int64_t n;
  int width_px, height_px;
  int channels;
  const Splat* splats;
  const float* features;
  const float* background;
  const int32_t* tile_offsets;
  const int32_t* tile_ids;
  const float* image;            // [C,H,W] as the forward pass left them
  const float* transmittance;    // [H,W]
  const float* depth;            // [H,W]; null when d_depth is null
  const int32_t* tile_walked;    // [tiles]
  const float* d_image;          // [C,H,W]
  const float* d_transmittance;  // [H,W]; null: 0
  const float* d_depth;          // [H,W]; null: 0
  bool absolute;                 // fill abs_x, abs_y
  // Out, overwritten.
  SplatGradient* d_splats;  // [N]
  float* d_features;        // [N,C]
};

void RasterizeForwardCpu(const RasterizeForwardArgs& args);
// Same inputs, same bytes, whatever the number of threads.
void RasterizeBackwardCpu(const RasterizeBackwardArgs& args);

void RasterizeForwardCuda(const RasterizeForwardArgs& args, void* stream);
void RasterizeBackwardCuda(const RasterizeBackwardArgs& args, void* stream);

}  // namespace athanor
