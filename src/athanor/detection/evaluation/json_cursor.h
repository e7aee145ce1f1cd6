// A cursor over JSON text, for files too large to be held as a tree: the caller says what it
// expects next. NaN, Infinity and -Infinity are taken as numbers, as Python's json module writes
// them.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace athanor {

// Every fault throws Error: file, byte, what was expected and what was found. Not thread-safe, but
// several cursors may walk over the same text.
class JsonCursor {
 public:
  // Both views must outlive the cursor; `name` is the path that messages name. `begin` is where in
  // the text to start.
  JsonCursor(std::string_view text, std::string_view name, size_t begin = 0)
      : text_(text), name_(name), position_(begin) {}

  size_t position() const { return position_; }

  // The next byte that is not white space, without taking it; '\0' at the end.
  char Peek();
  // Takes `c` when it comes next.
  bool Consume(char c);
  void Expect(char c, std::string_view what);

  // Walks over an object or an array:
  //   cursor.Expect('{', "an object"); for (bool first = true; cursor.NextMember(&key, &first);)
  //   ... cursor.Expect('[', "an array");  for (bool first = true; cursor.NextElement(&first);) ...
  // After NextMember the cursor stands on the value.
  bool NextMember(std::string* key, bool* first);
  bool NextElement(bool* first);

  double ReadNumber(std::string_view what);
  bool ReadBool(std::string_view what);
  void ReadString(std::string* value, std::string_view what);
  // Exactly `count` numbers in brackets.
  void ReadNumbers(double* values, int count, std::string_view what);
  // Steps over any value and returns its text. Brackets and strings are checked to be closed, what
  // stands between them is not.
  std::string_view SkipValue();
  // Nothing but white space may follow.
  void ExpectEnd();

  [[noreturn]] void Fail(std::string_view expected);

 private:
  void SkipSpace();
  void SkipString();

  std::string_view text_;
  std::string_view name_;
  size_t position_;
};

}  // namespace athanor
