// What the Gaussian kernels share: the view, a Gaussian projected into it (a splat), tiles.
//
// Conventions: camera axes x right, y down, z forward; pixel centres at +0.5; all arrays dense and
// row-major; images planar, [channels, height, width].
#pragma once

#include <cstdint>

namespace athanor {

inline constexpr int kTileSize = 16;  // pixels on a side

inline constexpr float kMinAlpha = 1.0f / 255.0f;  // a contribution below is skipped
inline constexpr float kMaxAlpha = 0.99f;          // a contribution above is clipped to this
inline constexpr float kMinTransmittance = 1e-4f;  // a pixel stops before it falls below

// A pinhole camera and where it stands.
struct PinholeView {
  float camera_from_world[12];  // [3,4]
  float fx_px, fy_px, cx_px, cy_px;
  int width_px, height_px;
};

struct GaussianArrays {
  int64_t n;
  const float* means;           // [N,3]  world frame
  const float* quats;           // [N,4]  wxyz, any positive length
  const float* log_scales;      // [N,3]
  const float* opacity_logits;  // [N]
};

// A Gaussian as the image sees it: alpha(d) = opacity exp(-(a dx^2 + c dy^2) / 2 - b dx dy).
struct Splat {
  float x, y;     // centre, pixels
  float a, b, c;  // inverse of the 2D covariance, 1/px^2
  float opacity;  // after antialias compensation
  float depth;    // z in the camera frame
  float radius;   // half the larger side of the box where alpha >= 1/255, pixels; 0 = not visible
};

// Gradient of a loss with respect to a splat, summed over pixels.
struct SplatGradient {
  float x, y;
  float a, b, c;
  float opacity;
  float depth;
  float abs_x, abs_y;  // sums of |d/dx|, |d/dy| (AbsGS, Ye et al. 2024); 0 unless asked for
};

}  // namespace athanor
