// The oracle is Swin as the paper defines it, in plain tensors of double precision: maps rolled,
// cut into windows, wrapped pairs masked with -100.
#include "athanor/nn/swin_transformer.h"

#include <ATen/ATen.h>
#include <ATen/CPUGeneratorImpl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <filesystem>
#include <string>

#include "athanor/base/error.h"
#include "athanor/base/test_util.h"

namespace athanor {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

// A classifier's weights under their public names, made up.
SafeTensors MakeWeights(const SwinOptions& o, int64_t classes = 10) {
  SafeTensors file;
  at::Generator generator = at::detail::createCPUGenerator(3);
  const auto add = [&](const std::string& name, at::IntArrayRef sizes, double mean,
                       double deviation) {
    file.tensors.emplace_back(name, at::randn(sizes, generator, at::kFloat) * deviation + mean);
  };
  const auto norm = [&](const std::string& name, int64_t width) {
    add(name + ".weight", {width}, 1, 0.2), add(name + ".bias", {width}, 0, 0.2);
  };
  const auto linear = [&](const std::string& name, int64_t in, int64_t out) {
    add(name + ".weight", {out, in}, 0, 1 / std::sqrt(static_cast<double>(in)));
    add(name + ".bias", {out}, 0, 0.2);
  };
  add("patch_embed.proj.weight", {o.embed, 3, o.patch, o.patch}, 0, 0.2);
  add("patch_embed.proj.bias", {o.embed}, 0, 0.2);
  norm("patch_embed.norm", o.embed);
  for (int s = 0; s < o.stages(); ++s) {
    const int64_t width = o.channels(s), side = 2 * o.window - 1;
    for (int b = 0; b < o.depths[s]; ++b) {
      const std::string block = StrCat("layers.", s, ".blocks.", b, ".");
      norm(block + "norm1", width), norm(block + "norm2", width);
      add(block + "attn.relative_position_bias_table", {side * side, o.heads[s]}, 0, 1);
      linear(block + "attn.qkv", width, 3 * width), linear(block + "attn.proj", width, width);
      linear(block + "mlp.fc1", width, 4 * width), linear(block + "mlp.fc2", 4 * width, width);
    }
    if (s + 1 == o.stages()) break;
    const std::string merge = StrCat("layers.", s, ".downsample.");
    add(merge + "reduction.weight", {2 * width, 4 * width}, 0, 0.5 / std::sqrt(1.0 * width));
    norm(merge + "norm", 4 * width);
  }
  norm("norm", o.channels(o.stages() - 1));
  linear("head", o.channels(o.stages() - 1), classes);
  return file;
}

class Reference {
 public:
  Reference(const SafeTensors& file, const SwinOptions& options) : file_(file), o_(options) {}

  std::vector<at::Tensor> Forward(const at::Tensor& images) const {
    at::Tensor x = at::conv2d(images.to(at::kDouble), Get("patch_embed.proj.weight"),
                              Get("patch_embed.proj.bias"), o_.patch);
    x = Norm(x.permute({0, 2, 3, 1}), "patch_embed.norm");
    std::vector<at::Tensor> maps;
    for (int s = 0; s < o_.stages(); ++s) {
      for (int b = 0; b < o_.depths[s]; ++b) {
        const std::string block = StrCat("layers.", s, ".blocks.", b, ".");
        x = x + Attention(Norm(x, block + "norm1"), block + "attn.", o_.heads[s], b % 2 == 1);
        const at::Tensor hidden = at::gelu(Linear(Norm(x, block + "norm2"), block + "mlp.fc1"));
        x = x + Linear(hidden, block + "mlp.fc2");
      }
      maps.push_back(at::layer_norm(x, {x.size(3)}).permute({0, 3, 1, 2}));
      if (s + 1 == o_.stages()) break;
      const std::string merge = StrCat("layers.", s, ".downsample.");
      std::vector<at::Tensor> parts;
      for (const auto& [row, column] : {std::pair{0, 0}, {1, 0}, {0, 1}, {1, 1}}) {
        parts.push_back(x.slice(1, row, {}, 2).slice(2, column, {}, 2));
      }
      x = at::linear(Norm(at::cat(parts, -1), merge + "norm"), Get(merge + "reduction.weight"));
    }
    return maps;
  }

 private:
  at::Tensor Get(const std::string& name) const {
    return file_.Get(name, "weights").to(at::kDouble);
  }
  at::Tensor Linear(const at::Tensor& x, const std::string& name) const {
    return at::linear(x, Get(name + ".weight"), Get(name + ".bias"));
  }
  at::Tensor Norm(const at::Tensor& x, const std::string& name) const {
    return at::layer_norm(x, {x.size(3)}, Get(name + ".weight"), Get(name + ".bias"));
  }

  // [B,H,W,C] to [B * windows,M * M,C].
  at::Tensor Partition(const at::Tensor& x) const {
    const int64_t m = o_.window;
    return x.reshape({x.size(0), x.size(1) / m, m, x.size(2) / m, m, x.size(3)})
        .permute({0, 1, 3, 2, 4, 5})
        .reshape({-1, m * m, x.size(3)});
  }

  // [windows,1,M * M,M * M]: -100 between pixels of different parts of a rolled map.
  at::Tensor Mask(int64_t rows, int64_t columns, int64_t shift) const {
    const at::Tensor parts = at::zeros({1, rows, columns, 1}, at::kDouble);
    const auto part_of = [&](int64_t place, int64_t size) {
      return place < size - o_.window ? 0 : place < size - shift ? 1 : 2;
    };
    for (int64_t r = 0; r < rows; ++r) {
      for (int64_t c = 0; c < columns; ++c) {
        parts[0][r][c][0] = 3 * part_of(r, rows) + part_of(c, columns);
      }
    }
    const at::Tensor ids = Partition(parts).squeeze(-1);
    return ids.unsqueeze(1).ne(ids.unsqueeze(2)).to(at::kDouble).mul(-100).unsqueeze(1);
  }

  at::Tensor Attention(const at::Tensor& given, const std::string& name, int64_t heads,
                       bool is_shifted) const {
    const int64_t m = o_.window, rows = given.size(1), columns = given.size(2), c = given.size(3);
    const at::Tensor padded =
        at::constant_pad_nd(given, {0, 0, 0, (m - columns % m) % m, 0, (m - rows % m) % m});
    const int64_t shift = is_shifted && std::min(rows, columns) > m ? m / 2 : 0;
    const at::Tensor windows = Partition(padded.roll({-shift, -shift}, {1, 2}));
    const std::vector<at::Tensor> qkv = Linear(windows, name + "qkv")
                                            .view({-1, m * m, 3, heads, c / heads})
                                            .permute({2, 0, 3, 1, 4})
                                            .unbind(0);
    std::vector<int64_t> index;
    for (int64_t i = 0; i < m * m; ++i) {
      for (int64_t j = 0; j < m * m; ++j) {
        index.push_back((i / m - j / m + m - 1) * (2 * m - 1) + (i % m - j % m + m - 1));
      }
    }
    const at::Tensor bias = Get(name + "relative_position_bias_table")
                                .index_select(0, at::tensor(index, at::kLong))
                                .view({m * m, m * m, heads})
                                .permute({2, 0, 1});
    at::Tensor scores =
        at::matmul(qkv[0] / std::sqrt(1.0 * c / heads), qkv[1].transpose(-2, -1)) + bias;
    if (shift > 0) {
      scores =
          scores + Mask(padded.size(1), padded.size(2), shift).repeat({given.size(0), 1, 1, 1});
    }
    const at::Tensor met =
        at::matmul(scores.softmax(-1), qkv[2]).transpose(1, 2).reshape({-1, m * m, c});
    const at::Tensor out = Linear(met, name + "proj");
    return out.view({given.size(0), padded.size(1) / m, padded.size(2) / m, m, m, c})
        .permute({0, 1, 3, 2, 4, 5})
        .reshape(padded.sizes())
        .roll({shift, shift}, {1, 2})
        .slice(1, 0, rows)
        .slice(2, 0, columns);
  }

  const SafeTensors& file_;
  SwinOptions o_;
};

SwinOptions Small(int window, std::vector<int> depths, std::vector<int> heads) {
  SwinOptions options;
  options.embed = 16, options.window = window;
  options.depths = std::move(depths), options.heads = std::move(heads);
  return options;
}

void ExpectReference(const SwinOptions& options, const at::Tensor& images) {
  const at::NoGradGuard no_gradient;
  const SafeTensors file = MakeWeights(options);
  Parameters parameters;
  const SwinTransformer swin({&parameters, 1, "camera.swin."}, options);
  LoadSwinWeights(file, "made.safetensors", "camera.swin.", options, &parameters);
  const std::vector<at::Tensor> found = swin.Forward(images);
  const std::vector<at::Tensor> expected = Reference(file, options).Forward(images);
  ASSERT_EQ(found.size(), expected.size());
  for (size_t s = 0; s < found.size(); ++s) {
    ASSERT_EQ(found[s].sizes(), expected[s].sizes());
    EXPECT_EQ(found[s].size(1), options.channels(static_cast<int>(s)));
    EXPECT_EQ(found[s].size(2) * options.stride(static_cast<int>(s)), images.size(2));
    EXPECT_LT((found[s] - expected[s]).abs().max().item<double>(), 1e-4) << "stage " << s;
  }
}

TEST(SwinTransformer, IsThatOfThePaperWithPublicWeights) {
  ExpectReference(Small(4, {2, 2}, {2, 4}), at::randn({2, 3, 64, 96}));         // whole windows
  ExpectReference(Small(7, {2, 3, 2}, {1, 2, 2}), at::randn({2, 3, 96, 128}));  // padded
  ExpectReference(Small(7, {2}, {4}), at::randn({1, 3, 28, 112}));  // one row of windows
  ExpectReference(Small(5, {4}, {2}), at::randn({1, 3, 44, 24}));
  ExpectReference(Small(8, {2, 2}, {2, 2}), at::randn({1, 3, 16, 16}));  // less than a window
}

TEST(SwinTransformer, TinyHasThePapersParametersAndValues) {
  const SwinOptions tiny;
  Parameters parameters;
  const SwinTransformer swin({&parameters, 1, ""}, tiny);
  // 28,288,354, as the authors' logs say, less their head and last norm, and four norms of ours.
  EXPECT_EQ(parameters.CountTrained(),
            28288354 - (768 * 1000 + 1000) - 2 * 768 + 2 * (96 + 192 + 384 + 768));
  ExpectReference(tiny, at::randn({1, 3, 224, 224}));
}

TEST(SwinTransformer, WeightsComeThroughAFile) {
  const SwinOptions options = Small(3, {2, 1}, {2, 4});
  SafeTensors file = MakeWeights(options);
  const auto path = TestFolder("swin") / "swin.safetensors";
  WriteSafeTensors(path, file);
  Parameters parameters;
  const SwinTransformer swin({&parameters, 1, ""}, options);
  LoadSwinWeights(ReadSafeTensors(path), path.string(), "", options, &parameters);
  const auto same = [&](const std::string& ours, const at::Tensor& expected) {
    return at::equal(parameters.Get(ours), expected);
  };
  const at::Tensor qkv = file.Get("layers.0.blocks.1.attn.qkv.weight", "");
  EXPECT_TRUE(same("stage0.block1.attention.query.weight", qkv.slice(0, 0, 16)));
  EXPECT_TRUE(same("stage0.block1.attention.key_value.weight", qkv.slice(0, 16)));
  EXPECT_TRUE(same("stage1.merge.weight", file.Get("layers.0.downsample.reduction.weight", "")));
  EXPECT_TRUE(same("stage1.block0.attention.table",
                   file.Get("layers.1.blocks.0.attn.relative_position_bias_table", "").t()));
}

TEST(SwinTransformer, OtherFilesAreRefusedAndNothingChanges) {
  const SwinOptions options = Small(3, {2, 1}, {2, 4});
  Parameters parameters;
  const SwinTransformer swin({&parameters, 1, ""}, options);
  const at::Tensor before = parameters.Get("patch.weight").clone();
  const auto error = [&](const SafeTensors& file) {
    return ErrorOf([&] { LoadSwinWeights(file, "a.safetensors", "", options, &parameters); });
  };
  SafeTensors file = MakeWeights(options);
  std::erase_if(file.tensors,
                [](const auto& t) { return t.first == "layers.1.blocks.0.mlp.fc2.bias"; });
  EXPECT_THAT(error(file),
              AllOf(HasSubstr("a.safetensors"), HasSubstr("layers.1.blocks.0.mlp.fc2.bias")));
  EXPECT_THAT(error(MakeWeights(Small(4, {2, 1}, {2, 4}))),
              AllOf(HasSubstr("layers.0.blocks.0.attn.relative_position_bias_table"),
                    HasSubstr("expected [2, 25]"), HasSubstr("found [2, 49]")));
  SwinOptions wide = options;
  wide.embed = 32;
  EXPECT_THAT(error(MakeWeights(wide)), HasSubstr("patch_embed.proj.weight: expected [16, 48]"));
  EXPECT_TRUE(at::equal(parameters.Get("patch.weight"), before));

  const auto make = [](SwinOptions o) {
    return ErrorOf([&] {
      Parameters p;
      SwinTransformer({&p, 1, "s."}, o);
    });
  };
  EXPECT_THAT(make(Small(7, {2, 2}, {2})), HasSubstr("of the same stages, found 2 and 1"));
  EXPECT_THAT(make(Small(7, {2, 0}, {2, 2})), HasSubstr("a block or more"));
  EXPECT_THAT(ErrorOf([&] {
                swin.Forward(at::zeros({1, 3, 60, 64}));
              }),
              AllOf(HasSubstr("multiples of 8"), HasSubstr("[1, 3, 60, 64]")));
}

TEST(SwinTransformer, GradientsReachAllAndBfloat16IsNear) {
  const SwinOptions options = Small(3, {2, 2}, {2, 4});
  Parameters parameters;
  const SwinTransformer swin({&parameters, 1, ""}, options);
  const at::Tensor images = at::randn({2, 3, 40, 64});
  const std::vector<at::Tensor> maps = swin.Forward(images);
  const std::vector<at::Tensor> rounded = swin.Forward(images.to(at::kBFloat16));
  at::Tensor loss = at::zeros({});
  for (size_t s = 0; s < maps.size(); ++s) {
    EXPECT_EQ(rounded[s].scalar_type(), at::kBFloat16);
    EXPECT_LT((rounded[s] - maps[s]).abs().mean().item<float>(), 0.03f);
    loss = loss + (maps[s] * at::randn_like(maps[s])).sum();
  }
  loss.backward();
  for (const auto& [name, tensor] : parameters.trained()) {
    ASSERT_TRUE(tensor.grad().defined()) << name;
    EXPECT_GT(tensor.grad().abs().max().item<float>(), 0) << name;
  }
}

TEST(SwinTransformer, PathsAreLeftOutPictureByPicture) {
  const at::NoGradGuard no_gradient;
  SwinOptions options = Small(3, {1, 1}, {2, 4});
  options.drop_path = 0.5;  // of the second block; of the first 0
  Parameters parameters;
  const SwinTransformer swin({&parameters, 1, ""}, options);
  at::Tensor attention = parameters.Get("stage1.block0.attention.out.weight");
  at::Tensor shrink = parameters.Get("stage1.block0.shrink.weight");
  attention.zero_();
  const at::Tensor images = at::randn({1, 3, 24, 24}).repeat({16, 1, 1, 1});
  const auto draw = [&](uint64_t seed) {
    at::Generator generator = at::detail::createCPUGenerator(seed);
    return swin.Forward(images, &generator)[1];
  };
  const at::Tensor drawn = draw(1);
  EXPECT_TRUE(at::equal(drawn, draw(1)));
  EXPECT_FALSE(at::equal(drawn, draw(2)));
  // Each picture is as if the perceptron said nothing, or twice what it says.
  const at::Tensor weights = shrink.clone();
  shrink.zero_();
  const at::Tensor without = swin.Forward(images)[1];
  shrink.copy_(2 * weights);
  const at::Tensor twice = swin.Forward(images)[1];
  int left_out = 0, kept = 0;
  for (int64_t i = 0; i < 16; ++i) {
    left_out += at::allclose(drawn[i], without[i], 1e-4, 1e-5);
    kept += at::allclose(drawn[i], twice[i], 1e-4, 1e-5);
  }
  EXPECT_EQ(left_out + kept, 16);
  EXPECT_GT(left_out, 2);
  EXPECT_GT(kept, 2);
}

}  // namespace
}  // namespace athanor
