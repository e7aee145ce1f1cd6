#include "athanor/lake/block_cache.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <condition_variable>
#include <fstream>
#include <set>
#include <thread>

#include "athanor/base/files.h"
#include "athanor/base/test_util.h"
#include "athanor/lake/object_store_test_util.h"

namespace athanor {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

constexpr int64_t kBlock = 4096;

std::shared_ptr<MemoryStore> MakeStore() {
  auto store = std::make_shared<MemoryStore>();
  store->Put("a", RandomBytes(20 * kBlock + 77, 1));
  store->Put("b/c", RandomBytes(3 * kBlock, 2));
  store->Put("short", RandomBytes(5, 3));
  store->Put("empty", "");
  return store;
}

BlockCacheOptions Options(int64_t memory_blocks, const std::filesystem::path& folder = {},
                          int64_t disk_blocks = 0) {
  return {kBlock, memory_blocks * kBlock, folder, disk_blocks * (kBlock + 4096)};
}

// The same as the store itself, read at random.
void ExpectReadsAsTheStore(const BlockCache& cache, const MemoryStore& store, uint64_t seed,
                           int reads) {
  Random random(seed);
  const std::vector<std::string> names = {"a", "b/c", "short", "empty"};
  for (int i = 0; i < reads; ++i) {
    const std::string& name = names[random.Below(4)];
    const std::string& content = store.Content(name);
    const auto offset = random.Below(static_cast<uint32_t>(content.size()) + 1);
    const auto most =
        std::min<uint32_t>(static_cast<uint32_t>(content.size()) - offset, 3 * kBlock);
    const auto length = random.Below(most + 1);
    ASSERT_EQ(cache.Read(name, offset, length), content.substr(offset, length))
        << name << ": " << length << " bytes from byte " << offset;
  }
}

TEST(BlockCacheTest, ReadsWhatTheStoreHolds) {
  const auto store = MakeStore();
  const auto folder = TestFolder("cache");
  for (const auto& options : {Options(1), Options(100), Options(3, folder, 5),
                              Options(1, folder, 1), Options(4, folder, 100)}) {
    const BlockCache cache(store, options);
    ExpectReadsAsTheStore(cache, *store, 1, 400);
    EXPECT_LE(cache.memory_blocks(), options.memory_bytes / kBlock);
    EXPECT_LE(cache.disk_blocks() * (kBlock + 4096), options.disk_bytes);
  }
}

TEST(BlockCacheTest, CountsEachBlockInItsTier) {
  const auto store = MakeStore();
  const BlockCache cache(store, Options(2, TestFolder("cache"), 100));
  cache.Read("a", 10, 3 * kBlock);  // 4 blocks in one request
  cache.Read("a", 3 * kBlock, 5);   // memory
  cache.Read("a", 10, 5);           // disk
  const CacheCounters counters = cache.counters();
  EXPECT_EQ(counters.requests, 1);
  EXPECT_EQ(counters.store.hits, 4);
  EXPECT_EQ(counters.store.bytes, 4 * kBlock);
  EXPECT_EQ(counters.memory.hits + counters.memory.misses, 6);
  EXPECT_EQ(counters.disk.hits + counters.disk.misses, counters.memory.misses);
  EXPECT_EQ(counters.disk.misses, 4);
  EXPECT_EQ(store->reads(), 1);
}

TEST(BlockCacheTest, FindsItsDiskTierAgain) {
  const auto store = MakeStore();
  const auto folder = TestFolder("cache");
  {
    const BlockCache cache(store, Options(2, folder, 100));
    ExpectReadsAsTheStore(cache, *store, 1, 300);
  }
  const int64_t reads = store->reads();
  const BlockCache cache(store, Options(2, folder, 100));
  EXPECT_EQ(cache.disk_blocks(), 25);
  ExpectReadsAsTheStore(cache, *store, 2, 300);
  EXPECT_EQ(store->reads(), reads);
}

TEST(BlockCacheTest, SurvivesKill) {
  const auto store = MakeStore();
  const auto folder = TestFolder("cache");
  Random random(4);
  for (int round = 0; round < 20; ++round) {
    const pid_t child = ::fork();
    if (child == 0) {
      const BlockCache cache(store, Options(2, folder, 10));
      for (int64_t i = 0;; ++i) cache.Read("a", i * 7919 % (20 * kBlock), 50);
    }
    ::usleep(1000 + random.Below(8000));
    ::kill(child, SIGKILL);
    ::waitpid(child, nullptr, 0);
    const BlockCache cache(store, Options(2, folder, 10));
    ExpectReadsAsTheStore(cache, *store, static_cast<uint64_t>(round), 100);
  }
}

TEST(BlockCacheTest, DamagedBlocksOnDiskAreFetchedAgain) {
  const auto store = MakeStore();
  const auto folder = TestFolder("cache");
  {
    const BlockCache cache(store, Options(1, folder, 100));
    cache.Read("a", 0, 20 * kBlock);
  }
  // One byte of each slot: in headers, in names, in bytes.
  const auto file = folder / StrCat("blocks-", kBlock);
  std::string bytes = ReadFile(file);
  const int64_t stride = kBlock + 4096;
  for (int64_t slot = 0; slot < 20; ++slot) {
    const int64_t at = slot < 10 ? slot * 4 : 4096 + slot * 200;
    bytes[static_cast<size_t>(slot * stride + at)] ^= 0x10;
  }
  std::ofstream(file, std::ios::binary) << bytes;
  const BlockCache cache(store, Options(1, folder, 100));
  EXPECT_EQ(cache.Read("a", 0, 20 * kBlock), store->Content("a").substr(0, 20 * kBlock));
  EXPECT_EQ(cache.counters().disk.hits, 0);
  EXPECT_EQ(cache.counters().damaged + (20 - 10), 20);
  EXPECT_EQ(cache.counters().store.hits, 20);
  // And now they are whole again.
  EXPECT_EQ(cache.Read("a", 0, 19 * kBlock), store->Content("a").substr(0, 19 * kBlock));
  EXPECT_EQ(cache.counters().damaged, 10);
  EXPECT_EQ(cache.counters().store.hits, 20);
}

TEST(BlockCacheTest, AFolderServesOneProcessAtATime) {
  const auto folder = TestFolder("cache");
  const BlockCache cache(MakeStore(), Options(1, folder, 10));
  EXPECT_THAT(ErrorOf([&] { BlockCache(MakeStore(), Options(1, folder, 10)); }),
              AllOf(HasSubstr(folder.string()), HasSubstr("another process")));
}

TEST(BlockCacheTest, AFullDiskOnlyEndsTheWriting) {
  // /dev/full takes no bytes: every write says that the disk is full.
  if (::access("/dev/full", W_OK) != 0) GTEST_SKIP() << "needs /dev/full";
  const auto store = MakeStore();
  const auto folder = TestFolder("cache");
  std::filesystem::create_symlink("/dev/full", folder / StrCat("blocks-", kBlock));
  const BlockCache cache(store, Options(2, folder, 100));
  ExpectReadsAsTheStore(cache, *store, 1, 200);
  EXPECT_EQ(cache.disk_blocks(), 0);
}

TEST(BlockCacheTest, AChangedObjectIsReadAnew) {
  const auto store = MakeStore();
  const auto folder = TestFolder("cache");
  {
    const BlockCache cache(store, Options(8, folder, 100));
    ExpectReadsAsTheStore(cache, *store, 1, 100);
    // Found out when a block is missing.
    const std::string before = store->Content("b/c");
    store->Put("b/c", RandomBytes(2 * kBlock, 50));
    cache.Read("a", 0, 20 * kBlock);
    store->Put("a", RandomBytes(30 * kBlock, 51));
    EXPECT_EQ(cache.Read("a", 0, 30 * kBlock), store->Content("a"));
    // Asking makes sure.
    EXPECT_EQ(cache.Info("b/c").size_bytes, 2 * kBlock);
    ExpectReadsAsTheStore(cache, *store, 2, 100);
  }
  // Or when the cache is opened again.
  store->Put("a", RandomBytes(9 * kBlock, 52));
  const BlockCache cache(store, Options(8, folder, 100));
  ExpectReadsAsTheStore(cache, *store, 3, 100);
}

TEST(BlockCacheTest, AReadNeverMixesVersions) {
  const auto store = MakeStore();
  store->Put("v", std::string(8 * kBlock, 'a'));
  const BlockCache cache(store, Options(5, TestFolder("cache"), 6));
  std::atomic<bool> stop{false};
  std::thread writer([&] {
    for (int i = 1; i < 200; ++i) {
      store->Put("v", std::string(8 * kBlock, static_cast<char>('a' + i % 26)));
      cache.Info("v");
      std::this_thread::yield();
    }
    stop = true;
  });
  std::vector<std::thread> readers;
  for (int i = 0; i < 3; ++i) {
    readers.emplace_back([&, i] {
      Random random(static_cast<uint64_t>(i));
      while (!stop) {
        const int64_t offset = random.Below(6 * kBlock);
        try {
          const std::string bytes = cache.Read("v", offset, 2 * kBlock);
          EXPECT_EQ(bytes, std::string(bytes.size(), bytes[0]));
        } catch (const ObjectChanged&) {  // twice during one read: said, not hidden
        }
      }
    });
  }
  writer.join();
  for (auto& thread : readers) thread.join();
  EXPECT_EQ(cache.Read("v", 0, 8 * kBlock), store->Content("v"));
}

TEST(BlockCacheTest, FailuresOfTheStoreAreTheReadersAndPass) {
  const auto store = MakeStore();
  std::atomic<int> calls{0};
  store->on_read = [&](const std::string& object, int64_t, int64_t) {
    ATHANOR_CHECK(++calls % 3 != 0, object, ": the store stumbles");
  };
  const BlockCache cache(store, Options(4, TestFolder("cache"), 6));
  int failures = 0;
  Random random(6);
  for (int i = 0; i < 300; ++i) {
    const int64_t offset = random.Below(20 * kBlock);
    std::string bytes;
    const std::string fault = ErrorOf([&] { bytes = cache.Read("a", offset, 60); });
    if (fault.empty()) {
      ASSERT_EQ(bytes, store->Content("a").substr(static_cast<size_t>(offset), 60));
    } else {
      EXPECT_EQ(fault, "a: the store stumbles");
      ++failures;
    }
  }
  EXPECT_GT(failures, 10);
  EXPECT_EQ(cache.counters().store.misses, failures);
}

TEST(BlockCacheTest, ManyThreadsFetchABlockOnce) {
  const auto store = MakeStore();
  constexpr int kThreads = 8;
  // The fetch is held up until all others wait for it.
  const BlockCache cache(store, Options(30));
  store->on_read = [&](const std::string&, int64_t, int64_t) {
    while (cache.counters().joined < kThreads - 1) std::this_thread::yield();
  };
  std::vector<std::thread> threads;
  std::atomic<int> right{0};
  for (int i = 0; i < kThreads; ++i) {
    threads.emplace_back([&, i] {
      right += cache.Read("a", i, 100) == store->Content("a").substr(static_cast<size_t>(i), 100);
    });
  }
  for (auto& thread : threads) thread.join();
  EXPECT_EQ(right, kThreads);
  EXPECT_EQ(store->reads(), 1);
}

TEST(BlockCacheTest, ThreadsInDisorderReadWhatTheStoreHolds) {
  const auto store = MakeStore();
  std::atomic<int> calls{0};
  const BlockCache cache(store, Options(3, TestFolder("cache"), 6));
  std::vector<std::thread> threads;
  for (int i = 0; i < 6; ++i) {
    threads.emplace_back(
        [&, i] { ExpectReadsAsTheStore(cache, *store, 100 + static_cast<uint64_t>(i), 300); });
  }
  for (auto& thread : threads) thread.join();
  const CacheCounters counters = cache.counters();
  EXPECT_EQ(counters.memory.misses, counters.joined + counters.disk.hits + counters.disk.misses);
  EXPECT_EQ(counters.disk.misses, counters.store.hits);
  EXPECT_LE(cache.memory_blocks(), 3);
}

TEST(BlockCacheTest, BadReadsAndOptionsAreRefused) {
  const auto store = MakeStore();
  const BlockCache cache(store, Options(4));
  EXPECT_THAT(ErrorOf([&] { cache.Read("a", 0, 21 * kBlock); }),
              AllOf(HasSubstr("a: expected"), HasSubstr("81997")));
  EXPECT_THAT(ErrorOf([&] { cache.Read("a", -1, 5); }), HasSubstr("from byte -1"));
  EXPECT_THAT(ErrorOf([&] { cache.Read("nothing", 0, 5); }), HasSubstr("no such object"));
  EXPECT_THAT(ErrorOf([&] { cache.Read("../a", 0, 5); }), HasSubstr("../a"));
  EXPECT_THAT(ErrorOf([&] { BlockCache(store, {100, 1000, {}, 0}); }), HasSubstr("found 100"));
  EXPECT_THAT(ErrorOf([&] { BlockCache(store, {kBlock, 100, {}, 0}); }), HasSubstr("found 100"));
  EXPECT_THAT(ErrorOf([&] { BlockCache(store, Options(1, TestFolder("cache"), 0)); }),
              HasSubstr("expected room"));
  EXPECT_EQ(cache.Read("empty", 0, 0), "");
}

}  // namespace
}  // namespace athanor
