// One street scene: traffic in a town, in some weather, as a world that sensors look at.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <vector>

#include "athanor/geometry/box3.h"
#include "athanor/simulation/ray_world.h"
#include "athanor/simulation/render/lighting.h"
#include "athanor/simulation/street/actors.h"
#include "athanor/simulation/street/town.h"
#include "athanor/simulation/traffic/traffic.h"

namespace athanor {

enum class StreetWeather { kSun, kOvercast, kDusk, kNight, kRain, kFog };
// "sun", "overcast", "dusk", "night", "rain", "fog".
std::string_view StreetWeatherName(StreetWeather weather);

// Ids that pixels and points carry: TownPart below this, actors from it on.
inline constexpr int32_t kFirstActorObject = 16;

class StreetScene {
 public:
  // Builds town and actors' meshes, on all threads. Equal arguments give an equal scene.
  StreetScene(const TrafficNetwork& network, TrafficLog traffic, StreetWeather weather,
              const TownOptions& town, uint64_t seed);

  const TrafficLog& traffic() const { return traffic_; }
  const Town& town() const { return town_; }
  RayWorld& world() { return world_; }

  // Everything at that time, but the ego vehicle.
  std::vector<MeshInstance> InstancesAt(double time_s) const;
  // Sun, sky and lamps at that time: those of the cars move.
  Lighting LightingAt(double time_s) const;
  // The actor's box where it is drawn (people stand on the kerb); nothing when it is not there.
  std::optional<Box3> BoxAt(int actor, double time_s) const;
  Rigid3 WorldFromEgo(double time_s) const { return traffic_.WorldFromEgo(time_s); }

  // nuScenes' words.
  const std::string& Category(int actor) const { return actors_[actor].category; }
  std::string Attribute(int actor, double time_s) const;
  // ColorOfActor.
  std::string Color(int actor) const;

 private:
  // Which lamps shine: 1 brake, 2 left indicator, 4 right indicator.
  static constexpr int kNumLamps = 8;
  static int LampsOf(ActorClass actor_class, const ActorState& state);
  struct Actor {
    std::string category;
    std::vector<int> meshes;  // of the world; the last is for standing when `stands`
    // Of vehicles, by lamps (LampsOf) instead: -1 for those that never shine so.
    std::array<int, kNumLamps> lamp_meshes{};
    bool stands = false, rider = true;
    float cycle_m = 1;
    std::vector<float> lift_m;    // per state: what the ground is higher than the road
    std::vector<float> travel_m;  // per state: way from the first one
  };
  // Between the values of the two states around a time.
  double Interpolate(const std::vector<float>& per_state, int actor, double time_s) const;
  void MeasureGround();

  TrafficLog traffic_;
  Town town_;
  StreetWeather weather_;
  uint64_t seed_;
  RayWorld world_;
  std::vector<MeshInstance> static_instances_;
  std::vector<Actor> actors_;
  Lighting lighting_;  // without what moves
};

}  // namespace athanor
