// Where a splat reaches: the ellipse alpha >= 1/255 against pixels, for CPU and CUDA.
#pragma once

#include <cmath>

#include "athanor/kernels/fast_math.h"
#include "athanor/kernels/splat.h"

namespace athanor {

// The ellipse a dx^2 + 2 b dx dy + c dy^2 <= extent2 around the centre of a splat.
struct SplatEllipse {
  float extent2;         // 2 log(255 opacity)
  float half_x, half_y;  // of its box, pixels
  float skew;            // dy / half_x at the rightmost point
  float det_over_a2;     // det / a^2
  float slope;           // b / a
  float extent2_over_a;
};

// A margin covers rounding: the exact test per pixel is the rasteriser's.
ATHANOR_HOST_DEVICE SplatEllipse MakeSplatEllipse(const Splat& s) {
  SplatEllipse e;
  const float det = s.a * s.c - s.b * s.b;
  e.extent2 = 2.0f * FastLog(s.opacity * 255.0f) * 1.0001f + 1e-4f;
  e.half_x = sqrtf(e.extent2 * s.c / det);
  e.half_y = sqrtf(e.extent2 * s.a / det);
  e.skew = -s.b / s.c;
  e.slope = s.b / s.a;
  e.det_over_a2 = det / (s.a * s.a);
  e.extent2_over_a = e.extent2 / s.a;
  return e;
}

// First and one past the last pixel along one axis whose centre lies in [low, high], within [0, n).
struct PixelRange {
  int begin, end;
};

ATHANOR_HOST_DEVICE PixelRange PixelsBetween(float low, float high, int n) {
  const float limit = static_cast<float>(n);
  const float first = ceilf(low - 0.5f), last = floorf(high - 0.5f);
  PixelRange r;
  r.begin = static_cast<int>(first > 0.0f ? (first < limit ? first : limit) : 0.0f);
  r.end = static_cast<int>(last >= 0.0f ? (last < limit ? last + 1.0f : limit) : 0.0f);
  return r;
}

ATHANOR_HOST_DEVICE float ClampTo(float x, float low, float high) {
  return x < low ? low : (x > high ? high : x);
}

// Half the width of the ellipse at height dy, around -slope * dy.
ATHANOR_HOST_DEVICE float HalfWidthAt(const SplatEllipse& e, float dy) {
  const float square = e.extent2_over_a - e.det_over_a2 * dy * dy;
  return square > 0.0f ? sqrtf(square) : 0.0f;
}

// Pixels along x that the part of the ellipse between the heights y0 and y1 (absolute, pixels)
// covers. The ellipse must reach that band.
ATHANOR_HOST_DEVICE PixelRange ColumnsInBand(const Splat& s, const SplatEllipse& e, float y0,
                                             float y1, int width_px) {
  const float low = ClampTo(y0 - s.y, -e.half_y, e.half_y);
  const float high = ClampTo(y1 - s.y, -e.half_y, e.half_y);
  // The right and left borders are furthest out where the ellipse is; else at the band's edge.
  const float at_right = ClampTo(e.skew * e.half_x, low, high);
  const float at_left = ClampTo(-e.skew * e.half_x, low, high);
  const float right = -e.slope * at_right + HalfWidthAt(e, at_right);
  const float left = -e.slope * at_left - HalfWidthAt(e, at_left);
  constexpr float kMargin = 1e-2f;
  return PixelsBetween(s.x + left - kMargin, s.x + right + kMargin, width_px);
}

// Calls visit(tile) for every tile that the splat reaches, in rising order.
template <typename Visit>
ATHANOR_HOST_DEVICE void ForEachTile(const Splat& s, int width_px, int height_px, int tile_columns,
                                     const Visit& visit) {
  const SplatEllipse e = MakeSplatEllipse(s);
  constexpr float kMargin = 1e-2f;
  const PixelRange rows =
      PixelsBetween(s.y - e.half_y - kMargin, s.y + e.half_y + kMargin, height_px);
  if (rows.begin >= rows.end) return;
  const int first_row = rows.begin / kTileSize, last_row = (rows.end - 1) / kTileSize;
  for (int row = first_row; row <= last_row; ++row) {
    const float y0 = static_cast<float>(row * kTileSize) + 0.5f;
    const PixelRange columns =
        ColumnsInBand(s, e, y0, y0 + static_cast<float>(kTileSize - 1), width_px);
    if (columns.begin >= columns.end) continue;
    const int last = (columns.end - 1) / kTileSize;
    for (int column = columns.begin / kTileSize; column <= last; ++column) {
      visit(row * tile_columns + column);
    }
  }
}

}  // namespace athanor
