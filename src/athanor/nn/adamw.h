// AdamW (Loshchilov & Hutter 2019) with a cosine schedule, whose whole state can be saved.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "athanor/nn/safetensors.h"

namespace athanor {

struct AdamWOptions {
  double lr = 1e-3;
  double beta1 = 0.9, beta2 = 0.999, epsilon = 1e-8;
  double weight_decay = 0.01;  // of tensors of two dimensions and more
};

// lr at `step` of `steps`: half a cosine from `lr` to 0.
double CosineRate(double lr, int64_t step, int64_t steps);

class AdamW {
 public:
  // Dense float32 leaves on the CPU that require gradients; the names are those of the state.
  AdamW(std::vector<std::pair<std::string, at::Tensor>> parameters, const AdamWOptions& options);

  // One step at this rate; parameters without a gradient stay. Gradients are then cleared.
  void Step(double lr);
  int64_t steps() const { return steps_; }

  // Moments as "adamw.first.NAME", "adamw.second.NAME", and "adamw.steps".
  void AddState(SafeTensors* content) const;
  // Throws Error (`where`, tensor).
  void SetState(const SafeTensors& content, const std::string& where);

 private:
  std::vector<std::pair<std::string, at::Tensor>> parameters_;
  std::vector<at::Tensor> first_, second_;
  AdamWOptions options_;
  int64_t steps_ = 0;
};

}  // namespace athanor
