// The file in which a cache keeps blocks on the local disk: slots of equal size, each of which says
// whose block it holds and proves that it is whole. Which slot holds what is the cache's business.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include "athanor/base/error.h"

namespace athanor {

// Another process uses the folder.
class FolderInUse : public Error {
 public:
  using Error::Error;
};

// Whose block it is. Object and version together have at most kLongestNames_bytes.
struct BlockName {
  std::string_view object, version;
  int64_t index = 0;  // of the block in its object
};

// A slot is a header of 4 KiB (name, length, CRC32C of the bytes and of itself) and the bytes of
// the block. Nothing is flushed: after a crash a slot may hold anything, and then one of its
// checksums does not fit. Thread-safe for different slots.
class DiskSlots {
 public:
  static constexpr int64_t kLongestNames_bytes = 4000;

  // Opens or makes FOLDER/blocks-BLOCKBYTES, of at most `capacity_bytes`; files of other block
  // sizes are removed. Throws Error: no room for a slot, no permission; FolderInUse.
  DiskSlots(const std::filesystem::path& folder, int64_t capacity_bytes, int64_t block_bytes);
  ~DiskSlots();
  DiskSlots(const DiskSlots&) = delete;
  DiskSlots& operator=(const DiskSlots&) = delete;

  int64_t size() const { return slots_; }

  struct Found {
    int64_t slot;
    std::string object, version;
    int64_t index;
  };
  // The slots whose header is whole; their bytes are checked when they are read. Reads 4 KiB a
  // slot.
  std::vector<Found> Scan() const;

  // Throws Error when the slot does not hold this block, whole.
  std::string Read(int64_t slot, const BlockName& name) const;
  // Throws Error: a full disk.
  void Write(int64_t slot, const BlockName& name, std::string_view bytes) const;

 private:
  std::string ReadAt(int64_t offset, int64_t length) const;

  std::filesystem::path path_;
  int64_t block_bytes_, stride_bytes_, slots_ = 0;
  int descriptor_ = -1;
};

}  // namespace athanor
