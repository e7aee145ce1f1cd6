#include "athanor/detection/profusion3d/camera_encoder.h"

#include <ATen/ATen.h>

#include <string>

#include "athanor/base/error.h"

namespace athanor {

CameraEncoder::CameraEncoder(const LayerScope& scope, const CameraEncoderOptions& options)
    : options_(options) {
  const size_t stages = options.channels.size();
  ATHANOR_CHECK(stages > 0 && options.blocks.size() == stages,
                "camera encoder: expected channels and blocks of the same stages, found ", stages,
                " and ", options.blocks.size());
  ATHANOR_CHECK(options.stride >= 2 && options.stride <= 1 << stages &&
                    (options.stride & (options.stride - 1)) == 0,
                "camera encoder: expected a stride of 2, 4, ... ", 1 << stages, ", found ",
                options.stride);
  int64_t in = 3;
  for (size_t s = 0; s < stages; ++s) {
    const LayerScope stage = scope / ("stage" + std::to_string(s));
    const int64_t out = options.channels[s];
    down_.emplace_back(stage / "down", in, out, Convolution2d::Options{.stride = 2});
    blocks_.emplace_back();
    for (int b = 0; b < options.blocks[s]; ++b) {
      const LayerScope block = stage / ("block" + std::to_string(b));
      blocks_.back().emplace_back(Convolution2d(block / "first", out, out),
                                  Convolution2d(block / "second", out, out));
      // Blocks begin as the identity.
      const at::NoGradGuard no_grad;
      blocks_.back().back().second.norm_scale().zero_();
    }
    in = out;
  }
  for (int s = static_cast<int>(stages) - 1; (2 << s) >= options.stride; --s) {
    const std::string level = std::to_string(2 << s);
    laterals_.emplace_back(scope / ("lateral" + level), options.channels[s], options.width,
                           Convolution2d::Options{.kernel = 1});
    if (s < static_cast<int>(stages) - 1) {
      smooth_.emplace_back(scope / ("smooth" + level), options.width, options.width);
    }
  }
}

at::Tensor CameraEncoder::Forward(const at::Tensor& images, bool training, bool bfloat16) const {
  const int64_t side = int64_t{1} << options_.channels.size();
  ATHANOR_CHECK(images.dim() == 4 && images.size(1) == 3 && images.size(2) % side == 0 &&
                    images.size(3) % side == 0 && images.scalar_type() == at::kByte,
                "camera encoder: expected pictures [C,3,H,W] of bytes with sides of multiples of ",
                side, ", found ", StrCat(images.sizes()));
  at::Tensor x = ((images.to(at::kFloat) - kPixelMean) / kPixelDeviation)
                     .to(bfloat16 ? at::kBFloat16 : at::kFloat)
                     .contiguous(at::MemoryFormat::ChannelsLast);
  std::vector<at::Tensor> levels;
  for (size_t s = 0; s < down_.size(); ++s) {
    x = at::relu(down_[s].Forward(x, training));
    for (const auto& [first, second] : blocks_[s]) {
      x = at::relu(x + second.Forward(at::relu(first.Forward(x, training)), training));
    }
    levels.push_back(x);
  }
  size_t s = levels.size() - 1;
  at::Tensor top = at::relu(laterals_[0].Forward(levels[s], training));
  for (size_t k = 1; k < laterals_.size(); ++k) {
    const at::Tensor lateral = laterals_[k].Forward(levels[--s], training);
    top = at::relu(lateral + at::upsample_nearest2d(top, {lateral.size(2), lateral.size(3)}));
    top = at::relu(smooth_[k - 1].Forward(top, training));
  }
  return top.to(at::kFloat).contiguous();
}

}  // namespace athanor
