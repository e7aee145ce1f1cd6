#include "athanor/simulation/traffic/trajectories.h"

#include <algorithm>
#include <cmath>
#include <numbers>

#include "athanor/base/hash.h"

namespace athanor {
namespace {

constexpr double kSmooth_s = 0.25;       // standard deviation
constexpr double kRearAxleShare = 0.84;  // of the length, behind the front bumper
constexpr double kWalkerTurn_m = 0.35;   // walkers turn while they go so far
// Sideways over ahead of the front bumper, with the wheels turned as far as they go: that of a car
// 4.5 m long with a turning circle of 10 m.
constexpr double kSteepestFront = 1.2;
constexpr double kTractorLength_m = 6.0;
constexpr double kTrailerGap_m = 0.7;

double WrapAngle(double angle) { return std::remainder(angle, 2 * std::numbers::pi); }

// SUMO's distances and those of the lines it draws differ by up to a third on lanes inside
// junctions and rings, so a vehicle of steady speed would jerk where lanes meet. The difference is
// spread over so many metres (standard deviation).
constexpr double kSpread_m = 6;

// The most by which a vehicle's speed changes. SUMO's emergency braking is 8.
constexpr double kTyres_mps2 = 7.5;

Eigen::Vector3d Ahead(double yaw_rad) { return {std::cos(yaw_rad), std::sin(yaw_rad), 0}; }

// Gaussian over time. Beyond its ends the path is mirrored through them, so they stay in place.
std::vector<Eigen::Vector3d> SmoothPath(const std::vector<RawState>& states, double step_s) {
  const int n = static_cast<int>(states.size());
  const int reach = static_cast<int>(std::ceil(3 * kSmooth_s / step_s));
  const auto at = [&](int i) -> Eigen::Vector3d {
    if (i < 0) {
      return 2 * states.front().position - states[std::min(-i, n - 1)].position;
    }
    if (i >= n) {
      return 2 * states.back().position - states[std::max(2 * (n - 1) - i, 0)].position;
    }
    return states[i].position;
  };
  std::vector<Eigen::Vector3d> path(n);
  for (int i = 0; i < n; ++i) {
    Eigen::Vector3d sum = Eigen::Vector3d::Zero();
    double weights = 0;
    for (int k = -reach; k <= reach; ++k) {
      const double t = k * step_s / kSmooth_s;
      const double weight = std::exp(-t * t / 2);
      sum += weight * at(i + k);
      weights += weight;
    }
    path[i] = sum / weights;
  }
  return path;
}

// Headings of a body whose front is pulled along `path` and whose axle, `length_m` behind, does not
// slip sideways. Unwrapped. With a limit `steepest`, the front goes at most so many times as far
// sideways as ahead, as wheels turn, and never back, and `path` becomes what it went: where SUMO
// moves a vehicle sideways or bends its way too much, it drives on at SUMO's pace (`gone_m` in each
// step) with its wheels turned until it has caught up; where SUMO sets it back, it waits.
std::vector<double> PulledHeadings(std::vector<Eigen::Vector3d>* path, double length_m,
                                   double yaw_rad, double steepest,
                                   const std::vector<double>& gone_m) {
  std::vector<double> yaws(path->size());
  Eigen::Vector2d axle = Eigen::Vector2d::Zero(), front = axle;
  for (size_t i = 0; i < path->size(); ++i) {
    if (i == 0) {
      front = (*path)[0].head<2>();
      axle = front - length_m * Eigen::Vector2d(std::cos(yaw_rad), std::sin(yaw_rad));
    }
    // In small pieces, so that the result hardly depends on the step.
    constexpr int kPieces = 4;
    const Eigen::Vector2d move = (*path)[i].head<2>() - front;
    Eigen::Vector2d left_over = move;
    for (int k = kPieces; k >= 1 && move.norm() > 1e-9; --k) {
      const Eigen::Vector2d ahead = (front - axle) / length_m;
      const Eigen::Vector2d side(-ahead.y(), ahead.x());
      const Eigen::Vector2d wanted = left_over / k;
      double along = wanted.dot(ahead), across = wanted.dot(side);
      if (steepest > 0) {
        along = std::max(along, 0.0);
        if (std::abs(across) > steepest * along) {
          along = std::max(along, std::min(std::abs(across), gone_m[i] / kPieces));
        }
        across = std::clamp(across, -steepest * along, steepest * along);
      }
      const Eigen::Vector2d step = along * ahead + across * side;
      front += step;
      left_over -= step;
      const Eigen::Vector2d back = axle - front;
      if (back.norm() > 1e-9) axle = front + length_m * back.normalized();
    }
    const Eigen::Vector2d ahead = front - axle;
    yaw_rad += WrapAngle(std::atan2(ahead.y(), ahead.x()) - yaw_rad);
    yaws[i] = yaw_rad;
    (*path)[i].head<2>() = front;
  }
  return yaws;
}

// Distances along a way, step by step. Where their second differences are more than tyres hold,
// the vehicle goes less far: it falls behind SUMO's by some decimetres, and stops no later.
void KeepToTyres(double step_s, std::vector<double>* distances) {
  const int n = static_cast<int>(distances->size());
  const double most = kTyres_mps2 * step_s * step_s;
  std::vector<double> moves(n, 0);
  for (int i = 1; i < n; ++i) moves[i] = (*distances)[i] - (*distances)[i - 1];
  for (int i = 2; i < n; ++i) moves[i] = std::min(moves[i], moves[i - 1] + most);
  for (int i = n - 2; i > 0; --i) moves[i] = std::min(moves[i], moves[i + 1] + most);
  for (int i = 1; i < n; ++i) (*distances)[i] = (*distances)[i - 1] + moves[i];
}

// Moves a body along its way (centres and headings), such that it goes at SUMO's speeds but for a
// factor that changes slowly with the distance. Nobody who stands moves.
//
// This comes after the headings: until then, where SUMO lifts a slow vehicle sideways, the body
// catches up in jumps, and none of its own timing is worth keeping.
void FollowSpeeds(const std::vector<RawState>& states, double step_s,
                  std::vector<Eigen::Vector3d>* centers, std::vector<double>* yaws) {
  const int n = static_cast<int>(centers->size());
  if (n < 2) return;
  // Distance by SUMO, smoothed as the path is, and as the body goes.
  std::vector<RawState> gone(n);
  for (int i = 1; i < n; ++i) {
    gone[i].position.x() =
        gone[i - 1].position.x() +
        0.5 * (std::max(states[i - 1].speed_mps, 0.0) + std::max(states[i].speed_mps, 0.0)) *
            step_s;
  }
  const std::vector<Eigen::Vector3d> driven = SmoothPath(gone, step_s);
  std::vector<double> along(n, 0);
  for (int i = 1; i < n; ++i) {
    const Eigen::Vector3d ahead = Ahead(0.5 * ((*yaws)[i - 1] + (*yaws)[i]));
    along[i] = along[i - 1] + std::max(0.0, ((*centers)[i] - (*centers)[i - 1]).dot(ahead));
  }
  const auto d = [&](int i) { return driven[i].x(); };
  const auto excess = [&](int i) { return along[i] - d(i); };
  // Mean over the distance; beyond the ends the difference is mirrored through them.
  std::vector<double> wanted(n);
  for (int i = 0, begin = 0; i < n; ++i) {
    const double reach = 3 * kSpread_m;
    while (d(begin) < d(i) - reach) ++begin;
    double sum = 0, weights = 0;
    const auto add = [&](double distance, double value, double share) {
      const double t = distance / kSpread_m;
      const double weight = share * std::exp(-t * t / 2);
      sum += weight * value;
      weights += weight;
    };
    for (int j = begin; j + 1 < n && d(j) <= d(i) + reach; ++j) {
      const double share = d(j + 1) - d(j), middle = 0.5 * (d(j) + d(j + 1));
      const double value = 0.5 * (excess(j) + excess(j + 1));
      add(middle - d(i), value, share);
      add(2 * d(0) - middle - d(i), 2 * excess(0) - value, share);
      add(2 * d(n - 1) - middle - d(i), 2 * excess(n - 1) - value, share);
    }
    wanted[i] = d(i) + (weights > 1e-9 ? sum / weights : excess(0));
  }
  double last = 0;
  for (double& distance : wanted) distance = last = std::clamp(distance, last, along.back());
  KeepToTyres(step_s, &wanted);
  std::vector<Eigen::Vector3d> moved(n);
  std::vector<double> turned(n);
  for (int i = 0, k = 0; i < n; ++i) {
    while (k + 2 < n && along[k + 1] < wanted[i]) ++k;
    const double length = along[k + 1] - along[k];
    const double t = length > 1e-12 ? std::clamp((wanted[i] - along[k]) / length, 0.0, 1.0) : 0;
    moved[i] = (1 - t) * (*centers)[k] + t * (*centers)[k + 1];
    turned[i] = (1 - t) * (*yaws)[k] + t * (*yaws)[k + 1];
  }
  *centers = std::move(moved);
  *yaws = std::move(turned);
}

TrafficActor ActorOf(const RawTrack& track) {
  TrafficActor actor;
  actor.id = track.id;
  actor.actor_class = track.actor_class;
  actor.size_m = track.size_m;
  actor.look_seed = HashBytes(track.id);
  actor.first_step = track.first_step;
  actor.states.resize(track.states.size());
  for (size_t i = 0; i < track.states.size(); ++i) {
    actor.states[i].lane = track.states[i].lane;
    actor.states[i].brake_light = (track.states[i].signals & 8) != 0;
    actor.states[i].blink_right = (track.states[i].signals & 1) != 0;
    actor.states[i].blink_left = (track.states[i].signals & 2) != 0;
  }
  return actor;
}

}  // namespace

void FillMotion(TrafficActor* actor, double step_s) {
  auto& states = actor->states;
  const int n = static_cast<int>(states.size());
  if (n < 2) return;
  for (int i = 0; i < n; ++i) {
    const int a = std::max(i - 1, 0), b = std::min(i + 1, n - 1);
    const Eigen::Vector3d move = states[b].center_m - states[a].center_m;
    states[i].speed_mps = move.dot(Ahead(states[i].yaw_rad)) / ((b - a) * step_s);
    // A body that turns on the spot about its axle has a moving centre, but does not drive.
    if (std::abs(states[i].speed_mps) < 1e-3) states[i].speed_mps = 0;
  }
  for (int i = 0; i < n; ++i) {
    const int a = std::max(i - 1, 0), b = std::min(i + 1, n - 1);
    states[i].accel_mps2 = (states[b].speed_mps - states[a].speed_mps) / ((b - a) * step_s);
    if (IsVehicle(actor->actor_class) && states[i].accel_mps2 < -0.5) states[i].brake_light = true;
  }
}

std::vector<TrafficActor> SmoothTrack(const RawTrack& track, double step_s) {
  std::vector<TrafficActor> actors;
  if (track.states.empty()) return actors;
  std::vector<Eigen::Vector3d> path = SmoothPath(track.states, step_s);
  TrafficActor actor = ActorOf(track);
  const double yaw = track.states.front().yaw_rad;
  if (!IsVehicle(track.actor_class)) {
    const std::vector<double> yaws = PulledHeadings(&path, kWalkerTurn_m, yaw, 0, {});
    for (size_t i = 0; i < path.size(); ++i) {
      actor.states[i].center_m = path[i] + Eigen::Vector3d(0, 0, track.size_m.z() / 2);
      actor.states[i].yaw_rad = yaws[i];
    }
    FillMotion(&actor, step_s);
    actors.push_back(std::move(actor));
    return actors;
  }
  const bool pulls = track.actor_class == ActorClass::kTrailer &&
                     track.size_m.x() > kTractorLength_m + kTrailerGap_m + 3;
  const double length = pulls ? kTractorLength_m : track.size_m.x();
  std::vector<double> gone_m;
  for (const RawState& state : track.states) gone_m.push_back(state.speed_mps * step_s);
  std::vector<double> yaws =
      PulledHeadings(&path, kRearAxleShare * length, yaw, kSteepestFront, gone_m);
  for (size_t i = 0; i < path.size(); ++i) path[i] -= Ahead(yaws[i]) * length / 2;
  FollowSpeeds(track.states, step_s, &path, &yaws);
  actor.size_m.x() = length;
  std::vector<Eigen::Vector3d> hitch(path.size());
  for (size_t i = 0; i < path.size(); ++i) {
    actor.states[i].center_m = path[i] + Eigen::Vector3d(0, 0, actor.size_m.z() / 2);
    actor.states[i].yaw_rad = yaws[i];
    hitch[i] = path[i] - Ahead(yaws[i]) * (length / 2 - 1.0);
  }
  FillMotion(&actor, step_s);
  if (!pulls) {
    actors.push_back(std::move(actor));
    return actors;
  }
  TrafficActor trailer = ActorOf(track);
  trailer.id += ".trailer";
  actor.actor_class = ActorClass::kTruck;
  // From the hitch: one metre to the tractor's rear, the gap, the trailer.
  trailer.size_m.x() = track.size_m.x() - length - kTrailerGap_m;
  const double to_center = 1.0 + kTrailerGap_m + trailer.size_m.x() / 2;
  // The coupling turns freely.
  const std::vector<double> trailer_yaws =
      PulledHeadings(&hitch, 1.0 + kTrailerGap_m + 0.75 * trailer.size_m.x(), yaw, 0, {});
  for (size_t i = 0; i < path.size(); ++i) {
    trailer.states[i].center_m = hitch[i] - Ahead(trailer_yaws[i]) * to_center +
                                 Eigen::Vector3d(0, 0, trailer.size_m.z() / 2);
    trailer.states[i].yaw_rad = trailer_yaws[i];
  }
  FillMotion(&trailer, step_s);
  actors.push_back(std::move(actor));
  actors.push_back(std::move(trailer));
  return actors;
}

}  // namespace athanor
