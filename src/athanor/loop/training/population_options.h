// What a population's training is asked to do: the root of its TOML file.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include "athanor/base/options.h"
#include "athanor/loop/training/search_space.h"
#include "athanor/loop/training/trainable.h"

namespace athanor {

struct PopulationOptions {
  std::string trainable = "stream";  // "stream" or "detector": a table of its own tells it more
  std::string objectives;            // names, of one to three; empty: all of the trainable's
  std::string strategy = "pareto";   // "pareto", "pbt", "asha", "random"
  int population = 8;
  int64_t budget = 96;    // short steps in all, which is members
  int64_t updates = 100;  // of a short step
  bool synchronous = true;
  int64_t seed = 0;

  // Of hyper-parameters (strategies pareto and pbt). A parent's first child explores with this
  // probability, later ones always do; others draw anew or cross.
  double explore = 0.5, resample = 0.25, cross = 0.2;
  double newborn = 0.05;  // probability that a member is a new network (pareto)
  // Of parameters (pareto): how often, and how far at most (ParameterMutation).
  double mutate = 0.1, shrink = 0.7, perturb = 0.1, replace = 0.1;

  std::string weights;    // of the scaled objectives' sum that pbt goes by; empty: all the same
  int eta = 3;            // of asha: one of so many is promoted
  double epsilon = 0;     // of the front: boxes, in scaled objectives; 0: all that is not dominated
  bool keep_all = false;  // checkpoints that nothing needs any more stay
  double lease_s = 10;    // a worker that is silent for so long has lost its work
  double limit_s = 3600;  // that a short step or an evaluation may take
};
OptionList Describe(PopulationOptions& options);

struct PopulationConfig {
  PopulationOptions options;
  SearchSpace space;
  std::string toml, name;  // the text, and what messages call it
};
// `name` is what messages call the text. Throws Error (name, line) for keys and tables that nobody
// knows, and empty ranges.
PopulationConfig ParsePopulationConfig(std::string toml, const std::string& name);

// Those of the trainable that `names` ("a,b") chooses, in the order there.
std::vector<Objective> ChooseObjectives(const std::vector<Objective>& all,
                                        const std::string& names);
// Numbers of "0.5,1", as many as there are objectives; all 1 for an empty text.
std::vector<double> ParseWeights(const std::string& text, size_t count);

}  // namespace athanor
