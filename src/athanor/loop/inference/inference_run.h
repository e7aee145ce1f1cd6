// An inference from beginning to end: what is missing is shared out to worker processes, which are
// watched, and the table is made.
//
// Workers take the work from a file beside the table, or from a NATS server (`nats`): then any
// number of runs of the same plan, on machines that share the folder, work together. A run that is
// killed is begun again by the same call: no pass is done twice but those that were broken off.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "athanor/loop/inference/inference_plan.h"
#include "athanor/loop/inference/inference_table.h"

namespace athanor {

struct InferenceOptions {
  int workers = 1;  // processes; 0: the caller's own does the work, with `open`
  ModelOpener open;
  // Starts a process that calls RunWorkerProcess with these two: the words of a command line.
  std::function<std::vector<std::string>(const std::filesystem::path& run,
                                         const std::string& worker)>
      worker_command;
  std::string nats;     // URL of a server; empty: a file on this machine
  double lease_s = 60;  // a frame takes less; a worker that is silent for longer loses its work
  bool retry_failed = false;  // frames that failed before are tried again
  bool show_progress = false;
};

struct InferenceReport {
  int64_t cells = 0;   // models x frames
  int64_t reused = 0;  // that were there
  int64_t passes = 0;  // forward passes of this run's workers
  int64_t failed = 0;  // cells
  int64_t deaths = 0;  // workers that were killed, crashed or hung, and were replaced
  // Sums over the workers' passes, seconds: reading, what networks waited for it, passes.
  double read_s = 0, wait_s = 0, forward_s = 0;
  double wall_s = 0;
  std::vector<std::string> dead;  // shards that nobody could work on, one line each
};

// Throws Error: a worker that failed for what is no frame's fault, another run that holds the
// folder, workers that keep dying.
InferenceReport RunInference(const std::filesystem::path& folder, const InferencePlan& plan,
                             const Ensembles& ensembles, const InferenceOptions& options);

// The main function of a worker process; returns its exit status. Ends with its parent.
int RunWorkerProcess(const std::filesystem::path& run, const std::string& worker,
                     const ModelOpener& open);

}  // namespace athanor
