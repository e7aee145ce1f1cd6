// All that `train population` can train.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "athanor/base/options.h"
#include "athanor/detection/profusion3d/detector_trainer.h"
#include "athanor/loop/training/trainable.h"

namespace athanor {

// As a TrainableOpener: "stream" (stream_problem.h) or "detector". `follower` starts the other
// processes of a step that several take together. Throws Error for another kind, or a table that
// does not fit.
std::unique_ptr<Trainable> OpenTrainable(const std::string& kind, std::string_view toml,
                                         std::string_view name,
                                         const FollowerCommand& follower = {});

// Our LiDAR-camera detector.
struct DetectorTrainableOptions {
  std::string data, scored_on;    // driving logs to learn from and to score on: PATH,PATH,...
  std::string preset;             // of configs/detect, or a TOML file as `detect train` takes it
  std::string rare = "animal";    // class of nuScenes whose precision is an objective
  double most_cost = 20;          // giga multiply-adds of a frame: the worst
  double most_latency_ms = 1000;  // of a frame: the worst
  int processes = 1;              // of a step, each with a part of the batch (ProcessGroup)
  // The preset, and what was changed of it. `score_frames` counts; `paste` and `steps` do not.
  DetectTrainOptions training;
};
OptionList Describe(DetectorTrainableOptions& options);
// The table [detector]: these options, and any of `detect train` beside them. Throws Error.
DetectorTrainableOptions ParseDetectorTrainable(std::string_view toml, std::string_view name);

// Objectives: "rare_ap", "map" (over the classes with true boxes), "cost" (multiply-adds of a
// frame in dense layers, counted: the same on every machine), "latency_ms" (median of a frame's
// passes on this machine, on the threads that the program has: another number each time, so that
// runs which use it are not reproducible). Hyper-parameters: any option of `detect train` that
// changes the network (then fixed = true) or the training. The rate does not follow a cycle: how it
// changes is what the population finds out. Objects are not pasted. Logs are read when the first
// step or evaluation needs them.
std::unique_ptr<Trainable> MakeDetectorTrainable(const DetectorTrainableOptions& options,
                                                 const FollowerCommand& follower = {});

}  // namespace athanor
