#include "athanor/lake/read_ahead.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <map>
#include <numeric>
#include <set>
#include <thread>

#include "athanor/base/test_util.h"
#include "athanor/lake/object_store_test_util.h"

namespace athanor {
namespace {

using ::testing::HasSubstr;

constexpr int64_t kBlock = 4096;
constexpr int64_t kBlocks = 64;

std::shared_ptr<MemoryStore> MakeStore() {
  auto store = std::make_shared<MemoryStore>();
  store->Put("a", RandomBytes(kBlocks * kBlock - 50, 1));
  store->Put("b", RandomBytes(10 * kBlock, 2));
  return store;
}

std::shared_ptr<BlockCache> MakeCache(std::shared_ptr<MemoryStore> store, int64_t memory_blocks,
                                      const std::filesystem::path& folder = {},
                                      int64_t disk_blocks = 0) {
  return std::make_shared<BlockCache>(
      std::move(store),
      BlockCacheOptions{kBlock, memory_blocks * kBlock, folder, disk_blocks * (kBlock + 4096)});
}

// Reads of up to 300 bytes of "a", all over it.
std::vector<ReadRequest> RandomOrder(int reads, uint64_t seed) {
  Random random(seed);
  std::vector<ReadRequest> order;
  for (int i = 0; i < reads; ++i) {
    order.push_back({"a", random.Below(kBlocks * kBlock - 400), random.Below(300)});
  }
  return order;
}

std::set<int64_t> BlocksOf(const std::vector<ReadRequest>& order) {
  std::set<int64_t> blocks;
  for (const auto& [object, offset, length] : order) {
    for (int64_t at = offset / kBlock; length > 0 && at <= (offset + length - 1) / kBlock; ++at) {
      blocks.insert(at);
    }
  }
  return blocks;
}

void ExpectReads(const BlockCache& cache, const MemoryStore& store,
                 const std::vector<ReadRequest>& order) {
  for (const auto& [object, offset, length] : order) {
    ASSERT_EQ(
        cache.Read(object, offset, length),
        store.Content(object).substr(static_cast<size_t>(offset), static_cast<size_t>(length)));
  }
}

TEST(ReadAheadTest, FetchesEachBlockOfTheOrderOnceAndNoOther) {
  for (const int threads : {1, 4}) {
    const auto store = MakeStore();
    const auto cache = MakeCache(store, kBlocks);
    const auto order = RandomOrder(60, 1);
    const auto needed = BlocksOf(order);
    ASSERT_LT(needed.size(), static_cast<size_t>(kBlocks));
    std::mutex mutex;
    std::map<int64_t, int> fetched;
    store->on_read = [&](const std::string&, int64_t offset, int64_t length) {
      const std::lock_guard lock(mutex);
      for (int64_t at = offset / kBlock; at * kBlock < offset + length; ++at) ++fetched[at];
    };
    const ReadAhead ahead(cache, order, {threads, 8 * kBlock, 4 * kBlock});
    ExpectReads(*cache, *store, order);
    EXPECT_EQ(fetched.size(), needed.size());
    for (const auto& [block, times] : fetched) {
      EXPECT_TRUE(needed.contains(block));
      EXPECT_EQ(times, 1);
    }
  }
}

// With the order known and one thread, misses are those of an optimal cache of this size.
TEST(ReadAheadTest, TheCacheEvictsByTheKnownOrder) {
  const int64_t capacity = 8;
  const auto order = RandomOrder(400, 2);
  // Belady by hand: the block with the farthest next use goes, the new one included.
  std::vector<int64_t> trace;
  for (const auto& request : order) {
    for (const int64_t block : BlocksOf({request})) trace.push_back(block);
  }
  std::set<int64_t> kept;
  int64_t misses = 0;
  for (size_t i = 0; i < trace.size(); ++i) {
    if (kept.contains(trace[i])) continue;
    ++misses;
    kept.insert(trace[i]);
    if (static_cast<int64_t>(kept.size()) <= capacity) continue;
    kept.erase(*std::max_element(kept.begin(), kept.end(), [&](int64_t a, int64_t b) {
      const auto next = trace.begin() + static_cast<std::ptrdiff_t>(i) + 1;
      return std::find(next, trace.end(), a) < std::find(next, trace.end(), b);
    }));
  }

  const auto store = MakeStore();
  // The read-ahead is held at its first fetch, a block of another object that takes a place of its
  // own, and only tells the order.
  const auto cache = MakeCache(store, capacity + 1);
  auto with_hold = order;
  with_hold.insert(with_hold.begin(), {"b", 0, 10});
  std::atomic<bool> is_held{false}, release{false};
  store->on_read = [&](const std::string& object, int64_t, int64_t) {
    if (object != "b") return;
    is_held = true;
    while (!release) std::this_thread::yield();
  };
  ReadAhead ahead(cache, with_hold, {1, kBlock, kBlock});
  while (!is_held) std::this_thread::yield();
  ExpectReads(*cache, *store, order);
  const CacheCounters counters = cache->counters();
  release = true;
  EXPECT_EQ(counters.memory.misses, misses);

  const auto blind_store = MakeStore();
  const auto blind = MakeCache(blind_store, capacity);
  ExpectReads(*blind, *blind_store, order);
  EXPECT_LT(counters.memory.misses, blind->counters().memory.misses);
}

TEST(ReadAheadTest, NeighboursShareARequest) {
  const auto store = MakeStore();
  const auto cache = MakeCache(store, kBlocks);
  std::vector<ReadRequest> order;
  for (int64_t offset = 0; offset + 512 < kBlocks * kBlock - 50; offset += 512) {
    order.push_back({"a", offset, 512});
  }
  const ReadAhead ahead(cache, order, {1, 32 * kBlock, 16 * kBlock});
  while (cache->counters().read_ahead < 32) std::this_thread::yield();
  EXPECT_EQ(store->reads(), 6);  // of 1, 1, 2, 4, 8 and 16 blocks
  ExpectReads(*cache, *store, order);
  EXPECT_EQ(cache->counters().store.hits, kBlocks);
  EXPECT_EQ(cache->counters().store.bytes, kBlocks * kBlock - 50);
}

TEST(ReadAheadTest, NeverRunsFurtherAheadThanItsBudget) {
  const auto store = MakeStore();
  const auto cache = MakeCache(store, kBlocks);
  std::vector<ReadRequest> order;
  for (int64_t i = 0; i < kBlocks; ++i) order.push_back({"a", i * 17 % kBlocks * kBlock, 10});
  std::atomic<int64_t> fetched{0}, read{0}, farthest{0};
  store->on_read = [&](const std::string&, int64_t, int64_t length) {
    fetched += (length + kBlock - 1) / kBlock;
    const int64_t ahead = fetched - read;
    if (ahead > farthest) farthest = ahead;
  };
  const ReadAhead ahead(cache, order, {1, 5 * kBlock, 5 * kBlock});
  for (const auto& request : order) {
    ++read;  // counted before, since the budget moves on as soon as the block is asked for
    ExpectReads(*cache, *store, {request});
  }
  EXPECT_LE(farthest, 6);  // and the one that is being read
}

TEST(ReadAheadTest, AMemorySmallerThanTheBudgetNeitherStallsNorThrashes) {
  const auto store = MakeStore();
  const auto cache = MakeCache(store, 3);
  std::vector<ReadRequest> order;
  for (int64_t i = 0; i < 200; ++i) order.push_back({"a", i * 29 % kBlocks * kBlock, 10});
  const ReadAhead ahead(cache, order, {4, 50 * kBlock, 8 * kBlock});
  ExpectReads(*cache, *store, order);
  EXPECT_LE(cache->counters().store.hits, 200);
  EXPECT_LE(cache->memory_blocks(), 3);
}

TEST(ReadAheadTest, SeveralThreadsMayReadOneOrder) {
  const auto store = MakeStore();
  const auto cache = MakeCache(store, 20, TestFolder("cache"), 30);
  const auto order = RandomOrder(600, 5);
  const ReadAhead ahead(cache, order, {3, 10 * kBlock, 4 * kBlock});
  std::atomic<size_t> next{0};
  std::vector<std::thread> threads;
  for (int i = 0; i < 4; ++i) {
    threads.emplace_back([&] {
      for (size_t at = next++; at < order.size(); at = next++) {
        ExpectReads(*cache, *store, {order[at]});
      }
    });
  }
  for (auto& thread : threads) thread.join();
}

TEST(ReadAheadTest, SkippedAndForeignReadsDoNoHarm) {
  const auto store = MakeStore();
  const auto cache = MakeCache(store, 10);
  const auto order = RandomOrder(2000, 6);
  const ReadAhead ahead(cache, order, {2, 5 * kBlock, 2 * kBlock});
  for (size_t i = 0; i < order.size(); i += 1 + i % 3) {
    ExpectReads(*cache, *store, {order[i], {"b", static_cast<int64_t>(i), 20}});
  }
}

TEST(ReadAheadTest, CancelsAndForgets) {
  const auto store = MakeStore();
  const auto cache = MakeCache(store, kBlocks);
  const auto order = RandomOrder(1000, 7);
  {
    ReadAhead ahead(cache, order, {4, 4 * kBlock, kBlock});
    ExpectReads(*cache, *store, {order[0], order[1]});
    ahead.Cancel();
    const int64_t reads = store->reads();
    ahead.Cancel();
    EXPECT_EQ(store->reads(), reads);
  }
  EXPECT_LE(cache->counters().store.hits, 10);
  ExpectReads(*cache, *store, order);
}

TEST(ReadAheadTest, WhatFailsAheadIsTriedAgainByTheReader) {
  const auto store = MakeStore();
  const auto cache = MakeCache(store, 16);
  const auto order = RandomOrder(400, 8);
  std::mutex mutex;
  std::set<int64_t> failed;
  store->on_read = [&](const std::string&, int64_t offset, int64_t) {
    const std::lock_guard lock(mutex);
    if (failed.insert(offset).second) throw Error("the store stumbles");
  };
  const ReadAhead ahead(cache, order, {1, 8 * kBlock, kBlock});
  for (const auto& request : order) {
    // Once by the read-ahead or once by the reader: at the second time it stands.
    if (!ErrorOf([&] { cache->Read(request.object, request.offset, request.length); }).empty()) {
      ExpectReads(*cache, *store, {request});
    }
  }
}

TEST(ReadAheadTest, FetchesFromTheDiskTierToo) {
  const auto store = MakeStore();
  const auto folder = TestFolder("cache");
  const auto order = RandomOrder(300, 9);
  {
    const auto cache = MakeCache(store, 2, folder, 100);
    ExpectReads(*cache, *store, order);
  }
  const int64_t reads = store->reads();
  const auto cache = MakeCache(store, 16, folder, 100);
  const ReadAhead ahead(cache, order, {2, 8 * kBlock, kBlock});
  ExpectReads(*cache, *store, order);
  EXPECT_EQ(store->reads(), reads);
}

TEST(ReadAheadTest, ABadOrderIsRefused) {
  const auto cache = MakeCache(MakeStore(), 4);
  EXPECT_THAT(ErrorOf([&] {
                ReadAhead(cache, {{"b", 0, 11 * kBlock}});
              }),
              HasSubstr("b: expected 45056 bytes from byte 0, found an object of 40960"));
  EXPECT_THAT(ErrorOf([&] { ReadAhead(cache, {{"c", 0, 1}}); }), HasSubstr("c: no such object"));
  EXPECT_THAT(ErrorOf([&] { ReadAhead(cache, {}, {0, 1, 1}); }), HasSubstr("found 0 threads"));
  const ReadAhead nothing(cache, {});
}

}  // namespace
}  // namespace athanor
