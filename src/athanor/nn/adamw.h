// Named parameters of a network, and AdamW (Loshchilov and Hutter, "Decoupled weight decay
// regularization", 2019) over them.
#pragma once

#include <ATen/core/Tensor.h>
#include <c10/core/Device.h>

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "athanor/base/error.h"
#include "athanor/nn/safetensors.h"

namespace athanor {

// A loss or gradients are not finite, and will not be again: the fault of how it is trained, and of
// nothing else.
class TrainingDiverged : public Error {
 public:
  using Error::Error;
};

// In the order of their making, which is that of files too.
class Parameters {
 public:
  // All tensors lie on this device; their values, and files, begin and end on the CPU.
  explicit Parameters(const c10::Device& device = c10::kCPU) : device_(device) {}
  const c10::Device& device() const { return device_; }

  // Takes the values; from here on autograd follows the tensor that is returned. Throws Error for a
  // name that is taken.
  at::Tensor Add(const std::string& name, at::Tensor values);
  // Values that training keeps without gradients: running means.
  at::Tensor AddBuffer(const std::string& name, at::Tensor values);

  const std::vector<std::pair<std::string, at::Tensor>>& trained() const { return trained_; }
  const std::vector<std::pair<std::string, at::Tensor>>& buffers() const { return buffers_; }
  // Throws Error when there is none of that name.
  const at::Tensor& Get(const std::string& name) const;
  int64_t CountTrained() const;

  // All tensors, each name with `prefix` before it.
  void Save(const std::string& prefix, SafeTensors* file) const;
  // Throws Error (where, name, shapes) when one is missing or of another shape.
  void Load(const std::string& prefix, const SafeTensors& file, std::string_view where);

 private:
  c10::Device device_;
  std::vector<std::pair<std::string, at::Tensor>> trained_, buffers_;
};

struct AdamWOptions {
  double beta1 = 0.9, beta2 = 0.99, epsilon = 1e-8;
  double weight_decay = 0.05;  // per step and unit of rate; of tensors with two axes or more
  double clip_norm = 1;        // of all gradients together; 0 = none
};

class AdamW {
 public:
  AdamW(Parameters* parameters, const AdamWOptions& options);

  // Takes the gradients that backward() left, steps, and clears them. Returns their norm before
  // clipping. A step whose gradients are not finite is left out, with a warning in the log; so many
  // of them in a row that the training has failed (10) throw TrainingDiverged.
  double Step(double rate);
  // Steps that were left out since this was made.
  int64_t left_out() const { return left_out_; }

  // The running mean of a tensor's squared gradients, in its shape. Throws Error for a name that is
  // not trained.
  const at::Tensor& MeanSquareOf(const std::string& name) const { return second_[IndexOf(name)]; }
  // What was learned of these places [k] of an axis of a tensor: its moments become 0 there.
  void Forget(const std::string& name, int64_t axis, const at::Tensor& places);

  // Moments and the count of steps, under `prefix` + "adamw.".
  void Save(const std::string& prefix, SafeTensors* file) const;
  void Load(const std::string& prefix, const SafeTensors& file, std::string_view where);

 private:
  size_t IndexOf(const std::string& name) const;

  Parameters* parameters_;
  AdamWOptions options_;
  int64_t steps_ = 0;
  int64_t left_out_ = 0, left_out_in_a_row_ = 0;
  std::vector<at::Tensor> first_, second_;
};

// The rate at a step: rises over `warmup` steps, stays, and falls to 0 as a cosine over the last
// `decay` of the `steps` (0..1 of them). A run can so be made longer while the rate is flat.
double WarmupStableDecay(int64_t step, int64_t steps, int64_t warmup, double decay, double peak);

// One cycle (Smith and Topin, 2018): from a tenth of the peak up over `rise` of the steps (0..1),
// then down to 0, both as cosines.
double OneCycle(int64_t step, int64_t steps, double peak, double rise);

}  // namespace athanor
