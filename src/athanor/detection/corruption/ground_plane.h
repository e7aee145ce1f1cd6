// The road under a LiDAR, from one sweep.
#pragma once

#include <Eigen/Core>
#include <cstdint>
#include <optional>

#include "athanor/datasets/log.h"

namespace athanor {

struct GroundPlane {
  Eigen::Vector3d normal = Eigen::Vector3d::UnitZ();  // unit length, up, sensor frame
  double height_m = 0;                                // of the sensor above it

  double HeightOf(const Eigen::Vector3d& point) const { return normal.dot(point) + height_m; }
};

// RANSAC over what lies within 40 m and below the sensor, then least squares: the plane of most
// points within 0.1 m, at most 10 degrees from level. None when fewer than 100 points agree. The
// same key gives the same plane.
std::optional<GroundPlane> FindGroundPlane(const LidarSweep& sweep, uint64_t key);

}  // namespace athanor
