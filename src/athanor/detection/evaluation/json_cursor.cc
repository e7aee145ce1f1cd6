#include "athanor/detection/evaluation/json_cursor.h"

#include <array>
#include <charconv>
#include <cstdlib>
#include <limits>

#include "athanor/base/error.h"

namespace athanor {
namespace {

// What SkipValue has to look at: everything else inside a value is stepped over.
constexpr std::array<bool, 256> kStops = [] {
  std::array<bool, 256> stops = {};
  for (const unsigned char c : {'"', '{', '}', '[', ']'}) stops[c] = true;
  return stops;
}();

void AppendUtf8(uint32_t code, std::string* out) {
  if (code < 0x80) {
    *out += static_cast<char>(code);
  } else if (code < 0x800) {
    *out += static_cast<char>(0xc0 | (code >> 6));
    *out += static_cast<char>(0x80 | (code & 63));
  } else if (code < 0x10000) {
    *out += static_cast<char>(0xe0 | (code >> 12));
    *out += static_cast<char>(0x80 | ((code >> 6) & 63));
    *out += static_cast<char>(0x80 | (code & 63));
  } else {
    *out += static_cast<char>(0xf0 | (code >> 18));
    *out += static_cast<char>(0x80 | ((code >> 12) & 63));
    *out += static_cast<char>(0x80 | ((code >> 6) & 63));
    *out += static_cast<char>(0x80 | (code & 63));
  }
}

}  // namespace

void JsonCursor::SkipSpace() {
  while (position_ < text_.size()) {
    const char c = text_[position_];
    if (c != ' ' && c != '\n' && c != '\r' && c != '\t') break;
    ++position_;
  }
}

char JsonCursor::Peek() {
  SkipSpace();
  return position_ < text_.size() ? text_[position_] : '\0';
}

bool JsonCursor::Consume(char c) {
  if (Peek() != c || position_ >= text_.size()) return false;
  ++position_;
  return true;
}

void JsonCursor::Expect(char c, std::string_view what) {
  if (!Consume(c)) Fail(what);
}

bool JsonCursor::NextMember(std::string* key, bool* first) {
  if (Consume('}')) return false;
  if (!*first) Expect(',', "',' or '}'");
  *first = false;
  ReadString(key, "a key in quotes");
  Expect(':', "':'");
  SkipSpace();
  return true;
}

bool JsonCursor::NextElement(bool* first) {
  if (Consume(']')) return false;
  if (!*first) Expect(',', "',' or ']'");
  *first = false;
  SkipSpace();
  return true;
}

double JsonCursor::ReadNumber(std::string_view what) {
  SkipSpace();
  const std::string_view rest = text_.substr(position_);
  const bool minus = rest.starts_with('-');
  const std::string_view digits = rest.substr(minus ? 1 : 0);
  for (const auto& [word, value] :
       {std::pair<std::string_view, double>{"Infinity", std::numeric_limits<double>::infinity()},
        {"NaN", std::numeric_limits<double>::quiet_NaN()}}) {
    if (digits.starts_with(word)) {
      position_ += word.size() + (minus ? 1 : 0);
      return minus ? -value : value;
    }
  }
  if (digits.empty() || digits[0] < '0' || digits[0] > '9') Fail(what);
  double value = 0;
  const auto [end, fault] = std::from_chars(rest.data(), rest.data() + rest.size(), value);
  const auto length = static_cast<size_t>(end - rest.data());
  if (fault == std::errc::result_out_of_range) {  // infinite, or next to zero
    value = std::strtod(std::string(rest.substr(0, length)).c_str(), nullptr);
  } else if (fault != std::errc()) {
    Fail(what);
  }
  position_ += length;
  return value;
}

bool JsonCursor::ReadBool(std::string_view what) {
  SkipSpace();
  for (const std::string_view word : {"true", "false"}) {
    if (text_.substr(position_).starts_with(word)) {
      position_ += word.size();
      return word == "true";
    }
  }
  Fail(what);
}

void JsonCursor::ReadString(std::string* value, std::string_view what) {
  Expect('"', what);
  value->clear();
  while (true) {
    const size_t begin = position_;
    while (position_ < text_.size() && text_[position_] != '"' && text_[position_] != '\\') {
      ++position_;
    }
    value->append(text_.substr(begin, position_ - begin));
    if (position_ >= text_.size()) Fail("the end of a string");
    if (text_[position_++] == '"') return;
    const char escape = position_ < text_.size() ? text_[position_++] : '\0';
    const auto read_hex = [&] {
      uint32_t code = 0;
      const std::string_view hex = text_.substr(position_, 4);
      const auto [end, fault] = std::from_chars(hex.data(), hex.data() + hex.size(), code, 16);
      if (fault != std::errc() || end != hex.data() + 4) Fail("four hexadecimal digits");
      position_ += 4;
      return code;
    };
    switch (escape) {
      case '"':
      case '\\':
      case '/':
        *value += escape;
        break;
      case 'b':
        *value += '\b';
        break;
      case 'f':
        *value += '\f';
        break;
      case 'n':
        *value += '\n';
        break;
      case 'r':
        *value += '\r';
        break;
      case 't':
        *value += '\t';
        break;
      case 'u': {
        uint32_t code = read_hex();
        if (code >= 0xd800 && code < 0xdc00 && text_.substr(position_).starts_with("\\u")) {
          position_ += 2;
          const uint32_t low = read_hex();
          if (low < 0xdc00 || low >= 0xe000) Fail("the second half of a surrogate pair");
          code = 0x10000 + ((code - 0xd800) << 10) + (low - 0xdc00);
        }
        AppendUtf8(code, value);
        break;
      }
      default:
        Fail("an escape sequence");
    }
  }
}

void JsonCursor::ReadNumbers(double* values, int count, std::string_view what) {
  Expect('[', what);
  for (int i = 0; i < count; ++i) {
    if (i > 0) Expect(',', what);
    values[i] = ReadNumber(what);
  }
  Expect(']', what);
}

void JsonCursor::SkipString() {
  ++position_;  // the opening quote
  while (true) {
    position_ = text_.find_first_of("\"\\", position_);
    if (position_ == std::string_view::npos) {
      position_ = text_.size();
      Fail("the end of a string");
    }
    if (text_[position_++] == '"') return;
    ++position_;
  }
}

std::string_view JsonCursor::SkipValue() {
  SkipSpace();
  const size_t begin = position_;
  std::string open;  // the brackets that are not closed yet
  if (position_ >= text_.size()) Fail("a value");
  if (text_[position_] != '"' && text_[position_] != '{' && text_[position_] != '[') {
    while (position_ < text_.size() &&
           std::string_view(",]} \n\r\t").find(text_[position_]) == std::string_view::npos) {
      ++position_;
    }
    if (position_ == begin) Fail("a value");
    return text_.substr(begin, position_ - begin);
  }
  do {
    while (position_ < text_.size() && !kStops[static_cast<unsigned char>(text_[position_])]) {
      ++position_;
    }
    if (position_ >= text_.size()) Fail(open.back() == '{' ? "'}'" : "']'");
    const char c = text_[position_];
    if (c == '"') {
      SkipString();
      continue;
    }
    if (c == '{' || c == '[') {
      open += c;
    } else {
      if (open.back() != (c == '}' ? '{' : '[')) Fail(open.back() == '{' ? "'}'" : "']'");
      open.pop_back();
    }
    ++position_;
  } while (!open.empty());
  return text_.substr(begin, position_ - begin);
}

void JsonCursor::ExpectEnd() {
  if (Peek() != '\0' || position_ < text_.size()) Fail("the end of the file");
}

void JsonCursor::Fail(std::string_view expected) {
  std::string found(text_.substr(std::min(position_, text_.size()), 20));
  for (char& c : found) {
    if (static_cast<unsigned char>(c) < 32 || c == 127) c = ' ';
  }
  throw Error(StrCat(name_, ": byte ", position_, ": expected ", expected, ", found ",
                     position_ >= text_.size() ? "the end of the file" : "'" + found + "'"));
}

}  // namespace athanor
