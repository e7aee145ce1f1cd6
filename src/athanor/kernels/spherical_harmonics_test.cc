// Spherical harmonics against associated Legendre functions and finite differences.
#include "athanor/kernels/spherical_harmonics.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <vector>

#include "athanor/base/random.h"

namespace athanor {
namespace {

// Real harmonics from associated Legendre functions, with the signs of Inria's files: (-1)^m.
double OracleHarmonic(int l, int m, double x, double y, double z) {
  const double theta = std::acos(std::clamp(z, -1.0, 1.0)), phi = std::atan2(y, x);
  const int n = std::abs(m);
  const double norm =
      std::sqrt((2 * l + 1) / (4 * M_PI) * std::tgamma(l - n + 1) / std::tgamma(l + n + 1));
  // std::assoc_legendre has no Condon-Shortley phase.
  const double p = std::assoc_legendre(l, n, std::cos(theta));
  const double sign = n % 2 == 1 ? -1 : 1;
  if (m == 0) return norm * p;
  return sign * std::sqrt(2.0) * norm * p * (m > 0 ? std::cos(n * phi) : std::sin(n * phi));
}

TEST(SphericalHarmonicsTest, AgreeWithLegendreFunctionsAndFiniteDifferences) {
  Random random(4);
  for (int degree = 0; degree <= 3; ++degree) {
    constexpr int kCoefficients = 16;
    const int64_t n = 20;
    std::vector<float> means, sh, colors(3 * n), d_colors, d_sh(3 * kCoefficients * n),
        d_means(3 * n);
    for (int64_t i = 0; i < 3 * n; ++i) means.push_back(random.Uniform(-2, 2));
    for (int64_t i = 0; i < 3 * kCoefficients * n; ++i) sh.push_back(random.Uniform(-0.3f, 0.4f));
    for (int64_t i = 0; i < 3 * n; ++i) d_colors.push_back(random.Uniform(-1, 1));
    const float center[3] = {0.3f, -0.2f, 0.1f};
    const auto color = [&](const double* mean, int64_t i, int c) {
      const double v[3] = {mean[0] - center[0], mean[1] - center[1], mean[2] - center[2]};
      const double length = std::sqrt(v[0] * v[0] + v[1] * v[1] + v[2] * v[2]);
      double sum = 0.5;
      for (int l = 0, k = 0; l <= degree; ++l) {
        for (int m = -l; m <= l; ++m, ++k) {
          sum += sh[(3 * i + c) * kCoefficients + k] *
                 OracleHarmonic(l, m, v[0] / length, v[1] / length, v[2] / length);
        }
      }
      return std::max(sum, 0.0);
    };
    ShForwardCpu({n,
                  degree,
                  kCoefficients,
                  means.data(),
                  sh.data(),
                  {center[0], center[1], center[2]},
                  nullptr,
                  colors.data()});
    ShBackwardCpu({n,
                   degree,
                   kCoefficients,
                   means.data(),
                   sh.data(),
                   {center[0], center[1], center[2]},
                   nullptr,
                   colors.data(),
                   d_colors.data(),
                   d_sh.data(),
                   d_means.data()});
    for (int64_t i = 0; i < n; ++i) {
      double mean[3] = {means[3 * i], means[3 * i + 1], means[3 * i + 2]};
      for (int c = 0; c < 3; ++c) {
        ASSERT_NEAR(colors[3 * i + c], color(mean, i, c), 1e-5) << "degree " << degree;
      }
      const auto loss = [&] {
        double sum = 0;
        for (int c = 0; c < 3; ++c) sum += d_colors[3 * i + c] * color(mean, i, c);
        return sum;
      };
      for (int axis = 0; axis < 3; ++axis) {
        const double at = mean[axis];
        mean[axis] = at + 1e-5;
        const double above = loss();
        mean[axis] = at - 1e-5;
        const double below = loss();
        mean[axis] = at;
        EXPECT_NEAR(d_means[3 * i + axis], (above - below) / 2e-5, 2e-3) << "degree " << degree;
      }
      for (int c = 0; c < 3; ++c) {
        const int k = (degree + 1) * (degree + 1) - 1;
        float& coefficient = sh[(3 * i + c) * kCoefficients + k];
        const float at = coefficient;
        coefficient = at + 1e-2f;
        const double above = loss();
        coefficient = at - 1e-2f;
        const double below = loss();
        coefficient = at;
        EXPECT_NEAR(d_sh[(3 * i + c) * kCoefficients + k], (above - below) / 2e-2, 2e-3);
      }
    }
  }
}

}  // namespace
}  // namespace athanor
