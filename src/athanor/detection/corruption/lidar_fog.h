// What a LiDAR measures in fog.
//
//   M. Hahner et al., "Fog Simulation on Real LiDAR Point Clouds for 3D Object Detection in Adverse
//   Weather", ICCV 2021 (after R. Rasshofer et al., "Influences of weather phenomena on automotive
//   laser radar systems", 2011)
//
// A pulse of the shape sin^2 comes back from two things: from the hard target, weakened by the fog
// twice, exp(-2 alpha R0); and from the droplets before it, the soft target. The receiver reports
// the stronger one.
#pragma once

#include <cstdint>
#include <vector>

#include "athanor/datasets/log.h"

namespace athanor {

struct LidarFogParameters {
  double alpha_per_m = 0.02;  // extinction; visibility is ln(20) / alpha
  double beta_per_m_sr = 0.008;
  double half_power_s = 20e-9;        // the pulse lasts twice that
  double target_reflectivity = 1e-6;  // differential: beta_0 is that over pi
  // Nearer than the first the receiver sees nothing of what the laser lights, further than the
  // second everything.
  double overlap_begin_m = 0.9, overlap_end_m = 1.0;
};

// MultiCorrupt's for a severity of 1 to 3.
LidarFogParameters LidarFogOfSeverity(int severity);

// The response of fog over range, tabulated at every 0.1 m up to 200 m by Simpson's rule.
class FogResponse {
 public:
  explicit FogResponse(const LidarFogParameters& parameters);

  // Integral over the pulse of sin^2 exp(-2 alpha r) / r^2 (equation 14 there), in s / m^2, at the
  // sample next to `range_m`.
  double At(double range_m) const;

  struct Soft {
    double response = 0;  // s / m^2, the largest before the target
    double range_m = 0;   // where it is
    // Where the response is at least half as large, and which the noise of a receiver hits.
    double begin_m = 0, end_m = 0;
  };
  // Of fog in front of a target at this range (200 m when further).
  Soft Before(double target_range_m) const;

  // Power of the soft peak over that of the hard target in clear air.
  double SoftRatio(const Soft& soft, double target_range_m) const;
  const LidarFogParameters& parameters() const { return parameters_; }

 private:
  LidarFogParameters parameters_;
  std::vector<double> response_;  // of fog without a target
  std::vector<int> peak_;         // index of the largest up to here
};

// Every point either stays where it is, darker, or becomes a return from the fog nearer to the
// sensor, on the same ray. As in the paper and in MultiCorrupt no point is lost, however dark.
LidarSweep FogSweep(const LidarSweep& sweep, const FogResponse& response, uint64_t key);

}  // namespace athanor
