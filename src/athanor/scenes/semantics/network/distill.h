// Distils the features of 2D models into a network that reads them off the Gaussians alone: after
// training on many lifted scenes it gives features to a scene that has no photographs. Guo et al.
// 2024, "Semantic Gaussians" (arXiv 2403.15624), section III-C.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <string>
#include <vector>

#include "athanor/base/options.h"
#include "athanor/scenes/semantics/semantic_field.h"

namespace athanor {

struct DistillOptions {
  std::string network = "34A";
  std::string input = "gaussian";
  double voxel_size = 0.02;
  int epochs = 100;
  int64_t subset = 80000;
  double lr = 1e-3;
  double weight_decay = 0.01;
  int translate_voxels = 100;
  bool rotate = true, mirror = true, resize = true, elastic = true;
  std::string precision = "float32";
  int64_t seed = 0;
  int checkpoint_every = 50;
  int metrics_every = 1;
};
OptionList Describe(DistillOptions& options);

struct DistillScene {
  std::filesystem::path scene_file;  // Gaussians
  std::filesystem::path field_file;  // their lifted features
};

struct DistillResult {
  int64_t step = 0;
  double loss = 0;  // 1 - cosine, mean over the last epoch that was finished or begun
  double seconds = 0;
  bool interrupted = false;  // stopped by `stop`; a checkpoint was written
};

// Trains in `run_folder`, which gets config.toml, run.json, metrics.jsonl, checkpoints/, log.txt
// and at the end network.safetensors. A step takes one scene, as many of its Gaussians as `subset`
// says, moved at random; those out of the voxels' reach are left out. With `resume`, goes on from
// the newest checkpoint with the scenes of run.json and the options of config.toml; the result is
// the same, byte by byte, as that of an unbroken run with as many threads; with another number of
// them, the log says so. `stop` is asked after each step. Throws Error.
DistillResult Distill(const std::vector<DistillScene>& scenes,
                      const std::filesystem::path& run_folder, const DistillOptions& options,
                      bool resume, const std::function<bool()>& stop = {});

// The features that the network of a finished run, or of a network.safetensors, has for every
// Gaussian of a scene; those out of the voxels' reach are unseen. precision: "float32" or
// "bfloat16". Throws Error.
SemanticField PredictField(const std::filesystem::path& scene_file,
                           const std::filesystem::path& run_or_network,
                           const std::string& precision);

}  // namespace athanor
