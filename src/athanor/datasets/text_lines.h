// Lines and numbers of a text file from outside. Errors name the file and the line.
#pragma once

#include <charconv>
#include <cstdint>
#include <string>
#include <string_view>
#include <type_traits>

#include "athanor/base/error.h"

namespace athanor {

// Text from outside as a message may show it: one line, at most 60 bytes.
inline std::string Quoted(std::string_view text) {
  std::string quoted = "'";
  for (const char c : text.substr(0, 60)) {
    quoted += static_cast<unsigned char>(c) < ' ' || c == 127 ? '?' : c;
  }
  return quoted + (text.size() > 60 ? "...'" : "'");
}

class TextLines {
 public:
  // Both views must outlive the lines; `name` is the path that messages name.
  TextLines(std::string_view text, std::string_view name) : text_(text), name_(name) {}

  // Moves to the next line; false at the end of the file.
  bool Next() {
    if (position_ >= text_.size()) return false;
    const size_t end = text_.find('\n', position_);
    line_ = text_.substr(position_, end == std::string_view::npos ? end : end - position_);
    position_ = end == std::string_view::npos ? text_.size() : end + 1;
    ++number_;
    if (!line_.empty() && line_.back() == '\r') line_.remove_suffix(1);
    return true;
  }
  // As Next(), skipping empty lines and comments (#).
  bool NextRecord() {
    while (Next()) {
      const size_t start = line_.find_first_not_of(" \t");
      if (start != std::string_view::npos && line_[start] != '#') return true;
    }
    return false;
  }

  // The first byte after the line.
  size_t position() const { return position_; }
  // What is left of the line.
  std::string_view rest() const { return line_; }

  // Takes the next field of the line; empty at its end.
  std::string_view Field() {
    const size_t start = line_.find_first_not_of(" \t");
    if (start == std::string_view::npos) {
      line_ = {};
      return {};
    }
    size_t end = line_.find_first_of(" \t", start);
    if (end == std::string_view::npos) end = line_.size();
    const std::string_view field = line_.substr(start, end - start);
    line_.remove_prefix(end);
    return field;
  }
  // Takes the next field as a number; `what` names it.
  template <typename T>
  T Number(std::string_view what) {
    const std::string_view field = Field();
    T value{};
    const auto [end, error] = std::from_chars(field.data(), field.data() + field.size(), value);
    if (error != std::errc() || end != field.data() + field.size()) {
      Fail(StrCat("expected ", std::is_integral_v<T> ? "an integer" : "a number", " as ", what,
                  ", found ", field.empty() ? "the end of the line" : Quoted(field)));
    }
    return value;
  }

  [[noreturn]] void Fail(std::string_view message) const {
    throw Error(StrCat(name_, ": line ", number_, ": ", message));
  }

 private:
  std::string_view text_;
  std::string_view name_;
  std::string_view line_;
  size_t position_ = 0;
  int64_t number_ = 0;
};

}  // namespace athanor
