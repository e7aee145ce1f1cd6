#include "athanor/detection/profusion3d/sampler.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <set>

#include "athanor/base/test_util.h"

namespace athanor {
namespace {

using ::testing::HasSubstr;

// 100 frames: all show class 0, the first 10 class 1, the last 5 class 7 too; 3 show nothing.
std::vector<uint32_t> Frames() {
  std::vector<uint32_t> classes(103, 1);
  for (int i = 0; i < 10; ++i) classes[i] |= 2;
  for (int i = 95; i < 100; ++i) classes[i] |= 128;
  for (int i = 100; i < 103; ++i) classes[i] = 0;
  return classes;
}

TEST(Sampler, EachClassGetsItsShare) {
  const Sampler sampler(Frames(), {});
  EXPECT_EQ(sampler.epoch_size(), 115);
  std::vector<int> drawn(103);
  for (int epoch = 0; epoch < 20; ++epoch) {
    const std::vector<int32_t> order = sampler.Epoch(epoch);
    ASSERT_EQ(order.size(), 115u);
    for (const int32_t frame : order) ++drawn[frame];
  }
  // A third of the draws each: 38.3, of which class 0 gives 10 % and 5 % to the others' frames.
  int first = 0, last = 0, none = 0;
  for (int i = 0; i < 10; ++i) first += drawn[i];
  for (int i = 95; i < 100; ++i) last += drawn[i];
  for (int i = 100; i < 103; ++i) none += drawn[i];
  EXPECT_NEAR(first / 20.0, 38.3 * 1.1, 1.5);
  EXPECT_NEAR(last / 20.0, 38.3 * 1.05, 1.5);
  EXPECT_EQ(none, 0);
  // Within a class, no frame is favoured.
  const auto [least, most] = std::minmax_element(drawn.begin(), drawn.begin() + 10);
  EXPECT_LE(*most - *least, 30);
  EXPECT_GE(*least, 20 * 3);
}

TEST(Sampler, EpochsDependOnSeedAndNumberAlone) {
  const Sampler sampler(Frames(), {.seed = 4});
  const std::vector<int32_t> order = sampler.Epoch(7);
  EXPECT_EQ(Sampler(Frames(), {.seed = 4}).Epoch(7), order);
  EXPECT_NE(sampler.Epoch(8), order);
  EXPECT_NE(Sampler(Frames(), {.seed = 5}).Epoch(7), order);
}

TEST(Sampler, UnbalancedEachFrameComesOnce) {
  const Sampler sampler(Frames(), {.is_balanced = false});
  std::vector<int32_t> order = sampler.Epoch(0);
  EXPECT_FALSE(std::is_sorted(order.begin(), order.end()));
  EXPECT_EQ(std::set<int32_t>(order.begin(), order.end()).size(), 103u);
  EXPECT_EQ(order.size(), 103u);
}

TEST(Sampler, NeedsSomethingToDraw) {
  EXPECT_THAT(ErrorOf([] { Sampler({}, {}); }), HasSubstr("expected frames to learn from"));
  EXPECT_THAT(ErrorOf([] { Sampler({0, 0}, {}); }), HasSubstr("found none in 2"));
}

}  // namespace
}  // namespace athanor
