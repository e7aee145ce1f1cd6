#include "athanor/detection/profusion3d/camera_encoder.h"

#include <ATen/ATen.h>

#include <string>

#include "athanor/base/error.h"

namespace athanor {
CameraEncoder::CameraEncoder(const LayerScope& scope, const CameraEncoderOptions& options)
    : options_(options) {
  if (options.swin) {
    swin_.emplace(scope / "swin", *options.swin);
  } else {
    ATHANOR_CHECK(!options.channels.empty() && options.blocks.size() == options.channels.size(),
                  "camera encoder: expected channels and blocks of the same stages, found ",
                  options.channels.size(), " and ", options.blocks.size());
  }
  const int last = stages() - 1;
  ATHANOR_CHECK(options.stride >= StrideOf(0) && options.stride <= StrideOf(last) &&
                    options.stride % StrideOf(0) == 0 &&
                    (options.stride & (options.stride - 1)) == 0,
                "camera encoder: expected a stride of ", StrideOf(0), ", ", 2 * StrideOf(0),
                ", ... ", StrideOf(last), ", found ", options.stride);
  int64_t in = 3;
  for (int s = 0; s <= last && !swin_; ++s) {
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
  for (int s = last; s >= 0 && StrideOf(s) >= options.stride; --s) {
    const std::string level = std::to_string(StrideOf(s));
    laterals_.emplace_back(scope / ("lateral" + level),
                           swin_ ? options.swin->channels(s) : options.channels[s], options.width,
                           Convolution2d::Options{.kernel = 1});
    if (s < last) {
      smooth_.emplace_back(scope / ("smooth" + level), options.width, options.width);
    }
  }
}

int CameraEncoder::stages() const {
  return options_.swin ? options_.swin->stages() : static_cast<int>(options_.channels.size());
}

int CameraEncoder::StrideOf(int stage) const {
  return options_.swin ? options_.swin->stride(stage) : 2 << stage;
}

std::vector<at::Tensor> CameraEncoder::Stages(const at::Tensor& images, bool training,
                                              bool bfloat16, at::Generator* drop_path) const {
  if (swin_) {
    const auto channels = [](const double(&values)[3]) {
      return at::tensor(at::ArrayRef<double>(values), at::kFloat).view({3, 1, 1});
    };
    const at::Tensor x = (images.to(at::kFloat) - channels(kImageNetMean).to(images.device())) /
                         channels(kImageNetDeviation).to(images.device());
    return swin_->Forward(x.to(bfloat16 ? at::kBFloat16 : at::kFloat), drop_path);
  }
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
  return levels;
}

at::Tensor CameraEncoder::Forward(const at::Tensor& images, bool training, bool bfloat16,
                                  at::Generator* drop_path) const {
  const int64_t side = StrideOf(stages() - 1);
  ATHANOR_CHECK(images.dim() == 4 && images.size(1) == 3 && images.size(2) % side == 0 &&
                    images.size(3) % side == 0 && images.scalar_type() == at::kByte,
                "camera encoder: expected pictures [C,3,H,W] of bytes with sides of multiples of ",
                side, ", found ", StrCat(images.sizes()));
  const std::vector<at::Tensor> levels = Stages(images, training, bfloat16, drop_path);
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
