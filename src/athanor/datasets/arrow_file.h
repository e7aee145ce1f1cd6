// Tables in Apache Arrow's IPC file format, which is Feather version 2: columns of numbers,
// booleans and text in one or more record batches, their buffers plain or compressed.
//
// Format: arrow.apache.org/docs/format/Columnar.html (IPC file format, versions V4 and V5).
#pragma once

#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>
#include <vector>

namespace athanor {

enum class ArrowType {
  kInt8,
  kInt16,
  kInt32,
  kInt64,
  kUint8,
  kUint16,
  kUint32,
  kUint64,
  kFloat16,
  kFloat32,
  kFloat64,
  kBool,
  kUtf8,       // offsets of 32 bits
  kLargeUtf8,  // offsets of 64 bits
};
// "int8", "float16", "utf8", ...
std::string_view ArrowTypeName(ArrowType type);
// Bytes of one value as ArrowColumn holds it; 0 of text.
size_t ArrowTypeBytes(ArrowType type);

struct ArrowColumn {
  std::string name;
  ArrowType type = ArrowType::kFloat64;
  std::vector<uint8_t> values;  // [rows] of the type; a boolean is a byte, 0 or 1; text: its bytes
  std::vector<int64_t> ends;    // [rows] of text: where in `values` each one ends
  std::vector<uint8_t> valid;   // [rows] 0 where there is no value; empty: all have one
};

// Columns of one length. Safe to read from several threads.
class ArrowTable {
 public:
  // `source` is the path that messages name.
  explicit ArrowTable(std::string source, int64_t rows) : source_(std::move(source)), rows_(rows) {}

  const std::string& source() const { return source_; }
  int64_t rows() const { return rows_; }
  const std::vector<ArrowColumn>& columns() const { return columns_; }
  bool Has(std::string_view name) const;

  // Each throws Error (source, column, expectation) when there is no such column, it has another
  // type, or a row of it has no value.
  const ArrowColumn& Column(std::string_view name) const;
  // A view of a column of exactly the type T: an integer of 8 to 64 bits, float or double.
  template <typename T>
  std::span<const T> Values(std::string_view name) const {
    const ArrowColumn& column = TypedColumn(name, TypeOf<T>());
    return {reinterpret_cast<const T*>(column.values.data()), static_cast<size_t>(rows_)};
  }
  // A column of any type of number, float16 among them; integers beyond 2^53 are rounded.
  std::vector<double> Reals(std::string_view name) const;
  // As Reals(), and no value may be infinite or NaN.
  std::vector<double> FiniteReals(std::string_view name) const;
  // A column of integers or booleans. A uint64 beyond the range of int64 is an error.
  std::vector<int64_t> Integers(std::string_view name) const;
  // A column of text. The views live as long as the table.
  std::vector<std::string_view> Strings(std::string_view name) const;

  // Adds a column. Throws Error when one has that name, or another number of rows.
  void Add(ArrowColumn column);
  template <typename T>
  void AddNumbers(std::string name, const std::vector<T>& numbers) {
    ArrowColumn column{std::move(name), TypeOf<T>()};
    const auto* bytes = reinterpret_cast<const uint8_t*>(numbers.data());
    column.values.assign(bytes, bytes + numbers.size() * sizeof(T));
    Add(std::move(column));
  }
  void AddStrings(std::string name, const std::vector<std::string>& strings);

 private:
  template <typename T>
  static constexpr ArrowType TypeOf() {
    static_assert(std::is_arithmetic_v<T> && !std::is_same_v<T, bool>);
    if constexpr (std::is_floating_point_v<T>) {
      return sizeof(T) == 4 ? ArrowType::kFloat32 : ArrowType::kFloat64;
    } else {
      const int log2 = sizeof(T) == 1 ? 0 : sizeof(T) == 2 ? 1 : sizeof(T) == 4 ? 2 : 3;
      return static_cast<ArrowType>(log2 + (std::is_signed_v<T> ? 0 : 4));
    }
  }
  const ArrowColumn& TypedColumn(std::string_view name, ArrowType type) const;
  const ArrowColumn& FullColumn(std::string_view name) const;

  std::string source_;
  int64_t rows_ = 0;
  std::vector<ArrowColumn> columns_;
};

// The whole table; `name` is the path that messages name. Throws Error (name, byte or column,
// expectation) for anything else or damaged, for columns of other types, and for a file whose
// columns would take more than `max_bytes` in memory.
ArrowTable ParseArrow(std::string_view bytes, std::string_view name,
                      uint64_t max_bytes = uint64_t{8} << 30);
ArrowTable ReadArrow(const std::filesystem::path& path);

enum class ArrowCompression { kNone, kLz4, kZstd };
// The bytes of a file with batches of `batch_rows` rows (0: one batch).
std::string FormatArrow(const ArrowTable& table,
                        ArrowCompression compression = ArrowCompression::kLz4,
                        int64_t batch_rows = 0);
// Written aside and renamed. Throws Error.
void WriteArrow(const std::filesystem::path& path, const ArrowTable& table,
                ArrowCompression compression = ArrowCompression::kLz4);

}  // namespace athanor
