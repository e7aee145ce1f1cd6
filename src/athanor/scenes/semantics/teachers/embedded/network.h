// The two networks of the embedded teacher: pictures to a unit vector per 4 x 4 pixels, phrases to
// unit vectors of the same space.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "athanor/nn/adamw.h"

namespace athanor {

struct EmbeddedNetworkShape {
  int dimension = 128;                                 // of the common space
  std::vector<int> channels = {24, 40, 80, 128, 192};  // at strides 2, 4, 8, 16, 32
  std::vector<int> blocks = {0, 1, 2, 2, 1};           // residual blocks there
  int decoder = 64;                                    // channels on the way back up
  int words = 0;                                       // of the vocabulary
  int text_width = 128, text_layers = 2, text_heads = 4;
};

constexpr int kEmbeddedStride = 4;
constexpr int kMaxPromptWords = 24;  // later words are not read

// A residual network down to stride 32 and a feature pyramid (Lin et al. 2017) back to stride 4.
// Batch normalisation while training; FoldNormalization leaves plain convolutions.
class ImageNetwork {
 public:
  ImageNetwork(const EmbeddedNetworkShape& shape, uint64_t seed);

  // images: [B,3,H,W] f32 in [0,1], sides multiples of 32. Returns [B,D,H/4,W/4], unit vectors
  // along D. `training`: batch statistics, which the running ones follow. `bfloat16`: the layers
  // compute in that type, where that is fast (nn/fast_bfloat16.h); twice as fast with AVX-512 BF16
  // or AMX.
  at::Tensor Forward(const at::Tensor& images, bool training, bool bfloat16 = false);

  Parameters& parameters() { return parameters_; }
  const Parameters& parameters() const { return parameters_; }

  // Weights and biases with the running statistics in them, under "image.". What LoadFolded reads.
  void SaveFolded(SafeTensors* file) const;
  void LoadFolded(const SafeTensors& file, std::string_view where);

 private:
  struct Convolution {
    std::string name;
    at::Tensor weight, bias;                  // bias undefined with normalisation
    at::Tensor scale, shift, mean, variance;  // of the normalisation
    int stride = 1;
    bool folded = false;
  };
  int AddConvolution(const std::string& name, int in, int out, int kernel, int stride,
                     bool normalize);
  at::Tensor Run(int convolution, const at::Tensor& x, bool training) const;

  EmbeddedNetworkShape shape_;
  uint64_t seed_;
  Parameters parameters_;
  std::vector<Convolution> convolutions_;
  std::vector<int> down_, laterals_, smooth_;
  std::vector<std::vector<std::pair<int, int>>> blocks_;
  int stem_ = 0, head_ = 0;
};

// A small transformer (Vaswani et al. 2017, layers normalised first) over words and their places;
// the mean of its outputs becomes the phrase's vector. Before it is brought to length 1, each of
// its numbers is brought to mean 0 and deviation 1 over phrases: else, while pictures still look
// all alike to their network, all phrases move towards them together and hardly part again.
class TextNetwork {
 public:
  TextNetwork(const EmbeddedNetworkShape& shape, uint64_t seed);

  // Per phrase, ids of words (at least one; those past kMaxPromptWords are dropped). [P,D] unit.
  // `training`: mean and deviation of these phrases, which the running ones follow.
  at::Tensor Forward(std::span<const std::vector<int>> phrases, bool training) const;

  Parameters& parameters() { return parameters_; }
  const Parameters& parameters() const { return parameters_; }

 private:
  EmbeddedNetworkShape shape_;
  Parameters parameters_;
};

}  // namespace athanor
