// What a traffic log answers: states at any time, the ego pose, lights, its hash.

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>

#include "athanor/base/error.h"
#include "athanor/base/hash.h"
#include "athanor/base/random.h"
#include "athanor/simulation/traffic/traffic.h"

namespace athanor {
namespace {

// The rear axle of cars lies so far behind the middle, as a share of the length (Renault Zoe, the
// car of nuScenes: 4.084 m long, rear overhang 0.657 m).
constexpr double kRearAxleBehindMiddle = 0.339;

constexpr std::array<std::string_view, kNumActorClasses> kNames = {"car",
                                                                   "van",
                                                                   "truck",
                                                                   "bus",
                                                                   "trailer",
                                                                   "motorcycle",
                                                                   "bicycle",
                                                                   "pedestrian",
                                                                   "scooter",
                                                                   "stroller",
                                                                   "wheelchair",
                                                                   "dog",
                                                                   "sheep",
                                                                   "bag",
                                                                   "shrub",
                                                                   "fence",
                                                                   "cone",
                                                                   "barrier",
                                                                   "cargo",
                                                                   "construction_worker",
                                                                   "construction_vehicle",
                                                                   "bicycle_rack",
                                                                   "pushable"};

// Cubic through b (t = 0) and c (t = 1) with the slopes of their neighbours.
template <typename T>
T CatmullRom(const T& a, const T& b, const T& c, const T& d, double t) {
  const T slope_b = (c - a) / 2, slope_c = (d - b) / 2;
  const double t2 = t * t, t3 = t2 * t;
  return T(b * (2 * t3 - 3 * t2 + 1) + slope_b * (t3 - 2 * t2 + t) + c * (3 * t2 - 2 * t3) +
           slope_c * (t3 - t2));
}

}  // namespace

std::string_view ActorClassName(ActorClass actor_class) {
  return kNames[static_cast<int>(actor_class)];
}

bool IsVehicle(ActorClass actor_class) { return actor_class <= ActorClass::kBicycle; }

std::optional<ActorState> TrafficLog::StateAt(int actor, double time_s) const {
  ATHANOR_CHECK(actor >= 0 && actor < static_cast<int>(actors.size()), "no actor ", actor,
                " in a log of ", actors.size());
  const TrafficActor& a = actors[actor];
  if (a.states.empty()) return std::nullopt;
  if (a.states.size() == 1 && (a.is_static || a.parked)) return a.states[0];
  const int n = static_cast<int>(a.states.size());
  // A billionth of a step of slack: times are sums of steps.
  const double at = time_s / step_s - a.first_step;
  if (at < -1e-9 || at > n - 1 + 1e-9) return std::nullopt;
  const int i = std::clamp(static_cast<int>(at), 0, std::max(n - 2, 0));
  if (n == 1) return a.states[0];
  const double t = std::clamp(at - i, 0.0, 1.0);
  const ActorState& b = a.states[i];
  const ActorState& c = a.states[i + 1];
  // Before the first and behind the last the movement goes on as it is.
  ActorState first = b, last = c;
  if (i > 0) {
    first = a.states[i - 1];
  } else {
    first.center_m = 2 * b.center_m - c.center_m;
    first.yaw_rad = 2 * b.yaw_rad - c.yaw_rad;
  }
  if (i + 2 < n) {
    last = a.states[i + 2];
  } else {
    last.center_m = 2 * c.center_m - b.center_m;
    last.yaw_rad = 2 * c.yaw_rad - b.yaw_rad;
  }
  ActorState state = t < 0.5 ? b : c;
  state.center_m = CatmullRom(first.center_m, b.center_m, c.center_m, last.center_m, t);
  state.yaw_rad = CatmullRom(first.yaw_rad, b.yaw_rad, c.yaw_rad, last.yaw_rad, t);
  state.speed_mps = b.speed_mps + t * (c.speed_mps - b.speed_mps);
  state.accel_mps2 = b.accel_mps2 + t * (c.accel_mps2 - b.accel_mps2);
  return state;
}

std::optional<Box3> TrafficLog::BoxAt(int actor, double time_s) const {
  const std::optional<ActorState> state = StateAt(actor, time_s);
  if (!state) return std::nullopt;
  return MakeBox3(state->center_m, actors[actor].size_m, state->yaw_rad);
}

Rigid3 TrafficLog::WorldFromEgo(double time_s) const {
  const std::optional<ActorState> state = StateAt(ego, std::clamp(time_s, 0.0, duration_s()));
  ATHANOR_CHECK(state.has_value(), "the ego vehicle is not there at ", time_s, " s");
  const Eigen::Vector3d& size = actors[ego].size_m;
  const Eigen::Vector3d ahead(std::cos(state->yaw_rad), std::sin(state->yaw_rad), 0);
  Rigid3 world_from_ego;
  world_from_ego.rotation =
      Eigen::Quaterniond(Eigen::AngleAxisd(state->yaw_rad, Eigen::Vector3d::UnitZ()));
  world_from_ego.translation = state->center_m - kRearAxleBehindMiddle * size.x() * ahead -
                               Eigen::Vector3d(0, 0, size.z() / 2);
  return world_from_ego;
}

std::string TrafficLog::LightState(int light, int step) const {
  std::string state;
  for (const LightChange& change : lights) {
    if (change.step > step) break;
    if (change.light == light) state = change.state;
  }
  return state;
}

uint64_t TrafficLog::Hash() const {
  uint64_t hash = HashBytes("traffic", num_steps);
  const auto add = [&](std::string_view text) { hash = HashBytes(text, hash); };
  const auto number = [&](double value) { hash = MixBits(hash ^ std::bit_cast<uint64_t>(value)); };
  number(step_s);
  number(ego);
  for (const TrafficActor& actor : actors) {
    add(actor.id);
    add(ActorClassName(actor.actor_class));
    for (const double value : {actor.size_m.x(), actor.size_m.y(), actor.size_m.z(),
                               static_cast<double>(actor.first_step), 1.0 * actor.parked,
                               1.0 * actor.is_static, 1.0 * actor.group}) {
      number(value);
    }
    hash = MixBits(hash ^ actor.look_seed);
    for (const ActorState& state : actor.states) {
      for (const double value :
           {state.center_m.x(), state.center_m.y(), state.center_m.z(), state.yaw_rad,
            state.speed_mps, state.accel_mps2, 1.0 * state.lane, 1.0 * state.brake_light,
            1.0 * state.blink_left, 1.0 * state.blink_right}) {
        number(value);
      }
    }
  }
  for (const LightChange& change : lights) {
    number(change.light);
    number(change.step);
    add(change.state);
  }
  for (const LogTag& tag : tags) {
    add(tag.name);
    for (const double value : {1.0 * tag.track, 1.0 * tag.begin_us, 1.0 * tag.end_us}) {
      number(value);
    }
  }
  return hash;
}

}  // namespace athanor
