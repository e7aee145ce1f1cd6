#include "athanor/datasets/arrow_file.h"

#include <Eigen/Core>
#include <algorithm>
#include <cmath>
#include <cstring>

#include "athanor/base/error.h"
#include "athanor/base/files.h"
#include "athanor/datasets/text_lines.h"

namespace athanor {
namespace {

constexpr std::string_view kTypeNames[] = {"int8",    "int16",   "int32",  "int64",     "uint8",
                                           "uint16",  "uint32",  "uint64", "float16",   "float32",
                                           "float64", "boolean", "utf8",   "large_utf8"};
constexpr size_t kTypeBytes[] = {1, 2, 4, 8, 1, 2, 4, 8, 2, 4, 8, 1, 0, 0};

// Calls f with a value of the C++ type that a column of numbers holds.
template <typename F>
void VisitNumber(ArrowType type, F&& f) {
  switch (type) {
    case ArrowType::kInt8:
      return f(int8_t{});
    case ArrowType::kInt16:
      return f(int16_t{});
    case ArrowType::kInt32:
      return f(int32_t{});
    case ArrowType::kInt64:
      return f(int64_t{});
    case ArrowType::kUint8:
    case ArrowType::kBool:
      return f(uint8_t{});
    case ArrowType::kUint16:
      return f(uint16_t{});
    case ArrowType::kUint32:
      return f(uint32_t{});
    case ArrowType::kUint64:
      return f(uint64_t{});
    case ArrowType::kFloat16:
      return f(Eigen::half{});
    case ArrowType::kFloat32:
      return f(float{});
    default:
      return f(double{});
  }
}

bool IsText(ArrowType type) { return type == ArrowType::kUtf8 || type == ArrowType::kLargeUtf8; }
bool IsReal(ArrowType type) {
  return type == ArrowType::kFloat16 || type == ArrowType::kFloat32 || type == ArrowType::kFloat64;
}

// The column's numbers as R; `check` throws for one that does not fit.
template <typename R, typename Check>
std::vector<R> Converted(const ArrowColumn& column, int64_t rows, const Check& check) {
  std::vector<R> converted(static_cast<size_t>(rows));
  VisitNumber(column.type, [&](auto zero) {
    using T = decltype(zero);
    const T* values = reinterpret_cast<const T*>(column.values.data());
    for (size_t i = 0; i < converted.size(); ++i) {
      check(i, values[i]);
      converted[i] = static_cast<R>(values[i]);
    }
  });
  return converted;
}

}  // namespace

std::string_view ArrowTypeName(ArrowType type) { return kTypeNames[static_cast<int>(type)]; }
size_t ArrowTypeBytes(ArrowType type) { return kTypeBytes[static_cast<int>(type)]; }

bool ArrowTable::Has(std::string_view name) const {
  return std::any_of(columns_.begin(), columns_.end(),
                     [&](const ArrowColumn& column) { return column.name == name; });
}

const ArrowColumn& ArrowTable::Column(std::string_view name) const {
  for (const ArrowColumn& column : columns_) {
    if (column.name == name) return column;
  }
  std::string names;
  for (const ArrowColumn& column : columns_) {
    if (names.size() > 200) {
      names += ", ...";
      break;
    }
    names += (names.empty() ? "" : ", ") + Quoted(column.name);
  }
  throw Error(StrCat(source_, ": expected a column ", Quoted(name), ", found ",
                     names.empty() ? "none" : names));
}

const ArrowColumn& ArrowTable::FullColumn(std::string_view name) const {
  const ArrowColumn& column = Column(name);
  const auto missing = std::find(column.valid.begin(), column.valid.end(), 0);
  ATHANOR_CHECK(missing == column.valid.end(), source_, ": column ", Quoted(name), ": row ",
                missing - column.valid.begin(), ": expected a value, found none");
  return column;
}

const ArrowColumn& ArrowTable::TypedColumn(std::string_view name, ArrowType type) const {
  const ArrowColumn& column = FullColumn(name);
  ATHANOR_CHECK(column.type == type, source_, ": column ", Quoted(name), ": expected type ",
                ArrowTypeName(type), ", found ", ArrowTypeName(column.type));
  return column;
}

std::vector<double> ArrowTable::Reals(std::string_view name) const {
  const ArrowColumn& column = FullColumn(name);
  ATHANOR_CHECK(!IsText(column.type) && column.type != ArrowType::kBool, source_, ": column ",
                Quoted(name), ": expected numbers, found ", ArrowTypeName(column.type));
  return Converted<double>(column, rows_, [](size_t, auto) {});
}

std::vector<double> ArrowTable::FiniteReals(std::string_view name) const {
  std::vector<double> reals = Reals(name);
  for (size_t i = 0; i < reals.size(); ++i) {
    ATHANOR_CHECK(std::isfinite(reals[i]), source_, ": column ", Quoted(name), ": row ", i,
                  ": expected a finite number, found ", reals[i]);
  }
  return reals;
}

std::vector<int64_t> ArrowTable::Integers(std::string_view name) const {
  const ArrowColumn& column = FullColumn(name);
  ATHANOR_CHECK(!IsText(column.type) && !IsReal(column.type), source_, ": column ", Quoted(name),
                ": expected integers, found ", ArrowTypeName(column.type));
  return Converted<int64_t>(column, rows_, [&](size_t i, auto value) {
    if constexpr (std::is_same_v<decltype(value), uint64_t>) {
      ATHANOR_CHECK(value <= static_cast<uint64_t>(INT64_MAX), source_, ": column ", Quoted(name),
                    ": row ", i, ": expected a number within the range of int64, found ", value);
    }
  });
}

std::vector<std::string_view> ArrowTable::Strings(std::string_view name) const {
  const ArrowColumn& column = FullColumn(name);
  ATHANOR_CHECK(IsText(column.type), source_, ": column ", Quoted(name), ": expected text, found ",
                ArrowTypeName(column.type));
  std::vector<std::string_view> strings(column.ends.size());
  int64_t begin = 0;
  for (size_t i = 0; i < strings.size(); ++i) {
    strings[i] = {reinterpret_cast<const char*>(column.values.data()) + begin,
                  static_cast<size_t>(column.ends[i] - begin)};
    begin = column.ends[i];
  }
  return strings;
}

void ArrowTable::Add(ArrowColumn column) {
  ATHANOR_CHECK(!Has(column.name), source_, ": two columns are named ", Quoted(column.name));
  const auto rows = static_cast<size_t>(rows_);
  const bool is_text = IsText(column.type);
  const size_t found =
      is_text ? column.ends.size() : column.values.size() / ArrowTypeBytes(column.type);
  ATHANOR_CHECK(found == rows && (column.valid.empty() || column.valid.size() == rows), source_,
                ": column ", Quoted(column.name), ": expected ", rows, " rows, found ", found);
  columns_.push_back(std::move(column));
}

void ArrowTable::AddStrings(std::string name, const std::vector<std::string>& strings) {
  ArrowColumn column{std::move(name), ArrowType::kUtf8};
  for (const std::string& text : strings) {
    column.values.insert(column.values.end(), text.begin(), text.end());
    column.ends.push_back(static_cast<int64_t>(column.values.size()));
  }
  Add(std::move(column));
}

ArrowTable ReadArrow(const std::filesystem::path& path) {
  return ParseArrow(ReadFile(path), path.string());
}

void WriteArrow(const std::filesystem::path& path, const ArrowTable& table,
                ArrowCompression compression) {
  WriteFile(path, FormatArrow(table, compression));
}

}  // namespace athanor
