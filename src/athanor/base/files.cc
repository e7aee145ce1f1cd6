#include "athanor/base/files.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>

#include "athanor/base/error.h"

namespace athanor {
namespace {

// A file descriptor that closes itself.
class Descriptor {
 public:
  Descriptor(const std::filesystem::path& path, int flags)
      : descriptor_(::open(path.c_str(), flags | O_CLOEXEC, 0666)) {}
  ~Descriptor() {
    if (descriptor_ >= 0) ::close(descriptor_);
  }
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
  int get() const { return descriptor_; }

 private:
  int descriptor_;
};

[[noreturn]] void FailWithReason(const std::filesystem::path& path, std::string_view what) {
  const int reason = errno;
  throw Error(StrCat(path.string(), ": ", what, ": ", std::strerror(reason)));
}

void WriteAll(int descriptor, std::string_view bytes, const std::filesystem::path& path) {
  while (!bytes.empty()) {
    const ssize_t written = ::write(descriptor, bytes.data(), bytes.size());
    if (written < 0) {
      if (errno == EINTR) continue;
      FailWithReason(path, "cannot write");
    }
    bytes.remove_prefix(static_cast<size_t>(written));
  }
}

}  // namespace

std::string ReadFile(const std::filesystem::path& path) {
  std::string bytes;
  ReadFile(path, &bytes);
  return bytes;
}

void ReadFile(const std::filesystem::path& path, std::string* into) {
  std::string& bytes = *into;
  const Descriptor file(path, O_RDONLY);
  if (file.get() < 0) FailWithReason(path, "cannot open for reading");
  std::error_code error;
  ATHANOR_CHECK(!std::filesystem::is_directory(path, error), path.string(),
                ": expected a file, found a folder");
  const off_t size = ::lseek(file.get(), 0, SEEK_END);
  ::lseek(file.get(), 0, SEEK_SET);
  bytes.resize(size > 0 ? static_cast<size_t>(size) : 0);
  size_t done = 0;
  while (true) {
    if (done == bytes.size()) {
      // At the size the file had, or a stream without one: go on while there is more.
      char more[4096];
      const ssize_t got = ::read(file.get(), more, sizeof more);
      if (got < 0 && errno == EINTR) continue;
      if (got < 0) FailWithReason(path, "cannot read");
      if (got == 0) break;
      bytes.append(more, static_cast<size_t>(got));
      done = bytes.size();
      continue;
    }
    const ssize_t got = ::read(file.get(), bytes.data() + done, bytes.size() - done);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) FailWithReason(path, "cannot read");
    if (got == 0) break;
    done += static_cast<size_t>(got);
  }
  bytes.resize(done);
}

void WriteFile(const std::filesystem::path& path, std::string_view bytes) {
  FileWriter file(path);
  file.Write(bytes);
  file.Commit();
}

FileWriter::FileWriter(const std::filesystem::path& path) : path_(path), aside_(path) {
  if (path.has_parent_path()) MakeFolder(path.parent_path());
  aside_ += StrCat(".", ::getpid(), ".tmp");
  descriptor_ = ::open(aside_.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
  if (descriptor_ < 0) FailWithReason(path, "cannot open for writing");
}

FileWriter::~FileWriter() {
  if (descriptor_ < 0) return;
  ::close(descriptor_);
  ::unlink(aside_.c_str());
}

void FileWriter::Write(std::string_view bytes) { WriteAll(descriptor_, bytes, path_); }

void FileWriter::Commit() {
  if (::fsync(descriptor_) != 0) FailWithReason(path_, "cannot flush to the disk");
  if (::rename(aside_.c_str(), path_.c_str()) != 0) {
    FailWithReason(path_, "cannot rename into place");
  }
  ::close(descriptor_);
  descriptor_ = -1;
}

void PublishFile(const std::filesystem::path& from, const std::filesystem::path& path) {
  if (::rename(from.c_str(), path.c_str()) != 0) FailWithReason(path, "cannot rename into place");
  const Descriptor folder(path.parent_path(), O_RDONLY);
  if (folder.get() < 0 || ::fsync(folder.get()) != 0) {
    FailWithReason(path.parent_path(), "cannot flush to the disk");
  }
}

void AppendFile(const std::filesystem::path& path, std::string_view bytes) {
  const Descriptor file(path, O_WRONLY | O_CREAT | O_APPEND);
  if (file.get() < 0) FailWithReason(path, "cannot open for writing");
  WriteAll(file.get(), bytes, path);
}

void MakeFolder(const std::filesystem::path& path) {
  std::error_code error;
  std::filesystem::create_directories(path, error);
  ATHANOR_CHECK(!error, path.string(), ": cannot make the folder: ", error.message());
}

std::vector<std::filesystem::path> ListFiles(const std::filesystem::path& folder,
                                             const std::vector<std::string>& extensions) {
  std::error_code error;
  std::filesystem::directory_iterator entries(folder, error);
  ATHANOR_CHECK(!error, folder.string(), ": cannot list the folder: ", error.message());
  std::vector<std::filesystem::path> files;
  for (const auto& entry : entries) {
    if (!entry.is_regular_file(error)) continue;
    std::string extension = entry.path().extension().string();
    std::transform(extension.begin(), extension.end(), extension.begin(),
                   [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
    if (extensions.empty() ||
        std::find(extensions.begin(), extensions.end(), extension) != extensions.end()) {
      files.push_back(entry.path());
    }
  }
  std::sort(files.begin(), files.end());
  return files;
}

std::string_view ByteReader::Take(size_t size, std::string_view what) {
  if (size > remaining()) {
    Fail(StrCat("expected ", size, " bytes of ", what, ", found ", remaining()));
  }
  const std::string_view taken = bytes_.substr(position_, size);
  position_ += size;
  return taken;
}

std::string_view ByteReader::TakeString(std::string_view what) {
  const size_t end = bytes_.find('\0', position_);
  if (end == std::string_view::npos) Fail(StrCat("expected a zero byte that ends ", what));
  const std::string_view taken = bytes_.substr(position_, end - position_);
  position_ = end + 1;
  return taken;
}

uint64_t ByteReader::ReadCount(size_t record_bytes, std::string_view what) {
  const uint64_t count = Read<uint64_t>(what);
  CheckFits(count, record_bytes, what);
  return count;
}

void ByteReader::CheckFits(uint64_t count, size_t record_bytes, std::string_view what) const {
  if (record_bytes != 0 && count > remaining() / record_bytes) {
    Fail(StrCat(what, ": ", count, " records of at least ", record_bytes,
                " bytes do not fit in the ", remaining(), " bytes that are left"));
  }
}

void ByteReader::Fail(std::string_view message) const {
  throw Error(StrCat(name_, ": byte ", position_, ": ", message));
}

std::filesystem::path FindShared(const std::filesystem::path& relative) {
  std::error_code error;
  const auto program = std::filesystem::read_symlink("/proc/self/exe", error);
  std::string tried;
  for (const std::filesystem::path& folder : {program.parent_path().parent_path() / "share/athanor",
                                              std::filesystem::path(ATHANOR_SOURCE_DIR)}) {
    const std::filesystem::path path = folder / relative;
    if (std::filesystem::exists(path, error)) return path;
    tried += (tried.empty() ? "" : ", ") + path.string();
  }
  throw Error(StrCat("expected a file of the program at ", tried, ", found none"));
}

}  // namespace athanor
