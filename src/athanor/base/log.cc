#include "athanor/base/log.h"

#include <spdlog/sinks/basic_file_sink.h>
#include <spdlog/sinks/stdout_color_sinks.h>
#include <spdlog/spdlog.h>

#include <memory>
#include <mutex>

#include "athanor/base/error.h"
#include "athanor/base/progress.h"

namespace athanor {
namespace {

struct Sinks {
  std::shared_ptr<spdlog::sinks::sink> terminal;
  std::shared_ptr<spdlog::sinks::sink> file;
  std::shared_ptr<spdlog::logger> logger;
  std::mutex mutex;

  Sinks() : terminal(std::make_shared<spdlog::sinks::stderr_color_sink_mt>()) {
    terminal->set_pattern("%^%L%$ %v");
    Rebuild(spdlog::level::info);
  }

  void Rebuild(spdlog::level::level_enum level) {
    logger = std::make_shared<spdlog::logger>("athanor", terminal);
    if (file) logger->sinks().push_back(file);
    logger->set_level(level);
    logger->flush_on(spdlog::level::info);
  }
};

Sinks& GetSinks() {
  static Sinks sinks;
  return sinks;
}

void Write(spdlog::level::level_enum level, std::string_view line) {
  Sinks& sinks = GetSinks();
  const std::lock_guard lock(sinks.mutex);
  internal::ClearProgressLine();
  sinks.logger->log(level, "{}", line);
}

}  // namespace

void SetLogLevel(LogLevel level) {
  constexpr spdlog::level::level_enum kLevels[] = {spdlog::level::debug, spdlog::level::info,
                                                   spdlog::level::warn, spdlog::level::err};
  GetSinks().logger->set_level(kLevels[static_cast<int>(level)]);
}

LogFile::LogFile(const std::filesystem::path& path) {
  Sinks& sinks = GetSinks();
  const std::lock_guard lock(sinks.mutex);
  try {
    sinks.file = std::make_shared<spdlog::sinks::basic_file_sink_mt>(path.string());
  } catch (const spdlog::spdlog_ex& error) {
    throw Error(StrCat(path.string(), ": cannot open the log file for writing: ", error.what()));
  }
  sinks.file->set_pattern("%Y-%m-%dT%H:%M:%S.%e %L %v");
  sinks.Rebuild(sinks.logger->level());
}

LogFile::~LogFile() {
  Sinks& sinks = GetSinks();
  const std::lock_guard lock(sinks.mutex);
  sinks.file.reset();
  sinks.Rebuild(sinks.logger->level());
}

void LogDebug(std::string_view line) { Write(spdlog::level::debug, line); }
void LogInfo(std::string_view line) { Write(spdlog::level::info, line); }
void LogWarning(std::string_view line) { Write(spdlog::level::warn, line); }
void LogError(std::string_view line) { Write(spdlog::level::err, line); }

}  // namespace athanor
