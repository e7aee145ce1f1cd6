#include <algorithm>
#include <cmath>
#include <numbers>
#include <utility>

#include "athanor/simulation/traffic/long_tail_planner.h"

namespace athanor {
namespace {

using Eigen::Vector3d;

constexpr double kPi = std::numbers::pi;

}  // namespace

void LongTailPlanner::AddIntrusion(const Encounter& encounter, double begin_m, double end_m,
                                   double shift_m) {
  for (const int lane : roads_.edges[encounter.edge].lanes) {
    if (roads_.lanes[lane].kind != LaneKind::kDriving) continue;
    plan_.intrusions.push_back({lane, begin_m, end_m, shift_m});
    break;
  }
  const double before = 12, scale = SumoMetres(encounter.edge);
  plan_.hazards.push_back({encounter.edge, std::max(1.0, (begin_m - before) * scale),
                           (end_m - begin_m + 2 * before) * scale, -1e6, 1e6, Range(4.5, 7)});
}

void LongTailPlanner::RoadWorks() {
  Encounter encounter;
  if (!FindEncounter(2, EndTime(), 3, &encounter)) return;
  const double edge_length = Length(encounter.edge);
  const double length = std::min(Range(10, 22), edge_length - 24);
  const double begin =
      std::clamp(encounter.position_m - length / 2, 12.0, edge_length - 12 - length);
  const double into = Range(0.5, 0.9);  // the lane, beyond its right border
  const int group = group_++;
  const auto at = [&](double s, double from_border) {
    const RoadSection section = SectionAt(roads_, encounter.edge, s);
    LinePoint point;
    point.position =
        section.origin + Left(section.yaw_rad) * (section.driving_right_m + from_border);
    point.yaw_rad = section.yaw_rad;
    return point;
  };
  for (double s = begin; s <= begin + length; s += 2.5) {
    // A taper at both ends.
    const double taper = std::min({1.0, (s - begin + 0.5) / 5, (begin + length - s + 0.5) / 5});
    const LinePoint point = at(s, into * taper - 0.2);
    TrafficActor cone = NewActor(ActorClass::kCone, {0.38, 0.38, Range(0.7, 0.8)});
    cone.group = group;
    AddStatic(std::move(cone), point.position, point.yaw_rad);
  }
  for (const double s : {begin + 3, begin + length - 3}) {
    const LinePoint point = at(s, into - 1.2);
    TrafficActor barrier = NewActor(ActorClass::kBarrier, {0.3, 1.6, 1.0});
    barrier.group = group;
    AddStatic(std::move(barrier), point.position, point.yaw_rad);
  }
  // Long works have a machine, between the workers and the far barrier.
  const bool has_machine = length > 16;
  double fences_end = begin + length;
  if (has_machine) {
    TrafficActor machine = NewActor(ActorClass::kConstructionVehicle,
                                    {Range(4.2, 5.6), Range(1.7, 2.1), Range(2.3, 2.8)});
    machine.group = group;
    const double middle = begin + length - 3.3 - machine.size_m.x() / 2;
    fences_end = middle - machine.size_m.x() / 2 + 3.5;
    const LinePoint point = at(middle, into - 1.5);
    AddStatic(std::move(machine), point.position,
              point.yaw_rad + (random_.Uniform() < 0.5f ? kPi : 0));
  }
  for (double s = begin + 5; s + 5 < fences_end; s += 2.2) {
    const LinePoint point = at(s, into - 2.2);
    TrafficActor fence = NewActor(ActorClass::kFence, {2.1, 0.06, 1.1});
    fence.group = group;
    AddStatic(std::move(fence), point.position, point.yaw_rad);
  }
  const int workers = 1 + static_cast<int>(random_.Below(3));
  for (int i = 0; i < workers; ++i) {
    const LinePoint point =
        at(begin + Range(0.3, has_machine ? 0.35 : 0.7) * length, into - Range(0.8, 1.6));
    TrafficActor worker = NewActor(ActorClass::kConstructionWorker, PersonSize());
    worker.group = group;
    std::vector<Vector3d> ground;
    const double phase = Range(0, 6.28), reach = Range(0.2, 1.2);
    for (int step = 0; step < num_steps_; ++step) {
      const double t = step * options_.step_s;
      ground.push_back(point.position + Ahead(point.yaw_rad) * (reach * std::sin(0.3 * t + phase)));
    }
    AddMoving(std::move(worker), ground, Range(-kPi, kPi));
  }
  AddIntrusion(encounter, begin, begin + length, into + 0.15);
}

void LongTailPlanner::Cargo() {
  Encounter encounter;
  if (!FindEncounter(2, EndTime(), 3, &encounter)) return;
  const int pieces = 1 + static_cast<int>(random_.Below(3));
  const int group = group_++;
  for (int i = 0; i < pieces; ++i) {
    const RoadSection section =
        SectionAt(roads_, encounter.edge, encounter.position_m + Range(-2, 2));
    TrafficActor cargo =
        NewActor(ActorClass::kCargo, {Range(0.4, 1.1), Range(0.4, 0.8), Range(0.3, 0.7)});
    cargo.group = group;
    AddStatic(std::move(cargo),
              section.origin + Left(section.yaw_rad) * (section.driving_right_m + Range(0, 0.6)),
              Range(-kPi, kPi));
  }
  AddIntrusion(encounter, encounter.position_m - 3, encounter.position_m + 3, 1.0);
}

}  // namespace athanor
