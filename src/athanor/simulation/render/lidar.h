// A spinning LiDAR in a simulated world: beams at fixed elevations, turning while the car and
// everybody else move.
#pragma once

#include <cstdint>
#include <functional>
#include <vector>

#include "athanor/datasets/log.h"
#include "athanor/geometry/rigid3.h"
#include "athanor/simulation/ray_world.h"
#include "athanor/simulation/render/lighting.h"

namespace athanor {

// Azimuths count counter-clockwise (seen from above) from +x of the sensor frame, z is up.
struct LidarModel {
  std::vector<float> elevations_rad;  // of the beams; ring 0 first
  int azimuth_steps = 1085;           // per turn
  double turn_s = 0.05;
  bool clockwise = true;        // seen from above
  float start_azimuth_rad = 0;  // where a turn begins and ends
  float min_range_m = 0.9f, max_range_m = 100;

  // False: neither noise nor lost nor spurious returns; what is in range is measured exactly.
  bool noise = true;
  float range_noise_m = 0.02f;        // standard deviation
  float direction_noise_rad = 3e-4f;  // the same, of azimuth and elevation
  float intensity_noise = 0.01f;
  float dropout = 0.01f;  // share of returns lost anyhow
  // Returned power (reflectance x cosine at 100 m) that half of the returns at this power need.
  float detection_threshold = 0.12f;
};

// Velodyne HDL-32E as on nuScenes' cars: 32 beams from -30.67 to +10.67 degrees, 20 Hz, clockwise;
// the sensor frame there has x to the right and y forward, a turn begins behind the car.
LidarModel NuScenesLidar();

struct SimulatedSweep {
  LidarSweep sweep;             // points in the sensor frame at the sweep's time
  std::vector<int32_t> object;  // [N] MeshInstance::object of what was hit; -1: rain, fog, noise
};

struct LidarMotion {
  // Sensor pose in the world `time_s` seconds from the sweep's time (negative: before it).
  std::function<Rigid3(double time_s)> world_from_sensor;
  // Instances at that time. Empty: nothing but the sensor moves. Called for `instance_steps` times
  // spread over the turn (the world stands still in between).
  std::function<std::vector<MeshInstance>(double time_s)> instances;
  int instance_steps = 8;
};

// One turn, ending at the sweep's time, as nuScenes stamps it (times in [-turn_s, 0]). Points are
// compensated for the sensor's own motion into its frame at time 0, not for that of others:
// `time_s` says when each was measured. Intensity is (reflectance x cosine of incidence +
// retroreflection) x air / (1 + (range / 50 m)^2). Where a beam meets glass (a material that
// mirrors and is no metal) it goes on behind, and the stronger of both returns counts.
// With `motion.instances` the world's instances are changed,
// and left as at time 0. `seed` makes the noise. Throws Error for a model without beams.
SimulatedSweep SimulateLidar(RayWorld* world, const Lighting& weather, const LidarModel& model,
                             const LidarMotion& motion, uint64_t seed);

}  // namespace athanor
