#include "athanor/scenes/gaussians/transform.h"

#include <Eigen/LU>
#include <cmath>
#include <numeric>
#include <vector>

#include "athanor/base/error.h"
#include "athanor/base/parallel.h"
#include "athanor/kernels/spherical_harmonics_math.h"

namespace athanor {
namespace {

// The basis of one band at many directions: [directions, 2 band + 1].
Eigen::MatrixXd BandAt(int band, const Eigen::Matrix<double, 3, Eigen::Dynamic>& directions) {
  Eigen::MatrixXd values(directions.cols(), 2 * band + 1);
  for (Eigen::Index i = 0; i < directions.cols(); ++i) {
    const Eigen::Vector3f d = directions.col(i).cast<float>();
    float basis[16];
    ShBasis(band, d.x(), d.y(), d.z(), basis);
    for (int m = 0; m < 2 * band + 1; ++m) values(i, m) = basis[band * band + m];
  }
  return values;
}

// Directions spread evenly (a Fibonacci spiral); more of them average the rounding of the basis.
Eigen::Matrix<double, 3, Eigen::Dynamic> Directions() {
  constexpr int kCount = 128;
  Eigen::Matrix<double, 3, Eigen::Dynamic> directions(3, kCount);
  const double golden_angle_rad = M_PI * (3 - std::sqrt(5.0));
  for (int i = 0; i < kCount; ++i) {
    const double z = 1 - (2.0 * i + 1) / kCount, r = std::sqrt(1 - z * z);
    directions.col(i) << r * std::cos(golden_angle_rad * i), r * std::sin(golden_angle_rad * i), z;
  }
  return directions;
}

}  // namespace

ShRotation::ShRotation(const Eigen::Matrix3d& rotation) {
  // f'(d) = f(R^-1 d): with Y(d) c' = Y(R^-1 d) c for all d, c' = Y(d)^+ Y(R^-1 d) c.
  const auto directions = Directions();
  const Eigen::Matrix<double, 3, Eigen::Dynamic> turned_back = rotation.transpose() * directions;
  const auto matrix = [&](int band) -> Eigen::MatrixXf {
    const Eigen::MatrixXd at = BandAt(band, directions), from = BandAt(band, turned_back);
    return (at.transpose() * at).ldlt().solve(at.transpose() * from).cast<float>();
  };
  band1_ = matrix(1);
  band2_ = matrix(2);
  band3_ = matrix(3);
}

void ShRotation::Apply(int degree, float* coefficients) const {
  if (degree >= 1) {
    Eigen::Map<Eigen::Vector3f> band(coefficients + 1);
    band = (band1_ * band).eval();
  }
  if (degree >= 2) {
    Eigen::Map<Eigen::Matrix<float, 5, 1>> band(coefficients + 4);
    band = (band2_ * band).eval();
  }
  if (degree >= 3) {
    Eigen::Map<Eigen::Matrix<float, 7, 1>> band(coefficients + 9);
    band = (band3_ * band).eval();
  }
}

void TransformGaussians(const Similarity3& new_from_old, std::span<const int64_t> rows,
                        GaussianCloud* cloud) {
  const Eigen::Matrix3d& q = new_from_old.rotation;
  ATHANOR_CHECK(std::isfinite(new_from_old.scale) && new_from_old.scale > 0,
                "scale: expected a positive number, found ", new_from_old.scale);
  ATHANOR_CHECK((q * q.transpose() - Eigen::Matrix3d::Identity()).norm() < 1e-6,
                "moving Gaussians: expected an orthogonal matrix");
  for (const int64_t row : rows) {
    ATHANOR_CHECK(row >= 0 && row < cloud->size(), "Gaussian ", row, " of a scene of ",
                  cloud->size());
  }
  // A mirror x -> -x before a rotation. An ellipsoid's axes mirror into a left-handed frame, which
  // is the same ellipsoid as the right-handed one with its first axis reversed: quaternion
  // (w, x, -y, -z).
  const bool mirrored = q.determinant() < 0;
  Eigen::Matrix3d rotation = q;
  if (mirrored) rotation.col(0) *= -1;
  const Eigen::Quaterniond turn(rotation);
  const ShRotation sh_rotation(q);
  const float log_scale = static_cast<float>(std::log(new_from_old.scale));
  const int k = cloud->sh_coefficients();
  constexpr int64_t kGrain = 4096;
  ParallelFor(std::ssize(rows), kGrain, [&](int64_t begin, int64_t end) {
    for (const int64_t row : rows.subspan(begin, end - begin)) {
      Eigen::Map<Eigen::Vector3f> mean(&cloud->means[3 * row]);
      mean = (new_from_old * mean.cast<double>()).cast<float>();
      float* quat = &cloud->quats[4 * row];
      if (mirrored) quat[2] = -quat[2], quat[3] = -quat[3];
      const Eigen::Quaterniond turned =
          turn * Eigen::Quaterniond(quat[0], quat[1], quat[2], quat[3]);
      quat[0] = static_cast<float>(turned.w());
      quat[1] = static_cast<float>(turned.x());
      quat[2] = static_cast<float>(turned.y());
      quat[3] = static_cast<float>(turned.z());
      for (int axis = 0; axis < 3; ++axis) cloud->log_scales[3 * row + axis] += log_scale;
      for (int channel = 0; channel < 3; ++channel) {
        sh_rotation.Apply(cloud->sh_degree, &cloud->sh[(3 * row + channel) * k]);
      }
    }
  });
}

void TransformGaussians(const Similarity3& new_from_old, GaussianCloud* cloud) {
  std::vector<int64_t> rows(cloud->size());
  std::iota(rows.begin(), rows.end(), 0);
  TransformGaussians(new_from_old, rows, cloud);
}

}  // namespace athanor
