#include "athanor/nn/swin_transformer.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <utility>

#include "athanor/base/error.h"

namespace athanor {
namespace {

constexpr int64_t kExpansion = 4;  // of the perceptrons

// Of rows [B,h,w,C]: each picture's with the probability, the others grown to make up for them.
at::Tensor DropPaths(const at::Tensor& branch, double probability, at::Generator* generator) {
  if (generator == nullptr || probability == 0) return branch;
  const double keep = 1 - probability;
  const at::Tensor kept =
      at::rand({branch.size(0), 1, 1, 1}, *generator, at::TensorOptions(at::kFloat))
          .lt(keep)
          .to(branch.options());
  return branch * (kept / keep);
}

// [B,h,w,C] to [B,h/2,w/2,4C]: of four pixels the upper left, lower left, upper right, lower right.
at::Tensor Merge(const at::Tensor& x) {
  return x.reshape({x.size(0), x.size(1) / 2, 2, x.size(2) / 2, 2, x.size(3)})
      .permute({0, 1, 3, 4, 2, 5})
      .reshape({x.size(0), x.size(1) / 2, x.size(2) / 2, 4 * x.size(3)});
}

std::string StageName(int stage) { return "stage" + std::to_string(stage); }
std::string BlockName(int block) { return "block" + std::to_string(block); }

}  // namespace

SwinTransformer::SwinTransformer(const LayerScope& scope, const SwinOptions& options)
    : options_(options) {
  const int stages = options.stages();
  ATHANOR_CHECK(stages > 0 && options.heads.size() == options.depths.size(),
                "Swin: expected depths and heads of the same stages, found ", stages, " and ",
                options.heads.size());
  ATHANOR_CHECK(
      options.patch >= 1 && options.embed >= 1 && options.drop_path >= 0 && options.drop_path < 1,
      "Swin: expected patches and channels of 1 or more, and a probability below 1 of "
      "leaving out, found ",
      options.patch, ", ", options.embed, " and ", options.drop_path);
  int blocks = 0;
  for (const int depth : options.depths) {
    ATHANOR_CHECK(depth >= 1, "Swin: expected a block or more in each stage, found ", depth);
    blocks += depth;
  }
  patch_ = Linear(scope / "patch", int64_t{3} * options.patch * options.patch, options.embed);
  patch_norm_ = LayerNorm(scope / "patch_norm", options.embed);
  int index = 0;
  for (int s = 0; s < stages; ++s) {
    const LayerScope inside = scope / StageName(s);
    const int64_t width = options.channels(s);
    Stage& stage = stages_.emplace_back();
    if (s > 0) {
      stage.merge_norm = LayerNorm(inside / "merge_norm", 2 * width);
      stage.merge = Linear(inside / "merge", 2 * width, width, /*with_bias=*/false);
    }
    for (int b = 0; b < options.depths[s]; ++b, ++index) {
      const LayerScope at = inside / BlockName(b);
      Block& block = stage.blocks.emplace_back();
      block.attention_norm = LayerNorm(at / "attention_norm", width);
      block.attention = WindowAttentionLayer(at / "attention", width, width,
                                             {options.window, options.heads[s], 0, 0});
      block.perceptron_norm = LayerNorm(at / "perceptron_norm", width);
      block.expand = Linear(at / "expand", width, kExpansion * width);
      block.shrink = Linear(at / "shrink", kExpansion * width, width);
      block.is_shifted = b % 2 == 1;
      block.drop_path = options.drop_path * index / std::max(1, blocks - 1);
    }
    stage.out_norm = LayerNorm(inside / "out_norm", width);
  }
}

at::Tensor SwinTransformer::Run(const Block& block, const at::Tensor& x,
                                at::Generator* drop_path) const {
  const int64_t rows = x.size(1), columns = x.size(2), m = options_.window;
  const int64_t below = (m - rows % m) % m, beside = (m - columns % m) % m;
  at::Tensor y = block.attention_norm.Forward(x);
  if (below > 0 || beside > 0) y = at::constant_pad_nd(y, {0, 0, 0, beside, 0, below});
  // Rolling the map up by M / 2 and masking what came around (section 3.2) is the same as windows
  // that begin M - M / 2 before it, those at its edges cut off.
  const bool is_shifted = block.is_shifted && std::min(rows, columns) > m;
  const int offset = is_shifted ? options_.window - options_.window / 2 : 0;
  y = block.attention.Forward(y, y, offset, offset);
  if (below > 0 || beside > 0) y = y.slice(1, 0, rows).slice(2, 0, columns);
  const at::Tensor met = x + DropPaths(y, block.drop_path, drop_path);
  const at::Tensor hidden = at::gelu(block.expand.Forward(block.perceptron_norm.Forward(met)));
  return met + DropPaths(block.shrink.Forward(hidden), block.drop_path, drop_path);
}

std::vector<at::Tensor> SwinTransformer::Forward(const at::Tensor& images,
                                                 at::Generator* drop_path) const {
  const int64_t side = options_.stride(options_.stages() - 1), p = options_.patch;
  ATHANOR_CHECK(images.dim() == 4 && images.size(1) == 3 && images.size(2) % side == 0 &&
                    images.size(3) % side == 0 && images.numel() > 0,
                "Swin: expected pictures [B,3,H,W] with sides of multiples of ", side, ", found ",
                StrCat(images.sizes()));
  const int64_t batch = images.size(0), rows = images.size(2) / p, columns = images.size(3) / p;
  at::Tensor x = images.reshape({batch, 3, rows, p, columns, p})
                     .permute({0, 2, 4, 1, 3, 5})
                     .reshape({batch, rows, columns, 3 * p * p});
  x = patch_norm_.Forward(patch_.Forward(x));
  std::vector<at::Tensor> maps;
  for (size_t s = 0; s < stages_.size(); ++s) {
    const Stage& stage = stages_[s];
    if (s > 0) x = stage.merge.Forward(stage.merge_norm.Forward(Merge(x)));
    for (const Block& block : stage.blocks) x = Run(block, x, drop_path);
    maps.push_back(stage.out_norm.Forward(x).permute({0, 3, 1, 2}));
  }
  return maps;
}

void LoadSwinWeights(const SafeTensors& file, std::string_view where, const std::string& prefix,
                     const SwinOptions& options, Parameters* parameters) {
  std::vector<std::pair<at::Tensor, at::Tensor>> copies;  // to, from
  const auto take = [&](const std::string& to, const std::string& name, const at::Tensor& from) {
    const at::Tensor& tensor = parameters->Get(prefix + to);
    ATHANOR_CHECK(from.sizes() == tensor.sizes(), where, ": tensor ", name, ": expected ",
                  StrCat(tensor.sizes()), " for ", prefix, to, ", found ", StrCat(from.sizes()));
    copies.emplace_back(tensor, from);
  };
  const auto copy = [&](const std::string& to, const std::string& name) {
    take(to, name, file.Get(name, where));
  };
  const auto norm = [&](const std::string& to, const std::string& name) {
    copy(to + ".scale", name + ".weight");
    copy(to + ".shift", name + ".bias");
  };
  const auto linear = [&](const std::string& to, const std::string& name) {
    copy(to + ".weight", name + ".weight");
    copy(to + ".bias", name + ".bias");
  };
  const std::string patches = "patch_embed.proj.weight";
  const at::Tensor& kernels = file.Get(patches, where);
  ATHANOR_CHECK(kernels.dim() == 4, where, ": tensor ", patches,
                ": expected kernels [C,3,P,P], found ", StrCat(kernels.sizes()));
  take("patch.weight", patches, kernels.flatten(1));
  copy("patch.bias", "patch_embed.proj.bias");
  norm("patch_norm", "patch_embed.norm");
  for (int s = 0; s < options.stages(); ++s) {
    const std::string stage = StageName(s) + ".";
    if (s > 0) {
      // The authors count it to the stage before.
      const std::string merge = StrCat("layers.", s - 1, ".downsample.");
      norm(stage + "merge_norm", merge + "norm");
      copy(stage + "merge.weight", merge + "reduction.weight");
    }
    for (int b = 0; b < options.depths[s]; ++b) {
      const std::string to = stage + BlockName(b) + ".";
      const std::string from = StrCat("layers.", s, ".blocks.", b, ".");
      norm(to + "attention_norm", from + "norm1");
      norm(to + "perceptron_norm", from + "norm2");
      linear(to + "attention.out", from + "attn.proj");
      linear(to + "expand", from + "mlp.fc1");
      linear(to + "shrink", from + "mlp.fc2");
      const std::string table = from + "attn.relative_position_bias_table";
      const at::Tensor& biases = file.Get(table, where);
      ATHANOR_CHECK(biases.dim() == 2, where, ": tensor ", table,
                    ": expected [(2M-1)^2,heads], found ", StrCat(biases.sizes()));
      take(to + "attention.table", table, biases.t());
      for (const char* part : {"weight", "bias"}) {
        const std::string name = from + "attn.qkv." + part;
        const at::Tensor& all = file.Get(name, where);
        const int64_t width = options.channels(s);
        ATHANOR_CHECK(all.dim() >= 1 && all.size(0) == 3 * width, where, ": tensor ", name,
                      ": expected ", 3 * width, " rows, found ", StrCat(all.sizes()));
        take(to + "attention.query." + part, name, all.slice(0, 0, width));
        take(to + "attention.key_value." + part, name, all.slice(0, width));
      }
    }
  }
  const at::NoGradGuard no_gradient;
  for (auto& [to, from] : copies) to.copy_(from);
}

}  // namespace athanor
