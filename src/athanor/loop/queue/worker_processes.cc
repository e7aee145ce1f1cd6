#include "athanor/loop/queue/worker_processes.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/file.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <cstring>

#include "athanor/base/error.h"
#include "athanor/base/files.h"
#include "athanor/base/log.h"
#include "athanor/base/program.h"
#include "athanor/base/sha256.h"
#include "athanor/loop/queue/sqlite_queue.h"
#ifdef ATHANOR_WITH_NATS
#include "athanor/loop/queue/nats_queue.h"
#endif

namespace athanor {
namespace {

constexpr int kIdleDeaths = 6;  // of workers, without anything done in between

}  // namespace

std::unique_ptr<WorkQueue> OpenQueue(const QueuePlace& place) {
  if (place.nats.empty()) return std::make_unique<SqliteQueue>(place.file, place.options);
#ifdef ATHANOR_WITH_NATS
  NatsQueueOptions options;
  static_cast<WorkQueueOptions&>(options) = place.options;
  return std::make_unique<NatsQueue>(place.nats, place.name, options);
#else
  throw Error(StrCat(place.nats, ": this program was built without NATS"));
#endif
}

FileLock::FileLock(const std::filesystem::path& path, Mode mode, const std::string& held) {
  file_ = ::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0666);
  ATHANOR_CHECK(file_ >= 0, path.string(), ": cannot open: ", std::strerror(errno));
  const int operation = mode == Mode::kWait     ? LOCK_EX
                        : mode == Mode::kShared ? LOCK_SH | LOCK_NB
                                                : LOCK_EX | LOCK_NB;
  if (::flock(file_, operation) == 0) return;
  const int reason = errno;
  ::close(file_);
  throw Error(reason == EWOULDBLOCK && !held.empty()
                  ? held
                  : StrCat(path.string(), ": cannot lock: ", std::strerror(reason)));
}

FileLock::~FileLock() { ::close(file_); }

std::string UniqueRunName() {
  char host[256] = "host";
  ::gethostname(host, sizeof host - 1);
  const auto now = std::chrono::system_clock::now().time_since_epoch().count();
  return StrCat("run-", Sha256Of(StrCat(host, " ", ::getpid(), " ", now)).substr(0, 12));
}

WorkerProcesses::WorkerProcesses(WorkerProcessOptions options) : options_(std::move(options)) {
  pids_.resize(options_.count);
  for (pid_t& pid : pids_) pid = Start();
}

WorkerProcesses::~WorkerProcesses() { KillAll(); }

int WorkerProcesses::Look(int64_t work) {
  int alive = 0;
  for (pid_t& pid : pids_) {
    if (pid == 0) continue;
    int status = 0;
    if (::waitpid(pid, &status, WNOHANG) == 0) {
      ++alive;
      continue;
    }
    const std::string name = names_.at(pid);
    pid = 0;
    if (WIFEXITED(status) && WEXITSTATUS(status) == 0) continue;
    const std::filesystem::path reason = options_.run / (name + ".error");
    std::error_code error;
    if (std::filesystem::is_regular_file(reason, error)) throw Error(ReadFile(reason));
    ++deaths_;
    if (options_.died) options_.died(name, status);
    if (work > work_at_death_) idle_deaths_ = 0;
    work_at_death_ = work;
    const std::string how = WIFSIGNALED(status) ? StrCat("signal ", WTERMSIG(status))
                            : WEXITSTATUS(status) == kHungExit
                                ? std::string("work that took too long")
                                : StrCat("exit status ", WEXITSTATUS(status));
    LogWarning(StrCat("worker ", name, " ended by ", how, "; another takes its place"));
    ATHANOR_CHECK(++idle_deaths_ < kIdleDeaths + options_.count,
                  "workers end before they have done anything (", how, ")");
    pid = Start();
    ++alive;
  }
  return alive;
}

void WorkerProcesses::KillAll() {
  for (pid_t& pid : pids_) {
    if (pid == 0) continue;
    ::kill(pid, SIGKILL);
    ::waitpid(pid, nullptr, 0);
    pid = 0;
  }
}

void WorkerProcesses::KillToReplace() {
  for (const pid_t pid : pids_) {
    if (pid != 0) ::kill(pid, SIGKILL);
  }
}

pid_t WorkerProcesses::Start() {
  const std::string name = StrCat(options_.run.filename().string(), "-", names_.size());
  const pid_t pid =
      StartProgram(options_.command(name), {}, "a worker is this program, started anew");
  names_[pid] = name;
  return pid;
}

}  // namespace athanor
