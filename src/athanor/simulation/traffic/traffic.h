// Traffic on road networks, with exact truth: SUMO (Eclipse SUMO, https://sumo.dlr.de) moves cars,
// trucks, buses, cyclists and walkers; what it lacks (dogs, sheep, bags, cones, fallen cargo ...)
// is added by us, and SUMO's drivers brake for it. One vehicle is the ego vehicle.
//
//   TrafficNetwork network = GenerateNetwork(network_options, "W/network");
//   TrafficLog log = RunTraffic(network, traffic_options);
//   Rigid3 world_from_ego = log.WorldFromEgo(3.25);
//
// SUMO is needed at run time only where RunTraffic or GenerateNetwork is called; without it both
// throw Error with one line that says what to install. One simulation runs per process at a time
// (libsumo's limit): calls from several threads wait for each other.
#pragma once

#include <Eigen/Core>
#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "athanor/base/options.h"
#include "athanor/datasets/log.h"
#include "athanor/geometry/box3.h"
#include "athanor/geometry/rigid3.h"
#include "athanor/media/image.h"
#include "athanor/simulation/traffic/road_network.h"

namespace athanor {

// ---- networks ----

struct NetworkOptions {
  std::string kind = "town";  // "grid", "arterial", "roundabout", "town"
  int64_t seed = 0;
  int blocks = 3;                  // blocks along each side (grid, town), junctions (arterial)
  float block_m = 110;             // length of a block
  float curviness = 0.5f;          // 0 = straight roads
  float roundabouts = 0.4f;        // share of the town's junctions that are roundabouts
  float roundabout_radius_m = 18;  // mean radius; each varies by a third
  bool parking = true;             // parking strips along residential roads
};
void Describe(NetworkOptions& options, OptionList& list);

// A network, and the demand that came with it if any.
struct TrafficNetwork {
  RoadNetwork roads;
  // Of the user's own configuration (.sumocfg); empty for generated networks and bare .net.xml:
  // then the demand is made by us.
  std::vector<std::filesystem::path> route_files, additional_files;
  double begin_s = 0;  // when the demand begins
};

// Makes a network from a seed and runs SUMO's netconvert on it; writes plain XML and
// `network.net.xml` into `folder` (made when missing). Equal options give an equal network. Throws
// Error when netconvert is missing or fails.
TrafficNetwork GenerateNetwork(const NetworkOptions& options, const std::filesystem::path& folder);
// A user's network: .sumocfg (with its routes and additional files) or .net.xml.
TrafficNetwork LoadNetwork(const std::filesystem::path& path);

// ---- actors ----

enum class ActorClass {
  kCar,
  kVan,
  kTruck,
  kBus,
  kTrailer,
  kMotorcycle,
  kBicycle,
  kPedestrian,
  kScooter,
  kStroller,
  kWheelchair,  // small things that people use
  kDog,
  kSheep,
  kBag,
  kShrub,
  kFence,
  kCone,
  kBarrier,
  kCargo,
  kConstructionWorker,
  kConstructionVehicle,  // an excavator or a loader; stands
  kBicycleRack,
  kPushable,  // bins on wheels
};
inline constexpr int kNumActorClasses = 23;
// "car", "van", ... "construction_worker".
std::string_view ActorClassName(ActorClass actor_class);
bool IsVehicle(ActorClass actor_class);  // car .. bicycle

struct ActorState {
  Eigen::Vector3d center_m = Eigen::Vector3d::Zero();  // world, middle of the box
  double yaw_rad = 0;                                  // unwrapped: never jumps by a turn
  double speed_mps = 0;                                // along the heading
  double accel_mps2 = 0;
  int lane = -1;  // index into RoadNetwork::lanes; -1: off the lanes
  bool brake_light = false, blink_left = false, blink_right = false;
};

struct TrafficActor {
  std::string id;  // unique in the log
  ActorClass actor_class = ActorClass::kCar;
  Eigen::Vector3d size_m = Eigen::Vector3d::Ones();  // length, width, height
  uint64_t look_seed = 0;                            // shape and colour: equal seeds look equal
  bool parked = false;                               // never moves in this log, at the kerb
  bool is_static = false;  // a thing that cannot move by itself: cone, shrub, fence ...
  int group = -1;          // members of a flock, a dog and its person, a tractor and its trailer
  int first_step = 0;
  std::vector<ActorState> states;  // one per step from first_step; static ones: exactly one
};

// State of one traffic light from a step on: one letter per controlled connection, as SUMO has them
// (r red, y amber, g / G green, u red-amber, o / O off).
struct LightChange {
  int light = 0;  // index into RoadNetwork::lights
  int step = 0;
  std::string state;
};

struct TrafficLog {
  double step_s = 0.1;
  int num_steps = 0;  // states lie at t = step * step_s, t = 0 .. duration
  int ego = 0;        // index into actors; present at every step
  std::vector<TrafficActor> actors;
  std::vector<LightChange> lights;  // sorted by step; every light has one at step 0
  std::vector<LogTag> tags;         // track = index into actors, -1 = ego; times in us from t = 0

  double duration_s() const { return (num_steps - 1) * step_s; }
  // Nothing when the actor is not there at that time. Between steps: a C1 cubic.
  std::optional<ActorState> StateAt(int actor, double time_s) const;
  std::optional<Box3> BoxAt(int actor, double time_s) const;  // world frame
  // The ego frame: below the middle of the rear axle, on the ground; x forward, y left, z up.
  Rigid3 WorldFromEgo(double time_s) const;
  std::string LightState(int light, int step) const;
  // One number of all that is in the log (for tests of reproducibility).
  uint64_t Hash() const;
};

// ---- running ----

struct TrafficOptions {
  int64_t seed = 0;
  float duration_s = 20;
  float step_s = 0.1f;
  float warm_up_s = 60;  // traffic runs this long before the log may begin
  float search_s = 90;   // the log begins within so long after the warm-up, mostly a third of it
  float area_m = 120;    // actors within so far of the ego vehicle are in the log
  std::string wish = "any";  // "any", "roundabout", "turn", "stop", "lane_change"
  // Demand made by us, per minute and kilometre of road (lanes that take them).
  float vehicles = 14;
  float pedestrians = 10;
  float bicycles = 3;
  float heavy = 0.18f;        // share of vans, trucks, buses, trailers among motor vehicles
  float motorcycles = 0.05f;  // share
  float parked = 0.35f;       // share of kerb places that are taken
  bool sublane = true;        // SUMO's sublane model (lateral motion, bicycles overtaken in lane)
  // Long-tail actors: how many to expect per log of 20 s.
  float dogs = 1;       // half of them with a person; some run into the road
  float sheep = 0.05f;  // flocks
  float jaywalkers = 0.3f;
  float bags = 0.3f;
  float road_works =
      0.15f;           // cones, barriers, fences, workers; long ones with an excavator or a loader
  float cargo = 0.1f;  // fallen on the road
  float shrubs = 8;    // low, at the roadside
  float small_wheels = 0.5f;  // strollers, wheelchairs, scooters
  float bicycle_racks = 1.5f;
  float bins = 2;  // groups of one to three
};
void Describe(TrafficOptions& options, OptionList& list);

// Runs the traffic and picks the ego vehicle and the stretch of time. Equal network, options and
// SUMO version give an equal log. Throws Error when SUMO is missing or fails, or when no vehicle
// fits (too little traffic).
TrafficLog RunTraffic(const TrafficNetwork& network, const TrafficOptions& options);

// One clear line when SUMO cannot be used in this process; empty when it can.
std::string WhyNoSumo();

// ---- tags ----

// Computes the tags of a log from its trajectories; RunTraffic has done so. Definitions: docs/
// traffic.md.
std::vector<LogTag> ComputeTags(const RoadNetwork& roads, const TrafficLog& log);

// ---- pictures ----

struct DrawTrafficOptions {
  int width_px = 1024;
  // What is shown: a square of this side around the ego vehicle at `time_s`; 0 = the whole network.
  double side_m = 0;
  double time_s = 0;
  bool trails = true;  // where each actor goes in the log
};
// Bird's-eye view, north up: roads, crossings, actors as boxes, their ways; ego in red. `log` may
// be null: the network alone.
Image DrawTraffic(const RoadNetwork& roads, const TrafficLog* log,
                  const DrawTrafficOptions& options = {});

}  // namespace athanor
