// From pictures to feature maps: a residual network, small enough for a CPU, or a Swin Transformer,
// and a feature pyramid (He et al. 2016; Liu et al. 2021; Lin et al. 2017).
#pragma once

#include <ATen/core/Generator.h>
#include <ATen/core/Tensor.h>

#include <optional>
#include <utility>
#include <vector>

#include "athanor/nn/dense_layers.h"
#include "athanor/nn/swin_transformer.h"

namespace athanor {

// What pixels are normalised by: of ImageNet, near enough for any picture; bytes. Swin, which may
// begin from public weights, has them by channel.
inline constexpr double kPixelMean = 115, kPixelDeviation = 58;

struct CameraEncoderOptions {
  // Of the residual network, per stride 2, 4, 8, ...
  std::vector<int64_t> channels = {16, 32, 64, 96, 128};
  std::vector<int> blocks = {0, 1, 2, 2, 1};  // residual blocks there
  std::optional<SwinOptions> swin;            // instead of it; its scope is "swin"
  int stride = 16;                            // of the map; that of a stage
  int64_t width = 64;                         // of the map
};

class CameraEncoder {
 public:
  // Throws Error for options that do not fit together.
  CameraEncoder(const LayerScope& scope, const CameraEncoderOptions& options);

  int stride() const { return options_.stride; }
  // images: [C,3,H,W] u8, sides multiples of the last stage's stride. Returns [C,width,H/s,W/s]
  // f32. `bfloat16`: the network computes in that type. `drop_path`: see SwinTransformer. Throws
  // Error for another shape.
  at::Tensor Forward(const at::Tensor& images, bool training, bool bfloat16 = false,
                     at::Generator* drop_path = nullptr) const;

 private:
  int stages() const;
  int StrideOf(int stage) const;
  // The maps of all stages, the finest first.
  std::vector<at::Tensor> Stages(const at::Tensor& images, bool training, bool bfloat16,
                                 at::Generator* drop_path) const;

  CameraEncoderOptions options_;
  std::optional<SwinTransformer> swin_;
  std::vector<Convolution2d> down_;
  std::vector<std::vector<std::pair<Convolution2d, Convolution2d>>> blocks_;
  std::vector<Convolution2d> laterals_, smooth_;  // from the coarsest on
};

}  // namespace athanor
