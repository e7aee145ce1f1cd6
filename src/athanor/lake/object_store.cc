#include "athanor/lake/object_store.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <string_view>
#include <thread>
#include <utility>

namespace athanor {
namespace {

// A new file under the old name, or one that was written to, differs in one of these.
ObjectInfo InfoOf(const struct stat& status) {
  return {status.st_size, StrCat(status.st_ino, "-", status.st_mtim.tv_sec, ".",
                                 status.st_mtim.tv_nsec, "-", status.st_size)};
}

[[noreturn]] void FailWithReason(const std::filesystem::path& path, std::string_view what) {
  const int reason = errno;
  throw Error(StrCat(path.string(), ": ", what, ": ", std::strerror(reason)));
}

class OpenFile {
 public:
  explicit OpenFile(const std::filesystem::path& path)
      : descriptor_(::open(path.c_str(), O_RDONLY | O_CLOEXEC)) {
    if (descriptor_ < 0) FailWithReason(path, "cannot open for reading");
  }
  ~OpenFile() { ::close(descriptor_); }
  OpenFile(const OpenFile&) = delete;
  OpenFile& operator=(const OpenFile&) = delete;
  int get() const { return descriptor_; }

 private:
  int descriptor_;
};

}  // namespace

void CheckVersion(const ObjectInfo* expected, const ObjectInfo& found, const std::string& where) {
  if (expected == nullptr || *expected == found) return;
  throw ObjectChanged(StrCat(where, ": changed: expected version ", expected->version, " of ",
                             expected->size_bytes, " bytes, found ", found.version, " of ",
                             found.size_bytes));
}

void CheckObjectRange(const std::string& object, int64_t offset, int64_t length) {
  const std::string_view name = object;
  for (size_t begin = 0; begin <= name.size();) {
    const size_t end = std::min(name.find('/', begin), name.size());
    const std::string_view part = name.substr(begin, end - begin);
    ATHANOR_CHECK(
        !part.empty() && part != "." && part != ".." && part.find('\0') == std::string_view::npos,
        "expected the name of an object, like shards/00000001.shard, found \"", object, "\"");
    begin = end + 1;
  }
  ATHANOR_CHECK(offset >= 0 && length >= 0, object, ": expected a range of bytes, found ", length,
                " bytes from byte ", offset);
}

DirectoryStore::DirectoryStore(const std::filesystem::path& folder) : folder_(folder) {
  std::error_code error;
  ATHANOR_CHECK(std::filesystem::is_directory(folder, error), folder.string(),
                ": expected a folder of objects, found none");
}

std::string DirectoryStore::ReadVersion(const std::string& object, int64_t offset, int64_t length,
                                        const ObjectInfo* expected) const {
  CheckObjectRange(object, offset, length);
  const std::filesystem::path path = folder_ / object;
  const OpenFile file(path);
  struct stat status;
  if (::fstat(file.get(), &status) != 0) FailWithReason(path, "cannot ask for its size");
  ATHANOR_CHECK(S_ISREG(status.st_mode), path.string(), ": expected a file, found a folder");
  CheckVersion(expected, InfoOf(status), path.string());
  ATHANOR_CHECK(offset <= status.st_size && length <= status.st_size - offset, path.string(),
                ": expected ", length, " bytes from byte ", offset, ", found a file of ",
                status.st_size);
  std::string bytes(static_cast<size_t>(length), '\0');
  size_t done = 0;
  while (done < bytes.size()) {
    const ssize_t got = ::pread(file.get(), bytes.data() + done, bytes.size() - done,
                                static_cast<off_t>(offset + static_cast<int64_t>(done)));
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) FailWithReason(path, "cannot read");
    ATHANOR_CHECK(got > 0, path.string(), ": expected ", length, " bytes from byte ", offset,
                  ", the file ends after ", done);
    done += static_cast<size_t>(got);
  }
  return bytes;
}

ObjectInfo DirectoryStore::Info(const std::string& object) const {
  CheckObjectRange(object, 0, 0);
  const std::filesystem::path path = folder_ / object;
  struct stat status;
  if (::stat(path.c_str(), &status) != 0) FailWithReason(path, "cannot ask for its size");
  ATHANOR_CHECK(S_ISREG(status.st_mode), path.string(), ": expected a file, found a folder");
  return InfoOf(status);
}

std::vector<std::string> DirectoryStore::List(const std::string& prefix) const {
  std::vector<std::string> names;
  std::error_code error;
  std::filesystem::recursive_directory_iterator entries(folder_, error);
  for (; !error && entries != std::filesystem::end(entries); entries.increment(error)) {
    if (!entries->is_regular_file()) continue;
    std::string name = entries->path().lexically_relative(folder_).generic_string();
    if (name.starts_with(prefix)) names.push_back(std::move(name));
  }
  ATHANOR_CHECK(!error, folder_.string(), ": cannot list the folder: ", error.message());
  std::sort(names.begin(), names.end());
  return names;
}

ThrottledStore::ThrottledStore(std::shared_ptr<const ObjectStore> store, double latency_s,
                               double bytes_per_s)
    : store_(std::move(store)), latency_s_(latency_s), bytes_per_s_(bytes_per_s) {
  ATHANOR_CHECK(latency_s >= 0 && bytes_per_s > 0,
                "expected a latency of 0 s or more and a rate above 0, found ", latency_s, " and ",
                bytes_per_s);
}

void ThrottledStore::Wait(int64_t bytes) const {
  std::this_thread::sleep_for(
      std::chrono::duration<double>(latency_s_ + static_cast<double>(bytes) / bytes_per_s_));
}

std::string ThrottledStore::ReadVersion(const std::string& object, int64_t offset, int64_t length,
                                        const ObjectInfo* expected) const {
  std::string bytes = store_->ReadVersion(object, offset, length, expected);
  Wait(length);
  return bytes;
}

ObjectInfo ThrottledStore::Info(const std::string& object) const {
  Wait(0);
  return store_->Info(object);
}

std::vector<std::string> ThrottledStore::List(const std::string& prefix) const {
  Wait(0);
  return store_->List(prefix);
}

}  // namespace athanor
