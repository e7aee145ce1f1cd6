// The sensors of the simulated car: nuScenes' six cameras and its LiDAR.
// Geometry: https://www.nuscenes.org/nuscenes#data-collection; mounting and focal lengths as in the
// data set's calibration, rounded.
#pragma once

#include <cstdint>
#include <vector>

#include "athanor/datasets/log.h"
#include "athanor/simulation/render/lidar.h"

namespace athanor {

struct StreetRig {
  std::vector<LogSensor> sensors;  // LIDAR_TOP first, then the cameras
  LidarModel lidar;
  // When each sensor's picture is taken, microseconds after the sweep's time (<= 0): the cameras
  // are triggered as the turning beam passes the middle of their view.
  std::vector<int64_t> trigger_us;
};

// `width_px` x `height_px`: the original 1600 x 900 pictures, scaled to cover that size; what is
// too wide is cut off on both sides, what is too high at the top, where the sky is.
StreetRig NuScenesRig(int width_px, int height_px);

}  // namespace athanor
