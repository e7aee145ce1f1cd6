// An affine colour correction per image, learnt with the scene: photographs of one place differ in
// exposure and white balance. As in Inria's trainer: 3 x 4, identity at first.
#pragma once

#include <ATen/core/Tensor.h>
#include <c10/core/Device.h>

#include <string>
#include <utility>
#include <vector>

#include "athanor/nn/safetensors.h"

namespace athanor {

class ExposureModel {
 public:
  ExposureModel(int64_t images, c10::Device device);

  // [3,H,W] -> [3,H,W]: A rgb + b of this image.
  at::Tensor Apply(int64_t image, const at::Tensor& rendered) const;
  // From the gradient of Apply's result: takes a step of Adam on A and b, returns the gradient of
  // `rendered`. `step` counts from 1; `progress` in [0, 1] lowers the learning rate from 1e-2 to
  // 1e-3.
  at::Tensor Backward(int64_t image, const at::Tensor& rendered, const at::Tensor& d_exposed,
                      int64_t step, double progress);

  std::vector<std::pair<std::string, at::Tensor>> State() const;
  void SetState(const SafeTensors& content, const std::string& where);

 private:
  at::Tensor affine_, first_, second_;  // [images,3,4]
};

}  // namespace athanor
