// Layers of dense networks over at::Tensor, with gradients: linear, convolution with batch
// normalisation, layer normalisation, perceptrons. A layer registers its tensors with Parameters
// under its name; the first values depend on that name and the seed alone, so that a layer that is
// added changes no other.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <string>
#include <vector>

#include "athanor/nn/adamw.h"

namespace athanor {

// Where layers put their tensors.
struct LayerScope {
  Parameters* parameters;
  uint64_t seed = 0;
  std::string prefix;  // "decoder.layer0."

  // The scope of a part: its names begin with `name` and a dot.
  LayerScope operator/(const std::string& name) const {
    return {parameters, seed, prefix + name + "."};
  }
  // Registers prefix + name, normal with this deviation.
  at::Tensor Normal(const std::string& name, at::IntArrayRef sizes, double deviation) const;
  at::Tensor Constant(const std::string& name, at::IntArrayRef sizes, double value) const;
};

class Linear {
 public:
  Linear() = default;
  // Xavier et al. 2010, normal; bias 0.
  Linear(const LayerScope& scope, int64_t in, int64_t out, bool with_bias = true);
  // [..., in] to [..., out].
  at::Tensor Forward(const at::Tensor& x) const;
  at::Tensor& bias() { return bias_; }

 private:
  at::Tensor weight_, bias_;
};

// Over the last axis (Ba et al. 2016).
class LayerNorm {
 public:
  LayerNorm() = default;
  LayerNorm(const LayerScope& scope, int64_t width);
  at::Tensor Forward(const at::Tensor& x) const;

 private:
  at::Tensor scale_, shift_;
};

// Linear layers with ReLU in between: widths[0] in, widths.back() out.
class Mlp {
 public:
  Mlp() = default;
  Mlp(const LayerScope& scope, const std::vector<int64_t>& widths);
  at::Tensor Forward(const at::Tensor& x) const;

 private:
  std::vector<Linear> layers_;
};

// A convolution of a [B,in,H,W] map with zeros around it, then batch normalisation (Ioffe and
// Szegedy 2015) or a bias. The map keeps its type: float32, or bfloat16, in which the convolution
// then computes.
class Convolution2d {
 public:
  struct Options {
    int kernel = 3, stride = 1, groups = 1;
    bool norm = true;
  };
  Convolution2d() = default;
  Convolution2d(const LayerScope& scope, int64_t in, int64_t out, const Options& options);
  Convolution2d(const LayerScope& scope, int64_t in, int64_t out)
      : Convolution2d(scope, in, out, Options{}) {}
  // `training`: normalises by the batch, which the running statistics follow.
  at::Tensor Forward(const at::Tensor& x, bool training) const;
  // Normalises by the batch, too, but running statistics neither follow nor are looked at: for
  // inputs that are unlike those of which they are.
  at::Tensor ForwardByBatch(const at::Tensor& x) const;
  c10::Device device() const { return weight_.device(); }
  // The scale of the normalisation, for blocks that shall begin as the identity.
  at::Tensor& norm_scale() { return scale_; }
  at::Tensor& bias() { return bias_; }

 private:
  at::Tensor Convolve(const at::Tensor& x) const;

  Options options_;
  at::Tensor weight_, bias_;
  at::Tensor scale_, shift_, mean_, variance_;  // of the normalisation
};

}  // namespace athanor
