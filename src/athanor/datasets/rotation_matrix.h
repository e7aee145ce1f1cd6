// Rotations as matrices in files, whose digits are rounded.
#pragma once

#include <Eigen/Core>
#include <Eigen/Geometry>
#include <optional>

namespace athanor {

// The rotation nearest to the matrix; none when it is further from a rotation than `tolerance`
// (norm of M M^T - 1), mirrors, or is not finite.
std::optional<Eigen::Quaterniond> NearestRotation(const Eigen::Matrix3d& matrix,
                                                  double tolerance = 1e-2);

}  // namespace athanor
