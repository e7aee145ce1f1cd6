// What the corruptions of pictures share. Internal to this folder.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <vector>

#include "athanor/base/parallel.h"
#include "athanor/base/random.h"
#include "athanor/media/image.h"

namespace athanor {

inline uint8_t ByteOf(float value) {  // 0..1, cut as the original does
  return static_cast<uint8_t>(std::clamp(value, 0.0f, 1.0f) * 255.0f);
}

// Calls row(y, random) for every row, each with random numbers of its own.
template <typename Row>
void ForRows(int height, uint64_t key, Row row) {
  ParallelFor(height, 8, [&](int64_t begin, int64_t end) {
    for (int64_t y = begin; y < end; ++y) {
      Random random(MixBits(key) + static_cast<uint64_t>(y));
      row(static_cast<int>(y), random);
    }
  });
}

// At (x, y) of a picture `width` x `height`, a channel of an image stretched over it (bilinear).
inline float SampleStretched(const FloatImage& image, int width, int height, int x, int y) {
  const auto split = [](float position, int size, int* first, int* second, float* share) {
    const float clamped = std::clamp(position, 0.0f, static_cast<float>(size - 1));
    *first = static_cast<int>(clamped);
    *second = std::min(*first + 1, size - 1);
    *share = clamped - static_cast<float>(*first);
  };
  int x0, x1, y0, y1;
  float u, v;
  split((x + 0.5f) * image.width / width - 0.5f, image.width, &x0, &x1, &u);
  split((y + 0.5f) * image.height / height - 0.5f, image.height, &y0, &y1, &v);
  return (1 - v) * ((1 - u) * *image.at(x0, y0) + u * *image.at(x1, y0)) +
         v * ((1 - u) * *image.at(x0, y1) + u * *image.at(x1, y1));
}

// A streak of 2 radius + 1 pixels with the weights of half a Gaussian, towards `angle_rad` (0:
// along the row, counter-clockwise positive as rows are counted down). Borders repeat.
FloatImage BlurAlong(const FloatImage& image, int radius, double sigma_px, double angle_rad);

// Fog and snow on pictures, severity 1 to 3.
Image FogImage(const Image& image, int severity, uint64_t key, const FloatImage* depth);
Image SnowImage(const Image& image, int severity, uint64_t key);

}  // namespace athanor
