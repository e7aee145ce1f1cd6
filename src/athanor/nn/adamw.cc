#include "athanor/nn/adamw.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>
#include <numbers>

#include "athanor/base/error.h"
#include "athanor/base/log.h"

namespace athanor {
namespace {

constexpr const char* kSteps = "adamw.steps";
constexpr int64_t kMostLeftOutInARow = 10;

}  // namespace

at::Tensor Parameters::Add(const std::string& name, at::Tensor values) {
  for (const auto& [known, tensor] : trained_) {
    ATHANOR_CHECK(known != name, "parameters: two are called '", name, "'");
  }
  values = values.to(device_);
  values.requires_grad_(true);
  trained_.emplace_back(name, values);
  return values;
}

at::Tensor Parameters::AddBuffer(const std::string& name, at::Tensor values) {
  values = values.to(device_);
  buffers_.emplace_back(name, values);
  return values;
}

const at::Tensor& Parameters::Get(const std::string& name) const {
  for (const auto* list : {&trained_, &buffers_}) {
    for (const auto& [known, tensor] : *list) {
      if (known == name) return tensor;
    }
  }
  throw Error(StrCat("parameters: none is called '", name, "'"));
}

int64_t Parameters::CountTrained() const {
  int64_t count = 0;
  for (const auto& [name, tensor] : trained_) count += tensor.numel();
  return count;
}

void Parameters::Save(const std::string& prefix, SafeTensors* file) const {
  for (const auto* list : {&trained_, &buffers_}) {
    for (const auto& [name, tensor] : *list) {
      file->tensors.emplace_back(prefix + name, tensor.detach().cpu().contiguous());
    }
  }
}

void Parameters::Load(const std::string& prefix, const SafeTensors& file, std::string_view where) {
  const at::NoGradGuard no_grad;
  for (const auto* list : {&trained_, &buffers_}) {
    for (const auto& [name, tensor] : *list) {
      const at::Tensor& values = file.Get(prefix + name, where);
      ATHANOR_CHECK(values.sizes() == tensor.sizes(), where, ": expected ", prefix, name,
                    " of shape ", StrCat(tensor.sizes()), ", found ", StrCat(values.sizes()));
      tensor.copy_(values);
    }
  }
}

AdamW::AdamW(Parameters* parameters, const AdamWOptions& options)
    : parameters_(parameters), options_(options) {
  for (const auto& [name, tensor] : parameters->trained()) {
    first_.push_back(at::zeros_like(tensor));
    second_.push_back(at::zeros_like(tensor));
  }
}

double AdamW::Step(double rate) {
  const at::NoGradGuard no_grad;
  double squares = 0;
  for (const auto& [name, tensor] : parameters_->trained()) {
    if (tensor.grad().defined()) squares += tensor.grad().square().sum().item<double>();
  }
  const double norm = std::sqrt(squares);
  const double clip =
      options_.clip_norm > 0 ? std::min(1.0, options_.clip_norm / std::max(norm, 1e-12)) : 1.0;
  if (!std::isfinite(norm)) {
    ++left_out_, ++left_out_in_a_row_;
    LogWarning(StrCat("AdamW: the gradients after step ", steps_,
                      " are not finite; the step is left out (", left_out_, " so far)"));
    if (left_out_in_a_row_ >= kMostLeftOutInARow) {
      throw TrainingDiverged(StrCat("AdamW: the gradients of ", left_out_in_a_row_,
                                    " steps in a row are not finite; a lower rate may help"));
    }
  } else {
    left_out_in_a_row_ = 0;
    ++steps_;
    const double correction1 = 1 - std::pow(options_.beta1, static_cast<double>(steps_));
    const double correction2 = 1 - std::pow(options_.beta2, static_cast<double>(steps_));
    for (size_t i = 0; i < first_.size(); ++i) {
      at::Tensor tensor = parameters_->trained()[i].second;
      if (!tensor.grad().defined()) continue;
      const at::Tensor gradient = tensor.grad() * clip;
      first_[i].mul_(options_.beta1).add_(gradient, 1 - options_.beta1);
      second_[i].mul_(options_.beta2).addcmul_(gradient, gradient, 1 - options_.beta2);
      if (tensor.dim() > 1) tensor.mul_(1 - rate * options_.weight_decay);
      const at::Tensor scale = (second_[i] / correction2).sqrt_().add_(options_.epsilon);
      tensor.addcdiv_(first_[i], scale, -rate / correction1);
    }
  }
  for (const auto& [name, tensor] : parameters_->trained()) tensor.mutable_grad().reset();
  return norm;
}

size_t AdamW::IndexOf(const std::string& name) const {
  for (size_t i = 0; i < second_.size(); ++i) {
    if (parameters_->trained()[i].first == name) return i;
  }
  throw Error(StrCat("AdamW: nothing called '", name, "' is trained"));
}

void AdamW::Forget(const std::string& name, int64_t axis, const at::Tensor& places) {
  const size_t i = IndexOf(name);
  first_[i].index_fill_(axis, places, 0);
  second_[i].index_fill_(axis, places, 0);
}

void AdamW::Save(const std::string& prefix, SafeTensors* file) const {
  for (size_t i = 0; i < first_.size(); ++i) {
    const std::string& name = parameters_->trained()[i].first;
    file->tensors.emplace_back(prefix + "adamw.first." + name, first_[i].cpu().contiguous());
    file->tensors.emplace_back(prefix + "adamw.second." + name, second_[i].cpu().contiguous());
  }
  file->tensors.emplace_back(prefix + kSteps, at::full({1}, steps_, at::kLong));
}

void AdamW::Load(const std::string& prefix, const SafeTensors& file, std::string_view where) {
  for (size_t i = 0; i < first_.size(); ++i) {
    const std::string& name = parameters_->trained()[i].first;
    for (auto& [kind, moments] :
         {std::pair("adamw.first.", &first_), std::pair("adamw.second.", &second_)}) {
      const at::Tensor& values = file.Get(prefix + kind + name, where);
      ATHANOR_CHECK(values.sizes() == (*moments)[i].sizes(), where, ": expected ", kind, name,
                    " of shape ", StrCat((*moments)[i].sizes()), ", found ",
                    StrCat(values.sizes()));
      (*moments)[i].copy_(values);
    }
  }
  steps_ = file.Get(prefix + kSteps, where).item<int64_t>();
}

double WarmupStableDecay(int64_t step, int64_t steps, int64_t warmup, double decay, double peak) {
  const double decay_steps = std::max(1.0, decay * static_cast<double>(steps));
  const double left = static_cast<double>(steps - step) / decay_steps;
  double rate = peak;
  if (step < warmup) rate *= static_cast<double>(step + 1) / static_cast<double>(warmup);
  if (left < 1) rate *= 0.5 * (1 - std::cos(std::numbers::pi * std::max(0.0, left)));
  return rate;
}

double OneCycle(int64_t step, int64_t steps, double peak, double rise) {
  constexpr double kFirst = 0.1;
  const double part = static_cast<double>(step) / static_cast<double>(std::max<int64_t>(1, steps));
  const auto cosine = [](double x) { return 0.5 * (1 - std::cos(std::numbers::pi * x)); };
  if (part < rise) return peak * (kFirst + (1 - kFirst) * cosine(part / rise));
  return peak * (1 - cosine(std::min(1.0, (part - rise) / (1 - rise))));
}

}  // namespace athanor
