#include "athanor/detection/evaluation/compare.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <numeric>

#include "athanor/base/parallel.h"
#include "athanor/base/random.h"
#include "athanor/base/test_util.h"
#include "athanor/detection/evaluation/evaluation_cases.h"
#include "athanor/detection/evaluation/kitti_cases.h"

namespace athanor {
namespace {

using ::testing::HasSubstr;

// The mean of a normal variable per sample, for either detector.
std::vector<ComparisonRow> CompareMeans(double shift, bool by_pairs, int64_t seed) {
  Random random(9);
  std::vector<double> values[2];
  std::vector<int32_t> units;
  for (int i = 0; i < 400; ++i) {
    const double common = random.Normal();
    values[0].push_back(common + 0.1 * random.Normal());
    values[1].push_back(common + 0.1 * random.Normal() + shift);
    units.push_back(by_pairs ? i / 2 : i);
  }
  CompareOptions options;
  options.seed = seed;
  return CompareByBootstrap({"mean"}, units, options,
                            [&](int which, std::span<const int32_t> weights) {
                              double sum = 0, total = 0;
                              for (size_t i = 0; i < values[which].size(); ++i) {
                                const int weight = weights.empty() ? 1 : weights[i];
                                sum += weight * values[which][i];
                                total += weight;
                              }
                              return std::vector<double>{sum / total};
                            });
}

TEST(Compare, IntervalOfPairsIsAsTheoryHasIt) {
  // The difference per sample has a deviation of 0.1 sqrt 2; what both share cancels.
  const ComparisonRow row = CompareMeans(0.05, false, 1)[0];
  const double width = 2 * 1.96 * 0.1 * std::sqrt(2.0) / std::sqrt(400.0);
  EXPECT_NEAR(row.high - row.low, width, 0.15 * width);
  EXPECT_NEAR(row.b - row.a, 0.05, 0.02);
  EXPECT_LT(row.low, row.b - row.a);
  EXPECT_GT(row.high, row.b - row.a);
  EXPECT_TRUE(row.is_significant());
  EXPECT_FALSE(CompareMeans(0, false, 1)[0].is_significant());
}

TEST(Compare, SameSeedSameRowsOnAnyNumberOfThreads) {
  SetNumThreads(1);
  const ComparisonRow one = CompareMeans(0.05, true, 3)[0];
  SetNumThreads(2);
  const ComparisonRow two = CompareMeans(0.05, true, 3)[0], other = CompareMeans(0.05, true, 4)[0];
  SetNumThreads(0);
  EXPECT_EQ(one.low, two.low);
  EXPECT_EQ(one.high, two.high);
  EXPECT_NE(one.low, other.low);
}

TEST(Compare, ADetectorAgainstItselfDiffersByNothing) {
  const NuscenesCase random = MakeNuscenesCase(12);
  const NuscenesConfig config;
  const NuscenesMatches matches = MatchNuscenes(random.truth, random.results, config);
  CompareOptions options;
  options.draws = 20;
  options.unit = "sample";
  const auto rows = CompareNuscenes(random.truth, matches, matches, config, options);
  ASSERT_EQ(rows.size(), 17u);
  EXPECT_EQ(rows[0].name, "NDS");
  EXPECT_EQ(rows[7].name, "AP car");
  for (const ComparisonRow& row : rows) {
    EXPECT_EQ(row.low, 0) << row.name;
    EXPECT_EQ(row.high, 0) << row.name;
    EXPECT_FALSE(row.is_significant());
  }
}

TEST(Compare, ArgoverseRowsAreThoseOfTheMetrics) {
  const ArgoverseCase random = MakeArgoverseCase(7);
  const ArgoverseMatches a = MatchArgoverse(random.sweeps, random.config);
  std::vector<ArgoverseSweep> worse = random.sweeps;
  for (ArgoverseSweep& sweep : worse) {
    for (ArgoverseBox& box : sweep.detections) box.center_m.x() += 500;
  }
  const ArgoverseMatches b = MatchArgoverse(worse, random.config);
  CompareOptions options;
  options.draws = 50;
  options.unit = "sample";
  const auto rows = CompareArgoverse(random.sweeps, a, b, random.config, options);
  const ArgoverseMetrics metrics = SummarizeArgoverse(a, random.config);
  EXPECT_EQ(rows[0].a, metrics.average.cds);
  EXPECT_EQ(rows[1].a, metrics.average.ap);
  EXPECT_EQ(rows[1].b, 0);
}

TEST(Compare, KittiRowsAreWhatBothDetectorsAreEvaluatedIn) {
  std::vector<KittiFrame> frames = MakeKittiCase(5);
  const KittiMatches a = MatchKitti(frames);
  CompareOptions options;
  options.draws = 20;
  const auto same = CompareKitti(a, a, options);
  ASSERT_FALSE(same.empty());
  EXPECT_EQ(same[0].name, "Car 3d");
  EXPECT_EQ(same[0].a,
            EvaluateKitti(frames).At(0, KittiTask::kBox3d, KittiOverlap::kStrict, 1).Average40());
  for (const ComparisonRow& row : same) {
    EXPECT_EQ(row.low, 0) << row.name;
    EXPECT_EQ(row.high, 0) << row.name;
  }
  // A detector that names no cars is not compared in them.
  for (KittiFrame& frame : frames) {
    std::erase_if(frame.detections, [](const KittiLabel& label) {
      return label.type == "Car" || label.type == "car";
    });
  }
  const auto fewer = CompareKitti(a, MatchKitti(frames), options);
  EXPECT_LT(fewer.size(), same.size());
  for (const ComparisonRow& row : fewer) EXPECT_FALSE(row.name.starts_with("Car")) << row.name;
  frames.pop_back();
  EXPECT_THAT(ErrorOf([&] { CompareKitti(a, MatchKitti(frames), options); }),
              HasSubstr("expected matches of the same frames"));
}

TEST(Compare, BadInput) {
  CompareOptions options;
  EXPECT_THAT(ErrorOf([&] {
                CompareByBootstrap({}, {}, options, [](int, std::span<const int32_t>) {
                  return std::vector<double>();
                });
              }),
              HasSubstr("at least one sample"));
  const NuscenesCase random = MakeNuscenesCase(12);
  const NuscenesMatches matches = MatchNuscenes(random.truth, random.results, {});
  NuscenesMatches other = matches;
  other.num_samples += 1;
  EXPECT_THAT(ErrorOf([&] { CompareNuscenes(random.truth, matches, other, {}, options); }),
              HasSubstr("expected matches of the same"));
}

}  // namespace
}  // namespace athanor
