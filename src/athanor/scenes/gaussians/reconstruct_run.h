// The folder of a reconstruction: a TrainingRun (nn/training_run.h) that ends in scene.ply.
#pragma once

#include <cstdint>
#include <filesystem>

#include "athanor/nn/training_run.h"
#include "athanor/scenes/gaussians/trainer.h"

namespace athanor {

// Where a run puts its scene: scene.ply.
std::filesystem::path SceneOfRun(const std::filesystem::path& run_folder);

// Makes the folder and writes config.toml and run.json.
void CreateReconstructRun(const TrainingRun& run, const std::filesystem::path& input,
                          const ReconstructOptions& options);

// What a run folder says about itself.
struct RunInfo {
  std::filesystem::path input;
  ReconstructOptions options;
  int64_t step = 0;
  std::filesystem::path scene;  // scene.ply
};
// Throws Error when the folder holds no reconstruction.
RunInfo ReadRun(const std::filesystem::path& run_folder);

// The images that are trained on and those held out, as the options say.
Split MakeSplit(const PosedImages& posed, const ReconstructOptions& options);

}  // namespace athanor
