// How a car and the cloud reach each other. Messages are files with a name, sent at least once;
// sending the same again does nothing.
//
//   kind       way   name
//   bundle     down  version
//   request    down  id of a snippet whose pixels are wanted
//   features   up    ID.json
//   clips      up    ID.clip
#pragma once

#include <filesystem>
#include <functional>
#include <map>
#include <string>
#include <string_view>

#include "athanor/loop/queue/work_queue.h"

namespace athanor {

class Transport {
 public:
  using Handler =
      std::function<void(const std::string& kind, const std::string& name, std::string_view bytes)>;
  virtual ~Transport() = default;
  // Throws Error; then the other side sees nothing of it, until it is sent again.
  virtual void Send(const std::string& kind, const std::string& name, std::string_view bytes) = 0;
  // Calls `handle` for each message that came since. One that throws is not lost: it is given again
  // another time. The rest goes on, and the first Error is thrown in the end.
  virtual void Receive(const Handler& handle) = 0;
};

// Files OUT/KIND/NAME and IN/KIND/NAME, written aside, flushed and renamed. `in` is read only: what
// was given is remembered while this lives, and given again when the file is another.
class FolderTransport : public Transport {
 public:
  FolderTransport(const std::filesystem::path& out, const std::filesystem::path& in)
      : out_(out), in_(in) {}
  void Send(const std::string& kind, const std::string& name, std::string_view bytes) override;
  void Receive(const Handler& handle) override;

 private:
  std::filesystem::path out_, in_;
  std::map<std::filesystem::path, std::string> seen_;  // size and time of a file that was handled
};

// Two queues: on NATS JetStream (nats_queue.h), or in SQLite. A message is cut into jobs that fit
// in what a broker takes; it is handled once all of them are here, and acknowledged after that.
// What could not be handled (a full disk), or is not all here yet, comes again when its leases have
// run out: the queues should give it kAttempts of them.
class QueueTransport : public Transport {
 public:
  static constexpr size_t kPartBytes = 512 << 10;
  static constexpr int kAttempts = 1000;

  // `out` and `in` must outlive it. `wait_s`: how long Receive waits for something to come.
  QueueTransport(WorkQueue* out, WorkQueue* in, double wait_s = 0.2)
      : out_(out), in_(in), wait_s_(wait_s) {}
  void Send(const std::string& kind, const std::string& name, std::string_view bytes) override;
  void Receive(const Handler& handle) override;

 private:
  struct Incoming {
    size_t parts = 0;
    std::map<size_t, LeasedJob> jobs;
  };
  WorkQueue* out_;
  WorkQueue* in_;
  double wait_s_;
  std::map<std::string, Incoming> incoming_;  // by kind, name and content
};

// Throws Error unless it may name a message: letters, digits, '-', '_' and '.'. Kinds are names
// too.
void CheckMessageName(const std::string& name);

}  // namespace athanor
