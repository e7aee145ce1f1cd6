// Scenario tags from trajectories. docs/traffic.md has the definitions in words.

#include <algorithm>
#include <cmath>
#include <functional>
#include <map>
#include <numbers>
#include <set>

#include "athanor/base/error.h"
#include "athanor/simulation/traffic/traffic.h"

namespace athanor {
namespace {

constexpr double kStanding_mps = 0.2, kUnderWay_mps = 3.0;
constexpr double kHardBrake_mps2 = -3.0;
constexpr double kTurn_rad = 0.7, kUTurn_rad = 2.6;
constexpr double kApproach_m = 50;
constexpr double kLaneChange_s = 1.5;  // before and after the border is crossed

// Consecutive steps, both ends in it.
struct Run {
  int first, last;
};

std::vector<Run> RunsWhere(int first, int last, const std::function<bool(int)>& holds) {
  std::vector<Run> runs;
  for (int step = first; step <= last; ++step) {
    if (!holds(step)) continue;
    if (!runs.empty() && runs.back().last == step - 1) {
      runs.back().last = step;
    } else {
      runs.push_back({step, step});
    }
  }
  return runs;
}

class Tagger {
 public:
  Tagger(const RoadNetwork& roads, const TrafficLog& log) : roads_(roads), log_(log) {
    for (size_t i = 0; i < roads.lanes.size(); ++i) {
      const RoadLane& lane = roads.lanes[i];
      if (lane.kind != LaneKind::kDriving && lane.kind != LaneKind::kBus) continue;
      if (roads.edges[lane.edge].inside_junction) continue;
      DrivingLane driving{&lane, lane.shape[0].head<2>(), lane.shape[0].head<2>()};
      for (const Eigen::Vector3d& point : lane.shape) {
        driving.min = driving.min.cwiseMin(point.head<2>());
        driving.max = driving.max.cwiseMax(point.head<2>());
      }
      driving_.push_back(driving);
    }
    for (const RoadConnection& connection : roads.connections) {
      lights_by_lane_[connection.from_lane].push_back(&connection);
    }
  }

  std::vector<LogTag> Compute() {
    for (int i = 0; i < static_cast<int>(log_.actors.size()); ++i) {
      const TrafficActor& actor = log_.actors[i];
      if (actor.states.empty()) continue;
      actor_ = i;
      first_ = actor.first_step;
      last_ = first_ + static_cast<int>(actor.states.size()) - 1;
      if (actor.parked) {
        Add("parked", {0, log_.num_steps - 1});
      } else if (!actor.is_static) {
        MovingOrStopped();
        const bool trailer = actor.actor_class == ActorClass::kTrailer && actor.group >= 0;
        if (IsVehicle(actor.actor_class) && !trailer) {
          Vehicle();
        } else if (actor.actor_class != ActorClass::kTrailer) {
          OnFoot();
        }
      }
      Presence();
    }
    Flocks();
    std::stable_sort(tags_.begin(), tags_.end(), [](const LogTag& a, const LogTag& b) {
      return std::tie(a.begin_us, a.track, a.name) < std::tie(b.begin_us, b.track, b.name);
    });
    return std::move(tags_);
  }

 private:
  struct DrivingLane {
    const RoadLane* lane;
    Eigen::Vector2d min, max;
  };

  const TrafficActor& actor() const { return log_.actors[actor_]; }
  bool IsEgo() const { return actor_ == log_.ego; }
  const ActorState& At(int step) const { return actor().states[step - first_]; }
  // Of any actor; null when it is not there.
  const ActorState* StateOf(int index, int step) const {
    const TrafficActor& other = log_.actors[index];
    const int at = step - other.first_step;
    if (at < 0 || at >= static_cast<int>(other.states.size())) return nullptr;
    return &other.states[at];
  }
  int Steps(double seconds) const { return static_cast<int>(std::lround(seconds / log_.step_s)); }
  int64_t Time(int step) const { return std::llround(step * log_.step_s * 1e6); }
  Run Clip(Run run) const { return {std::max(run.first, first_), std::min(run.last, last_)}; }

  void AddNamed(std::string name, int track, Run run) {
    tags_.push_back({std::move(name), track, Time(run.first), Time(run.last)});
  }
  // "ego." or "actor.", as it is.
  void Add(std::string_view behaviour, Run run) {
    AddNamed(StrCat(IsEgo() ? "ego." : "actor.", behaviour), IsEgo() ? -1 : actor_, run);
  }

  const RoadLane* Lane(int step) const {
    const int lane = At(step).lane;
    return lane < 0 ? nullptr : &roads_.lanes[lane];
  }
  int RoundaboutOf(int edge) const { return edge < 0 ? -1 : roads_.edges[edge].roundabout; }
  // The ring that a lane inside a junction leads into / out of; -1: none.
  int Entering(const RoadLane* lane) const {
    if (lane == nullptr || lane->to_edge < 0 || RoundaboutOf(lane->from_edge) >= 0) return -1;
    return RoundaboutOf(lane->to_edge);
  }
  int Leaving(const RoadLane* lane) const {
    if (lane == nullptr || lane->from_edge < 0 || RoundaboutOf(lane->to_edge) >= 0) return -1;
    return RoundaboutOf(lane->from_edge);
  }

  void MovingOrStopped() {
    const int least = Steps(0.5);
    for (const Run& run :
         RunsWhere(first_, last_, [&](int step) { return At(step).speed_mps > 0.5; })) {
      if (run.last - run.first >= least) Add("moving", run);
    }
    for (const Run& run : RunsWhere(first_, last_, [&](int step) {
           return std::abs(At(step).speed_mps) < kStanding_mps;
         })) {
      if (run.last - run.first >= least) {
        Add("stopped", run);
        StopAndStart(run);
      }
    }
  }

  // How it came to stand, and how it drove off.
  void StopAndStart(Run standing) {
    if (!IsVehicle(actor().actor_class)) return;
    int before = standing.first;
    while (before > first_ && standing.first - before < Steps(6) &&
           At(before).speed_mps < kUnderWay_mps) {
      --before;
    }
    if (At(before).speed_mps >= kUnderWay_mps) Add("stop", {before, standing.first});
    int after = standing.last;
    while (after < last_ && after - standing.last < Steps(6) &&
           At(after).speed_mps < kUnderWay_mps) {
      ++after;
    }
    if (At(after).speed_mps >= kUnderWay_mps) Add("start", {standing.last, after});
  }

  void Vehicle() {
    busy_.assign(last_ - first_ + 1, false);
    for (const Run& run :
         RunsWhere(first_, last_, [&](int s) { return At(s).accel_mps2 < kHardBrake_mps2; })) {
      if (run.last - run.first >= Steps(0.2)) Add("hard_brake", run);
    }
    Turns();
    LaneChanges();
    Roundabouts();
    Yields();
    if (!IsEgo()) return;
    for (const Run& run : RunsWhere(first_, last_, [&](int step) {
           return At(step).speed_mps > 1 && !busy_[step - first_];
         })) {
      if (run.last - run.first >= Steps(1)) Add("follow_lane", run);
    }
  }

  void AddManoeuvre(std::string_view behaviour, Run run) {
    Add(behaviour, run);
    for (int step = run.first; step <= run.last; ++step) busy_[step - first_] = true;
  }

  void Turns() {
    for (int step = first_; step <= last_;) {
      const RoadLane* lane = Lane(step);
      if (lane == nullptr || lane->from_edge < 0) {
        ++step;
        continue;
      }
      int end = step;
      while (end < last_ && Lane(end + 1) != nullptr &&
             Lane(end + 1)->from_edge == lane->from_edge &&
             Lane(end + 1)->to_edge == lane->to_edge) {
        ++end;
      }
      const Run run{step, end};
      step = end + 1;
      if (RoundaboutOf(lane->from_edge) >= 0 || RoundaboutOf(lane->to_edge) >= 0) continue;
      // The body follows the front: it is through the bend a little later.
      const int settled = std::min(last_, end + Steps(1));
      const double turned = At(settled).yaw_rad - At(run.first).yaw_rad;
      if (std::abs(turned) > kUTurn_rad) {
        AddManoeuvre("u_turn", run);
      } else if (std::abs(turned) > kTurn_rad) {
        AddManoeuvre(turned > 0 ? "turn_left" : "turn_right", run);
      }
    }
  }

  void LaneChanges() {
    for (int step = first_ + 1; step <= last_; ++step) {
      const RoadLane *from = Lane(step - 1), *to = Lane(step);
      if (from == nullptr || to == nullptr || from == to || from->edge != to->edge ||
          roads_.edges[to->edge].inside_junction) {
        continue;
      }
      const Run run = Clip({step - Steps(kLaneChange_s), step + Steps(kLaneChange_s)});
      AddManoeuvre(to->index > from->index ? "lane_change_left" : "lane_change_right", run);
      if (!IsEgo()) CutIn(step, run);
    }
  }

  // It comes into the ego vehicle's lane, close before it.
  void CutIn(int step, Run run) {
    const ActorState* ego = StateOf(log_.ego, step);
    if (ego == nullptr || ego->lane != At(step).lane || ego->speed_mps < 2) return;
    const Eigen::Vector2d ahead(std::cos(ego->yaw_rad), std::sin(ego->yaw_rad));
    const double gap = (At(step).center_m - ego->center_m).head<2>().dot(ahead) -
                       (actor().size_m.x() + log_.actors[log_.ego].size_m.x()) / 2;
    if (gap > 0 && gap < 20) Add("cut_in", run);
  }

  void Roundabouts() {
    const auto entering = [&](int step) { return Entering(Lane(step)) >= 0; };
    for (const Run& run : RunsWhere(first_, last_, entering)) {
      AddManoeuvre("roundabout_enter", run);
      const int roundabout = Entering(Lane(run.first));
      int begin = run.first;
      const int edge = Lane(run.first)->from_edge;
      while (begin > first_ && Lane(begin - 1) != nullptr && Lane(begin - 1)->edge == edge &&
             ToLaneEnd(begin - 1) <= kApproach_m) {
        --begin;
      }
      if (begin < run.first) AddManoeuvre("roundabout_approach", {begin, run.first});
      if (IsEgo()) continue;
      for (const Run& both : RunsWhere(run.first, run.last, [&](int step) {
             const ActorState* ego = StateOf(log_.ego, step);
             return ego != nullptr && roads_.CirculatingRoundabout(ego->lane) == roundabout;
           })) {
        Add("roundabout_enter_while_ego_circulates", both);
      }
    }
    for (const Run& run : RunsWhere(first_, last_, [&](int step) {
           return roads_.CirculatingRoundabout(At(step).lane) >= 0;
         })) {
      AddManoeuvre("roundabout_circulate", run);
    }
    for (const Run& run :
         RunsWhere(first_, last_, [&](int step) { return Leaving(Lane(step)) >= 0; })) {
      AddManoeuvre("roundabout_exit", run);
    }
  }

  // From the middle of its front to the end of its lane.
  double ToLaneEnd(int step) const {
    const RoadLane* lane = Lane(step);
    const ActorState& state = At(step);
    const Eigen::Vector2d front =
        state.center_m.head<2>() +
        Eigen::Vector2d(std::cos(state.yaw_rad), std::sin(state.yaw_rad)) * actor().size_m.x() / 2;
    return LineLength(lane->shape) - NearestOnLine(lane->shape, front).s_m;
  }

  bool HasRed(int lane, int step) const {
    const auto found = lights_by_lane_.find(lane);
    if (found == lights_by_lane_.end()) return false;
    for (const RoadConnection* connection : found->second) {
      if (connection->light < 0) continue;
      const std::string state = log_.LightState(connection->light, step);
      if (connection->light_index >= static_cast<int>(state.size())) continue;
      const char letter = state[connection->light_index];
      if (letter == 'r' || letter == 'y' || letter == 'u') return true;
    }
    return false;
  }

  // Waits first in its lane before a junction whose light is not red, while others pass.
  void Yields() {
    const auto waits = [&](int step) {
      const RoadLane* lane = Lane(step);
      return lane != nullptr && At(step).speed_mps < 1.5 &&
             !roads_.edges[lane->edge].inside_junction &&
             roads_.edges[lane->edge].to_junction >= 0 && ToLaneEnd(step) < 10 &&
             !HasRed(At(step).lane, step);
    };
    for (const Run& run : RunsWhere(first_, last_, waits)) {
      if (run.last - run.first < Steps(0.5)) continue;
      bool first_in_lane = true, others = false;
      for (int step = run.first; step <= run.last; step += std::max(1, Steps(0.5))) {
        const Eigen::Vector2d here = At(step).center_m.head<2>();
        const Eigen::Vector2d ahead(std::cos(At(step).yaw_rad), std::sin(At(step).yaw_rad));
        const int junction = roads_.edges[Lane(step)->edge].to_junction;
        for (int i = 0; i < static_cast<int>(log_.actors.size()); ++i) {
          const ActorState* other = i == actor_ ? nullptr : StateOf(i, step);
          if (other == nullptr || other->lane < 0) continue;
          const Eigen::Vector2d offset = other->center_m.head<2>() - here;
          if (offset.norm() > 30) continue;
          const RoadLane& lane = roads_.lanes[other->lane];
          if (other->lane == At(step).lane && offset.dot(ahead) > 0 && offset.norm() < 12) {
            first_in_lane = false;
          }
          const int inside = roads_.edges[lane.edge].junction;
          const bool passes =
              (inside == junction && lane.kind != LaneKind::kWalkingArea) ||
              (roads_.CirculatingRoundabout(other->lane) >= 0 &&
               roads_.junctions[junction].roundabout == roads_.CirculatingRoundabout(other->lane));
          others |= passes && other->speed_mps > 0.3;
        }
      }
      if (first_in_lane && others) Add("yield", run);
    }
  }

  bool OnDrivingLane(const Eigen::Vector3d& place) const {
    const Eigen::Vector2d p = place.head<2>();
    return std::any_of(driving_.begin(), driving_.end(), [&](const DrivingLane& lane) {
      const double half = lane.lane->width_m / 2;
      if ((p.array() < lane.min.array() - half).any() ||
          (p.array() > lane.max.array() + half).any()) {
        return false;
      }
      return NearestOnLine(lane.lane->shape, p).distance_m < half;
    });
  }

  // Walkers, animals, bags.
  void OnFoot() {
    const ActorClass kind = actor().actor_class;
    for (const Run& run : RunsWhere(first_, last_, [&](int step) {
           return Lane(step) != nullptr && Lane(step)->kind == LaneKind::kCrossing;
         })) {
      Add("crossing", run);
    }
    if (kind == ActorClass::kConstructionWorker) return;
    // SUMO's walkers keep to crossings; only what we move can be off all lanes.
    const auto on_road = RunsWhere(first_, last_, [&](int step) {
      return At(step).lane < 0 && OnDrivingLane(At(step).center_m);
    });
    for (const Run& run : on_road) {
      if (run.last - run.first < Steps(0.3)) continue;
      Add(kind == ActorClass::kPedestrian ? "jaywalk" : "on_road", run);
    }
  }

  void Presence() {
    const ActorClass kind = actor().actor_class;
    if (kind < ActorClass::kScooter) return;
    const bool still = actor().is_static;
    AddNamed(StrCat("type.", ActorClassName(kind)), actor_,
             still ? Run{0, log_.num_steps - 1} : Run{first_, last_});
  }

  void Flocks() {
    std::map<int, std::pair<int, Run>> flocks;  // by group: sheep, steps
    for (const TrafficActor& actor : log_.actors) {
      if (actor.actor_class != ActorClass::kSheep || actor.group < 0 || actor.states.empty())
        continue;
      const Run run{actor.first_step, actor.first_step + static_cast<int>(actor.states.size()) - 1};
      auto [found, added] = flocks.try_emplace(actor.group, 0, run);
      ++found->second.first;
      found->second.second.first = std::min(found->second.second.first, run.first);
      found->second.second.last = std::max(found->second.second.last, run.last);
    }
    for (const auto& [group, flock] : flocks) {
      if (flock.first >= 3) AddNamed("type.sheep_flock", -1, flock.second);
    }
  }

  const RoadNetwork& roads_;
  const TrafficLog& log_;
  std::vector<DrivingLane> driving_;
  std::map<int, std::vector<const RoadConnection*>> lights_by_lane_;
  std::vector<LogTag> tags_;
  // The actor at hand.
  int actor_ = 0, first_ = 0, last_ = 0;
  std::vector<bool> busy_;  // per step: turns, changes lanes, is at a roundabout
};

}  // namespace

std::vector<LogTag> ComputeTags(const RoadNetwork& roads, const TrafficLog& log) {
  return Tagger(roads, log).Compute();
}

}  // namespace athanor
