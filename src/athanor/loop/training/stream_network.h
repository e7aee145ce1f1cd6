// A small classifier, trained on one thread without any library: layers of ReLU units, softmax,
// momentum, and units that begin anew when they are of no use.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "athanor/base/random.h"

namespace athanor {

struct StreamUpdate {
  double rate = 0.05, momentum = 0.9, weight_decay = 0;
  // Continual backpropagation (Dohare et al., 2024): units begun anew per update and unit that is
  // older than `maturity` updates, those of least use first. 0: none.
  double replacement_rate = 0;
  int maturity = 50;
};

struct StreamMonitors {
  double dormant = 0;      // share of hidden units, tau 0.025
  double weight_norm = 0;  // of all weights together
  double stable_rank = 0;  // of the last hidden layer over the inputs, centred
};

class StreamNetwork {
 public:
  // Units per layer, inputs first, classes last; at least one hidden layer. He et al.'s
  // initialisation.
  StreamNetwork(const std::vector<int>& sizes, uint64_t seed);

  const std::vector<int>& sizes() const { return sizes_; }
  int64_t multiply_adds() const;  // of one input

  // Scores [classes] of an input [inputs].
  std::vector<float> Scores(const float* input) const;

  // One step on inputs [count,inputs] of these classes; `weights` [classes] scale the loss of each
  // class. Returns the mean loss, which is not finite when the network has diverged.
  double Update(const std::vector<const float*>& inputs, const std::vector<int>& labels,
                const std::vector<float>& weights, const StreamUpdate& options, Random* random);

  // Weights and biases times `shrink` plus `perturb` times those of a new network; the momentum
  // begins at 0.
  void ShrinkAndPerturb(double shrink, double perturb, uint64_t seed);
  // The hidden units of least use, a share of each layer, begin anew.
  void ReplaceLeastUsed(double share, Random* random);

  StreamMonitors Monitor(const std::vector<const float*>& inputs) const;

  // All of its state. Decode throws Error (name) for bytes that are none.
  std::string Encode() const;
  static StreamNetwork Decode(std::string_view bytes, std::string_view name);

 private:
  struct Layer {
    int inputs = 0, outputs = 0;
    std::vector<float> weights, biases;           // [outputs,inputs], [outputs]
    std::vector<float> weight_speed, bias_speed;  // momentum
  };
  // Of the outputs of a hidden layer.
  struct Usage {
    std::vector<float> utility;  // mean of |activation| x sum of |outgoing weights|
    std::vector<float> age;      // updates
    float due = 0;               // units to begin anew, with what is left over
  };

  void Forward(const float* input, std::vector<std::vector<float>>* activations) const;
  void BeginAnew(size_t layer, int unit, Random* random);
  int LeastUsed(size_t layer, int maturity) const;  // -1: none is old enough
  void ReplaceUnits(const StreamUpdate& options, Random* random);

  std::vector<int> sizes_;
  std::vector<Layer> layers_;
  std::vector<Usage> usage_;  // of all layers but the last
};

}  // namespace athanor
