// The vectors of one model version at one level (frames, objects) in one file, mapped into memory:
// nothing is read at opening but ids, and what is not asked for stays on disk.
//
// File: a page of header, then segments of 16,384 rows: a bitmap of deleted rows, (id, check) of
// each row, the rows. Rows are only ever appended. An append writes its rows, flushes them, and
// then publishes the new count in one of two slots of the header, which it flushes too: after a
// kill or a loss of power the table holds whole appends and nothing else. Little-endian.
//
// Bytes per row (see kernels/vector_distance.h): 16 for id and check, and at 256-d 1024 as f32, 512
// as f16, 260 as i8; 1/8 for the bitmap. In memory beside the mapping: 6 to 12 for finding ids.
// 10 M x 256-d as f16: 5.3 GB; the graph of vector_index.h adds 2.1 GB.
#pragma once

#include <atomic>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <mutex>
#include <shared_mutex>
#include <span>
#include <string>
#include <unordered_set>
#include <vector>

#include "athanor/kernels/vector_distance.h"

namespace athanor {

// Cosine tables hold vectors scaled to length 1 (a zero vector stays zero: like nothing).
enum class VectorMetric : uint8_t { kCosine = 0, kInnerProduct = 1 };

struct VectorTableSpec {
  std::string model;  // the model's version, "detector-3f2a": vectors of others do not compare
  std::string level;  // "frame", "object"
  int dimension = 0;  // 1 .. kMaxVectorDimension
  VectorPrecision precision = VectorPrecision::kFloat16;
  VectorMetric metric = VectorMetric::kCosine;
};

// One writing process at a time, others may read; within a process one thread may append or remove
// while others read. Everything throws Error with the file's path.
class VectorTable {
 public:
  static constexpr int64_t kMaxRows = int64_t{1} << 28;

  // A new, empty table. Refuses a path where something is.
  static std::shared_ptr<VectorTable> Create(const std::filesystem::path& path,
                                             const VectorTableSpec& spec);
  // Checks the header and that the file is as long as it says. `writable` takes the file's lock,
  // and throws when another process holds it.
  static std::shared_ptr<VectorTable> Open(const std::filesystem::path& path,
                                           bool writable = false);
  ~VectorTable();
  VectorTable(const VectorTable&) = delete;
  VectorTable& operator=(const VectorTable&) = delete;

  const std::filesystem::path& path() const { return path_; }
  const VectorTableSpec& spec() const { return spec_; }
  const VectorLayout& layout() const { return layout_; }

  // Rows 0 .. rows() - 1; a deleted one keeps its place. A row belongs to one id for ever.
  int64_t rows() const { return rows_.load(std::memory_order_acquire); }
  int64_t live_rows() const { return rows() - deleted_.load(std::memory_order_relaxed); }
  int64_t id(int64_t row) const { return info(row).id; }
  const void* row(int64_t row) const {
    return segment(row) + rows_offset_ + (row & (kSegmentRows - 1)) * row_bytes_;
  }
  bool is_deleted(int64_t row) const {
    const int64_t at = row & (kSegmentRows - 1);
    return ((segment(row)[at >> 3] >> (at & 7)) & 1) != 0 ||
           (has_superseded_ && superseded_.contains(row));
  }
  // [dimension], as it is stored: rounded, and of length 1 in a cosine table.
  void Read(int64_t row, float* vector) const;
  // The live row of an id, or -1.
  int64_t Find(int64_t id) const;

  // Appends ids [N] with vectors [N,dimension] and returns the first row. An id that is there
  // already is replaced: its old row is deleted. Refuses NaN and infinite components, and what f16
  // cannot hold, before anything is written. Durable when it returns.
  int64_t Append(std::span<const int64_t> ids, std::span<const float> vectors);
  // Deletes; how many of the ids were there. Durable when it returns.
  int64_t Remove(std::span<const int64_t> ids);
  // Sees what another process has appended since; no thread may read meanwhile. False: nothing.
  bool Refresh();

  // Reads all rows and throws for the first whose bytes are not those that were appended.
  void Verify() const;
  // Writes the live rows to a new table, bit for bit.
  void CompactTo(const std::filesystem::path& path) const;

 private:
  static constexpr int64_t kSegmentRows = 16384;

  struct RowInfo {
    int64_t id;
    uint64_t check;  // of the row's bytes
  };

  VectorTable(const std::filesystem::path& path, bool writable);
  const uint8_t* segment(int64_t row) const {
    return base_ + kHeaderBytes + row / kSegmentRows * segment_bytes_;
  }
  const RowInfo& info(int64_t row) const {
    return reinterpret_cast<const RowInfo*>(segment(row) +
                                            kSegmentRows / 8)[row & (kSegmentRows - 1)];
  }
  int64_t SegmentStart(int64_t row) const {
    return kHeaderBytes + row / kSegmentRows * segment_bytes_;
  }
  void ReadHeader();
  int64_t ReadPublished(uint64_t* sequence) const;
  void Map(int64_t rows);
  void Publish(int64_t rows);
  void AppendEncoded(std::span<const int64_t> ids, const uint8_t* encoded);
  void WriteAt(const void* data, int64_t bytes, int64_t position);
  void Flush();
  // Under mutex_: makes `row` the row of its id and deletes the one before.
  void Enter(int64_t row, bool persist);
  void MarkDeleted(int64_t row);

  static constexpr int64_t kHeaderBytes = 4096;

  std::filesystem::path path_;
  bool writable_;
  int descriptor_ = -1;
  VectorTableSpec spec_;
  VectorLayout layout_;
  int64_t row_bytes_ = 0, rows_offset_ = 0, segment_bytes_ = 0;
  uint8_t* base_ = nullptr;  // room for kMaxRows, of which mapped_bytes_ are the file
  int64_t reserved_bytes_ = 0, mapped_bytes_ = 0;
  uint64_t sequence_ = 0;
  std::atomic<int64_t> rows_ = 0, deleted_ = 0;
  // An append that was killed between publishing and deleting what it replaced, seen by a reader.
  bool has_superseded_ = false;
  std::unordered_set<int64_t> superseded_;

  std::mutex writer_;
  mutable std::shared_mutex mutex_;  // of slots_
  std::vector<uint32_t> slots_;      // open addressing by id; row, or kNoRow
  int64_t used_slots_ = 0;
};

}  // namespace athanor
