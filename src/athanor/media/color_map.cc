#include "athanor/media/color_map.h"

#include <algorithm>
#include <cmath>

#include "athanor/base/error.h"

namespace athanor {
namespace {

// Polynomial approximation of Turbo that its author published with it (fit by R. Du):
// coefficients of 1, t, ..., t^5 for red, green, blue.
constexpr float kTurboCoefficients[3][6] = {
    {0.13572138f, 4.61539260f, -42.66032258f, 132.13108234f, -152.94239396f, 59.28637943f},
    {0.09140261f, 2.19418839f, 4.84296658f, -14.18503333f, 4.27729857f, 2.82956604f},
    {0.10667330f, 12.64194608f, -60.58204836f, 110.36276771f, -89.90310912f, 27.34824973f}};

// Viridis (CC0) at every eighth of its length; between them, straight lines.
constexpr Color kViridisStops[9] = {{0x44, 0x01, 0x54}, {0x47, 0x2d, 0x7b}, {0x3b, 0x52, 0x8b},
                                    {0x2c, 0x72, 0x8e}, {0x21, 0x90, 0x8c}, {0x27, 0xad, 0x81},
                                    {0x5d, 0xc8, 0x63}, {0xaa, 0xdc, 0x32}, {0xfd, 0xe7, 0x25}};

uint8_t ToByte(float value) {
  return static_cast<uint8_t>(std::clamp(value * 255 + 0.5f, 0.0f, 255.0f));
}

Color Turbo(float t) {
  float rgb[3];
  for (int c = 0; c < 3; ++c) {
    float value = 0;
    for (int i = 5; i >= 0; --i) value = value * t + kTurboCoefficients[c][i];
    rgb[c] = value;
  }
  return {ToByte(rgb[0]), ToByte(rgb[1]), ToByte(rgb[2])};
}

Color Viridis(float t) {
  const int stop = std::min(static_cast<int>(t * 8), 7);
  const float share = t * 8 - static_cast<float>(stop);
  const Color& a = kViridisStops[stop];
  const Color& b = kViridisStops[stop + 1];
  const auto mix = [&](uint8_t from, uint8_t to) {
    return static_cast<uint8_t>(static_cast<float>(from) + share * (to - from) + 0.5f);
  };
  return {mix(a.r, b.r), mix(a.g, b.g), mix(a.b, b.b)};
}

void Put(uint8_t* pixel, Color color) {
  pixel[0] = color.r;
  pixel[1] = color.g;
  pixel[2] = color.b;
}

}  // namespace

Color MapColor(ColorMap map, float t) {
  if (std::isnan(t)) return {};
  t = std::clamp(t, 0.0f, 1.0f);
  return map == ColorMap::kTurbo ? Turbo(t) : Viridis(t);
}

Image ColorizeDepth(const FloatImage& depth, float near, float far, ColorMap map) {
  ATHANOR_CHECK(depth.channels == 1, "depth to colour: expected 1 channel, found ", depth.channels);
  ATHANOR_CHECK(near > 0 && far > near && std::isfinite(far),
                "depth to colour: expected 0 < near < far, found ", near, " and ", far);
  Image colored(depth.width, depth.height, 3);
  const float inverse_far = 1 / far;
  const float scale = 1 / (1 / near - inverse_far);
  for (size_t i = 0; i < depth.data.size(); ++i) {
    const float z = depth.data[i];
    if (!(z > 0) || !std::isfinite(z)) continue;
    Put(&colored.data[3 * i], MapColor(map, (1 / z - inverse_far) * scale));
  }
  return colored;
}

Image ColorizeError(const Image& truth, const Image& render, float full_scale) {
  ATHANOR_CHECK(truth.width == render.width && truth.height == render.height &&
                    truth.channels == render.channels,
                "error to colour: expected two images of one size, found ", truth.width, "x",
                truth.height, "x", truth.channels, " and ", render.width, "x", render.height, "x",
                render.channels);
  ATHANOR_CHECK(full_scale > 0, "error to colour: expected a positive full scale, found ",
                full_scale);
  Image colored(truth.width, truth.height, 3);
  const int channels = truth.channels;
  const size_t pixels = static_cast<size_t>(truth.width) * truth.height;
  for (size_t i = 0; i < pixels; ++i) {
    int sum = 0;
    for (int c = 0; c < channels; ++c) {
      sum += std::abs(truth.data[i * channels + c] - render.data[i * channels + c]);
    }
    const float error = static_cast<float>(sum) / (static_cast<float>(channels) * full_scale);
    Put(&colored.data[3 * i], MapColor(ColorMap::kViridis, error));
  }
  return colored;
}

}  // namespace athanor
