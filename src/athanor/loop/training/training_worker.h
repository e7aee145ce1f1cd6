// One worker of a population's training: takes short steps and evaluations from a queue.
//
//   RUN/results/train-42.json, evaluate-42.json   what came of a job; there once it is done
//   RUN/notes/train-42.NAME                       a worker that crashed or hung at it, and how
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <optional>
#include <string>

#include "athanor/loop/queue/work_queue.h"
#include "athanor/loop/training/member.h"

namespace athanor {

// What a worker is told: nothing else of the run is looked at.
struct TrainingJob {
  enum class Kind { kTrain, kEvaluate };
  Kind kind = Kind::kTrain;
  int64_t member = 0;
  int64_t parent = -1;  // its checkpoint is where training begins; -1: a new network
  HyperParameters hyper;
  ParameterMutation mutation;
  int64_t updates = 0, updates_before = 0;
  uint64_t seed = 0;

  std::string Id() const;  // "train-42"
  std::string Encode() const;
  static TrainingJob Decode(const std::string& json);
};

struct TrainingResult {
  std::string failure;  // not empty: the member has failed
  TrainReport report;   // of a step
  std::string checkpoint_sha256;
  std::map<std::string, double> objectives;  // of an evaluation
  double seconds = 0;
};
// None while the job is not done; a damaged file is taken away, and the job is done again. Throws
// Error.
std::optional<TrainingResult> ReadResult(const std::filesystem::path& run, const std::string& job);

// Says that a worker crashed or hung at a job. A job with so many such notes fails its member.
void NoteDeath(const std::filesystem::path& run, const std::string& job, const std::string& worker,
               const std::string& how);
inline constexpr int kDeathsOfJob = 2;

struct TrainingWorkerOptions {
  WorkQueueOptions queue;
  std::string name;       // unique among all workers
  double limit_s = 3600;  // of a job
  // The process is the worker's own: it is ended when a job takes longer than the limit. In
  // `current`, the job that it is at.
  bool owns_process = false;
  std::filesystem::path current;
  std::function<bool()> stop;  // asked between jobs
};

// Works until the queue is empty (`stop` is not set) or it is told to stop. A member's own failures
// become results; all else throws Error: a full disk, data that cannot be read.
void RunTrainingWorker(const std::filesystem::path& run, Trainable& trainable, WorkQueue& queue,
                       const TrainingWorkerOptions& options);

}  // namespace athanor
