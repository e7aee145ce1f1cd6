// A population's training from beginning to end: members are planned, trained and evaluated by
// worker processes, which are watched; what is best is the front.
//
//   RUN/config.toml        as it was given
//   RUN/population.sqlite  members (population_store.h)
//   RUN/checkpoints/       of those that are needed
//   RUN/results/           what workers said, job by job
//   RUN/front.json, ...    the front, when all is done (front_report.h)
//
// A run that is killed, all of it or any worker, goes on by the same call. No step is done twice
// but those that were broken off; synchronous runs end in the same front, bit by bit.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <string>
#include <vector>

#include "athanor/loop/training/population_options.h"
#include "athanor/loop/training/population_store.h"

namespace athanor {

struct PopulationRunOptions {
  int workers = 1;  // processes; 0: the caller's own does the work
  TrainableOpener open;
  // Starts a process that calls RunPopulationWorker with these two: the words of a command line.
  std::function<std::vector<std::string>(const std::filesystem::path& session,
                                         const std::string& worker)>
      worker_command;
  std::string nats;  // URL of a server; empty: the queue is a file on this machine
  // A run of which the front are the first parents here, beside new networks; empty: none.
  std::filesystem::path start_from;
  // Gets the front and its ancestors, models NAME-000042 (RegisterFront); empty: none does.
  std::filesystem::path registry;
  std::string name;
  std::function<bool()> stop;  // asked now and then
  bool show_progress = false;
};

struct PopulationReport {
  int64_t members = 0;  // of the run
  int64_t failed = 0;
  int64_t steps = 0;       // short steps that were done in this call
  double work = 0;         // of all, in the trainable's units
  double hypervolume = 0;  // of the front, objectives scaled
  int64_t deaths = 0;      // workers that were killed, crashed or hung in this call, and replaced
  // Of this call, seconds: on the clock, and of workers at steps and evaluations.
  double wall_s = 0, busy_s = 0;
  std::vector<int64_t> front;       // ids
  std::vector<std::string> models;  // of the front, in the registry
  bool interrupted = false;
};

// Throws Error: a configuration that does not fit, another process that holds the folder, a worker
// that failed for what is no member's fault (a full disk), workers that keep dying.
PopulationReport RunPopulation(const std::filesystem::path& run, const PopulationConfig& config,
                               const PopulationRunOptions& options);

// Brings workers to a run over NATS that another process coordinates, until it is done.
void JoinPopulation(const std::filesystem::path& run, const PopulationRunOptions& options);

// The main function of a worker process; returns its exit status. Ends with its parent.
int RunPopulationWorker(const std::filesystem::path& session, const std::string& worker,
                        const TrainableOpener& open);

// The ids of a store's front so far, smallest first: of an EpsilonArchive, in the order of
// evaluation.
std::vector<int64_t> FrontOf(const std::vector<Member>& members,
                             const std::vector<Objective>& objectives, double epsilon);

}  // namespace athanor
