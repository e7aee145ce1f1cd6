// A small decoder, and inputs for it.
#pragma once

#include <ATen/ATen.h>

#include "athanor/detection/profusion3d/decoder.h"

namespace athanor {

inline DecoderOptions SmallDecoderOptions() {
  DecoderOptions options;
  options.bev_channels = 6, options.image_channels = 5, options.queries = 12;
  options.layers = {.width = 16, .heads = 2, .hidden = 32};
  options.positions = {.width = 16, .hidden = 32, .depths = 4, .heights = 3};
  return options;
}

// Two cameras on a vehicle, camera_from_ego [2,4,4]: one looks ahead (z of the camera is x of the
// vehicle), one to the left.
inline at::Tensor CamerasAheadAndLeft() {
  const at::Tensor ahead = at::tensor({0.0f, -1.0f, 0.0f, 0.1f,  //
                                       0.0f, 0.0f, -1.0f, 1.5f,  //
                                       1.0f, 0.0f, 0.0f, -1.7f,  //
                                       0.0f, 0.0f, 0.0f, 1.0f});
  const at::Tensor left = at::tensor({1.0f, 0.0f, 0.0f, -0.4f,  //
                                      0.0f, 0.0f, -1.0f, 1.4f,  //
                                      0.0f, 1.0f, 0.0f, -0.6f,  //
                                      0.0f, 0.0f, 0.0f, 1.0f});
  return at::stack({ahead, left}).view({2, 4, 4});
}

// What these cameras see, and a BEV map of 8 x 7 cells; noise.
inline DecoderInputs SmallDecoderInputs() {
  DecoderInputs inputs;
  inputs.bev = at::randn({6, 8, 7});
  inputs.images = at::randn({2, 5, 3, 4});
  inputs.camera_from_ego = CamerasAheadAndLeft();
  inputs.intrinsics = at::tensor({30.0f, 0.0f, 16.0f, 0.0f, 30.0f, 12.0f, 0.0f, 0.0f, 1.0f})
                          .view({1, 3, 3})
                          .repeat({2, 1, 1});
  return inputs;
}

}  // namespace athanor
