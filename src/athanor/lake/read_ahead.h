// Fetches what a reader will ask for, in the order in which it will ask: a sampler knows its epoch.
#pragma once

#include <cstdint>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

#include "athanor/lake/block_cache.h"

namespace athanor {

struct ReadAheadOptions {
  int threads = 4;  // requests at a time, 1 or more
  // Of blocks, from the reader's place on; no further than the cache's memory holds.
  int64_t ahead_bytes = int64_t{64} << 20;
  int64_t request_bytes = int64_t{4} << 20;  // neighbouring blocks in one request at most
};

// While it lives, `cache` knows the order: its reads may come from several threads, a little out of
// order, and the reader goes on calling cache->Read() as if this were not there. Fetched are blocks
// that the order names and that will be kept until they are read, each once; nothing further ahead
// than `ahead_bytes`. Neighbours within that distance share a request; requests begin small, since
// the reader waits for the first. A read out of order, or one left out, costs no more than itself.
// What fails is left to the reader, who gets the error if it fails again.
//
// The order is memory: 24 bytes and more for each block of each read. Orders of several readers of
// one cache count one behind the other.
class ReadAhead {
 public:
  // Asks the store for objects that the cache does not know yet. Throws Error for a read outside
  // its object, and what the store throws.
  ReadAhead(std::shared_ptr<BlockCache> cache, const std::vector<ReadRequest>& order,
            const ReadAheadOptions& options = {});
  // Cancels.
  ~ReadAhead();
  ReadAhead(const ReadAhead&) = delete;
  ReadAhead& operator=(const ReadAhead&) = delete;

  // Begins no further request, waits for those under way, and forgets the order.
  void Cancel();

 private:
  void Work();
  // What to fetch next; empty when nothing is to be done before the reader moves on.
  std::vector<BlockCache::LoadPointer> NextRunLocked();
  void CatchUpLocked();

  std::shared_ptr<BlockCache> cache_;
  ReadAheadOptions options_;
  std::shared_ptr<BlockCache::Plan> plan_;
  std::vector<int64_t> bytes_before_;  // [blocks + 1] of the order, repetitions in a row once

  std::mutex mutex_;
  bool cancelled_ = false;
  size_t cursor_ = 0;     // the next block to look at
  size_t reader_ = 0;     // the first block that the reader has not passed
  size_t withdrawn_ = 0;  // blocks before it are past, also for stragglers
  std::vector<std::thread> threads_;
};

}  // namespace athanor
