#include "athanor/detection/profusion3d/detection_loss.h"

#include <ATen/ATen.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include "athanor/base/test_util.h"
#include "athanor/detection/profusion3d/box_code.h"
#include "athanor/detection/profusion3d/decoder_test_util.h"
#include "athanor/detection/profusion3d/predictions.h"
#include "athanor/nn/adamw.h"

namespace athanor {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

const float kUnknown = std::numeric_limits<float>::quiet_NaN();

DetectionTruth FiveBoxes() {
  DetectionTruth truth;
  truth.boxes = at::tensor({10.0f,  5.0f,   -1.0f, 4.2f,  1.9f, 1.6f, 0.7f,  6.0f,     1.0f,  //
                            -20.0f, 8.0f,   0.0f,  12.0f, 3.0f, 3.5f, -2.0f, 0.0f,     0.0f,  //
                            3.0f,   -15.0f, -0.8f, 0.6f,  0.7f, 1.8f, 3.0f,  kUnknown, kUnknown,
                            30.0f,  -2.0f,  -1.2f, 0.5f,  2.5f, 1.0f, 1.5f,  0.0f,     0.0f,  //
                            11.0f,  9.0f,   -1.0f, 4.6f,  2.0f, 1.7f, 0.6f,  0.0f,     0.0f})
                    .view({5, 9});
  truth.labels = at::tensor({0, 1, 8, 5, 0}, at::kLong);  // car, truck, pedestrian, barrier, car
  truth.attributes = at::tensor({5, 6, 2, -1, -1}, at::kLong);  // the last car's is not known
  return truth;
}

HeadOutputs RandomOutputs(int64_t rows) {
  const at::TensorOptions options = at::TensorOptions(at::kDouble);
  HeadOutputs outputs;
  outputs.logits = at::randn({rows, int64_t{kNumDetectionClasses}}, options).requires_grad_(true);
  outputs.codes = (4 * at::randn({rows, 10}, options)).requires_grad_(true);
  outputs.attributes = at::randn({rows, 8}, options).requires_grad_(true);
  return outputs;
}

// One denoising group, of which boxes 0, 2 and 3 are to be found.
DenoisingQueries OneGroup() {
  DenoisingQueries denoising;
  denoising.anchors = at::rand({5, 3});
  denoising.groups = at::zeros({5}, at::kLong);
  denoising.truth = at::arange(5, at::kLong);
  denoising.positive = at::tensor({1, 0, 1, 1, 0}).to(at::kBool);
  return denoising;
}

TEST(DetectionLoss, BoxesAloneAreTheMeanOfTheirWeightedDistances) {
  const DetectionTruth truth = FiveBoxes();
  at::Tensor codes = EncodeBoxes(truth.boxes).nan_to_num(7);  // not known: counts for nothing
  EXPECT_EQ(BoxLoss(codes, truth.boxes, {}).item<double>(), 0);
  codes[1][0] += 3;   // centre x, which weighs 2
  codes[4][8] -= 10;  // velocity, which weighs 0.2
  EXPECT_NEAR(BoxLoss(codes, truth.boxes, {}).item<double>(), 0.25 * (2 * 3 + 0.2 * 10) / 5, 1e-5);
  // A box the other way round has the right axis, however short its vector.
  const double before = BoxLoss(codes, truth.boxes, {}).item<double>();
  codes[2].slice(0, 6, 8) *= -0.5;
  const double yaw = truth.boxes[2][6].item<double>();
  EXPECT_NEAR(BoxLoss(codes, truth.boxes, {}).item<double>(),
              before + 0.25 * 1.5 * (std::abs(std::sin(yaw)) + std::abs(std::cos(yaw))) / 5, 1e-5);
  EXPECT_EQ(BoxLoss(codes.slice(0, 0, 0), truth.boxes.slice(0, 0, 0), {}).item<double>(), 0);
}

TEST(DetectionLoss, GradientsAreFiniteDifferences) {
  at::manual_seed(2);
  std::vector<LayerOutputs> layers(2);
  layers[0] = {"bev.0", RandomOutputs(7), RandomOutputs(5)};
  layers[1] = {"joint.0", RandomOutputs(9), RandomOutputs(10)};
  const DenoisingQueries denoising = OneGroup();
  const auto loss = [&] { return ComputeDetectionLoss(layers, denoising, FiveBoxes(), {}).total; };
  loss().backward();
  for (const LayerOutputs& layer : layers) {
    for (const HeadOutputs* outputs : {&layer.queries, &layer.denoised}) {
      for (const at::Tensor* x : {&outputs->logits, &outputs->codes, &outputs->attributes}) {
        const at::NoGradGuard no_gradient;
        const at::Tensor gradient = x->grad().flatten(), values = x->view({-1});
        for (int64_t i = 0; i < values.size(0); i += 3) {
          const double value = values[i].item<double>(), step = 1e-6;
          values[i] = value + step;
          const auto above = loss().item<double>();
          values[i] = value - step;
          const auto below = loss().item<double>();
          values[i] = value;
          EXPECT_NEAR(gradient[i].item<double>(), (above - below) / (2 * step), 1e-6);
        }
      }
    }
  }
}

TEST(DetectionLoss, IsWhatItsPartsSay) {
  // Two queries, one box: a pedestrian whose velocity is not known.
  DetectionTruth truth = FiveBoxes();
  for (at::Tensor* x : {&truth.boxes, &truth.labels, &truth.attributes}) {
    *x = x->slice(0, 2, 3).clone();
  }
  LayerOutputs layer = {"joint.0", RandomOutputs(2)};
  const at::Tensor code = EncodeBoxes(truth.boxes)[0].nan_to_num(7).to(at::kDouble);
  layer.queries.codes = at::stack({code + 50, code + 0.1});
  const DetectionLoss loss = ComputeDetectionLoss({layer}, {}, truth, {});
  double classes = 0;
  const auto logits = layer.queries.logits.accessor<double, 2>();
  for (int q = 0; q < 2; ++q) {
    for (int c = 0; c < kNumDetectionClasses; ++c) {
      const double p = 1 / (1 + std::exp(-logits[q][c]));
      classes += q == 1 && c == 8 ? 0.25 * (1 - p) * (1 - p) * -std::log(p)
                                  : 0.75 * p * p * -std::log(1 - p);
    }
  }
  EXPECT_NEAR(loss.classes, 2 * classes, 1e-9);
  const auto axis = [&](double shift) {
    const double s = code[6].item<double>() + shift, c = code[7].item<double>() + shift;
    return std::array<double, 2>{(c * c - s * s) / (s * s + c * c), 2 * s * c / (s * s + c * c)};
  };
  EXPECT_NEAR(loss.boxes,
              0.25 * (0.1 * (2 + 2 + 6) + std::abs(axis(0.1)[0] - axis(0)[0]) +
                      std::abs(axis(0.1)[1] - axis(0)[1])),
              1e-6);
  const auto said = layer.queries.attributes.accessor<double, 2>();
  const double sum = std::exp(said[1][0]) + std::exp(said[1][1]) + std::exp(said[1][2]);
  EXPECT_NEAR(loss.attributes, -0.2 * (said[1][2] - std::log(sum)), 1e-9);
  EXPECT_NEAR(loss.total.item<double>(), loss.classes + loss.boxes + loss.attributes, 1e-9);
  // An attribute that the class has not teaches nothing.
  truth.attributes.fill_(6);
  EXPECT_EQ(ComputeDetectionLoss({layer}, {}, truth, {}).attributes, 0);
}

TEST(DetectionLoss, TakesAnyNumberOfBoxes) {
  const LayerOutputs layer = {"joint.0", RandomOutputs(3)};
  // None: the queries learn to be silent.
  DetectionTruth none;
  none.boxes = at::zeros({0, 9}), none.labels = at::zeros({0}, at::kLong);
  const DetectionLoss silent = ComputeDetectionLoss({layer}, {}, none, {});
  EXPECT_GT(silent.classes, 0);
  EXPECT_EQ(silent.boxes, 0);
  silent.total.backward();
  EXPECT_TRUE(layer.queries.logits.grad().gt(0).all().item<bool>());
  // Five for three queries: three are matched, the same as when only these were there.
  const DetectionTruth five = FiveBoxes();
  const DetectionLoss most = ComputeDetectionLoss({layer}, {}, five, {});
  double least = std::numeric_limits<double>::infinity();
  for (int i = 0; i < 5; ++i) {
    for (int j = i + 1; j < 5; ++j) {
      for (int k = j + 1; k < 5; ++k) {
        const at::Tensor chosen = at::tensor({i, j, k}, at::kLong);
        DetectionTruth three;
        three.boxes = five.boxes.index_select(0, chosen);
        three.labels = five.labels.index_select(0, chosen);
        const DetectionLoss loss = ComputeDetectionLoss({layer}, {}, three, {});
        least = std::min(least, loss.classes + loss.boxes);
      }
    }
  }
  EXPECT_NEAR(most.classes + most.boxes, least, 1e-5);
  // Boxes that no query can say.
  DetectionTruth far = FiveBoxes();
  far.boxes[1][0] = 60, far.boxes[3][2] = 4;
  const DetectionTruth near = TruthInRange(far, BevGrid());
  EXPECT_TRUE(at::equal(near.labels, at::tensor({0, 8, 0}, at::kLong)));
  EXPECT_EQ(near.boxes.size(0), 3);
  EXPECT_TRUE(at::equal(near.attributes, at::tensor({5, 2, -1}, at::kLong)));
}

TEST(PixelLoss, IsTheMeanOfObjectsAndThatOfTheRest) {
  const at::Tensor logits = at::randn({2, 5, 3, 4}).requires_grad_();
  at::Tensor labels = at::full({2, 3, 4}, -1, at::kLong);
  at::Tensor objects = at::zeros({2, 3, 4}, at::kBool);
  EXPECT_EQ(PixelLoss(logits, labels, objects).item<float>(), 0);
  labels[0][1][2] = 4, labels[1][2][3] = 0, labels[1][0][1] = 2;
  objects[1][0][1] = true;
  const auto entropy = [&](int64_t c, int64_t i, int64_t j, int64_t label) {
    const at::Tensor at = logits[c].select(1, i).select(1, j);
    return at.exp().sum().log().item<float>() - at[label].item<float>();
  };
  const at::Tensor loss = PixelLoss(logits, labels, objects);
  EXPECT_NEAR(loss.item<float>(),
              (entropy(0, 1, 2, 4) + entropy(1, 2, 3, 0)) / 2 + entropy(1, 0, 1, 2), 1e-5);
  loss.backward();
  EXPECT_EQ(logits.grad().ne(0).sum().item<int64_t>(), 15);
}

TEST(DetectionLoss, SaysWhereNumbersAreNotFinite) {
  LayerOutputs layer = {"pv.1", RandomOutputs(6)};
  layer.queries.codes = layer.queries.codes.detach().clone();
  layer.queries.codes[4][3] = std::nan("");
  EXPECT_THAT(ErrorOf([&] { ComputeDetectionLoss({layer}, {}, FiveBoxes(), {}); }),
              AllOf(HasSubstr("layer pv.1: expected finite box codes, found nan"),
                    HasSubstr("query 4, column 3")));
  layer.queries = RandomOutputs(6);
  DetectionTruth truth = FiveBoxes();
  truth.boxes[3][1] = kUnknown;
  EXPECT_THAT(ErrorOf([&] { ComputeDetectionLoss({layer}, {}, truth, {}); }), HasSubstr("box 3"));
  truth = FiveBoxes();
  truth.labels[2] = kNumDetectionClasses;
  EXPECT_THAT(ErrorOf([&] { ComputeDetectionLoss({layer}, {}, truth, {}); }),
              HasSubstr("box 2: expected a class 0..10, found 11"));
  truth.labels = truth.labels.slice(0, 0, 4);
  EXPECT_THAT(ErrorOf([&] { ComputeDetectionLoss({layer}, {}, truth, {}); }),
              HasSubstr("expected 5 labels"));
}

// Descends from scratch to the boxes of one sample, through both views and with denoising queries.
TEST(DetectionLoss, SlowDecoderFitsFiveBoxes) {
  at::manual_seed(7);
  DecoderOptions options = SmallDecoderOptions();
  options.layers.width = options.positions.width = 32;
  Parameters parameters;
  const QueryDecoder decoder({&parameters, 1, ""}, BevGrid(), options);
  const DecoderInputs inputs = SmallDecoderInputs();
  const DetectionTruth truth = FiveBoxes();
  AdamW adam(&parameters, {.weight_decay = 0, .clip_norm = 35});
  Random random(9);
  double first = 0, last = 0;
  const int steps = 300;
  for (int step = 0; step < steps; ++step) {
    const DenoisingQueries denoising =
        MakeDenoisingQueries(truth.boxes, BevGrid(), {.groups = 2}, &random);
    const DetectionLoss loss =
        ComputeDetectionLoss(decoder.Forward(inputs, denoising), denoising, truth, {});
    last = loss.classes + loss.boxes + loss.attributes;
    if (step == 0) first = last;
    loss.total.backward();
    adam.Step(WarmupStableDecay(step, steps, 20, 0.5, 4e-3));
  }
  EXPECT_LT(last, 0.05 * first);
  const std::vector<Detection> found =
      ReadDetections(decoder.Forward(inputs).back().queries, {.max_boxes = 12});
  // The five best are the five boxes.
  const at::Tensor centres = truth.boxes.slice(1, 0, 3);
  std::vector<int> hits(5);
  for (int i = 0; i < 5; ++i) {
    const at::Tensor centre = at::tensor({found[i].box[0], found[i].box[1], found[i].box[2]});
    const at::Tensor distance = (centres - centre).norm(2, {1});
    const auto nearest = distance.argmin().item<int64_t>();
    EXPECT_LT(distance.min().item<float>(), 0.5f);
    EXPECT_EQ(found[i].label, truth.labels[nearest].item<int64_t>());
    const auto attribute = truth.attributes[nearest].item<int64_t>();
    if (attribute >= 0) {
      EXPECT_EQ(found[i].attribute, attribute);
    }
    ++hits[nearest];
  }
  EXPECT_EQ(hits, std::vector<int>(5, 1));
}

}  // namespace
}  // namespace athanor
