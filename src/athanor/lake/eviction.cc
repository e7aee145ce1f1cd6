#include "athanor/lake/eviction.h"

#include <algorithm>
#include <bit>

#include "athanor/base/error.h"
#include "athanor/base/random.h"

namespace athanor {
namespace {

constexpr uint8_t kHighestCount = 255;

}  // namespace

EvictionPolicy::Frequencies::Frequencies(int64_t capacity_blocks)
    : halve_after_(10 * std::max<int64_t>(capacity_blocks, 16)) {
  const size_t width =
      std::bit_ceil(static_cast<size_t>(8 * std::max<int64_t>(capacity_blocks, 8)));
  for (auto& row : counters_) row.resize(width);
}

size_t EvictionPolicy::Frequencies::Slot(uint64_t block, int row) const {
  const uint64_t mixed = MixBits(block + MixBits(static_cast<uint64_t>(row)));
  return static_cast<size_t>(mixed) & (counters_[static_cast<size_t>(row)].size() - 1);
}

void EvictionPolicy::Frequencies::Add(uint64_t block) {
  for (int row = 0; row < kRows; ++row) {
    uint8_t& counter = counters_[static_cast<size_t>(row)][Slot(block, row)];
    if (counter < kHighestCount) ++counter;
  }
  if (++additions_ < halve_after_) return;
  additions_ = 0;
  for (auto& row : counters_) {
    for (uint8_t& counter : row) counter /= 2;
  }
}

int EvictionPolicy::Frequencies::Estimate(uint64_t block) const {
  int least = kHighestCount;
  for (int row = 0; row < kRows; ++row) {
    least = std::min<int>(least, counters_[static_cast<size_t>(row)][Slot(block, row)]);
  }
  return least;
}

EvictionPolicy::EvictionPolicy(int64_t capacity_blocks)
    : capacity_(capacity_blocks),
      // Long enough for neighbouring reads of one block, short beside what has proved its worth.
      window_capacity_(std::max<int64_t>(1, capacity_blocks / 8)),
      frequencies_(capacity_blocks) {
  ATHANOR_CHECK(capacity_blocks >= 0, "expected a capacity of 0 blocks or more, found ",
                capacity_blocks);
}

void EvictionPolicy::Used(uint64_t block) {
  frequencies_.Add(block);
  const auto entry = entries_.find(block);
  if (entry == entries_.end() || entry->second.place == Place::kPlanned) return;
  auto& list = entry->second.place == Place::kWindow ? window_ : main_;
  list.splice(list.begin(), list, entry->second.use);
}

void EvictionPolicy::SetNextUse(uint64_t block, int64_t next_use) {
  const auto entry = entries_.find(block);
  if (entry == entries_.end() || entry->second.next_use == next_use) return;
  Detach(block, entry->second);
  entries_.erase(entry);
  Add(block, next_use);
}

void EvictionPolicy::Add(uint64_t block, int64_t next_use) {
  Entry entry = {Place::kPlanned, next_use, {}};
  if (next_use == kUnknown) {
    entry.place = Place::kWindow;
    window_.push_front(block);
    entry.use = window_.begin();
  } else {
    planned_.emplace(next_use, block);
  }
  entries_.emplace(block, entry);
  ShrinkWindow();
}

void EvictionPolicy::ShrinkWindow() {
  while (static_cast<int64_t>(window_.size()) > window_capacity_) {
    entries_.at(window_.back()).place = Place::kMain;
    main_.splice(main_.begin(), window_, std::prev(window_.end()));
  }
}

void EvictionPolicy::Detach(uint64_t block, const Entry& entry) {
  if (entry.place == Place::kPlanned) {
    planned_.erase({entry.next_use, block});
  } else {
    (entry.place == Place::kWindow ? window_ : main_).erase(entry.use);
  }
}

uint64_t EvictionPolicy::LeastOfUnknown() const {
  if (main_.empty()) return window_.back();
  // A window that is not full takes its room from the main part.
  if (static_cast<int64_t>(window_.size()) < window_capacity_) return main_.back();
  return frequencies_.Estimate(window_.back()) > frequencies_.Estimate(main_.back())
             ? main_.back()
             : window_.back();
}

bool EvictionPolicy::WouldKeep(int64_t next_use) const {
  if (size() < capacity_ || !window_.empty() || !main_.empty()) return true;
  return !planned_.empty() && planned_.rbegin()->first > next_use;
}

EvictionPolicy::Outcome EvictionPolicy::Insert(uint64_t block, int64_t next_use) {
  ATHANOR_DCHECK(!Contains(block), "the block is kept already");
  if (!WouldKeep(next_use)) return {};
  Outcome outcome = {true, std::nullopt};
  if (size() == capacity_) {
    outcome.evicted =
        window_.empty() && main_.empty() ? planned_.rbegin()->second : LeastOfUnknown();
    Remove(*outcome.evicted);
  }
  Add(block, next_use);
  return outcome;
}

void EvictionPolicy::Remove(uint64_t block) {
  const auto entry = entries_.find(block);
  if (entry == entries_.end()) return;
  Detach(block, entry->second);
  entries_.erase(entry);
}

}  // namespace athanor
