#include "athanor/lake/eviction.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>
#include <list>
#include <vector>

#include "athanor/base/random.h"

namespace athanor {
namespace {

constexpr int64_t kUnknown = EvictionPolicy::kUnknown;

// Misses of a cache that knows the whole trace.
int MissesWithKnownOrder(const std::vector<int>& trace, int capacity) {
  EvictionPolicy policy(capacity);
  int misses = 0;
  for (size_t i = 0; i < trace.size(); ++i) {
    const auto block = static_cast<uint64_t>(trace[i]);
    int64_t next_use = kUnknown;
    for (size_t j = trace.size(); --j > i;) {
      if (trace[j] == trace[i]) next_use = static_cast<int64_t>(j);
    }
    policy.Used(block);
    if (policy.Contains(block)) {
      policy.SetNextUse(block, next_use);
      continue;
    }
    ++misses;
    const auto outcome = policy.Insert(block, next_use);
    EXPECT_EQ(outcome.kept, policy.Contains(block));
    EXPECT_LE(policy.size(), capacity);
    if (outcome.evicted) {
      EXPECT_FALSE(policy.Contains(*outcome.evicted));
    }
  }
  return misses;
}

// The least possible: tries every content that the cache could have after each use.
int FewestMisses(const std::vector<int>& trace, int capacity, int blocks) {
  constexpr int kImpossible = std::numeric_limits<int>::max() / 2;
  std::vector<int> misses(size_t{1} << blocks, kImpossible);  // by the set that is kept
  misses[0] = 0;
  for (const int block : trace) {
    const auto bit = uint32_t{1} << block;
    std::vector<int> after(misses.size(), kImpossible);
    for (uint32_t kept = 0; kept < misses.size(); ++kept) {
      if (misses[kept] == kImpossible) continue;
      const int so_far = misses[kept] + ((kept & bit) == 0 ? 1 : 0);
      const uint32_t all = kept | bit;
      for (uint32_t next = all;; next = (next - 1) & all) {
        if (std::popcount(next) <= capacity) after[next] = std::min(after[next], so_far);
        if (next == 0) break;
      }
    }
    misses = after;
  }
  return *std::min_element(misses.begin(), misses.end());
}

int MissesOfLru(const std::vector<int>& trace, int capacity) {
  std::list<int> kept;
  int misses = 0;
  for (const int block : trace) {
    const auto found = std::find(kept.begin(), kept.end(), block);
    if (found != kept.end()) {
      kept.erase(found);
    } else {
      ++misses;
      if (static_cast<int>(kept.size()) == capacity) kept.pop_back();
    }
    kept.push_front(block);
  }
  return misses;
}

// Misses of a cache that is told nothing of the future.
int MissesInTheDark(const std::vector<int>& trace, int capacity) {
  EvictionPolicy policy(capacity);
  int misses = 0;
  for (const int block : trace) {
    policy.Used(static_cast<uint64_t>(block));
    if (policy.Contains(static_cast<uint64_t>(block))) continue;
    ++misses;
    policy.Insert(static_cast<uint64_t>(block), kUnknown);
    EXPECT_LE(policy.size(), capacity);
  }
  return misses;
}

TEST(EvictionTest, AKnownOrderMissesAsRarelyAsIsPossible) {
  Random random(1);
  for (int round = 0; round < 300; ++round) {
    const int blocks = 2 + static_cast<int>(random.Below(6));
    const int capacity = 1 + static_cast<int>(random.Below(4));
    std::vector<int> trace(5 + random.Below(30));
    for (int& block : trace) block = static_cast<int>(random.Below(static_cast<uint32_t>(blocks)));
    const int misses = MissesWithKnownOrder(trace, capacity);
    ASSERT_EQ(misses, FewestMisses(trace, capacity, blocks)) << "round " << round;
    ASSERT_LE(misses, MissesOfLru(trace, capacity)) << "round " << round;
  }
}

TEST(EvictionTest, AScanDoesNotWashOutWhatIsUsedAgainAndAgain) {
  // 40 blocks asked for over and over, and between them a scan of 10,000 that come once.
  std::vector<int> trace;
  Random random(2);
  for (int i = 0; i < 4000; ++i) trace.push_back(static_cast<int>(random.Below(40)));
  for (int i = 0; i < 10000; ++i) {
    trace.push_back(100 + i);
    if (i % 4 == 0) trace.push_back(static_cast<int>(random.Below(40)));
  }
  const int capacity = 64;
  const int least = 10040;  // each block once
  EXPECT_LT(MissesInTheDark(trace, capacity), least + 250);
  EXPECT_GT(MissesOfLru(trace, capacity), least + 1500);
}

TEST(EvictionTest, EpochsLongerThanTheCacheStillHit) {
  // LRU never hits here.
  std::vector<int> trace;
  for (int epoch = 0; epoch < 10; ++epoch) {
    for (int block = 0; block < 200; ++block) trace.push_back(block);
  }
  EXPECT_EQ(MissesOfLru(trace, 100), 2000);
  EXPECT_LT(MissesInTheDark(trace, 100), 1300);  // the best possible: about 1,100
}

TEST(EvictionTest, WhatWasPopularOnceGivesWay) {
  std::vector<int> trace;
  Random random(3);
  for (int i = 0; i < 20000; ++i) trace.push_back(static_cast<int>(random.Below(50)));
  const int before = MissesInTheDark(trace, 50);
  for (int i = 0; i < 20000; ++i) trace.push_back(50 + static_cast<int>(random.Below(50)));
  EXPECT_EQ(before, 50);
  EXPECT_LT(MissesInTheDark(trace, 50), 50 + 10000);
}

TEST(EvictionTest, BlocksOfUnknownUseGoFirst) {
  EvictionPolicy policy(3);
  policy.Insert(1, 10);
  policy.Insert(2, kUnknown);
  policy.Insert(3, 30);
  EXPECT_TRUE(policy.WouldKeep(100));
  EXPECT_EQ(policy.Insert(4, 100).evicted, 2u);
  EXPECT_FALSE(policy.WouldKeep(100));
  EXPECT_FALSE(policy.Insert(5, 101).kept);
  EXPECT_FALSE(policy.Insert(5, kUnknown).kept);
  EXPECT_EQ(policy.Insert(5, 99).evicted, 4u);
  policy.SetNextUse(1, kUnknown);
  EXPECT_EQ(policy.Insert(6, 1000).evicted, 1u);
}

TEST(EvictionTest, KeepsNothingWithoutRoom) {
  EvictionPolicy policy(0);
  policy.Used(1);
  EXPECT_FALSE(policy.WouldKeep(0));
  EXPECT_FALSE(policy.Insert(1, 0).kept);
  EXPECT_EQ(policy.size(), 0);
}

}  // namespace
}  // namespace athanor
