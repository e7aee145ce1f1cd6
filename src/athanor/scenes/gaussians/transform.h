// Moves Gaussians: positions, shapes, and the colours that depend on where one looks from.
#pragma once

#include <Eigen/Core>
#include <Eigen/Geometry>
#include <array>
#include <cstdint>
#include <span>

#include "athanor/datasets/gaussian_cloud.h"

namespace athanor {

// Turns functions on the sphere that are given by spherical harmonics: f'(d) = f(R^-1 d). A band
// mixes within itself only; its matrix is the one that maps the band's basis, taken at enough
// directions, to the same basis at the turned directions.
class ShRotation {
 public:
  // `rotation`: orthonormal; a reflection (determinant -1) works too.
  explicit ShRotation(const Eigen::Matrix3d& rotation);

  // coefficients: [K] of one channel, K = (degree+1)^2, in the order of the kernels.
  void Apply(int degree, float* coefficients) const;

 private:
  Eigen::Matrix3f band1_;
  Eigen::Matrix<float, 5, 5> band2_;
  Eigen::Matrix<float, 7, 7> band3_;
};

// new = scale * (rotation * old) + translation.
struct Similarity3 {
  double scale = 1;  // positive
  // Orthogonal: a rotation, or a rotation and a mirror.
  Eigen::Matrix3d rotation = Eigen::Matrix3d::Identity();
  Eigen::Vector3d translation = Eigen::Vector3d::Zero();

  Eigen::Vector3d operator*(const Eigen::Vector3d& x) const {
    return scale * (rotation * x) + translation;
  }
};

// Applies `new_from_old` to the Gaussians `rows` of the cloud, each named once, appearance and all:
// a picture of the moved from the moved camera is the picture of before. Throws Error for a row
// outside the cloud, a matrix that is not orthogonal or a scale that is not positive.
void TransformGaussians(const Similarity3& new_from_old, std::span<const int64_t> rows,
                        GaussianCloud* cloud);
// All of them.
void TransformGaussians(const Similarity3& new_from_old, GaussianCloud* cloud);

}  // namespace athanor
