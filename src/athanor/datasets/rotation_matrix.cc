#include "athanor/datasets/rotation_matrix.h"

#include <Eigen/SVD>

namespace athanor {

std::optional<Eigen::Quaterniond> NearestRotation(const Eigen::Matrix3d& matrix, double tolerance) {
  const double off = (matrix * matrix.transpose() - Eigen::Matrix3d::Identity()).norm();
  if (!(off <= tolerance && matrix.determinant() > 0)) return std::nullopt;
  const Eigen::JacobiSVD<Eigen::Matrix3d> svd(matrix, Eigen::ComputeFullU | Eigen::ComputeFullV);
  const Eigen::Matrix3d rotation = svd.matrixU() * svd.matrixV().transpose();
  return Eigen::Quaterniond(rotation).normalized();
}

}  // namespace athanor
