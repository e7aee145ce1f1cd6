#include "athanor/detection/profusion3d/decoder.h"

#include <ATen/ATen.h>
#include <ATen/CPUGeneratorImpl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <string>
#include <vector>

#include "athanor/base/test_util.h"
#include "athanor/detection/profusion3d/box_code.h"
#include "athanor/detection/profusion3d/decoder_test_util.h"
#include "athanor/detection/profusion3d/sample.h"

namespace athanor {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

std::vector<std::string> Names(const std::vector<LayerOutputs>& layers) {
  std::vector<std::string> names;
  for (const LayerOutputs& layer : layers) names.push_back(layer.name);
  return names;
}

void ExpectNear(const HeadOutputs& a, const HeadOutputs& b, double tolerance = 1e-4) {
  EXPECT_TRUE(at::allclose(a.logits, b.logits, tolerance, tolerance));
  EXPECT_TRUE(at::allclose(a.codes, b.codes, tolerance, 20 * tolerance));  // metres over +-54
  EXPECT_TRUE(at::allclose(a.attributes, b.attributes, tolerance, tolerance));
}

class DecoderTest : public ::testing::Test {
 protected:
  DecoderTest() : decoder_({&parameters_, 5, ""}, BevGrid(), SmallDecoderOptions()) {
    at::manual_seed(11);
    inputs_ = SmallDecoderInputs();
  }
  Parameters parameters_;
  QueryDecoder decoder_;
  DecoderInputs inputs_;
};

TEST_F(DecoderTest, SaysBoxesAfterEveryLayer) {
  const std::vector<LayerOutputs> layers = decoder_.Forward(inputs_);
  EXPECT_THAT(Names(layers), ElementsAre("bev.0", "bev.1", "pv.0", "pv.1", "joint.0", "joint.1"));
  for (size_t i = 0; i < layers.size(); ++i) {
    const HeadOutputs& outputs = layers[i].queries;
    const int64_t rows = i < 4 ? 12 : 24;
    EXPECT_EQ(outputs.logits.sizes(), (std::vector<int64_t>{rows, kNumDetectionClasses}));
    EXPECT_EQ(outputs.codes.sizes(), (std::vector<int64_t>{rows, 10}));
    EXPECT_EQ(outputs.attributes.sizes(), (std::vector<int64_t>{rows, 8}));
    EXPECT_FALSE(layers[i].denoised.logits.defined());
    // Rare classes at first, boxes near their anchors.
    EXPECT_LT(outputs.logits.mean().item<float>(), -3);
    const at::Tensor place = NormalizePoints(DecodeBoxes(outputs.codes).slice(1, 0, 3), BevGrid());
    const at::Tensor anchors = parameters_.Get("query.anchors").repeat({rows / 12, 1});
    EXPECT_LT((place - anchors).abs().mean().item<float>(), 0.05f);
  }
  // The two copies of the queries tell of different views.
  const at::Tensor logits = layers.back().queries.logits;
  EXPECT_GT((logits.slice(0, 0, 12) - logits.slice(0, 12, 24)).abs().max().item<float>(), 1e-3f);
  // The same inputs, the same bytes.
  EXPECT_TRUE(at::equal(logits, decoder_.Forward(inputs_).back().queries.logits));
}

TEST_F(DecoderTest, GoesOnWithoutAView) {
  const std::vector<LayerOutputs> whole = decoder_.Forward(inputs_);
  DecoderInputs one = inputs_;
  one.images = at::Tensor();
  std::vector<LayerOutputs> layers = decoder_.Forward(one);
  EXPECT_THAT(Names(layers), ElementsAre("bev.0", "bev.1", "joint.0", "joint.1"));
  ExpectNear(layers[1].queries, whole[1].queries);
  one = inputs_;
  one.bev = at::Tensor();
  layers = decoder_.Forward(one);
  EXPECT_THAT(Names(layers), ElementsAre("pv.0", "pv.1", "joint.0", "joint.1"));
  ExpectNear(layers[1].queries, whole[3].queries);
  one.has_camera = at::zeros({2}, at::kByte);
  layers = decoder_.Forward(one);
  EXPECT_THAT(Names(layers), ElementsAre("joint.0", "joint.1"));
  EXPECT_TRUE(layers.back().queries.codes.isfinite().all().item<bool>());
}

TEST_F(DecoderTest, CamerasAreASet) {
  const HeadOutputs expected = decoder_.Forward(inputs_).back().queries;
  DecoderInputs turned = inputs_;
  for (at::Tensor* x : {&turned.images, &turned.camera_from_ego, &turned.intrinsics}) {
    *x = x->flip({0});
  }
  ExpectNear(decoder_.Forward(turned).back().queries, expected);
  // One that is missing is as if it had never been, whatever its map and calibration hold.
  DecoderInputs ahead = inputs_, missing = inputs_;
  for (at::Tensor* x : {&ahead.images, &ahead.camera_from_ego, &ahead.intrinsics}) {
    *x = x->slice(0, 0, 1);
  }
  missing.images = inputs_.images.clone(), missing.intrinsics = inputs_.intrinsics.clone();
  missing.images[1].fill_(std::nan("")), missing.intrinsics[1].zero_();
  missing.has_camera = at::tensor({1, 0}, at::kByte);
  ExpectNear(decoder_.Forward(missing).back().queries, decoder_.Forward(ahead).back().queries);
}

TEST_F(DecoderTest, OneSetOfQueriesWhenItIsViewAgnostic) {
  DecoderOptions options = SmallDecoderOptions();
  options.view_agnostic = true;
  Parameters parameters;
  const QueryDecoder decoder({&parameters, 5, ""}, BevGrid(), options);
  const std::vector<LayerOutputs> layers = decoder.Forward(inputs_);
  EXPECT_THAT(Names(layers), ElementsAre("joint.0", "joint.1", "joint.2", "joint.3"));
  EXPECT_EQ(layers.back().queries.logits.size(0), 12);
}

TEST_F(DecoderTest, NobodySeesTheDenoisingQueriesOfOthers) {
  DenoisingQueries denoising;
  denoising.anchors = at::rand({6, 3});
  denoising.groups = at::tensor({0, 0, 0, 1, 1, 1}, at::kLong);
  denoising.truth = at::tensor({0, 1, 2, 0, 1, 2}, at::kLong);
  denoising.positive = at::ones({6}, at::kBool);
  const std::vector<LayerOutputs> without = decoder_.Forward(inputs_);
  const std::vector<LayerOutputs> with = decoder_.Forward(inputs_, denoising);
  denoising.anchors = denoising.anchors.clone();
  denoising.anchors.slice(0, 3, 6).copy_(at::rand({3, 3}));
  const std::vector<LayerOutputs> moved = decoder_.Forward(inputs_, denoising);
  for (size_t i = 0; i < without.size(); ++i) {
    ExpectNear(with[i].queries, without[i].queries);
    const int64_t copies = i < 4 ? 1 : 2;
    ASSERT_EQ(with[i].denoised.logits.size(0), 6 * copies);
    for (int64_t c = 0; c < copies; ++c) {
      const auto change = [&](int64_t begin, int64_t end) {
        return (with[i].denoised.logits.slice(0, 6 * c + begin, 6 * c + end) -
                moved[i].denoised.logits.slice(0, 6 * c + begin, 6 * c + end))
            .abs()
            .max()
            .item<float>();
      };
      EXPECT_LT(change(0, 3), 1e-4f);
      EXPECT_GT(change(3, 6), 1e-3f);
    }
  }
}

TEST_F(DecoderTest, DropsOnlyWithAGenerator) {
  const auto run = [&](uint64_t seed) {
    at::Generator generator = at::detail::createCPUGenerator(seed);
    return decoder_.Forward(inputs_, {}, &generator).back().queries.logits;
  };
  EXPECT_TRUE(at::equal(run(1), run(1)));
  EXPECT_FALSE(at::allclose(run(1), run(2)));
  EXPECT_FALSE(at::allclose(run(1), decoder_.Forward(inputs_).back().queries.logits));
}

TEST_F(DecoderTest, TakesMapsInHalfPrecision) {
  DecoderInputs half = inputs_;
  half.bev = half.bev.to(at::kBFloat16), half.images = half.images.to(at::kBFloat16);
  const HeadOutputs rounded = decoder_.Forward(half).back().queries;
  EXPECT_EQ(rounded.codes.scalar_type(), at::kFloat);
  ExpectNear(rounded, decoder_.Forward(inputs_).back().queries, 0.1);
}

TEST_F(DecoderTest, EveryParameterLearns) {
  at::Tensor sum = at::zeros({});
  for (const LayerOutputs& layer : decoder_.Forward(inputs_)) {
    for (const at::Tensor& x :
         {layer.queries.logits, layer.queries.codes, layer.queries.attributes}) {
      sum = sum + (x * at::randn(x.sizes())).sum();
    }
  }
  sum.backward();
  for (const auto& [name, tensor] : parameters_.trained()) {
    ASSERT_TRUE(tensor.grad().defined()) << name;
    // A bias of keys moves all scores of a query alike.
    if (name.find("key.bias") != std::string::npos) continue;
    EXPECT_GT(tensor.grad().abs().max().item<float>(), 0) << name;
  }
}

TEST_F(DecoderTest, SaysWhichInputIsWrong) {
  DecoderInputs wrong = inputs_;
  wrong.bev = at::zeros({5, 8, 7});
  EXPECT_THAT(ErrorOf([&] { decoder_.Forward(wrong); }), HasSubstr("BEV map [6,rows,columns]"));
  wrong = inputs_;
  wrong.camera_from_ego = wrong.camera_from_ego.slice(0, 0, 1);
  EXPECT_THAT(ErrorOf([&] { decoder_.Forward(wrong); }), HasSubstr("each of 2 camera maps"));
  DecoderOptions options = SmallDecoderOptions();
  options.positions.width = 8;
  Parameters parameters;
  EXPECT_THAT(ErrorOf([&] {
                QueryDecoder({&parameters, 1, ""}, BevGrid(), options);
              }),
              HasSubstr("layers' width, 16, found 8"));
}

// A fresh decoder changes little of what proposals bring along.
TEST(QueryDecoder, SaysAtFirstWhatProposalsAreTakenFor) {
  at::manual_seed(11);
  const DecoderOptions options = SmallDecoderOptions();
  Parameters parameters;
  const QueryDecoder decoder({&parameters, 2, ""}, BevGrid(), options);
  DecoderInputs inputs = SmallDecoderInputs();
  inputs.proposals = at::rand({4, 3});
  inputs.proposal_content = at::randn({4, options.layers.width});
  inputs.proposal_logits = at::randn({4, int64_t{kNumDetectionClasses}}) * 3;
  inputs.proposal_heads = at::randn({4, int64_t{kBoxCode}}) * 2;
  const std::vector<LayerOutputs> outputs = decoder.Forward(inputs);
  const at::Tensor boxes = CodeOfHead(inputs.proposal_heads, inputs.proposals, BevGrid(), 2);
  for (const LayerOutputs& layer : outputs) {
    EXPECT_LT(
        (layer.queries.logits.slice(0, 0, 4) - inputs.proposal_logits).abs().max().item<float>(), 1)
        << layer.name;
    EXPECT_LT((layer.queries.codes.slice(0, 0, 4) - boxes).abs().max().item<float>(), 2)
        << layer.name;
    // The rest of the queries knows nothing.
    EXPECT_LT(
        (layer.queries.logits.slice(0, 4, options.queries) - kPriorLogit).abs().max().item<float>(),
        1)
        << layer.name;
  }
  // In joint layers the second query of a place has to find a reason.
  const at::Tensor second = outputs.back().queries.logits.slice(0, options.queries);
  EXPECT_LT((second - kPriorLogit).abs().max().item<float>(), 1);
  inputs.proposals = at::rand({options.queries + 1, 3});
  EXPECT_THAT(ErrorOf([&] { decoder.Forward(inputs); }),
              HasSubstr("at most 12 proposals, found 13"));
}

}  // namespace
}  // namespace athanor
