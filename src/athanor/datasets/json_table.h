// Tables of records as JSON: [{"key": value, ...}, ...], of any size. Rows are handed on one by
// one, so that a table of gigabytes takes the memory of one row.
#pragma once

#include <Eigen/Core>
#include <Eigen/Geometry>
#include <cstdint>
#include <functional>
#include <istream>
#include <string>
#include <string_view>
#include <vector>

namespace athanor {

// One record. Fields are asked for by their place in the list of keys that ParseJsonTable was
// given. Every accessor throws Error (file, record, field, what was expected and found).
class JsonRow {
 public:
  bool Has(int key) const { return fields_[key].kind != Kind::kMissing; }
  // Missing, null and "" are all empty.
  const std::string& OptionalText(int key) const;
  const std::string& Text(int key) const;
  double Number(int key) const;
  // A whole number, also as 3.0.
  int64_t Integer(int key) const;
  bool Bool(int key) const;
  // A list of numbers, flat: [[1, 2], [3, 4]] is 1 2 3 4.
  const std::vector<double>& Numbers(int key) const;
  const std::vector<std::string>& Texts(int key) const;
  Eigen::Vector3d Vector(int key) const;
  // w, x, y, z of any length but 0, normalised when it is not 1 within rounding.
  Eigen::Quaterniond Rotation(int key) const;

  // "sample.json: record 12 (TOKEN)", where `key` 0 is the token.
  std::string Where() const;
  [[noreturn]] void Fail(std::string_view message) const;

 private:
  friend class JsonTableHandler;
  enum class Kind { kMissing, kNull, kBool, kNumber, kText, kList, kOther };
  struct Field {
    Kind kind = Kind::kMissing;
    double number = 0;
    int64_t integer = 0;
    bool is_whole = false;
    std::string text;
    std::vector<double> numbers;
    std::vector<std::string> texts;
  };
  [[noreturn]] void FailField(int key, std::string_view expected) const;
  const Field& Expect(int key, Kind kind, std::string_view expected) const;

  std::string table_;
  int64_t index_ = -1;
  std::vector<std::string> keys_;
  std::vector<Field> fields_;
};

// What a fault is reported to. When there is none, the first fault is thrown as Error.
using FaultSink = std::function<void(const std::string& fault)>;

// Calls `add` for every record. An Error that `add` throws goes to `faults` (and the record is left
// out), or on to the caller when there are none. Throws Error (file, line, column) for what is not
// JSON, and when it is no list of records.
void ParseJsonTable(std::istream& stream, const std::string& name,
                    const std::vector<std::string>& keys,
                    const std::function<void(const JsonRow&)>& add, const FaultSink& faults);

}  // namespace athanor
