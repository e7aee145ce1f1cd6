#include <algorithm>
#include <cmath>
#include <numbers>
#include <utility>

#include "athanor/simulation/traffic/demand.h"
#include "athanor/simulation/traffic/long_tail_planner.h"

namespace athanor {
namespace {

using Eigen::Vector3d;

constexpr double kPi = std::numbers::pi;

}  // namespace

void LongTailPlanner::Park() {
  const bool has_strips =
      std::any_of(roads_.lanes.begin(), roads_.lanes.end(),
                  [](const RoadLane& lane) { return lane.kind == LaneKind::kForbidden; });
  for (const int edge : near_edges_) {
    const RoadEdge& e = roads_.edges[edge];
    const RoadLane* strip = nullptr;
    for (const int lane : e.lanes) {
      if (roads_.lanes[lane].kind == LaneKind::kForbidden && roads_.lanes[lane].width_m > 1.5) {
        strip = &roads_.lanes[lane];
      }
    }
    // One quiet road in two has cars half on the pavement.
    const bool kerb = !has_strips && e.roundabout < 0 &&
                      roads_.lanes[e.lanes.back()].speed_mps < 14.5 && random_.Uniform() < 0.5f;
    if (strip == nullptr && !kerb) continue;
    const auto& line = strip != nullptr ? strip->shape : roads_.lanes[e.lanes[0]].shape;
    const double length = LineLength(line);
    for (double s = 12; s + 10 < length; s += Range(5.8, 7.2)) {
      if (random_.Uniform() >= options_.parked * (strip != nullptr ? 1 : 0.7)) continue;
      const LinePoint at = PointOnLine(line, s);
      const float draw = random_.Uniform();
      TrafficActor actor =
          draw < 0.86f
              ? NewActor(ActorClass::kCar, {Range(3.6, 4.9), Range(1.62, 1.9), Range(1.42, 1.75)})
          : draw < 0.95f
              ? NewActor(ActorClass::kVan, {Range(4.8, 5.6), Range(1.9, 2.05), Range(1.9, 2.5)})
              : NewActor(ActorClass::kMotorcycle,
                         {Range(1.9, 2.3), Range(0.7, 0.85), Range(1.15, 1.4)});
      Vector3d place = at.position;
      if (strip == nullptr) {
        const RoadSection section = SectionAt(roads_, edge, s);
        place = Beside(section, actor.size_m.y() / 2 + 0.15);
        if (OnPavement(place, 0.3)) continue;
      }
      place += Left(at.yaw_rad) * Range(-0.1, 0.1);
      actor.parked = true;
      AddStatic(std::move(actor), place, at.yaw_rad + Range(-0.03, 0.03));
    }
  }
}

bool LongTailPlanner::RandomSection(RoadSection* section, int* edge, double margin_m) {
  for (int attempt = 0; attempt < 30 && !near_edges_.empty(); ++attempt) {
    *edge = near_edges_[random_.Below(static_cast<uint32_t>(near_edges_.size()))];
    const double length = Length(*edge);
    if (length < 2 * margin_m + 2 || roads_.edges[*edge].roundabout >= 0) continue;
    *section = SectionAt(roads_, *edge, Range(margin_m, length - margin_m));
    if (NearEgo(section->origin, 60)) return true;
  }
  return false;
}

void LongTailPlanner::Shrub() {
  RoadSection section;
  int edge = 0;
  if (!RandomSection(&section, &edge, 8)) return;
  const double side = Range(0.7, 1.6);
  TrafficActor actor =
      NewActor(ActorClass::kShrub, {side, side * Range(0.8, 1.1), Range(0.3, 0.9)});
  const Vector3d place = Beside(section, side / 2 + Range(0.2, 2.0));
  if (!OnPavement(place, side / 2)) AddStatic(std::move(actor), place, Range(-kPi, kPi));
}

bool LongTailPlanner::OnSidewalk(const Vector3d& size_m, LinePoint* at) {
  RoadSection section;
  int edge = 0;
  if (!RandomSection(&section, &edge, 10)) return false;
  const int sidewalk = SidewalkOf(roads_, edge);
  if (sidewalk < 0) return false;
  const RoadLane& lane = roads_.lanes[sidewalk];
  const double s = NearestOnLine(lane.shape, section.origin.head<2>()).s_m;
  *at = PointOnLine(lane.shape, s);
  const double outward = std::max(0.0, lane.width_m / 2 - size_m.y() / 2 - 0.05);
  at->position -= Left(at->yaw_rad) * outward;
  return true;
}

void LongTailPlanner::BicycleRack() {
  TrafficActor actor =
      NewActor(ActorClass::kBicycleRack, {Range(1.8, 4.5), Range(0.5, 0.65), Range(0.75, 0.95)});
  LinePoint at;
  if (OnSidewalk(actor.size_m, &at)) AddStatic(std::move(actor), at.position, at.yaw_rad);
}

void LongTailPlanner::Bins() {
  const int count = 1 + static_cast<int>(random_.Below(3));
  LinePoint at;
  for (int i = 0; i < count; ++i) {
    TrafficActor actor =
        NewActor(ActorClass::kPushable, {Range(0.5, 0.62), Range(0.5, 0.72), Range(0.95, 1.15)});
    if (i == 0 && !OnSidewalk(actor.size_m, &at)) return;
    // Their fronts, where the handle is not, look to the road.
    AddStatic(std::move(actor), at.position + Ahead(at.yaw_rad) * (i * 0.85),
              at.yaw_rad + kPi / 2 + Range(-0.15, 0.15));
  }
}

bool LongTailPlanner::Meet(const TrafficActor& thing, const TrafficActor& other) {
  const ActorState& at = thing.states[0];
  return std::any_of(other.states.begin(), other.states.end(), [&](const ActorState& state) {
    const Vector3d offset = state.center_m - at.center_m;
    // Two boxes are apart when a line along one of their axes separates them.
    const double turn = state.yaw_rad - at.yaw_rad;
    const double c = std::abs(std::cos(turn)), s = std::abs(std::sin(turn));
    const Vector3d a = thing.size_m / 2, b = other.size_m / 2;
    return std::abs(offset.dot(Ahead(at.yaw_rad))) < a.x() + c * b.x() + s * b.y() &&
           std::abs(offset.dot(Left(at.yaw_rad))) < a.y() + s * b.x() + c * b.y() &&
           std::abs(offset.dot(Ahead(state.yaw_rad))) < b.x() + c * a.x() + s * a.y() &&
           std::abs(offset.dot(Left(state.yaw_rad))) < b.y() + s * a.x() + c * a.y();
  });
}

void LongTailPlanner::ClearWays() {
  const auto makes_room = [](const TrafficActor& actor) {
    return actor.parked || actor.actor_class == ActorClass::kBicycleRack ||
           actor.actor_class == ActorClass::kPushable || actor.actor_class == ActorClass::kShrub;
  };
  std::vector<TrafficActor> kept;
  // First what stays in any case.
  for (const bool moved : {false, true}) {
    for (const TrafficActor& actor : plan_.actors) {
      if (makes_room(actor) != moved) continue;
      const bool in_the_way =
          moved && std::any_of(kept.begin(), kept.end(), [&](const TrafficActor& other) {
            return other.actor_class != ActorClass::kBag && Meet(actor, other);
          });
      if (!in_the_way) kept.push_back(actor);
    }
  }
  plan_.actors = std::move(kept);
}

void LongTailPlanner::Bag() {
  RoadSection section;
  int edge = 0;
  if (!RandomSection(&section, &edge, 5)) return;
  TrafficActor actor =
      NewActor(ActorClass::kBag, {Range(0.3, 0.5), Range(0.25, 0.4), Range(0.25, 0.45)});
  const double heading = section.yaw_rad + Range(0.25, 0.75) * kPi;
  const double wind = Range(0.6, 2.2), phase = Range(0, 6.28), hop = Range(0.1, 0.7);
  Vector3d place = section.origin + Left(section.yaw_rad) * (section.right_m - 2);
  std::vector<Vector3d> ground;
  for (int step = 0; step < num_steps_; ++step) {
    const double t = step * options_.step_s;
    const double gust = std::max(0.0, 0.5 + std::sin(0.7 * t + phase));
    const double turn = heading + 0.6 * std::sin(0.43 * t + 2 * phase);
    place += Ahead(turn) * (wind * gust * options_.step_s);
    const double lift = hop * std::pow(std::max(0.0, std::sin(1.1 * t + phase)), 2);
    ground.push_back(place + Vector3d(0, 0, lift));
  }
  AddMoving(std::move(actor), ground, heading);
}

}  // namespace athanor
