#include "athanor/loop/vehicle/transport.h"

#include <algorithm>
#include <charconv>
#include <optional>
#include <vector>

#include "athanor/base/error.h"
#include "athanor/base/files.h"
#include "athanor/base/hash.h"
#include "athanor/base/log.h"
#include "athanor/datasets/paths.h"

namespace athanor {
namespace {

namespace fs = std::filesystem;

constexpr size_t kContentDigits = 8;

}  // namespace

void CheckMessageName(const std::string& name) {
  const bool is_good = !name.empty() && name.size() <= 96 && name.front() != '.' &&
                       std::all_of(name.begin(), name.end(), [](char c) {
                         return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
                                (c >= '0' && c <= '9') || c == '-' || c == '_' || c == '.';
                       });
  ATHANOR_CHECK(is_good, "a message's name: expected up to 96 letters, digits, '-', '_' and '.', ",
                "found \"", name, "\"");
}

void FolderTransport::Send(const std::string& kind, const std::string& name,
                           std::string_view bytes) {
  CheckMessageName(kind);
  CheckMessageName(name);
  WriteFile(out_ / kind / name, bytes);
}

void FolderTransport::Receive(const Handler& handle) {
  std::optional<Error> first_error;
  std::vector<fs::path> kinds;
  std::error_code error;
  for (fs::directory_iterator entry(in_, error), end; !error && entry != end;
       entry.increment(error)) {
    if (IsFolder(entry->path())) kinds.push_back(entry->path());
  }
  std::sort(kinds.begin(), kinds.end());
  for (const fs::path& kind : kinds) {
    for (const fs::path& file : ListFiles(kind)) {
      const auto written = fs::last_write_time(file, error);
      const std::string state =
          StrCat(fs::file_size(file, error), " ", written.time_since_epoch().count());
      std::string& seen = seen_[file];
      if (seen == state) continue;
      seen = state;  // a damaged file is said once, until it is another
      try {
        handle(kind.filename().string(), file.filename().string(), ReadFile(file));
      } catch (const Error& handling) {
        if (!first_error) first_error = handling;
      }
    }
  }
  if (first_error) throw *first_error;
}

// Jobs are called KIND/NAME/PART/PARTS/CONTENT, the last a hash of all of it: what was sent in part
// and then changed (a snippet that was trimmed) is another message.
void QueueTransport::Send(const std::string& kind, const std::string& name,
                          std::string_view bytes) {
  CheckMessageName(kind);
  CheckMessageName(name);
  const size_t parts = std::max<size_t>(1, (bytes.size() + kPartBytes - 1) / kPartBytes);
  const std::string content = HexDigits(HashBytes(bytes)).substr(0, kContentDigits);
  for (size_t i = 0; i < parts; ++i) {
    out_->Publish(StrCat(kind, "/", name, "/", i, "/", parts, "/", content),
                  bytes.substr(i * kPartBytes, kPartBytes));
  }
}

void QueueTransport::Receive(const Handler& handle) {
  std::optional<Error> first_error;
  while (std::optional<LeasedJob> job = in_->Pull(wait_s_)) {
    std::vector<std::string> words;
    for (size_t begin = 0; begin <= job->id.size();) {
      const size_t end = std::min(job->id.find('/', begin), job->id.size());
      words.push_back(job->id.substr(begin, end - begin));
      begin = end + 1;
    }
    size_t part = 0, parts = 0;
    if (words.size() == 5) {
      std::from_chars(words[2].data(), words[2].data() + words[2].size(), part);
      std::from_chars(words[3].data(), words[3].data() + words[3].size(), parts);
    }
    if (parts == 0 || part >= parts) {
      LogWarning(StrCat("transport: \"", job->id, "\" is no message of a car or its cloud"));
      in_->Ack(*job);
      continue;
    }
    const std::string key = StrCat(words[0], "/", words[1], "/", words[4]);
    Incoming& incoming = incoming_[key];
    incoming.parts = parts;
    incoming.jobs[part] = *job;
    if (incoming.jobs.size() < parts) {
      // The others' leases go on while the rest comes.
      for (auto& [unused, waiting] : incoming.jobs) in_->Extend(waiting);
      continue;
    }
    std::string bytes;
    for (const auto& [unused, waiting] : incoming.jobs) bytes += waiting.bytes;
    try {
      handle(words[0], words[1], bytes);
      for (const auto& [unused, waiting] : incoming.jobs) in_->Ack(waiting);
    } catch (const Error& handling) {
      // Given back now, it would come at once, again and again, and soon be a dead letter.
      if (!first_error) first_error = handling;
    }
    incoming_.erase(key);
  }
  if (first_error) throw *first_error;
}

}  // namespace athanor
