#include "athanor/detection/corruption/lidar_snow.h"

#include <algorithm>
#include <cmath>
#include <optional>

#include "athanor/base/error.h"
#include "athanor/base/parallel.h"

namespace athanor {
namespace {

constexpr double kLightSpeed_mps = 299792458.0;
constexpr double kWaterIndex = 1.33;
constexpr double kInternalReflection = 0.5;  // of diffuse light that meets the film from below
constexpr double kWhite = 100.0 / 255;       // intensity of reflectivity 1
constexpr double kOverlapBegin_m = 0.9, kOverlapEnd_m = 1.0;
constexpr double kDarkest = 0.5 / 255;  // what an intensity of 0 may have been

double Overlap(double range_m) {
  return std::clamp((range_m - kOverlapBegin_m) / (kOverlapEnd_m - kOverlapBegin_m), 0.0, 1.0);
}

double PowerOf(float intensity, double range_m) {
  return std::max<double>(intensity, kDarkest) / kWhite / (range_m * range_m);
}

// The weakest return that this LiDAR still reports.
double WeakestPower(const LidarSweep& sweep) {
  std::vector<double> powers;
  for (int64_t i = 0; i < sweep.size(); ++i) {
    const double range_m = sweep.points[i].cast<double>().norm();
    if (range_m > 1) powers.push_back(PowerOf(sweep.intensity[i], range_m));
  }
  if (powers.empty()) return 0;
  const auto low = powers.begin() + static_cast<int64_t>(powers.size() / 100);
  std::nth_element(powers.begin(), low, powers.end());
  return *low;
}

double FresnelTransmission(double angle_rad) {
  const double cos_in = std::cos(angle_rad);
  const double sin_out = std::sin(angle_rad) / kWaterIndex;
  const double cos_out = std::sqrt(1 - sin_out * sin_out);
  const double s = (cos_in - kWaterIndex * cos_out) / (cos_in + kWaterIndex * cos_out);
  const double p = (kWaterIndex * cos_in - cos_out) / (kWaterIndex * cos_in + cos_out);
  return 1 - 0.5 * (s * s + p * p);
}

struct Echo {
  double range_m = 0, power = 0;
};

// What the receiver reports of these echoes.
Echo StrongestPeak(const std::vector<Echo>& echoes, double pulse_m) {
  double strongest = 0;
  for (const Echo& echo : echoes) strongest = std::max(strongest, echo.power);
  Echo best;
  for (const Echo& at : echoes) {
    if (at.power < 1e-3 * strongest) continue;
    double sum = 0;
    for (const Echo& echo : echoes) {
      const double offset = (echo.range_m - at.range_m) / pulse_m;
      if (std::abs(offset) >= 0.5) continue;
      const double cosine = std::cos(M_PI * offset);
      sum += echo.power * cosine * cosine;
    }
    if (sum > best.power) best = {at.range_m, sum};
  }
  return best;
}

}  // namespace

double LidarSnowParameters::MeanDiameter_m() const {
  // Gunn and Marshall's slope, 25.5 R^-0.48 per cm, is for melted flakes.
  const double melted_m = 0.01 / (25.5 * std::pow(rate_mmph, -0.48));
  return melted_m / std::cbrt(snow_density);
}

double LidarSnowParameters::FlakesPerM2() const {
  const double mean_m = MeanDiameter_m();
  const double mean_area_m2 = M_PI / 4 * 2 * mean_m * mean_m;
  return Occupancy() / mean_area_m2;
}

LidarSnowParameters LidarSnowOfSeverity(int severity) {
  constexpr double kRates[3][2] = {{0.5, 1.2}, {2.5, 1.6}, {1.5, 0.4}};
  ATHANOR_CHECK(severity >= 1 && severity <= 3, "severity of snow: expected 1, 2 or 3, found ",
                severity);
  LidarSnowParameters parameters;
  parameters.rate_mmph = kRates[severity - 1][0];
  parameters.terminal_mps = kRates[severity - 1][1];
  return parameters;
}

void SampleFlakes(const LidarSnowParameters& parameters, double range_m, Random* random,
                  std::vector<Snowflake>* flakes) {
  // A Poisson process over the area that the beam has swept: divergence r^2 / 2.
  flakes->clear();
  const double mean_area_m2 = 1 / parameters.FlakesPerM2();
  const double mean_m = parameters.MeanDiameter_m();
  const double end_m2 = 0.5 * parameters.divergence_rad * range_m * range_m;
  const auto exponential = [&] { return -std::log(1 - static_cast<double>(random->Uniform())); };
  for (double area_m2 = mean_area_m2 * exponential(); area_m2 < end_m2;
       area_m2 += mean_area_m2 * exponential()) {
    const double diameter_m = mean_m * exponential();
    if (area_m2 <= 0) continue;  // at the sensor itself, where a beam has no width
    flakes->push_back({std::sqrt(2 * area_m2 / parameters.divergence_rad), diameter_m});
  }
}

double WetReflectivity(double dry_reflectivity, double angle_rad) {
  const double in = FresnelTransmission(std::clamp(angle_rad, 0.0, M_PI / 2));
  return in * in * dry_reflectivity /
         (kWaterIndex * kWaterIndex * (1 - kInternalReflection * std::min(dry_reflectivity, 1.0)));
}

LidarSweep SnowSweep(const LidarSweep& sweep, const LidarSnowParameters& parameters, uint64_t key) {
  const double floor = WeakestPower(sweep);
  const double pulse_m = kLightSpeed_mps * parameters.half_power_s;
  std::optional<GroundPlane> ground;
  if (parameters.wet_share > 0) ground = FindGroundPlane(sweep, MixBits(key));
  LidarSweep changed = sweep;
  std::vector<uint8_t> is_kept(sweep.size(), 1);
  ParallelFor(sweep.size(), 1024, [&](int64_t begin, int64_t end) {
    std::vector<Snowflake> flakes;
    std::vector<Echo> echoes;
    for (int64_t i = begin; i < end; ++i) {
      const Eigen::Vector3d point = sweep.points[i].cast<double>();
      const double range_m = point.norm();
      if (range_m < kOverlapEnd_m) continue;  // the car itself
      const double clear = PowerOf(sweep.intensity[i], range_m);
      double power = clear;
      if (ground && std::abs(ground->HeightOf(point)) < 0.15) {
        const double dry = clear * range_m * range_m;
        const double cosine = std::clamp(-ground->normal.dot(point) / range_m, 0.0, 1.0);
        const double wet = std::min(dry, WetReflectivity(dry, std::acos(cosine)));
        power *= 1 - parameters.wet_share * (1 - wet / dry);
      }
      Random random(key + static_cast<uint64_t>(i));
      SampleFlakes(parameters, range_m, &random, &flakes);
      echoes.clear();
      double left = 1;  // of the beam
      for (const Snowflake& flake : flakes) {
        const double width_m = parameters.divergence_rad * flake.range_m;
        const double hidden = left * std::min(1.0, flake.diameter_m / width_m);
        left -= hidden;
        echoes.push_back(
            {flake.range_m, parameters.snow_reflectivity * hidden * Overlap(flake.range_m) /
                                (flake.range_m * flake.range_m)});
      }
      power *= left;
      echoes.push_back({range_m, power});
      const Echo peak = StrongestPeak(echoes, pulse_m);
      if (peak.range_m == range_m) {
        // What was weak from the start is lost by what it loses.
        is_kept[i] = power >= parameters.noise_floor * std::min(floor, clear);
        changed.intensity[i] = static_cast<float>(sweep.intensity[i] * (power / clear));
        continue;
      }
      is_kept[i] = peak.power >= parameters.noise_floor * floor;
      changed.points[i] *= static_cast<float>(peak.range_m / range_m);
      changed.intensity[i] =
          static_cast<float>(std::min(1.0, peak.power * peak.range_m * peak.range_m * kWhite));
    }
  });
  LidarSweep result;
  for (int64_t i = 0; i < sweep.size(); ++i) {
    if (!is_kept[i]) continue;
    result.points.push_back(changed.points[i]);
    result.intensity.push_back(changed.intensity[i]);
    if (!sweep.ring.empty()) result.ring.push_back(sweep.ring[i]);
    if (!sweep.time_s.empty()) result.time_s.push_back(sweep.time_s[i]);
  }
  return result;
}

}  // namespace athanor
