// A small learning problem in which data comes in drops, one class is rare, and the world changes
// a little from drop to drop: what population training is tried and measured on. Steps take
// milliseconds.
//
// Classes are clouds of points in a space of some dimensions, several clouds each, that overlap;
// from drop to drop clouds move, and each class gets another. A part of the labels is wrong. Tests
// are of all drops that have come, with clean labels.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "athanor/base/options.h"
#include "athanor/loop/training/stream_network.h"
#include "athanor/loop/training/trainable.h"

namespace athanor {

struct StreamProblemOptions {
  int inputs = 12, classes = 5;  // the last class is the rare one
  int clouds = 3;                // of each class, in the first drop ...
  int new_clouds = 1;            // ... and so many more with every other
  int drops = 1;                 // that have come
  int samples = 1500;            // of each drop
  double rare = 0.03;            // share of the rare class
  double spread = 0.55;          // of a cloud; centres lie about 1 apart along each axis
  double drift = 0.1;            // that a centre moves from drop to drop
  double wrong = 0.05;           // labels
  int tests = 2000;              // in all
  int layers = 2;                // hidden
  int batch = 32;
  double most_multiply_adds = 5000;  // of an input: what the objective "cost" calls the worst
  int64_t data_seed = 1;
};
OptionList Describe(StreamProblemOptions& options);

// Objectives: "rare_ap" and "map" (average precision of the rare class, and mean over classes, on
// the tests), "cost" (multiply-adds of one input, counted: the same on every machine). Hyper-
// parameters, all optional: rate, momentum, weight-decay, rare-weight (of the loss), hidden (units
// of each layer, for life), replay (share of a batch that is of drops before the newest; 0.5 would
// be even for two), replacement-rate (continual backpropagation).
class StreamProblem : public Trainable {
 public:
  explicit StreamProblem(const StreamProblemOptions& options);
  // The table [stream] of a configuration; all of it is optional.
  static std::unique_ptr<StreamProblem> FromToml(std::string_view toml, std::string_view name);

  std::string kind() const override { return "stream"; }
  std::vector<Objective> objectives() const override;
  std::string work_unit() const override { return "million multiply-adds"; }
  void CheckSpace(const SearchSpace& space) const override;
  TrainReport Train(const TrainRequest& request, const std::filesystem::path& checkpoint) override;
  std::map<std::string, double> Evaluate(const std::filesystem::path& checkpoint,
                                         const HyperParameters& hyper) override;
  void Export(const std::filesystem::path& checkpoint,
              const std::filesystem::path& weights) override;

  // Share of the training samples, or of the tests, whose class the network says: what papers on
  // warm starts report.
  double Accuracy(const StreamNetwork& network, bool on_tests) const;

 private:
  struct Sample {
    std::vector<float> input;
    int label = 0;
  };
  std::vector<Sample> MakeSamples(int drop, int count, double wrong, uint64_t seed) const;
  double Number(const HyperParameters& hyper, const std::string& name, double otherwise) const;

  StreamProblemOptions options_;
  std::vector<std::vector<Sample>> drops_;
  std::vector<Sample> tests_;
};

// The area under precision over recall of samples by falling score; ties count as their mean order
// would, by taking the wrong ones first. 0 when no sample is positive.
double AveragePrecision(const std::vector<float>& scores, const std::vector<bool>& is_positive);

}  // namespace athanor
