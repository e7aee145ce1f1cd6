#include "athanor/simulation/traffic/long_tail.h"

#include <algorithm>
#include <cmath>
#include <functional>
#include <limits>
#include <numbers>

#include "athanor/base/error.h"
#include "athanor/simulation/traffic/demand.h"
#include "athanor/simulation/traffic/trajectories.h"

namespace athanor {
namespace {

using Eigen::Vector2d;
using Eigen::Vector3d;

constexpr double kPi = std::numbers::pi;

// A place on the ego vehicle's way where something can happen: well within an edge, at speed.
struct Encounter {
  int edge;
  double position_m;
  double time_s;  // when the ego vehicle would be there
  double speed_mps;
};

class Planner {
 public:
  Planner(const RoadNetwork& roads, const TrafficOptions& options,
          const std::vector<ActorState>& ego, int num_steps, Random* random)
      : roads_(roads), options_(options), ego_(ego), num_steps_(num_steps), random_(*random) {}

  LongTailPlan Plan() {
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

 private:
  // Poisson, so that the frequency is the mean.
  void Repeat(double mean, const std::function<void()>& body) {
    double product = random_.Uniform();
    const double limit = std::exp(-mean);
    for (int count = 0; product > limit && count < 200; ++count) {
      body();
      product *= random_.Uniform();
    }
  }

  double Range(double low, double high) { return low + (high - low) * random_.Uniform(); }

  TrafficActor NewActor(ActorClass actor_class, const Vector3d& size_m) {
    TrafficActor actor;
    actor.actor_class = actor_class;
    actor.size_m = size_m;
    actor.id = StrCat(ActorClassName(actor_class), "-", number_++);
    actor.look_seed = (uint64_t{random_.NextBits()} << 32) | random_.NextBits();
    return actor;
  }

  Vector3d PersonSize() { return {Range(0.45, 0.65), Range(0.5, 0.65), Range(1.52, 1.92)}; }

  // Stands still at a place for the whole log.
  void AddStatic(TrafficActor actor, const Vector3d& ground, double yaw_rad) {
    ActorState state;
    state.center_m = ground + Vector3d(0, 0, actor.size_m.z() / 2);
    state.yaw_rad = yaw_rad;
    actor.states = {state};
    actor.is_static = !IsVehicle(actor.actor_class);
    plan_.actors.push_back(std::move(actor));
  }

  // Moves along a path given by the place of its feet at each step, facing where it goes.
  void AddMoving(TrafficActor actor, const std::vector<Vector3d>& ground, double yaw_rad) {
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

  void FindNearEdges() {
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

  double Length(int edge) const {
    return LineLength(roads_.lanes[roads_.edges[edge].lanes.back()].shape);
  }

  bool NearEgo(const Vector3d& place, double within_m) const {
    for (size_t step = 0; step < ego_.size(); step += 10) {
      if ((ego_[step].center_m - place).head<2>().norm() < within_m) return true;
    }
    return false;
  }

  // A place beside the road, `offset_m` beyond its outermost lane, on the edge's right side.
  Vector3d Beside(const RoadSection& section, double offset_m) const {
    return section.origin + Left(section.yaw_rad) * (section.right_m - offset_m);
  }
  static Vector3d Left(double yaw_rad) { return {-std::sin(yaw_rad), std::cos(yaw_rad), 0}; }
  static Vector3d Ahead(double yaw_rad) { return {std::cos(yaw_rad), std::sin(yaw_rad), 0}; }

  // Whether a place lies in a junction's area or on any lane at all.
  bool OnPavement(const Vector3d& place, double margin_m) const {
    for (const RoadLane& lane : roads_.lanes) {
      if ((lane.shape[0] - place).head<2>().norm() > lane.length_m + 30) continue;
      if (lane.kind == LaneKind::kWalkingArea) continue;
      if (NearestOnLine(lane.shape, place.head<2>()).distance_m < lane.width_m / 2 + margin_m) {
        return true;
      }
    }
    return false;
  }

  // Parking strips where there are some; else at the kerb of quiet roads.
  void Park() {
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

  // A random place along the roads around the ego vehicle's way.
  bool RandomSection(RoadSection* section, int* edge, double margin_m) {
    for (int attempt = 0; attempt < 30 && !near_edges_.empty(); ++attempt) {
      *edge = near_edges_[random_.Below(static_cast<uint32_t>(near_edges_.size()))];
      const double length = Length(*edge);
      if (length < 2 * margin_m + 2 || roads_.edges[*edge].roundabout >= 0) continue;
      *section = SectionAt(roads_, *edge, Range(margin_m, length - margin_m));
      if (NearEgo(section->origin, 60)) return true;
    }
    return false;
  }

  void Shrub() {
    RoadSection section;
    int edge = 0;
    if (!RandomSection(&section, &edge, 8)) return;
    const double side = Range(0.7, 1.6);
    TrafficActor actor =
        NewActor(ActorClass::kShrub, {side, side * Range(0.8, 1.1), Range(0.3, 0.9)});
    const Vector3d place = Beside(section, side / 2 + Range(0.2, 2.0));
    if (!OnPavement(place, side / 2)) AddStatic(std::move(actor), place, Range(-kPi, kPi));
  }

  // Where things stand on a sidewalk: along its back, so that most of it stays free. False where
  // there is none.
  bool OnSidewalk(const Vector3d& size_m, LinePoint* at) {
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

  void BicycleRack() {
    TrafficActor actor =
        NewActor(ActorClass::kBicycleRack, {Range(1.8, 4.5), Range(0.5, 0.65), Range(0.75, 0.95)});
    LinePoint at;
    if (OnSidewalk(actor.size_m, &at)) AddStatic(std::move(actor), at.position, at.yaw_rad);
  }

  void Bins() {
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

  // Whether another's box, at any time, overlaps with that of a thing that stands. From above.
  static bool Meet(const TrafficActor& thing, const TrafficActor& other) {
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

  // Nobody parks, and nothing stands, where somebody of ours walks or where works are: a flock that
  // crosses would go through the cars at the kerb.
  void ClearWays() {
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

  // A thin bag in the wind: gusts, hops, turns.
  void Bag() {
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

  // Where the ego vehicle drives at speed on a plain stretch of road, between two moments.
  bool FindEncounter(double from_s, double to_s, double least_speed, Encounter* encounter) {
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

  double EndTime() const { return (num_steps_ - 1) * options_.step_s; }

  // A straight way over the road, from outside its right border to outside its left one (or back),
  // begun such that the driving lanes are entered at `enter_s`.
  struct Crossing {
    Vector3d start, direction;
    double speed_mps, start_s, enter_s, leave_s, length_m;
  };
  Crossing PlanCrossing(const RoadSection& section, bool from_right, double speed_mps,
                        double enter_s, double beside_m) {
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

  // Metres gone at time t: at rest until the start, at full speed within a second.
  static double Gone(const Crossing& crossing, double t) {
    const double dt = t - crossing.start_s;
    if (dt <= -0.5) return 0;
    if (dt >= 0.5) return std::min(dt * crossing.speed_mps, crossing.length_m);
    return std::min((dt + 0.5) * (dt + 0.5) / 2 * crossing.speed_mps, crossing.length_m);
  }

  void AddCrosser(TrafficActor actor, const Crossing& crossing, const Vector3d& offset,
                  double wobble_m, double delay_s) {
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

  // Drivers of both directions stop for it.
  void AddStop(const Encounter& encounter, const RoadSection& section, double begin_s, double end_s,
               double half_width_m) {
    const auto add = [&](int edge, double s) {
      const RoadLane& lane = roads_.lanes[roads_.edges[edge].lanes.back()];
      const double scale = lane.length_m / std::max(LineLength(lane.shape), 1e-3);
      plan_.hazards.push_back(
          {edge, std::max(0.1, (s - half_width_m) * scale), 0, begin_s, end_s, 0});
    };
    add(encounter.edge, encounter.position_m);
    if (section.other_edge >= 0) add(section.other_edge, section.other_position_m);
  }

  // Walks along a sidewalk (or the roadside) at the ego vehicle's way.
  bool AddWalkers(const std::function<void(const std::vector<Vector3d>&, double yaw)>& add,
                  double speed_mps) {
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

  void SmallWheels() {
    const float draw = random_.Uniform();
    if (draw < 0.4f) {
      AddWalkers(
          [&](const std::vector<Vector3d>& ground, double yaw) {
            TrafficActor person = NewActor(ActorClass::kPedestrian, PersonSize());
            TrafficActor stroller = NewActor(ActorClass::kStroller, {Range(0.85, 1.05), 0.6, 1.02});
            person.group = stroller.group = group_++;
            AddMoving(std::move(person), ground, yaw);
            const TrafficActor& pusher = plan_.actors.back();
            for (const ActorState& state : pusher.states) {
              ActorState pushed = state;
              pushed.center_m += Ahead(state.yaw_rad) * 0.9;
              pushed.center_m.z() += (stroller.size_m.z() - pusher.size_m.z()) / 2;
              stroller.states.push_back(pushed);
            }
            plan_.actors.push_back(std::move(stroller));
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

  Vector3d DogSize() {
    const double length = Range(0.55, 1.05);
    return {length, length * 0.3, length * Range(0.6, 0.75)};
  }

  void Dog() {
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

  void Jaywalker() {
    Encounter encounter;
    if (!FindEncounter(3, EndTime() - 2, 4, &encounter)) return;
    const RoadSection section = SectionAt(roads_, encounter.edge, encounter.position_m);
    const double enter = encounter.time_s - Range(2.2, 4.5);
    const Crossing crossing =
        PlanCrossing(section, random_.Uniform() < 0.6f, Range(1.2, 2.0), enter, 0);
    AddCrosser(NewActor(ActorClass::kPedestrian, PersonSize()), crossing, Vector3d::Zero(), 0.05,
               0);
    AddStop(encounter, section, crossing.enter_s - 0.4, crossing.leave_s, 1.2);
  }

  void Sheep() {
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
    AddStop(encounter, section, crossing.enter_s - 1.0,
            crossing.leave_s + last / crossing.speed_mps, half_width + 0.8);
  }

  // Keeps to the right part of the outermost driving lane; drivers slow down and pass.
  void AddIntrusion(const Encounter& encounter, double begin_m, double end_m, double shift_m) {
    for (const int lane : roads_.edges[encounter.edge].lanes) {
      if (roads_.lanes[lane].kind != LaneKind::kDriving) continue;
      plan_.intrusions.push_back({lane, begin_m, end_m, shift_m});
      break;
    }
    const double before = 12;
    plan_.hazards.push_back({encounter.edge, std::max(1.0, begin_m - before),
                             end_m - begin_m + 2 * before, -1e6, 1e6, Range(4.5, 7)});
  }

  void RoadWorks() {
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
        ground.push_back(point.position +
                         Ahead(point.yaw_rad) * (reach * std::sin(0.3 * t + phase)));
      }
      AddMoving(std::move(worker), ground, Range(-kPi, kPi));
    }
    AddIntrusion(encounter, begin, begin + length, into + 0.15);
  }

  void Cargo() {
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

  const RoadNetwork& roads_;
  const TrafficOptions& options_;
  const std::vector<ActorState>& ego_;
  const int num_steps_;
  Random& random_;
  std::vector<int> near_edges_;
  std::vector<Encounter> used_;
  LongTailPlan plan_;
  int number_ = 0, group_ = 0;
};

}  // namespace

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
  return Planner(roads, options, ego, num_steps, random).Plan();
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
