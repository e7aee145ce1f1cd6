#include "athanor/simulation/traffic/long_tail.h"

#include <algorithm>
#include <cmath>
#include <functional>
#include <limits>
#include <numbers>
#include <utility>

#include "athanor/base/error.h"
#include "athanor/simulation/traffic/demand.h"
#include "athanor/simulation/traffic/long_tail_planner.h"
#include "athanor/simulation/traffic/trajectories.h"

namespace athanor {
namespace {

using Eigen::Vector2d;
using Eigen::Vector3d;

constexpr double kPi = std::numbers::pi;

}  // namespace

LongTailPlan LongTailPlanner::Plan() {
  FindNearEdges();
  Park();
  const double logs = (num_steps_ - 1) * options_.step_s / 20;  // frequencies are per 20 s
  // What stops the traffic takes its places first.
  Repeat(options_.sheep * logs, [&] { Sheep(); });
  Repeat(options_.dogs * logs, [&] { Dog(); });
  Repeat(options_.jaywalkers * logs, [&] { Jaywalker(); });
  Repeat(options_.cargo * logs, [&] { Cargo(); });
  Repeat(options_.road_works * logs, [&] { RoadWorks(); });
  Repeat(options_.bags * logs, [&] { Bag(); });
  Repeat(options_.small_wheels * logs, [&] { SmallWheels(); });
  Repeat(options_.shrubs * logs, [&] { Shrub(); });
  Repeat(options_.bicycle_racks * logs, [&] { BicycleRack(); });
  Repeat(options_.bins * logs, [&] { Bins(); });
  ClearWays();
  return std::move(plan_);
}

void LongTailPlanner::Repeat(double mean, const std::function<void()>& body) {
  double product = random_.Uniform();
  const double limit = std::exp(-mean);
  for (int count = 0; product > limit && count < 200; ++count) {
    body();
    product *= random_.Uniform();
  }
}

TrafficActor LongTailPlanner::NewActor(ActorClass actor_class, const Vector3d& size_m) {
  TrafficActor actor;
  actor.actor_class = actor_class;
  actor.size_m = size_m;
  actor.id = StrCat(ActorClassName(actor_class), "-", number_++);
  actor.look_seed = (uint64_t{random_.NextBits()} << 32) | random_.NextBits();
  return actor;
}

void LongTailPlanner::AddStatic(TrafficActor actor, const Vector3d& ground, double yaw_rad) {
  ActorState state;
  state.center_m = ground + Vector3d(0, 0, actor.size_m.z() / 2);
  state.yaw_rad = yaw_rad;
  actor.states = {state};
  actor.is_static = !IsVehicle(actor.actor_class);
  plan_.actors.push_back(std::move(actor));
}

void LongTailPlanner::AddMoving(TrafficActor actor, const std::vector<Vector3d>& ground,
                                double yaw_rad) {
  RawTrack track;
  track.id = actor.id;
  track.actor_class = actor.actor_class;
  track.size_m = actor.size_m;
  for (const Vector3d& place : ground) {
    RawState state;
    state.position = place;
    state.yaw_rad = yaw_rad;
    track.states.push_back(state);
  }
  TrafficActor smooth = std::move(SmoothTrack(track, options_.step_s)[0]);
  smooth.look_seed = actor.look_seed;
  smooth.group = actor.group;
  plan_.actors.push_back(std::move(smooth));
}

void LongTailPlanner::FindNearEdges() {
  for (size_t i = 0; i < roads_.edges.size(); ++i) {
    const RoadEdge& edge = roads_.edges[i];
    if (edge.inside_junction || !HasDrivingLane(roads_, static_cast<int>(i))) continue;
    const auto& line = roads_.lanes[edge.lanes.back()].shape;
    bool near = false;
    for (size_t step = 0; step < ego_.size() && !near; step += 20) {
      near = NearestOnLine(line, ego_[step].center_m.head<2>()).distance_m < options_.area_m;
    }
    if (near) near_edges_.push_back(static_cast<int>(i));
  }
}

double LongTailPlanner::Length(int edge) const {
  return LineLength(roads_.lanes[roads_.edges[edge].lanes.back()].shape);
}

double LongTailPlanner::SumoMetres(int edge) const {
  return roads_.lanes[roads_.edges[edge].lanes.back()].length_m / std::max(Length(edge), 1e-3);
}

bool LongTailPlanner::NearEgo(const Vector3d& place, double within_m) const {
  for (size_t step = 0; step < ego_.size(); step += 10) {
    if ((ego_[step].center_m - place).head<2>().norm() < within_m) return true;
  }
  return false;
}

Vector3d LongTailPlanner::Beside(const RoadSection& section, double offset_m) const {
  return section.origin + Left(section.yaw_rad) * (section.right_m - offset_m);
}

bool LongTailPlanner::OnPavement(const Vector3d& place, double margin_m) const {
  for (const RoadLane& lane : roads_.lanes) {
    if ((lane.shape[0] - place).head<2>().norm() > lane.length_m + 30) continue;
    if (lane.kind == LaneKind::kWalkingArea) continue;
    if (NearestOnLine(lane.shape, place.head<2>()).distance_m < lane.width_m / 2 + margin_m) {
      return true;
    }
  }
  return false;
}

bool LongTailPlanner::FindEncounter(double from_s, double to_s, double least_speed,
                                    Encounter* encounter) {
  std::vector<Encounter> found;
  for (size_t step = 0; step < ego_.size(); ++step) {
    const ActorState& state = ego_[step];
    const double time = static_cast<double>(step) * options_.step_s;
    if (time < from_s || time > to_s || state.lane < 0 || state.speed_mps < least_speed) continue;
    const RoadLane& lane = roads_.lanes[state.lane];
    const RoadEdge& edge = roads_.edges[lane.edge];
    if (edge.inside_junction || edge.roundabout >= 0) continue;
    const double length = LineLength(lane.shape);
    const double s = NearestOnLine(lane.shape, state.center_m.head<2>()).s_m;
    if (s < 15 || s > length - 15) continue;
    bool used = false;
    for (const Encounter& other : used_) {
      used |= other.edge == lane.edge && std::abs(other.position_m - s) < 20;
    }
    if (!used) found.push_back({lane.edge, s, time, state.speed_mps});
  }
  if (found.empty()) return false;
  *encounter = found[random_.Below(static_cast<uint32_t>(found.size()))];
  used_.push_back(*encounter);
  return true;
}

RoadSection SectionAt(const RoadNetwork& roads, int edge, double position_m) {
  RoadSection section;
  const RoadEdge& e = roads.edges[edge];
  const LinePoint at = PointOnLine(roads.lanes[e.lanes.back()].shape, position_m);
  section.origin = at.position;
  section.yaw_rad = at.yaw_rad;
  section.right_m = section.driving_right_m = std::numeric_limits<double>::infinity();
  section.left_m = section.driving_left_m = -std::numeric_limits<double>::infinity();
  const Vector2d left(-std::sin(at.yaw_rad), std::cos(at.yaw_rad));
  const auto include = [&](int index) {
    const RoadLane& lane = roads.lanes[index];
    const LineFoot foot = NearestOnLine(lane.shape, at.position.head<2>());
    const LinePoint on_lane = PointOnLine(lane.shape, foot.s_m);
    const double offset = (on_lane.position - at.position).head<2>().dot(left);
    section.right_m = std::min(section.right_m, offset - lane.width_m / 2);
    section.left_m = std::max(section.left_m, offset + lane.width_m / 2);
    if (lane.kind != LaneKind::kDriving && lane.kind != LaneKind::kBus) return;
    section.driving_right_m = std::min(section.driving_right_m, offset - lane.width_m / 2);
    section.driving_left_m = std::max(section.driving_left_m, offset + lane.width_m / 2);
  };
  for (const int lane : e.lanes) include(lane);
  // The other direction lies beside it.
  for (size_t i = 0; i < roads.edges.size(); ++i) {
    const RoadEdge& other = roads.edges[i];
    if (other.inside_junction || other.from_junction != e.to_junction ||
        other.to_junction != e.from_junction) {
      continue;
    }
    const LineFoot foot =
        NearestOnLine(roads.lanes[other.lanes.back()].shape, at.position.head<2>());
    if (foot.distance_m > 12) continue;
    section.other_edge = static_cast<int>(i);
    section.other_position_m = foot.s_m;
    for (const int lane : other.lanes) include(lane);
    break;
  }
  return section;
}

LongTailPlan PlanLongTail(const RoadNetwork& roads, const TrafficOptions& options,
                          const std::vector<ActorState>& ego, int num_steps, Random* random) {
  return LongTailPlanner(roads, options, ego, num_steps, random).Plan();
}

void AvoidIntrusions(const RoadNetwork& roads, const std::vector<LaneIntrusion>& intrusions,
                     RawTrack* track) {
  constexpr double kRamp_m = 14;
  for (const LaneIntrusion& intrusion : intrusions) {
    const RoadLane& lane = roads.lanes[intrusion.lane];
    const double length = LineLength(lane.shape);
    for (RawState& state : track->states) {
      const LineFoot foot = NearestOnLine(lane.shape, state.position.head<2>());
      if (foot.distance_m > lane.width_m || foot.s_m <= 0 || foot.s_m >= length) continue;
      const LinePoint at = PointOnLine(lane.shape, foot.s_m);
      if (std::cos(at.yaw_rad - state.yaw_rad) < 0.7) continue;  // goes another way
      const double outside =
          std::max({0.0, intrusion.begin_m - foot.s_m, foot.s_m - intrusion.end_m});
      if (outside >= kRamp_m) continue;
      const double along = 0.5 + 0.5 * std::cos(kPi * outside / kRamp_m);
      // Who keeps to the left anyway needs less room, and none in the next lane.
      const double across = std::clamp(1 - (foot.left_m - 0.3) / (0.7 * lane.width_m), 0.0, 1.0);
      state.position += along * across * intrusion.shift_m *
                        Vector3d(-std::sin(at.yaw_rad), std::cos(at.yaw_rad), 0);
    }
  }
}

}  // namespace athanor
