// The loss against a slow version and finite differences; the networks; files of weights.
#include <ATen/ATen.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <cstdlib>
#include <functional>

#include "athanor/base/files.h"
#include "athanor/base/test_util.h"
#include "athanor/scenes/semantics/teachers/embedded/description_loss.h"
#include "athanor/scenes/semantics/teachers/embedded/embedded_teacher.h"
#include "athanor/scenes/semantics/wordnet.h"

namespace athanor {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

at::Tensor UnitRows(int64_t rows, int64_t columns) {
  const at::Tensor x = at::randn({rows, columns}, at::kDouble);
  return x / x.norm(2, {1}, true);
}

DescriptionTargets SomeTargets() {
  DescriptionTargets targets;
  targets.truth = at::tensor({1, 0, 0, 1, -1, 0, 1, 0, 0, 1, 0, -1}, at::kChar).view({3, 4});
  PhraseGroup group{.first = 0, .count = 3, .weight = 0.7};
  group.pixels = at::tensor({0, 2}, at::kLong);
  group.targets = at::tensor({0, 1}, at::kLong);
  group.excluded = at::tensor({0, 0, 0, 1, 0, 0}, at::kByte).to(at::kBool).view({2, 3});
  targets.groups = {group};
  return targets;
}

// As the header says it, number by number.
double SlowLoss(const at::Tensor& x, const at::Tensor& t, const at::Tensor& n, double s,
                const DescriptionTargets& targets) {
  const at::Tensor z = at::matmul(x, t.t()), zn = at::matmul(x, n);
  double sum = 0, weights = 0;
  for (int64_t i = 0; i < x.size(0); ++i) {
    for (int64_t j = 0; j < t.size(0); ++j) {
      const int truth = targets.truth[i][j].item<int8_t>();
      if (truth < 0) continue;
      const double agreement = s * (z[i][j].item<double>() - 0.25);
      const double weight = truth == 1 ? 3 : 1;
      sum += weight * std::log1p(std::exp(truth == 1 ? -agreement : agreement));
      weights += weight;
    }
  }
  double loss = 6 * sum / weights;
  for (int64_t i = 0; i < x.size(0); ++i) {
    loss += 0.02 * std::pow(s * (zn[i].item<double>() - 0.25), 2) / static_cast<double>(x.size(0));
  }
  for (const PhraseGroup& group : targets.groups) {
    double mean = 0;
    for (int64_t i = 0; i < group.pixels.size(0); ++i) {
      const int64_t pixel = group.pixels[i].item<int64_t>();
      double all = 0;
      for (int64_t k = 0; k < group.count; ++k) {
        if (!group.excluded[i][k].item<bool>()) {
          all += std::exp(s * z[pixel][group.first + k].item<double>());
        }
      }
      const int64_t target = group.first + group.targets[i].item<int64_t>();
      mean += std::log(all) - s * z[pixel][target].item<double>();
    }
    loss += group.weight * mean / static_cast<double>(group.pixels.size(0));
  }
  return loss;
}

TEST(DescriptionLoss, IsWhatTheHeaderSaysAndItsGradientIsItsSlope) {
  at::manual_seed(3);
  const DescriptionTargets targets = SomeTargets();
  constexpr double kScale = 7;
  const std::vector<at::Tensor> inputs = {UnitRows(3, 5), UnitRows(4, 5), UnitRows(1, 5)[0]};
  std::vector<at::Tensor> followed;
  for (const at::Tensor& input : inputs) followed.push_back(input.clone().requires_grad_(true));
  const auto of = [&](const std::vector<at::Tensor>& v) {
    return SlowLoss(v[0], v[1], v[2], kScale, targets);
  };
  const DescriptionLoss loss =
      ComputeDescriptionLoss(followed[0], followed[1], followed[2], kScale, targets);
  EXPECT_NEAR(loss.total.item<double>(), of(inputs), 1e-12);
  loss.total.backward();
  const double step = 1e-6;
  for (size_t k = 0; k < inputs.size(); ++k) {
    for (int64_t i = 0; i < inputs[k].numel(); ++i) {
      std::vector<at::Tensor> high = inputs, low = inputs;
      high[k] = inputs[k].clone();
      low[k] = inputs[k].clone();
      high[k].view({-1})[i] += step;
      low[k].view({-1})[i] -= step;
      EXPECT_NEAR(followed[k].grad().reshape({-1})[i].item<double>(),
                  (of(high) - of(low)) / (2 * step), 1e-7)
          << "input " << k << ", number " << i;
    }
  }
}

EmbeddedNetworkShape SmallShape(int words) {
  return {.dimension = 16,
          .channels = {8, 8, 16, 16, 16},
          .blocks = {0, 1, 1, 0, 1},
          .decoder = 16,
          .words = words,
          .text_width = 16,
          .text_layers = 1,
          .text_heads = 2};
}

TEST(ImageNetwork, FoldedWeightsGiveTheSameUnitVectors) {
  const EmbeddedNetworkShape shape = SmallShape(1);
  ImageNetwork network(shape, 5);
  at::manual_seed(1);
  const at::Tensor images = at::rand({2, 3, 64, 96});
  const at::NoGradGuard no_grad;
  // Scales and running statistics that do something.
  for (const auto& [name, tensor] : network.parameters().trained()) {
    if (name.ends_with("scale") || name.ends_with("shift")) {
      at::Tensor values = tensor;
      values.copy_(at::rand_like(values) * 0.5 + 0.3);
    }
  }
  for (int i = 0; i < 30; ++i) network.Forward(images, /*training=*/true);
  const at::Tensor before = network.Forward(images, /*training=*/false);
  EXPECT_EQ(before.sizes(), (std::vector<int64_t>{2, 16, 16, 24}));
  EXPECT_LT((before.norm(2, {1}) - 1).abs().max().item<double>(), 1e-5);
  SafeTensors file;
  network.SaveFolded(&file);
  ImageNetwork folded(shape, 6);
  folded.LoadFolded(file, "file");
  const at::Tensor after = folded.Forward(images, /*training=*/false);
  EXPECT_GT((before * after).sum({1}).min().item<double>(), 0.999);  // float16 in between
  EXPECT_THAT(ErrorOf([&] {
                network.Forward(at::rand({1, 3, 60, 64}), false);
              }),
              HasSubstr("multiples of 32"));
}

TEST(TextNetwork, ReadsAPhraseTheSameAloneAndAmongLongerOnes) {
  const TextNetwork network(SmallShape(9), 2);
  const at::NoGradGuard no_grad;
  const std::vector<std::vector<int>> alone = {{3, 1}};
  const std::vector<std::vector<int>> together = {{0, 1, 2, 3, 4, 5}, {3, 1}, {1, 3}};
  const at::Tensor one = network.Forward(alone, false), three = network.Forward(together, false);
  EXPECT_LT((one[0] - three[1]).abs().max().item<double>(), 1e-5);
  EXPECT_LT((three.norm(2, {1}) - 1).abs().max().item<double>(), 1e-5);
  // The order of words counts.
  EXPECT_GT((three[1] - three[2]).abs().max().item<double>(), 1e-3);
  const std::vector<std::vector<int>> bad = {{9}}, empty = {{}};
  EXPECT_THAT(ErrorOf([&] { network.Forward(bad, false); }), HasSubstr("below 9, found 9"));
  EXPECT_THAT(ErrorOf([&] { network.Forward(empty, false); }), HasSubstr("no words"));
}

SafeTensors SmallFile() {
  const Vocabulary vocabulary({"chair", "mug", "red"});
  const EmbeddedNetworkShape shape = SmallShape(3);
  SafeTensors file;
  ImageNetwork(shape, 1).SaveFolded(&file);
  TextNetwork(shape, 1).parameters().Save("text.", &file);
  DescribeEmbedded(shape, vocabulary, &file);
  return file;
}

TEST(EmbeddedTeacher, OpensAFileAndDescribesPicturesOfAnySize) {
  const auto path = TestFolder("embedded") / "teacher.safetensors";
  WriteSafeTensors(path, SmallFile());
  EmbeddedPair pair = OpenEmbedded(path, {.side_px = 128});
  EXPECT_EQ(pair.teacher->text_space(), pair.text->space());
  EXPECT_THAT(pair.teacher->key(), HasSubstr(pair.text->space()));
  Image image(50, 31, 3, 90);
  const ViewFeatures features = pair.teacher->Describe(image, "view");
  features.Check("view");
  // The area of 128 x 96 is 141 x 87; the nearest multiples of 32 are 128 x 96.
  EXPECT_EQ(features.features.sizes(), (std::vector<int64_t>{24, 32, 16}));
  // No more cells than pixels.
  const ViewFeatures tiny = pair.teacher->Describe(Image(20, 9, 3, 90), "tiny");
  tiny.Check("tiny");
  EXPECT_EQ(tiny.features.sizes(), (std::vector<int64_t>{9, 20, 16}));
  const std::vector<std::string> prompts = {"red mug", "the chairs"};
  const at::Tensor vectors = pair.text->Encode(prompts);
  EXPECT_EQ(vectors.sizes(), (std::vector<int64_t>{2, 16}));
  EXPECT_THAT(pair.text->UnknownWords("a red zebra"), ::testing::ElementsAre("zebra"));
  // Other weights live in another space.
  SafeTensors other = SmallFile();
  other.tensors[0].second = other.tensors[0].second + 1;
  EXPECT_NE(EmbeddedPair::FromTensors(other, "other").text->space(), pair.text->space());
}

TEST(EmbeddedTeacher, IsFoundInTheFolderThatTheEnvironmentNames) {
  const auto folder = TestFolder("models");
  WriteSafeTensors(folder / "athanor-words" / "teacher.safetensors", SmallFile());
  ASSERT_EQ(setenv("ATHANOR_MODELS", folder.c_str(), 1), 0);
  const auto found = FindEmbeddedModel();
  unsetenv("ATHANOR_MODELS");
  EXPECT_EQ(found, folder / "athanor-words" / "teacher.safetensors");
  EXPECT_EQ(OpenEmbedded(found).text->dimension(), 16);
}

TEST(EmbeddedTeacher, SaysWhichWordsItDoesNotKnow) {
  EmbeddedPair pair = EmbeddedPair::FromTensors(SmallFile(), "file");
  const auto error = [&](const std::string& prompt) {
    const std::vector<std::string> prompts = {prompt};
    return ErrorOf([&] { pair.text->Encode(prompts); });
  };
  EXPECT_THAT(error("chiar zebra"),
              AllOf(HasSubstr("prompt 'chiar zebra'"), HasSubstr("does not know 'chiar', 'zebra'"),
                    HasSubstr("'chair'")));
  EXPECT_THAT(error("the"), HasSubstr("found none"));
  EXPECT_EQ(error("red zebra"), "");
}

TEST(EmbeddedTeacher, ReadsNounsThatItDoesNotKnowAsWhatTheyAreKindsOf) {
  if (WordNet::Installed() == nullptr) GTEST_SKIP() << "needs WordNet (Debian: wordnet-base)";
  EmbeddedPair pair = EmbeddedPair::FromTensors(SmallFile(), "file");
  const std::vector<std::string> prompts = {"the red armchairs", "red chair", "stool"};
  const at::Tensor vectors = pair.text->Encode(std::span(prompts).first(2));
  EXPECT_TRUE(at::equal(vectors[0], vectors[1]));
  EXPECT_EQ(pair.text->Explain(prompts[0]), "red chair");
  EXPECT_EQ(pair.text->Explain(prompts[1]), "");
  // A stool is a seat, and so is a chair: one is not the other.
  EXPECT_THAT(ErrorOf([&] { pair.text->Encode(std::span(prompts).last(1)); }),
              HasSubstr("does not know 'stool'"));
}

TEST(EmbeddedTeacher, RefusesOtherFiles) {
  const auto error = [](const std::function<void(SafeTensors*)>& damage) {
    SafeTensors file = SmallFile();
    damage(&file);
    return ErrorOf([&] { EmbeddedPair::FromTensors(file, "weights"); });
  };
  EXPECT_THAT(error([](SafeTensors* f) { f->metadata.clear(); }),
              AllOf(HasSubstr("weights"), HasSubstr("'format'")));
  EXPECT_THAT(error([](SafeTensors* f) { f->metadata["format"] = "x"; }), HasSubstr("found 'x'"));
  EXPECT_THAT(error([](SafeTensors* f) { f->metadata["shape"] = "{}"; }), HasSubstr("'shape'"));
  EXPECT_THAT(error([](SafeTensors* f) {
                std::string& shape = f->metadata["shape"];
                shape.replace(shape.find("16"), 2, "99999");
              }),
              HasSubstr("expected dimension from 1 to 4096, found 99999"));
  EXPECT_THAT(error([](SafeTensors* f) { f->metadata["vocabulary"] = "red\nmug\n"; }),
              HasSubstr("expected 3 words, found 2"));
  EXPECT_THAT(error([](SafeTensors* f) { f->tensors.pop_back(); }), HasSubstr("text."));
  EXPECT_THAT(error([](SafeTensors* f) { f->tensors[0].second = at::zeros({1}); }),
              HasSubstr("image.stage0.down"));
}

}  // namespace
}  // namespace athanor
