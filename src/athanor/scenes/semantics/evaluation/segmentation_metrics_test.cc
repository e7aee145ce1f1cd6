#include "athanor/scenes/semantics/evaluation/segmentation_metrics.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <vector>

#include "athanor/base/test_util.h"

namespace athanor {
namespace {

using ::testing::HasSubstr;

TEST(ConfusionMatrix, ByHand) {
  ConfusionMatrix matrix(3);
  matrix.Add(std::vector<int32_t>{0, 0, 0, 1, 1, -1, 255},
             std::vector<int32_t>{0, 0, 1, 1, 2, 0, 1});
  const SegmentationScores scores = matrix.Scores();
  EXPECT_DOUBLE_EQ(scores.iou[0], 2.0 / 3);
  EXPECT_DOUBLE_EQ(scores.iou[1], 1.0 / 3);
  EXPECT_TRUE(std::isnan(scores.iou[2]));  // predicted once, but the truth does not hold it
  EXPECT_DOUBLE_EQ(scores.accuracy[1], 0.5);
  EXPECT_DOUBLE_EQ(scores.mean_iou, 0.5);
  EXPECT_DOUBLE_EQ(scores.mean_accuracy, (2.0 / 3 + 0.5) / 2);
  EXPECT_DOUBLE_EQ(scores.pixel_accuracy, 3.0 / 5);
  EXPECT_EQ(scores.classes_present, 2);
}

TEST(ConfusionMatrix, OneMatrixIsNotTheMeanOfImages) {
  ConfusionMatrix first(2), second(2);
  first.Add(std::vector<int32_t>{0, 0, 1, 1}, std::vector<int32_t>{0, 0, 1, 0});
  second.Add(std::vector<int32_t>{1, 1, 1, 1}, std::vector<int32_t>{1, 1, 1, 1});
  const double mean_of_images = (first.Scores().mean_iou + second.Scores().mean_iou) / 2;
  first.Merge(second);
  EXPECT_DOUBLE_EQ(first.Scores().mean_iou, (2.0 / 3 + 5.0 / 6) / 2);
  EXPECT_GT(std::abs(first.Scores().mean_iou - mean_of_images), 0.01);
}

TEST(ConfusionMatrix, IgnoredClassAndNothingFound) {
  const int other[] = {2};
  ConfusionMatrix matrix(3, other);
  // Where the truth says "other", nothing counts; predicting it elsewhere is wrong, and so is -1.
  matrix.Add(std::vector<int32_t>{2, 2, 0, 0, 0}, std::vector<int32_t>{0, 2, 0, 2, -1});
  EXPECT_DOUBLE_EQ(matrix.Scores().mean_iou, 1.0 / 3);
  EXPECT_EQ(matrix.Scores().classes_present, 1);
  EXPECT_EQ(matrix.count(0, 3), 1);
}

TEST(ConfusionMatrix, BadInput) {
  ConfusionMatrix matrix(2);
  EXPECT_THAT(ErrorOf([&] { matrix.Add(std::vector<int32_t>{0}, std::vector<int32_t>{}); }),
              HasSubstr("as many predicted labels as true ones (1), found 0"));
  EXPECT_THAT(ErrorOf([] { ConfusionMatrix(0); }), HasSubstr("found 0"));
  EXPECT_THAT(ErrorOf([&] { matrix.Merge(ConfusionMatrix(3)); }), HasSubstr("same classes"));
  EXPECT_TRUE(std::isnan(matrix.Scores().mean_iou));
}

}  // namespace
}  // namespace athanor
