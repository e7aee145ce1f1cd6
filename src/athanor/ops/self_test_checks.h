// What the parts of self_test share.
#pragma once

#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>
#include <initializer_list>
#include <limits>
#include <utility>
#include <vector>

#include "athanor/base/random.h"
#include "athanor/ops/self_test.h"

namespace athanor::self_test {

// The random numbers are ours, so that every machine tests the same scene.
inline at::Tensor Uniform(at::IntArrayRef shape, float low, float high, Random* random) {
  at::Tensor values = at::empty(shape, at::kFloat);
  auto* data = values.data_ptr<float>();
  for (int64_t i = 0; i < values.numel(); ++i) data[i] = random->Uniform(low, high);
  return values;
}

inline at::Tensor Host(const at::Tensor& tensor) { return tensor.detach().cpu().to(at::kDouble); }

// A leaf of its own, with the gradient switched on.
inline at::Tensor Leaf(const at::Tensor& tensor, const c10::Device& device, at::ScalarType type) {
  return tensor.detach().to(device, type).clone().requires_grad_(true);
}

// Tensors of two or more dimensions are compared column by column of the last one.
inline double ErrorOf(const at::Tensor& actual, const at::Tensor& expected) {
  at::Tensor a = Host(actual), e = Host(expected);
  if (a.dim() >= 2) {
    a = a.reshape({-1, a.size(-1)});
    e = e.reshape({-1, e.size(-1)});
  } else {
    a = a.reshape({-1, 1});
    e = e.reshape({-1, 1});
  }
  const at::Tensor scale = e.abs().amax(0, true).clamp_min(1e-30);
  const auto error = ((a - e).abs() / scale).max().item<double>();
  return std::isfinite(error) ? error : std::numeric_limits<double>::infinity();
}

class Checks {
 public:
  void Add(const char* name, double tolerance,
           std::initializer_list<std::pair<at::Tensor, at::Tensor>> actual_and_expected) {
    double error = 0;
    for (const auto& [actual, expected] : actual_and_expected) {
      error = std::max(error, ErrorOf(actual, expected));
    }
    list.push_back({name, error, tolerance});
  }

  std::vector<KernelCheck> list;
};

// Kernels that know of vectors, voxels and maps, not of Gaussians: rows of lifting, scores, sparse
// convolution, window attention, pooling.
void CheckFeatureKernels(const c10::Device& device, Random* random, Checks* checks);

}  // namespace athanor::self_test
