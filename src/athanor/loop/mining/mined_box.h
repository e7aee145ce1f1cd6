// A box of some detector in some frame, as the miners see it.
#pragma once

#include <Eigen/Core>
#include <cstdint>

namespace athanor {

struct MinedBox {
  int64_t frame = 0;
  int class_index = 0;
  double score = 1;                                    // 0 .. 1
  Eigen::Vector3d center_m = Eigen::Vector3d::Zero();  // world or ego frame, the same for all
  Eigen::Vector3d size_m = Eigen::Vector3d::Ones();    // length, width, height
  double yaw_rad = 0;                                  // about +z
};

}  // namespace athanor
