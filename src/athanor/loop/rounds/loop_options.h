// What a loop is to do: where data come from, which models, what a round may cost.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "athanor/base/options.h"

namespace athanor {

struct LoopOptions {
  int rounds = 3;

  // Driving logs, or a TOML file for `sim street`, which are simulated first. "{round}" in `logs`
  // is the number of the round; simulated ones are other streets each round (seed + round).
  std::string logs;  // what the fleet drives
  std::string home;  // what the first small model learned from, learned again beside what is new
  std::string test;  // with true boxes, none of them seen in training: every model is scored there

  std::string small;           // the first small model: `detect predict --model`
  std::string large = "tiny";  // labels, and says what the small one missed

  std::string words = "animal";  // of what is to be found
  std::string rare = "animal";   // the class that the report looks at

  std::string upload = "all";    // or what a car may send: 10%
  std::string choose = "mined";  // "mined", "random"
  int batch = 40;                // frames that are labelled in a round
  double window_s = 0;           // of each log one frame in so many seconds

  // Who draws the boxes of a batch: "large" alone, or people after it, who are the boxes of the
  // logs themselves.
  std::string labels = "people";
  std::string audited;  // "large": a version of labels whose thresholds say what is accepted

  std::string preset = "micro";  // of `detect train`
  // Where a round's training begins: at the first model, with all that was labelled since, or at
  // the deployed one, which has learned from most of it already.
  std::string start = "first";
  int64_t steps = 150;  // of a round
  double rate = 7e-4;
  // Above 1: a round trains a population of so many (`train population`), each for `steps` in four
  // short steps, at rates around `rate`; the one with the highest sum of the rare class's AP and
  // mAP on `check` is the round's. `check` is like `test`, and is not to be it.
  int members = 1;
  std::string check;
  std::string ranges = "configs/detect/near.json";  // `detect eval --config`
  double tolerance = 0.02;  // of mAP that a new model may lose for what it gains in the rare class

  int workers = 2;    // processes of `infer`
  std::string cells;  // of `infer`, which loops may share; empty: the loop's own
  int64_t seed = 0;
};
OptionList Describe(LoopOptions& options);

// Reads a configuration; paths in it that are not there are looked for beside what comes with the
// program. Throws Error (file, line; or option, expectation).
LoopOptions ReadLoopOptions(const std::filesystem::path& path);
// Throws Error unless all that the options name is there.
void CheckLoopOptions(const LoopOptions& options);

}  // namespace athanor
