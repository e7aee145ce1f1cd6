// Trains the detector: driving logs in, weights out. The folder of a run (nn/training_run.h) also
// gets objects.bank (what is pasted), curves.png and, at the end, detector.safetensors.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <string>
#include <vector>

#include "athanor/detection/profusion3d/detect_train_options.h"
#include "athanor/detection/profusion3d/log_detections.h"
#include "athanor/nn/adamw.h"  // TrainingDiverged
#include "athanor/nn/process_group.h"

namespace athanor {

struct DetectTrainResult {
  int64_t step = 0, parameters = 0, frames = 0;
  double loss = 0;
  // On all frames of `scored_on`, -1 without; mAP also over the classes alone that occur there.
  double mean_ap = -1, nd_score = -1, present_ap = -1;
  bool interrupted = false;
  std::filesystem::path weights;
};

// What is learned from: driving logs, of which the last `older` are of options.older.
struct TrainingLogs {
  Logs logs;
  int older = 0;
};
TrainingLogs ReadTrainingLogs(const std::vector<std::filesystem::path>& datasets,
                              const DetectTrainOptions& options);

// Trains on all annotated frames of the data sets (and of options.older), and scores on those of
// `scored_on`, which may be empty. With `resume` the run in the folder goes on: the same bytes as
// if it had never stopped. With `group`, which this process leads, each process of it learns from
// its part of every batch (FollowTraining): as one process would, but for the order of sums and for
// running means, which are averaged over the processes. Throws Error (path, what) for data, weights
// or a run that do not fit.
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
  double replace = 0;  // before that, of its hidden units this share (RenewLeastUsed)
  std::vector<std::filesystem::path> datasets;  // of the logs, for the other processes of a group
};
struct DetectStepReport {
  double loss = 0;         // mean over the updates
  double weight_norm = 0;  // of all trained tensors together
  double dormant = 0;      // DormantShare, nn/hidden_units.h
};
// At options.rate throughout, nothing pasted; samples come in the order of options.seed. Writes the
// checkpoint. Throws TrainingDiverged, Error.
DetectStepReport TrainDetectorStep(const TrainingLogs& logs, const DetectTrainOptions& options,
                                   const DetectStep& step, const std::filesystem::path& checkpoint,
                                   ProcessGroup* group = nullptr);

// Takes part in the trainings and short steps of the group's leader, until the leader ends. The
// data must lie at the same paths. "cuda" is one GPU of this machine's for each process.
void FollowTraining(ProcessGroup& group);

}  // namespace athanor
