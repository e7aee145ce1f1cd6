// The direction of every pixel of a camera. Internal to render/.
#pragma once

#include <Eigen/Core>
#include <memory>
#include <vector>

#include "athanor/geometry/camera.h"

namespace athanor {

struct CameraRays {
  int width = 0, height = 0;
  std::vector<Eigen::Vector2f> directions;  // [H,W] (x, y) of (x, y, 1) at pixel centres; NaN: none
  float pixel_angle_rad = 0;                // about the size of a pixel

  const Eigen::Vector2f& at(int x, int y) const {
    return directions[static_cast<size_t>(y) * width + x];
  }
  // Direction `dx`, `dy` pixels (within half a pixel) beside the centre of a pixel.
  Eigen::Vector2f Beside(int x, int y, float dx, float dy) const;
};

// Kept for the cameras used last. Thread-safe. Throws Error for a camera that is not valid.
std::shared_ptr<const CameraRays> RaysOf(const Camera& camera);

}  // namespace athanor
