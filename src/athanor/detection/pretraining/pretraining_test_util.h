// What the tests of pre-training share: a moment for SmallDetector (sample_test_util.h).
#pragma once

#include <ATen/ATen.h>

#include <cmath>

#include "athanor/base/random.h"
#include "athanor/detection/profusion3d/sample_test_util.h"

namespace athanor {

// Two cameras, one ahead and one behind, that see waves; a floor and a wall of points.
inline DetectionSample WavySample(uint64_t seed = 7) {
  Random random(seed);
  DetectionSample sample;
  sample.id = "made up";
  sample.points = at::zeros({1500, kPointColumns});
  auto points = sample.points.accessor<float, 2>();
  for (int64_t i = 0; i < 1500; ++i) {
    const bool is_wall = i % 3 == 0;
    points[i][0] = is_wall ? 9 : random.Uniform(-12, 12);
    points[i][1] = random.Uniform(-12, 12);
    points[i][2] = is_wall ? random.Uniform(-1.5f, 1.9f) : -1.5f;
    points[i][3] = random.Uniform();
  }
  sample.images = at::zeros({2, 3, 64, 96}, at::kByte);
  auto bytes = sample.images.accessor<uint8_t, 4>();
  for (int64_t c = 0; c < 2; ++c) {
    for (int64_t k = 0; k < 3; ++k) {
      for (int64_t y = 0; y < 64; ++y) {
        for (int64_t x = 0; x < 96; ++x) {
          const double wave =
              std::sin(0.2 * static_cast<double>(x + 3 * c) + static_cast<double>(k)) +
              std::cos(0.15 * static_cast<double>(y));
          bytes[c][k][y][x] = static_cast<uint8_t>(120 + 50 * wave);
        }
      }
    }
  }
  AddTwoCameras(&sample);
  sample.boxes = at::zeros({0, kBoxColumns});
  sample.labels = at::zeros({0}, at::kLong);
  return sample;
}

}  // namespace athanor
