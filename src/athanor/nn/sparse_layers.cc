#include "athanor/nn/sparse_layers.h"

#include <ATen/ATen.h>

#include <cmath>

namespace athanor {
namespace {

constexpr double kNormEpsilon = 1e-5, kNormMomentum = 0.1;

}  // namespace

NamedTensors ConvLayer::State() const {
  NamedTensors state = {{name + ".weight", weights}};
  if (has_norm()) {
    state.emplace_back(name + ".norm.weight", gamma);
    state.emplace_back(name + ".norm.bias", beta);
    state.emplace_back(name + ".norm.running_mean", mean);
    state.emplace_back(name + ".norm.running_var", variance);
  } else {
    state.emplace_back(name + ".bias", bias);
  }
  return state;
}

ConvLayer MakeConvLayer(std::string name, int volume, int in, int out, bool with_norm,
                        Random* random) {
  ConvLayer layer;
  layer.name = std::move(name);
  layer.weights = at::empty({volume, in, out}, at::kFloat);
  const float deviation = std::sqrt(2.0f / static_cast<float>(volume * out));
  auto* weights = layer.weights.data_ptr<float>();
  for (int64_t i = 0; i < layer.weights.numel(); ++i) weights[i] = deviation * random->Normal();
  if (with_norm) {
    layer.gamma = at::ones({out}, at::kFloat);
    layer.beta = at::zeros({out}, at::kFloat);
    layer.mean = at::zeros({out}, at::kFloat);
    layer.variance = at::ones({out}, at::kFloat);
  } else {
    layer.bias = at::zeros({out}, at::kFloat);
  }
  return layer;
}

at::Tensor RunConvLayer(const ConvLayer& layer, const at::Tensor& features, const ConvMap& map,
                        const ConvOptions& options) {
  at::Tensor out = SparseConv(features, layer.weights, map, options.precision);
  if (layer.has_norm()) {
    // One voxel alone has no variance: it would make the running one NaN for good.
    const bool by_batch = options.training && out.size(0) > 1;
    out = at::batch_norm(out, layer.gamma, layer.beta, layer.mean, layer.variance, by_batch,
                         kNormMomentum, kNormEpsilon, /*cudnn_enabled=*/false);
  } else {
    out = out + layer.bias;
  }
  if (options.residual.defined()) out = out + options.residual;
  return options.relu ? at::relu(out) : out;
}

FoldedConv::FoldedConv(const ConvLayer& layer, ConvPrecision precision) {
  const at::NoGradGuard no_grad;
  at::Tensor weights = layer.weights;
  if (layer.has_norm()) {
    const at::Tensor scale = layer.gamma / at::sqrt(layer.variance + kNormEpsilon);
    weights = weights * scale;
    bias_ = (layer.beta - layer.mean * scale).contiguous();
  } else {
    bias_ = layer.bias.detach().clone();
  }
  weights = weights.contiguous();
  weights_ = PackedWeights(weights.data_ptr<float>(),
                           {static_cast<int>(weights.size(0)), static_cast<int>(weights.size(1)),
                            static_cast<int>(weights.size(2)), false, false, precision});
}

at::Tensor FoldedConv::Run(const at::Tensor& features, const ConvMap& map,
                           const at::Tensor& residual, bool relu, bool as_float) const {
  FusedConv conv;
  conv.weights = &weights_;
  conv.bias = bias_;
  conv.residual = residual;
  conv.relu = relu;
  const bool rounded = weights_.precision() == ConvPrecision::kBfloat16;
  conv.out = rounded && !as_float ? at::kBFloat16 : at::kFloat;
  return SparseConvFused(features, *map.map, conv);
}

}  // namespace athanor
