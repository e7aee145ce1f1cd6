#include "athanor/nn/mink_unet.h"

#include <ATen/ATen.h>

#include <map>
#include <sstream>

#include "athanor/base/error.h"

namespace athanor {
namespace {

constexpr int kLevels = 4, kStemKernel = 5, kBlockKernel = 3, kStride = 2;
constexpr const char* kArchitecture = "mink_unet";

// Walks the network: visit(name, volume, in, out) for every layer, in the order of running.
template <typename F>
void VisitLayers(const MinkUNetOptions& o, const F& visit) {
  constexpr int kBlockVolume = kBlockKernel * kBlockKernel * kBlockKernel;
  constexpr int kStrideVolume = kStride * kStride * kStride;
  const auto blocks = [&](const std::string& name, int stage, int in) {
    const int out = o.channels[stage];
    for (int b = 0; b < o.blocks[stage]; ++b, in = out) {
      const std::string block = StrCat(name, ".block", b);
      visit(block + ".conv1", kBlockVolume, in, out);
      if (in != out) visit(block + ".shortcut", 1, in, out);
      visit(block + ".conv2", kBlockVolume, out, out);
    }
  };
  visit("stem", kStemKernel * kStemKernel * kStemKernel, o.in_channels, o.stem_channels);
  std::vector<int> skips = {o.stem_channels};
  for (int level = 0; level < kLevels; ++level) {
    const std::string name = StrCat("encoder", level + 1);
    visit(name + ".down", kStrideVolume, skips.back(), skips.back());
    blocks(name, level, skips.back());
    skips.push_back(o.channels[level]);
  }
  int in = skips.back();
  for (int level = 0; level < kLevels; ++level) {
    const std::string name = StrCat("decoder", level + 1);
    const int out = o.channels[kLevels + level];
    visit(name + ".up", kStrideVolume, in, out);
    blocks(name, kLevels + level, out + skips[kLevels - 1 - level]);
    in = out;
  }
  visit("head", 1, in, o.out_channels);
}

// Runs the network: apply(layer, features, map, residual, relu) gives the features behind a layer.
template <typename F>
at::Tensor RunLayers(const MinkUNetOptions& o, const SparseTensor& input, const F& apply) {
  int layer = 0;
  const auto blocks = [&](at::Tensor x, int stage, VoxelGrid& grid) {
    for (int b = 0; b < o.blocks[stage]; ++b) {
      const ConvMap& map = grid.Submanifold(kBlockKernel);
      const bool widens = x.size(1) != o.channels[stage];
      const at::Tensor inner = apply(layer++, x, map, at::Tensor(), true);
      const at::Tensor shortcut =
          widens ? apply(layer++, x, grid.Submanifold(1), at::Tensor(), false) : x;
      x = apply(layer++, inner, map, shortcut, true);
    }
    return x;
  };
  std::vector<std::shared_ptr<VoxelGrid>> grids = {input.grid};
  at::Tensor x =
      apply(layer++, input.features, input.grid->Submanifold(kStemKernel), at::Tensor(), true);
  std::vector<at::Tensor> skips = {x};
  for (int level = 0; level < kLevels; ++level) {
    const auto& down = grids.back()->Down(kStride, kStride);
    grids.push_back(down.grid);
    x = blocks(apply(layer++, x, down.map, at::Tensor(), true), level, *down.grid);
    skips.push_back(x);
  }
  for (int level = kLevels - 1; level >= 0; --level) {
    const ConvMap up = grids[level]->Down(kStride, kStride).map.Inverse();
    x = apply(layer++, x, up, at::Tensor(), true);
    x = blocks(at::cat({x, skips[level]}, 1), 2 * kLevels - 1 - level, *grids[level]);
  }
  return apply(layer++, x, input.grid->Submanifold(1), at::Tensor(), false);
}

void CheckInput(const SparseTensor& input, const MinkUNetOptions& options) {
  ATHANOR_CHECK(input.grid != nullptr && input.features.defined() && input.features.dim() == 2 &&
                    input.features.size(0) == input.grid->size() &&
                    input.features.size(1) == options.in_channels,
                "network input: expected features of shape [voxels,", options.in_channels,
                "], found ", input.features.defined() ? input.features.sizes() : c10::IntArrayRef(),
                " for ", input.grid != nullptr ? input.grid->size() : 0, " voxels");
}

std::string JoinNumbers(const std::array<int, 8>& values) {
  std::string text;
  for (const int v : values) text += (text.empty() ? "" : " ") + std::to_string(v);
  return text;
}

}  // namespace

MinkUNetOptions NamedMinkUNet(const std::string& name, int in_channels, int out_channels) {
  MinkUNetOptions options;
  options.in_channels = in_channels;
  options.out_channels = out_channels;
  if (name == "14A") {
    options.blocks = {1, 1, 1, 1, 1, 1, 1, 1};
  } else if (name == "18A") {
    options.blocks = {2, 2, 2, 2, 2, 2, 2, 2};
  } else {
    ATHANOR_CHECK(name == "34A", "network: expected 14A, 18A or 34A, found '", name, "'");
  }
  return options;
}

MinkUNet::MinkUNet(const MinkUNetOptions& options, uint64_t seed) : options_(options) {
  Random random(seed);
  VisitLayers(options_, [&](const std::string& name, int volume, int in, int out) {
    layers_.push_back(MakeConvLayer(name, volume, in, out, name != "head", &random));
  });
}

NamedTensors MinkUNet::Parameters() const {
  NamedTensors parameters;
  for (const auto& [name, tensor] : State()) {
    if (!name.ends_with("running_mean") && !name.ends_with("running_var")) {
      parameters.emplace_back(name, tensor);
    }
  }
  return parameters;
}

NamedTensors MinkUNet::State() const {
  NamedTensors state;
  for (const ConvLayer& layer : layers_) {
    for (auto& entry : layer.State()) state.push_back(std::move(entry));
  }
  return state;
}

void MinkUNet::SetState(const SafeTensors& content, const std::string& where) {
  const at::NoGradGuard no_grad;
  for (auto& [name, tensor] : State()) {
    const at::Tensor& given = content.Get(name, where);
    ATHANOR_CHECK(given.sizes() == tensor.sizes() && given.scalar_type() == at::kFloat, where,
                  ": tensor '", name, "': expected float32 of shape ", tensor.sizes(), ", found ",
                  c10::toString(given.scalar_type()), " of shape ", given.sizes());
    tensor.copy_(given);
  }
}

SafeTensors MinkUNet::ToSafeTensors() const {
  SafeTensors content;
  for (const auto& [name, tensor] : State()) content.tensors.emplace_back(name, tensor.detach());
  content.metadata = {{"architecture", kArchitecture},
                      {"in_channels", std::to_string(options_.in_channels)},
                      {"out_channels", std::to_string(options_.out_channels)},
                      {"stem_channels", std::to_string(options_.stem_channels)},
                      {"channels", JoinNumbers(options_.channels)},
                      {"blocks", JoinNumbers(options_.blocks)}};
  return content;
}

MinkUNet MinkUNet::FromSafeTensors(const SafeTensors& content, const std::string& where) {
  constexpr int kMost = 65536;  // channels, blocks: more is damage
  const auto numbers = [&](const std::string& key, int* out, int count) {
    const auto found = content.metadata.find(key);
    std::istringstream text(found != content.metadata.end() ? found->second : "");
    for (int i = 0; i < count; ++i) {
      ATHANOR_CHECK(text >> out[i] && out[i] >= 1 && out[i] <= kMost, where, ": metadata '", key,
                    "': expected ", count, " numbers of 1..", kMost, ", found '", text.str(), "'");
    }
  };
  const auto kind = content.metadata.find("architecture");
  ATHANOR_CHECK(kind != content.metadata.end() && kind->second == kArchitecture, where,
                ": expected metadata 'architecture' to be '", kArchitecture, "', found '",
                kind != content.metadata.end() ? kind->second : "", "'");
  MinkUNetOptions options;
  numbers("in_channels", &options.in_channels, 1);
  numbers("out_channels", &options.out_channels, 1);
  numbers("stem_channels", &options.stem_channels, 1);
  numbers("channels", options.channels.data(), 8);
  numbers("blocks", options.blocks.data(), 8);
  // Sizes come from the file: nothing is allocated that the file does not hold.
  VisitLayers(options, [&](const std::string& name, int volume, int in, int out) {
    const at::Tensor& weights = content.Get(name + ".weight", where);
    ATHANOR_CHECK(weights.sizes() == c10::IntArrayRef({volume, in, out}), where, ": tensor '", name,
                  ".weight': expected shape [", volume, ", ", in, ", ", out, "], found ",
                  weights.sizes());
  });
  MinkUNet network(options, 0);
  network.SetState(content, where);
  return network;
}

at::Tensor MinkUNet::Forward(const SparseTensor& input, bool training,
                             ConvPrecision precision) const {
  CheckInput(input, options_);
  return RunLayers(
      options_, input,
      [&](int layer, const at::Tensor& features, const ConvMap& map, const at::Tensor& residual,
          bool relu) {
        return RunConvLayer(layers_[layer], features, map, {residual, relu, training, precision});
      });
}

MinkUNetPredictor::MinkUNetPredictor(const MinkUNet& network, ConvPrecision precision)
    : options_(network.options()), precision_(precision) {
  for (const ConvLayer& layer : network.layers()) layers_.emplace_back(layer, precision);
}

at::Tensor MinkUNetPredictor::Predict(const SparseTensor& input) const {
  CheckInput(input, options_);
  const at::NoGradGuard no_grad;
  SparseTensor given = input;
  if (precision_ == ConvPrecision::kBfloat16) given.features = given.features.to(at::kBFloat16);
  const auto last = static_cast<int>(layers_.size()) - 1;
  return RunLayers(
      options_, given,
      [&](int layer, const at::Tensor& features, const ConvMap& map, const at::Tensor& residual,
          bool relu) { return layers_[layer].Run(features, map, residual, relu, layer == last); });
}

}  // namespace athanor
