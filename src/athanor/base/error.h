// Errors: one exception type, and checks that print what was expected and what was found.
//
// ATHANOR_CHECK  for a caller's mistake or bad data: always on, throws Error.
// ATHANOR_DCHECK for our own invariants: on in debug builds only.
#pragma once

#include <sstream>
#include <stdexcept>
#include <string>

namespace athanor {

// What went wrong, in one line: what was expected, what was found, and where (path, line or byte).
class Error : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

// Concatenates anything that can be streamed.
template <typename... Parts>
std::string StrCat(const Parts&... parts) {
  std::ostringstream stream;
  (stream << ... << parts);
  return stream.str();
}

}  // namespace athanor

#define ATHANOR_CHECK(condition, ...)                         \
  do {                                                        \
    if (!(condition)) [[unlikely]] {                          \
      throw ::athanor::Error(::athanor::StrCat(__VA_ARGS__)); \
    }                                                         \
  } while (false)

#ifdef NDEBUG
#define ATHANOR_DCHECK(condition, ...) \
  do {                                 \
  } while (false && (condition))
#else
#define ATHANOR_DCHECK(condition, ...) \
  ATHANOR_CHECK(condition, "internal error in ", __FILE__, ":", __LINE__, ": ", __VA_ARGS__)
#endif
