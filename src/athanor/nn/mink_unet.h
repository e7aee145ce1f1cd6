// A residual U-Net over sparse voxels: MinkUNet of Choy et al. 2019, "4D Spatio-Temporal ConvNets:
// Minkowski Convolutional Neural Networks", in three dimensions.
//
// A stem of kernel 5, four levels down by kernel 2 and stride 2, four up by the same maps inverted,
// skip connections by concatenation, blocks of two 3x3x3 convolutions, and a linear layer.
#pragma once

#include <array>
#include <string>
#include <vector>

#include "athanor/nn/safetensors.h"
#include "athanor/nn/sparse_layers.h"

namespace athanor {

struct MinkUNetOptions {
  int in_channels = 3, out_channels = 20;
  int stem_channels = 32;
  std::array<int, 8> channels = {32, 64, 128, 256, 256, 128, 64, 64};
  std::array<int, 8> blocks = {2, 3, 4, 6, 2, 2, 2, 2};

  bool operator==(const MinkUNetOptions&) const = default;
};

// "14A", "18A" or "34A", of these sizes of input and output. Throws Error for another name.
MinkUNetOptions NamedMinkUNet(const std::string& name, int in_channels, int out_channels);

class MinkUNet {
 public:
  MinkUNet(const MinkUNetOptions& options, uint64_t seed);

  // The network of a file of weights. Throws Error, naming `where`.
  static MinkUNet FromSafeTensors(const SafeTensors& content, const std::string& where);
  SafeTensors ToSafeTensors() const;

  const MinkUNetOptions& options() const { return options_; }
  // In the order in which they run.
  const std::vector<ConvLayer>& layers() const { return layers_; }
  // What is trained; tensors shared with the network.
  NamedTensors Parameters() const;
  NamedTensors State() const;
  // Copies the values. Throws Error (`where`, tensor) for a missing one or another shape.
  void SetState(const SafeTensors& content, const std::string& where);

  // [V,out], differentiable.
  at::Tensor Forward(const SparseTensor& input, bool training,
                     ConvPrecision precision = ConvPrecision::kFloat32) const;

 private:
  MinkUNetOptions options_;
  std::vector<ConvLayer> layers_;
};

// A network made ready for inference, on the CPU: normalisation folded, weights packed, every layer
// one pass. Equal to Forward with running statistics up to rounding. Thread-safe over distinct
// grids.
class MinkUNetPredictor {
 public:
  MinkUNetPredictor(const MinkUNet& network, ConvPrecision precision);
  // [V,out] float32.
  at::Tensor Predict(const SparseTensor& input) const;

 private:
  MinkUNetOptions options_;
  ConvPrecision precision_;
  std::vector<FoldedConv> layers_;
};

}  // namespace athanor
