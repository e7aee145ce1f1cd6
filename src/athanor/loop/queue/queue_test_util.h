// Queues of both kinds, and a broker, for tests.
#pragma once

#include <arpa/inet.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "athanor/base/error.h"
#include "athanor/loop/queue/sqlite_queue.h"
#include "athanor/loop/queue/work_queue.h"
#ifdef ATHANOR_WITH_NATS
#include "athanor/loop/queue/nats_queue.h"
#endif

namespace athanor {

// "sqlite:PATH" or "nats:URL".
inline std::unique_ptr<WorkQueue> OpenTestQueue(const std::string& where,
                                                const WorkQueueOptions& options) {
  const std::string place = where.substr(where.find(':') + 1);
  if (where.starts_with("sqlite:")) return std::make_unique<SqliteQueue>(place, options);
#ifdef ATHANOR_WITH_NATS
  if (where.starts_with("nats:")) {
    NatsQueueOptions nats;
    static_cast<WorkQueueOptions&>(nats) = options;
    return std::make_unique<NatsQueue>(place, "test", nats);
  }
#endif
  throw Error(StrCat("no such kind of queue: ", where));
}

// A program that runs beside the test, and ends with it.
class Child {
 public:
  explicit Child(const std::vector<std::string>& arguments) {
    std::vector<char*> pointers;
    for (const std::string& argument : arguments) {
      pointers.push_back(const_cast<char*>(argument.c_str()));
    }
    pointers.push_back(nullptr);
    pid_ = ::fork();
    if (pid_ == 0) {
      ::prctl(PR_SET_PDEATHSIG, SIGKILL);  // also when the test is killed
      ::execv(pointers[0], pointers.data());
      ::_exit(127);
    }
    ATHANOR_CHECK(pid_ > 0, "cannot start ", arguments[0]);
  }
  ~Child() { End(SIGKILL); }
  Child(const Child&) = delete;
  Child& operator=(const Child&) = delete;

  pid_t pid() const { return pid_; }

  // Its exit status, 128 + n after signal n. Sends `signal` before unless that is 0.
  int End(int signal) {
    if (pid_ <= 0) return status_;
    if (signal != 0) ::kill(pid_, signal);
    int status = 0;
    ::waitpid(pid_, &status, 0);
    pid_ = 0;
    return status_ = WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
  }

 private:
  pid_t pid_ = 0;
  int status_ = 0;
};

// Empty where it is not installed.
inline std::filesystem::path FindNatsServer() {
  const char* path = std::getenv("PATH");
  std::string folders = StrCat(path == nullptr ? "" : path, ":/usr/sbin:/usr/local/bin:");
  while (!folders.empty()) {
    const size_t end = folders.find(':');
    const auto program = std::filesystem::path(folders.substr(0, end)) / "nats-server";
    if (::access(program.c_str(), X_OK) == 0) return program;
    folders.erase(0, end + 1);
  }
  return {};
}

// A broker on a free port of this machine alone, with its streams in `folder`.
class NatsBroker {
 public:
  explicit NatsBroker(const std::filesystem::path& folder) : folder_(folder) {
    std::filesystem::create_directories(folder);
    const int socket = ::socket(AF_INET, SOCK_STREAM, 0);
    sockaddr_in address = {};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t size = sizeof address;
    ATHANOR_CHECK(::bind(socket, reinterpret_cast<sockaddr*>(&address), size) == 0 &&
                      ::getsockname(socket, reinterpret_cast<sockaddr*>(&address), &size) == 0,
                  "no free port");
    port_ = ntohs(address.sin_port);
    ::close(socket);
    Start();
  }

  std::string Url() const { return StrCat("nats://127.0.0.1:", port_); }

  void Start() {
    server_ = std::make_unique<Child>(std::vector<std::string>{
        FindNatsServer().string(), "-js", "-a", "127.0.0.1", "-p", std::to_string(port_), "-sd",
        folder_.string(), "-l", (folder_ / "log.txt").string()});
    for (int i = 0; i < 500; ++i) {
      if (Answers()) return;
      ::usleep(20000);
    }
    throw Error("the broker does not answer");
  }
  void Stop(int signal) { server_->End(signal); }

 private:
  bool Answers() const {
    const int socket = ::socket(AF_INET, SOCK_STREAM, 0);
    sockaddr_in address = {};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    address.sin_port = htons(static_cast<uint16_t>(port_));
    const bool answers =
        ::connect(socket, reinterpret_cast<sockaddr*>(&address), sizeof address) == 0;
    ::close(socket);
    return answers;
  }

  std::filesystem::path folder_;
  int port_ = 0;
  std::unique_ptr<Child> server_;
};

}  // namespace athanor
