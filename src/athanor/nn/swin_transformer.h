// The Swin Transformer, a backbone for pictures (Liu et al., "Swin Transformer: Hierarchical Vision
// Transformer using Shifted Windows", ICCV 2021): patches, then stages of blocks of attention in
// windows, which every other block shifts by half; between stages four pixels become one. The
// defaults are Swin-T.
#pragma once

#include <ATen/core/Generator.h>
#include <ATen/core/Tensor.h>

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "athanor/nn/dense_layers.h"
#include "athanor/nn/safetensors.h"
#include "athanor/nn/window_attention.h"

namespace athanor {

struct SwinOptions {
  int64_t embed = 96;                      // channels of the first stage; they double at each
  std::vector<int> depths = {2, 2, 6, 2};  // blocks of a stage
  std::vector<int> heads = {3, 6, 12, 24};
  int window = 7, patch = 4;  // pixels of the map, of the picture
  // Of the last block in training; those before it less, the first 0 (stochastic depth, Huang et
  // al. 2016).
  double drop_path = 0.2;

  int stages() const { return static_cast<int>(depths.size()); }
  int64_t channels(int stage) const { return embed << stage; }
  int stride(int stage) const { return patch << stage; }
};

class SwinTransformer {
 public:
  // Throws Error for options that do not fit together.
  SwinTransformer(const LayerScope& scope, const SwinOptions& options);

  const SwinOptions& options() const { return options_; }
  // images [B,3,H,W], normalised, float32 or bfloat16, sides multiples of the last stage's stride.
  // Returns each stage's map, [B,channels,H/stride,W/stride] with channels last in memory, behind a
  // norm of its own, as the detection networks of the paper take them. `drop_path`: in training,
  // branches of blocks are left out, picture by picture; null: none. Throws Error for other shapes.
  //
  // Maps are padded with zeros behind the first norm to whole windows, and padding is a key like
  // any other: so do the networks that the public weights are used in. Where one window spans a
  // side of the map, nothing is shifted.
  std::vector<at::Tensor> Forward(const at::Tensor& images,
                                  at::Generator* drop_path = nullptr) const;

 private:
  struct Block {
    LayerNorm attention_norm, perceptron_norm;
    WindowAttentionLayer attention;
    Linear expand, shrink;
    bool is_shifted;
    double drop_path;
  };
  struct Stage {
    LayerNorm merge_norm;  // of all stages but the first
    Linear merge;
    std::vector<Block> blocks;
    LayerNorm out_norm;
  };
  at::Tensor Run(const Block& block, const at::Tensor& x, at::Generator* drop_path) const;

  SwinOptions options_;
  Linear patch_;
  LayerNorm patch_norm_;
  std::vector<Stage> stages_;
};

// What ImageNet's pictures are normalised by, bytes, R, G, B: (x - mean) / deviation.
inline constexpr double kImageNetMean[3] = {123.675, 116.28, 103.53};
inline constexpr double kImageNetDeviation[3] = {58.395, 57.12, 57.375};

// Takes weights of a classifier as microsoft/Swin-Transformer publishes them
// ("swin_tiny_patch4_window7_224", its "model" written as safetensors: patch_embed.proj.weight,
// layers.0.blocks.0.attn.qkv.weight, ...). `prefix`: of the transformer's scope ("camera.swin.").
// The norms of the stages' maps stay as they are, for a classifier has none; its own last norm and
// head are passed over. Throws Error, naming `where`, for a tensor that is missing or of another
// shape, and then leaves parameters as they were.
void LoadSwinWeights(const SafeTensors& file, std::string_view where, const std::string& prefix,
                     const SwinOptions& options, Parameters* parameters);

}  // namespace athanor
