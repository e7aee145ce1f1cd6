// How the detector is trained: the network, steps, losses, what becomes of the samples.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "athanor/base/options.h"
#include "athanor/detection/profusion3d/augmentation.h"
#include "athanor/detection/profusion3d/detector_options.h"

namespace athanor {

struct DetectTrainOptions {
  DetectorOptions model;

  int64_t steps = 2000;
  int batch = 2;  // samples per step, one after the other
  double rate = 1e-3,
         rise = 0.15;  // the highest of one cycle, and its place (OneCycle, nn/adamw.h)
  double weight_decay = 0.01, clip_norm = 35;
  double average = 0.995;  // of the weights, exponentially, per step: these are the result
  bool bfloat16 = true;    // convolutions
  bool dropout = false;    // in the decoder
  // Beside the loss of the queries: of the heat map, which decides where they begin, and of the
  // boxes that proposals would say at the true places.
  double heat_weight = 4, proposal_weight = 1;
  // Of what teaches cameras by themselves: how far pixels are and what they show, as the LiDAR's
  // points say (as in BEVDepth, Li et al., AAAI 2023), and a heat map of cameras alone. Boxes alone
  // take many more samples to teach a camera distance.
  double camera_weight = 5;
  bool cameras_alone = false;  // nothing else: a start for start_from, at a sixth of the work
  int denoising_groups = 2;

  double share = 1;           // of the frames
  std::string older;          // logs that were learned from before, PATH,PATH,...
  double replay = 0.5;        // share of the samples that are of these
  bool balanced = true;       // by class
  bool paste = true;          // objects of other frames ...
  double paste_until = 0.75;  // ... in this part of the steps
  bool augment = true;
  AugmentationOptions augmentation;

  std::string start_from;  // weights of a pre-training or of another run; those that fit are taken
  int64_t score_every = 0, score_frames = 50;
  int checkpoint_every = 200, metrics_every = 10;
  int workers = 1;
  std::string device = "cpu";
  int64_t seed = 0;
};
OptionList Describe(DetectTrainOptions& options);
// "a,b": a and b.
std::vector<std::filesystem::path> SplitPaths(const std::string& text);

// The presets of configs/detect/: "tiny" trains and runs on a CPU, "small" is for a GPU, "paper"
// the full size. Throws Error for another name.
DetectTrainOptions DetectTrainPreset(const std::string& name);

}  // namespace athanor
