// A file as bytes in memory without a copy: the system reads pages as they are touched, and may
// drop them again.
#pragma once

#include <filesystem>
#include <string_view>

namespace athanor {

// The file must not shrink while it is mapped.
class MappedFile {
 public:
  // Throws Error (path, the system's reason) when it cannot be read.
  explicit MappedFile(const std::filesystem::path& path);
  ~MappedFile();
  MappedFile(const MappedFile&) = delete;
  MappedFile& operator=(const MappedFile&) = delete;

  std::string_view bytes() const { return bytes_; }

 private:
  std::string_view bytes_;
};

}  // namespace athanor
