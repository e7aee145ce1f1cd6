#include "athanor/loop/queue/work_queue.h"

#include <chrono>

#include "athanor/base/error.h"
#include "athanor/base/log.h"

namespace athanor {
namespace {

constexpr size_t kLongestId_bytes = 128;

}  // namespace

void CheckJobId(std::string_view id, std::string_view queue) {
  ATHANOR_CHECK(!id.empty() && id.size() <= kLongestId_bytes, queue,
                ": expected the id of a job, 1 to ", kLongestId_bytes, " bytes, found ", id.size(),
                ": \"", id.substr(0, kLongestId_bytes), "\"");
}

void CheckWorkQueueOptions(const WorkQueueOptions& options, std::string_view queue) {
  ATHANOR_CHECK(options.lease_s > 0 && options.lease_s < 1e6 && options.attempts >= 1, queue,
                ": expected leases above 0 s and 1 attempt or more, found ", options.lease_s,
                " s and ", options.attempts);
}

LeaseKeeper::LeaseKeeper(WorkQueue& queue, const LeasedJob& job, const WorkQueueOptions& options)
    : thread_([this, &queue, &job, lease_s = options.lease_s] {
        // A third: two calls may fail before the lease runs out.
        const std::chrono::duration<double> pause(lease_s / 3);
        std::unique_lock lock(mutex_);
        while (!stopped_.wait_for(lock, pause, [this] { return stop_; })) {
          lock.unlock();
          bool is_kept = true;
          try {
            is_kept = queue.Extend(job);
          } catch (const Error& error) {
            LogWarning(StrCat("job ", job.id, ": the lease is not extended: ", error.what()));
          }
          lock.lock();
          if (is_kept) continue;
          is_lost_ = true;
          return;
        }
      }) {}

LeaseKeeper::~LeaseKeeper() {
  {
    const std::lock_guard lock(mutex_);
    stop_ = true;
  }
  stopped_.notify_all();
  thread_.join();
}

bool LeaseKeeper::is_lost() const {
  const std::lock_guard lock(mutex_);
  return is_lost_;
}

}  // namespace athanor
