#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <map>
#include <set>
#include <string_view>
#include <unordered_map>
#include <utility>

#include "athanor/base/error.h"
#include "athanor/simulation/traffic/demand.h"
#include "athanor/simulation/traffic/sumo_session.h"
#include "athanor/simulation/traffic/traffic_runs.h"

namespace athanor {
namespace {

// A vehicle that SUMO moves faster than this has been lifted (teleported), and is another from
// then.
constexpr double kMaxSpeed_mps = 60;
constexpr double kHazardReach_m = 90;

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

}  // namespace

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

}  // namespace athanor
