#include "athanor/loop/queue/sqlite_queue.h"

#include <time.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <thread>

#include "athanor/base/error.h"
#include "athanor/base/files.h"

namespace athanor {
namespace {

enum State : int { kWaiting = 0, kLeased = 1, kDone = 2, kDead = 3 };

// `place` orders those that wait. `lease` is a number that no other lease of the file has.
constexpr std::array<std::string_view, 1> kSchema = {R"(
    CREATE TABLE jobs (
      id TEXT PRIMARY KEY,
      bytes BLOB NOT NULL,
      state INTEGER NOT NULL DEFAULT 0,
      place INTEGER NOT NULL,
      attempts INTEGER NOT NULL DEFAULT 0,
      lease INTEGER NOT NULL DEFAULT 0,
      lease_boot TEXT NOT NULL DEFAULT '',
      lease_until_ms INTEGER NOT NULL DEFAULT 0,
      reason TEXT NOT NULL DEFAULT ''
    );
    CREATE INDEX jobs_by_place ON jobs (state, place);
    CREATE TABLE counters (name TEXT PRIMARY KEY, value INTEGER NOT NULL);
    INSERT INTO counters VALUES ('place', 0), ('lease', 0);
)"};

constexpr double kFirstPause_s = 0.005, kLongestPause_s = 0.2;

// The next number of a counter. Inside a transaction.
int64_t NextNumber(SqliteDatabase& database, std::string_view counter) {
  SqliteStatement next(database,
                       "UPDATE counters SET value = value + 1 WHERE name = ? RETURNING value");
  next.Bind(counter);
  ATHANOR_CHECK(next.Step(), database.name(), ": expected a counter ", counter, ", found none");
  const int64_t number = next.Integer(0);
  while (next.Step()) {
  }
  return number;
}

}  // namespace

BootTime SystemBootTime() {
  static const std::string boot = [] {
    std::string id = ReadFile("/proc/sys/kernel/random/boot_id");
    while (!id.empty() && id.back() == '\n') id.pop_back();
    return id;
  }();
  timespec time;
  ::clock_gettime(CLOCK_BOOTTIME, &time);
  return {boot, int64_t{time.tv_sec} * 1000 + time.tv_nsec / 1000000};
}

SqliteQueue::SqliteQueue(const std::filesystem::path& path, const WorkQueueOptions& options,
                         std::function<BootTime()> now)
    : options_(options), now_(std::move(now)), database_(path, SqliteDatabase::Mode::kCreate) {
  CheckWorkQueueOptions(options, database_.name());
  if (!options.is_flushed) database_.Execute("PRAGMA synchronous = OFF");
  database_.Migrate(kSchema);
}

bool SqliteQueue::Publish(const std::string& id, std::string_view bytes) {
  CheckJobId(id, database_.name());
  const std::lock_guard lock(mutex_);
  SqliteTransaction transaction(database_);
  SqliteStatement known(database_, "SELECT 1 FROM jobs WHERE id = ?");
  known.Bind(id);
  if (known.Step()) return false;
  known.Reset();
  SqliteStatement(database_, "INSERT INTO jobs (id, bytes, place) VALUES (?, ?, ?)")
      .Run(id, SqliteBlob{bytes}, NextNumber(database_, "place"));
  transaction.Commit();
  return true;
}

std::optional<LeasedJob> SqliteQueue::TryPull() {
  const std::lock_guard lock(mutex_);
  const BootTime now = now_();
  // Looks before it locks: workers that wait do not keep others from writing.
  SqliteStatement any(database_,
                      "SELECT 1 FROM jobs WHERE state = 0 UNION ALL SELECT 1 FROM jobs WHERE "
                      "state = 1 AND (lease_boot <> ? OR lease_until_ms <= ?) LIMIT 1");
  any.Bind(now.boot, now.since_ms);
  if (!any.Step()) return std::nullopt;
  any.Reset();

  SqliteTransaction transaction(database_);
  SqliteStatement(database_,
                  "UPDATE jobs SET state = iif(attempts >= ?, 3, 0), "
                  "reason = 'its lease ran out at attempt ' || attempts "
                  "WHERE state = 1 AND (lease_boot <> ? OR lease_until_ms <= ?)")
      .Run(options_.attempts, now.boot, now.since_ms);
  std::optional<LeasedJob> job;
  SqliteStatement first(
      database_, "SELECT id, bytes, attempts FROM jobs WHERE state = 0 ORDER BY place LIMIT 1");
  first.Bind();
  if (first.Step()) {
    job = LeasedJob{std::string(first.Text(0)), std::string(first.Blob(1)),
                    static_cast<int>(first.Integer(2)) + 1, NextNumber(database_, "lease")};
    first.Reset();
    SqliteStatement(database_,
                    "UPDATE jobs SET state = 1, attempts = attempts + 1, lease = ?, "
                    "lease_boot = ?, lease_until_ms = ? WHERE id = ?")
        .Run(job->lease, now.boot, now.since_ms + static_cast<int64_t>(options_.lease_s * 1000),
             job->id);
  }
  transaction.Commit();
  return job;
}

std::optional<LeasedJob> SqliteQueue::Pull(double wait_s) {
  const auto until = std::chrono::steady_clock::now() + std::chrono::duration<double>(wait_s);
  double pause_s = kFirstPause_s;
  while (true) {
    if (auto job = TryPull()) return job;
    const std::chrono::duration<double> left = until - std::chrono::steady_clock::now();
    if (left.count() <= 0) return std::nullopt;
    std::this_thread::sleep_for(std::min(left, std::chrono::duration<double>(pause_s)));
    pause_s = std::min(2 * pause_s, kLongestPause_s);
  }
}

bool SqliteQueue::Extend(const LeasedJob& job) {
  const std::lock_guard lock(mutex_);
  const BootTime now = now_();
  SqliteStatement(database_,
                  "UPDATE jobs SET lease_boot = ?, lease_until_ms = ? "
                  "WHERE id = ? AND state = 1 AND lease = ?")
      .Run(now.boot, now.since_ms + static_cast<int64_t>(options_.lease_s * 1000), job.id,
           job.lease);
  return database_.changes() == 1;
}

bool SqliteQueue::Ack(const LeasedJob& job) {
  const std::lock_guard lock(mutex_);
  SqliteStatement(database_,
                  "UPDATE jobs SET state = 2, bytes = x'', reason = '' "
                  "WHERE id = ? AND state = 1 AND lease = ?")
      .Run(job.id, job.lease);
  return database_.changes() == 1;
}

bool SqliteQueue::Nack(const LeasedJob& job, std::string_view reason) {
  const std::lock_guard lock(mutex_);
  SqliteTransaction transaction(database_);
  SqliteStatement(database_,
                  "UPDATE jobs SET state = iif(attempts >= ?, 3, 0), place = ?, reason = ? "
                  "WHERE id = ? AND state = 1 AND lease = ?")
      .Run(options_.attempts, NextNumber(database_, "place"), reason, job.id, job.lease);
  const bool is_ours = database_.changes() == 1;
  transaction.Commit();
  return is_ours;
}

WorkQueueCounts SqliteQueue::Counts() {
  const std::lock_guard lock(mutex_);
  const BootTime now = now_();
  SqliteStatement query(database_,
                        "SELECT CASE WHEN state = 1 AND (lease_boot <> ? OR lease_until_ms <= ?) "
                        "THEN 0 ELSE state END AS seen, count(*) FROM jobs GROUP BY seen");
  query.Bind(now.boot, now.since_ms);
  WorkQueueCounts counts;
  while (query.Step()) {
    switch (query.Integer(0)) {
      case kWaiting:
        counts.waiting = query.Integer(1);
        break;
      case kLeased:
        counts.leased = query.Integer(1);
        break;
      case kDone:
        counts.done = query.Integer(1);
        break;
      case kDead:
        counts.dead = query.Integer(1);
        break;
      default:
        database_.Fail("a job is in no known state");
    }
  }
  return counts;
}

std::vector<DeadJob> SqliteQueue::DeadJobs() {
  const std::lock_guard lock(mutex_);
  SqliteStatement query(database_,
                        "SELECT id, bytes, reason FROM jobs WHERE state = 3 ORDER BY id");
  query.Bind();
  std::vector<DeadJob> jobs;
  while (query.Step()) {
    jobs.push_back(
        {std::string(query.Text(0)), std::string(query.Blob(1)), std::string(query.Text(2))});
  }
  return jobs;
}

}  // namespace athanor
