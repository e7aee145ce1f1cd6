#include "athanor/detection/evaluation/kitti_eval.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <numbers>

#include "athanor/base/test_util.h"
#include "athanor/detection/evaluation/expected_values.h"
#include "athanor/detection/evaluation/kitti_cases.h"

namespace athanor {
namespace {

using ::testing::HasSubstr;

TEST(KittiEval, EqualsTheDevelopmentKitOnRandomCases) {
  constexpr size_t kValues = 36;
  const std::vector<double> expected =
      ReadExpectedValues("kitti_expected.bin.z", kEvaluationCases, kValues);
  double worst = 0;
  for (int seed = 0; seed < kEvaluationCases && !HasFailure(); ++seed) {
    const KittiMetrics metrics = EvaluateKitti(MakeKittiCase(seed));
    std::vector<double> values;
    const auto add = [&](KittiTask task, KittiOverlap overlap, int difficulty) {
      const KittiCurve& curve = metrics.At(seed % 3, task, overlap, difficulty);
      values.insert(values.end(), {curve.Average11(), curve.Average40()});
    };
    for (int d = 0; d < kKittiDifficulties; ++d) {
      add(KittiTask::kImage, KittiOverlap::kStrict, d);
      add(KittiTask::kOrientation, KittiOverlap::kStrict, d);
    }
    for (const KittiOverlap overlap : {KittiOverlap::kStrict, KittiOverlap::kLoose}) {
      for (const KittiTask task : {KittiTask::kGround, KittiTask::kBox3d}) {
        for (int d = 0; d < kKittiDifficulties; ++d) add(task, overlap, d);
      }
    }
    ExpectParity(values, std::span(expected).subspan(seed * kValues, kValues),
                 "case " + std::to_string(seed), &worst);
  }
  RecordProperty("worst_difference", StrCat(worst));
}

KittiLabel Car(double x, double z, double yaw) {
  KittiLabel label;
  label.type = "Car";
  label.truncated = 0;
  label.occluded = 0;
  label.alpha_rad = 0;
  label.box_px = {100, 100, 200, 160};
  label.length_m = 4;
  label.width_m = 2;
  label.height_m = 1.5;
  label.bottom_in_camera_m = {x, 1.5, z};
  label.rotation_y_rad = yaw;
  return label;
}

TEST(KittiEval, RotatedOverlaps) {
  const KittiLabel a = Car(0, 10, 0);
  EXPECT_NEAR(KittiGroundOverlap(a, a), 1, 1e-12);
  EXPECT_NEAR(KittiGroundOverlap(a, Car(0, 10, std::numbers::pi)), 1, 1e-12);
  // Shifted by half its length: 4 of 12 square metres.
  EXPECT_NEAR(KittiGroundOverlap(a, Car(2, 10, 0)), 1.0 / 3, 1e-12);
  // Crosswise: 2 x 2 of 12.
  EXPECT_NEAR(KittiGroundOverlap(a, Car(0, 10, std::numbers::pi / 2)), 1.0 / 3, 1e-12);
  EXPECT_EQ(KittiGroundOverlap(a, Car(9, 10, 0)), 0);
  // A square of 2 turned by 45 degrees in itself: the octagon 8 (sqrt 2 - 1) of area.
  KittiLabel square = a, diamond = a;
  square.length_m = diamond.length_m = 2;
  diamond.rotation_y_rad = std::numbers::pi / 4;
  const double octagon = 8 * (std::sqrt(2.0) - 1);
  EXPECT_NEAR(KittiGroundOverlap(square, diamond), octagon / (8 - octagon), 1e-12);
  // y points down and the box stands on its y: half a height up.
  KittiLabel higher = a;
  higher.bottom_in_camera_m.y() -= 0.75;
  EXPECT_NEAR(KittiBox3Overlap(a, higher), 1.0 / 3, 1e-12);
}

// A weight of 2 is the frame twice, one of 0 is no frame.
TEST(KittiEval, WeightsAreCopiesOfFrames) {
  for (int seed = 0; seed < 64; ++seed) {
    const std::vector<KittiFrame> frames = MakeKittiCase(seed);
    std::vector<int32_t> weights;
    std::vector<KittiFrame> copies;
    for (size_t f = 0; f < frames.size(); ++f) {
      weights.push_back(static_cast<int32_t>((f + seed) % 3));
      copies.insert(copies.end(), weights.back(), frames[f]);
    }
    const KittiMetrics weighted = SummarizeKitti(MatchKitti(frames), weights);
    const KittiMetrics copied = EvaluateKitti(copies);
    for (int c = 0; c < kKittiClasses; ++c) {
      for (int task = 0; task < kKittiTasks; ++task) {
        for (int d = 0; d < kKittiDifficulties; ++d) {
          const KittiCurve &a = weighted.curves[c][task][0][d], &b = copied.curves[c][task][0][d];
          // Whether a class is named at all is told from all frames, of whatever weight.
          if (!b.is_evaluated) continue;
          for (int k = 0; k < kKittiRecalls; ++k) {
            ASSERT_TRUE(std::abs(a.values[k] - b.values[k]) < 1e-9 ||
                        (std::isnan(a.values[k]) && std::isnan(b.values[k])))
                << seed << " " << c << " " << task << " " << d << " " << k;
          }
        }
      }
    }
  }
}

TEST(KittiEval, HeightOfDetectionsIsCutToWholePixels) {
  // At the limit of 40 pixels the truth counts; a detection of 39.9 does not, as one of 39.
  KittiLabel truth = Car(0, 10, 0);
  truth.box_px = {100, 100, 200, 140};
  KittiLabel found = truth;
  found.score = 0.9;
  const auto ap = [&] {
    return EvaluateKitti({{"0", {truth}, {found}}})
        .At(0, KittiTask::kImage, KittiOverlap::kStrict, 0)
        .values[0];
  };
  EXPECT_EQ(ap(), 1);
  found.box_px[3] = 139.9;
  EXPECT_EQ(ap(), 0);
}

TEST(KittiEval, NothingToEvaluateIsNaN) {
  KittiLabel found = Car(0, 10, 0);
  found.score = 1;
  found.alpha_rad = -10;
  const KittiMetrics metrics = EvaluateKitti({{"0", {Car(0, 10, 0)}, {found}}});
  EXPECT_NEAR(metrics.At(0, KittiTask::kBox3d, KittiOverlap::kStrict, 0).values[0], 1, 0);
  EXPECT_TRUE(
      std::isnan(metrics.At(0, KittiTask::kOrientation, KittiOverlap::kStrict, 0).Average40()));
  EXPECT_TRUE(std::isnan(metrics.At(1, KittiTask::kImage, KittiOverlap::kStrict, 0).Average11()));
}

TEST(KittiEval, BadInput) {
  EXPECT_THAT(ErrorOf([] {
                EvaluateKitti({{"000001", {}, {Car(0, 10, 0)}}});
              }),
              HasSubstr("000001: expected a score (column 16) with every detection"));
  KittiLabel found = Car(0, 10, 0);
  found.score = std::nan("");
  EXPECT_THAT(ErrorOf([&] { EvaluateKitti({{"000001", {}, {found}}}); }), HasSubstr("not finite"));
}

}  // namespace
}  // namespace athanor
