#include "athanor/detection/profusion3d/predictions.h"

#include <ATen/ATen.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <string>
#include <string_view>
#include <tuple>
#include <vector>

#include "athanor/base/test_util.h"
#include "athanor/detection/profusion3d/box_code.h"

namespace athanor {
namespace {

using ::testing::HasSubstr;

HeadOutputs RandomOutputs(int64_t queries) {
  HeadOutputs outputs;
  outputs.logits = at::randn({queries, int64_t{kNumDetectionClasses}}),
  outputs.codes = at::randn({queries, 10});
  outputs.attributes = at::randn({queries, 8});
  return outputs;
}

TEST(Predictions, AreTheBestPairsOfQueryAndClass) {
  const HeadOutputs outputs = RandomOutputs(40);
  const std::vector<Detection> found = ReadDetections(outputs, {.max_boxes = 100});
  ASSERT_EQ(found.size(), 100u);
  const at::Tensor sorted = std::get<0>(outputs.logits.sigmoid().flatten().sort(-1, true));
  for (int i = 0; i < 100; ++i) EXPECT_EQ(found[i].score, sorted[i].item<float>());
  // Each is the box of a query that scores so for this class.
  const at::Tensor boxes = DecodeBoxes(outputs.codes), scores = outputs.logits.sigmoid();
  for (const Detection& detection : found) {
    const at::Tensor query =
        scores.select(1, detection.label).eq(detection.score).nonzero().flatten();
    ASSERT_EQ(query.size(0), 1);
    for (int k = 0; k < kBoxColumns; ++k) {
      EXPECT_EQ(detection.box[k], boxes[query[0].item<int64_t>()][k].item<float>());
    }
  }
  EXPECT_EQ(ReadDetections(outputs, {.max_boxes = 1000}).size(), 40u * kNumDetectionClasses);
  EXPECT_EQ(ReadDetections(outputs, {.max_boxes = 0}).size(), 0u);
  const int64_t sure = scores.ge(0.7).sum().item<int64_t>();
  EXPECT_EQ(
      static_cast<int64_t>(ReadDetections(outputs, {.max_boxes = 1000, .min_score = 0.7f}).size()),
      sure);
  EXPECT_TRUE(ReadDetections(RandomOutputs(0), {}).empty());
}

TEST(Predictions, EqualScoresComeInTheOrderOfQueries) {
  HeadOutputs outputs = RandomOutputs(5);
  outputs.logits.zero_();
  const std::vector<Detection> found = ReadDetections(outputs, {.max_boxes = 12});
  for (int i = 0; i < 12; ++i) {
    EXPECT_EQ(found[i].label, i % kNumDetectionClasses);
    EXPECT_EQ(found[i].box[0], outputs.codes[i / kNumDetectionClasses][0].item<float>());
  }
}

TEST(Predictions, AttributesFitTheClass) {
  const HeadOutputs outputs = RandomOutputs(200);
  for (const Detection& detection : ReadDetections(outputs, {.max_boxes = 2000})) {
    const std::string name(detection.AttributeName());
    const std::string kind = name.substr(0, name.find('.'));
    const std::string_view label = kDetectionClasses[detection.label];
    if (label == "pedestrian") {
      EXPECT_EQ(kind, "pedestrian");
    } else if (label == "bicycle" || label == "motorcycle") {
      EXPECT_EQ(kind, "cycle");
    } else if (label == "barrier" || label == "traffic_cone" || label == "animal") {
      EXPECT_EQ(name, "");
    } else {
      EXPECT_EQ(kind, "vehicle");
    }
  }
  // The likeliest of its own: a pedestrian that would rather be a parked vehicle stands.
  HeadOutputs one = RandomOutputs(1);
  one.logits.fill_(-9), one.logits[0][8] = 2;
  one.attributes = at::tensor({0.0f, -1.0f, 3.0f, 9.0f, 1.0f, 2.0f, 8.0f, 0.0f}).view({1, 8});
  EXPECT_EQ(ReadDetections(one, {.max_boxes = 1})[0].AttributeName(), "pedestrian.standing");
}

TEST(Predictions, NamesTheQueryThatIsNotFinite) {
  HeadOutputs outputs = RandomOutputs(5);
  outputs.codes[3][6] = std::nan("");
  EXPECT_THAT(ErrorOf([&] { ReadDetections(outputs, {}); }),
              HasSubstr("expected finite box codes, found nan at query 3, column 6"));
  outputs = RandomOutputs(5);
  outputs.attributes = at::zeros({4, 8});
  EXPECT_THAT(ErrorOf([&] { ReadDetections(outputs, {}); }), HasSubstr("[5,8], found [4, 8]"));
}

}  // namespace
}  // namespace athanor
