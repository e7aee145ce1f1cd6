#include "athanor/base/hash.h"

#include <cstring>

#include "athanor/base/random.h"

namespace athanor {

uint64_t HashBytes(std::string_view bytes, uint64_t seed) {
  uint64_t hash = MixBits(seed ^ bytes.size());
  while (!bytes.empty()) {
    uint64_t word = 0;
    const size_t taken = bytes.size() < 8 ? bytes.size() : 8;
    std::memcpy(&word, bytes.data(), taken);
    hash = MixBits(hash ^ word);
    bytes.remove_prefix(taken);
  }
  return hash;
}

std::string HexDigits(uint64_t value) {
  std::string text(16, '0');
  for (int i = 15; i >= 0; --i, value >>= 4) text[i] = "0123456789abcdef"[value & 15];
  return text;
}

}  // namespace athanor
