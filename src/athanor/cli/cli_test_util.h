// The program as a process, for tests of its commands from outside.
#pragma once

#include <fcntl.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <filesystem>
#include <functional>
#include <string>
#include <thread>
#include <vector>

#include "athanor/base/files.h"
#include "athanor/base/test_util.h"

extern char** environ;

namespace athanor {

// The program, running.
class Process {
 public:
  explicit Process(const std::vector<std::string>& arguments) {
    static int count = 0;
    static const std::filesystem::path folder = TestFolder("processes");
    const std::filesystem::path base = folder / std::to_string(++count);
    out_ = base.string() + ".out";
    err_ = base.string() + ".err";
    std::vector<std::string> words = {ATHANOR_PROGRAM};
    words.insert(words.end(), arguments.begin(), arguments.end());
    std::vector<char*> argv;
    for (std::string& word : words) argv.push_back(word.data());
    argv.push_back(nullptr);
    posix_spawn_file_actions_t actions;
    posix_spawn_file_actions_init(&actions);
    const int flags = O_WRONLY | O_CREAT | O_TRUNC;
    posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0);
    posix_spawn_file_actions_addopen(&actions, 1, out_.c_str(), flags, 0666);
    posix_spawn_file_actions_addopen(&actions, 2, err_.c_str(), flags, 0666);
    EXPECT_EQ(posix_spawn(&pid_, ATHANOR_PROGRAM, &actions, nullptr, argv.data(), environ), 0);
    posix_spawn_file_actions_destroy(&actions);
  }

  pid_t pid() const { return pid_; }
  void Signal(int number) const { ::kill(pid_, number); }
  // Waits for the end. Returns the exit status, or 1000 + the signal that ended it.
  int Wait() {
    int status = 0;
    ::waitpid(pid_, &status, 0);
    out = ReadFile(out_);
    err = ReadFile(err_);
    std::filesystem::remove(out_);
    std::filesystem::remove(err_);
    return WIFSIGNALED(status) ? 1000 + WTERMSIG(status) : WEXITSTATUS(status);
  }

  std::string out, err;  // after Wait()

 private:
  std::filesystem::path out_, err_;
  pid_t pid_ = 0;
};

struct Outcome {
  int status;
  std::string out, err;

  std::string text() const { return out + err; }
};

inline Outcome Execute(const std::vector<std::string>& arguments) {
  Process process(arguments);
  const int status = process.Wait();
  return {status, process.out, process.err};
}

// Several, two at a time: most of a short command's time is loading its libraries.
inline std::vector<Outcome> ExecuteAll(const std::vector<std::vector<std::string>>& commands) {
  constexpr size_t kAtATime = 2;
  std::vector<Outcome> outcomes;
  for (size_t i = 0; i < commands.size(); i += kAtATime) {
    std::vector<Process> running;
    for (size_t k = i; k < std::min(i + kAtATime, commands.size()); ++k) {
      running.emplace_back(commands[k]);
    }
    for (Process& process : running) {
      const int status = process.Wait();
      outcomes.push_back({status, process.out, process.err});
    }
  }
  return outcomes;
}

// A command, and what its output is to hold.
struct Case {
  std::vector<std::string> words;
  std::string expected;
};
inline std::vector<std::vector<std::string>> CommandsOf(const std::vector<Case>& cases) {
  std::vector<std::vector<std::string>> commands;
  for (const Case& one : cases) commands.push_back(one.words);
  return commands;
}

// The last line: log lines may come before the error.
inline std::string LastLine(std::string text) {
  if (!text.empty() && text.back() == '\n') text.pop_back();
  return text.substr(text.rfind('\n') + 1);
}

// True as soon as `condition` holds; false after a minute.
inline bool WaitFor(const std::function<bool()>& condition) {
  for (int i = 0; i < 60'000; ++i) {
    if (condition()) return true;
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
  return false;
}

}  // namespace athanor
