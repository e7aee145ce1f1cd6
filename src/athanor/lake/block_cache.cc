#include "athanor/lake/block_cache.h"

#include <algorithm>
#include <chrono>

#include "athanor/base/log.h"

namespace athanor {
namespace {

class Stopwatch {
 public:
  double seconds() const {
    return std::chrono::duration<double>(std::chrono::steady_clock::now() - begin_).count();
  }

 private:
  std::chrono::steady_clock::time_point begin_ = std::chrono::steady_clock::now();
};

// What tells one content of an object from another on disk and in memory.
std::string VersionText(const ObjectInfo& info) {
  return StrCat(info.size_bytes, " ", info.version);
}

}  // namespace

BlockCache::BlockCache(std::shared_ptr<const ObjectStore> store, const BlockCacheOptions& options)
    : store_(std::move(store)),
      options_(options),
      memory_policy_(std::max<int64_t>(0, options.memory_bytes) /
                     std::max<int64_t>(1, options.block_bytes)),
      disk_policy_(0) {
  ATHANOR_CHECK(options.block_bytes >= 4096 && options.block_bytes <= int64_t{1} << 30,
                "cache: expected blocks of 4096 to ", int64_t{1} << 30, " bytes, found ",
                options.block_bytes);
  ATHANOR_CHECK(memory_policy_.capacity() >= 1, "cache: expected memory for a block of ",
                options.block_bytes, " bytes or more, found ", options.memory_bytes);
  if (options.folder.empty()) return;
  disk_ = std::make_unique<DiskSlots>(options.folder, options.disk_bytes, options.block_bytes);
  disk_policy_ = EvictionPolicy(disk_->size());
  slots_.resize(static_cast<size_t>(disk_->size()));
  for (const DiskSlots::Found& found : disk_->Scan()) {
    const auto [number, is_new] =
        numbers_.try_emplace({found.object, found.version}, numbers_.size());
    const BlockKey key = number->second << kIndexBits | static_cast<uint64_t>(found.index);
    if (!slot_of_.try_emplace(key, found.slot).second) continue;  // written twice: one serves
    slots_[static_cast<size_t>(found.slot)] = {key, true, 0};
    disk_policy_.Insert(key, EvictionPolicy::kUnknown);
  }
  for (int64_t slot = disk_->size() - 1; slot >= 0; --slot) {
    if (!slots_[static_cast<size_t>(slot)].is_live) free_slots_.push_back(slot);
  }
}

int64_t BlockCache::BlockLength(const Object& object, int64_t index) const {
  return std::min(options_.block_bytes, object.info.size_bytes - index * options_.block_bytes);
}

BlockCache::ObjectPointer BlockCache::Known(const std::string& object, int64_t end) const {
  {
    const std::lock_guard lock(mutex_);
    const auto known = current_.find(object);
    if (known != current_.end() && end <= known->second->info.size_bytes) return known->second;
  }
  return Register(object, store_->Info(object));
}

BlockCache::ObjectPointer BlockCache::Register(const std::string& object,
                                               const ObjectInfo& info) const {
  const std::lock_guard lock(mutex_);
  const auto known = current_.find(object);
  if (known != current_.end() && known->second->info == info) return known->second;
  const auto [number, is_new] = numbers_.try_emplace({object, VersionText(info)}, numbers_.size());
  for (auto other = numbers_.lower_bound({object, ""});
       other != numbers_.end() && other->first.first == object; ++other) {
    if (other->second != number->second) DropObjectLocked(other->second);
  }
  auto registered =
      std::make_shared<const Object>(Object{number->second, object, info, VersionText(info)});
  current_[object] = registered;
  return registered;
}

void BlockCache::DropObjectLocked(uint64_t number) const {
  const auto is_its = [&](const auto& entry) { return entry.first >> kIndexBits == number; };
  std::vector<BlockKey> keys;
  for (const auto& entry : memory_) {
    if (is_its(entry)) keys.push_back(entry.first);
  }
  for (const auto& entry : loads_) {
    if (is_its(entry)) keys.push_back(entry.first);
  }
  for (const BlockKey key : keys) {
    memory_.erase(key);
    memory_policy_.Remove(key);
  }
  keys.clear();
  for (const auto& entry : slot_of_) {
    if (is_its(entry)) keys.push_back(entry.first);
  }
  for (const BlockKey key : keys) {
    DropFromDiskLocked(key);
    disk_policy_.Remove(key);
  }
}

void BlockCache::DropFromDiskLocked(BlockKey key) const {
  const auto found = slot_of_.find(key);
  if (found == slot_of_.end()) return;
  Slot& slot = slots_[static_cast<size_t>(found->second)];
  slot.is_live = false;
  if (slot.readers == 0) free_slots_.push_back(found->second);
  slot_of_.erase(found);
}

ObjectInfo BlockCache::Info(const std::string& object) const {
  return Register(object, store_->Info(object))->info;
}

std::vector<std::string> BlockCache::List(const std::string& prefix) const {
  return store_->List(prefix);
}

CacheCounters BlockCache::counters() const {
  const std::lock_guard lock(mutex_);
  return counters_;
}

int64_t BlockCache::memory_blocks() const {
  const std::lock_guard lock(mutex_);
  return static_cast<int64_t>(memory_.size());
}

int64_t BlockCache::disk_blocks() const {
  const std::lock_guard lock(mutex_);
  return static_cast<int64_t>(slot_of_.size());
}

std::string BlockCache::ReadVersion(const std::string& object, int64_t offset, int64_t length,
                                    const ObjectInfo* expected) const {
  CheckObjectRange(object, offset, length);
  for (bool is_first = true;; is_first = false) {
    const ObjectPointer known = Known(object, offset + length);
    CheckVersion(expected, known->info, object);
    ATHANOR_CHECK(offset <= known->info.size_bytes && length <= known->info.size_bytes - offset,
                  object, ": expected ", length, " bytes from byte ", offset,
                  ", found an object of ", known->info.size_bytes);
    if (length == 0) return {};
    try {
      return ReadBlocks(known, offset, length);
    } catch (const ObjectChanged&) {
      const std::lock_guard lock(mutex_);
      const auto current = current_.find(object);
      if (current != current_.end() && current->second == known) current_.erase(current);
      if (!is_first) throw;
    }
  }
}

std::string BlockCache::ReadBlocks(const ObjectPointer& object, int64_t offset,
                                   int64_t length) const {
  const int64_t first = offset / options_.block_bytes;
  const int64_t last = (offset + length - 1) / options_.block_bytes;
  std::vector<std::shared_ptr<const std::string>> blocks(static_cast<size_t>(last - first + 1));
  std::vector<LoadPointer> started, awaited(blocks.size());
  {
    const std::lock_guard lock(mutex_);
    for (int64_t index = first; index <= last; ++index) {
      const BlockKey key = Key(*object, index);
      const auto i = static_cast<size_t>(index - first);
      NoteUseLocked(key);
      if (const auto found = memory_.find(key); found != memory_.end()) {
        blocks[i] = found->second;
        ++counters_.memory.hits;
        const int64_t begin = std::max(offset, index * options_.block_bytes);
        const int64_t end = std::min(offset + length, (index + 1) * options_.block_bytes);
        counters_.memory.bytes += end - begin;
        continue;
      }
      ++counters_.memory.misses;
      if (const auto found = loads_.find(key); found != loads_.end()) {
        ++counters_.joined;
        awaited[i] = found->second;
      } else {
        awaited[i] = StartLocked(object, index, /*is_read_ahead=*/false);
        started.push_back(awaited[i]);
      }
    }
  }
  // All that this thread began is brought to an end before it waits for others: so no two threads
  // ever wait for each other.
  Finish(started);
  for (size_t i = 0; i < blocks.size(); ++i) {
    if (awaited[i] != nullptr) blocks[i] = WaitFor(awaited[i]);
  }

  std::string bytes;
  bytes.reserve(static_cast<size_t>(length));
  for (int64_t index = first; index <= last; ++index) {
    const int64_t begin = std::max(offset, index * options_.block_bytes);
    const int64_t end = std::min(offset + length, (index + 1) * options_.block_bytes);
    bytes.append(*blocks[static_cast<size_t>(index - first)],
                 static_cast<size_t>(begin - index * options_.block_bytes),
                 static_cast<size_t>(end - begin));
  }
  return bytes;
}

std::shared_ptr<const std::string> BlockCache::WaitFor(const LoadPointer& load) const {
  const Stopwatch watch;
  {
    std::unique_lock lock(mutex_);
    if (!load->done) {
      loaded_.wait(lock, [&] { return load->done; });
      (load->from_disk ? counters_.disk : counters_.store).waited_s += watch.seconds();
    }
    if (load->error == nullptr) return load->bytes;
    if (!load->is_read_ahead) std::rethrow_exception(load->error);
  }
  // What failed far ahead of the reader may succeed now; if not, the failure is the reader's own.
  LoadPointer again;
  bool is_mine = false;
  {
    const std::lock_guard lock(mutex_);
    const BlockKey key = Key(*load->object, load->index);
    if (const auto found = memory_.find(key); found != memory_.end()) return found->second;
    if (const auto found = loads_.find(key); found != loads_.end()) {
      again = found->second;
    } else {
      again = StartLocked(load->object, load->index, /*is_read_ahead=*/false);
      is_mine = true;
    }
  }
  if (is_mine) Finish({again});
  return WaitFor(again);
}

int64_t BlockCache::NextUseLocked(BlockKey key) const {
  const auto uses = future_.find(key);
  return uses == future_.end() ? EvictionPolicy::kUnknown
                               : uses->second.positions[uses->second.done];
}

// The block's earliest planned use, if any, is this one.
void BlockCache::NoteUseLocked(BlockKey key) const {
  memory_policy_.Used(key);
  disk_policy_.Used(key);
  const auto uses = future_.find(key);
  if (uses == future_.end()) return;
  const int64_t position = uses->second.positions[uses->second.done];
  if (++uses->second.done == uses->second.positions.size()) future_.erase(uses);
  const int64_t next_use = NextUseLocked(key);
  memory_policy_.SetNextUse(key, next_use);
  disk_policy_.SetNextUse(key, next_use);
  for (const auto& plan : plans_) {
    if (position < plan->first || position >= plan->end || position < plan->frontier) continue;
    plan->frontier = position + 1;
    ++plan->changes;
    plan->changes.notify_all();
  }
}

// The block takes its place in memory now, so that what is on its way counts in the budget.
BlockCache::LoadPointer BlockCache::StartLocked(const ObjectPointer& object, int64_t index,
                                                bool is_read_ahead) const {
  const BlockKey key = Key(*object, index);
  auto load = std::make_shared<Load>(Load{object, index, is_read_ahead});
  load->from_disk = slot_of_.contains(key);
  loads_[key] = load;
  const auto outcome = memory_policy_.Insert(key, NextUseLocked(key));
  if (outcome.evicted) memory_.erase(*outcome.evicted);
  return load;
}

void BlockCache::Finish(const std::vector<LoadPointer>& loads) const {
  std::vector<LoadPointer> run;
  const auto end_run = [&] {
    if (!run.empty()) FinishFromStore(run);
    run.clear();
  };
  for (const LoadPointer& load : loads) {
    if (FinishFromDisk(load)) continue;
    if (!run.empty() && run.back()->index + 1 != load->index) end_run();
    run.push_back(load);
  }
  end_run();
}

bool BlockCache::FinishFromDisk(const LoadPointer& load) const {
  const BlockKey key = Key(*load->object, load->index);
  const Stopwatch watch;
  int64_t slot = 0;
  {
    const std::lock_guard lock(mutex_);
    const auto found = slot_of_.find(key);
    load->from_disk = found != slot_of_.end();
    if (!load->from_disk) {
      if (disk_ != nullptr && !load->is_read_ahead) ++counters_.disk.misses;
      return false;
    }
    slot = found->second;
    ++slots_[static_cast<size_t>(slot)].readers;
  }
  std::string bytes, fault;
  try {
    bytes = disk_->Read(slot, {load->object->name, load->object->version_text, load->index});
    const int64_t expected = BlockLength(*load->object, load->index);
    ATHANOR_CHECK(static_cast<int64_t>(bytes.size()) == expected, load->object->name,
                  ": expected a block of ", expected, " bytes, found ", bytes.size());
  } catch (const std::exception& error) {
    fault = error.what();
  }
  {
    const std::lock_guard lock(mutex_);
    Slot& used = slots_[static_cast<size_t>(slot)];
    if (--used.readers == 0 && !used.is_live) free_slots_.push_back(slot);
    if (fault.empty()) {
      ++counters_.disk.hits;
      counters_.disk.bytes += static_cast<int64_t>(bytes.size());
      if (!load->is_read_ahead) counters_.disk.waited_s += watch.seconds();
    } else {
      ++counters_.damaged;
      if (!load->is_read_ahead) ++counters_.disk.misses;
      load->from_disk = false;
      const auto found = slot_of_.find(key);
      if (found != slot_of_.end() && found->second == slot) {
        DropFromDiskLocked(key);
        disk_policy_.Remove(key);
      }
    }
  }
  if (!fault.empty()) {
    LogWarning(StrCat("cache: ", fault, "; the block is fetched again"));
    return false;
  }
  Complete(load, std::move(bytes), nullptr);
  return true;
}

void BlockCache::FinishFromStore(const std::vector<LoadPointer>& loads) const {
  const Object& object = *loads.front()->object;
  const int64_t begin = loads.front()->index * options_.block_bytes;
  int64_t length = 0;
  for (const LoadPointer& load : loads) length += BlockLength(object, load->index);
  const Stopwatch watch;
  std::string bytes;
  std::exception_ptr error;
  try {
    bytes = store_->ReadVersion(object.name, begin, length, &object.info);
    ATHANOR_CHECK(static_cast<int64_t>(bytes.size()) == length, object.name, ": expected ", length,
                  " bytes from byte ", begin, ", the store gave ", bytes.size());
  } catch (...) {
    error = std::current_exception();
  }
  {
    const std::lock_guard lock(mutex_);
    const auto count = static_cast<int64_t>(loads.size());
    ++counters_.requests;
    (error == nullptr ? counters_.store.hits : counters_.store.misses) += count;
    counters_.store.bytes += static_cast<int64_t>(bytes.size());
    if (!loads.front()->is_read_ahead) {
      counters_.store.waited_s += watch.seconds();
    } else if (error == nullptr) {
      counters_.read_ahead += count;
    }
  }
  for (const LoadPointer& load : loads) {
    if (error != nullptr) {
      Complete(load, {}, error);
    } else if (loads.size() == 1) {
      Complete(load, std::move(bytes), nullptr);
    } else {
      Complete(load,
               bytes.substr(static_cast<size_t>(load->index * options_.block_bytes - begin),
                            static_cast<size_t>(BlockLength(object, load->index))),
               nullptr);
    }
  }
  if (error != nullptr) return;
  for (const LoadPointer& load : loads) WriteToDisk(load);
}

void BlockCache::Complete(const LoadPointer& load, std::string bytes,
                          std::exception_ptr error) const {
  const BlockKey key = Key(*load->object, load->index);
  const std::lock_guard lock(mutex_);
  if (error == nullptr) load->bytes = std::make_shared<const std::string>(std::move(bytes));
  load->error = std::move(error);
  load->done = true;
  loads_.erase(key);
  // It may have lost its place meanwhile, to one that is needed sooner.
  if (load->bytes == nullptr) {
    memory_policy_.Remove(key);
  } else if (memory_policy_.Contains(key)) {
    memory_[key] = load->bytes;
  }
  loaded_.notify_all();
}

void BlockCache::WriteToDisk(const LoadPointer& load) const {
  if (disk_ == nullptr) return;
  const Object& object = *load->object;
  if (static_cast<int64_t>(object.name.size() + object.version_text.size()) >
      DiskSlots::kLongestNames_bytes) {
    return;
  }
  const BlockKey key = Key(object, load->index);
  int64_t slot = 0;
  {
    const std::lock_guard lock(mutex_);
    const auto current = current_.find(object.name);
    const bool is_current = current != current_.end() && current->second->number == object.number;
    if (!disk_works_ || !is_current || disk_policy_.Contains(key)) return;
    const auto outcome = disk_policy_.Insert(key, NextUseLocked(key));
    if (!outcome.kept) return;
    if (outcome.evicted) DropFromDiskLocked(*outcome.evicted);
    if (free_slots_.empty()) {  // the one that left is being read or written just now
      disk_policy_.Remove(key);
      return;
    }
    slot = free_slots_.back();
    free_slots_.pop_back();
  }
  std::string fault;
  try {
    disk_->Write(slot, {object.name, object.version_text, load->index}, *load->bytes);
  } catch (const Error& error) {
    fault = error.what();
  }
  bool is_first_fault = false;
  {
    const std::lock_guard lock(mutex_);
    if (fault.empty() && disk_policy_.Contains(key)) {
      slots_[static_cast<size_t>(slot)] = {key, true, 0};
      slot_of_[key] = slot;
    } else {
      free_slots_.push_back(slot);
      disk_policy_.Remove(key);
    }
    is_first_fault = !fault.empty() && disk_works_;
    if (is_first_fault) disk_works_ = false;
  }
  if (is_first_fault) LogWarning(StrCat("cache: ", fault, "; no more blocks go to the disk"));
}

std::shared_ptr<BlockCache::Plan> BlockCache::Announce(const std::vector<ReadRequest>& order) {
  auto plan = std::make_shared<Plan>();
  for (size_t i = 0; i < order.size(); ++i) {
    const auto& [name, offset, length] = order[i];
    CheckObjectRange(name, offset, length);
    const ObjectPointer object = Known(name, offset + length);
    ATHANOR_CHECK(offset <= object->info.size_bytes && length <= object->info.size_bytes - offset,
                  name, ": expected ", length, " bytes from byte ", offset, ", found an object of ",
                  object->info.size_bytes);
    if (length == 0) continue;
    for (int64_t index = offset / options_.block_bytes;
         index <= (offset + length - 1) / options_.block_bytes; ++index) {
      plan->blocks.push_back({object, index, static_cast<int64_t>(i)});
    }
  }
  const std::lock_guard lock(mutex_);
  plan->first = plan->frontier = next_position_;
  plan->end = next_position_ += static_cast<int64_t>(order.size());
  plans_.push_back(plan);
  for (Plan::Block& block : plan->blocks) {
    block.position += plan->first;
    const BlockKey key = Key(*block.object, block.index);
    Uses& uses = future_[key];
    uses.positions.push_back(block.position);
    if (uses.positions.size() - uses.done > 1) continue;
    memory_policy_.SetNextUse(key, block.position);
    disk_policy_.SetNextUse(key, block.position);
  }
  return plan;
}

void BlockCache::Withdraw(const Plan& plan, size_t begin, size_t end) {
  const std::lock_guard lock(mutex_);
  for (size_t i = begin; i < end; ++i) {
    const BlockKey key = Key(*plan.blocks[i].object, plan.blocks[i].index);
    const auto found = future_.find(key);
    if (found == future_.end()) continue;
    auto& [positions, done] = found->second;
    const auto place = std::lower_bound(positions.begin() + static_cast<std::ptrdiff_t>(done),
                                        positions.end(), plan.blocks[i].position);
    if (place == positions.end() || *place != plan.blocks[i].position) continue;
    positions.erase(place);
    if (done == positions.size()) future_.erase(found);
    const int64_t next_use = NextUseLocked(key);
    memory_policy_.SetNextUse(key, next_use);
    disk_policy_.SetNextUse(key, next_use);
  }
}

void BlockCache::Close(const std::shared_ptr<Plan>& plan) {
  Withdraw(*plan, 0, plan->blocks.size());
  const std::lock_guard lock(mutex_);
  std::erase(plans_, plan);
}

BlockCache::Claim BlockCache::TryClaim(const ObjectPointer& object, int64_t index,
                                       int64_t before_position, bool only_from_store,
                                       LoadPointer* load) {
  const BlockKey key = Key(*object, index);
  const std::lock_guard lock(mutex_);
  if (memory_.contains(key) || loads_.contains(key)) return Claim::kPresent;
  const int64_t next_use = NextUseLocked(key);
  if (next_use >= before_position || (only_from_store && slot_of_.contains(key))) {
    return Claim::kPresent;  // nobody waits for it, or it is as good as here
  }
  if (!memory_policy_.WouldKeep(next_use)) return Claim::kNoRoom;
  *load = StartLocked(object, index, /*is_read_ahead=*/true);
  return Claim::kClaimed;
}

}  // namespace athanor
