// Log lines, to stderr and, once a run folder is open, to its log.txt. Thread-safe.
#pragma once

#include <filesystem>
#include <string_view>

namespace athanor {

enum class LogLevel { kDebug, kInfo, kWarning, kError };

// Lines below `level` are dropped. Default: kInfo.
void SetLogLevel(LogLevel level);

// While it lives, every line is also appended to a file, with a time stamp. One at a time.
class LogFile {
 public:
  // Throws Error when the file cannot be opened.
  explicit LogFile(const std::filesystem::path& path);
  ~LogFile();
  LogFile(const LogFile&) = delete;
  LogFile& operator=(const LogFile&) = delete;
};

void LogDebug(std::string_view line);
void LogInfo(std::string_view line);
void LogWarning(std::string_view line);
void LogError(std::string_view line);

}  // namespace athanor
