// Rigid transforms. Frames stand in names: `b_from_a * x_in_a = x_in_b`.
#pragma once

#include <Eigen/Core>
#include <Eigen/Geometry>

namespace athanor {

struct Rigid3 {
  Eigen::Quaterniond rotation = Eigen::Quaterniond::Identity();  // unit length
  Eigen::Vector3d translation = Eigen::Vector3d::Zero();         // metres, or the scene's unit

  Eigen::Vector3d operator*(const Eigen::Vector3d& x) const { return rotation * x + translation; }
  // c_from_b * b_from_a = c_from_a
  Rigid3 operator*(const Rigid3& b_from_a) const {
    return {(rotation * b_from_a.rotation).normalized(), *this * b_from_a.translation};
  }
  Rigid3 Inverse() const {
    const Eigen::Quaterniond inverse = rotation.conjugate();
    return {inverse, -(inverse * translation)};
  }
  // [3,4], row-major in meaning: (R | t).
  Eigen::Matrix<double, 3, 4> ToMatrix() const {
    Eigen::Matrix<double, 3, 4> matrix;
    matrix << rotation.toRotationMatrix(), translation;
    return matrix;
  }
};

}  // namespace athanor
