#include "athanor/geometry/box3.h"

#include <cmath>

namespace athanor {

double Box3::yaw_rad() const {
  const Eigen::Vector3d heading = frame_from_box.rotation * Eigen::Vector3d::UnitX();
  return std::atan2(heading.y(), heading.x());
}

std::array<Eigen::Vector3d, 8> Box3::Corners() const {
  std::array<Eigen::Vector3d, 8> corners;
  for (int i = 0; i < 8; ++i) {
    const Eigen::Vector3d sign((i & 4) != 0 ? -1 : 1, (i & 2) != 0 ? -1 : 1, (i & 1) != 0 ? 1 : -1);
    corners[i] = frame_from_box * Eigen::Vector3d(0.5 * sign.cwiseProduct(size_m));
  }
  return corners;
}

bool Box3::Contains(const Eigen::Vector3d& point_in_frame) const {
  const Eigen::Vector3d local = frame_from_box.Inverse() * point_in_frame;
  return (local.cwiseAbs().array() <= 0.5 * size_m.array()).all();
}

Box3 MakeBox3(const Eigen::Vector3d& center_m, const Eigen::Vector3d& size_m, double yaw_rad) {
  return {{Eigen::Quaterniond(Eigen::AngleAxisd(yaw_rad, Eigen::Vector3d::UnitZ())), center_m},
          size_m};
}

}  // namespace athanor
