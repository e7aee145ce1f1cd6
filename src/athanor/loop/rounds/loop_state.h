// How far a loop has come: FOLDER/state.json, written aside and renamed after each stage.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <string>
#include <vector>

namespace athanor {

// A stage that is done.
struct LoopStageRecord {
  std::string name;
  double seconds = 0;
};

struct LoopRoundRecord {
  std::vector<LoopStageRecord> stages;
  // Of the model that the round trained, by name: "mAP", "NDS", and a class's AP by its name.
  std::map<std::string, double> scores;
  std::string weights;       // file of the model; of round 0 the first model
  bool is_promoted = false;  // deployed from here on
  std::string decision;      // in words
  int64_t frames = 0;        // labelled
  // Frames with a box of the rare class, of the batch and of all that the lake has, as the logs'
  // own boxes say; -1: they have none.
  int64_t rare_in_batch = -1, rare_frames = -1, lake_frames = -1;

  bool Has(const std::string& stage) const;
};

struct LoopState {
  std::vector<LoopRoundRecord> rounds;  // 0: the first model

  // The weights that are deployed before `round`.
  const std::string& Deployed(size_t round) const;
  const LoopRoundRecord& DeployedRound(size_t round) const;
};

// Empty when the folder has none. Throws Error (path, expectation).
LoopState ReadLoopState(const std::filesystem::path& folder);
void WriteLoopState(const std::filesystem::path& folder, const LoopState& state);

}  // namespace athanor
