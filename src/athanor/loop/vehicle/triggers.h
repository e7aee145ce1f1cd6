// What makes a frame worth keeping, as far as a car can tell: cheap looks at what the small model
// says. Each gives a value of its own, in the units of the bundle, and its reason.
//
//   prototype.NAME   the feature is like one that the cloud asks for: by the cosine of what is left
//                    of both after the mean of what the car has seen
//   event.NAME       the planner says so
//   rule.NAME        a mining rule fires
//   rarity           features like this one are rare (FeatureSketch)
//   scenario         what is there, how near, at which speed: a rare combination (CountMin)
//   margin           the model cannot decide about objects nearby
//   tracks           objects nearby appear or vanish where they cannot
// The last four count by how unusual they are for this car (TailBits), from one in eight on, and by
// what lasts: the mean of a frame's score with that of the frame before or after, whichever is
// more. Dirt on a lens and a detector's blinking are over in one frame; what matters seldom is.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "athanor/geometry/rigid3.h"
#include "athanor/loop/mining/mined_box.h"
#include "athanor/loop/vehicle/bundle.h"
#include "athanor/loop/vehicle/frame_timer.h"
#include "athanor/loop/vehicle/rarity_sketch.h"

namespace athanor {

// A moment as the car sees it.
struct VehicleFrame {
  int64_t number = 0;  // rises by 1
  int64_t clip = 0;    // rises where driving, or the clock, begins anew
  int64_t time_us = 0;
  int64_t bytes = 0;  // of its pictures and sweeps
  Rigid3 world_from_ego;
  double ego_speed_mps = 0;
  std::vector<MinedBox> boxes;  // of the small model, world frame
  std::vector<float> feature;   // of the small model; may be empty
  std::vector<std::string> events;
};

struct TriggerValue {
  int64_t frame = 0;
  std::string reason;
  double value = 0;
};

// Objects that appear or vanish in the middle of what the car sees well.
class TrackWatch {
 public:
  // Sum over those within 30 m of their score times how near they are. 0 where a clip begins.
  double Watch(const VehicleFrame& frame);

 private:
  struct Track {
    MinedBox box;
    Eigen::Vector2d velocity_mps = Eigen::Vector2d::Zero();
    int hits = 1;
  };
  std::vector<Track> tracks_;
  int64_t clip_ = -1, time_us_ = 0;
};

// Not thread-safe.
class Triggers {
 public:
  // `class_names`: of MinedBox::class_index. Throws Error for a rule that does not compile.
  Triggers(const VehicleBundle& bundle, std::vector<std::string> class_names,
           std::function<double()> now_ms = nullptr);
  ~Triggers();

  // Other prototypes, weights, rules and limits; what the car has seen stays seen. Throws Error for
  // a rule that does not compile, and then nothing changes.
  void SetBundle(const VehicleBundle& bundle);

  // Values above 0: of this frame (prototypes, events), and of the frame before it (the others). A
  // stage that fails (a model that says NaN) says so once, and the rest goes on.
  std::vector<TriggerValue> Look(const VehicleFrame& frame);

  // Those for the last frame of a clip.
  std::vector<TriggerValue> EndClip();

  const FrameTimer& timer() const { return timer_; }
  int64_t faults() const { return faults_; }

 private:
  struct RunningRule;
  // A score that is judged one frame later, with its neighbours.
  struct Unusual {
    const char* reason;
    double VehicleBundle::*weight;
    TailBits tail;
    double last = 0, last_pair = 0;
  };
  void Judge(Unusual* unusual, double lasting, std::vector<TriggerValue>* values);
  void JudgeLast(std::vector<TriggerValue>* values);
  void Next(Unusual* unusual, double score, std::vector<TriggerValue>* values);

  double MarginOf(const VehicleFrame& frame) const;
  double ScenarioSurprise(const VehicleFrame& frame);
  void LookAtPrototypes(const VehicleFrame& frame, std::vector<TriggerValue>* values);
  void Guard(const char* what, const std::function<void()>& work);

  std::vector<std::string> class_names_;
  VehicleBundle bundle_;
  FrameTimer timer_;
  int event_stage_, prototype_stage_, rarity_stage_, scenario_stage_, margin_stage_, track_stage_,
      rule_stage_;
  FeatureSketch features_;
  CountMin scenarios_;
  Unusual rarity_{"rarity", &VehicleBundle::rarity, TailBits(24)},
      scenario_{"scenario", &VehicleBundle::scenario, TailBits(24)},
      margin_{"margin", &VehicleBundle::margin, TailBits(4)},
      track_{"tracks", &VehicleBundle::tracks, TailBits(4)};
  int64_t before_ = -1, clip_ = -1;  // the frame that is judged next; -1: none
  TrackWatch track_watch_;
  std::vector<std::unique_ptr<RunningRule>> rules_;
  int64_t faults_ = 0;
};

}  // namespace athanor
