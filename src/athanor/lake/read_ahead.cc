#include "athanor/lake/read_ahead.h"

#include <algorithm>
#include <utility>

namespace athanor {
namespace {

// How many reads a thread of the reader may lag behind the others. What is skipped altogether holds
// its place in the cache for that long.
constexpr int64_t kStraggle_reads = 256;

}  // namespace

ReadAhead::ReadAhead(std::shared_ptr<BlockCache> cache, const std::vector<ReadRequest>& order,
                     const ReadAheadOptions& options)
    : cache_(std::move(cache)), options_(options) {
  ATHANOR_CHECK(options.threads >= 1 && options.ahead_bytes >= 1 && options.request_bytes >= 1,
                "read-ahead: expected 1 or more threads and bytes, found ", options.threads,
                " threads, ", options.ahead_bytes, " bytes ahead, ", options.request_bytes,
                " per request");
  // Further ahead than memory holds, neighbours would lose their places to what is needed sooner,
  // and be fetched again.
  options_.ahead_bytes = std::min(options.ahead_bytes, cache_->options_.memory_bytes);
  plan_ = cache_->Announce(order);
  bytes_before_.reserve(plan_->blocks.size() + 1);
  bytes_before_.push_back(0);
  for (size_t i = 0; i < plan_->blocks.size(); ++i) {
    const auto& block = plan_->blocks[i];
    const bool is_repeated = i > 0 && plan_->blocks[i - 1].object == block.object &&
                             plan_->blocks[i - 1].index == block.index;
    bytes_before_.push_back(bytes_before_.back() +
                            (is_repeated ? 0 : cache_->BlockLength(*block.object, block.index)));
  }
  for (int i = 0; i < options.threads; ++i) threads_.emplace_back([this] { Work(); });
}

ReadAhead::~ReadAhead() { Cancel(); }

void ReadAhead::Cancel() {
  {
    const std::lock_guard lock(mutex_);
    if (cancelled_) return;
    cancelled_ = true;
  }
  ++plan_->changes;
  plan_->changes.notify_all();
  for (std::thread& thread : threads_) thread.join();
  cache_->Close(plan_);
}

void ReadAhead::Work() {
  while (true) {
    const uint32_t seen = plan_->changes;
    std::vector<BlockCache::LoadPointer> run;
    {
      const std::lock_guard lock(mutex_);
      if (cancelled_) return;
      CatchUpLocked();
      if (withdrawn_ == plan_->blocks.size()) return;
      run = NextRunLocked();
    }
    if (run.empty()) {
      plan_->changes.wait(seen);
    } else {
      cache_->Finish(run);
    }
  }
}

// Follows the reader.
void ReadAhead::CatchUpLocked() {
  const auto& blocks = plan_->blocks;
  const int64_t frontier = plan_->frontier;
  while (reader_ < blocks.size() && blocks[reader_].position < frontier) ++reader_;
  cursor_ = std::max(cursor_, reader_);
  const size_t before = withdrawn_;
  const int64_t past = frontier == plan_->end ? frontier : frontier - kStraggle_reads;
  while (withdrawn_ < blocks.size() && blocks[withdrawn_].position < past) ++withdrawn_;
  if (withdrawn_ > before) cache_->Withdraw(*plan_, before, withdrawn_);
}

std::vector<BlockCache::LoadPointer> ReadAhead::NextRunLocked() {
  const auto& blocks = plan_->blocks;
  std::vector<BlockCache::LoadPointer> run;
  const auto is_within_reach = [&](size_t i) {
    return i == reader_ || bytes_before_[i + 1] - bytes_before_[reader_] <= options_.ahead_bytes;
  };
  for (; cursor_ < blocks.size() && is_within_reach(cursor_); ++cursor_) {
    const auto& [object, index, position] = blocks[cursor_];
    BlockCache::LoadPointer load;
    const auto claim =
        cache_->TryClaim(object, index, EvictionPolicy::kUnknown, /*only_from_store=*/false, &load);
    if (claim == BlockCache::Claim::kNoRoom) return run;
    if (claim == BlockCache::Claim::kPresent) continue;
    run.push_back(load);
    if (load->from_disk) {
      ++cursor_;
      return run;
    }
    size_t reach = cursor_;
    while (reach < blocks.size() && is_within_reach(reach)) ++reach;
    const int64_t before_position = blocks[reach - 1].position + 1;
    int64_t bytes = cache_->BlockLength(*object, index);
    // No longer than what lies ready: the reader is not to wait for more than it needs.
    const int64_t limit =
        std::min(options_.request_bytes, bytes_before_[cursor_] - bytes_before_[reader_]);
    const auto extend = [&](int64_t neighbour) {
      if (neighbour < 0 || neighbour * cache_->options_.block_bytes >= object->info.size_bytes) {
        return false;
      }
      const int64_t more = cache_->BlockLength(*object, neighbour);
      if (bytes + more > limit ||
          cache_->TryClaim(object, neighbour, before_position, /*only_from_store=*/true, &load) !=
              BlockCache::Claim::kClaimed) {
        return false;
      }
      bytes += more;
      return true;
    };
    for (int64_t next = index + 1; extend(next); ++next) run.push_back(load);
    for (int64_t next = index - 1; extend(next); --next) run.insert(run.begin(), load);
    ++cursor_;
    return run;
  }
  return run;
}

}  // namespace athanor
