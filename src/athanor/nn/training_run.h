// The folder of a training: config.toml, run.json, metrics.jsonl, checkpoints/, log.txt, and what
// the training makes at the end. Each file is written aside and renamed, or appended line by line,
// so that a run can be killed at any time and goes on from its newest checkpoint.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <optional>
#include <string>

#include "athanor/nn/safetensors.h"

namespace athanor {

// A training, step by step. Functions that are not marked optional must be there.
struct TrainingLoop {
  std::string title;             // beside the progress bar
  int64_t first = 0;             // steps done before
  int64_t steps = 0;             // in all
  int64_t checkpoint_every = 0;  // steps; 0 = only at the end
  int64_t metrics_every = 1;     // steps
  std::function<void()> step;
  std::function<std::string()> note;                 // a few words on how it goes
  std::function<std::string(int64_t step)> metrics;  // a JSON object with "step", one line
  std::function<SafeTensors()> checkpoint;
  std::function<void(int64_t step)> observe;  // optional; after the step's metrics, before the last
  std::function<bool()> stop;                 // optional; asked after each step
};

class TrainingRun {
 public:
  explicit TrainingRun(std::filesystem::path path) : path_(std::move(path)) {}

  const std::filesystem::path& path() const { return path_; }
  std::filesystem::path config() const { return path_ / "config.toml"; }

  // Throws Error when the folder already holds a run.
  void CheckFree() const;
  // Makes the folder and writes config.toml and, unless empty, run.json.
  void Create(const std::string& config_toml, const std::string& run_json) const;

  // Logs a warning when run.json says that the run began with another number of threads, or of
  // processes: what comes of it then differs from an unbroken run's in the last bits.
  void CompareThreads(int processes = 1) const;

  // Keeps the two newest.
  void SaveCheckpoint(int64_t step, const SafeTensors& content) const;
  std::optional<std::filesystem::path> NewestCheckpoint() const;
  // Steps that the newest checkpoint has behind it; 0 without one.
  int64_t CheckpointStep() const;

  // `line` is a JSON object with a "step".
  void AddMetrics(const std::string& line) const;
  // Drops what was recorded after `step`, by a run that was killed later than its checkpoint.
  void TruncateMetrics(int64_t step) const;

  // Runs the steps from `first` on, with progress, metrics and checkpoints, one of them at the end
  // or where it stops. False when `stop` said so before the last step.
  bool Train(const TrainingLoop& loop) const;

 private:
  std::filesystem::path path_;
};

}  // namespace athanor
