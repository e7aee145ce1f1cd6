// From what SUMO says of a vehicle (front bumper, step by step) to smooth poses of its box.
#pragma once

#include <Eigen/Core>
#include <string>
#include <vector>

#include "athanor/simulation/traffic/traffic.h"

namespace athanor {

struct RawState {
  Eigen::Vector3d position = Eigen::Vector3d::Zero();  // front bumper; walkers: middle; on the road
  double yaw_rad = 0;
  double speed_mps = 0;
  int lane = -1;
  int signals = 0;  // SUMO's bits
};

// One vehicle or walker over consecutive steps.
struct RawTrack {
  std::string id;
  ActorClass actor_class = ActorClass::kCar;
  Eigen::Vector3d size_m = Eigen::Vector3d::Ones();
  int first_step = 0;
  std::vector<RawState> states;
};

// The front bumper's path is smoothed over a quarter of a second; the rear axle follows it as a
// wheel that cannot slip does (a tractrix), so the heading turns as fast as the vehicle moves and
// never jumps, however the lane bends or changes. The way of the whole body is then driven at
// SUMO's speeds, to which its length is fitted over some metres. A vehicle with a trailer becomes
// two actors.
std::vector<TrafficActor> SmoothTrack(const RawTrack& track, double step_s);

// Speed and acceleration of each state from the movement of the centres; brake lights where it
// slows down by more than 0.5 m/s^2.
void FillMotion(TrafficActor* actor, double step_s);

}  // namespace athanor
