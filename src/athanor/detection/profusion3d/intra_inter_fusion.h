// Intra-inter fusion of ProFusion3D (Mohan et al., "Progressive Multi-Modal Fusion for Robust 3D
// Object Detection", 2024): the features that are native to a view (intra: the LiDAR's from above,
// the cameras' in perspective) take in those that the other sensor was mapped to (inter).
//
// A unit: U = both maps side by side, each normalised. Step 1: attention in M x M windows, queries
// from intra, keys and values from U. Step 2: the same, but keys and values come from windows
// floor(M/2) further down and right, while the queries stay: each window so looks into its
// neighbours. A perceptron follows each step, and all four parts add to what they were given. The
// module: unit 1 on U, unit 2 on two convolutions of U, both results side by side.
//
// The paper's text leaves open, and here is so: every part normalises what it reads (pre-norm, as
// Swin does): the sum that runs through then stays the view's own features plus what was found, and
// trains without a long warm-up. Each modality of U has a normalisation of its own, so that neither
// drowns the other by scale. Queries of unit 2 are those of unit 1, too: intra. The convolutions
// lead from 2C to C to C channels, each with batch normalisation and ReLU. Keys that a shift would
// bring around from the other side of the map are not met (in Swin, queries are shifted along, and
// the wrapped ones meet each other; here they would meet what is far away).
#pragma once

#include <ATen/core/Tensor.h>

#include <vector>

#include "athanor/nn/dense_layers.h"
#include "athanor/nn/window_attention.h"

namespace athanor {

// The paper's comparison, worst to best. Attention over the whole map, 180 x 180, is out of reach:
// all attend in windows.
enum class FusionVariant {
  kConcat,          // one 3x3 convolution of both maps
  kSelfThenCross,   // one step of intra on itself, one on inter; no shift
  kWindowedUnits,   // a unit of intra on itself, a unit on inter
  kIntraInterUnit,  // unit 1 alone
  kFull,            // the module
};

struct IntraInterFusionOptions {
  int64_t width = 128;  // C of both maps
  int heads = 8;
  int window = 6;            // M, pixels
  int64_t feed_forward = 4;  // width of the perceptrons' hidden layer, times C
  FusionVariant variant = FusionVariant::kFull;
  // kFull: a 1x1 convolution leads from 2C channels back to C.
  bool project = true;
};

// Attention and a perceptron, each behind a normalisation and added to what it was given.
class WindowStep {
 public:
  WindowStep(const LayerScope& scope, const IntraInterFusionOptions& options, int64_t context_width,
             int shift);
  // x [B,H,W,C], context [B,H,W,context_width], normalised.
  at::Tensor Forward(const at::Tensor& x, const at::Tensor& context) const;

 private:
  LayerNorm attention_norm_, perceptron_norm_;
  WindowAttentionLayer attention_;
  Mlp perceptron_;
};

class IntraInterFusion {
 public:
  // Throws Error for a width that the heads do not divide (nn/window_attention.h).
  IntraInterFusion(const LayerScope& scope, const IntraInterFusionOptions& options);

  int64_t out_width() const;
  // intra, inter: [C,H,W], or [B,C,H,W] as the cameras' maps are; float32 or bfloat16. One of the
  // two may be undefined. A learned vector then stands at each pixel of inter; intra is inter plus
  // such a vector, for what asks would else be the same everywhere. Returns
  // [out_width,H,W] or [B,out_width,H,W], channels last in memory; maps that lie so are read
  // without a copy. `training`: batch normalisation by these very maps,
  // as always when one is missing: running statistics are of both.
  // Throws Error for other shapes, and when both are undefined.
  // `bfloat16`: the convolutions compute in that type.
  at::Tensor Forward(const at::Tensor& intra, const at::Tensor& inter, bool training,
                     bool bfloat16 = false) const;

 private:
  IntraInterFusionOptions options_;
  at::Tensor missing_intra_, missing_inter_;  // [C]
  LayerNorm intra_norm_, inter_norm_;
  std::vector<WindowStep> first_, second_;  // the steps of each unit
  std::vector<Convolution2d> convolutions_;
  Convolution2d out_;
};

}  // namespace athanor
