// From pictures to feature maps: a residual network and a feature pyramid (He et al. 2016; Lin et
// al. 2017), small enough for a CPU.
#pragma once

#include <ATen/core/Tensor.h>

#include <utility>
#include <vector>

#include "athanor/nn/dense_layers.h"

namespace athanor {

// What pixels are normalised by: of ImageNet, near enough for any picture; bytes.
inline constexpr double kPixelMean = 115, kPixelDeviation = 58;

struct CameraEncoderOptions {
  // Per stride 2, 4, 8, ...
  std::vector<int64_t> channels = {16, 32, 64, 96, 128};
  std::vector<int> blocks = {0, 1, 2, 2, 1};  // residual blocks there
  int stride = 16;                            // of the map; one of those above
  int64_t width = 64;                         // of the map
};

class CameraEncoder {
 public:
  // Throws Error for options that do not fit together.
  CameraEncoder(const LayerScope& scope, const CameraEncoderOptions& options);

  int stride() const { return options_.stride; }
  // images: [C,3,H,W] u8, sides multiples of 2^(number of stages). Returns [C,width,H/s,W/s] f32.
  // `bfloat16`: the convolutions compute in that type. Throws Error for another shape.
  at::Tensor Forward(const at::Tensor& images, bool training, bool bfloat16 = false) const;

 private:
  CameraEncoderOptions options_;
  std::vector<Convolution2d> down_;
  std::vector<std::vector<std::pair<Convolution2d, Convolution2d>>> blocks_;
  std::vector<Convolution2d> laterals_, smooth_;  // from the coarsest on
};

}  // namespace athanor
