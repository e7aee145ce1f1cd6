#include <algorithm>
#include <cmath>
#include <map>
#include <numbers>
#include <set>
#include <utility>

#include "athanor/base/error.h"
#include "athanor/simulation/traffic/demand.h"
#include "athanor/simulation/traffic/sumo_session.h"
#include "athanor/simulation/traffic/traffic_runs.h"

namespace athanor {
namespace {

struct Sighting {
  Eigen::Vector3d position;
  double yaw_rad, speed_mps;
  int lane;
};

// One car of the first run; `first` is the step (after the warm-up) of its first sighting.
struct Car {
  std::string id;
  int first = 0;
  std::vector<Sighting> sightings;
};

double TurnBetween(double from_rad, double to_rad) {
  return std::remainder(to_rad - from_rad, 2 * std::numbers::pi);
}

// Whether what is wished for happens in [begin, end) of the car's sightings.
bool Fulfils(const RoadNetwork& roads, const Car& car, int begin, int end, double step_s,
             const std::string& wish) {
  const auto& s = car.sightings;
  const int lead = static_cast<int>(1.5 / step_s);
  if (wish == "roundabout") {
    // Comes from outside, goes around, and leaves, all well within the log.
    int inside = 0;
    for (int i = begin; i < end; ++i) {
      const bool circulates = roads.CirculatingRoundabout(s[i].lane) >= 0;
      if (circulates && (i < begin + lead || i >= end - lead)) return false;
      inside += circulates;
    }
    return inside * step_s >= 1.5;
  }
  if (wish == "turn") {
    for (int i = begin + lead; i + lead < end; ++i) {
      if (roads.lanes[std::max(s[i].lane, 0)].from_edge < 0 || s[i].lane < 0) continue;
      const RoadLane& lane = roads.lanes[s[i].lane];
      if (roads.edges[lane.from_edge].roundabout >= 0 ||
          roads.edges[lane.to_edge].roundabout >= 0) {
        continue;
      }
      if (std::abs(TurnBetween(s[i - lead].yaw_rad, s[i + lead].yaw_rad)) > 0.9) return true;
    }
    return false;
  }
  if (wish == "stop") {
    int standing = 0;
    for (int i = begin + lead; i + lead < end; ++i) {
      standing = s[i].speed_mps < 0.1 ? standing + 1 : 0;
      if (standing * step_s >= 2) return true;
    }
    return false;
  }
  if (wish == "lane_change") {
    for (int i = begin + lead; i + lead < end; ++i) {
      const int a = s[i - 1].lane, b = s[i].lane;
      if (a >= 0 && b >= 0 && a != b && roads.lanes[a].edge == roads.lanes[b].edge &&
          !roads.edges[roads.lanes[a].edge].inside_junction) {
        return true;
      }
    }
    return false;
  }
  return true;
}

// A stretch of a car's way that could be a log.
struct Window {
  const Car* car;
  int begin;
};

std::vector<Window> FindWindows(const RoadNetwork& roads, const TrafficOptions& options,
                                const std::map<std::string, Car>& cars, int num_steps) {
  std::vector<Window> windows;
  const double step_s = options.step_s;
  const int margin = static_cast<int>(std::ceil(kMargin_s / step_s));
  const int stride = std::max(1, static_cast<int>(std::lround(1 / step_s)));
  for (const auto& [id, car] : cars) {
    const int count = static_cast<int>(car.sightings.size());
    for (int begin = margin; begin + num_steps + 2 * margin <= count; begin += stride) {
      const int end = begin + num_steps;
      double distance = 0;
      for (int i = begin + 1; i < end; ++i) {
        distance += (car.sightings[i].position - car.sightings[i - 1].position).norm();
      }
      // Somebody who stands in a queue all the time shows nothing.
      if (distance < 1.5 * options.duration_s) continue;
      if (!Fulfils(roads, car, begin, end, step_s, options.wish)) continue;
      windows.push_back({&car, begin});
    }
  }
  return windows;
}

std::vector<Choice> DrawChoices(std::vector<Window> windows, int num_steps, Random* random) {
  std::vector<Choice> choices;
  for (int i = 0; i < 5 && !windows.empty(); ++i) {
    const uint32_t at = random->Below(static_cast<uint32_t>(windows.size()));
    const Window window = windows[at];
    windows.erase(windows.begin() + at);
    Choice choice;
    choice.id = window.car->id;
    choice.start = window.car->first + window.begin;
    for (int step = 0; step < num_steps; ++step) {
      const Sighting& seen = window.car->sightings[window.begin + step];
      ActorState state;
      state.center_m = seen.position;
      state.yaw_rad = seen.yaw_rad;
      state.speed_mps = seen.speed_mps;
      state.lane = seen.lane;
      choice.path.push_back(state);
    }
    choices.push_back(std::move(choice));
  }
  return choices;
}

// Adds what SUMO's cars do in its present step.
void SeeCars(const RoadNetwork& roads, int step, SumoSession* session,
             std::map<std::string, Car>* cars) {
  for (const AthanorSumoActor& actor : session->actors()) {
    if (ClassOfType(actor.type, actor.vehicle_class, actor.is_person != 0) != ActorClass::kCar) {
      continue;
    }
    Car& car = (*cars)[actor.id];
    if (car.sightings.empty()) {
      car.id = actor.id;
      car.first = step;
    }
    // Gone for a while (in a garage, lifted): what was before does not count.
    if (car.first + static_cast<int>(car.sightings.size()) != step) {
      car.first = step;
      car.sightings.clear();
    }
    car.sightings.push_back({{actor.x, actor.y, actor.z},
                             YawOf(actor.angle_deg),
                             actor.speed,
                             roads.FindLane(actor.lane)});
  }
}

}  // namespace

std::vector<Choice> Scout(const TrafficNetwork& network, const TrafficOptions& options,
                          const std::vector<std::string>& arguments, int warm_up, int num_steps,
                          Random* random) {
  // A third of the time is mostly enough, and SUMO takes long.
  constexpr int kParts = 3;
  constexpr size_t kEnoughCars = 4;
  std::map<std::string, Car> cars;
  std::vector<Window> windows;
  const int search = static_cast<int>(std::lround(options.search_s / options.step_s));
  const int margins = 3 * static_cast<int>(std::ceil(kMargin_s / options.step_s));
  SumoSession session(arguments);
  for (int step = 0; step < warm_up; ++step) session.Step();
  for (int part = 1, step = 0; part <= kParts; ++part) {
    for (; step < num_steps + search * part / kParts + margins; ++step) {
      session.Step();
      SeeCars(network.roads, step, &session, &cars);
    }
    windows = FindWindows(network.roads, options, cars, num_steps);
    std::set<const Car*> fit;
    for (const Window& window : windows) fit.insert(window.car);
    if (fit.size() >= kEnoughCars) break;
  }
  ATHANOR_CHECK(!windows.empty(), network.roads.path.string(), ": none of ", cars.size(),
                " cars fits the wish '", options.wish, "' for ", options.duration_s,
                " s; try another seed, more vehicles, a longer search or another network");
  return DrawChoices(std::move(windows), num_steps, random);
}

}  // namespace athanor
