// A shard: many blocks of bytes in one file that only grows.
//
//   file     "ATHSHARD"  u32 version  u32 CRC of the 12 bytes before
//   block    u32 "ATHB"  u32 kind  u64 length  u32 CRC of the payload  u32 CRC of the block's place
//            and the 20 bytes before; then the payload
//   index    on sealing: a block of kind kShardIndex, for each block before it u64 offset,
//            u64 length, u32 kind; then u64 offset of the index, "ATHSEAL1", u32 CRC of those 16
//
// Little-endian; CRCs are CRC32C. No byte of a sealed shard is without one. A block's header knows
// its place, so that blocks are found again behind damage, and bytes that look like a block inside
// a payload are none.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

namespace athanor {

inline constexpr int64_t kShardStart = 16;           // bytes; of the first block
inline constexpr int64_t kShardHeaderBytes = 24;     // of a block, before its payload
inline constexpr uint32_t kShardIndex = 0xffffffff;  // the only kind that is not the caller's

struct ShardBlock {
  int64_t offset = 0;  // of its header, bytes from the start of the file
  int64_t length = 0;  // of its payload, bytes
  uint32_t kind = 0;

  int64_t end() const { return offset + kShardHeaderBytes + length; }
  bool operator==(const ShardBlock&) const = default;
};

// Appends. One at a time for a file; not thread-safe. What was appended is in the file after
// Flush(), and survives a loss of power after Sync(). Small blocks are gathered, the bytes of large
// ones go to the system without a copy. Throws Error (path, byte, reason).
class ShardWriter {
 public:
  // A new file; throws when there is one of that name.
  static ShardWriter Create(const std::filesystem::path& path);
  // Goes on at byte `end`; what the file holds behind it is cut off.
  static ShardWriter Continue(const std::filesystem::path& path, int64_t end);
  ~ShardWriter();
  ShardWriter(ShardWriter&& other) noexcept;
  ShardWriter& operator=(ShardWriter&& other) noexcept;

  // The payload is `head` and `body` behind it, neither of which is kept.
  ShardBlock Append(uint32_t kind, std::string_view head, std::string_view body = {});
  void Flush();
  void Sync();
  // Takes back what was appended from byte `end` on, after an error too.
  void CutTo(int64_t end);
  // Writes the index of all blocks and syncs. Nothing may be appended afterwards.
  void Seal();
  // Bytes, with what was not flushed yet.
  int64_t end() const { return written_ + static_cast<int64_t>(gathered_.size()); }
  const std::filesystem::path& path() const { return path_; }

 private:
  ShardWriter(const std::filesystem::path& path, int flags);
  void WriteOut(std::string_view header, std::string_view head, std::string_view body);

  std::filesystem::path path_;
  int descriptor_ = -1;
  int64_t written_ = 0;   // bytes in the file
  std::string gathered_;  // behind them
  bool sync_folder_ = false;
};

// Reads blocks. Thread-safe.
class ShardReader {
 public:
  // Throws Error for a shard of a newer program.
  explicit ShardReader(const std::filesystem::path& path);
  ~ShardReader();
  ShardReader(const ShardReader&) = delete;
  ShardReader& operator=(const ShardReader&) = delete;

  // The payload from its byte `from` on. Reads all of it and checks it and its header against
  // `block` and their CRCs. Throws Error: path, byte, expected and found.
  std::string Read(const ShardBlock& block, int64_t from = 0) const;
  // All blocks, by the index of a sealed shard, which takes two reads whatever its size. Throws
  // Error when it is not sealed.
  std::vector<ShardBlock> ReadIndex() const;
  const std::filesystem::path& path() const { return path_; }

 private:
  std::filesystem::path path_;
  int descriptor_ = -1;
};

class ObjectStore;
// As ShardReader::Read, of a shard that is an object of a store.
std::string ReadShardBlock(const ObjectStore& store, const std::string& object,
                           const ShardBlock& block, int64_t from = 0);

// What is wrong with a stretch of a shard.
struct ShardFault {
  int64_t begin = 0, end = 0;  // bytes
  std::string message;         // one line, with path and byte
};

struct ShardScan {
  std::vector<ShardBlock> blocks;  // whole ones, in order, without the index
  std::vector<ShardFault> faults;  // in order
  // End of the last whole block (and of the seal, of a sealed shard): what lies behind it is torn.
  int64_t whole_end = kShardStart;
  bool sealed = false;
};

// Reads all that lies between two bytes of a shard, `begin` being the start of a block, and checks
// every CRC. `visit` is given each whole block with its payload. Behind a damaged header it goes on
// with the next whole one. `end` of -1 is that of the file. Throws Error when the file cannot be
// read, or its version is newer.
ShardScan ScanShard(
    const std::filesystem::path& path, int64_t begin = kShardStart, int64_t end = -1,
    const std::function<void(const ShardBlock& block, std::string_view payload)>& visit = nullptr);

}  // namespace athanor
