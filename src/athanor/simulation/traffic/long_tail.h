// What SUMO lacks: parked cars, dogs, sheep, bags, road works, fallen cargo, shrubs, walkers with
// wheels. Planned around the way that the ego vehicle would take undisturbed, so that it meets
// them.
#pragma once

#include <Eigen/Core>
#include <vector>

#include "athanor/base/random.h"
#include "athanor/simulation/traffic/traffic.h"
#include "athanor/simulation/traffic/trajectories.h"

namespace athanor {

// A stretch of road on which drivers must stop or slow down for a while. Times from the start of
// the log; edge positions in SUMO's metres.
struct RoadHazard {
  int edge = 0;
  double position_m = 0;  // along the edge: where to stop, or where the slow stretch begins
  double length_m = 0;    // of the slow stretch
  double begin_s = 0, end_s = 0;
  double speed_mps = 0;  // 0 = stop before it
};

// Something that stands into the rightmost driving lane: who passes keeps so far to the left.
struct LaneIntrusion {
  int lane = 0;
  double begin_m = 0, end_m = 0;  // along the lane's centre line
  double shift_m = 0;
};

struct LongTailPlan {
  std::vector<TrafficActor> actors;
  std::vector<RoadHazard> hazards;
  std::vector<LaneIntrusion> intrusions;
};

// `ego`: states at t = step * step_s, step = 0 .. num_steps - 1.
LongTailPlan PlanLongTail(const RoadNetwork& roads, const TrafficOptions& options,
                          const std::vector<ActorState>& ego, int num_steps, Random* random);

// Moves a vehicle to the left where intrusions want it, smoothly over 14 m before and after.
void AvoidIntrusions(const RoadNetwork& roads, const std::vector<LaneIntrusion>& intrusions,
                     RawTrack* track);

// The cross-section of a road (both directions of it) at a place along an edge.
struct RoadSection {
  Eigen::Vector3d origin = Eigen::Vector3d::Zero();  // on the edge's leftmost lane's centre
  double yaw_rad = 0;                                // of the edge there
  // Signed metres to the left of the origin: outer borders of all lanes (with sidewalks), and of
  // those that vehicles drive on.
  double right_m = 0, left_m = 0, driving_right_m = 0, driving_left_m = 0;
  int other_edge = -1;          // the other direction, or -1
  double other_position_m = 0;  // along it
};
RoadSection SectionAt(const RoadNetwork& roads, int edge, double position_m);

}  // namespace athanor
