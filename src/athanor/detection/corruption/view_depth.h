// The depth of every pixel of a camera, guessed from a LiDAR sweep: for fog, which needs to know
// roughly how far everything is, not for measuring.
#pragma once

#include "athanor/datasets/log.h"
#include "athanor/media/image.h"

namespace athanor {

inline constexpr float kSkyDepth_m = 300;

// Metres along the optical axis, one value for every `cell_px` x `cell_px` pixels. Returns are
// joined along each column, linearly in 1 / depth. Below the lowest lies flat ground (z = 0 of the
// ego frame); above the highest, the surface goes on when the LiDAR cannot look higher, else there
// is sky. Columns without a return take the nearest one's. A sweep without points gives ground and
// sky. `camera_from_lidar` should include how the car moved between the two. Throws Error for a
// camera without size.
FloatImage GuessDepth(const LidarSweep& sweep, const Camera& camera,
                      const Rigid3& camera_from_lidar, const Rigid3& ego_from_camera,
                      int cell_px = 8);

// Moves the edges of a guessed depth to those of the picture (RGB) that it belongs to: every cell
// becomes the mean, in 1 / depth, of the cells around it that have nearly its colour.
void AlignDepth(const Image& picture, FloatImage* depth);

}  // namespace athanor
