// The two runs of SUMO that a log takes: the first finds the ego vehicle and the stretch of time
// (scout.cc), the second, equal up to there, plays it with all that we add (play.cc). Internal to
// traffic/.
#pragma once

#include <cmath>
#include <numbers>
#include <string>
#include <vector>

#include "athanor/base/random.h"
#include "athanor/simulation/traffic/long_tail.h"
#include "athanor/simulation/traffic/traffic.h"
#include "athanor/simulation/traffic/trajectories.h"

namespace athanor {

// Steps recorded before and after the log, so that smoothing has both sides.
inline constexpr double kMargin_s = 1;

inline double YawOf(double sumo_angle_deg) {
  return std::remainder((90 - sumo_angle_deg) * std::numbers::pi / 180, 2 * std::numbers::pi);
}

// Who could be the ego vehicle, and when.
struct Choice {
  std::string id;
  int start = 0;                 // step after the warm-up at which the log begins
  std::vector<ActorState> path;  // as it would drive undisturbed
};

// Up to five, in the order in which they shall be tried. `arguments` as of the program sumo. Throws
// Error when no car fits the wish.
std::vector<Choice> Scout(const TrafficNetwork& network, const TrafficOptions& options,
                          const std::vector<std::string>& arguments, int warm_up, int num_steps,
                          Random* random);

struct Recording {
  std::vector<RawTrack> tracks;  // steps counted from `margin` steps before the log
  std::vector<LightChange> lights;
};

// From kMargin_s before the log to kMargin_s after it.
Recording Play(const TrafficNetwork& network, const TrafficOptions& options,
               const std::vector<std::string>& arguments, int warm_up, int num_steps,
               const Choice& choice, const std::vector<RoadHazard>& hazards);

}  // namespace athanor
