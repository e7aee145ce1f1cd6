#include "athanor/lake/disk_slots.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "athanor/base/error.h"
#include "athanor/base/files.h"
#include "athanor/lake/crc32c.h"

namespace athanor {
namespace {

constexpr int64_t kHeader_bytes = 4096;
constexpr uint64_t kMagic = 0x31304b4c42485441;  // "ATHBLK01"

// At the head of a slot, little-endian, with object and version behind it.
struct Header {
  uint64_t magic;
  uint32_t header_crc;  // of all that follows, up to the end of the version
  uint32_t bytes_crc;
  uint32_t length;  // bytes of the block
  uint16_t object_bytes, version_bytes;
  int64_t index;
};
static_assert(sizeof(Header) == 32);
static_assert(sizeof(Header) + DiskSlots::kLongestNames_bytes <= kHeader_bytes);
constexpr size_t kGuardedFrom = 12;  // where header_crc begins to count

[[noreturn]] void FailWithReason(const std::filesystem::path& path, std::string_view what) {
  const int reason = errno;
  throw Error(StrCat(path.string(), ": ", what, ": ", std::strerror(reason)));
}

// Whether `bytes`, the begin of a slot, hold a whole header.
bool ParseHeader(std::string_view bytes, Header* header, BlockName* name) {
  if (bytes.size() < sizeof(Header)) return false;
  std::memcpy(header, bytes.data(), sizeof(Header));
  const size_t end = sizeof(Header) + header->object_bytes + header->version_bytes;
  if (header->magic != kMagic || end > bytes.size() || end > kHeader_bytes ||
      header->header_crc != Crc32c(bytes.substr(kGuardedFrom, end - kGuardedFrom))) {
    return false;
  }
  name->object = bytes.substr(sizeof(Header), header->object_bytes);
  name->version = bytes.substr(sizeof(Header) + header->object_bytes, header->version_bytes);
  name->index = header->index;
  return true;
}

}  // namespace

DiskSlots::DiskSlots(const std::filesystem::path& folder, int64_t capacity_bytes,
                     int64_t block_bytes)
    : path_(folder / StrCat("blocks-", block_bytes)),
      block_bytes_(block_bytes),
      stride_bytes_(kHeader_bytes + (block_bytes + 4095) / 4096 * 4096) {
  slots_ = capacity_bytes / stride_bytes_;
  ATHANOR_CHECK(slots_ >= 1, path_.string(), ": expected room for a block of ", stride_bytes_,
                " bytes or more, found ", capacity_bytes);
  MakeFolder(folder);
  descriptor_ = ::open(path_.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0666);
  if (descriptor_ < 0) FailWithReason(path_, "cannot open for writing");
  try {
    if (::flock(descriptor_, LOCK_EX | LOCK_NB) != 0) {
      throw FolderInUse(StrCat(folder.string(),
                               ": another process uses this cache; give each a folder of its own"));
    }
    struct stat status;
    if (::fstat(descriptor_, &status) != 0) FailWithReason(path_, "cannot ask for its size");
    if (status.st_size > slots_ * stride_bytes_ &&
        ::ftruncate(descriptor_, slots_ * stride_bytes_) != 0) {
      FailWithReason(path_, "cannot shorten");
    }
    for (const auto& file : ListFiles(folder)) {
      if (file.filename().string().starts_with("blocks-") && file != path_) {
        std::filesystem::remove(file);
      }
    }
  } catch (...) {
    ::close(descriptor_);
    throw;
  }
}

DiskSlots::~DiskSlots() { ::close(descriptor_); }

// May be shorter, where the file ends.
std::string DiskSlots::ReadAt(int64_t offset, int64_t length) const {
  std::string bytes(static_cast<size_t>(length), '\0');
  size_t done = 0;
  while (done < bytes.size()) {
    const ssize_t got = ::pread(descriptor_, bytes.data() + done, bytes.size() - done,
                                static_cast<off_t>(offset + static_cast<int64_t>(done)));
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) FailWithReason(path_, "cannot read");
    if (got == 0) break;
    done += static_cast<size_t>(got);
  }
  bytes.resize(done);
  return bytes;
}

std::vector<DiskSlots::Found> DiskSlots::Scan() const {
  std::vector<Found> found;
  for (int64_t slot = 0; slot < slots_; ++slot) {
    const std::string bytes = ReadAt(slot * stride_bytes_, kHeader_bytes);
    if (bytes.empty()) break;  // the file grows with what is written
    Header header;
    BlockName name;
    if (!ParseHeader(bytes, &header, &name)) continue;
    found.push_back({slot, std::string(name.object), std::string(name.version), name.index});
  }
  return found;
}

std::string DiskSlots::Read(int64_t slot, const BlockName& name) const {
  const int64_t offset = slot * stride_bytes_;
  const std::string head = ReadAt(offset, kHeader_bytes);
  Header header;
  BlockName held;
  ATHANOR_CHECK(ParseHeader(head, &header, &held) && held.object == name.object &&
                    held.version == name.version && held.index == name.index &&
                    header.length <= block_bytes_,
                path_.string(), ": byte ", offset, ": expected block ", name.index, " of ",
                name.object, ", found something else");
  std::string bytes = ReadAt(offset + kHeader_bytes, header.length);
  const uint32_t crc = Crc32c(bytes);
  ATHANOR_CHECK(bytes.size() == header.length && crc == header.bytes_crc, path_.string(), ": byte ",
                offset, ": block ", name.index, " of ", name.object, ": expected CRC32C ",
                header.bytes_crc, ", found ", crc);
  return bytes;
}

void DiskSlots::Write(int64_t slot, const BlockName& name, std::string_view bytes) const {
  ATHANOR_CHECK(
      static_cast<int64_t>(name.object.size() + name.version.size()) <= kLongestNames_bytes &&
          static_cast<int64_t>(bytes.size()) <= block_bytes_,
      path_.string(), ": expected names of up to ", kLongestNames_bytes,
      " bytes and a block of up to ", block_bytes_, ", found ",
      name.object.size() + name.version.size(), " and ", bytes.size());
  Header header = {kMagic,
                   0,
                   Crc32c(bytes),
                   static_cast<uint32_t>(bytes.size()),
                   static_cast<uint16_t>(name.object.size()),
                   static_cast<uint16_t>(name.version.size()),
                   name.index};
  std::string head(sizeof header, '\0');
  head.append(name.object).append(name.version);
  std::memcpy(head.data(), &header, sizeof header);
  header.header_crc = Crc32c(std::string_view(head).substr(kGuardedFrom));
  std::memcpy(head.data(), &header, sizeof header);
  head.resize(kHeader_bytes);

  int64_t offset = slot * stride_bytes_;
  iovec parts[2] = {{head.data(), head.size()}, {const_cast<char*>(bytes.data()), bytes.size()}};
  for (int part = 0; part < 2;) {
    const ssize_t written = ::pwritev(descriptor_, parts + part, 2 - part, offset);
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) FailWithReason(path_, "cannot write");
    offset += written;
    auto left = static_cast<size_t>(written);
    while (part < 2 && left >= parts[part].iov_len) left -= parts[part++].iov_len;
    if (part < 2) {
      parts[part].iov_base = static_cast<char*>(parts[part].iov_base) + left;
      parts[part].iov_len -= left;
    }
  }
}

}  // namespace athanor
