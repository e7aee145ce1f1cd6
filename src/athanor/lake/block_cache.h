// A cache in two tiers, memory and local disk, in front of a slow store: reads of any range are
// served in blocks of fixed size. Which block leaves a full tier: eviction.h. Where the reader's
// order is known, read_ahead.h fetches ahead of it.
#pragma once

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <exception>
#include <filesystem>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

#include "athanor/lake/disk_slots.h"
#include "athanor/lake/eviction.h"
#include "athanor/lake/object_store.h"

namespace athanor {

// Why blocks of 1 MiB: that is what 20 ms carry at 50 MB/s, so a block takes twice as long as the
// smallest read, and serves 17 frames of 60 KB. Frames read at random once through a cold cache
// came 1.9 times as fast as from the store alone, from a warm disk 17 times; with 256 KiB it
// was 1.1 and 31, with 4 MiB 2.7 and 7.5 (benchmarks/lake/cache_benchmark.cc, a quarter of 1,200
// frames).
struct BlockCacheOptions {
  int64_t block_bytes = int64_t{1} << 20;   // 4 KiB to 1 GiB
  int64_t memory_bytes = int64_t{1} << 30;  // kept in memory at most, one block or more
  std::filesystem::path folder;             // of the disk tier; empty: there is none
  int64_t disk_bytes = int64_t{16} << 30;   // kept in `folder` at most
};

struct TierCounters {
  int64_t hits = 0;     // blocks found here; of the store: blocks fetched
  int64_t misses = 0;   // blocks not found here; of the store: blocks that failed
  int64_t bytes = 0;    // read from here
  double waited_s = 0;  // by readers, summed over threads
};

// Of readers: each block that one asks for is a hit or a miss of the memory. A miss is `joined`,
// when the block was already on its way, else a hit or a miss of the disk, and a miss of the disk
// is one of the store. What read-ahead fetches counts in disk and store hits and bytes only.
struct CacheCounters {
  TierCounters memory, disk, store;
  int64_t joined = 0;
  int64_t requests = 0;    // made to the store
  int64_t read_ahead = 0;  // blocks fetched before they were asked for
  int64_t damaged = 0;     // blocks on disk that were not whole, and were fetched again
};

// One read of a reader's order.
struct ReadRequest {
  std::string object;
  int64_t offset = 0, length = 0;
};

// An object store itself. Thread-safe; a block is fetched once however many threads ask for it.
// Besides the budget, memory holds what is being read just now. An object that changes is noticed
// when its store notices, or when the cache is opened again; its blocks are dropped.
//
// The disk tier is found again by the next process, also after kill -9: every block on disk names
// its object and version and carries checksums. When the disk fails (full, read-only), one warning
// says so, and the cache goes on without writing to it.
class BlockCache : public ObjectStore {
 public:
  // Throws Error for bad options, or a folder that cannot be used.
  BlockCache(std::shared_ptr<const ObjectStore> store, const BlockCacheOptions& options);

  // As the store's. Failures are the store's.
  std::string ReadVersion(const std::string& object, int64_t offset, int64_t length,
                          const ObjectInfo* expected) const override;
  ObjectInfo Info(const std::string& object) const override;
  std::vector<std::string> List(const std::string& prefix) const override;

  CacheCounters counters() const;
  int64_t memory_blocks() const;
  int64_t disk_blocks() const;

 private:
  friend class ReadAhead;

  using BlockKey = uint64_t;  // object's number and block's index
  static constexpr int kIndexBits = 40;

  // An object in one version.
  struct Object {
    uint64_t number = 0;
    std::string name;
    ObjectInfo info;
    std::string version_text;  // of `info`, as the disk tier keeps it
  };
  using ObjectPointer = std::shared_ptr<const Object>;

  // A block on its way. Guarded by mutex_ but for what never changes.
  struct Load {
    ObjectPointer object;
    int64_t index = 0;
    bool is_read_ahead = false;
    bool from_disk = false;
    bool done = false;
    std::shared_ptr<const std::string> bytes;  // when done, unless there is an error
    std::exception_ptr error;
  };
  using LoadPointer = std::shared_ptr<Load>;

  struct Slot {
    BlockKey key = 0;
    bool is_live = false;  // holds the block `key`
    int readers = 0;       // a slot that is being read is not written to
  };

  // A known order: positions count on from plan to plan.
  struct Plan {
    struct Block {
      ObjectPointer object;
      int64_t index;
      int64_t position;
    };
    std::vector<Block> blocks;
    int64_t first = 0, end = 0;        // positions
    std::atomic<int64_t> frontier{0};  // all before it has been read, but for stragglers
    std::atomic<uint32_t> changes{0};  // counts up whenever the frontier moves; to wait for
  };

  static BlockKey Key(const Object& object, int64_t index) {
    return object.number << kIndexBits | static_cast<uint64_t>(index);
  }
  int64_t BlockLength(const Object& object, int64_t index) const;
  // The object as last seen; asked for when it is new or ends before `end`.
  ObjectPointer Known(const std::string& object, int64_t end) const;
  ObjectPointer Register(const std::string& object, const ObjectInfo& info) const;
  std::string ReadBlocks(const ObjectPointer& object, int64_t offset, int64_t length) const;
  std::shared_ptr<const std::string> WaitFor(const LoadPointer& load) const;

  // Locked: mutex_ is held.
  void NoteUseLocked(BlockKey key) const;
  int64_t NextUseLocked(BlockKey key) const;
  LoadPointer StartLocked(const ObjectPointer& object, int64_t index, bool is_read_ahead) const;
  void DropFromDiskLocked(BlockKey key) const;
  void DropObjectLocked(uint64_t number) const;

  // Brings loads that this thread started to their end: consecutive blocks of one object.
  void Finish(const std::vector<LoadPointer>& loads) const;
  bool FinishFromDisk(const LoadPointer& load) const;
  void FinishFromStore(const std::vector<LoadPointer>& loads) const;
  void Complete(const LoadPointer& load, std::string bytes, std::exception_ptr error) const;
  void WriteToDisk(const LoadPointer& load) const;

  // For ReadAhead. Asks the store for objects that are not known yet.
  std::shared_ptr<Plan> Announce(const std::vector<ReadRequest>& order);
  // Uses of blocks[begin, end) that have not happened will not happen.
  void Withdraw(const Plan& plan, size_t begin, size_t end);
  void Close(const std::shared_ptr<Plan>& plan);
  enum class Claim { kPresent, kNoRoom, kClaimed };
  // Starts the load of a block that is neither here nor on its way, if it would be kept. A block
  // that would be read from the disk is left alone when `only_from_store`.
  Claim TryClaim(const ObjectPointer& object, int64_t index, int64_t before_position,
                 bool only_from_store, LoadPointer* load);

  std::shared_ptr<const ObjectStore> store_;
  BlockCacheOptions options_;
  std::unique_ptr<DiskSlots> disk_;

  mutable std::mutex mutex_;
  mutable std::condition_variable loaded_;
  mutable std::unordered_map<std::string, ObjectPointer> current_;
  mutable std::map<std::pair<std::string, std::string>, uint64_t> numbers_;  // by name, version
  mutable std::unordered_map<BlockKey, std::shared_ptr<const std::string>> memory_;
  mutable std::unordered_map<BlockKey, LoadPointer> loads_;
  mutable EvictionPolicy memory_policy_;
  mutable EvictionPolicy disk_policy_;
  mutable std::unordered_map<BlockKey, int64_t> slot_of_;
  mutable std::vector<Slot> slots_;
  mutable std::vector<int64_t> free_slots_;
  mutable bool disk_works_ = true;
  mutable CacheCounters counters_;

  struct Uses {
    std::vector<int64_t> positions;  // ascending
    size_t done = 0;
  };
  mutable std::unordered_map<BlockKey, Uses> future_;
  std::vector<std::shared_ptr<Plan>> plans_;
  int64_t next_position_ = 0;
};

}  // namespace athanor
