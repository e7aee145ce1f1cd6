#include "athanor/loop/mining/purity.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "athanor/base/test_util.h"
#include "athanor/datasets/log_test_util.h"
#include "athanor/detection/evaluation/nuscenes_eval.h"

namespace athanor {
namespace {

using ::testing::HasSubstr;

// Hits on frames of the town in the order of `frames`, one of them twice.
std::vector<MinedHit> HitsOn(const MinedData& data, const std::vector<int>& frames) {
  std::vector<MinedHit> hits;
  for (const int frame : frames) hits.push_back(HitOf(data, {0, frame, -1}));
  return hits;
}

TEST(Purity, CountsFramesOnceAndByTheBenchmarksRules) {
  const MinedData data(WriteTestTown(TestFolder("purity"), 20));
  const int car = FindNuscenesClass("car");
  int64_t frames = 0, near = 0, far = 0;
  std::set<std::string> by_hand;
  for (int l = 0; l < data.num_logs(); ++l) {
    const auto log = data.Read(l);
    frames += std::ssize(log->frames);
    near += std::ssize(FramesWithClass(*log, car, 12));
    far += std::ssize(FramesWithClass(*log, car, 1e6));
    for (const LogFrame& frame : log->frames) {
      for (const LogBox& box : frame.boxes) {
        const Eigen::Vector3d offset =
            box.box.frame_from_box.translation - frame.world_from_ego.translation;
        if (log->tracks[box.track].category == "vehicle.car" &&
            std::hypot(offset.x(), offset.y()) < 12 && box.num_lidar_points != 0) {
          by_hand.insert(frame.id);
        }
      }
    }
  }
  EXPECT_EQ(near, std::ssize(by_hand));
  EXPECT_LE(near, far);
  const std::vector<MinedHit> hits = HitsOn(data, {3, 3, 0, 1, 5});
  const Purity purity = MeasurePurity(data, hits, car, 12, {2, 4, 100});
  EXPECT_EQ(purity.all.frames, frames);
  EXPECT_EQ(purity.all.with, near);
  ASSERT_EQ(purity.best.size(), 2u);
  EXPECT_EQ(purity.best[0].frames, 2);
  EXPECT_EQ(purity.best[1].frames, 4);
  const auto log = data.Read(0);
  int64_t expected = 0;
  for (const int f : {3, 0, 1, 5}) expected += by_hand.contains(log->frames[f].id);
  EXPECT_EQ(purity.best[1].with, expected);
  EXPECT_DOUBLE_EQ(purity.best[1].share, expected / 4.0);

  const std::string shown = log->frames[3].id;
  const Purity rest = MeasurePurity(data, hits, car, 12, {3}, {shown});
  EXPECT_EQ(rest.all.frames, frames - 1);
  EXPECT_EQ(rest.all.with, near - by_hand.contains(shown));
  ASSERT_EQ(rest.best.size(), 1u);
  EXPECT_EQ(rest.best[0].with, expected - by_hand.contains(shown));
}

TEST(Purity, IntervalsAreWilsons) {
  const MinedData data(WriteTestTown(TestFolder("wilson"), 20));
  // 10 of 10 and none of 10, as in Wilson's paper: 0.722 to 1, 0 to 0.278.
  std::vector<int> all;
  for (int f = 0; f < 10; ++f) all.push_back(f);
  const int car = FindNuscenesClass("car"), bus = FindNuscenesClass("bus");
  const Purity full = MeasurePurity(data, HitsOn(data, all), car, 1e6, {10});
  const Purity none = MeasurePurity(data, HitsOn(data, all), bus, 1e6, {10});
  ASSERT_EQ(full.best.at(0).with, 10);
  EXPECT_NEAR(full.best[0].low, 0.7225, 1e-4);
  EXPECT_NEAR(full.best[0].high, 1, 1e-12);
  ASSERT_EQ(none.best.at(0).with, 0);
  EXPECT_NEAR(none.best[0].low, 0, 1e-12);
  EXPECT_NEAR(none.best[0].high, 0.2775, 1e-4);
  EXPECT_EQ(none.Gain(none.best[0]), 0);
  std::vector<MinedHit> strange(1);
  strange[0].id = "nobody";
  EXPECT_THAT(ErrorOf([&] { MeasurePurity(data, strange, car, 12, {1}); }),
              HasSubstr("none of the hits' frames"));
}

}  // namespace
}  // namespace athanor
