// What the tests of splat files share.
#pragma once

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <Eigen/Geometry>
#include <cmath>
#include <string>
#include <string_view>
#include <vector>

#include "athanor/base/files.h"
#include "athanor/base/random.h"
#include "athanor/datasets/dataset_test_util.h"
#include "athanor/datasets/gaussian_formats.h"

namespace athanor {

inline GaussianCloud RandomCloud(int64_t n, int sh_degree, uint64_t seed) {
  Random random(seed);
  GaussianCloud cloud;
  cloud.sh_degree = sh_degree;
  cloud.Resize(n);
  for (float& v : cloud.means) v = random.Uniform(-5, 5);
  for (float& v : cloud.quats) v = random.Normal();
  for (float& v : cloud.log_scales) v = random.Uniform(-6, -1);
  for (float& v : cloud.opacity_logits) v = random.Uniform(-4, 4);
  for (float& v : cloud.sh) v = random.Uniform(-0.9f, 0.9f);
  return cloud;
}

// R S S^T R^T, the shape of Gaussian i whatever its axes are called.
inline Eigen::Matrix3d Covariance(const GaussianCloud& cloud, int64_t i) {
  const float* q = &cloud.quats[i * 4];
  const Eigen::Matrix3d rotation =
      Eigen::Quaterniond(q[0], q[1], q[2], q[3]).normalized().toRotationMatrix();
  Eigen::Vector3d variance;
  for (int j = 0; j < 3; ++j) variance[j] = std::exp(2.0 * cloud.log_scales[i * 3 + j]);
  return rotation * variance.asDiagonal() * rotation.transpose();
}

// The largest difference of two shapes, relative to the size of the first.
inline double ShapeError(const GaussianCloud& a, int64_t i, const GaussianCloud& b, int64_t j) {
  const Eigen::Matrix3d expected = Covariance(a, i);
  return (expected - Covariance(b, j)).norm() / expected.norm();
}

inline double Probability(float logit) { return 1 / (1 + std::exp(-double{logit})); }

template <typename T>
void Append(std::string& bytes, T value) {
  bytes += Bytes(value);
}

inline void ExpectSame(const GaussianCloud& a, const GaussianCloud& b) {
  EXPECT_EQ(a.sh_degree, b.sh_degree);
  EXPECT_EQ(a.means, b.means);
  EXPECT_EQ(a.quats, b.quats);
  EXPECT_EQ(a.log_scales, b.log_scales);
  EXPECT_EQ(a.opacity_logits, b.opacity_logits);
  EXPECT_EQ(a.sh, b.sh);
}

struct Extent {
  Eigen::Vector3f low, high;
};

inline Extent ExtentOf(const GaussianCloud& cloud) {
  const Eigen::Map<const Eigen::Matrix3Xf> means(cloud.means.data(), 3, cloud.size());
  return {means.rowwise().minCoeff(), means.rowwise().maxCoeff()};
}

// Cut off at every byte a file is an error that names it, unless it is cut between records of
// `record_bytes` and has nothing else; with any byte changed it may be what it likes, but no crash.
inline void ExpectDamageIsSurvived(const char* name, const std::string& bytes,
                                   GaussianCloud (*decode)(std::string_view, std::string_view),
                                   size_t record_bytes = 0) {
  EXPECT_NO_THROW(decode(bytes, name)) << name;
  for (size_t size = 0; size < bytes.size(); ++size) {
    // From memory of exactly this size, so that a read past its end is seen by a sanitizer.
    const std::vector<char> cut(bytes.begin(), bytes.begin() + static_cast<int64_t>(size));
    const bool whole_records = record_bytes > 0 && size % record_bytes == 0;
    const std::string error =
        ErrorOf([&] { decode(std::string_view(cut.data(), cut.size()), name); });
    EXPECT_EQ(error.empty(), whole_records) << name << " of " << size << " bytes";
    if (!whole_records) {
      EXPECT_THAT(error, ::testing::HasSubstr(name));
    }
  }
  for (size_t at = 0; at < bytes.size(); ++at) {
    std::string flipped = bytes;
    flipped[at] = static_cast<char>(flipped[at] ^ 0x55);
    ErrorOf([&] { decode(flipped, name); });
  }
}

}  // namespace athanor
