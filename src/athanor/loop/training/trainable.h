// What a population trains: something that can be begun, trained for a short step, and judged by
// several objectives. stream_problem.h is a small one; trainables/ has our detector.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "athanor/base/error.h"
#include "athanor/loop/training/pareto.h"
#include "athanor/loop/training/search_space.h"

namespace athanor {

struct Objective {
  std::string name;  // without spaces
  // What counts for nothing, and what nothing surpasses: values are scaled so that these are 0 and
  // 1. A `best` below `worst`: less is better.
  double worst = 0, best = 1;

  bool operator==(const Objective&) const = default;
};

// Scaled, the larger the better; the point that hypervolumes are measured from is 0. Throws Error
// when one of them is missing.
ParetoPoint ScaledPoint(const std::vector<Objective>& objectives,
                        const std::map<std::string, double>& values);

// What is done to the parameters of a parent before a child learns.
struct ParameterMutation {
  // Weights become shrink * weights + perturb * (weights as a new network has them): Ash and Adams,
  // "On warm-starting neural network training", NeurIPS 2020. The optimiser then begins anew.
  double shrink = 1, perturb = 0;
  // This part of the hidden units, those of least use, begins anew (as in continual
  // backpropagation: Dohare et al., "Loss of plasticity in deep continual learning", Nature 632,
  // 2024).
  double replace = 0;

  bool IsNone() const { return shrink == 1 && perturb == 0 && replace == 0; }
  bool operator==(const ParameterMutation&) const = default;
};

struct TrainRequest {
  std::filesystem::path from;  // the parent's checkpoint; empty: a new network
  HyperParameters hyper;
  ParameterMutation mutation;
  int64_t updates = 0, updates_before = 0;
  uint64_t seed = 0;  // of everything random
};

struct TrainReport {
  // "loss", and where it can be told: "dormant" (share of units that hardly ever say anything;
  // Sokar et al., ICML 2023, with tau 0.025), "weight_norm", "stable_rank" (of the last features).
  std::map<std::string, double> monitors;
  double work = 0;  // what it cost, counted: the same on every machine
};

// It is this member's fault, and no other's: its loss is not finite. The run goes on without it.
class MemberFailure : public Error {
 public:
  using Error::Error;
};

// Not thread-safe. Given the same files, request and number of threads, all results are the same
// bit by bit.
class Trainable {
 public:
  virtual ~Trainable() = default;

  virtual std::string kind() const = 0;  // as in the registry of models
  virtual std::vector<Objective> objectives() const = 0;
  virtual std::string work_unit() const = 0;
  // Throws Error for a hyper-parameter that it does not know, or ranges that it cannot take.
  virtual void CheckSpace(const SearchSpace& space) const = 0;

  // Writes a checkpoint: parameters, state of the optimiser, all that the next step needs, whole
  // and flushed (WriteFile). Throws MemberFailure; Error for all else (data, a full disk).
  virtual TrainReport Train(const TrainRequest& request,
                            const std::filesystem::path& checkpoint) = 0;
  // All objectives, by name. Throws as Train.
  virtual std::map<std::string, double> Evaluate(const std::filesystem::path& checkpoint,
                                                 const HyperParameters& hyper) = 0;
  // The weights of a checkpoint, as they are used.
  virtual void Export(const std::filesystem::path& checkpoint,
                      const std::filesystem::path& weights) = 0;
};

// Makes the trainable that a configuration names. `name` is what messages call the text.
using TrainableOpener = std::function<std::unique_ptr<Trainable>(
    const std::string& kind, std::string_view toml, std::string_view name)>;

}  // namespace athanor
