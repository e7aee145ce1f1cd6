// A 64-bit hash of bytes that is the same on every machine: names runs, detects changed files.
// Not for secrets.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace athanor {

uint64_t HashBytes(std::string_view bytes, uint64_t seed = 0);

// 16 lower-case hexadecimal digits.
std::string HexDigits(uint64_t value);

}  // namespace athanor
