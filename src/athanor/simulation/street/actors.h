// Meshes of the actors of a street: vehicles, people, animals, things on the road. Shapes are
// procedural: proportions, details, colours and clothes come from a seed, so that no two are alike.
#pragma once

#include <Eigen/Core>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "athanor/simulation/mesh.h"
#include "athanor/simulation/traffic/traffic.h"

namespace athanor {

struct ActorLook {
  ActorClass actor_class = ActorClass::kCar;
  Eigen::Vector3d size_m = Eigen::Vector3d::Ones();  // length, width, height
  uint64_t seed = 0;                                 // equal seeds look equal
  bool rider = true;       // of bicycles and motorcycles: without one when parked
  bool walks = true;       // people: walking poses, else one standing pose
  bool lights_on = false;  // lamps of vehicles shine
  // Brake lamps of motor vehicles and trailers, indicators of cars and vans.
  bool braking = false, blink_left = false, blink_right = false;
};

struct ActorModel {
  // One mesh per phase of a step, and then, when `stands`, one of the actor standing still; just
  // one mesh for what does not bend. Mesh frame = box frame: origin in the middle of the box, x
  // forward, z up. All together fill the box exactly; every surface is closed; material 0 is the
  // one that gives the actor its colour.
  std::vector<Mesh> meshes;
  bool stands = false;
  // Metres that the actor covers in one cycle of phases.
  float cycle_m = 1;
  std::string category;  // in nuScenes' words: "vehicle.car", "animal"
};

// Throws Error unless all sizes are finite and between 5 cm and 40 m.
ActorModel BuildActor(const ActorLook& look);

// What the actor is in nuScenes' 23 categories, as BuildActor says it.
std::string ActorCategory(ActorClass actor_class, const Eigen::Vector3d& size_m, uint64_t seed);

// nuScenes' attribute of an actor that moves at `speed_mps`: "vehicle.moving", "cycle.with_rider",
// "pedestrian.standing" ...; empty for categories that have none.
std::string ActorAttribute(std::string_view category, double speed_mps, bool parked, bool rider);

}  // namespace athanor
