// From photographs with poses to a scene of Gaussians (Kerbl et al. 2023), with densification after
// Inria's trainer, AbsGS, or as Markov chain Monte Carlo (Kheradmand et al. 2024).
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <string>

#include "athanor/base/options.h"
#include "athanor/datasets/posed_images.h"

namespace athanor {

struct ReconstructOptions {
  int iterations = 7000;
  std::string strategy = "default";
  std::string device = "cpu";
  int64_t seed = 0;
  // Images.
  std::string clip;  // of a driving data set
  int max_side_px = 960;
  int test_every = 8;
  std::string test_list;
  int64_t cache_mb = 2048;
  bool use_masks = true;
  std::string background = "black";
  // Schedule.
  int coarse_levels = 2;
  int coarse_iterations = 500;
  int sh_degree = 3;
  int sh_interval = 1000;
  int64_t max_gaussians = 0;
  int densify_from = 500;
  int densify_until = 0;
  int densify_every = 100;
  double densify_gradient = 2e-4;
  bool absolute_gradients = false;
  double densify_scale = 0.01;
  double prune_opacity = 0.005;
  double prune_scale = 0.1;
  int opacity_reset_every = 3000;
  // Loss.
  double ssim_weight = 0.2;
  double depth_weight = -1;  // < 0: as the capture is
  bool exposure = false;
  bool antialias = false;
  double opacity_regularizer = 0.01;
  double scale_regularizer = 0.01;
  double noise_rate = 5e5;
  // Learning rates.
  double lr_means = 1.6e-4;
  double lr_means_final = 1.6e-6;
  double lr_scales = 5e-3;
  double lr_quats = 1e-3;
  double lr_opacity = 5e-2;
  double lr_sh_dc = 2.5e-3;
  double lr_sh_rest = 1.25e-4;
  bool visible_only = true;
  // Records.
  int checkpoint_every = 1000;
  int metrics_every = 50;
};

// The one list of fields: flags, TOML, help and documentation.
OptionList Describe(ReconstructOptions& options);

struct ReconstructResult {
  int64_t step = 0;
  int64_t gaussians = 0;
  double seconds = 0;        // of this call, images included
  bool interrupted = false;  // stopped by `stop`; a checkpoint was written
};

// Trains in `run_folder`, which gets config.toml, run.json, metrics.jsonl, checkpoints/, log.txt
// and at the end scene.ply. With `resume`, goes on from the newest checkpoint with the options of
// config.toml; the result is then the same, byte by byte, as that of an unbroken run with as many
// threads. `input` is what ReadPosedImages reads. `stop` is asked after each step. Throws Error.
ReconstructResult Reconstruct(const std::filesystem::path& input,
                              const std::filesystem::path& run_folder,
                              const ReconstructOptions& options, bool resume,
                              const std::function<bool()>& stop = {});

}  // namespace athanor
