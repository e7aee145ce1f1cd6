// A work queue in one SQLite file, for the processes of one machine. No daemon: a worker that is
// started finds the work in the file.
#pragma once

#include <filesystem>
#include <functional>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "athanor/lake/sqlite.h"
#include "athanor/loop/queue/work_queue.h"

namespace athanor {

// The time that leases are measured by: how long this machine has been up, sleep included. It never
// jumps when somebody sets the clock. Of another boot, no lease holds any more.
struct BootTime {
  std::string boot;  // names the boot
  int64_t since_ms = 0;
};
BootTime SystemBootTime();

// Jobs are leased in the order in which they were published; one that failed goes behind all. What
// is published or acknowledged survives kill -9 and a loss of power. Jobs that are done stay known
// by their id, without their bytes.
class SqliteQueue : public WorkQueue {
 public:
  // Opens or makes the file. Throws Error. `now` stands in for SystemBootTime in tests.
  explicit SqliteQueue(const std::filesystem::path& path, const WorkQueueOptions& options = {},
                       std::function<BootTime()> now = SystemBootTime);

  bool Publish(const std::string& id, std::string_view bytes) override;
  std::optional<LeasedJob> Pull(double wait_s) override;
  bool Extend(const LeasedJob& job) override;
  bool Ack(const LeasedJob& job) override;
  bool Nack(const LeasedJob& job, std::string_view reason) override;
  WorkQueueCounts Counts() override;
  std::vector<DeadJob> DeadJobs() override;

 private:
  std::optional<LeasedJob> TryPull();

  WorkQueueOptions options_;
  std::function<BootTime()> now_;
  std::mutex mutex_;  // a connection serves one thread at a time
  SqliteDatabase database_;
};

}  // namespace athanor
