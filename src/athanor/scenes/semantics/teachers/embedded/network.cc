#include "athanor/scenes/semantics/teachers/embedded/network.h"

#include <ATen/ATen.h>
#include <ATen/CPUGeneratorImpl.h>

#include <algorithm>
#include <cmath>

#include "athanor/base/error.h"
#include "athanor/base/random.h"
#include "athanor/nn/fast_bfloat16.h"

namespace athanor {
namespace {

constexpr double kMomentum = 0.03, kVarianceFloor = 1e-5;

at::Generator MakeGenerator(uint64_t seed) { return at::detail::createCPUGenerator(seed); }

at::Tensor Unit(const at::Tensor& x, int64_t dim) {
  return x / x.norm(2, {dim}, /*keepdim=*/true).clamp_min(1e-6);
}

}  // namespace

ImageNetwork::ImageNetwork(const EmbeddedNetworkShape& shape, uint64_t seed)
    : shape_(shape), seed_(seed) {
  ATHANOR_CHECK(shape.channels.size() == 5 && shape.blocks.size() == 5,
                "image network: expected channels and blocks of 5 strides, found ",
                shape.channels.size(), " and ", shape.blocks.size());
  int in = 3;
  for (size_t level = 0; level < shape.channels.size(); ++level) {
    const std::string stage = "stage" + std::to_string(level);
    const int out = shape.channels[level];
    down_.push_back(AddConvolution(stage + ".down", in, out, 3, 2, true));
    blocks_.emplace_back();
    for (int b = 0; b < shape.blocks[level]; ++b) {
      const std::string block = stage + ".block" + std::to_string(b);
      const int first = AddConvolution(block + ".first", out, out, 3, 1, true);
      const int second = AddConvolution(block + ".second", out, out, 3, 1, true);
      // Blocks begin as the identity.
      const at::NoGradGuard no_grad;
      convolutions_[second].scale.zero_();
      blocks_.back().emplace_back(first, second);
    }
    if (level > 0) {
      laterals_.push_back(
          AddConvolution("lateral" + std::to_string(level), out, shape.decoder, 1, 1, true));
    }
    in = out;
  }
  for (const char* name : {"smooth16", "smooth8", "smooth4"}) {
    smooth_.push_back(AddConvolution(name, shape.decoder, shape.decoder, 3, 1, true));
  }
  head_ = AddConvolution("head", shape.decoder, shape.dimension, 1, 1, false);
}

int ImageNetwork::AddConvolution(const std::string& name, int in, int out, int kernel, int stride,
                                 bool normalize) {
  Convolution c;
  c.name = name;
  c.stride = stride;
  const double deviation = std::sqrt(2.0 / (in * kernel * kernel));
  at::Generator generator = MakeGenerator(seed_ * 1000 + convolutions_.size());
  c.weight = parameters_.Add(
      name + ".weight", at::randn({out, in, kernel, kernel}, generator, at::kFloat) * deviation);
  if (normalize) {
    c.scale = parameters_.Add(name + ".scale", at::ones({out}));
    c.shift = parameters_.Add(name + ".shift", at::zeros({out}));
    c.mean = parameters_.AddBuffer(name + ".mean", at::zeros({out}));
    c.variance = parameters_.AddBuffer(name + ".variance", at::ones({out}));
  } else {
    c.bias = parameters_.Add(name + ".bias", at::zeros({out}));
  }
  convolutions_.push_back(std::move(c));
  return static_cast<int>(convolutions_.size()) - 1;
}

at::Tensor ImageNetwork::Run(int convolution, const at::Tensor& x, bool training) const {
  const Convolution& c = convolutions_[convolution];
  const int64_t padding = c.weight.size(2) / 2;
  const at::Tensor weight = c.weight.to(x.scalar_type()).contiguous(at::MemoryFormat::ChannelsLast);
  const at::Tensor bias = c.bias.defined() ? c.bias.to(x.scalar_type()) : c.bias;
  at::Tensor y = at::conv2d(x, weight, bias, c.stride, padding);
  if (!c.folded && c.scale.defined()) {
    y = at::batch_norm(y, c.scale, c.shift, c.mean, c.variance, training, kMomentum, kVarianceFloor,
                       /*cudnn_enabled=*/false);
  }
  return y;
}

at::Tensor ImageNetwork::Forward(const at::Tensor& images, bool training, bool bfloat16) {
  ATHANOR_CHECK(images.dim() == 4 && images.size(1) == 3 && images.size(2) % 32 == 0 &&
                    images.size(3) % 32 == 0,
                "image network: expected [B,3,H,W] with sides of multiples of 32, found ",
                StrCat(images.sizes()));
  at::Tensor x = ((images - 0.45) / 0.25)
                     .to(bfloat16 && HasFastBfloat16(images.device()) ? at::kBFloat16 : at::kFloat)
                     .contiguous(at::MemoryFormat::ChannelsLast);
  std::vector<at::Tensor> levels;
  for (size_t level = 0; level < down_.size(); ++level) {
    x = at::relu(Run(down_[level], x, training));
    for (const auto& [first, second] : blocks_[level]) {
      x = at::relu(x + Run(second, at::relu(Run(first, x, training)), training));
    }
    if (level > 0) levels.push_back(x);
  }
  at::Tensor top = at::relu(Run(laterals_[3], levels[3], training));
  for (int level = 2; level >= 0; --level) {
    const at::Tensor side = Run(laterals_[level], levels[level], training);
    top = at::relu(side + at::upsample_nearest2d(top, {side.size(2), side.size(3)}));
    top = at::relu(Run(smooth_[2 - level], top, training));
  }
  return Unit(Run(head_, top, training).to(at::kFloat), 1);
}

void ImageNetwork::SaveFolded(SafeTensors* file) const {
  const at::NoGradGuard no_grad;
  for (const Convolution& c : convolutions_) {
    at::Tensor weight = c.weight.detach(), bias = c.bias;
    if (!c.folded && c.scale.defined()) {
      const at::Tensor factor = c.scale / (c.variance + kVarianceFloor).sqrt();
      weight = weight * factor.view({-1, 1, 1, 1});
      bias = c.shift - c.mean * factor;
    }
    file->tensors.emplace_back("image." + c.name + ".weight", weight.to(at::kHalf).contiguous());
    file->tensors.emplace_back("image." + c.name + ".bias",
                               bias.detach().to(at::kHalf).contiguous());
  }
}

void ImageNetwork::LoadFolded(const SafeTensors& file, std::string_view where) {
  const at::NoGradGuard no_grad;
  for (Convolution& c : convolutions_) {
    const std::string name = "image." + c.name;
    const at::Tensor& weight = file.Get(name + ".weight", where);
    const at::Tensor& bias = file.Get(name + ".bias", where);
    ATHANOR_CHECK(
        weight.sizes() == c.weight.sizes() && bias.dim() == 1 && bias.size(0) == weight.size(0),
        where, ": expected ", name, ".weight of shape ", StrCat(c.weight.sizes()),
        " with a bias, found ", StrCat(weight.sizes()), " and ", StrCat(bias.sizes()));
    c.weight = weight.to(at::kFloat).contiguous(at::MemoryFormat::ChannelsLast);
    c.bias = bias.to(at::kFloat);
    c.folded = true;
  }
}

TextNetwork::TextNetwork(const EmbeddedNetworkShape& shape, uint64_t seed) : shape_(shape) {
  ATHANOR_CHECK(shape.words > 0 && shape.text_width % shape.text_heads == 0,
                "text network: expected words, and a width that the heads share evenly; found ",
                shape.words, " words, width ", shape.text_width, ", ", shape.text_heads, " heads");
  at::Generator generator = MakeGenerator(MixBits(seed));
  const auto normal = [&](const std::string& name, int64_t rows, int64_t columns, double spread) {
    parameters_.Add(name, at::randn({rows, columns}, generator, at::kFloat) * spread);
  };
  const int64_t width = shape.text_width;
  const double spread = 1 / std::sqrt(static_cast<double>(width));
  const auto norm = [&](const std::string& name) {
    parameters_.Add(name + ".scale", at::ones({width}));
    parameters_.Add(name + ".shift", at::zeros({width}));
  };
  normal("words", shape.words + 1, width, 1);  // row 0 fills up short phrases
  normal("places", kMaxPromptWords, width, 0.2);
  for (int layer = 0; layer < shape.text_layers; ++layer) {
    const std::string name = "layer" + std::to_string(layer);
    norm(name + ".norm1");
    normal(name + ".qkv", 3 * width, width, spread);
    normal(name + ".out", width, width, 0.5 * spread);
    norm(name + ".norm2");
    normal(name + ".up", 2 * width, width, spread);
    normal(name + ".down", width, 2 * width, 0.35 * spread);
  }
  norm("norm");
  normal("head", shape.dimension, width, spread);
  parameters_.AddBuffer("mean", at::zeros({shape.dimension}));
  parameters_.AddBuffer("variance", at::ones({shape.dimension}));
}

at::Tensor TextNetwork::Forward(std::span<const std::vector<int>> phrases, bool training) const {
  const int64_t count = static_cast<int64_t>(phrases.size());
  size_t longest = 1;
  for (const auto& ids : phrases) {
    ATHANOR_CHECK(!ids.empty(), "text network: a phrase has no words");
    longest = std::max(longest, std::min<size_t>(ids.size(), kMaxPromptWords));
  }
  const int64_t length = static_cast<int64_t>(longest);
  at::Tensor ids = at::zeros({count, length}, at::kLong);
  auto access = ids.accessor<int64_t, 2>();
  for (int64_t p = 0; p < count; ++p) {
    for (int64_t w = 0; w < length && w < static_cast<int64_t>(phrases[p].size()); ++w) {
      const int id = phrases[p][w];
      ATHANOR_CHECK(id >= 0 && id < shape_.words, "text network: expected words below ",
                    shape_.words, ", found ", id);
      access[p][w] = id + 1;
    }
  }
  const Parameters& of = parameters_;
  const int64_t width = shape_.text_width, heads = shape_.text_heads, depth = width / heads;
  const at::Tensor there = ids.ne(0);  // [P,L]
  const auto norm = [&](const std::string& name, const at::Tensor& x) {
    return at::layer_norm(x, {width}, of.Get(name + ".scale"), of.Get(name + ".shift"));
  };
  at::Tensor x = at::embedding(of.Get("words"), ids) + of.Get("places").narrow(0, 0, length);
  const at::Tensor blocked = there.logical_not().view({count, 1, 1, length});
  for (int layer = 0; layer < shape_.text_layers; ++layer) {
    const std::string name = "layer" + std::to_string(layer);
    const at::Tensor qkv = at::linear(norm(name + ".norm1", x), of.Get(name + ".qkv"))
                               .view({count, length, 3, heads, depth})
                               .permute({2, 0, 3, 1, 4});  // [3,P,heads,L,depth]
    const at::Tensor scores =
        at::matmul(qkv[0], qkv[1].transpose(-2, -1)) / std::sqrt(static_cast<double>(depth));
    const at::Tensor weights = at::softmax(scores.masked_fill(blocked, -1e9), -1);
    const at::Tensor mixed =
        at::matmul(weights, qkv[2]).transpose(1, 2).reshape({count, length, width});
    x = x + at::linear(mixed, of.Get(name + ".out"));
    x = x + at::linear(at::gelu(at::linear(norm(name + ".norm2", x), of.Get(name + ".up"))),
                       of.Get(name + ".down"));
  }
  const at::Tensor weights = there.to(at::kFloat).unsqueeze(2);
  const at::Tensor mean = (norm("norm", x) * weights).sum(1) / weights.sum(1);
  return Unit(at::batch_norm(at::linear(mean, of.Get("head")), {}, {}, of.Get("mean"),
                             of.Get("variance"), training, kMomentum, kVarianceFloor,
                             /*cudnn_enabled=*/false),
              1);
}

}  // namespace athanor
