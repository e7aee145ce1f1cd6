// Random frames of about 60 KB out of shards on a store of 20 ms and 50 MB/s per connection:
// without a cache, through a cold and a warm one, and with the order known beforehand.
//
//   cache_benchmark [FRAMES [BLOCK_KIB]]    default: 600 frames, of 4 times as many that are
//   stored,
//                                           in blocks of 1024 KiB
//
// Prints frames per second, and how often that is what the store alone gives. Every frame is
// compared with the one that was made.
#include <unistd.h>

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <functional>
#include <memory>
#include <numeric>
#include <string>
#include <utility>
#include <vector>

#include "athanor/base/error.h"
#include "athanor/base/files.h"
#include "athanor/base/random.h"
#include "athanor/lake/block_cache.h"
#include "athanor/lake/object_store.h"
#include "athanor/lake/read_ahead.h"

namespace athanor {
namespace {

constexpr int kStoredPerRead = 4;
constexpr double kLatency_s = 0.02, kRate_bytes_per_s = 50e6;

// Bytes of a frame, as they can be made again anywhere.
std::string FrameBytes(size_t frame, int64_t length) {
  Random random(frame);
  std::string bytes(static_cast<size_t>(length), '\0');
  for (char& byte : bytes) byte = static_cast<char>(random.NextBits());
  return bytes;
}

// Shards full of frames; the result is where each lies.
std::vector<ReadRequest> MakeShards(const std::filesystem::path& folder, int frames) {
  constexpr int kPerShard = 200;
  std::vector<ReadRequest> places;
  Random random(1);
  std::string shard;
  for (int i = 0; i < frames; ++i) {
    const std::string name = StrCat("shards/", i / kPerShard, ".shard");
    const int64_t length = 40000 + random.Below(40000);
    places.push_back({name, static_cast<int64_t>(shard.size()), length});
    shard += FrameBytes(static_cast<size_t>(i), length);
    if (i + 1 == frames || (i + 1) % kPerShard == 0) {
      WriteFile(folder / name, shard);
      shard.clear();
    }
  }
  return places;
}

double SecondsOf(const std::function<void()>& work) {
  const auto begin = std::chrono::steady_clock::now();
  work();
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
}

void Run(int frames, int64_t block_bytes) {
  const std::filesystem::path folder =
      std::filesystem::temp_directory_path() / StrCat("cache_benchmark.", ::getpid());
  std::filesystem::create_directories(folder / "store");
  const std::vector<ReadRequest> places = MakeShards(folder / "store", kStoredPerRead * frames);
  const auto slow = std::make_shared<ThrottledStore>(
      std::make_shared<DirectoryStore>(folder / "store"), kLatency_s, kRate_bytes_per_s);
  std::vector<size_t> order(places.size());
  std::iota(order.begin(), order.end(), size_t{0});
  Random random(2);
  for (size_t i = order.size(); i > 1; --i) {
    std::swap(order[i - 1], order[random.Below(static_cast<uint32_t>(i))]);
  }
  order.resize(static_cast<size_t>(frames));
  std::vector<ReadRequest> requests;
  for (const size_t frame : order) requests.push_back(places[frame]);

  std::printf("%d frames of %zu, blocks of %lld KiB\n", frames, places.size(),
              static_cast<long long>(block_bytes >> 10));
  // The time of the reads alone: what they give is compared afterwards.
  const auto measure = [&](const ObjectStore& store) {
    std::vector<std::string> got(order.size());
    const double seconds = SecondsOf([&] {
      for (size_t i = 0; i < order.size(); ++i) {
        const auto& [object, offset, length] = requests[i];
        got[i] = store.Read(object, offset, length);
      }
    });
    for (size_t i = 0; i < order.size(); ++i) {
      ATHANOR_CHECK(got[i] == FrameBytes(order[i], requests[i].length), "frame ", order[i],
                    ": not the bytes that were written");
    }
    return seconds;
  };
  double alone_s = 0;
  // Counters are those of the cache since it was opened.
  const auto report = [&](const std::string& name, const ObjectStore& store) {
    const double seconds = measure(store);
    if (alone_s == 0) alone_s = seconds;
    std::printf("%-26s %9.1f frames/s %8.1f x", name.c_str(), frames / seconds, alone_s / seconds);
    if (const auto* cache = dynamic_cast<const BlockCache*>(&store)) {
      const CacheCounters counters = cache->counters();
      std::printf("   hits: memory %lld, disk %lld; store: %.1f MB in %lld requests",
                  static_cast<long long>(counters.memory.hits),
                  static_cast<long long>(counters.disk.hits),
                  static_cast<double>(counters.store.bytes) * 1e-6,
                  static_cast<long long>(counters.requests));
    }
    std::printf("\n");
    std::fflush(stdout);
  };
  report("store alone", *slow);

  BlockCacheOptions options;
  options.block_bytes = block_bytes;
  options.folder = folder / "cache";
  {
    const BlockCache cache(slow, options);
    report("cold", cache);
    report("warm memory", cache);
  }
  {
    BlockCacheOptions little = options;
    little.memory_bytes = 4 * block_bytes;
    const BlockCache cache(slow, little);
    report("warm disk", cache);
  }
  options.folder.clear();
  for (const int threads : {4, 16}) {
    const auto cache = std::make_shared<BlockCache>(slow, options);
    const ReadAhead ahead(cache, requests, {threads});
    report(StrCat("known order, ", threads, " threads"), *cache);
  }
  std::filesystem::remove_all(folder);
}

}  // namespace
}  // namespace athanor

int main(int argc, char** argv) {
  try {
    athanor::Run(argc > 1 ? std::atoi(argv[1]) : 600, (argc > 2 ? std::atoll(argv[2]) : 1024)
                                                          << 10);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "cache_benchmark: %s\n", error.what());
    return 1;
  }
}
