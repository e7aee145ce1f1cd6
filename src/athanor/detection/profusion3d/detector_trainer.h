// Trains the detector: driving logs in, weights out. The folder of a run (nn/training_run.h) also
// gets objects.bank (what is pasted), curves.png and, at the end, detector.safetensors.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <string>
#include <vector>

#include "athanor/base/options.h"
#include "athanor/detection/profusion3d/augmentation.h"
#include "athanor/detection/profusion3d/detector_options.h"
#include "athanor/detection/profusion3d/log_detections.h"
#include "athanor/nn/adamw.h"
#include "athanor/nn/process_group.h"

namespace athanor {

struct DetectTrainOptions {
  DetectorOptions model;

  int64_t steps = 2000;
  int batch = 2;  // samples per step, one after the other
  double rate = 1e-3,
         rise = 0.15;  // the highest of one cycle, and its place (OneCycle, nn/adamw.h)
  double weight_decay = 0.01, clip_norm = 35;
  double average = 0.995;  // of the weights, exponentially, per step: these are the result
  bool bfloat16 = true;    // convolutions
  bool dropout = false;    // in the decoder
  // Beside the loss of the queries: of the heat map, which decides where they begin, and of the
  // boxes that proposals would say at the true places.
  double heat_weight = 4, proposal_weight = 1;
  // Of what teaches cameras by themselves: how far pixels are and what they show, as the LiDAR's
  // points say (as in BEVDepth, Li et al., AAAI 2023), and a heat map of cameras alone. Boxes alone
  // take many more samples to teach a camera distance.
  double camera_weight = 5;
  bool cameras_alone = false;  // nothing else: a start for start_from, at a sixth of the work
  int denoising_groups = 2;

  double share = 1;           // of the frames
  bool balanced = true;       // by class
  bool paste = true;          // objects of other frames ...
  double paste_until = 0.75;  // ... in this part of the steps
  bool augment = true;
  AugmentationOptions augmentation;

  std::string start_from;  // weights of a pre-training or of another run; those that fit are taken
  int64_t score_every = 0, score_frames = 50;
  int checkpoint_every = 200, metrics_every = 10;
  int workers = 1;
  std::string device = "cpu";
  int64_t seed = 0;
};
OptionList Describe(DetectTrainOptions& options);

// The presets of configs/detect/: "tiny" trains and runs on a CPU, "small" is for a GPU, "paper"
// the full size. Throws Error for another name.
DetectTrainOptions DetectTrainPreset(const std::string& name);

struct DetectTrainResult {
  int64_t step = 0, parameters = 0, frames = 0;
  double loss = 0;
  // On all frames of `scored_on`, -1 without; mAP also over the classes alone that occur there.
  double mean_ap = -1, nd_score = -1, present_ap = -1;
  bool interrupted = false;
  std::filesystem::path weights;
};

// Trains on all annotated frames of the data sets, and scores on those of `scored_on`, which may be
// empty. With `resume` the run in the folder goes on: the same bytes as if it had never stopped.
// With `group`, which this process leads, each process of it learns from its part of every batch
// (FollowTraining): as one process would, but for the order of sums and for running means, which
// are averaged over the processes.
// Throws Error (path, what) for data, weights or a run that do not fit.
DetectTrainResult TrainDetector(const std::vector<std::filesystem::path>& datasets,
                                const std::vector<std::filesystem::path>& scored_on,
                                const std::filesystem::path& out, const DetectTrainOptions& options,
                                bool resume, const std::function<bool()>& stop = {},
                                ProcessGroup* group = nullptr);

// A short step of a training that somebody else cuts into steps, each with options of its own; the
// shape of the network stays. Parameters, the state of the optimiser and averages go from step to
// step in a checkpoint, as that of a run.
struct DetectStep {
  std::filesystem::path from;  // a checkpoint; empty: a new network, or options.start_from
  int64_t updates = 0;
  // Parameters first become shrink * theirs + perturb * those of a new network; unless that changes
  // nothing, the optimiser and the averages begin anew.
  double shrink = 1, perturb = 0;
  std::vector<std::filesystem::path> datasets;  // of the logs, for the other processes of a group
};
struct DetectStepReport {
  double loss = 0;         // mean over the updates
  double weight_norm = 0;  // of all trained tensors together
};
// At options.rate throughout, nothing pasted; samples come in the order of options.seed. Writes the
// checkpoint. Throws TrainingDiverged, Error.
DetectStepReport TrainDetectorStep(const Logs& logs, const DetectTrainOptions& options,
                                   const DetectStep& step, const std::filesystem::path& checkpoint,
                                   ProcessGroup* group = nullptr);

// Takes part in the trainings and short steps of the group's leader, until the leader ends. The
// data must lie at the same paths. "cuda" is one GPU of this machine's for each process.
void FollowTraining(ProcessGroup& group);

}  // namespace athanor
