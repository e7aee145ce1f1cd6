#include "athanor/detection/profusion3d/training_samples.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <filesystem>
#include <map>
#include <memory>

#include "athanor/base/test_util.h"
#include "athanor/detection/profusion3d/loader.h"
#include "athanor/detection/profusion3d/sample_test_util.h"

namespace athanor {
namespace {

namespace fs = std::filesystem;
using ::testing::AllOf;
using ::testing::HasSubstr;

TrainingSampleOptions SmallOptions(uint64_t seed = 3) {
  TrainingSampleOptions options;
  options.frame.width_px = 64;
  options.frame.height_px = 24;
  options.frame.sweeps = 2;
  options.sampler.seed = seed;
  return options;
}

std::vector<std::shared_ptr<const Log>> TestLogs(const std::string& name) {
  return {std::make_shared<const Log>(OpenTestLog(TestFolder(name), 5))};
}

bool AreSame(const DetectionSample& a, const DetectionSample& b) {
  return a.id == b.id && a.points.equal(b.points) && a.images.equal(b.images) &&
         a.camera_from_ego.equal(b.camera_from_ego) && a.intrinsics.equal(b.intrinsics) &&
         a.has_camera.equal(b.has_camera) && a.has_lidar == b.has_lidar &&
         a.labels.equal(b.labels) && a.attributes.equal(b.attributes) &&
         a.boxes.allclose(b.boxes, 0, 0, true);
}

TEST(TrainingSamples, AStepIsTheSameWhoeverMakesItAndWhen) {
  const TrainingSamples samples(TestLogs("steps"), nullptr, SmallOptions());
  EXPECT_EQ(samples.num_frames(), 5);
  ASSERT_EQ(samples.epoch_size(), 5);
  std::vector<DetectionSample> expected;
  for (int64_t step = 0; step < 15; ++step) expected.push_back(samples.Make(step));
  for (const int workers : {1, 3}) {
    SampleLoader loader([&](int64_t step) { return samples.Make(step); }, 4, 15,
                        {.workers = workers});
    for (int64_t step = 4; step < 15; ++step) {
      EXPECT_TRUE(AreSame(*loader.Next(), expected[step])) << step;
    }
  }
  // Backwards, and not so with another seed.
  EXPECT_TRUE(AreSame(samples.Make(2), expected[2]));
  const TrainingSamples other(TestLogs("other"), nullptr, SmallOptions(4));
  int same = 0;
  for (int64_t step = 0; step < 5; ++step) same += AreSame(other.Make(step), expected[step]);
  EXPECT_LT(same, 2);
}

TEST(TrainingSamples, AllIsInRangeAndConsistent) {
  TrainingSampleOptions options = SmallOptions();
  options.frame.range_m = {-20, -20, -5, 20, 20, 3};
  const TrainingSamples samples(TestLogs("range"), nullptr, options);
  int empty = 0, dark = 0;
  for (int64_t step = 0; step < 60; ++step) {
    const DetectionSample sample = samples.Make(step);
    if (sample.points.size(0) > 0) {
      EXPECT_LT(sample.points.narrow(1, 0, 2).abs().max().item<float>(), 20.001);
    }
    EXPECT_EQ(sample.has_lidar, sample.points.size(0) > 0);
    EXPECT_EQ(sample.boxes.size(0), sample.labels.size(0));
    EXPECT_EQ(sample.boxes.size(0), sample.attributes.size(0));
    empty += !sample.has_lidar;
    dark += sample.has_camera[0].item<int>() == 0;
    EXPECT_NEAR(sample.camera_from_ego[0].det().item<float>(), 1, 1e-4);
  }
  EXPECT_GT(empty, 5);
  EXPECT_GT(dark, 5);
}

TEST(TrainingSamples, ObjectsArePastedUntilTheLastSteps) {
  const auto logs = TestLogs("paste");
  const fs::path path = TestFolder("bank") / "objects.bank";
  TrainingSampleOptions options = SmallOptions();
  options.augmentation = NoAugmentation();
  options.paste.max_hidden = 1;
  options.paste_steps = 5;
  {
    // The same car, but beside the street.
    ObjectBankWriter writer(path, {.min_points = 0});
    for (int f = 0; f < 5; ++f) {
      DetectionSample frame = MakeFrameSample(*logs[0], f, options.frame);
      frame.boxes.select(1, 1) += 12;
      writer.AddFrame(frame);
    }
    writer.Finish();
  }
  const auto bank = std::make_shared<const ObjectBank>(path);
  EXPECT_GT(bank->count(0), 2);
  const TrainingSamples samples(logs, bank, options);
  int64_t pasted = 0;
  for (int64_t step = 0; step < 10; ++step) {
    const DetectionSample sample = samples.Make(step);
    if (step >= 5) {
      EXPECT_EQ(sample.boxes.size(0), 1);
    } else {
      pasted += sample.boxes.size(0) - 1;
    }
  }
  EXPECT_GT(pasted, 0);
}

TEST(TrainingSamples, OlderLogsAreReplayedInTheirShare) {
  const auto log = [](const std::string& name, int frames) {
    Log log = OpenTestLog(TestFolder(name), frames);
    for (auto& frame : log.frames) frame.id = name + " " + frame.id;
    return std::make_shared<const Log>(std::move(log));
  };
  const std::vector<std::shared_ptr<const Log>> logs = {log("new", 2), log("older", 5),
                                                        log("oldest", 4)};
  TrainingSampleOptions options = SmallOptions();
  options.older_logs = 2, options.replay = 0.25;
  const TrainingSamples samples(logs, nullptr, options);
  EXPECT_EQ(samples.num_frames(), 11);
  EXPECT_EQ(samples.epoch_size(), 2);
  std::map<std::string, int> seen;
  for (int64_t step = 0; step < 36; ++step) ++seen[samples.Make(step).id];
  // 9 steps are of the older ones, each of whose 9 frames comes once; the 2 new ones have the rest.
  EXPECT_EQ(seen.size(), 11u);
  for (const auto& [id, count] : seen)
    EXPECT_NEAR(count, id.starts_with("new") ? 13.5 : 1, 0.5) << id;
  // A step is the same whoever makes it, in any order.
  const TrainingSamples again(logs, nullptr, options);
  for (const int64_t step : {35, 3, 20}) EXPECT_TRUE(AreSame(again.Make(step), samples.Make(step)));
  options.replay = 0;
  EXPECT_EQ(TrainingSamples(logs, nullptr, options).num_frames(), 2);
  options.older_logs = 4;
  EXPECT_THAT(ErrorOf([&] { TrainingSamples(logs, nullptr, options); }),
              HasSubstr("expected at most 3 older logs, found 4"));
}

TEST(TrainingSamples, AnErrorNamesItsFrame) {
  const auto logs = TestLogs("damaged");
  for (const LogReading& reading : logs[0]->readings) WriteFile(reading.path, "damaged");
  const TrainingSamples samples(logs, nullptr, SmallOptions());
  SampleLoader loader([&](int64_t step) { return samples.Make(step); }, 0, 5, {.workers = 2});
  EXPECT_THAT(ErrorOf([&] { loader.Next(); }),
              AllOf(HasSubstr("training sample 0, frame "), HasSubstr(" of log scene-1: "),
                    HasSubstr("scene-1__")));
}

}  // namespace
}  // namespace athanor
