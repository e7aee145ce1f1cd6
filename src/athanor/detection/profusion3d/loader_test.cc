#include "athanor/detection/profusion3d/loader.h"

#include <ATen/ATen.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <string>
#include <thread>

#include "athanor/base/error.h"
#include "athanor/base/random.h"
#include "athanor/base/test_util.h"

namespace athanor {
namespace {

using ::testing::HasSubstr;

// Takes a while that depends on the step, so that workers finish out of order.
DetectionSample MakeSlowly(int64_t step) {
  std::this_thread::sleep_for(std::chrono::microseconds(MixBits(step) % 3000));
  DetectionSample sample;
  sample.id = std::to_string(step);
  sample.points = at::full({3, kPointColumns}, static_cast<double>(MixBits(step) % 1000));
  return sample;
}

TEST(SampleLoader, OrderAndContentDoNotDependOnTheWorkers) {
  for (const int workers : {0, 1, 2, 5}) {
    SampleLoader loader(MakeSlowly, 7, 47, {.workers = workers, .ahead = 3});
    for (int64_t step = 7; step < 47; ++step) {
      const std::optional<DetectionSample> sample = loader.Next();
      ASSERT_TRUE(sample);
      EXPECT_EQ(sample->id, std::to_string(step));
      EXPECT_EQ(sample->points[2][4].item<double>(), static_cast<double>(MixBits(step) % 1000));
    }
    EXPECT_FALSE(loader.Next());
    EXPECT_FALSE(loader.Next());
  }
}

TEST(SampleLoader, NeverMakesMoreThanItMayKeep) {
  std::atomic<int64_t> made = 0;
  int64_t taken = 0;
  SampleLoader loader(
      [&](int64_t step) {
        ++made;
        return MakeSlowly(step);
      },
      0, 1000, {.workers = 4, .ahead = 5});
  for (; taken < 20; ++taken) {
    EXPECT_LE(made, taken + 5);
    ASSERT_TRUE(loader.Next());
  }
  std::this_thread::sleep_for(std::chrono::milliseconds(30));
  EXPECT_LE(made, taken + 5);
}  // and stops with work left

TEST(SampleLoader, AnErrorComesInItsTurn) {
  for (const int workers : {0, 3}) {
    SampleLoader loader(
        [](int64_t step) {
          if (step >= 4) throw Error(StrCat("frame ", step, " is damaged"));
          return MakeSlowly(step);
        },
        0, 100, {.workers = workers, .ahead = 8});
    for (int64_t step = 0; step < 4; ++step) EXPECT_EQ(loader.Next()->id, std::to_string(step));
    EXPECT_THAT(ErrorOf([&] { loader.Next(); }), HasSubstr("frame 4 is damaged"));
    EXPECT_FALSE(loader.Next());
  }
}

TEST(SampleLoader, RefusesOptionsThatAreNone) {
  EXPECT_THAT(ErrorOf([] { SampleLoader(MakeSlowly, 0, 1, {.workers = -1}); }),
              HasSubstr("found -1 and 4"));
  EXPECT_THAT(ErrorOf([] { SampleLoader(MakeSlowly, 0, 1, {.ahead = 0}); }),
              HasSubstr("1 or more samples ahead"));
}

}  // namespace
}  // namespace athanor
