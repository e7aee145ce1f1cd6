#include "athanor/loop/mining/uncertainty.h"

#include <gmock/gmock.h>

#include <algorithm>
#include <cmath>

#include "athanor/base/random.h"
#include "athanor/base/test_util.h"

namespace athanor {
namespace {

using ::testing::HasSubstr;

TEST(ClassUncertaintyTest, KnownCases) {
  const double ln2 = std::log(2.0);
  // All sure of the same.
  auto u = MeasureClassUncertainty(std::vector<double>{1, 0, 1, 0, 1, 0}, 2);
  EXPECT_EQ(u.predictive_entropy, 0);
  EXPECT_EQ(u.variation_ratio, 0);
  EXPECT_EQ(u.margin, 1);
  // Sure, of different things: all of it is disagreement.
  u = MeasureClassUncertainty(std::vector<double>{1, 0, 0, 1}, 2);
  EXPECT_NEAR(u.predictive_entropy, ln2, 1e-12);
  EXPECT_NEAR(u.expected_entropy, 0, 1e-12);
  EXPECT_NEAR(u.mutual_information, ln2, 1e-12);
  EXPECT_EQ(u.variation_ratio, 0.5);
  EXPECT_NEAR(u.margin, 0, 1e-12);
  // All unsure alike: none of it is.
  u = MeasureClassUncertainty(std::vector<double>{0.5, 0.5, 0.5, 0.5}, 2);
  EXPECT_NEAR(u.predictive_entropy, ln2, 1e-12);
  EXPECT_NEAR(u.mutual_information, 0, 1e-12);
  EXPECT_EQ(MeasureClassUncertainty(std::vector<double>{1}, 1).margin, 1);
}

// Mutual information is the mean divergence of the members from their mean.
TEST(ClassUncertaintyTest, MutualInformationIsTheMeanDivergence) {
  Random random(1);
  for (int trial = 0; trial < 100; ++trial) {
    const int members = 1 + static_cast<int>(random.Below(6)), classes = 2 + trial % 5;
    std::vector<double> p(members * classes);
    for (int m = 0; m < members; ++m) {
      double sum = 0;
      for (int c = 0; c < classes; ++c) sum += p[m * classes + c] = random.Uniform(0.01f, 1);
      for (int c = 0; c < classes; ++c) p[m * classes + c] /= sum;
    }
    double divergence = 0;
    for (int c = 0; c < classes; ++c) {
      double mean = 0;
      for (int m = 0; m < members; ++m) mean += p[m * classes + c] / members;
      for (int m = 0; m < members; ++m) {
        divergence += p[m * classes + c] * std::log(p[m * classes + c] / mean) / members;
      }
    }
    const auto u = MeasureClassUncertainty(p, classes);
    EXPECT_NEAR(u.mutual_information, divergence, 1e-12);
    EXPECT_NEAR(u.predictive_entropy - u.expected_entropy, divergence, 1e-12);
  }
}

TEST(ClassUncertaintyTest, RefusesWhatIsNoProbability) {
  EXPECT_THAT(ErrorOf([] {
                MeasureClassUncertainty(std::vector<double>{1, 0, NAN, 1}, 2);
              }),
              HasSubstr("member 1, class 0: expected a probability, found nan"));
  EXPECT_THAT(ErrorOf([] {
                MeasureClassUncertainty(std::vector<double>{0.2, 0.2}, 2);
              }),
              HasSubstr("sum to 1, found 0.4"));
  EXPECT_THAT(ErrorOf([] {
                MeasureClassUncertainty(std::vector<double>{1, 0, 1}, 2);
              }),
              HasSubstr("found 3 numbers"));
}

MinedBox Box(double x, double score, int class_index = 0) {
  MinedBox box;
  box.center_m = {x, 0, 0};
  box.score = score;
  box.class_index = class_index;
  return box;
}

TEST(MatchMembersTest, AgreementIsCertain) {
  const std::vector<std::vector<MinedBox>> members(4, {Box(0, 1), Box(10, 1), Box(0.5, 1, 1)});
  const auto clusters = MatchMembers(members);
  ASSERT_EQ(clusters.size(), 3u);
  for (const BoxCluster& cluster : clusters) {
    EXPECT_EQ(cluster.members, 4);
    EXPECT_EQ(cluster.mean_score, 1);
    EXPECT_NEAR(cluster.uncertainty, 0, 1e-12);
  }
  EXPECT_NEAR(AggregateFrame(clusters, FrameAggregate::kMax), 0, 1e-12);
}

TEST(MatchMembersTest, WhatOneMemberLacksCounts) {
  const std::vector<std::vector<MinedBox>> members = {{Box(0, 1)}, {Box(0, 1)}, {}, {Box(50, 0.9)}};
  const auto clusters = MatchMembers(members);
  ASSERT_EQ(clusters.size(), 2u);
  EXPECT_EQ(clusters[0].members, 2);
  EXPECT_NEAR(clusters[0].mean_score, 0.5, 1e-12);
  EXPECT_NEAR(clusters[0].mutual_information, std::log(2.0), 1e-12);
  EXPECT_NEAR(clusters[0].uncertainty, 1, 1e-12);
  EXPECT_EQ(clusters[1].members, 1);
  const double sum = clusters[0].uncertainty + clusters[1].uncertainty;
  EXPECT_NEAR(AggregateFrame(clusters, FrameAggregate::kSum), sum, 1e-12);
  EXPECT_NEAR(AggregateFrame(clusters, FrameAggregate::kMean), sum / 2, 1e-12);
  EXPECT_NEAR(AggregateFrame(clusters, FrameAggregate::kMax), clusters[0].uncertainty, 1e-12);
  EXPECT_EQ(AggregateFrame({}, FrameAggregate::kMean), 0);
}

TEST(MatchMembersTest, MeasuresSpread) {
  std::vector<std::vector<MinedBox>> members = {{Box(-0.5, 1)}, {Box(0.5, 1)}};
  members[0][0].size_m = {4, 2, 1};
  members[1][0].size_m = {6, 2, 1};
  members[1][0].yaw_rad = std::acos(-1.0) / 2;
  const BoxCluster cluster = MatchMembers(members)[0];
  EXPECT_NEAR(cluster.center_m.x(), 0, 1e-12);
  EXPECT_NEAR(cluster.center_variance_m2, 0.25, 1e-12);
  EXPECT_NEAR(cluster.size_variance_m2, 1, 1e-12);
  EXPECT_NEAR(cluster.yaw_variance, 1 - std::sqrt(0.5), 1e-12);
  EXPECT_NEAR(cluster.uncertainty,
              (1 - std::exp(-0.25)) / 2 + (1 - std::exp(-1.0)) / 4 + cluster.yaw_variance / 4,
              1e-12);
}

// What hardly is there is not sought for where it may be.
TEST(MatchMembersTest, SpreadCountsAsFarAsThereIsABox) {
  const BoxCluster sure = MatchMembers({{{Box(-0.5, 1)}, {Box(0.5, 1)}}})[0];
  const BoxCluster faint = MatchMembers({{{Box(-0.5, 0.1)}, {Box(0.5, 0.1)}}})[0];
  EXPECT_EQ(faint.center_variance_m2, sure.center_variance_m2);
  EXPECT_NEAR(faint.uncertainty, 0.1 * sure.uncertainty, 1e-12);
}

// A member's second box of the same place is another object, and the nearest one is taken.
TEST(MatchMembersTest, OneBoxOfAMemberPerObject) {
  const std::vector<std::vector<MinedBox>> members = {{Box(0, 0.9), Box(1.5, 0.8)},
                                                      {Box(1.4, 0.7), Box(0.1, 0.6)}};
  const auto clusters = MatchMembers(members);
  ASSERT_EQ(clusters.size(), 2u);
  for (const BoxCluster& cluster : clusters) {
    EXPECT_EQ(cluster.members, 2);
    EXPECT_NEAR(cluster.center_variance_m2, 0.0025, 1e-9);
  }
  EXPECT_EQ(MatchMembers(members, {.distance_m = 0.01}).size(), 4u);
  EXPECT_EQ(MatchMembers(members, {.min_score = 0.75}).size(), 2u);
  EXPECT_TRUE(MatchMembers({}).empty());
}

TEST(MatchMembersTest, RefusesNaN) {
  const std::vector<std::vector<MinedBox>> members = {{}, {Box(0, 1), Box(NAN, 0.5)}};
  EXPECT_THAT(ErrorOf([&] { MatchMembers(members); }), HasSubstr("member 1, box 1"));
}

TEST(CalibrationTest, ByHand) {
  // Bins of a quarter: (0.2, 0.25] hold 1 of 3, (0.9, 1.0] 1 of 2.
  const std::vector<double> confidences = {0.2, 0.25, 0.0, 0.9, 1.0};
  const std::vector<uint8_t> correct = {1, 0, 0, 1, 0};
  const Calibration c = MeasureCalibration(confidences, correct, 4);
  EXPECT_EQ(c.bins[0].count, 3);
  EXPECT_EQ(c.bins[1].count, 0);
  EXPECT_EQ(c.bins[3].count, 2);
  const double low = std::abs(1.0 / 3 - 0.15), high = std::abs(0.5 - 0.95);
  EXPECT_NEAR(c.expected_error, low * 0.6 + high * 0.4, 1e-12);
  EXPECT_NEAR(c.largest_error, high, 1e-12);
}

TEST(CalibrationTest, HonestConfidencesHaveAlmostNone) {
  Random random(2);
  std::vector<double> confidences;
  std::vector<uint8_t> honest, boasting;
  for (int i = 0; i < 20000; ++i) {
    confidences.push_back(random.Uniform());
    honest.push_back(random.Uniform() < confidences.back());
    boasting.push_back(random.Uniform() < 0.5 * confidences.back());
  }
  EXPECT_LT(MeasureCalibration(confidences, honest).expected_error, 0.02);
  EXPECT_NEAR(MeasureCalibration(confidences, boasting).expected_error, 0.25, 0.02);
  EXPECT_EQ(MeasureCalibration({}, {}).expected_error, 0);
  EXPECT_THAT(
      ErrorOf([] { MeasureCalibration(std::vector<double>{1.5}, std::vector<uint8_t>{1}); }),
      HasSubstr("prediction 0: expected a confidence of 0 to 1, found 1.5"));
}

}  // namespace
}  // namespace athanor
