// What networks over sparse voxels are made of: a tensor over the voxels of a grid, and a
// convolution with batch normalisation over the active voxels.
#pragma once

#include <ATen/core/Tensor.h>

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "athanor/base/random.h"
#include "athanor/ops/sparse_conv.h"

namespace athanor {

using NamedTensors = std::vector<std::pair<std::string, at::Tensor>>;

struct SparseTensor {
  std::shared_ptr<VoxelGrid> grid;
  at::Tensor features;  // [grid->size(),C]
};

// A sparse convolution and what follows it: batch normalisation (Ioffe & Szegedy 2015), or a bias.
struct ConvLayer {
  std::string name;
  at::Tensor weights;                      // [K,in,out]
  at::Tensor gamma, beta, mean, variance;  // [out]; undefined when there is a bias
  at::Tensor bias;                         // [out]; undefined when there is a normalisation

  bool has_norm() const { return gamma.defined(); }
  // Everything by name, the running statistics too.
  NamedTensors State() const;
};

// He et al. 2015, normal, by the number of outputs; normalisation starts as the identity.
ConvLayer MakeConvLayer(std::string name, int volume, int in, int out, bool with_norm,
                        Random* random);

struct ConvOptions {
  at::Tensor residual;  // added before the ReLU; undefined: none
  bool relu = true;
  bool training = false;  // normalises by the batch and updates the running statistics
  ConvPrecision precision = ConvPrecision::kFloat32;
};
// Differentiable in features, residual and the layer's parameters.
at::Tensor RunConvLayer(const ConvLayer& layer, const at::Tensor& features, const ConvMap& map,
                        const ConvOptions& options);

// A layer for inference: the normalisation folded into weights and bias, weights packed.
class FoldedConv {
 public:
  FoldedConv(const ConvLayer& layer, ConvPrecision precision);
  // As SparseConvFused; the result is of the layer's precision unless `as_float` is set.
  at::Tensor Run(const at::Tensor& features, const ConvMap& map, const at::Tensor& residual,
                 bool relu, bool as_float = false) const;

 private:
  PackedWeights weights_;
  at::Tensor bias_;
};

}  // namespace athanor
