#include "athanor/simulation/color_names.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "athanor/base/error.h"
#include "athanor/simulation/render/sensor_effects.h"

namespace athanor {
namespace {

struct Anchor {
  const char* name;
  float r, g, b;  // sRGB, 0..255
};

// Several anchors may share a name: "blue" is navy as well as sky.
constexpr Anchor kAnchors[] = {
    {"red", 190, 30, 35},        {"red", 150, 20, 25},        {"red", 220, 60, 50},
    {"orange", 235, 125, 30},    {"orange", 215, 100, 20},    {"yellow", 240, 205, 45},
    {"yellow", 215, 185, 60},    {"green", 50, 135, 60},      {"green", 25, 85, 45},
    {"green", 125, 175, 75},     {"green", 115, 130, 60},     {"blue", 35, 75, 170},
    {"blue", 25, 40, 95},        {"blue", 80, 135, 205},      {"blue", 135, 180, 225},
    {"purple", 105, 45, 130},    {"purple", 150, 100, 185},   {"pink", 235, 140, 170},
    {"pink", 225, 90, 140},      {"brown", 115, 70, 40},      {"brown", 80, 50, 32},
    {"brown", 150, 98, 60},      {"beige", 215, 190, 150},    {"beige", 190, 160, 120},
    {"turquoise", 50, 170, 165}, {"turquoise", 30, 115, 120}, {"white", 240, 238, 234},
    {"grey", 125, 125, 125},     {"grey", 90, 92, 95},        {"grey", 170, 172, 174},
    {"black", 22, 22, 24},       {"black", 42, 42, 44},
};

// CIE L*a*b* under D65.
Eigen::Vector3f Lab(const Eigen::Vector3f& rgb) {
  const float x = (0.4124f * rgb.x() + 0.3576f * rgb.y() + 0.1805f * rgb.z()) / 0.9505f;
  const float y = 0.2126f * rgb.x() + 0.7152f * rgb.y() + 0.0722f * rgb.z();
  const float z = (0.0193f * rgb.x() + 0.1192f * rgb.y() + 0.9505f * rgb.z()) / 1.089f;
  const auto f = [](float t) { return t > 0.008856f ? std::cbrt(t) : 7.787f * t + 16.0f / 116.0f; };
  return {116 * f(y) - 16, 500 * (f(x) - f(y)), 200 * (f(y) - f(z))};
}

}  // namespace

const std::vector<std::string>& ColorNames() {
  static const std::vector<std::string> names = [] {
    std::vector<std::string> result;
    for (const Anchor& anchor : kAnchors) {
      if (std::find(result.begin(), result.end(), anchor.name) == result.end()) {
        result.push_back(anchor.name);
      }
    }
    return result;
  }();
  return names;
}

Eigen::Vector3f LinearFromSrgb(float r, float g, float b) {
  return {DecodeSrgb(r), DecodeSrgb(g), DecodeSrgb(b)};
}

std::string ColorName(const Eigen::Vector3f& linear) {
  const Eigen::Vector3f lab = Lab(linear);
  float best = std::numeric_limits<float>::infinity();
  const char* name = "";
  for (const Anchor& anchor : kAnchors) {
    const float distance = (Lab(LinearFromSrgb(anchor.r, anchor.g, anchor.b)) - lab).squaredNorm();
    if (distance < best) {
      best = distance;
      name = anchor.name;
    }
  }
  return name;
}

Eigen::Vector3f RandomColor(std::string_view name, Random& random) {
  std::vector<const Anchor*> candidates;
  for (const Anchor& anchor : kAnchors) {
    if (anchor.name == name) candidates.push_back(&anchor);
  }
  ATHANOR_CHECK(!candidates.empty(), "expected the name of a colour, found '", name, "'");
  const Anchor& anchor = *candidates[random.Below(static_cast<uint32_t>(candidates.size()))];
  // The jitter shrinks until the name is right; without any, the anchor is its own nearest.
  for (float spread = 14; spread > 0.5f; spread *= 0.7f) {
    const auto channel = [&](float value) {
      return DecodeSrgb(std::clamp(value + random.Uniform(-spread, spread), 6.0f, 248.0f));
    };
    const float r = channel(anchor.r), g = channel(anchor.g), b = channel(anchor.b);
    const Eigen::Vector3f color(r, g, b);
    if (ColorName(color) == name) return color;
  }
  return LinearFromSrgb(anchor.r, anchor.g, anchor.b);
}

}  // namespace athanor
