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

LongTailPlanner::Crossing LongTailPlanner::PlanCrossing(const RoadSection& section, bool from_right,
                                                        double speed_mps, double enter_s,
                                                        double beside_m) {
  Crossing crossing;
  const Vector3d left = Left(section.yaw_rad);
  const double begin = from_right ? section.right_m - beside_m : section.left_m + beside_m;
  const double end = from_right ? section.left_m + beside_m : section.right_m - beside_m;
  const double enter = from_right ? section.driving_right_m : section.driving_left_m;
  const double leave = from_right ? section.driving_left_m : section.driving_right_m;
  crossing.start = section.origin + left * begin;
  crossing.direction = left * (from_right ? 1 : -1);
  crossing.speed_mps = speed_mps;
  crossing.enter_s = enter_s;
  crossing.start_s = enter_s - std::abs(enter - begin) / speed_mps;
  crossing.leave_s = enter_s + std::abs(leave - enter) / speed_mps;
  crossing.length_m = std::abs(end - begin);
  return crossing;
}

double LongTailPlanner::Gone(const Crossing& crossing, double t) {
  const double dt = t - crossing.start_s;
  if (dt <= -0.5) return 0;
  if (dt >= 0.5) return std::min(dt * crossing.speed_mps, crossing.length_m);
  return std::min((dt + 0.5) * (dt + 0.5) / 2 * crossing.speed_mps, crossing.length_m);
}

void LongTailPlanner::AddCrosser(TrafficActor actor, const Crossing& crossing,
                                 const Vector3d& offset, double wobble_m, double delay_s) {
  std::vector<Vector3d> ground;
  const double phase = Range(0, 6.28);
  const Vector3d side(-crossing.direction.y(), crossing.direction.x(), 0);
  for (int step = 0; step < num_steps_; ++step) {
    const double gone = Gone(crossing, step * options_.step_s - delay_s);
    ground.push_back(crossing.start + offset + crossing.direction * gone +
                     side * (wobble_m * std::sin(0.9 * gone + phase)));
  }
  AddMoving(std::move(actor), ground, std::atan2(crossing.direction.y(), crossing.direction.x()));
}

void LongTailPlanner::AddStop(const Encounter& encounter, const RoadSection& section,
                              double begin_s, double end_s, double half_width_m) {
  const auto add = [&](int edge, double s) {
    const double position = std::max(0.1, (s - half_width_m) * SumoMetres(edge));
    plan_.hazards.push_back({edge, position, 0, begin_s, end_s, 0});
  };
  add(encounter.edge, encounter.position_m);
  if (section.other_edge >= 0) add(section.other_edge, section.other_position_m);
}

bool LongTailPlanner::AddWalkers(
    const std::function<void(const std::vector<Vector3d>&, double yaw)>& add, double speed_mps) {
  RoadSection section;
  int edge = 0;
  if (!RandomSection(&section, &edge, 10)) return false;
  const int sidewalk = SidewalkOf(roads_, edge);
  const auto& line = roads_.lanes[sidewalk >= 0 ? sidewalk : roads_.edges[edge].lanes[0]].shape;
  const double outward = sidewalk >= 0
                             ? Range(-0.3, 0.3)
                             : roads_.lanes[roads_.edges[edge].lanes[0]].width_m / 2 + 0.9;
  const double length = LineLength(line);
  const bool forth = random_.Uniform() < 0.5f;
  double s = Range(0.1, 0.6) * length;
  std::vector<Vector3d> ground;
  double yaw = 0;
  for (int step = 0; step < num_steps_; ++step) {
    const double at = forth ? s : length - s;
    const LinePoint point = PointOnLine(line, at);
    if (step == 0) yaw = point.yaw_rad + (forth ? 0 : kPi);
    ground.push_back(point.position - Left(point.yaw_rad) * outward);
    s = std::min(s + speed_mps * options_.step_s, length - 3);
  }
  add(ground, yaw);
  return true;
}

void LongTailPlanner::SmallWheels() {
  const float draw = random_.Uniform();
  if (draw < 0.4f) {
    AddWalkers(
        [&](const std::vector<Vector3d>& ground, double yaw) {
          // The box holds who pushes it too.
          AddMoving(NewActor(ActorClass::kStroller, {Range(1.25, 1.45), 0.62, Range(1.52, 1.92)}),
                    ground, yaw);
        },
        Range(0.9, 1.3));
  } else {
    const bool scooter = draw < 0.7f;
    AddWalkers(
        [&](const std::vector<Vector3d>& ground, double yaw) {
          AddMoving(scooter ? NewActor(ActorClass::kScooter, {1.15, 0.55, Range(1.6, 1.9)})
                            : NewActor(ActorClass::kWheelchair, {1.1, 0.65, 1.3}),
                    ground, yaw);
        },
        scooter ? Range(3, 4.5) : Range(0.8, 1.2));
  }
}

Vector3d LongTailPlanner::DogSize() {
  const double length = Range(0.55, 1.05);
  return {length, length * 0.3, length * Range(0.6, 0.75)};
}

void LongTailPlanner::Dog() {
  Encounter encounter;
  if (random_.Uniform() < 0.5f) {
    // On a lead beside its person.
    const bool added = AddWalkers(
        [&](const std::vector<Vector3d>& ground, double yaw) {
          TrafficActor person = NewActor(ActorClass::kPedestrian, PersonSize());
          TrafficActor dog = NewActor(ActorClass::kDog, DogSize());
          person.group = dog.group = group_++;
          const double phase = Range(0, 6.28);
          std::vector<Vector3d> beside;
          for (size_t i = 0; i < ground.size(); ++i) {
            const Vector3d along = (ground[std::min(i + 1, ground.size() - 1)] - ground[i]);
            const double turn =
                along.head<2>().norm() > 1e-6 ? std::atan2(along.y(), along.x()) : yaw;
            const double t = static_cast<double>(i) * options_.step_s;
            beside.push_back(ground[i] + Left(turn) * (0.7 + 0.15 * std::sin(0.8 * t + phase)) +
                             Ahead(turn) * (0.5 + 0.4 * std::sin(0.37 * t + phase)));
          }
          AddMoving(std::move(person), ground, yaw);
          AddMoving(std::move(dog), beside, yaw);
        },
        Range(1.0, 1.4));
    if (added) return;
  }
  // Runs into the road, so late that drivers must brake hard.
  if (!FindEncounter(2.5, EndTime() - 2, 5, &encounter)) return;
  const RoadSection section = SectionAt(roads_, encounter.edge, encounter.position_m);
  const double enter = encounter.time_s - Range(1.7, 2.4);
  const Crossing crossing =
      PlanCrossing(section, random_.Uniform() < 0.6f, Range(2.6, 4.2), enter, Range(0.5, 2.5));
  AddCrosser(NewActor(ActorClass::kDog, DogSize()), crossing, Vector3d::Zero(), 0.15, 0);
  AddStop(encounter, section, crossing.enter_s - 0.2, crossing.leave_s, 1.2);
}

void LongTailPlanner::Jaywalker() {
  Encounter encounter;
  if (!FindEncounter(3, EndTime() - 2, 4, &encounter)) return;
  const RoadSection section = SectionAt(roads_, encounter.edge, encounter.position_m);
  const double enter = encounter.time_s - Range(2.2, 4.5);
  const Crossing crossing =
      PlanCrossing(section, random_.Uniform() < 0.6f, Range(1.2, 2.0), enter, 0);
  AddCrosser(NewActor(ActorClass::kPedestrian, PersonSize()), crossing, Vector3d::Zero(), 0.05, 0);
  AddStop(encounter, section, crossing.enter_s - 0.4, crossing.leave_s, 1.2);
}

void LongTailPlanner::Sheep() {
  Encounter encounter;
  if (!FindEncounter(4, EndTime() - 2, 4, &encounter) &&
      !FindEncounter(2, EndTime(), 2, &encounter)) {
    return;
  }
  const RoadSection section = SectionAt(roads_, encounter.edge, encounter.position_m);
  const int count = 6 + static_cast<int>(random_.Below(9));
  const double enter = std::max(1.0, encounter.time_s - Range(3.2, 4.5));
  const Crossing crossing =
      PlanCrossing(section, random_.Uniform() < 0.5f, Range(1.0, 1.4), enter, 1.5 + 0.3 * count);
  const int group = group_++;
  const Vector3d side(-crossing.direction.y(), crossing.direction.x(), 0);
  double last = 0, half_width = 0;
  for (int i = 0; i < count; ++i) {
    TrafficActor sheep =
        NewActor(ActorClass::kSheep, {Range(1.0, 1.3), Range(0.4, 0.55), Range(0.75, 0.95)});
    sheep.group = group;
    // Two or three abreast.
    const double across = (i % 3 - 1) * 1.0 + Range(-0.2, 0.2);
    const double back = (i / 3) * 1.6 + Range(0, 0.4);
    AddCrosser(std::move(sheep), crossing, side * across - crossing.direction * back, 0.15, 0);
    last = std::max(last, back);
    half_width = std::max(half_width, std::abs(across) + 0.7);
  }
  TrafficActor shepherd = NewActor(ActorClass::kPedestrian, PersonSize());
  shepherd.group = group;
  last += 1.8;
  AddCrosser(std::move(shepherd), crossing, crossing.direction * -last, 0.1, 0);
  AddStop(encounter, section, crossing.enter_s - 1.0, crossing.leave_s + last / crossing.speed_mps,
          half_width + 0.8);
}

}  // namespace athanor
