#include "athanor/nn/dense_layers.h"

#include <ATen/ATen.h>
#include <ATen/CPUGeneratorImpl.h>

#include <cmath>

#include "athanor/base/error.h"
#include "athanor/base/hash.h"
#include "athanor/base/random.h"

namespace athanor {
namespace {

constexpr double kMomentum = 0.03, kVarianceFloor = 1e-5, kNormFloor = 1e-5;

}  // namespace

at::Tensor LayerScope::Normal(const std::string& name, at::IntArrayRef sizes,
                              double deviation) const {
  const std::string full = prefix + name;
  at::Generator generator = at::detail::createCPUGenerator(MixBits(seed ^ HashBytes(full)));
  return parameters->Add(full, at::randn(sizes, generator, at::kFloat) * deviation);
}

at::Tensor LayerScope::Constant(const std::string& name, at::IntArrayRef sizes,
                                double value) const {
  return parameters->Add(prefix + name, at::full(sizes, value, at::kFloat));
}

Linear::Linear(const LayerScope& scope, int64_t in, int64_t out, bool with_bias)
    : weight_(scope.Normal("weight", {out, in}, std::sqrt(2.0 / static_cast<double>(in + out)))) {
  if (with_bias) bias_ = scope.Constant("bias", {out}, 0);
}

at::Tensor Linear::Forward(const at::Tensor& x) const {
  const at::Tensor bias = bias_.defined() ? bias_.to(x.scalar_type()) : bias_;
  return at::linear(x, weight_.to(x.scalar_type()), bias);
}

LayerNorm::LayerNorm(const LayerScope& scope, int64_t width)
    : scale_(scope.Constant("scale", {width}, 1)), shift_(scope.Constant("shift", {width}, 0)) {}

at::Tensor LayerNorm::Forward(const at::Tensor& x) const {
  return at::layer_norm(x, scale_.sizes(), scale_.to(x.scalar_type()), shift_.to(x.scalar_type()),
                        kNormFloor);
}

Mlp::Mlp(const LayerScope& scope, const std::vector<int64_t>& widths) {
  ATHANOR_CHECK(widths.size() >= 2, "perceptron: expected widths of input and output, found ",
                widths.size());
  for (size_t i = 0; i + 1 < widths.size(); ++i) {
    layers_.emplace_back(scope / std::to_string(i), widths[i], widths[i + 1]);
  }
}

at::Tensor Mlp::Forward(const at::Tensor& x) const {
  at::Tensor y = layers_.front().Forward(x);
  for (size_t i = 1; i < layers_.size(); ++i) y = layers_[i].Forward(at::relu(y));
  return y;
}

Convolution2d::Convolution2d(const LayerScope& scope, int64_t in, int64_t out,
                             const Options& options)
    : options_(options) {
  const int64_t side = options.kernel, inputs = in / options.groups;
  weight_ = scope.Normal("weight", {out, inputs, side, side},
                         std::sqrt(2.0 / static_cast<double>(inputs * side * side)));
  if (!options.norm) {
    bias_ = scope.Constant("bias", {out}, 0);
    return;
  }
  scale_ = scope.Constant("scale", {out}, 1);
  shift_ = scope.Constant("shift", {out}, 0);
  mean_ = scope.parameters->AddBuffer(scope.prefix + "mean", at::zeros({out}));
  variance_ = scope.parameters->AddBuffer(scope.prefix + "variance", at::ones({out}));
}

at::Tensor Convolution2d::Convolve(const at::Tensor& x) const {
  const at::Tensor weight = weight_.to(x.scalar_type())
                                .contiguous(x.is_contiguous(at::MemoryFormat::ChannelsLast)
                                                ? at::MemoryFormat::ChannelsLast
                                                : at::MemoryFormat::Contiguous);
  const at::Tensor bias = bias_.defined() ? bias_.to(x.scalar_type()) : bias_;
  return at::conv2d(x, weight, bias, options_.stride, options_.kernel / 2, 1, options_.groups);
}

at::Tensor Convolution2d::Forward(const at::Tensor& x, bool training) const {
  const at::Tensor y = Convolve(x);
  if (!scale_.defined()) return y;
  return at::batch_norm(y, scale_, shift_, mean_, variance_, training, kMomentum, kVarianceFloor,
                        /*cudnn_enabled=*/false);
}

at::Tensor Convolution2d::ForwardByBatch(const at::Tensor& x) const {
  const at::Tensor y = Convolve(x);
  if (!scale_.defined()) return y;
  return at::batch_norm(y, scale_, shift_, {}, {}, /*training=*/true, kMomentum, kVarianceFloor,
                        /*cudnn_enabled=*/false);
}

}  // namespace athanor
