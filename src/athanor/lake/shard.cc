#include "athanor/lake/shard.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <optional>
#include <utility>

#include "athanor/base/error.h"
#include "athanor/base/files.h"
#include "athanor/lake/crc32c.h"
#include "athanor/lake/object_store.h"

namespace athanor {
namespace {

namespace fs = std::filesystem;

constexpr std::string_view kFileMagic = "ATHSHARD", kSealMagic = "ATHSEAL1", kBlockMagic = "ATHB";
constexpr uint32_t kVersion = 1;
constexpr int64_t kTrailerBytes = 20, kIndexEntryBytes = 20;
constexpr size_t kGather = 1 << 20;       // bytes written at once
constexpr size_t kSmallBlock = 64 << 10;  // below that, copying is cheaper than a call

[[noreturn]] void FailWithReason(const fs::path& path, int64_t byte, std::string_view what) {
  const int reason = errno;
  throw Error(StrCat(path.string(), ": byte ", byte, ": ", what, ": ", std::strerror(reason)));
}

template <typename T>
void Put(std::string* bytes, T value) {
  bytes->append(reinterpret_cast<const char*>(&value), sizeof value);
}

std::string Hex(uint32_t value) {
  char text[12];
  std::snprintf(text, sizeof text, "%08x", value);
  return text;
}

std::string FileHeader() {
  std::string bytes(kFileMagic);
  Put(&bytes, kVersion);
  Put(&bytes, Crc32c(bytes));
  return bytes;
}

// Of the 20 bytes before it and of where the block stands.
uint32_t HeaderCrc(std::string_view first20, int64_t offset) {
  return Crc32c(first20, Crc32c({reinterpret_cast<const char*>(&offset), sizeof offset}));
}

struct Header {
  uint32_t kind = 0;
  uint64_t length = 0;
  uint32_t payload_crc = 0;
};

std::string FormatHeader(const Header& header, int64_t offset) {
  std::string bytes(kBlockMagic);
  Put(&bytes, header.kind);
  Put(&bytes, header.length);
  Put(&bytes, header.payload_crc);
  Put(&bytes, HeaderCrc(bytes, offset));
  return bytes;
}

// None when it is no header of a block at that place.
std::optional<Header> ParseHeader(std::string_view bytes, int64_t offset) {
  ByteReader reader(bytes, "");
  if (reader.Take(4, "") != kBlockMagic) return std::nullopt;
  Header header;
  header.kind = reader.Read<uint32_t>("");
  header.length = reader.Read<uint64_t>("");
  header.payload_crc = reader.Read<uint32_t>("");
  if (reader.Read<uint32_t>("") != HeaderCrc(bytes.substr(0, 20), offset)) return std::nullopt;
  return header;
}

// Fills `bytes` from the file; what lies behind its end is missing from the result.
size_t ReadAt(int descriptor, const fs::path& path, int64_t offset, char* bytes, size_t size) {
  size_t done = 0;
  while (done < size) {
    const ssize_t got =
        ::pread(descriptor, bytes + done, size - done, offset + static_cast<int64_t>(done));
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) FailWithReason(path, offset, "cannot read");
    if (got == 0) break;
    done += static_cast<size_t>(got);
  }
  return done;
}

int64_t SizeOf(int descriptor, const fs::path& path) {
  struct stat status = {};
  if (::fstat(descriptor, &status) != 0) FailWithReason(path, 0, "cannot read its size");
  return status.st_size;
}

// Empty when the file begins as a shard of this version does; else what is wrong.
std::string CheckFileHeader(int descriptor, const fs::path& path) {
  std::string bytes(kShardStart, '\0');
  bytes.resize(ReadAt(descriptor, path, 0, bytes.data(), bytes.size()));
  if (bytes == FileHeader()) return "";
  const bool whole = bytes.size() == static_cast<size_t>(kShardStart) &&
                     std::string_view(bytes).substr(0, kFileMagic.size()) == kFileMagic;
  if (whole) {
    ByteReader reader(bytes, "");
    reader.Take(kFileMagic.size(), "");
    const auto version = reader.Read<uint32_t>("");
    if (reader.Read<uint32_t>("") == Crc32c(std::string_view(bytes).substr(0, 12))) {
      throw Error(StrCat(path.string(), ": expected a shard of version ", kVersion, ", found ",
                         version, ": a newer program wrote it"));
    }
  }
  return StrCat(path.string(), ": byte 0: expected the first ", kShardStart,
                " bytes of a shard, found others");
}

class OpenFile {
 public:
  explicit OpenFile(const fs::path& path) : descriptor(::open(path.c_str(), O_RDONLY | O_CLOEXEC)) {
    if (descriptor < 0) FailWithReason(path, 0, "cannot open the shard");
  }
  ~OpenFile() { ::close(descriptor); }
  OpenFile(const OpenFile&) = delete;
  OpenFile& operator=(const OpenFile&) = delete;
  const int descriptor;
};

// Blocks by an index's payload; none when it cannot be one.
std::optional<std::vector<ShardBlock>> ParseIndex(std::string_view payload) {
  if (payload.size() % kIndexEntryBytes != 0) return std::nullopt;
  std::vector<ShardBlock> blocks(payload.size() / kIndexEntryBytes);
  ByteReader reader(payload, "");
  for (ShardBlock& block : blocks) {
    block.offset = reader.Read<int64_t>("");
    block.length = reader.Read<int64_t>("");
    block.kind = reader.Read<uint32_t>("");
  }
  return blocks;
}

std::string FormatTrailer(int64_t index_offset) {
  std::string bytes;
  Put(&bytes, index_offset);
  bytes += kSealMagic;
  Put(&bytes, Crc32c(bytes));
  return bytes;
}

// One pass over a stretch of a shard.
class Scanner {
 public:
  Scanner(const fs::path& path, int descriptor) : path_(path), descriptor_(descriptor) {}

  ShardScan Scan(int64_t begin, int64_t end,
                 const std::function<void(const ShardBlock&, std::string_view)>& visit) {
    scan_.whole_end = begin;
    for (int64_t at = begin; at < end;) {
      if (IsTrailer(at, end)) {  // behind an index that is damaged
        scan_.sealed = true;
        scan_.whole_end = end;
        break;
      }
      const auto header = HeaderAt(at, end);
      if (!header) {
        const int64_t next = FindHeader(at + 1, end);
        AddFault(at, next,
                 next < end || end - at >= kShardHeaderBytes
                     ? StrCat("expected the header of a block, found other bytes")
                     : StrCat("cut off inside the header of a block"));
        at = next;
        continue;
      }
      const int64_t room = end - at - kShardHeaderBytes;
      if (header->length > static_cast<uint64_t>(room)) {
        AddFault(at, end,
                 StrCat("cut off: expected a block of ", header->length, " bytes, found ", room));
        break;
      }
      const ShardBlock block{at, static_cast<int64_t>(header->length), header->kind};
      payload_.resize(header->length);
      const size_t got =
          ReadAt(descriptor_, path_, at + kShardHeaderBytes, payload_.data(), payload_.size());
      if (const uint32_t crc = Crc32c(std::string_view(payload_).substr(0, got));
          crc != header->payload_crc || got != payload_.size()) {
        AddFault(at, block.end(),
                 StrCat("block of ", header->length, " bytes: expected CRC32C ",
                        Hex(header->payload_crc), ", found ", Hex(crc)));
      } else if (block.kind == kShardIndex) {
        TakeIndex(block, end);
        break;
      } else {
        scan_.blocks.push_back(block);
        scan_.whole_end = block.end();
        if (visit) visit(block, payload_);
      }
      at = block.end();
    }
    return std::move(scan_);
  }

 private:
  void AddFault(int64_t begin, int64_t end, const std::string& what) {
    scan_.faults.push_back({begin, end, StrCat(path_.string(), ": byte ", begin, ": ", what)});
  }

  std::optional<Header> HeaderAt(int64_t at, int64_t end) const {
    char bytes[kShardHeaderBytes];
    if (end - at < kShardHeaderBytes ||
        ReadAt(descriptor_, path_, at, bytes, sizeof bytes) != sizeof bytes) {
      return std::nullopt;
    }
    return ParseHeader({bytes, sizeof bytes}, at);
  }

  // The first header at `at` or behind it; `end` when there is none.
  int64_t FindHeader(int64_t at, int64_t end) const {
    constexpr int64_t kPiece = 1 << 20;
    std::string piece;
    while (end - at >= kShardHeaderBytes) {
      piece.resize(static_cast<size_t>(std::min(kPiece, end - at)));
      piece.resize(ReadAt(descriptor_, path_, at, piece.data(), piece.size()));
      if (piece.size() < static_cast<size_t>(kShardHeaderBytes)) break;
      for (size_t i = piece.find(kBlockMagic);
           i != std::string::npos && i + kShardHeaderBytes <= piece.size();
           i = piece.find(kBlockMagic, i + 1)) {
        const auto bytes = std::string_view(piece).substr(i, kShardHeaderBytes);
        if (ParseHeader(bytes, at + static_cast<int64_t>(i))) return at + static_cast<int64_t>(i);
      }
      at += static_cast<int64_t>(piece.size()) - kShardHeaderBytes + 1;
    }
    return end;
  }

  bool IsTrailer(int64_t at, int64_t end) const {
    char bytes[kTrailerBytes];
    if (end - at != kTrailerBytes ||
        ReadAt(descriptor_, path_, at, bytes, sizeof bytes) != sizeof bytes) {
      return false;
    }
    const std::string_view trailer(bytes, sizeof bytes);
    return trailer == FormatTrailer(ByteReader(trailer, "").Read<int64_t>(""));
  }

  // The index is the last block, and only the trailer behind it makes it count.
  void TakeIndex(const ShardBlock& block, int64_t end) {
    std::string trailer(kTrailerBytes, '\0');
    trailer.resize(ReadAt(descriptor_, path_, block.end(), trailer.data(), trailer.size()));
    if (block.end() + kTrailerBytes == end && trailer == FormatTrailer(block.offset)) {
      // Behind damage, or from the middle on, the index knows more than this pass has seen.
      const auto listed = ParseIndex(payload_);
      const bool complete = scan_.faults.empty();
      if (!listed || (complete && !EndsWithBlocks(*listed))) {
        AddFault(block.offset, block.end(), "the index does not list the blocks that are there");
      }
      scan_.sealed = true;
      scan_.whole_end = end;
    } else if (end - block.end() < kTrailerBytes) {
      AddFault(block.offset, end, "cut off inside the seal");
    } else {
      AddFault(block.end(), end, "expected the seal of a shard, found other bytes");
    }
  }

  bool EndsWithBlocks(const std::vector<ShardBlock>& listed) const {
    return listed.size() >= scan_.blocks.size() &&
           std::equal(scan_.blocks.rbegin(), scan_.blocks.rend(), listed.rbegin());
  }

  const fs::path& path_;
  const int descriptor_;
  std::string payload_;
  ShardScan scan_;
};

// Throws Error unless `head`, the header and what of the payload was read with it, and the rest of
// the payload are whole, and those of `block`.
void CheckBlock(std::string_view head, std::string_view payload, const ShardBlock& block,
                const std::string& where) {
  const auto header = ParseHeader(head.substr(0, kShardHeaderBytes), block.offset);
  ATHANOR_CHECK(
      header && header->length == static_cast<uint64_t>(block.length) && header->kind == block.kind,
      where, ": byte ", block.offset, ": expected the header of a block of ", block.length,
      " bytes, found other bytes");
  const uint32_t crc = Crc32c(payload, Crc32c(head.substr(kShardHeaderBytes)));
  ATHANOR_CHECK(crc == header->payload_crc, where, ": byte ", block.offset, ": block of ",
                block.length, " bytes: expected CRC32C ", Hex(header->payload_crc), ", found ",
                Hex(crc));
}

}  // namespace

ShardWriter::ShardWriter(const fs::path& path, int flags)
    : path_(path), descriptor_(::open(path.c_str(), flags | O_RDWR | O_CLOEXEC, 0666)) {
  if (descriptor_ < 0) FailWithReason(path, 0, "cannot open the shard for writing");
}

ShardWriter ShardWriter::Create(const fs::path& path) {
  ShardWriter writer(path, O_CREAT | O_EXCL);
  writer.gathered_ = FileHeader();
  writer.sync_folder_ = true;
  return writer;
}

ShardWriter ShardWriter::Continue(const fs::path& path, int64_t end) {
  ShardWriter writer(path, 0);
  const std::string fault = CheckFileHeader(writer.descriptor_, path);
  ATHANOR_CHECK(fault.empty(), fault);
  const int64_t size = SizeOf(writer.descriptor_, path);
  ATHANOR_CHECK(end >= kShardStart && end <= size, path.string(), ": byte ", size,
                ": cut off: expected at least ", end, " bytes");
  writer.CutTo(end);
  return writer;
}

ShardWriter::~ShardWriter() {
  if (descriptor_ >= 0) ::close(descriptor_);
}

ShardWriter::ShardWriter(ShardWriter&& other) noexcept
    : path_(std::move(other.path_)),
      descriptor_(std::exchange(other.descriptor_, -1)),
      written_(other.written_),
      gathered_(std::move(other.gathered_)),
      sync_folder_(other.sync_folder_) {}

ShardWriter& ShardWriter::operator=(ShardWriter&& other) noexcept {
  std::swap(path_, other.path_);
  std::swap(descriptor_, other.descriptor_);
  std::swap(written_, other.written_);
  std::swap(gathered_, other.gathered_);
  std::swap(sync_folder_, other.sync_folder_);
  return *this;
}

ShardBlock ShardWriter::Append(uint32_t kind, std::string_view head, std::string_view body) {
  const ShardBlock block{end(), static_cast<int64_t>(head.size() + body.size()), kind};
  const std::string header = FormatHeader(
      {kind, static_cast<uint64_t>(block.length), Crc32c(body, Crc32c(head))}, block.offset);
  if (head.size() + body.size() >= kSmallBlock) {
    WriteOut(header, head, body);
  } else {
    gathered_ += header;
    gathered_ += head;
    gathered_ += body;
    if (gathered_.size() >= kGather) Flush();
  }
  return block;
}

void ShardWriter::Flush() {
  if (!gathered_.empty()) WriteOut({}, {}, {});
}

void ShardWriter::WriteOut(std::string_view header, std::string_view head, std::string_view body) {
  std::string_view pieces[] = {gathered_, header, head, body};
  size_t first = 0;
  int64_t at = written_;
  while (true) {
    while (first < std::size(pieces) && pieces[first].empty()) ++first;
    if (first == std::size(pieces)) break;
    iovec vectors[std::size(pieces)];
    int count = 0;
    for (size_t i = first; i < std::size(pieces); ++i) {
      vectors[count++] = {const_cast<char*>(pieces[i].data()), pieces[i].size()};
    }
    const ssize_t got = ::pwritev(descriptor_, vectors, count, at);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) FailWithReason(path_, at, "cannot write");
    at += got;
    for (auto left = static_cast<size_t>(got); left > 0; ++first) {
      const size_t taken = std::min(left, pieces[first].size());
      pieces[first].remove_prefix(taken);
      left -= taken;
      if (!pieces[first].empty()) break;
    }
  }
  written_ = at;
  gathered_.clear();
}

void ShardWriter::Sync() {
  Flush();
  if (::fdatasync(descriptor_) != 0) FailWithReason(path_, written_, "cannot flush to the disk");
  if (sync_folder_) {
    // A new file's name is safe only once its folder is.
    const OpenFile folder(path_.parent_path());
    if (::fsync(folder.descriptor) != 0) {
      FailWithReason(path_.parent_path(), 0, "cannot flush to the disk");
    }
    sync_folder_ = false;
  }
}

void ShardWriter::CutTo(int64_t end) {
  gathered_.clear();
  if (::ftruncate(descriptor_, end) != 0) FailWithReason(path_, end, "cannot cut off what follows");
  written_ = end;
}

void ShardWriter::Seal() {
  Flush();
  std::string index;
  for (int64_t at = kShardStart; at < written_;) {
    char bytes[kShardHeaderBytes] = {};
    ReadAt(descriptor_, path_, at, bytes, sizeof bytes);
    const auto header = ParseHeader({bytes, sizeof bytes}, at);
    ATHANOR_CHECK(header && header->length <= static_cast<uint64_t>(written_ - at), path_.string(),
                  ": byte ", at, ": expected the header of a block, found other bytes");
    const ShardBlock block{at, static_cast<int64_t>(header->length), header->kind};
    Put(&index, block.offset);
    Put(&index, block.length);
    Put(&index, block.kind);
    at = block.end();
  }
  const ShardBlock block = Append(kShardIndex, index);
  gathered_ += FormatTrailer(block.offset);
  Sync();
}

ShardReader::ShardReader(const fs::path& path)
    : path_(path), descriptor_(::open(path.c_str(), O_RDONLY | O_CLOEXEC)) {
  if (descriptor_ < 0) FailWithReason(path, 0, "cannot open the shard");
  try {
    CheckFileHeader(descriptor_, path);  // damage there does not keep whole blocks from being read
  } catch (...) {
    ::close(descriptor_);
    throw;
  }
}

ShardReader::~ShardReader() { ::close(descriptor_); }

std::string ShardReader::Read(const ShardBlock& block, int64_t from) const {
  const int64_t size = SizeOf(descriptor_, path_);
  ATHANOR_CHECK(block.offset >= kShardStart && block.length >= 0 && from >= 0 &&
                    from <= block.length && block.offset <= size &&
                    block.length <= size - block.offset - kShardHeaderBytes,
                path_.string(), ": byte ", block.offset, ": expected a block of ", block.length,
                " bytes, but the file ends at byte ", size);
  // Header and the first bytes in one read, the rest where the caller wants it.
  std::string head(static_cast<size_t>(kShardHeaderBytes + from), '\0');
  std::string payload(static_cast<size_t>(block.length - from), '\0');
  iovec vectors[] = {{head.data(), head.size()}, {payload.data(), payload.size()}};
  ssize_t got = 0;
  do {
    got = ::preadv(descriptor_, vectors, 2, block.offset);
  } while (got < 0 && errno == EINTR);
  if (got < 0) FailWithReason(path_, block.offset, "cannot read");
  const auto done = static_cast<size_t>(got);
  if (done < head.size()) {
    ReadAt(descriptor_, path_, block.offset + got, head.data() + done, head.size() - done);
  }
  const size_t in_payload = done > head.size() ? done - head.size() : 0;
  if (in_payload < payload.size()) {
    ReadAt(descriptor_, path_, block.offset + static_cast<int64_t>(head.size() + in_payload),
           payload.data() + in_payload, payload.size() - in_payload);
  }
  CheckBlock(head, payload, block, path_.string());
  return payload;
}

std::string ReadShardBlock(const ObjectStore& store, const std::string& object,
                           const ShardBlock& block, int64_t from) {
  std::string bytes = store.Read(object, block.offset, kShardHeaderBytes + block.length);
  CheckBlock(std::string_view(bytes).substr(0, kShardHeaderBytes),
             std::string_view(bytes).substr(kShardHeaderBytes), block, object);
  bytes.erase(0, static_cast<size_t>(kShardHeaderBytes + from));
  return bytes;
}

std::vector<ShardBlock> ShardReader::ReadIndex() const {
  const int64_t size = SizeOf(descriptor_, path_);
  std::string trailer(kTrailerBytes, '\0');
  int64_t offset = 0;
  if (size >= kShardStart + kShardHeaderBytes + kTrailerBytes) {
    ReadAt(descriptor_, path_, size - kTrailerBytes, trailer.data(), trailer.size());
    offset = ByteReader(trailer, "").Read<int64_t>("");
  }
  ATHANOR_CHECK(offset >= kShardStart && offset <= size - kShardHeaderBytes - kTrailerBytes &&
                    trailer == FormatTrailer(offset),
                path_.string(), ": byte ", std::max<int64_t>(0, size - kTrailerBytes),
                ": expected the seal of a shard, found other bytes");
  const ShardBlock block{offset, size - kTrailerBytes - kShardHeaderBytes - offset, kShardIndex};
  auto blocks = ParseIndex(Read(block));
  ATHANOR_CHECK(blocks.has_value(), path_.string(), ": byte ", offset,
                ": expected the index of a shard, found other bytes");
  return std::move(*blocks);
}

ShardScan ScanShard(const fs::path& path, int64_t begin, int64_t end,
                    const std::function<void(const ShardBlock&, std::string_view)>& visit) {
  const OpenFile file(path);
  const int64_t size = SizeOf(file.descriptor, path);
  const std::string fault = CheckFileHeader(file.descriptor, path);
  ShardScan scan = Scanner(path, file.descriptor)
                       .Scan(std::min(begin, size), end < 0 ? size : std::min(end, size), visit);
  if (!fault.empty()) {
    scan.faults.insert(scan.faults.begin(), {0, std::min(kShardStart, size), fault});
  }
  if (end > size && !scan.faults.empty() && scan.faults.back().end == size) {
    scan.faults.back().end = end;  // one line for one loss
  } else if (end > size) {
    scan.faults.push_back(
        {size, end, StrCat(path.string(), ": byte ", size, ": cut off: expected ", end, " bytes")});
  }
  return scan;
}

}  // namespace athanor
