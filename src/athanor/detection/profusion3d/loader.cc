#include "athanor/detection/profusion3d/loader.h"

#include <utility>

#include "athanor/base/error.h"
#include "athanor/base/parallel.h"

namespace athanor {

SampleLoader::SampleLoader(MakeSample make, int64_t first, int64_t end,
                           const LoaderOptions& options)
    : make_(std::move(make)), end_(end), options_(options), next_(first), to_make_(first) {
  ATHANOR_CHECK(options.workers >= 0 && options.ahead >= 1,
                "loader: expected 0 or more workers and 1 or more samples ahead, found ",
                options.workers, " and ", options.ahead);
  try {
    for (int i = 0; i < options.workers; ++i) threads_.emplace_back([this] { Work(); });
  } catch (const std::exception& error) {
    {
      const std::lock_guard lock(mutex_);
      is_stopped_ = true;
    }
    taken_.notify_all();
    for (std::thread& thread : threads_) thread.join();
    throw Error(StrCat("loader: cannot start ", options.workers, " threads: ", error.what()));
  }
}

SampleLoader::~SampleLoader() {
  {
    const std::lock_guard lock(mutex_);
    is_stopped_ = true;
  }
  taken_.notify_all();
  for (std::thread& thread : threads_) thread.join();
}

void SampleLoader::Work() {
  // The cores are shared out among the workers, not within a sample.
  SetNumThreads(1);
  std::unique_lock lock(mutex_);
  for (;;) {
    taken_.wait(lock, [&] {
      return is_stopped_ || (to_make_ < end_ && static_cast<int>(slots_.size()) < options_.ahead);
    });
    if (is_stopped_) return;
    const int64_t step = to_make_++;
    slots_.emplace_back();
    lock.unlock();
    Slot made;
    try {
      made.sample = make_(step);
    } catch (...) {
      made.error = std::current_exception();
    }
    made.is_done = true;
    lock.lock();
    // No slot leaves before it is done, so this one is still there.
    slots_[step - next_] = std::move(made);
    made_.notify_all();
  }
}

std::optional<DetectionSample> SampleLoader::Next() {
  if (options_.workers == 0) {
    if (next_ >= end_) return std::nullopt;
    const int64_t step = next_;
    next_ = end_;  // unless it can be made
    DetectionSample sample = make_(step);
    next_ = step + 1;
    return sample;
  }
  std::unique_lock lock(mutex_);
  if (next_ >= end_ || is_stopped_) return std::nullopt;
  made_.wait(lock, [&] { return !slots_.empty() && slots_.front().is_done; });
  Slot slot = std::move(slots_.front());
  slots_.pop_front();
  ++next_;
  if (slot.error) is_stopped_ = true;
  lock.unlock();
  taken_.notify_all();
  if (slot.error) std::rethrow_exception(slot.error);
  return std::move(slot.sample);
}

}  // namespace athanor
