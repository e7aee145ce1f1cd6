// Which block a full tier of a cache gives up. Pure bookkeeping: holds no bytes, knows no time.
//
// Where the reader's order is known, the block whose next use lies farthest away goes, which is
// optimal (Belady 1966); an arriving block that would itself be the farthest is not kept.
// Blocks of which nothing is known go before all those. Among them the order is that of least
// recent use, with admission: a newcomer stays in a small window and gets beyond it only when it
// was asked for more often than the block it would push out (TinyLFU, Einziger et al. 2017). So a
// scan, or an epoch longer than the cache, does not wash out what is used again and again.
#pragma once

#include <array>
#include <cstdint>
#include <limits>
#include <list>
#include <optional>
#include <set>
#include <unordered_map>
#include <utility>
#include <vector>

namespace athanor {

// Not thread-safe. Each call takes O(log n).
class EvictionPolicy {
 public:
  static constexpr int64_t kUnknown = std::numeric_limits<int64_t>::max();  // no use is foreseen

  // 0 blocks or more.
  explicit EvictionPolicy(int64_t capacity_blocks);

  // A reader asked for the block, kept or not.
  void Used(uint64_t block);
  // When it is asked for next: a position in the reader's order, or kUnknown. Does nothing for a
  // block that is not kept.
  void SetNextUse(uint64_t block, int64_t next_use);

  struct Outcome {
    bool kept = false;
    std::optional<uint64_t> evicted;
  };
  // Keeps the block, which is not kept yet, if it is worth more than another.
  Outcome Insert(uint64_t block, int64_t next_use);
  // Whether Insert() would keep it.
  bool WouldKeep(int64_t next_use) const;
  void Remove(uint64_t block);

  bool Contains(uint64_t block) const { return entries_.contains(block); }
  int64_t size() const { return static_cast<int64_t>(entries_.size()); }
  int64_t capacity() const { return capacity_; }

 private:
  // How often blocks were asked for of late: a count-min sketch of counters that are halved from
  // time to time (Cormode and Muthukrishnan 2005).
  class Frequencies {
   public:
    explicit Frequencies(int64_t capacity_blocks);
    void Add(uint64_t block);
    int Estimate(uint64_t block) const;

   private:
    static constexpr int kRows = 4;
    size_t Slot(uint64_t block, int row) const;

    std::array<std::vector<uint8_t>, kRows> counters_;
    int64_t additions_ = 0, halve_after_;
  };

  enum class Place { kPlanned, kWindow, kMain };
  struct Entry {
    Place place;
    int64_t next_use = kUnknown;
    std::list<uint64_t>::iterator use;  // in window_ or main_
  };

  void Add(uint64_t block, int64_t next_use);
  void Detach(uint64_t block, const Entry& entry);
  void ShrinkWindow();
  // The one of unknown next use that goes first. At least one is kept.
  uint64_t LeastOfUnknown() const;

  int64_t capacity_, window_capacity_;
  Frequencies frequencies_;
  std::unordered_map<uint64_t, Entry> entries_;
  std::set<std::pair<int64_t, uint64_t>> planned_;  // by next use
  std::list<uint64_t> window_, main_;               // most recently used first
};

}  // namespace athanor
