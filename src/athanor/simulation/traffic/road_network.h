// Road networks as SUMO writes them (.net.xml): lanes with their centre lines, junctions,
// crossings, roundabouts and traffic lights. Format:
// https://sumo.dlr.de/docs/Networks/SUMO_Road_Networks.html
//
// Frame: `world`, metres, x east, y north, z up, as in the file. Lanes of an edge are counted from
// the right (the kerb) to the left, all in driving direction; traffic keeps to the right.
#pragma once

#include <Eigen/Core>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

namespace athanor {

enum class LaneKind {
  kDriving,      // cars may use it
  kBus,          // buses, taxis and other chosen vehicles, but no cars
  kBicycle,      // bicycles, but no motor vehicles
  kSidewalk,     // walkers only, along a road
  kCrossing,     // walkers, across a road
  kWalkingArea,  // walkers, where sidewalks and crossings meet; `shape` is its outline (a polygon)
  kRail,         // trams, trains
  kForbidden,    // nobody drives here: parking strips, medians
};

enum class TurnDirection { kStraight, kLeft, kPartLeft, kRight, kPartRight, kUTurn, kNone };

struct RoadLane {
  std::string id;  // "E12_0"; of junctions ":J3_4_0"
  LaneKind kind = LaneKind::kDriving;
  int edge = 0;   // index into RoadNetwork::edges
  int index = 0;  // in its edge, 0 = rightmost
  double speed_mps = 0;
  double width_m = 0;
  double length_m = 0;                 // as SUMO counts it (may differ from the length of `shape`)
  std::vector<Eigen::Vector3d> shape;  // centre line, at least 2 points (but see kWalkingArea)
  // Of lanes inside junctions that vehicles drive on: whence and whither (indices of edges outside
  // the junction), and how it turns; -1 elsewhere.
  int from_edge = -1, to_edge = -1;
  TurnDirection direction = TurnDirection::kNone;
};

struct RoadEdge {
  std::string id;
  std::string type;                          // "residential" ...; may be empty
  bool inside_junction = false;              // internal, crossing or walking area
  int from_junction = -1, to_junction = -1;  // -1: inside a junction
  int priority = 0;
  std::vector<int> lanes;  // indices into RoadNetwork::lanes, from right to left
  int roundabout = -1;     // index into RoadNetwork::roundabouts when part of its ring
  // Inside a junction: which.
  int junction = -1;
};

struct RoadJunction {
  std::string id;
  std::string type;  // "priority", "traffic_light", "dead_end", "right_before_left" ...
  Eigen::Vector3d position = Eigen::Vector3d::Zero();
  std::vector<Eigen::Vector3d> shape;  // polygon of the paved area; may be empty at dead ends
  int roundabout = -1;                 // index into RoadNetwork::roundabouts
};

// From one lane to another over a junction.
struct RoadConnection {
  int from_lane = 0, to_lane = 0;  // indices into RoadNetwork::lanes
  int via_lane = -1;               // first lane inside the junction; -1: none
  TurnDirection direction = TurnDirection::kNone;
  int light = -1;       // index into RoadNetwork::lights
  int light_index = 0;  // which letter of the light's state
};

struct Roundabout {
  std::vector<int> edges;      // of the ring
  std::vector<int> junctions;  // on the ring
  Eigen::Vector2d center_m = Eigen::Vector2d::Zero();
  double radius_m = 0;  // center_m and this: the circle that fits the middle of its lanes best
};

struct RoadNetwork {
  std::filesystem::path path;  // the .net.xml
  std::vector<RoadEdge> edges;
  std::vector<RoadLane> lanes;
  std::vector<RoadJunction> junctions;
  std::vector<RoadConnection> connections;
  std::vector<Roundabout> roundabouts;
  std::vector<std::string> lights;  // ids of traffic lights
  Eigen::Vector2d min_m = Eigen::Vector2d::Zero(), max_m = Eigen::Vector2d::Zero();
  std::unordered_map<std::string, int> lane_by_id, edge_by_id;

  // -1 when there is none.
  int FindLane(std::string_view id) const;
  int FindEdge(std::string_view id) const;
  // The roundabout whose ring a lane belongs to: ring edges, and lanes inside ring junctions that
  // lead from ring edge to ring edge. -1: none.
  int CirculatingRoundabout(int lane) const;
};

// Throws Error (path, line, what was expected) for damaged files, unknown references and numbers
// out of range.
RoadNetwork ReadRoadNetwork(const std::filesystem::path& path);
// As above from text; `name` is what messages call it.
RoadNetwork ParseRoadNetwork(std::string_view text, std::string_view name);

// Point, heading (radians about +z) at `s_m` metres along a line, clamped to its ends.
struct LinePoint {
  Eigen::Vector3d position = Eigen::Vector3d::Zero();
  double yaw_rad = 0;
};
LinePoint PointOnLine(const std::vector<Eigen::Vector3d>& line, double s_m);
double LineLength(const std::vector<Eigen::Vector3d>& line);
// Metres along the line of the point of it that is nearest to `point` (in x, y).
struct LineFoot {
  double s_m = 0, distance_m = 0;
  double left_m = 0;  // signed distance: positive to the left of the line
};
LineFoot NearestOnLine(const std::vector<Eigen::Vector3d>& line, const Eigen::Vector2d& point);

}  // namespace athanor
