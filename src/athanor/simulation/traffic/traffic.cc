// Running the traffic: a first run of SUMO finds the ego vehicle and the stretch of time, a second
// one, equal up to there, plays it with all that we add.

#include "athanor/simulation/traffic/traffic.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <map>
#include <numbers>
#include <set>
#include <unordered_map>

#include "athanor/base/error.h"
#include "athanor/base/files.h"
#include "athanor/base/log.h"
#include "athanor/base/random.h"
#include "athanor/simulation/traffic/demand.h"
#include "athanor/simulation/traffic/long_tail.h"
#include "athanor/simulation/traffic/sumo_files.h"
#include "athanor/simulation/traffic/sumo_session.h"
#include "athanor/simulation/traffic/trajectories.h"
#include "athanor/simulation/traffic/xml.h"

namespace athanor {
namespace {

namespace fs = std::filesystem;

// Steps recorded before and after the log, so that smoothing has both sides.
constexpr double kMargin_s = 1;
// A vehicle that SUMO moves faster than this has been lifted (teleported), and is another from
// then.
constexpr double kMaxSpeed_mps = 60;
constexpr double kHazardReach_m = 90;

double YawOf(double sumo_angle_deg) {
  return std::remainder((90 - sumo_angle_deg) * std::numbers::pi / 180, 2 * std::numbers::pi);
}

// Detectors and the like write files beside the user's network; nobody wants those here.
bool WritesFiles(const fs::path& additional) {
  bool writes = false;
  VisitXml(ReadFile(additional), additional.string(), [&](const XmlElement& element) {
    writes |= element.depth() == 1 && (element.Has("file") || element.Has("dest"));
  });
  return writes;
}

std::string JoinPaths(const std::vector<fs::path>& paths, SumoFiles* files) {
  std::string text;
  for (const fs::path& path : paths) {
    if (!text.empty()) text += ',';
    text += files->Plain(path).string();
  }
  return text;
}

// SUMO takes seeds of 31 bits.
std::string SumoSeed(int64_t seed) {
  return std::to_string(MixBits(static_cast<uint64_t>(seed)) & 0x7fffffff);
}

std::vector<std::string> Arguments(const TrafficNetwork& network, const TrafficOptions& options,
                                   const fs::path& demand, SumoFiles* files) {
  std::vector<fs::path> routes = {demand}, additional;
  routes.insert(routes.end(), network.route_files.begin(), network.route_files.end());
  for (const fs::path& file : network.additional_files) {
    if (!WritesFiles(file)) additional.push_back(file);
  }
  std::vector<std::string> arguments = {"--net-file", files->Plain(network.roads.path).string(),
                                        "--route-files", JoinPaths(routes, files)};
  if (!additional.empty()) {
    arguments.insert(arguments.end(), {"--additional-files", JoinPaths(additional, files)});
  }
  arguments.insert(arguments.end(), {"--begin",
                                     StrCat(network.begin_s),
                                     "--step-length",
                                     StrCat(options.step_s),
                                     "--seed",
                                     SumoSeed(options.seed),
                                     "--threads",
                                     "1",
                                     "--no-step-log",
                                     "true",
                                     "--no-warnings",
                                     "true",
                                     "--duration-log.disable",
                                     "true",
                                     "--time-to-teleport",
                                     "-1",
                                     "--ignore-route-errors",
                                     "true",
                                     "--collision.action",
                                     "none",
                                     "--max-depart-delay",
                                     "60",
                                     "--xml-validation",
                                     "never",
                                     "--xml-validation.net",
                                     "never"});
  if (options.sublane) {
    arguments.insert(arguments.end(), {"--lateral-resolution", "0.8"});
  } else {
    arguments.insert(arguments.end(), {"--lanechange.duration", "2.5"});
  }
  return arguments;
}

// ---- the first run: who could be the ego vehicle, and when ----

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

struct Choice {
  std::string id;
  int start = 0;                 // step after the warm-up at which the log begins
  std::vector<ActorState> path;  // as it would drive undisturbed
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

// ---- the second run ----

// Slows down whoever comes to a hazard, as hard as it takes, and lets go of them afterwards.
class Drivers {
 public:
  Drivers(const RoadNetwork& roads, const std::vector<RoadHazard>& hazards, double step_s)
      : roads_(roads), hazards_(hazards), step_s_(step_s) {}

  void React(SumoSession* session, double time_s) {
    std::set<std::string> limited;
    const SumoSession::Actors actors = session->actors();
    for (const AthanorSumoActor& actor : actors) {
      if (actor.is_person) continue;
      const double speed = actor.speed;
      double wanted = -1;
      for (const RoadHazard& hazard : hazards_) {
        if (time_s < hazard.begin_s || time_s >= hazard.end_s) continue;
        const RoadEdge& edge = roads_.edges[hazard.edge];
        const RoadLane& lane = roads_.lanes[edge.lanes.back()];
        const LinePoint at = PointOnLine(lane.shape, hazard.position_m);
        if (std::hypot(at.position.x() - actor.x, at.position.y() - actor.y) >
            kHazardReach_m + hazard.length_m) {
          continue;
        }
        const double allowed = Allowed(session, hazard, edge, actor);
        if (allowed >= 0 && (wanted < 0 || allowed < wanted)) wanted = allowed;
      }
      if (wanted < 0) continue;
      session->LimitSpeed(actor.id, std::min(wanted, speed + 2.0 * step_s_));
      limited.insert(actor.id);
    }
    for (const std::string& id : limited_) {
      if (limited.count(id)) continue;
      // It may have left the simulation since.
      const bool there = std::any_of(actors.begin(), actors.end(),
                                     [&](const auto& actor) { return id == actor.id; });
      if (there) session->LimitSpeed(id.c_str(), -1);
    }
    limited_ = std::move(limited);
  }

 private:
  // The speed that a hazard leaves a vehicle in the next step; negative: any.
  double Allowed(SumoSession* session, const RoadHazard& hazard, const RoadEdge& edge,
                 const AthanorSumoActor& actor) const {
    constexpr double kComfort_mps2 = 1.8, kHardest_mps2 = 7.5, kGap_m = 1.5;
    if (hazard.speed_mps > 0 && actor.lane == LaneOn(edge, actor) &&
        actor.lane_position >= hazard.position_m &&
        actor.lane_position - actor.length < hazard.position_m + hazard.length_m) {
      return std::max(hazard.speed_mps, actor.speed - kComfort_mps2 * step_s_);
    }
    // On any lane of the edge: people in the road stop them all.
    const int lane = static_cast<int>(edge.lanes.size()) - 1;
    const double way = session->DrivingDistance(actor.id, edge.id.c_str(), hazard.position_m, lane);
    if (way < 0 || way > kHazardReach_m) return -1;
    const double room = way - kGap_m;
    const double slower = actor.speed * actor.speed - hazard.speed_mps * hazard.speed_mps;
    if (slower <= 0) {
      if (hazard.speed_mps > 0) return way < 15 ? hazard.speed_mps : -1;
      return room < 1 ? 0 : -1;
    }
    const double needed = room > 0.05 ? slower / (2 * room) : kHardest_mps2;
    // Nobody brakes early; whoever brakes goes on until it is enough.
    if (needed < kComfort_mps2 && !limited_.count(actor.id)) return -1;
    const double brake = std::min(needed * 1.05, kHardest_mps2);
    return std::max(hazard.speed_mps, actor.speed - brake * step_s_);
  }

  // The actor's own lane id when it is on this edge; else one that equals no lane.
  static std::string_view LaneOn(const RoadEdge& edge, const AthanorSumoActor& actor) {
    const std::string_view lane = actor.lane;
    const size_t end = lane.rfind('_');
    return end != lane.npos && lane.substr(0, end) == edge.id ? lane : std::string_view("?");
  }

  const RoadNetwork& roads_;
  const std::vector<RoadHazard>& hazards_;
  const double step_s_;
  std::set<std::string> limited_;
};

struct Recording {
  std::vector<RawTrack> tracks;  // steps counted from `margin` steps before the log
  std::vector<LightChange> lights;
};

Recording Play(const TrafficNetwork& network, const TrafficOptions& options,
               const std::vector<std::string>& arguments, int warm_up, int num_steps,
               const Choice& choice, const std::vector<RoadHazard>& hazards) {
  Recording recording;
  const int margin = static_cast<int>(std::ceil(kMargin_s / options.step_s));
  const int first = warm_up + choice.start - margin;  // the first recorded step
  const int total = num_steps + 2 * margin;
  SumoSession session(arguments);
  Drivers drivers(network.roads, hazards, options.step_s);
  std::unordered_map<std::string, int> track_by_id;
  std::map<std::string, std::string> light_states;
  std::map<std::string, int> light_index;
  for (size_t i = 0; i < network.roads.lights.size(); ++i) {
    light_index[network.roads.lights[i]] = static_cast<int>(i);
  }
  for (int step = 0; step < first; ++step) session.Step();
  for (int step = 0; step < total; ++step) {
    session.Step();
    for (const AthanorSumoActor& actor : session.actors()) {
      RawState state;
      state.position = {actor.x, actor.y, actor.z};
      state.yaw_rad = YawOf(actor.angle_deg);
      state.speed_mps = actor.speed;
      state.lane = network.roads.FindLane(actor.lane);
      state.signals = actor.signals;
      int& index = track_by_id.emplace(actor.id, -1).first->second;
      bool goes_on = false;
      int part = 0;
      if (index >= 0) {
        const RawTrack& track = recording.tracks[index];
        const double moved = (track.states.back().position - state.position).norm();
        goes_on = track.first_step + static_cast<int>(track.states.size()) == step &&
                  moved < (actor.is_person ? 10 : kMaxSpeed_mps) * options.step_s + 0.5;
        const size_t mark = track.id.rfind('#');
        part = mark == track.id.npos ? 1 : std::atoi(track.id.c_str() + mark + 1);
      }
      if (!goes_on) {
        index = static_cast<int>(recording.tracks.size());
        RawTrack track;
        track.id = part == 0 ? std::string(actor.id) : StrCat(actor.id, "#", part + 1);
        track.actor_class = ClassOfType(actor.type, actor.vehicle_class, actor.is_person != 0);
        track.size_m = {actor.length, actor.width, actor.height};
        track.first_step = step;
        recording.tracks.push_back(std::move(track));
      }
      recording.tracks[index].states.push_back(state);
    }
    for (const AthanorSumoLight& light : session.lights()) {
      const auto found = light_index.find(light.id);
      if (found == light_index.end()) continue;
      std::string& last = light_states[light.id];
      if (last == light.state) continue;
      last = light.state;
      recording.lights.push_back({found->second, step, light.state});
    }
    drivers.React(&session, (step - margin) * options.step_s);
  }
  return recording;
}

// Keeps the steps [margin, margin + num_steps) and counts them from 0.
void Crop(TrafficActor* actor, int margin, int num_steps) {
  const int first = actor->first_step - margin;
  const int begin = std::max(0, -first);
  const int end = std::min<int>(static_cast<int>(actor->states.size()), num_steps - first);
  if (begin >= end) {
    actor->states.clear();
    return;
  }
  actor->states =
      std::vector<ActorState>(actor->states.begin() + begin, actor->states.begin() + end);
  actor->first_step = std::max(first, 0);
}

// From the first to the last step at which the actor is near the ego vehicle; nothing when never.
bool CropToArea(const TrafficActor& ego, double area_m, TrafficActor* actor) {
  const bool still = actor->states.size() == 1 && (actor->parked || actor->is_static);
  int first = -1, last = -1;
  const int n =
      still ? static_cast<int>(ego.states.size()) : static_cast<int>(actor->states.size());
  for (int i = 0; i < n; ++i) {
    const ActorState& state = actor->states[still ? 0 : i];
    const ActorState& center = ego.states[still ? i : actor->first_step + i];
    if ((state.center_m - center.center_m).head<2>().norm() > area_m) continue;
    if (first < 0) first = i;
    last = i;
  }
  if (first < 0) return false;
  if (still) return true;
  actor->states =
      std::vector<ActorState>(actor->states.begin() + first, actor->states.begin() + last + 1);
  actor->first_step += first;
  return true;
}

bool WalkedThrough(const TrafficActor& thing, const std::vector<TrafficActor>& actors,
                   size_t num_actors) {
  constexpr double kShoulder_m = 0.3;
  const ActorState& at = thing.states[0];
  const Box3 box =
      MakeBox3(at.center_m, thing.size_m + Eigen::Vector3d(2 * kShoulder_m, 2 * kShoulder_m, 20),
               at.yaw_rad);
  for (size_t i = 0; i < num_actors; ++i) {
    if (actors[i].actor_class != ActorClass::kPedestrian) continue;
    for (const ActorState& state : actors[i].states) {
      if (box.Contains(state.center_m)) return true;
    }
  }
  return false;
}

// The lights as of the log: one state at step 0, then the changes.
std::vector<LightChange> CropLights(const std::vector<LightChange>& lights, int margin,
                                    int num_steps) {
  std::map<int, std::string> before;
  std::vector<LightChange> later;
  for (const LightChange& change : lights) {
    const int step = change.step - margin;
    if (step <= 0) {
      before[change.light] = change.state;
    } else if (step < num_steps) {
      later.push_back({change.light, step, change.state});
    }
  }
  std::vector<LightChange> result;
  for (const auto& [light, state] : before) result.push_back({light, 0, state});
  result.insert(result.end(), later.begin(), later.end());
  return result;
}

bool Assemble(const RoadNetwork& roads, const TrafficOptions& options, const Recording& recording,
              const LongTailPlan& plan, const Choice& choice, int num_steps, TrafficLog* log) {
  const int margin = static_cast<int>(std::ceil(kMargin_s / options.step_s));
  log->step_s = options.step_s;
  log->num_steps = num_steps;
  log->actors.clear();
  log->ego = -1;
  for (const RawTrack& raw : recording.tracks) {
    RawTrack track = raw;
    if (IsVehicle(track.actor_class)) AvoidIntrusions(roads, plan.intrusions, &track);
    std::vector<TrafficActor> actors = SmoothTrack(track, options.step_s);
    const int group = actors.size() > 1 ? 1000 + static_cast<int>(log->actors.size()) : -1;
    for (TrafficActor& actor : actors) {
      Crop(&actor, margin, num_steps);
      if (actor.states.empty()) continue;
      actor.group = group;
      if (actor.id == choice.id && static_cast<int>(actor.states.size()) == num_steps) {
        log->ego = static_cast<int>(log->actors.size());
      }
      log->actors.push_back(std::move(actor));
    }
  }
  if (log->ego < 0) return false;
  // What stands on a sidewalk has no place where SUMO's walkers, who do not know of it, go.
  const size_t num_recorded = log->actors.size();
  for (const TrafficActor& actor : plan.actors) {
    const bool on_sidewalk =
        actor.actor_class == ActorClass::kBicycleRack || actor.actor_class == ActorClass::kPushable;
    if (on_sidewalk && WalkedThrough(actor, log->actors, num_recorded)) continue;
    log->actors.push_back(actor);
  }
  const TrafficActor ego = log->actors[log->ego];
  std::vector<TrafficActor> kept;
  int kept_ego = 0;
  for (size_t i = 0; i < log->actors.size(); ++i) {
    TrafficActor& actor = log->actors[i];
    if (!CropToArea(ego, options.area_m, &actor)) continue;
    if (static_cast<int>(i) == log->ego) kept_ego = static_cast<int>(kept.size());
    kept.push_back(std::move(actor));
  }
  log->ego = kept_ego;
  log->actors = std::move(kept);
  log->lights = CropLights(recording.lights, margin, num_steps);
  return true;
}

}  // namespace

void Describe(TrafficOptions& o, OptionList& list) {
  list.Add("seed", &o.seed, "equal seeds make equal traffic", {.min = 0});
  list.Add("seconds", &o.duration_s, "length of a log", {.min = 1, .max = 3600});
  list.Add("step", &o.step_s, "seconds from one state of the traffic to the next",
           {.min = 0.02, .max = 0.5});
  list.Add("warm-up", &o.warm_up_s, "seconds of traffic before a log may begin",
           {.min = 0, .max = 36000});
  list.Add("search", &o.search_s,
           "a log begins within so many seconds after the warm-up; a third of them is tried first",
           {.min = 1, .max = 3600});
  list.Add("area", &o.area_m, "actors within so many metres of the ego vehicle are in the log",
           {.min = 10, .max = 5000});
  list.Add("wish", &o.wish, "what the ego vehicle shall do",
           {.choices = {"any", "roundabout", "turn", "stop", "lane_change"}});
  list.Add("vehicles", &o.vehicles, "motor vehicles per minute and kilometre of road",
           {.min = 0, .max = 200});
  list.Add("pedestrians", &o.pedestrians, "walkers per minute and kilometre of sidewalk",
           {.min = 0, .max = 500});
  list.Add("bicycles", &o.bicycles, "bicycles per minute and kilometre of road",
           {.min = 0, .max = 200});
  list.Add("heavy", &o.heavy, "share of vans, trucks, buses and trailers", {.min = 0, .max = 1});
  list.Add("motorcycles", &o.motorcycles, "share of motorcycles", {.min = 0, .max = 1});
  list.Add("parked", &o.parked, "share of the places at the kerb that are taken",
           {.min = 0, .max = 1});
  list.Add("sublane", &o.sublane, "vehicles move sideways within their lanes");
  const char* const per_log = "; how many to expect in 20 s";
  list.Add("dogs", &o.dogs, StrCat("dogs, half of them on a lead", per_log), {.min = 0, .max = 50});
  list.Add("sheep", &o.sheep, StrCat("flocks of sheep that cross the road", per_log),
           {.min = 0, .max = 10});
  list.Add("jaywalkers", &o.jaywalkers, StrCat("people who cross anywhere", per_log),
           {.min = 0, .max = 50});
  list.Add("bags", &o.bags, StrCat("plastic bags in the wind", per_log), {.min = 0, .max = 50});
  list.Add("road-works", &o.road_works,
           StrCat("road works (cones, barriers, workers, an excavator)", per_log),
           {.min = 0, .max = 10});
  list.Add("cargo", &o.cargo, StrCat("fallen cargo on the road", per_log), {.min = 0, .max = 10});
  list.Add("shrubs", &o.shrubs, StrCat("low shrubs at the roadside", per_log),
           {.min = 0, .max = 150});
  list.Add("small-wheels", &o.small_wheels, StrCat("strollers, wheelchairs and scooters", per_log),
           {.min = 0, .max = 50});
  list.Add("bicycle-racks", &o.bicycle_racks, StrCat("bicycle racks on sidewalks", per_log),
           {.min = 0, .max = 50});
  list.Add("bins", &o.bins, StrCat("groups of bins on sidewalks", per_log), {.min = 0, .max = 50});
}

TrafficLog RunTraffic(const TrafficNetwork& network, const TrafficOptions& options) {
  ATHANOR_CHECK(options.step_s > 0 && options.duration_s >= options.step_s,
                "traffic: expected a positive step and a duration of at least one, found ",
                options.step_s, " and ", options.duration_s);
  const int num_steps = static_cast<int>(std::lround(options.duration_s / options.step_s)) + 1;
  const int margin = static_cast<int>(std::ceil(kMargin_s / options.step_s));
  const int warm_up =
      std::max(static_cast<int>(std::lround(options.warm_up_s / options.step_s)), margin);
  SumoFiles files;
  const fs::path demand = files.folder() / "demand.rou.xml";
  const double end_s =
      network.begin_s + options.warm_up_s + options.search_s + options.duration_s + 4 * kMargin_s;
  WriteFile(demand, MakeDemand(network.roads, options, network.begin_s, end_s,
                               network.route_files.empty()));
  const std::vector<std::string> arguments = Arguments(network, options, demand, &files);

  Random random(MixBits(static_cast<uint64_t>(options.seed)) ^ 0x65676f);
  const std::vector<Choice> choices =
      Scout(network, options, arguments, warm_up, num_steps, &random);
  for (const Choice& choice : choices) {
    const LongTailPlan plan = PlanLongTail(network.roads, options, choice.path, num_steps, &random);
    const Recording recording =
        Play(network, options, arguments, warm_up, num_steps, choice, plan.hazards);
    TrafficLog log;
    // What we added may have let the ego vehicle reach its goal early: then the next one.
    if (!Assemble(network.roads, options, recording, plan, choice, num_steps, &log)) continue;
    log.tags = ComputeTags(network.roads, log);
    return log;
  }
  throw Error(StrCat(network.roads.path.string(), ": no car stays for ", options.duration_s,
                     " s; try another seed"));
}

}  // namespace athanor
