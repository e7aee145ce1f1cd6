// Names of colours: what a person would call a surface's colour, and colours that deserve a name.
#pragma once

#include <Eigen/Core>
#include <string>
#include <string_view>
#include <vector>

#include "athanor/base/random.h"

namespace athanor {

// The names in use: the eleven basic terms of Berlin and Kay 1969 (red, orange, yellow, green,
// blue, purple, pink, brown, black, white, grey), beige and turquoise.
const std::vector<std::string>& ColorNames();

// The name of a linear-light colour, 0..1: that of the nearest anchor in CIE L*a*b*.
std::string ColorName(const Eigen::Vector3f& linear);

// A random linear-light colour that ColorName calls `name`. Throws Error for an unknown name.
Eigen::Vector3f RandomColor(std::string_view name, Random& random);

// sRGB 0..255 to linear light.
Eigen::Vector3f LinearFromSrgb(float r, float g, float b);

}  // namespace athanor
