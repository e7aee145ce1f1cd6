// Log lines, to stderr and, once a run folder is open, to its log.txt. Thread-safe.
#pragma once

#include <filesystem>
#include <string_view>

namespace athanor {

enum class LogLevel { kDebug, kInfo, kWarning, kError };

// Lines below `level` are dropped. Default: kInfo.
void SetLogLevel(LogLevel level);

// Also appends every line to `path`, with time stamps. An empty path stops that.
// Throws Error when the file cannot be opened.
void SetLogFile(const std::filesystem::path& path);

void LogDebug(std::string_view line);
void LogInfo(std::string_view line);
void LogWarning(std::string_view line);
void LogError(std::string_view line);

}  // namespace athanor
