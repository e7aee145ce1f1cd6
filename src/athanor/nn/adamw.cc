#include "athanor/nn/adamw.h"

#include <ATen/ATen.h>

#include <cmath>
#include <numbers>

#include "athanor/base/error.h"
#include "athanor/base/parallel.h"

namespace athanor {

double CosineRate(double lr, int64_t step, int64_t steps) {
  const double done = static_cast<double>(step) / static_cast<double>(std::max<int64_t>(1, steps));
  return lr * 0.5 * (1 + std::cos(std::numbers::pi * std::min(1.0, done)));
}

AdamW::AdamW(std::vector<std::pair<std::string, at::Tensor>> parameters,
             const AdamWOptions& options)
    : parameters_(std::move(parameters)), options_(options) {
  for (const auto& [name, tensor] : parameters_) {
    ATHANOR_CHECK(
        tensor.is_contiguous() && tensor.scalar_type() == at::kFloat && tensor.device().is_cpu(),
        "AdamW: parameter '", name, "': expected a dense float32 tensor on the CPU");
    first_.push_back(at::zeros_like(tensor));
    second_.push_back(at::zeros_like(tensor));
  }
}

void AdamW::Step(double lr) {
  ++steps_;
  const auto t = static_cast<double>(steps_);
  const double correction1 = 1 - std::pow(options_.beta1, t);
  const double correction2 = 1 - std::pow(options_.beta2, t);
  const auto beta1 = static_cast<float>(options_.beta1), beta2 = static_cast<float>(options_.beta2);
  const auto rate = static_cast<float>(lr / correction1);
  const auto scale2 = static_cast<float>(1 / correction2);
  const auto epsilon = static_cast<float>(options_.epsilon);
  for (size_t i = 0; i < parameters_.size(); ++i) {
    at::Tensor& parameter = parameters_[i].second;
    if (!parameter.grad().defined()) continue;
    const at::Tensor gradient = parameter.grad().contiguous();
    const auto keep =
        static_cast<float>(parameter.dim() >= 2 ? 1 - lr * options_.weight_decay : 1.0);
    auto* p = parameter.data_ptr<float>();
    auto *m = first_[i].data_ptr<float>(), *v = second_[i].data_ptr<float>();
    const auto* g = gradient.data_ptr<float>();
    constexpr int64_t kGrain = 1 << 15;
    ParallelFor(parameter.numel(), kGrain, [&](int64_t begin, int64_t end) {
      for (int64_t j = begin; j < end; ++j) {
        m[j] = beta1 * m[j] + (1 - beta1) * g[j];
        v[j] = beta2 * v[j] + (1 - beta2) * g[j] * g[j];
        p[j] = keep * p[j] - rate * m[j] / (std::sqrt(v[j] * scale2) + epsilon);
      }
    });
    parameter.mutable_grad() = at::Tensor();
  }
}

void AdamW::AddState(SafeTensors* content) const {
  for (size_t i = 0; i < parameters_.size(); ++i) {
    content->tensors.emplace_back("adamw.first." + parameters_[i].first, first_[i]);
    content->tensors.emplace_back("adamw.second." + parameters_[i].first, second_[i]);
  }
  content->tensors.emplace_back("adamw.steps", at::full({1}, steps_, at::kLong));
}

void AdamW::SetState(const SafeTensors& content, const std::string& where) {
  const auto copy = [&](const std::string& name, const at::Tensor& to) {
    const at::Tensor& from = content.Get(name, where);
    ATHANOR_CHECK(from.sizes() == to.sizes() && from.scalar_type() == to.scalar_type(), where,
                  ": tensor '", name, "': expected shape ", to.sizes(), ", found ", from.sizes());
    to.copy_(from);
  };
  const at::Tensor steps = at::zeros({1}, at::kLong);
  copy("adamw.steps", steps);
  for (size_t i = 0; i < parameters_.size(); ++i) {
    copy("adamw.first." + parameters_[i].first, first_[i]);
    copy("adamw.second." + parameters_[i].first, second_[i]);
  }
  steps_ = steps.item<int64_t>();
}

}  // namespace athanor
