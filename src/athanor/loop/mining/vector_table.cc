#include "athanor/loop/mining/vector_table.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <bit>
#include <cerrno>
#include <cmath>
#include <cstring>

#include "athanor/base/error.h"
#include "athanor/base/files.h"
#include "athanor/base/hash.h"
#include "athanor/base/parallel.h"
#include "athanor/base/random.h"

namespace athanor {
namespace {

constexpr char kMagic[8] = {'A', 'T', 'H', 'V', 'E', 'C', '0', '1'};
constexpr uint32_t kNoRow = ~0u;
constexpr int64_t kSlotPositions[2] = {2048, 3072};  // in pages' halves that no write tears
constexpr int kMaxNameBytes = 900;
constexpr float kLargestHalf = 65504;

struct FileHeader {
  char magic[8];
  uint32_t dimension;
  uint8_t precision, metric;
  uint16_t model_bytes, level_bytes;
  uint16_t unused;
  uint32_t segment_rows;
  uint64_t hash;  // of the header with 0 here, then the names
};
static_assert(sizeof(FileHeader) == 32);

struct Slot {
  uint64_t sequence, rows, hash;
};

uint64_t HashOf(const Slot& slot) {
  return MixBits(MixBits(slot.sequence + 1) ^ MixBits(slot.rows + 2));
}

uint64_t HashOf(FileHeader header, std::string_view names) {
  header.hash = 0;
  return HashBytes(names, HashBytes({reinterpret_cast<const char*>(&header), sizeof header}));
}

int64_t RoundUp(int64_t bytes, int64_t unit) { return (bytes + unit - 1) / unit * unit; }

uint64_t CheckOf(int64_t id, const void* row, int64_t bytes) {
  return HashBytes({static_cast<const char*>(row), static_cast<size_t>(bytes)},
                   static_cast<uint64_t>(id));
}

[[noreturn]] void FailWithReason(const std::filesystem::path& path, std::string_view what) {
  const int reason = errno;
  throw Error(StrCat(path.string(), ": ", what, ": ", std::strerror(reason)));
}

}  // namespace

std::shared_ptr<VectorTable> VectorTable::Create(const std::filesystem::path& path,
                                                 const VectorTableSpec& spec) {
  ATHANOR_CHECK(spec.dimension >= 1 && spec.dimension <= kMaxVectorDimension, path.string(),
                ": expected a dimension of 1 to ", kMaxVectorDimension, ", found ", spec.dimension);
  ATHANOR_CHECK(spec.model.size() <= kMaxNameBytes && spec.level.size() <= kMaxNameBytes,
                path.string(), ": names of a model and a level have at most ", kMaxNameBytes,
                " bytes");
  std::error_code error;
  ATHANOR_CHECK(!std::filesystem::exists(path, error), path.string(),
                ": expected no file here yet; there is one");
  FileHeader header = {};
  std::memcpy(header.magic, kMagic, sizeof kMagic);
  header.dimension = static_cast<uint32_t>(spec.dimension);
  header.precision = static_cast<uint8_t>(spec.precision);
  header.metric = static_cast<uint8_t>(spec.metric);
  header.model_bytes = static_cast<uint16_t>(spec.model.size());
  header.level_bytes = static_cast<uint16_t>(spec.level.size());
  header.segment_rows = kSegmentRows;
  const std::string names = spec.model + spec.level;
  header.hash = HashOf(header, names);
  std::string page(kHeaderBytes, '\0');
  std::memcpy(page.data(), &header, sizeof header);
  std::memcpy(page.data() + sizeof header, names.data(), names.size());
  Slot slot = {1, 0, 0};
  slot.hash = HashOf(slot);
  std::memcpy(page.data() + kSlotPositions[1], &slot, sizeof slot);
  WriteFile(path, page);
  return Open(path, true);
}

std::shared_ptr<VectorTable> VectorTable::Open(const std::filesystem::path& path, bool writable) {
  return std::shared_ptr<VectorTable>(new VectorTable(path, writable));
}

VectorTable::VectorTable(const std::filesystem::path& path, bool writable)
    : path_(path), writable_(writable) {
  try {
    descriptor_ = ::open(path.c_str(), (writable ? O_RDWR : O_RDONLY) | O_CLOEXEC);
    if (descriptor_ < 0) FailWithReason(path, "cannot open the vectors");
    if (writable && ::flock(descriptor_, LOCK_EX | LOCK_NB) != 0) {
      throw Error(StrCat(path.string(), ": another process is writing to these vectors"));
    }
    ReadHeader();
    reserved_bytes_ = RoundUp(SegmentStart(kMaxRows - 1) + segment_bytes_, 4096);
    void* room = ::mmap(nullptr, reserved_bytes_, PROT_NONE,
                        MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (room == MAP_FAILED) FailWithReason(path, "cannot reserve addresses");
    base_ = static_cast<uint8_t*>(room);
    const int64_t rows = ReadPublished(&sequence_);
    Map(rows);
    int64_t deleted = 0;
    for (int64_t first = 0; first < rows; first += kSegmentRows) {
      for (int64_t byte = 0; byte < kSegmentRows / 8; ++byte) {
        deleted += std::popcount(segment(first)[byte]);
      }
    }
    deleted_ = deleted;
    slots_.assign(std::bit_ceil<uint64_t>(std::max<int64_t>(rows * 10 / 7 + 1, 16)), kNoRow);
    for (int64_t row = 0; row < rows; ++row) {
      if (!is_deleted(row)) Enter(row, writable);
    }
    rows_ = rows;
  } catch (...) {
    if (base_ != nullptr) ::munmap(base_, reserved_bytes_);
    if (descriptor_ >= 0) ::close(descriptor_);
    throw;
  }
}

VectorTable::~VectorTable() {
  ::munmap(base_, reserved_bytes_);
  ::close(descriptor_);
}

void VectorTable::ReadHeader() {
  std::string page(kHeaderBytes, '\0');
  const ssize_t got = ::pread(descriptor_, page.data(), page.size(), 0);
  if (got < 0) FailWithReason(path_, "cannot read the header");
  ATHANOR_CHECK(got == kHeaderBytes, path_.string(), ": expected a header of ", kHeaderBytes,
                " bytes, found ", got);
  FileHeader header;
  std::memcpy(&header, page.data(), sizeof header);
  ATHANOR_CHECK(std::memcmp(header.magic, kMagic, sizeof kMagic) == 0, path_.string(),
                ": byte 0: expected a table of vectors (ATHVEC01), found something else");
  ATHANOR_CHECK(header.model_bytes <= kMaxNameBytes && header.level_bytes <= kMaxNameBytes,
                path_.string(), ": byte 14: the header is damaged");
  const std::string_view names(page.data() + sizeof header,
                               size_t{header.model_bytes} + header.level_bytes);
  ATHANOR_CHECK(header.hash == HashOf(header, names), path_.string(),
                ": byte 24: the header is damaged: its check is wrong");
  ATHANOR_CHECK(header.dimension >= 1 && header.dimension <= kMaxVectorDimension &&
                    header.precision <= 2 && header.metric <= 1 &&
                    header.segment_rows == kSegmentRows,
                path_.string(), ": byte 8: the header says what this version cannot read");
  spec_ = {std::string(names.substr(0, header.model_bytes)),
           std::string(names.substr(header.model_bytes)), static_cast<int>(header.dimension),
           static_cast<VectorPrecision>(header.precision),
           static_cast<VectorMetric>(header.metric)};
  layout_ = {spec_.precision, spec_.dimension};
  row_bytes_ = layout_.row_bytes();
  rows_offset_ = RoundUp(kSegmentRows / 8 + kSegmentRows * sizeof(RowInfo), 4096);
  segment_bytes_ = RoundUp(rows_offset_ + kSegmentRows * row_bytes_, 4096);
}

int64_t VectorTable::ReadPublished(uint64_t* sequence) const {
  Slot best = {};
  for (const int64_t position : kSlotPositions) {
    Slot slot;
    if (::pread(descriptor_, &slot, sizeof slot, position) != sizeof slot) continue;
    if (slot.hash == HashOf(slot) && slot.sequence > best.sequence) best = slot;
  }
  ATHANOR_CHECK(best.sequence > 0, path_.string(), ": byte ", kSlotPositions[0],
                ": both counts of rows are damaged");
  ATHANOR_CHECK(best.rows <= kMaxRows, path_.string(), ": expected at most ", int64_t{kMaxRows},
                " rows, found ", best.rows);
  *sequence = best.sequence;
  return static_cast<int64_t>(best.rows);
}

void VectorTable::Map(int64_t rows) {
  if (rows == 0) return;
  const int64_t bytes = SegmentStart(rows - 1) + segment_bytes_;
  if (bytes <= mapped_bytes_) return;
  struct stat status = {};
  if (::fstat(descriptor_, &status) != 0) FailWithReason(path_, "cannot be examined");
  ATHANOR_CHECK(status.st_size >= bytes, path_.string(), ": expected ", bytes, " bytes for ", rows,
                " rows, found ", status.st_size);
  // New pages only: readers keep using those before.
  void* mapped = ::mmap(base_ + mapped_bytes_, bytes - mapped_bytes_, PROT_READ,
                        MAP_SHARED | MAP_FIXED, descriptor_, mapped_bytes_);
  if (mapped == MAP_FAILED) FailWithReason(path_, "cannot be mapped into memory");
  mapped_bytes_ = bytes;
}

void VectorTable::WriteAt(const void* data, int64_t bytes, int64_t position) {
  const auto* from = static_cast<const char*>(data);
  while (bytes > 0) {
    const ssize_t written = ::pwrite(descriptor_, from, bytes, position);
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) FailWithReason(path_, "cannot write");
    from += written, bytes -= written, position += written;
  }
}

void VectorTable::Flush() {
  if (::fdatasync(descriptor_) != 0) FailWithReason(path_, "cannot flush to the disk");
}

void VectorTable::Publish(int64_t rows) {
  Slot slot = {sequence_ + 1, static_cast<uint64_t>(rows), 0};
  slot.hash = HashOf(slot);
  WriteAt(&slot, sizeof slot, kSlotPositions[slot.sequence % 2]);
  Flush();
  sequence_ = slot.sequence;
}

void VectorTable::MarkDeleted(int64_t row) {
  const int64_t at = row & (kSegmentRows - 1);
  const uint8_t byte = segment(row)[at >> 3] | static_cast<uint8_t>(1u << (at & 7));
  WriteAt(&byte, 1, SegmentStart(row) + (at >> 3));
  ++deleted_;
}

void VectorTable::Enter(int64_t row, bool persist) {
  if (used_slots_ * 10 >= static_cast<int64_t>(slots_.size()) * 7) {
    std::vector<uint32_t> old(slots_.size() * 2, kNoRow);
    old.swap(slots_);
    for (const uint32_t kept : old) {
      if (kept == kNoRow) continue;
      uint64_t at = MixBits(static_cast<uint64_t>(info(kept).id)) & (slots_.size() - 1);
      while (slots_[at] != kNoRow) at = (at + 1) & (slots_.size() - 1);
      slots_[at] = kept;
    }
  }
  const int64_t id = info(row).id;
  uint64_t at = MixBits(static_cast<uint64_t>(id)) & (slots_.size() - 1);
  while (slots_[at] != kNoRow && info(slots_[at]).id != id) at = (at + 1) & (slots_.size() - 1);
  if (slots_[at] == kNoRow) {
    ++used_slots_;
  } else if (!is_deleted(slots_[at])) {
    if (persist) {
      MarkDeleted(slots_[at]);
    } else {
      superseded_.insert(slots_[at]);
      has_superseded_ = true;
      ++deleted_;
    }
  }
  slots_[at] = static_cast<uint32_t>(row);
}

void VectorTable::Read(int64_t row, float* vector) const {
  ATHANOR_CHECK(row >= 0 && row < rows(), path_.string(), ": expected a row below ", rows(),
                ", found ", row);
  DecodeVector(layout_, this->row(row), vector);
}

int64_t VectorTable::Find(int64_t id) const {
  const std::shared_lock lock(mutex_);
  uint64_t at = MixBits(static_cast<uint64_t>(id)) & (slots_.size() - 1);
  for (; slots_[at] != kNoRow; at = (at + 1) & (slots_.size() - 1)) {
    if (info(slots_[at]).id == id) return is_deleted(slots_[at]) ? -1 : int64_t{slots_[at]};
  }
  return -1;
}

int64_t VectorTable::Append(std::span<const int64_t> ids, std::span<const float> vectors) {
  const auto n = static_cast<int64_t>(ids.size());
  const int dimension = spec_.dimension;
  ATHANOR_CHECK(static_cast<int64_t>(vectors.size()) == n * dimension, path_.string(),
                ": expected ", n, " vectors of ", dimension, " components, found ", vectors.size(),
                " numbers");
  const float limit =
      spec_.precision == VectorPrecision::kFloat16 && spec_.metric == VectorMetric::kInnerProduct
          ? kLargestHalf
          : std::numeric_limits<float>::max();
  std::vector<uint8_t> encoded(static_cast<size_t>(n * row_bytes_));
  ParallelFor(n, 1024, [&](int64_t begin, int64_t end) {
    std::vector<float> unit(dimension);
    for (int64_t i = begin; i < end; ++i) {
      const float* v = vectors.data() + i * dimension;
      double square = 0;
      for (int c = 0; c < dimension; ++c) {
        ATHANOR_CHECK(std::abs(v[c]) <= limit, path_.string(), ": vector ", i, " (id ", ids[i],
                      "): component ", c, " is ", v[c], ", expected a number up to ", limit);
        square += double{v[c]} * v[c];
      }
      if (spec_.metric == VectorMetric::kCosine) {
        const double scale = square > 0 ? 1 / std::sqrt(square) : 0;
        for (int c = 0; c < dimension; ++c) unit[c] = static_cast<float>(v[c] * scale);
        v = unit.data();
      }
      EncodeVector(layout_, v, encoded.data() + i * row_bytes_);
    }
  });
  const std::lock_guard writer(writer_);
  const int64_t first = rows();
  AppendEncoded(ids, encoded.data());
  return first;
}

void VectorTable::AppendEncoded(std::span<const int64_t> ids, const uint8_t* encoded) {
  ATHANOR_CHECK(writable_, path_.string(), ": was opened for reading only");
  const auto n = static_cast<int64_t>(ids.size());
  if (n == 0) return;
  const int64_t first = rows(), end = first + n;
  ATHANOR_CHECK(end <= kMaxRows, path_.string(), ": holds at most ", int64_t{kMaxRows}, " rows");
  const int64_t bytes = SegmentStart(end - 1) + segment_bytes_;
  struct stat status = {};
  if (::fstat(descriptor_, &status) != 0) FailWithReason(path_, "cannot be examined");
  if (status.st_size < bytes && ::ftruncate(descriptor_, bytes) != 0) {
    FailWithReason(path_, "cannot grow");
  }
  std::vector<RowInfo> infos(n);
  for (int64_t i = 0; i < n; ++i) {
    infos[i] = {ids[i], CheckOf(ids[i], encoded + i * row_bytes_, row_bytes_)};
  }
  for (int64_t row = first; row < end;) {
    const int64_t at = row % kSegmentRows, i = row - first;
    const int64_t count = std::min(end - row, kSegmentRows - at);
    const int64_t start = SegmentStart(row);
    WriteAt(infos.data() + i, count * static_cast<int64_t>(sizeof(RowInfo)),
            start + kSegmentRows / 8 + at * static_cast<int64_t>(sizeof(RowInfo)));
    WriteAt(encoded + i * row_bytes_, count * row_bytes_, start + rows_offset_ + at * row_bytes_);
    row += count;
  }
  Flush();
  Map(end);
  Publish(end);
  {
    const std::unique_lock lock(mutex_);
    for (int64_t row = first; row < end; ++row) Enter(row, true);
  }
  rows_.store(end, std::memory_order_release);
}

int64_t VectorTable::Remove(std::span<const int64_t> ids) {
  ATHANOR_CHECK(writable_, path_.string(), ": was opened for reading only");
  const std::lock_guard writer(writer_);
  int64_t removed = 0;
  for (const int64_t id : ids) {
    const int64_t row = Find(id);
    if (row < 0) continue;
    MarkDeleted(row);
    ++removed;
  }
  if (removed > 0) Flush();
  return removed;
}

bool VectorTable::Refresh() {
  const std::lock_guard writer(writer_);
  uint64_t sequence = 0;
  const int64_t now = ReadPublished(&sequence), before = rows();
  ATHANOR_CHECK(now >= before, path_.string(), ": had ", before, " rows and has ", now);
  if (sequence == sequence_) return false;
  Map(now);
  sequence_ = sequence;
  {
    const std::unique_lock lock(mutex_);
    for (int64_t row = before; row < now; ++row) {
      if (!is_deleted(row)) Enter(row, writable_);
    }
  }
  rows_.store(now, std::memory_order_release);
  return now > before;
}

void VectorTable::Verify() const {
  ParallelFor(rows(), 4096, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      ATHANOR_CHECK(info(i).check == CheckOf(info(i).id, row(i), row_bytes_), path_.string(),
                    ": row ", i, " (id ", info(i).id, "): its bytes are damaged");
    }
  });
}

void VectorTable::CompactTo(const std::filesystem::path& path) const {
  const auto compact = Create(path, spec_);
  constexpr int64_t kBatch = 16384;
  std::vector<int64_t> ids;
  std::vector<uint8_t> encoded;
  const int64_t all = rows();
  for (int64_t i = 0; i < all; ++i) {
    if (!is_deleted(i)) {
      ids.push_back(id(i));
      const auto* from = static_cast<const uint8_t*>(row(i));
      encoded.insert(encoded.end(), from, from + row_bytes_);
    }
    if (static_cast<int64_t>(ids.size()) == kBatch || i + 1 == all) {
      compact->AppendEncoded(ids, encoded.data());
      ids.clear(), encoded.clear();
    }
  }
}

}  // namespace athanor
