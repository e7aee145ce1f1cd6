// The folder of a reconstruction run: config.toml, run.json, metrics.jsonl, checkpoints/, log.txt,
// scene.ply. Each file is written aside and renamed, or appended line by line.
#pragma once

#include <filesystem>
#include <optional>
#include <string>

#include "athanor/nn/safetensors.h"
#include "athanor/scenes/gaussians/trainer.h"

namespace athanor {

class RunFolder {
 public:
  explicit RunFolder(std::filesystem::path path) : path_(std::move(path)) {}

  const std::filesystem::path& path() const { return path_; }
  std::filesystem::path scene() const { return path_ / "scene.ply"; }

  // Throws Error when the folder already holds a run.
  void CheckFree() const;
  // Makes the folder and writes config.toml and run.json.
  void Create(const std::filesystem::path& input, const ReconstructOptions& options) const;

  // Keeps the two newest.
  void SaveCheckpoint(int64_t step, const SafeTensors& content) const;
  std::optional<std::filesystem::path> NewestCheckpoint() const;

  // `line` is a JSON object with a "step".
  void AddMetrics(const std::string& line) const;
  // Drops what was recorded after `step`, by a run that was killed later than its checkpoint.
  void TruncateMetrics(int64_t step) const;

 private:
  std::filesystem::path path_;
};

// The images that are trained on and those held out, as the options say.
Split MakeSplit(const PosedImages& posed, const ReconstructOptions& options);

}  // namespace athanor
