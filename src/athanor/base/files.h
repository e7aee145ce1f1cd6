// Files: whole-file reading, writing that never leaves a half-written file, and a cursor over bytes
// from outside that cannot run off their end.
#pragma once

#include <cstdint>
#include <cstring>
#include <filesystem>
#include <string>
#include <string_view>
#include <type_traits>
#include <vector>

namespace athanor {

// The whole file. Throws Error with the path and the system's reason.
std::string ReadFile(const std::filesystem::path& path);
// Into a string whose memory is used again.
void ReadFile(const std::filesystem::path& path, std::string* bytes);

// Writes to a file beside `path`, flushes it to the disk and renames it, so that `path` holds
// either its old content or all of the new. Makes missing parent folders. Throws Error (path,
// reason: a full disk, no permission) and removes what it wrote.
void WriteFile(const std::filesystem::path& path, std::string_view bytes);

// WriteFile in pieces. Unless Commit() is reached, `path` stays as it was.
class FileWriter {
 public:
  explicit FileWriter(const std::filesystem::path& path);
  ~FileWriter();
  FileWriter(const FileWriter&) = delete;
  FileWriter& operator=(const FileWriter&) = delete;

  void Write(std::string_view bytes);
  void Commit();

 private:
  std::filesystem::path path_, aside_;
  int descriptor_ = -1;
};

// Renames a file that was flushed already and lies in the same folder, and flushes the folder:
// after a loss of power, too, `path` is the old file or all of the new. Throws Error.
void PublishFile(const std::filesystem::path& from, const std::filesystem::path& path);

// Adds to the end of `path`, which is created when missing. Throws Error.
void AppendFile(const std::filesystem::path& path, std::string_view bytes);

// Makes the folder and its parents. Throws Error.
void MakeFolder(const std::filesystem::path& path);

// Entries of a folder with one of these lower-case extensions (".png"), sorted by name; all regular
// files when none is given. Throws Error when it is no folder.
std::vector<std::filesystem::path> ListFiles(const std::filesystem::path& folder,
                                             const std::vector<std::string>& extensions = {});

// A cursor over the bytes of a file from outside. Little-endian, as every format here is. Each read
// is checked against the end and throws Error naming file, byte, what was read and what was
// missing.
class ByteReader {
 public:
  // Both views must outlive the reader; `name` is the path that messages name.
  ByteReader(std::string_view bytes, std::string_view name) : bytes_(bytes), name_(name) {}

  size_t position() const { return position_; }
  size_t remaining() const { return bytes_.size() - position_; }

  template <typename T>
  T Read(std::string_view what) {
    static_assert(std::is_trivially_copyable_v<T>);
    T value;
    std::memcpy(&value, Take(sizeof(T), what).data(), sizeof(T));
    return value;
  }
  // The next `size` bytes.
  std::string_view Take(size_t size, std::string_view what);
  // Up to the next '\0', which is skipped.
  std::string_view TakeString(std::string_view what);
  // Reads a count of records of at least `record_bytes` each, and refuses one that the rest of the
  // file cannot hold: a lying count never reaches an allocation.
  uint64_t ReadCount(size_t record_bytes, std::string_view what);
  // Throws unless `count` records of `record_bytes` fit in the rest of the file.
  void CheckFits(uint64_t count, size_t record_bytes, std::string_view what) const;

  [[noreturn]] void Fail(std::string_view message) const;

 private:
  std::string_view bytes_;
  std::string_view name_;
  size_t position_ = 0;
};

// A file that comes with the program, "configs/detect/tiny.toml": in share/athanor of the
// installation that the program belongs to, or in the sources that it was built from. Throws Error
// with the places that were tried.
std::filesystem::path FindShared(const std::filesystem::path& relative);

}  // namespace athanor
