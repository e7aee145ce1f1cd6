// What the tests of pre-training share: a detector small enough for a second, and a moment for it.
#pragma once

#include <ATen/ATen.h>

#include <cmath>

#include "athanor/base/random.h"
#include "athanor/detection/profusion3d/detector_options.h"
#include "athanor/detection/profusion3d/sample.h"

namespace athanor {

inline DetectorOptions SmallDetector() {
  DetectorOptions options;
  options.image_width_px = 96, options.image_height_px = 64;
  options.range_m = 12.8f, options.low_m = -2, options.high_m = 2;
  options.voxel_m = 0.2f;
  options.width = 16, options.lift_width = 8, options.heads = 2, options.window = 4;
  options.lidar_channels = "8,8,16", options.bev_layers = 1;
  options.camera_channels = "8,8,16", options.camera_blocks = "0,1,1", options.camera_stride = 8;
  options.depth_high_m = 17, options.depths = 8;
  options.queries = 12, options.proposals = 8, options.decoder_hidden = 32;
  return options;
}

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
  sample.camera_from_ego = at::zeros({2, 4, 4});
  for (int c = 0; c < 2; ++c) {
    const float ahead = c == 0 ? 1.0f : -1.0f;
    // Camera x to the right, y down, z along the view.
    sample.camera_from_ego[c][0][1] = -ahead;
    sample.camera_from_ego[c][1][2] = -1;
    sample.camera_from_ego[c][2][0] = ahead;
    sample.camera_from_ego[c][3][3] = 1;
  }
  sample.intrinsics = at::tensor({60.0f, 0.0f, 48.0f, 0.0f, 60.0f, 32.0f, 0.0f, 0.0f, 1.0f})
                          .view({1, 3, 3})
                          .repeat({2, 1, 1});
  sample.has_camera = at::ones({2}, at::kByte);
  sample.boxes = at::zeros({0, kBoxColumns});
  sample.labels = at::zeros({0}, at::kLong);
  return sample;
}

}  // namespace athanor
