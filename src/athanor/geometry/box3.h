// Oriented boxes in 3D.
#pragma once

#include <Eigen/Core>
#include <array>

#include "athanor/geometry/rigid3.h"

namespace athanor {

// The box's own axes: origin at its middle, x along the length (the heading), y along the width (to
// the left), z up.
struct Box3 {
  Rigid3 frame_from_box;                             // `frame` is said where a box is stored
  Eigen::Vector3d size_m = Eigen::Vector3d::Zero();  // length, width, height

  // Heading: the angle of the box's x axis about +z of the frame, in [-pi, pi].
  double yaw_rad() const;
  // Order: front before back, then left before right, then bottom before top:
  // (+ + -) (+ + +) (+ - -) (+ - +) (- + -) (- + +) (- - -) (- - +).
  std::array<Eigen::Vector3d, 8> Corners() const;
  // True on the surface too.
  bool Contains(const Eigen::Vector3d& point_in_frame) const;
};

// Box with a yaw only.
Box3 MakeBox3(const Eigen::Vector3d& center_m, const Eigen::Vector3d& size_m, double yaw_rad);

// `other_from_frame` applied to a box.
inline Box3 operator*(const Rigid3& other_from_frame, const Box3& box) {
  return {other_from_frame * box.frame_from_box, box.size_m};
}

}  // namespace athanor
