#include "athanor/detection/corruption/lidar_fog.h"

#include <algorithm>
#include <cmath>

#include "athanor/base/error.h"
#include "athanor/base/parallel.h"
#include "athanor/base/random.h"

namespace athanor {
namespace {

constexpr double kLightSpeed_mps = 299792458.0;
constexpr double kStep_m = 0.1;
constexpr int kSamples = 2001;        // 0 to 200 m
constexpr int kPulseIntervals = 200;  // even, for Simpson's rule

}  // namespace

LidarFogParameters LidarFogOfSeverity(int severity) {
  constexpr double kAlphaBeta[3][2] = {{0.02, 0.008}, {0.03, 0.008}, {0.06, 0.05}};
  ATHANOR_CHECK(severity >= 1 && severity <= 3, "severity of fog: expected 1, 2 or 3, found ",
                severity);
  LidarFogParameters parameters;
  parameters.alpha_per_m = kAlphaBeta[severity - 1][0];
  parameters.beta_per_m_sr = kAlphaBeta[severity - 1][1];
  return parameters;
}

FogResponse::FogResponse(const LidarFogParameters& parameters)
    : parameters_(parameters), response_(kSamples), peak_(kSamples) {
  const double step_s = 2 * parameters.half_power_s / kPulseIntervals;
  for (int i = 0; i < kSamples; ++i) {
    double sum = 0;
    for (int k = 0; k <= kPulseIntervals; ++k) {
      const double range_m = i * kStep_m - 0.5 * kLightSpeed_mps * k * step_s;
      if (range_m <= parameters.overlap_begin_m) break;
      const double overlap =
          std::min(1.0, (range_m - parameters.overlap_begin_m) /
                            (parameters.overlap_end_m - parameters.overlap_begin_m));
      const double sine = std::sin(M_PI * k / kPulseIntervals);
      const int weight = k == 0 || k == kPulseIntervals ? 1 : k % 2 == 1 ? 4 : 2;
      sum += weight * sine * sine * overlap * std::exp(-2 * parameters.alpha_per_m * range_m) /
             (range_m * range_m);
    }
    response_[i] = sum * step_s / 3;
    peak_[i] = i == 0 || response_[i] > response_[peak_[i - 1]] ? i : peak_[i - 1];
  }
}

double FogResponse::At(double range_m) const {
  return response_[std::clamp(static_cast<int>(std::lround(range_m / kStep_m)), 0, kSamples - 1)];
}

FogResponse::Soft FogResponse::Before(double target_range_m) const {
  const int last = static_cast<int>(
      std::clamp(std::floor(target_range_m / kStep_m), 0.0, static_cast<double>(kSamples - 1)));
  const int peak = peak_[last];
  const double half = 0.5 * response_[peak];
  int begin = peak, end = peak;
  while (begin > 0 && response_[begin - 1] >= half && half > 0) --begin;
  while (end < last && response_[end + 1] >= half && half > 0) ++end;
  return {response_[peak], peak * kStep_m, begin * kStep_m, end * kStep_m};
}

double FogResponse::SoftRatio(const Soft& soft, double target_range_m) const {
  const double beta_0 = parameters_.target_reflectivity / M_PI;
  return target_range_m * target_range_m * parameters_.beta_per_m_sr / beta_0 * soft.response;
}

LidarSweep FogSweep(const LidarSweep& sweep, const FogResponse& response, uint64_t key) {
  LidarSweep result = sweep;
  ParallelFor(sweep.size(), 4096, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      const double range_m = sweep.points[i].cast<double>().norm();
      const double hard = std::exp(-2 * response.parameters().alpha_per_m * range_m);
      const FogResponse::Soft soft = response.Before(range_m);
      const double soft_ratio = response.SoftRatio(soft, range_m);
      if (soft_ratio <= hard) {
        result.intensity[i] = static_cast<float>(sweep.intensity[i] * hard);
        continue;
      }
      result.intensity[i] = static_cast<float>(std::min(sweep.intensity[i] * soft_ratio, 1.0));
      Random random(key + static_cast<uint64_t>(i));
      const double from_m = std::max(soft.begin_m, 1e-3);
      const double new_range_m =
          std::min(from_m + (soft.end_m - from_m) * random.Uniform(), 0.999 * range_m);
      result.points[i] *= static_cast<float>(new_range_m / range_m);
    }
  });
  return result;
}

}  // namespace athanor
