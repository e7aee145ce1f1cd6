#include "athanor/loop/vehicle/triggers.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <map>

#include "athanor/base/error.h"
#include "athanor/base/random.h"
#include "athanor/base/test_util.h"

namespace athanor {
namespace {

using ::testing::HasSubstr;

VehicleFrame FrameAt(int64_t number) {
  VehicleFrame frame;
  frame.number = number;
  frame.time_us = 1'000'000 + 500'000 * number;
  return frame;
}

MinedBox BoxAt(double x, double y, double score, int class_index = 0) {
  MinedBox box;
  box.center_m = {x, y, 0};
  box.score = score;
  box.class_index = class_index;
  return box;
}

double ValueOf(const std::vector<TriggerValue>& values, const std::string& reason) {
  double sum = 0;
  for (const TriggerValue& value : values) {
    if (value.reason == reason) sum += value.value;
  }
  return sum;
}

TEST(FrameTimer, StagesThatMightNotFitAreNotBegun) {
  // Property: whatever stages take, as long as it is no more than they were said to.
  for (uint64_t seed = 0; seed < 200; ++seed) {
    Random random(seed);
    double now = 0;
    FrameTimer timer(random.Uniform(0.5f, 5), [&] { return now; });
    std::vector<double> most;
    for (int i = 0; i < 6; ++i) {
      most.push_back(random.Uniform(0, 2));
      timer.AddStage("stage", most[i]);
    }
    for (int frame = 0; frame < 50; ++frame) {
      timer.BeginFrame();
      const double begin = now;
      for (int i = 0; i < 6; ++i) timer.Run(i, [&] { now += most[i] * random.Uniform(); });
      EXPECT_LE(now - begin, timer.budget_ms());
      timer.EndFrame();
    }
    EXPECT_EQ(timer.overruns(), 0);
    EXPECT_LE(timer.worst_ms(), timer.budget_ms());
  }
}

TEST(FrameTimer, LearnsWhatAStageTakes) {
  double now = 0;
  FrameTimer timer(10, [&] { return now; });
  const int stage = timer.AddStage("slow", 1);
  timer.BeginFrame();
  EXPECT_TRUE(timer.Run(stage, [&] { now += 8; }));  // eight times what was said
  timer.EndFrame();
  timer.BeginFrame();
  EXPECT_FALSE(timer.Run(stage, [&] { now += 8; }));  // it may take 12 next time
  EXPECT_EQ(timer.stages()[stage].skipped, 1);
}

TEST(CountMin, NeverCountsTooFewAndSeldomTooMany) {
  CountMin sketch;
  std::map<std::string, int> exact;
  Random random(1);
  for (int i = 0; i < 20'000; ++i) {
    const std::string word = std::to_string(static_cast<int>(std::exp(8 * random.Uniform())));
    ++exact[word];
    sketch.Add(word);
  }
  int wrong = 0;
  for (const auto& [word, count] : exact) {
    ASSERT_GE(sketch.Count(word), count);
    wrong += sketch.Count(word) > count + 20;
  }
  EXPECT_LT(wrong, static_cast<int>(exact.size()) / 20);
}

TEST(FeatureSketch, FollowsHowOftenThingsCome) {
  FeatureSketch sketch;
  Random random(2);
  std::vector<std::vector<float>> kinds(3, std::vector<float>(32));
  for (auto& kind : kinds) {
    for (float& x : kind) x = random.Normal();
  }
  const auto one = [&](int kind) {
    std::vector<float> feature = kinds[kind];
    for (float& x : feature) x += 0.3f * random.Normal();
    return feature;
  };
  for (int i = 0; i < 5000; ++i) sketch.SurpriseThenAdd(one(i % 50 == 0 ? 1 : 0));
  double often = 0, seldom = 0, never = 0;
  for (int i = 0; i < 20; ++i) {
    often += sketch.SurpriseThenAdd(one(0)) / 20;
    seldom += sketch.SurpriseThenAdd(one(1)) / 20;
  }
  never = sketch.SurpriseThenAdd(one(2));
  EXPECT_NEAR(often, 0, 0.5);
  EXPECT_NEAR(seldom, std::log2(50), 1);
  EXPECT_GT(never, 10);
  EXPECT_EQ(sketch.kinds(), 3);
  EXPECT_THAT(ErrorOf([&] { sketch.SurpriseThenAdd(std::vector<float>(5)); }),
              HasSubstr("expected 32 numbers, found 5"));
  EXPECT_THAT(ErrorOf([&] { sketch.SurpriseThenAdd(std::vector<float>(32, std::nanf(""))); }),
              HasSubstr("finite"));
}

TEST(FeatureSketch, NeverGrows) {
  FeatureSketch sketch(8);
  Random random(5);
  std::vector<float> kind(4);
  for (int i = 0; i < 600; ++i) {
    if (i % 10 == 0) {
      for (float& x : kind) x = 1000 * random.Normal();
    }
    std::vector<float> feature = kind;
    for (float& x : feature) x += random.Normal();
    sketch.SurpriseThenAdd(feature);
  }
  EXPECT_EQ(sketch.kinds(), 8);
}

TEST(TailBits, CountsInBitsOfItsOwnHistory) {
  TailBits tail(10);
  Random random(3);
  for (int i = 0; i < 10'000; ++i) tail.BitsThenAdd(random.Uniform(0, 8));
  EXPECT_NEAR(tail.BitsThenAdd(4), 1, 0.1);
  EXPECT_NEAR(tail.BitsThenAdd(7), 3, 0.2);
  EXPECT_GT(tail.BitsThenAdd(9), 12);
}

TEST(TrackWatch, SeesWhatAppearsAndVanishesNearby) {
  TrackWatch watch;
  const auto look = [&](int64_t number, std::vector<MinedBox> boxes) {
    VehicleFrame frame = FrameAt(number);
    frame.boxes = std::move(boxes);
    return watch.Watch(frame);
  };
  EXPECT_EQ(look(0, {BoxAt(10, 0, 0.9)}), 0);  // where a clip begins everything is new
  EXPECT_EQ(look(1, {BoxAt(11, 0, 0.9)}), 0);
  EXPECT_EQ(look(2, {BoxAt(12, 0, 0.9)}), 0);
  EXPECT_NEAR(look(3, {}), 0.9 * (1 - 13.0 / 30), 1e-6);  // vanished where it was due
  EXPECT_NEAR(look(4, {BoxAt(0, 5, 0.8)}), 0.8 * (1 - 5.0 / 30), 1e-6);  // out of nothing
  EXPECT_EQ(look(5, {BoxAt(0, 5, 0.8), BoxAt(40, 0, 0.9)}), 0);          // what comes from afar may
}

TEST(Triggers, SayWhatTheyFindAndWhy) {
  VehicleBundle bundle = DefaultBundle();
  bundle.prototypes = {{"dog", 2, 0.8, {3, 0, 3, 3}}};
  bundle.rules = {
      {"near", "SELECT frame FROM boxes WHERE class = 'person' AND distance_cm < 500", 3}};
  Triggers triggers(bundle, {"car", "person"});
  Random random(4);
  std::vector<TriggerValue> values;
  for (int64_t f = 0; f < 100; ++f) {
    VehicleFrame frame = FrameAt(f);
    frame.feature = {random.Normal(), random.Normal(), 3 + random.Normal(), random.Normal()};
    if (f == 60 || f == 61) frame.feature = {14, 0, 3, 14};
    if (f == 70) frame.events = {"ego.hard_brake", "ego.moving"};
    if (f == 80) frame.boxes = {BoxAt(3, 0, 0.9, 1)};
    for (TriggerValue& value : triggers.Look(frame)) {
      EXPECT_TRUE(value.frame == f || value.frame == f - 1);
      values.push_back(std::move(value));
    }
  }
  for (const TriggerValue& value : values) {
    EXPECT_TRUE(value.reason != "event.ego.hard_brake" || value.frame == 70);
    EXPECT_TRUE(value.reason != "rule.near" || value.frame == 80);
  }
  EXPECT_EQ(ValueOf(values, "event.ego.hard_brake"), 2);
  EXPECT_EQ(ValueOf(values, "rule.near"), 3);
  std::vector<TriggerValue> at_60;
  for (const TriggerValue& value : values) {
    if (value.frame == 60) at_60.push_back(value);
  }
  EXPECT_GT(ValueOf(at_60, "prototype.dog"), 1);
  EXPECT_GT(ValueOf(at_60, "rarity"), 0);
}

TEST(Triggers, BadInputIsCountedAndTheRestGoesOn) {
  VehicleBundle bundle = DefaultBundle();
  bundle.prototypes = {{"dog", 2, 0.8, {1, 0}}};  // of another model
  bundle.rules = {{"endless",
                   "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) "
                   "SELECT frame FROM frames, n WHERE i < 0",
                   1}};
  Triggers triggers(bundle, {"car"});
  for (int64_t f = 0; f < 10; ++f) {
    VehicleFrame frame = FrameAt(f);
    frame.feature = {1, std::nanf(""), 3};
    frame.events = {"ego.hard_brake"};
    EXPECT_EQ(ValueOf(triggers.Look(frame), "event.ego.hard_brake"), 2);
  }
  EXPECT_GT(triggers.faults(), 0);
  bundle.rules = {{"wrong", "SELEKT frame FROM boxes", 1}};
  EXPECT_THAT(ErrorOf([&] { triggers.SetBundle(bundle); }), HasSubstr("wrong"));
}

}  // namespace
}  // namespace athanor
