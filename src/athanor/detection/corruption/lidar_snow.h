// What a LiDAR measures in snowfall, and on wet ground.
//
//   M. Hahner et al., "LiDAR Snowfall Simulation for Robust 3D Object Detection", CVPR 2022
//   K. Gunn, J. Marshall, "The distribution with size of aggregate snowflakes", J. Meteorology 1958
//
// Every beam is a slice that widens with range, in which snowflakes lie at random: so many that
// they take up the share of the area that the snowfall rate and the speed of falling make, with
// diameters as Gunn and Marshall measured them. A flake hides the part of the beam that it covers
// from all that is behind, and gives a return of its own; the receiver reports the strongest peak
// of the sum. Beams of a spinning LiDAR do not overlap, so flakes are drawn beam by beam.
#pragma once

#include <cstdint>
#include <vector>

#include "athanor/base/random.h"
#include "athanor/datasets/log.h"
#include "athanor/detection/corruption/ground_plane.h"

namespace athanor {

struct LidarSnowParameters {
  double rate_mmph = 0.5;          // of the water
  double terminal_mps = 1.2;       // speed of falling flakes
  double snow_density = 0.1;       // of a flake, over that of water
  double snow_reflectivity = 0.9;  // diffuse
  double divergence_rad = 0.003;   // full angle of a beam
  double half_power_s = 10e-9;     // the pulse lasts twice that; Velodyne's HDL-64E, as published
  // Share of the ground that a film of water covers (ours; 0: dry).
  double wet_share = 0.5;
  // A target whose return falls below this times the weakest one of the clear sweep is lost.
  double noise_floor = 0.7;

  // Share of a volume that is snow.
  double Occupancy() const { return rate_mmph / 3.6e6 / (snow_density * terminal_mps); }
  // Mean diameter of the flakes; exponentially distributed. Gunn and Marshall's for the rate of the
  // water, of flakes that are not melted.
  double MeanDiameter_m() const;
  // Flakes in a square metre of a slice.
  double FlakesPerM2() const;
};

// MultiCorrupt's rates for a severity of 1 to 3.
LidarSnowParameters LidarSnowOfSeverity(int severity);

struct Snowflake {
  double range_m = 0, diameter_m = 0;
};
// The flakes in a beam up to a range, nearest first.
void SampleFlakes(const LidarSnowParameters& parameters, double range_m, Random* random,
                  std::vector<Snowflake>* flakes);

// Part of the reflectivity that a wet diffuse surface keeps for light that comes and goes at an
// angle to its normal: Fresnel's transmission in and out of the film, and what the water keeps
// (J. Lekner and M. Dorf, "Why some things are darker when wet", Applied Optics 1988).
double WetReflectivity(double dry_reflectivity, double angle_rad);

// Points become returns of snowflakes nearer on their ray, get darker, or are lost; order is kept.
// Intensities are taken as Velodyne's: 100 of 255 is a white diffuse target.
LidarSweep SnowSweep(const LidarSweep& sweep, const LidarSnowParameters& parameters, uint64_t key);

}  // namespace athanor
