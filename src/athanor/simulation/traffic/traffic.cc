// Running the traffic: a first run of SUMO finds the ego vehicle and the stretch of time, a second
// one, equal up to there, plays it with all that we add.

#include "athanor/simulation/traffic/traffic.h"

#include <algorithm>
#include <cmath>
#include <map>

#include "athanor/base/error.h"
#include "athanor/base/files.h"
#include "athanor/base/log.h"
#include "athanor/base/random.h"
#include "athanor/simulation/traffic/demand.h"
#include "athanor/simulation/traffic/long_tail.h"
#include "athanor/simulation/traffic/sumo_files.h"
#include "athanor/simulation/traffic/traffic_runs.h"
#include "athanor/simulation/traffic/trajectories.h"
#include "athanor/simulation/traffic/xml.h"

namespace athanor {
namespace {

namespace fs = std::filesystem;

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
