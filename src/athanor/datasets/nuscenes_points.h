// Point files of nuScenes: sweeps of its LiDAR (.pcd.bin) and of its radars (.pcd).
//
// https://github.com/nutonomy/nuscenes-devkit, python-sdk/nuscenes/utils/data_classes.py
#pragma once

#include <Eigen/Core>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "athanor/datasets/log.h"

namespace athanor {

// .pcd.bin: five little-endian float32 a point: x, y, z (metres), intensity (0..255), ring.
// `name` is the path that messages name. An empty file is an empty sweep. Throws Error (path,
// point) for a size that is no whole number of points, a coordinate that is not finite, an
// intensity outside [0, 255], or a ring that is no whole number (which tells files of 3 or 4 floats
// a point whose size happens to fit).
LidarSweep DecodePcdBin(std::string_view bytes, std::string_view name);

// The bytes of such a file. A sweep without rings gets 0. Throws Error for arrays of different
// lengths or what DecodePcdBin would refuse.
std::string EncodePcdBin(const LidarSweep& sweep);

// One return of a radar, in the frame of the sensor: x forward, y left.
struct RadarPoint {
  Eigen::Vector3f position_m = Eigen::Vector3f::Zero();
  Eigen::Vector2f velocity_mps = Eigen::Vector2f::Zero();              // relative to the car
  Eigen::Vector2f compensated_velocity_mps = Eigen::Vector2f::Zero();  // the car's motion taken out
  float cross_section_dbsm = 0;
  // Continental ARS 408 codes. The devkit shows returns with invalid_state 0, dynamic_property 0 to
  // 6 and ambiguity_state 3.
  int invalid_state = 0;
  int dynamic_property = 0;
  int ambiguity_state = 0;

  bool IsReliable() const {
    return invalid_state == 0 && dynamic_property >= 0 && dynamic_property <= 6 &&
           ambiguity_state == 3;
  }
};

// PCD v0.7 with DATA binary, fields in any order, as nuScenes writes its 18. A file whose first
// point is NaN holds none. Throws Error (path, line or byte).
std::vector<RadarPoint> DecodeRadarPcd(std::string_view bytes, std::string_view name);

}  // namespace athanor
