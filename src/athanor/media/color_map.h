// Colour maps: numbers as colours, for depth maps and error maps that people look at.
#pragma once

#include <cstdint>

#include "athanor/media/image.h"

namespace athanor {

struct Color {
  uint8_t r = 0;
  uint8_t g = 0;
  uint8_t b = 0;
  bool operator==(const Color&) const = default;
};

enum class ColorMap {
  kTurbo,    // A. Mikhailov 2019, "Turbo, an improved rainbow colormap": shows fine steps
  kViridis,  // after S. van der Walt and N. Smith 2015: grows evenly brighter, safe for the colour
             // blind
};

// The colour of t in [0, 1]; beyond, that of the nearer end. NaN is black.
Color MapColor(ColorMap map, float t);

// depth: [H,W,1], in the unit of near and far (0 < near < far). Depths are spread by their
// reciprocal, so that what is near, where errors matter, gets most of the colours: near is warm,
// far cold. Depths that are not positive or not finite are black: nothing there. Throws Error.
Image ColorizeDepth(const FloatImage& depth, float near, float far,
                    ColorMap map = ColorMap::kTurbo);

// Mean absolute difference over the channels of two images of one size: 0 dark, `full_scale`
// levels of 255 (and more) bright. Throws Error.
Image ColorizeError(const Image& truth, const Image& render, float full_scale = 64);

}  // namespace athanor
