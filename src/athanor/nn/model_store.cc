#include "athanor/nn/model_store.h"

#ifdef ATHANOR_HAS_CURL
#include <curl/curl.h>
#endif

#include <cstdio>
#include <cstdlib>
#include <memory>
#include <mutex>
#include <system_error>

#include "athanor/base/error.h"
#include "athanor/base/files.h"
#include "athanor/base/log.h"
#include "athanor/base/progress.h"
#include "athanor/base/sha256.h"

namespace athanor {
namespace {

namespace fs = std::filesystem;

#ifdef ATHANOR_HAS_CURL

constexpr int kTries = 5;
constexpr long kConnectSeconds = 30, kStallSeconds = 60, kStallBytesPerSecond = 1;

struct Transfer {
  std::FILE* file = nullptr;
  CURL* handle = nullptr;
  std::string name;
  int64_t begin = 0;  // bytes that were there
  bool is_first = true;
  std::string fault;
  std::unique_ptr<Progress> progress;
};

size_t OnBytes(const char* bytes, size_t size, size_t count, void* user) {
  auto& transfer = *static_cast<Transfer*>(user);
  if (transfer.is_first) {
    transfer.is_first = false;
    long status = 0;
    curl_easy_getinfo(transfer.handle, CURLINFO_RESPONSE_CODE, &status);
    // The server sends all of it, though a range was asked for.
    if (transfer.begin > 0 && status == 200) {
      if (std::freopen(nullptr, "wb", transfer.file) == nullptr) return 0;
      transfer.begin = 0;
    }
  }
  return std::fwrite(bytes, size, count, transfer.file) * size;
}

int OnProgress(void* user, curl_off_t total, curl_off_t now, curl_off_t, curl_off_t) {
  auto& transfer = *static_cast<Transfer*>(user);
  if (total <= 0) return 0;
  if (transfer.progress == nullptr) {
    transfer.progress = std::make_unique<Progress>(transfer.name, (transfer.begin + total) >> 10,
                                                   transfer.begin >> 10);
  }
  transfer.progress->Update((transfer.begin + now) >> 10, "KiB");
  return 0;
}

enum class Outcome { kDone, kBrokenOff, kRangeRefused };

// One request, from where the part ends. Throws for what another try would not mend.
Outcome Request(const std::string& url, const fs::path& part, std::string* fault) {
  static std::once_flag once;
  std::call_once(once, [] { curl_global_init(CURL_GLOBAL_DEFAULT); });
  const std::unique_ptr<CURL, decltype(&curl_easy_cleanup)> handle(curl_easy_init(),
                                                                   curl_easy_cleanup);
  const std::unique_ptr<std::FILE, decltype(&std::fclose)> file(std::fopen(part.c_str(), "ab"),
                                                                std::fclose);
  ATHANOR_CHECK(file != nullptr, part.string(), ": cannot be written");
  Transfer transfer;
  transfer.file = file.get();
  transfer.handle = handle.get();
  transfer.name = part.stem().string();
  transfer.begin = static_cast<int64_t>(fs::file_size(part));
  char reason[CURL_ERROR_SIZE] = {};
  CURL* curl = handle.get();
  curl_easy_setopt(curl, CURLOPT_URL, url.c_str());
  curl_easy_setopt(curl, CURLOPT_PROTOCOLS_STR, "http,https");
  curl_easy_setopt(curl, CURLOPT_REDIR_PROTOCOLS_STR, "http,https");
  curl_easy_setopt(curl, CURLOPT_FOLLOWLOCATION, 1L);
  curl_easy_setopt(curl, CURLOPT_MAXREDIRS, 10L);
  curl_easy_setopt(curl, CURLOPT_FAILONERROR, 1L);
  curl_easy_setopt(curl, CURLOPT_ERRORBUFFER, reason);
  curl_easy_setopt(curl, CURLOPT_CONNECTTIMEOUT, kConnectSeconds);
  curl_easy_setopt(curl, CURLOPT_LOW_SPEED_TIME, kStallSeconds);
  curl_easy_setopt(curl, CURLOPT_LOW_SPEED_LIMIT, kStallBytesPerSecond);
  curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
  curl_easy_setopt(curl, CURLOPT_USERAGENT, "athanor");
  curl_easy_setopt(curl, CURLOPT_RESUME_FROM_LARGE, static_cast<curl_off_t>(transfer.begin));
  curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, OnBytes);
  curl_easy_setopt(curl, CURLOPT_WRITEDATA, &transfer);
  curl_easy_setopt(curl, CURLOPT_NOPROGRESS, 0L);
  curl_easy_setopt(curl, CURLOPT_XFERINFOFUNCTION, OnProgress);
  curl_easy_setopt(curl, CURLOPT_XFERINFODATA, &transfer);
  const CURLcode code = curl_easy_perform(curl);
  if (code == CURLE_OK) return Outcome::kDone;
  *fault = reason[0] != 0 ? reason : curl_easy_strerror(code);
  long status = 0;
  curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &status);
  if (transfer.begin > 0 && (code == CURLE_RANGE_ERROR || status == 416)) {
    return Outcome::kRangeRefused;
  }
  ATHANOR_CHECK(code != CURLE_WRITE_ERROR, part.string(), ": cannot be written: ", *fault);
  const bool may_mend = code == CURLE_PARTIAL_FILE || code == CURLE_RECV_ERROR ||
                        code == CURLE_GOT_NOTHING || code == CURLE_OPERATION_TIMEDOUT ||
                        code == CURLE_HTTP2_STREAM || status >= 500;
  ATHANOR_CHECK(may_mend, url, ": ", *fault);
  return Outcome::kBrokenOff;
}

#endif

void CheckDigest(const std::string& found, const std::string& expected, const std::string& where) {
  ATHANOR_CHECK(expected.empty() || found == expected, where, ": SHA-256 is ", found, ", expected ",
                expected, ": damaged, or another file of this name");
}

fs::path PinOf(const fs::path& path) { return path.string() + ".sha256"; }

// The card's, or that of the first fetch.
std::string ExpectedDigest(const ModelFile& file, const fs::path& path) {
  if (!file.sha256.empty() || !fs::exists(PinOf(path))) return file.sha256;
  return ReadFile(PinOf(path)).substr(0, 64);
}

fs::path FindBelow(const fs::path& folder, const std::string& name) {
  for (const auto& entry :
       fs::recursive_directory_iterator(folder, fs::directory_options::skip_permission_denied)) {
    if (entry.is_regular_file() && entry.path().filename() == name) return entry.path();
  }
  return {};
}

// Copied in pieces and renamed.
void CopyInto(const fs::path& source, const fs::path& target) {
  const fs::path part = target.string() + ".part";
  std::error_code error;
  fs::copy_file(source, part, fs::copy_options::overwrite_existing, error);
  ATHANOR_CHECK(!error, part.string(), ": cannot be written: ", error.message());
  fs::permissions(part, fs::perms::owner_write, fs::perm_options::add, error);
  fs::rename(part, target);
}

}  // namespace

namespace internal {

#ifdef ATHANOR_HAS_CURL

std::string Download(const std::string& url, const fs::path& path, const std::string& sha256) {
  const fs::path part = path.string() + ".part";
  std::string fault;
  bool done = false;
  for (int attempt = 0; attempt < kTries && !done; ++attempt) {
    switch (Request(url, part, &fault)) {
      case Outcome::kDone:
        done = true;
        break;
      case Outcome::kRangeRefused:  // the part is not of this file, or is all of it
        if (!sha256.empty() && Sha256OfFile(part) == sha256) {
          done = true;
        } else {
          fs::remove(part);
        }
        break;
      case Outcome::kBrokenOff:
        LogWarning(StrCat(url, ": broke off at byte ", fs::file_size(part), " (", fault, ")"));
        break;
    }
  }
  ATHANOR_CHECK(done, url, ": broke off ", kTries, " times (", fault,
                "); the same command continues at byte ",
                fs::exists(part) ? fs::file_size(part) : 0);
  const std::string digest = Sha256OfFile(part);
  if (!sha256.empty() && digest != sha256) fs::remove(part);
  CheckDigest(digest, sha256, url);
  fs::rename(part, path);
  return digest;
}

#else

std::string Download(const std::string& url, const fs::path&, const std::string&) {
  throw Error(url +
              ": this build cannot download (no libcurl); fetch it by other means and use --from");
}

#endif

}  // namespace internal

fs::path ModelStore::Find(const ModelCard& card, const ModelFile& file) const {
  for (const fs::path& place :
       {folder, card.path.parent_path(), card.path.parent_path().parent_path() / "names"}) {
    std::error_code error;
    if (fs::is_regular_file(place / file.name, error)) return place / file.name;
  }
  return {};
}

fs::path ModelStore::Require(const ModelCard& card, const std::string& role) const {
  const ModelFile& file = card.File(role);
  const fs::path path = Find(card, file);
  ATHANOR_CHECK(!path.empty(), card.name, ": ", file.name, " is not in ", folder.string(),
                "; fetch it with: athanor models fetch ", card.name,
                file.url.empty() ? " --from FOLDER" : "");
  return path;
}

bool ModelStore::HasAll(const ModelCard& card) const {
  for (const ModelFile& file : card.files) {
    if (Find(card, file).empty()) return false;
  }
  return true;
}

ModelStore DefaultModelStore() {
  // A variable that is set to nothing counts as not set.
  const auto folder = [](const char* variable) {
    const char* value = std::getenv(variable);
    return fs::path(value == nullptr ? "" : value);
  };
  if (const fs::path chosen = folder("ATHANOR_MODELS"); !chosen.empty()) return {chosen};
  if (const fs::path cache = folder("XDG_CACHE_HOME"); !cache.empty()) {
    return {cache / "athanor/models"};
  }
  const fs::path home = folder("HOME");
  ATHANOR_CHECK(!home.empty(), "no folder for models: set ATHANOR_MODELS");
  return {home / ".cache/athanor/models"};
}

void FetchModel(const ModelCard& card, const ModelStore& store, const fs::path& from) {
  ATHANOR_CHECK(from.empty() || fs::is_directory(from), from.string(), ": no such folder");
  MakeFolder(store.folder);
  for (const ModelFile& file : card.files) {
    const fs::path present = store.Find(card, file);
    if (!present.empty()) {
      CheckDigest(Sha256OfFile(present), ExpectedDigest(file, present), present.string());
      continue;
    }
    const fs::path target = store.folder / file.name;
    const std::string expected = ExpectedDigest(file, target);
    std::string digest;
    if (!from.empty()) {
      const fs::path source = FindBelow(from, file.name);
      ATHANOR_CHECK(!source.empty(), from.string(), ": has no file ", file.name);
      digest = Sha256OfFile(source);
      CheckDigest(digest, expected, source.string());
      CopyInto(source, target);
    } else {
      ATHANOR_CHECK(!file.url.empty(), card.name, ": ", file.name,
                    " has no address to fetch it from: ", card.notes,
                    " Then: athanor models fetch ", card.name, " --from FOLDER");
      digest = internal::Download(file.url, target, expected);
    }
    if (file.sha256.empty()) {
      WriteFile(PinOf(target), digest + "\n");
      LogWarning(StrCat(card.name, ": the card has no SHA-256 for ", file.name,
                        "; pinned as fetched now: ", digest));
    }
  }
}

}  // namespace athanor
