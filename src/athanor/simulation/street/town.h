// The world that stands still around a road network: road surface and markings, kerbs, sidewalks,
// crossings, roundabout islands, traffic lights, signs, lamps, trees, hedges, buildings, meadows to
// the horizon. Built from the network and a seed.
#pragma once

#include <Eigen/Core>
#include <array>
#include <cstdint>
#include <vector>

#include "athanor/simulation/mesh.h"
#include "athanor/simulation/ray_world.h"
#include "athanor/simulation/render/lighting.h"
#include "athanor/simulation/traffic/road_network.h"

namespace athanor {

struct TownBuilding {
  Eigen::Vector2d center_m = Eigen::Vector2d::Zero();
  Eigen::Vector2d half_m = Eigen::Vector2d::Ones();  // along and across its front
  double yaw_rad = 0;
  double height_m = 0;
};

struct TownOptions {
  uint64_t seed = 0;
  // Only what lies within this distance of one of `around` is built; beyond come a skyline and
  // meadows.
  double radius_m = 170;
  std::vector<Eigen::Vector2d> around;
  float buildings = 0.85f;              // share of the lots along the roads that are built on
  float tree_spacing_m = 13;            // along sidewalks
  float lamp_spacing_m = 30;            // street lamps
  std::vector<TownBuilding> keep_free;  // where actors will be: nothing is put there
  bool night = false;                   // lamps shine
};

// What a pixel of the static world belongs to; actors have ids of their own.
enum class TownPart {
  kGround,
  kRoad,
  kMarking,
  kSidewalk,
  kBuilding,
  kTree,
  kHedge,
  kLamp,
  kSign,
  kSignal,  // with its pole
  kBench,
};
inline constexpr int kNumTownParts = 11;

// A head of a traffic light: which of its three lamps shines follows from the state of the network.
struct TownSignal {
  int light = 0;        // index into RoadNetwork::lights
  int light_index = 0;  // which letter of its state
  Rigid3 world_from_head;
};

struct Town {
  std::vector<Mesh> meshes;
  // `mesh` indexes `meshes`; `object` is a TownPart.
  std::vector<MeshInstance> instances;
  std::vector<TownBuilding> buildings;
  std::vector<TownSignal> signals;
  // Meshes of the heads: all dark, red, amber, green, red and amber.
  std::array<int, 5> signal_meshes = {};
  std::vector<Lamp> lamps;    // of streets, when it is night
  int64_t num_triangles = 0;  // of all instances
};

// Height of sidewalks over the road, metres.
inline constexpr double kKerbHeight = 0.08;

// Equal network and options give an equal town. Throws Error when `around` is empty or not finite.
Town BuildTown(const RoadNetwork& roads, const TownOptions& options);

// Which of Town::signal_meshes shows one letter of a light's state ('r', 'y', 'g', 'G', 'u' ...).
int SignalMeshOf(char state);

}  // namespace athanor
