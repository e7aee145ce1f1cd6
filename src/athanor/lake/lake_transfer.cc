// What goes into a lake from folders, and out of it as a data set.
#include <chrono>
#include <cmath>
#include <map>
#include <set>
#include <system_error>

#include "athanor/base/error.h"
#include "athanor/base/files.h"
#include "athanor/datasets/nuscenes_points.h"
#include "athanor/datasets/nuscenes_rows.h"
#include "athanor/datasets/nuscenes_writer.h"
#include "athanor/lake/lake.h"

namespace athanor {
namespace {

namespace fs = std::filesystem;

// True when a file below `path` is younger than that. The clock may have jumped: a file of the
// future is as old as it is far.
bool IsYoung(const fs::path& path, double settle_s) {
  const auto now = fs::file_time_type::clock::now();
  const auto is_young = [&](const fs::path& file) {
    std::error_code error;
    const auto written = fs::last_write_time(file, error);
    return !error && std::abs(std::chrono::duration<double>(now - written).count()) < settle_s;
  };
  if (is_young(path)) return true;
  std::error_code error;
  for (fs::recursive_directory_iterator entry(path, error), end; !error && entry != end;
       entry.increment(error)) {
    if (is_young(entry->path())) return true;
  }
  return false;
}

bool IsMissingPayload(const Log& log) {
  for (const LogReading& reading : log.readings) {
    if (!HasPayload(log, reading)) return true;
  }
  return false;
}

std::string FirstLine(const std::string& text) { return text.substr(0, text.find('\n')); }

}  // namespace

IngestReport Lake::IngestSource(const fs::path& source, const IngestOptions& options) {
  RequireWriter();
  IngestReport report;
  IngestOptions of_log = options;
  IngestProgress progress;
  if (options.progress) {
    of_log.progress = [&](const IngestProgress& log) {
      IngestProgress now = progress;
      now.bytes += log.bytes;
      options.progress(now);
    };
  }
  const auto refuse = [&](const fs::path& path, const std::string& name, const std::string& why) {
    const std::string line = FirstLine(why);
    const std::string label = name.empty() ? path.string() : StrCat(path.string(), ": log ", name);
    if (IsYoung(path, options.settle_s)) {
      report.waiting.push_back(StrCat(label, " is still being written: ", line));
      return;
    }
    report.dead.push_back(StrCat(label, " cannot be taken: ", line));
    const auto now = std::chrono::system_clock::now().time_since_epoch();
    OfLake([&] {
      catalog_->AddDeadLetter({path.string(), name, line,
                               std::chrono::duration_cast<std::chrono::microseconds>(now).count()});
    });
  };
  const auto forgive = [&](const fs::path& path, const std::string& name) {
    OfLake([&] { catalog_->ForgetDeadLetter(path.string(), name); });
  };
  const auto ingest_all = [&](const fs::path& path, const LogDataset& logs) {
    progress.source = path.string();
    progress.total = std::ssize(logs.names());
    progress.logs = 0;
    for (size_t i = 0; i < logs.names().size(); ++i, ++progress.logs) {
      if (options.progress) options.progress(progress);
      const std::string& name = logs.names()[i];
      try {
        const Log log = logs.Read(static_cast<int>(i));
        if (!options.partial && IsMissingPayload(log)) {
          report.waiting.push_back(
              StrCat(path.string(), ": log ", name, " waits for files that it names"));
          continue;
        }
        const IngestResult result = Ingest(log, of_log);
        ++(result.added ? report.added : report.present);
        report.bytes += result.bytes;
        report.stored_bytes += result.stored_bytes;
        progress.bytes = report.bytes;
        forgive(path, name);
      } catch (const LakeError&) {
        throw;
      } catch (const Error& error) {
        refuse(path, name, error.what());
      }
    }
    if (options.progress) options.progress(progress);
  };

  std::error_code error;
  ATHANOR_CHECK(fs::exists(source, error), source.string(), ": no such file or folder");
  std::string why;
  std::unique_ptr<LogDataset> whole;
  try {
    whole = OpenLogs(source);
  } catch (const Error& open_error) {
    why = open_error.what();
  }
  if (whole != nullptr) {
    ingest_all(source, *whole);
    return report;
  }
  // No data set itself: one that holds data sets, or waits for them?
  std::set<fs::path> folders;
  for (fs::directory_iterator entry(source, error), end; !error && entry != end;
       entry.increment(error)) {
    if (entry->is_directory(error)) folders.insert(entry->path());
  }
  if (folders.empty()) refuse(source, "", why);
  for (const fs::path& folder : folders) {
    std::unique_ptr<LogDataset> logs;
    try {
      logs = OpenLogs(folder);
    } catch (const Error& open_error) {
      refuse(folder, "", open_error.what());
      continue;
    }
    forgive(folder, "");
    ingest_all(folder, *logs);
  }
  return report;
}

void StoreReadings(const fs::path& root, Log* log, const std::function<void()>& stored) {
  ATHANOR_CHECK(IsNuscenesFileName(log->name), log->source, ": log ", log->name,
                ": expected a name of letters, digits, '-', '_' and '.'");
  for (const LogSensor& sensor : log->sensors) {
    ATHANOR_CHECK(IsNuscenesFileName(sensor.channel), log->source, ": log ", log->name, ": sensor ",
                  sensor.channel, ": expected a name of letters, digits, '-', '_' and '.'");
  }
  for (LogReading& reading : log->readings) {
    const LogSensor& sensor = log->sensors[reading.sensor];
    std::string extension = PayloadExtension(reading.path);
    const bool converts = sensor.kind == SensorKind::kLidar && extension != ".pcd.bin";
    if (converts) extension = ".pcd.bin";
    const fs::path relative = NuscenesWriter::ReadingPath(
        log->name, sensor.channel, reading.time_us, reading.frame >= 0, extension);
    const fs::path target = root / relative;
    bool is_linked = false;
    if (!log->payloads && !converts) {
      std::error_code error;
      MakeFolder(target.parent_path());
      fs::create_hard_link(reading.path, target, error);
      is_linked = !error || fs::exists(target, error);
    }
    if (!is_linked) {
      const auto index = static_cast<int>(&reading - log->readings.data());
      WriteFile(target, converts ? EncodePcdBin(ReadSweep(*log, index)) : ReadPayload(*log, index));
    }
    reading.path = relative;
    if (stored) stored();
  }
}

void Lake::ExportNuscenes(const fs::path& out, const std::vector<std::string>& ids,
                          const std::function<void(int64_t, int64_t)>& progress) {
  NuscenesWriter writer(out);
  std::map<std::string, int> count;
  std::vector<LakeClip> clips;
  int64_t done = 0, total = 0;
  for (const std::string& id : ids) {
    const auto clip = catalog_->FindClip(id);
    ATHANOR_CHECK(clip.has_value(), path_.string(), ": there is no clip ", id);
    ++count[clip->name];
    total += clip->readings;
    clips.push_back(*clip);
  }
  for (const LakeClip& clip : clips) {
    Log log = Read(clip.id);
    if (count[clip.name] > 1) log.name = StrCat(log.name, "-", clip.id.substr(0, 12));
    StoreReadings(out, &log, [&] {
      if (progress) progress(++done, total);
    });
    writer.AddScene(log);
  }
  writer.Finish();
}

}  // namespace athanor
