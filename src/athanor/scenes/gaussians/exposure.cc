#include "athanor/scenes/gaussians/exposure.h"

#include <ATen/ATen.h>

#include <cmath>

#include "athanor/base/error.h"

namespace athanor {

ExposureModel::ExposureModel(int64_t images, c10::Device device) {
  const auto options = at::TensorOptions().dtype(at::kFloat).device(device);
  affine_ = at::eye(3, 4, options).repeat({images, 1, 1});
  first_ = at::zeros_like(affine_);
  second_ = at::zeros_like(affine_);
}

at::Tensor ExposureModel::Apply(int64_t image, const at::Tensor& rendered) const {
  const at::Tensor affine = affine_[image];
  const at::Tensor flat = rendered.reshape({3, -1});
  return at::addmm(affine.narrow(1, 3, 1), affine.narrow(1, 0, 3), flat)
      .view(rendered.sizes())
      .contiguous();
}

at::Tensor ExposureModel::Backward(int64_t image, const at::Tensor& rendered,
                                   const at::Tensor& d_exposed, int64_t step, double progress) {
  constexpr double kBeta1 = 0.9, kBeta2 = 0.999, kEpsilon = 1e-15;
  const at::Tensor d = d_exposed.reshape({3, -1});
  const at::Tensor d_rendered =
      at::matmul(affine_[image].narrow(1, 0, 3).t(), d).view(rendered.sizes()).contiguous();
  const at::Tensor gradient =
      at::cat({at::matmul(d, rendered.reshape({3, -1}).t()), d.sum(1, true)}, 1);
  at::Tensor first = first_[image], second = second_[image], affine = affine_[image];
  first.mul_(kBeta1).add_(gradient, 1 - kBeta1);
  second.mul_(kBeta2).addcmul_(gradient, gradient, 1 - kBeta2);
  const double rate = 1e-2 * std::pow(0.1, progress) / (1 - std::pow(kBeta1, step));
  const double correction = 1 / (1 - std::pow(kBeta2, step));
  affine.sub_(first * rate / ((second * correction).sqrt() + kEpsilon));
  return d_rendered;
}

std::vector<std::pair<std::string, at::Tensor>> ExposureModel::State() const {
  return {{"exposure.affine", affine_}, {"exposure.first", first_}, {"exposure.second", second_}};
}

void ExposureModel::SetState(const SafeTensors& content, const std::string& where) {
  for (const auto& [name, tensor] : State()) {
    const at::Tensor& value = content.Get(name, where);
    ATHANOR_CHECK(value.sizes() == tensor.sizes(), where, ": '", name, "': expected shape ",
                  tensor.sizes(), ", found ", value.sizes());
    at::Tensor target = tensor;
    target.copy_(value);
  }
}

}  // namespace athanor
