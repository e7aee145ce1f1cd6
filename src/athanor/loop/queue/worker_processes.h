// Processes that share a work queue: where the queue is, who holds a folder, and workers that are
// watched and replaced.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "athanor/loop/queue/work_queue.h"

namespace athanor {

struct QueuePlace {
  std::filesystem::path file;  // of a queue on this machine
  std::string nats;            // or a server's URL and the queue's name
  std::string name;
  WorkQueueOptions options;
};
// Throws Error, also when this program was built without NATS.
std::unique_ptr<WorkQueue> OpenQueue(const QueuePlace& place);

// A lock on a file, which ends with the process.
class FileLock {
 public:
  enum class Mode {
    kExclusive,
    kShared,
    kWait  // exclusive, and waits for those that hold it
  };
  // Throws Error: `held` when another process has it.
  FileLock(const std::filesystem::path& path, Mode mode, const std::string& held = {});
  ~FileLock();
  FileLock(const FileLock&) = delete;
  FileLock& operator=(const FileLock&) = delete;

 private:
  int file_ = -1;
};

// "run-" and 12 digits, in no other process's hands, here or elsewhere.
std::string UniqueRunName();

struct WorkerProcessOptions {
  int count = 1;
  std::filesystem::path run;  // folder of this run; its name begins those of its workers
  // The words of a command line that starts a worker of this name.
  std::function<std::vector<std::string>(const std::string& name)> command;
  // Hears of workers that died: how, as waitpid says.
  std::function<void(const std::string& name, int status)> died;
};

// Exit status of a worker whose work took too long.
inline constexpr int kHungExit = 75;

// A worker that has ended with status 0 has seen that all is done. One that has failed for what is
// no work's fault leaves the reason in RUN/NAME.error.
class WorkerProcesses {
 public:
  explicit WorkerProcesses(WorkerProcessOptions options);
  ~WorkerProcesses();  // ends them
  WorkerProcesses(const WorkerProcesses&) = delete;
  WorkerProcesses& operator=(const WorkerProcesses&) = delete;

  // Replaces those that died, and returns how many are at work. `work` counts what was done so
  // far. Throws Error: a worker's reason, or that workers keep dying before they do anything.
  int Look(int64_t work);
  void KillAll();
  // The ones that are stuck make room for others.
  void KillToReplace();

  int64_t deaths() const { return deaths_; }

 private:
  pid_t Start();

  const WorkerProcessOptions options_;
  std::vector<pid_t> pids_;  // 0: has ended
  std::map<pid_t, std::string> names_;
  int64_t work_at_death_ = 0, deaths_ = 0;
  int idle_deaths_ = 0;
};

}  // namespace athanor
