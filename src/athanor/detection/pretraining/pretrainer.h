// Masked multi-modal pre-training of the detector: before it sees a single box, its encoders,
// mappings and fusion learn to fill in what is hidden from them. Mohan et al. 2024 (ProFusion3D),
// section 3.2; masking.h and objectives.h say what is hidden and what is asked for.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <string>
#include <vector>

#include "athanor/base/options.h"
#include "athanor/base/random.h"
#include "athanor/detection/pretraining/masking.h"
#include "athanor/detection/pretraining/objectives.h"
#include "athanor/detection/profusion3d/detector.h"
#include "athanor/nn/adamw.h"

namespace athanor {

struct PretrainOptions {
  int64_t steps = 20000;
  int batch = 1;
  double rate = 5e-4;  // the highest; it rises over `warmup` steps, then falls as a cosine
  double weight_decay = 0.01, clip_norm = 1;
  int64_t warmup = 500;
  MaskingOptions masking;
  ObjectiveOptions objectives;
  bool augment = true;
  bool bfloat16 = true;  // convolutions
  int64_t seed = 0;
  std::string device = "cpu";
  int workers = 1;
  int64_t checkpoint_every = 500, metrics_every = 10;
};
OptionList Describe(PretrainOptions& options);

// The detector with the decoders of pre-training on top.
class PretrainNetwork {
 public:
  // Throws Error for options that do not fit together.
  PretrainNetwork(const DetectorOptions& detector, const PretrainOptions& options);
  PretrainNetwork(const PretrainNetwork&) = delete;
  PretrainNetwork& operator=(const PretrainNetwork&) = delete;

  const Detector& detector() const { return detector_; }
  // Those of the detector under their names, those of the decoders after "pretrain.".
  Parameters& parameters() { return parameters_; }

  // Without the objective of denoising there is no noise.
  MaskedSample Mask(const DetectionSample& sample, Random* random) const;
  PretrainOutputs Forward(const MaskedSample& sample, bool training) const;

 private:
  PretrainOptions options_;
  Detector detector_;
  Parameters parameters_;
  PretrainHeads heads_;
};

struct PretrainResult {
  int64_t step = 0;
  double loss = 0;  // of the last step
  double seconds = 0;
  bool interrupted = false;  // stopped by `stop`; a checkpoint was written
};

// Trains on the frames of all logs in `log_folders` (OpenLogs), boxes unseen. The run folder gets
// config.toml (both kinds of options), run.json, metrics.jsonl (means since the line before),
// checkpoints/, log.txt and at the end
//   pretrained.safetensors  the detector (Detector::FromSafeTensors), its decoder as it was made
//   pretrained.png          what it makes of a frame, see pictures.h
// With `resume`, goes on from the newest checkpoint with the folders of run.json and the options of
// config.toml; the result is the same, byte by byte, as that of an unbroken run with as many
// threads. `stop` is asked after each step. Throws Error.
PretrainResult PretrainDetector(const std::vector<std::filesystem::path>& log_folders,
                                const std::filesystem::path& run_folder,
                                const DetectorOptions& detector, const PretrainOptions& options,
                                bool resume, const std::function<bool()>& stop = {});

}  // namespace athanor
