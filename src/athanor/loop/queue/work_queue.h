// Work shared by processes: jobs are published once, leased to workers, and done when acknowledged.
//
// A worker that dies, hangs or loses its machine loses its lease, and another gets the job. So a
// job may be worked on twice; its result has to be the same and is published whole (write aside,
// rename), and then the second time does no harm: done once in effect.
//
// Two implementations keep this contract, and one test suite: sqlite_queue.h on one machine,
// without a daemon, and nats_queue.h across machines.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

namespace athanor {

struct WorkQueueOptions {
  double lease_s = 30;  // a worker that is silent for so long has lost its job
  int attempts = 5;     // leases that a job gets; after the last it is a dead letter
  // Whether a file survives a loss of power. A queue that is made anew with each run need not: it
  // survives kill -9 all the same, and costs a twentieth.
  bool is_flushed = true;
};

struct LeasedJob {
  std::string id, bytes;
  int attempt = 0;    // from 1
  int64_t lease = 0;  // which lease of this queue object or file; only compared
};

struct DeadJob {
  std::string id, bytes, reason;
};

struct WorkQueueCounts {
  int64_t waiting = 0;  // also those whose lease ran out
  int64_t leased = 0;
  int64_t done = 0;
  int64_t dead = 0;

  bool operator==(const WorkQueueCounts&) const = default;
};

// Thread-safe. Every failure is an Error of one line that names the queue.
class WorkQueue {
 public:
  virtual ~WorkQueue() = default;

  // Adds a job, unless one of this id was ever added, be it done or dead: false then. An id has 1
  // to 128 bytes.
  virtual bool Publish(const std::string& id, std::string_view bytes) = 0;

  // Leases a job, the longest waiting first where the queue knows. Waits up to `wait_s` for one.
  virtual std::optional<LeasedJob> Pull(double wait_s) = 0;

  // Begins the lease anew. False: it was lost, and the work may stop.
  virtual bool Extend(const LeasedJob& job) = 0;

  // The job is done, its result published. False: the lease was lost, and the job is another's or
  // was done by it.
  virtual bool Ack(const LeasedJob& job) = 0;

  // The attempt failed: the job waits for the next, or is dead after its last. False as in Ack().
  virtual bool Nack(const LeasedJob& job, std::string_view reason) = 0;

  virtual WorkQueueCounts Counts() = 0;
  // Sorted by id.
  virtual std::vector<DeadJob> DeadJobs() = 0;
};

// Throws Error unless `id` may name a job; `queue` is whom the message names.
void CheckJobId(std::string_view id, std::string_view queue);
void CheckWorkQueueOptions(const WorkQueueOptions& options, std::string_view queue);

// Keeps a lease while it lives, from a thread of its own. `queue` and `job` must outlive it.
class LeaseKeeper {
 public:
  LeaseKeeper(WorkQueue& queue, const LeasedJob& job, const WorkQueueOptions& options);
  ~LeaseKeeper();
  LeaseKeeper(const LeaseKeeper&) = delete;
  LeaseKeeper& operator=(const LeaseKeeper&) = delete;

  // Whether the job went to another worker.
  bool is_lost() const;

 private:
  mutable std::mutex mutex_;
  std::condition_variable stopped_;
  bool stop_ = false, is_lost_ = false;
  std::thread thread_;
};

}  // namespace athanor
