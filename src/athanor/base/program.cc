#include "athanor/base/program.h"

#include <fcntl.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cctype>
#include <cerrno>
#include <cstdint>
#include <cstring>
#include <string_view>

#include "athanor/base/error.h"

extern char** environ;

namespace athanor {
namespace {

// As execve wants it: pointers into `words`, then null.
std::vector<char*> Pointers(const std::vector<std::string>& words) {
  std::vector<char*> pointers;
  for (const std::string& word : words) pointers.push_back(const_cast<char*>(word.c_str()));
  pointers.push_back(nullptr);
  return pointers;
}

}  // namespace

int StartProgram(const std::vector<std::string>& arguments, const std::filesystem::path& log,
                 const std::string& remedy,
                 const std::vector<std::pair<std::string, std::string>>& environment) {
  std::vector<std::string> variables;
  for (const auto& [name, value] : environment) variables.push_back(name + "=" + value);
  for (char** entry = environ; *entry != nullptr; ++entry) {
    const std::string_view name = std::string_view(*entry).substr(0, std::strcspn(*entry, "="));
    const bool is_set = std::any_of(environment.begin(), environment.end(),
                                    [&](const auto& variable) { return variable.first == name; });
    if (!is_set) variables.push_back(*entry);
  }

  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_addopen(&actions, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
  if (log.empty()) {
    posix_spawn_file_actions_adddup2(&actions, STDERR_FILENO, STDOUT_FILENO);
  } else {
    posix_spawn_file_actions_addopen(&actions, STDOUT_FILENO, log.c_str(),
                                     O_WRONLY | O_CREAT | O_APPEND, 0666);
    posix_spawn_file_actions_adddup2(&actions, STDOUT_FILENO, STDERR_FILENO);
  }
  pid_t process = 0;
  const int failure = posix_spawnp(&process, arguments[0].c_str(), &actions, nullptr,
                                   Pointers(arguments).data(), Pointers(variables).data());
  posix_spawn_file_actions_destroy(&actions);
  ATHANOR_CHECK(failure == 0, "cannot run '", arguments[0], "': ", std::strerror(failure), "; ",
                remedy);
  return process;
}

int RunProgram(const std::vector<std::string>& arguments, const std::filesystem::path& log,
               const std::string& remedy,
               const std::vector<std::pair<std::string, std::string>>& environment) {
  const pid_t process = StartProgram(arguments, log, remedy, environment);
  int status = 0;
  while (waitpid(process, &status, 0) < 0) {
    ATHANOR_CHECK(errno == EINTR, "cannot wait for '", arguments[0], "': ", std::strerror(errno));
  }
  return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

std::string LastLine(const std::string& text) {
  const size_t end = text.find_last_not_of("\n\r ");
  if (end == std::string::npos) return "it said nothing";
  const size_t begin = text.find_last_of("\n\r", end);
  return text.substr(begin == std::string::npos ? 0 : begin + 1, end - begin);
}

std::string ShellWord(const std::string& word) {
  const bool is_plain = !word.empty() && std::all_of(word.begin(), word.end(), [](char c) {
    return std::isalnum(static_cast<uint8_t>(c)) != 0 ||
           std::string_view("/._-+=:@%,").find(c) != std::string_view::npos;
  });
  if (is_plain) return word;
  std::string quoted = "'";
  for (const char c : word) quoted += c == '\'' ? std::string("'\\''") : std::string(1, c);
  return quoted + "'";
}

}  // namespace athanor
