#include "athanor/detection/evaluation/argoverse_eval.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>

#include "athanor/base/test_util.h"
#include "athanor/detection/evaluation/evaluation_cases.h"
#include "athanor/detection/evaluation/expected_values.h"
#include "athanor/geometry/box3.h"

namespace athanor {
namespace {

using ::testing::HasSubstr;

ArgoverseMetrics Evaluate(const std::vector<ArgoverseSweep>& sweeps, const ArgoverseConfig& config,
                          const ArgoverseRoi& roi = {}) {
  return SummarizeArgoverse(MatchArgoverse(sweeps, config, roi), config);
}

std::vector<double> Flatten(const ArgoverseMetrics& metrics) {
  std::vector<double> values;
  std::vector<ArgoverseScores> rows = metrics.categories;
  rows.push_back(metrics.average);
  for (const ArgoverseScores& row : rows) {
    values.insert(values.end(), {row.ap, row.ate_m, row.ase, row.aoe_rad, row.cds});
  }
  return values;
}

TEST(ArgoverseEval, EqualsTheOfficialToolOnRandomCases) {
  constexpr size_t kValues = 25;
  const std::vector<double> expected =
      ReadExpectedValues("argoverse_expected.bin.z", kEvaluationCases, kValues);
  double worst = 0;
  for (int seed = 0; seed < kEvaluationCases && !HasFailure(); ++seed) {
    const ArgoverseCase random = MakeArgoverseCase(seed);
    ArgoverseRoi roi;
    if (random.with_roi) {
      roi = [&](const ArgoverseSweep&, const ArgoverseBox& box) {
        const Eigen::Vector4d& q = box.rotation_wxyz;
        const Box3 box3 = {{Eigen::Quaterniond(q[0], q[1], q[2], q[3]).normalized(), box.center_m},
                           box.size_m};
        for (const Eigen::Vector3d& corner : box3.Corners()) {
          if (corner.x() > random.roi_x_m) return true;
        }
        return false;
      };
    }
    ExpectParity(Flatten(Evaluate(random.sweeps, random.config, roi)),
                 std::span(expected).subspan(seed * kValues, kValues),
                 "case " + std::to_string(seed), &worst);
  }
  RecordProperty("worst_difference", StrCat(worst));
}

// Six cars in two sweeps, each found where it is.
std::vector<ArgoverseSweep> SixCars() {
  std::vector<ArgoverseSweep> sweeps(2);
  for (int i = 0; i < 6; ++i) {
    ArgoverseSweep& sweep = sweeps[i / 3];
    sweep.log_id = "log";
    sweep.timestamp_ns = i / 3;
    ArgoverseBox box;
    box.center_m = {10.0 * i, 5, 1};
    box.size_m = {4, 2, 1.5};
    box.num_points = 1;
    box.score = 0.9 - 0.1 * i;
    sweep.truths.push_back(box);
    sweep.detections.push_back(box);
  }
  return sweeps;
}

// The expectations of av2-api's tests/unit/evaluation/detection/test_eval.py, on like inputs.
TEST(ArgoverseEval, ValuesOfTheOfficialUnitTests) {
  ArgoverseConfig config;
  config.categories = {"REGULAR_VEHICLE"};
  std::vector<ArgoverseSweep> sweeps = SixCars();
  ArgoverseScores average = Rounded(Evaluate(sweeps, config).average);
  EXPECT_EQ(average.ap, 1);
  EXPECT_EQ(average.ate_m, 0);
  EXPECT_EQ(average.ase, 0);
  EXPECT_EQ(average.aoe_rad, 0);
  EXPECT_EQ(average.cds, 1);

  sweeps[0].detections[0].center_m.x() += 0.1;           // one of six is off by 0.1 m,
  sweeps[0].detections[1].size_m.x() *= 0.8;             // one by 20 % of its size,
  sweeps[1].detections[2].rotation_wxyz = {0, 0, 0, 1};  // one by pi
  average = Rounded(Evaluate(sweeps, config).average);
  EXPECT_EQ(average.ate_m, 0.017);
  EXPECT_EQ(average.ase, 0.033);
  EXPECT_EQ(average.aoe_rad, 0.524);

  // A second detection of the last car, scored as high: one false positive at the very end.
  sweeps = SixCars();
  sweeps[1].detections.push_back(sweeps[1].detections[2]);
  sweeps[1].detections[2].center_m.x() += 0.01;
  average = Rounded(Evaluate(sweeps, config).average);
  EXPECT_EQ(average.ap, 0.999);

  // test_assign: 0.1 m away, 0.1 m away, and a detection too far from everything.
  ArgoverseSweep three = {.log_id = "log"};
  for (int i = 0; i < 3; ++i) {
    ArgoverseBox box;
    box.num_points = 1;
    box.score = 1;
    box.size_m.setConstant(5);
    box.center_m.setConstant(10.0 * i);
    three.detections.push_back(box);
    box.center_m = i == 0 ? Eigen::Vector3d(-10, -10, -10)
                          : Eigen::Vector3d(10.0 * (i - 1) + 0.1, 10.0 * (i - 1), 10.0 * (i - 1));
    three.truths.push_back(box);
  }
  const ArgoverseMatches matches = MatchArgoverse({three}, config);
  ASSERT_EQ(matches.categories[0].errors.size(), 2u);
  EXPECT_NEAR(matches.categories[0].errors[0][0], 0.1, 1e-12);
  EXPECT_NEAR(matches.categories[0].errors[1][0], 0.1, 1e-12);
}

TEST(ArgoverseEval, ScaleErrorIsOneMinusMinOverMax) {
  // 4x10x3 against 9x5x2: 40 / 270.
  ArgoverseConfig config;
  config.categories = {"DOG"};
  ArgoverseSweep sweep = {.log_id = "log"};
  ArgoverseBox box;
  box.num_points = 1;
  box.size_m = {4, 10, 3};
  sweep.truths.push_back(box);
  box.size_m = {9, 5, 2};
  sweep.detections.push_back(box);
  EXPECT_DOUBLE_EQ(Evaluate({sweep}, config).average.ase, 1 - 40 / 270.0);
}

TEST(ArgoverseEval, RegionOfInterest) {
  ArgoverseConfig config;
  config.categories = {"REGULAR_VEHICLE"};
  std::vector<ArgoverseSweep> sweeps = SixCars();
  // [T, F, T] of the first sweep, nothing of the second.
  const ArgoverseRoi roi = [](const ArgoverseSweep& sweep, const ArgoverseBox& box) {
    return sweep.timestamp_ns == 0 && box.center_m.x() != 10;
  };
  const ArgoverseMatches matches = MatchArgoverse(sweeps, config, roi);
  EXPECT_EQ(matches.categories[0].truths, (std::vector<int32_t>{2, 0}));
  EXPECT_EQ(matches.categories[0].score.size(), 2u);
}

TEST(ArgoverseEval, WeightsCountSweepsManyTimes) {
  for (int seed = 0; seed < 64; ++seed) {
    ArgoverseCase random = MakeArgoverseCase(seed);
    int i = 0;
    for (ArgoverseSweep& sweep : random.sweeps) {
      for (ArgoverseBox& box : sweep.detections) box.score = (i++ * 7919 % 10007) / 10007.0;
    }
    std::vector<int32_t> weights(random.sweeps.size(), 1);
    weights[0] = 3;
    if (weights.size() > 2) weights[2] = 0;
    std::vector<ArgoverseSweep> copies;
    for (size_t s = 0; s < weights.size(); ++s) {
      for (int copy = 0; copy < weights[s]; ++copy) {
        copies.push_back(random.sweeps[s]);
        copies.back().timestamp_ns = 10 * copies.back().timestamp_ns + copy;
      }
    }
    const auto weighted =
        SummarizeArgoverse(MatchArgoverse(random.sweeps, random.config), random.config, weights);
    double worst = 0;
    ExpectParity(Flatten(weighted), Flatten(Evaluate(copies, random.config)),
                 "case " + std::to_string(seed), &worst);
  }
}

TEST(ArgoverseEval, BadInput) {
  ArgoverseConfig config;
  config.categories = {"REGULAR_VEHICLE"};
  std::vector<ArgoverseSweep> sweeps = SixCars();
  sweeps[1].timestamp_ns = 0;
  EXPECT_EQ(ErrorOf([&] { MatchArgoverse(sweeps, config); }), "log log, sweep 0 comes twice");
  sweeps = SixCars();
  sweeps[1].detections[0].size_m.z() = 0;
  EXPECT_THAT(ErrorOf([&] { MatchArgoverse(sweeps, config); }),
              HasSubstr("log log, sweep 1: a detection has a size that is not > 0: 4, 2, 0"));
  sweeps = SixCars();
  sweeps[0].truths[0].center_m.x() = std::nan("");
  EXPECT_THAT(ErrorOf([&] { MatchArgoverse(sweeps, config); }),
              HasSubstr("a true box has a number that is not finite"));
  config.tp_distance_m = 1;
  EXPECT_THAT(ErrorOf([&] { MatchArgoverse(SixCars(), config); }),
              HasSubstr("to be the middle match distance (2), found 1"));
}

}  // namespace
}  // namespace athanor
