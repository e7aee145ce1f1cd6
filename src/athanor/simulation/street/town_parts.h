// Pieces that town.cc puts together: road surfaces, buildings, street furniture, plants.
#pragma once

#include <Eigen/Core>
#include <vector>

#include "athanor/base/random.h"
#include "athanor/simulation/mesh_builder.h"
#include "athanor/simulation/street/town.h"

namespace athanor {

// Which ground is taken, in cells of half a metre, so that nothing is put on a road or into
// something else. Points outside count as taken.
class GroundMap {
 public:
  enum Use : uint8_t { kFree = 0, kRoad = 1, kSidewalk = 2, kBuilt = 4 };
  GroundMap(const Eigen::Vector2d& low, const Eigen::Vector2d& high);
  // All cells within `radius_m` of the line.
  void MarkLine(const std::vector<Eigen::Vector3d>& line, double radius_m, Use use);
  void MarkPolygon(const std::vector<Eigen::Vector3d>& outline, double margin_m, Use use);
  void MarkRectangle(const TownBuilding& rectangle, Use use);
  // Union of what lies in the rectangle grown by `margin_m`.
  uint8_t In(const TownBuilding& rectangle, double margin_m) const;
  uint8_t At(const Eigen::Vector2d& point) const;

 private:
  template <typename F>
  void Visit(const TownBuilding& rectangle, double margin_m, F&& visit) const;
  size_t Index(int x, int y) const { return static_cast<size_t>(y) * width_ + x; }

  Eigen::Vector2d low_;
  int width_, height_;
  std::vector<uint8_t> cells_;
};

// A line moved to its left by `left_m` (to its right when negative), corners mitred.
std::vector<Eigen::Vector3d> OffsetLine(const std::vector<Eigen::Vector3d>& line, double left_m);
// The stretch of a line between two distances along it.
std::vector<Eigen::Vector3d> SliceLine(const std::vector<Eigen::Vector3d>& line, double from_m,
                                       double to_m);

// Road surface, markings and sidewalks of the lanes in `lanes`, junctions in `junctions` and
// islands of roundabouts, one builder each.
struct RoadBuilders {
  MeshBuilder* road;
  MeshBuilder* marking;
  MeshBuilder* sidewalk;
};
void AddRoads(const RoadNetwork& roads, const std::vector<int>& lanes,
              const std::vector<int>& junctions, const RoadBuilders& out);
// The raised middle of a roundabout.
void AddIsland(const Roundabout& roundabout, double lanes_half_width_m, double ground_z,
               MeshBuilder* out);

// A house whose front looks along -y of its own frame, in the world frame.
void AddBuilding(const TownBuilding& building, double ground_z, Random* random, MeshBuilder* out);
// Far away: a plain block.
void AddDistantBuilding(const TownBuilding& building, double ground_z, Random* random,
                        MeshBuilder* out);

// Standing on the origin. The first material of trees and hedges is that of the leaves.
Mesh TreeMesh(int kind, Random* random);
Mesh HedgeMesh(Random* random);
Mesh BenchMesh();
// The arm reaches along +x, over the road.
inline constexpr float kLampArm_m = 2.2f;
inline constexpr float kLampHeight_m = 7.5f;
Mesh StreetLampMesh(bool shines);
enum class SignKind { kSpeed30, kSpeed50, kYield, kStop, kCrossing, kRoundabout, kNoParking };
inline constexpr int kNumSignKinds = 7;
// The face looks along +x.
Mesh SignMesh(SignKind kind);
// A pole with an arm along +y; heads are placed by the town.
Mesh SignalPoleMesh();
inline constexpr float kSignalArm_m = 4.5f;
// The lamps look along +x. `shown`: index as in Town::signal_meshes.
Mesh SignalHeadMesh(int shown);

}  // namespace athanor
