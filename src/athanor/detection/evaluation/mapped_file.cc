#include "athanor/detection/evaluation/mapped_file.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "athanor/base/error.h"

namespace athanor {

MappedFile::MappedFile(const std::filesystem::path& path) {
  const int descriptor = open(path.c_str(), O_RDONLY | O_CLOEXEC);
  ATHANOR_CHECK(descriptor >= 0, path.string(), ": cannot be read: ", std::strerror(errno));
  struct stat status = {};
  if (fstat(descriptor, &status) != 0 || !S_ISREG(status.st_mode)) {
    close(descriptor);
    throw Error(StrCat(path.string(), ": expected a regular file"));
  }
  const auto size = static_cast<size_t>(status.st_size);
  if (size > 0) {
    void* data = mmap(nullptr, size, PROT_READ, MAP_PRIVATE, descriptor, 0);
    const int reason = errno;
    if (data == MAP_FAILED) {
      close(descriptor);
      throw Error(StrCat(path.string(), ": cannot be read: ", std::strerror(reason)));
    }
    bytes_ = {static_cast<const char*>(data), size};
  }
  close(descriptor);
}

MappedFile::~MappedFile() {
  if (!bytes_.empty()) munmap(const_cast<char*>(bytes_.data()), bytes_.size());
}

}  // namespace athanor
