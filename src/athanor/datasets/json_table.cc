#include "athanor/datasets/json_table.h"

#include <cmath>
#include <nlohmann/json.hpp>

#include "athanor/base/error.h"
#include "athanor/datasets/text_lines.h"

namespace athanor {

void JsonRow::Fail(std::string_view message) const { throw Error(StrCat(Where(), ": ", message)); }

std::string JsonRow::Where() const {
  const bool named = !fields_.empty() && fields_[0].kind == Kind::kText;
  return StrCat(table_, ": record ", index_,
                named ? StrCat(" (", Quoted(fields_[0].text), ")") : "");
}

void JsonRow::FailField(int key, std::string_view expected) const {
  const Field& field = fields_[key];
  const auto found = [&]() -> std::string {
    switch (field.kind) {
      case Kind::kMissing:
        return "nothing";
      case Kind::kNull:
        return "null";
      case Kind::kBool:
        return field.integer != 0 ? "true" : "false";
      case Kind::kNumber:
        return StrCat(field.number);
      case Kind::kText:
        return Quoted(field.text);
      case Kind::kList:
        return StrCat("a list of ", field.numbers.size(), " numbers and ", field.texts.size(),
                      " texts");
      default:
        return "something else";
    }
  };
  Fail(StrCat(keys_[key], ": expected ", expected, ", found ", found()));
}

const JsonRow::Field& JsonRow::Expect(int key, Kind kind, std::string_view expected) const {
  if (fields_[key].kind != kind) FailField(key, expected);
  return fields_[key];
}

const std::string& JsonRow::OptionalText(int key) const {
  static const std::string kEmpty;
  const Kind kind = fields_[key].kind;
  if (kind == Kind::kMissing || kind == Kind::kNull) return kEmpty;
  return Expect(key, Kind::kText, "text").text;
}

const std::string& JsonRow::Text(int key) const {
  const Field& field = Expect(key, Kind::kText, "text");
  if (field.text.empty()) FailField(key, "text that is not empty");
  return field.text;
}

double JsonRow::Number(int key) const { return Expect(key, Kind::kNumber, "a number").number; }

int64_t JsonRow::Integer(int key) const {
  const Field& field = Expect(key, Kind::kNumber, "a whole number");
  if (!field.is_whole) FailField(key, "a whole number");
  return field.integer;
}

bool JsonRow::Bool(int key) const { return Expect(key, Kind::kBool, "true or false").integer != 0; }

const std::vector<double>& JsonRow::Numbers(int key) const {
  const Field& field = Expect(key, Kind::kList, "a list of numbers");
  if (!field.texts.empty()) FailField(key, "a list of numbers");
  return field.numbers;
}

const std::vector<std::string>& JsonRow::Texts(int key) const {
  const Field& field = Expect(key, Kind::kList, "a list of texts");
  if (!field.numbers.empty()) FailField(key, "a list of texts");
  return field.texts;
}

Eigen::Vector3d JsonRow::Vector(int key) const {
  const std::vector<double>& v = Numbers(key);
  if (v.size() != 3) FailField(key, "3 numbers");
  return {v[0], v[1], v[2]};
}

Eigen::Quaterniond JsonRow::Rotation(int key) const {
  const std::vector<double>& v = Numbers(key);
  if (v.size() != 4) FailField(key, "4 numbers (w, x, y, z)");
  const Eigen::Quaterniond rotation(v[0], v[1], v[2], v[3]);
  const double norm = rotation.norm();
  if (!(norm > 1e-6 && std::isfinite(norm))) FailField(key, "a quaternion of length 1");
  // Rounding apart, what is stored is kept digit by digit.
  return std::abs(norm - 1) < 1e-12 ? rotation : rotation.normalized();
}

// What nlohmann's parser calls.
class JsonTableHandler : public nlohmann::json_sax<nlohmann::json> {
 public:
  JsonTableHandler(const std::string& name, const std::vector<std::string>& keys,
                   const std::function<void(const JsonRow&)>& add, const FaultSink& faults)
      : add_(add), faults_(faults) {
    row_.table_ = name;
    row_.keys_ = keys;
    row_.fields_.resize(keys.size());
  }

  bool null() override { return Scalar(JsonRow::Kind::kNull, 0, 0, true, nullptr); }
  bool boolean(bool value) override {
    return Scalar(JsonRow::Kind::kBool, value, value, true, nullptr);
  }
  bool number_integer(number_integer_t value) override {
    return Scalar(JsonRow::Kind::kNumber, static_cast<double>(value), value, true, nullptr);
  }
  bool number_unsigned(number_unsigned_t value) override {
    const bool fits = value <= static_cast<uint64_t>(INT64_MAX);
    return Scalar(JsonRow::Kind::kNumber, static_cast<double>(value),
                  fits ? static_cast<int64_t>(value) : 0, fits, nullptr);
  }
  bool number_float(number_float_t value, const string_t&) override {
    const bool whole = std::abs(value) < 0x1p53 && value == std::floor(value);
    return Scalar(JsonRow::Kind::kNumber, value, whole ? static_cast<int64_t>(value) : 0, whole,
                  nullptr);
  }
  bool string(string_t& value) override {
    return Scalar(JsonRow::Kind::kText, 0, 0, false, &value);
  }
  bool binary(binary_t&) override { return true; }

  bool start_object(std::size_t) override {
    ++depth_;
    if (depth_ == 1) FailTable();
    if (depth_ == 2) {
      ++row_.index_;
      for (JsonRow::Field& field : row_.fields_) field.kind = JsonRow::Kind::kMissing;
      field_ = nullptr;
    } else if (field_ != nullptr) {
      field_->kind = JsonRow::Kind::kOther;
      field_ = nullptr;  // whatever it holds is not looked at
    }
    return true;
  }
  bool key(string_t& name) override {
    if (depth_ != 2) return true;
    field_ = nullptr;
    for (size_t i = 0; i < row_.keys_.size(); ++i) {
      if (row_.keys_[i] == name) field_ = &row_.fields_[i];
    }
    return true;
  }
  bool end_object() override {
    if (--depth_ != 1) return true;
    try {
      add_(row_);
    } catch (const Error& error) {
      if (!faults_) throw;
      faults_(error.what());
    }
    return true;
  }
  bool start_array(std::size_t) override {
    ++depth_;
    if (depth_ == 2) FailTable();
    if (depth_ == 3 && field_ != nullptr) {
      field_->kind = JsonRow::Kind::kList;
      field_->numbers.clear();
      field_->texts.clear();
    }
    return true;
  }
  bool end_array() override {
    if (--depth_ == 2) field_ = nullptr;
    return true;
  }
  bool parse_error(std::size_t, const std::string&,
                   const nlohmann::json::exception& error) override {
    std::string_view reason = error.what();
    if (reason.find("] ") != std::string_view::npos) reason.remove_prefix(reason.find("] ") + 2);
    std::string line;
    for (const char c : reason.substr(0, 200))
      line += static_cast<unsigned char>(c) < ' ' ? '?' : c;
    throw Error(StrCat(row_.table_, ": not valid JSON: ", line));
  }

 private:
  [[noreturn]] void FailTable() const {
    throw Error(StrCat(row_.table_, ": expected a list of records: [{...}, ...]"));
  }

  bool Scalar(JsonRow::Kind kind, double number, int64_t integer, bool whole, string_t* text) {
    if (depth_ < 2) FailTable();
    if (field_ == nullptr) return true;
    if (depth_ > 2) {
      if (kind == JsonRow::Kind::kNumber) {
        field_->numbers.push_back(number);
      } else if (kind == JsonRow::Kind::kText) {
        field_->texts.push_back(*text);
      } else {
        field_->kind = JsonRow::Kind::kOther;
      }
      return true;
    }
    field_->kind = kind;
    field_->number = number;
    field_->integer = integer;
    field_->is_whole = whole;
    if (text != nullptr) field_->text.swap(*text);
    return true;
  }

  const std::function<void(const JsonRow&)>& add_;
  const FaultSink& faults_;
  JsonRow row_;
  JsonRow::Field* field_ = nullptr;  // the field that values belong to; null: not asked for
  int depth_ = 0;
};

void ParseJsonTable(std::istream& stream, const std::string& name,
                    const std::vector<std::string>& keys,
                    const std::function<void(const JsonRow&)>& add, const FaultSink& faults) {
  JsonTableHandler handler(name, keys, add, faults);
  nlohmann::json::sax_parse(stream, &handler);
}

}  // namespace athanor
