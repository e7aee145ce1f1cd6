#include "athanor/lake/crc32c.h"

#include <array>
#include <bit>
#include <cstddef>
#include <cstring>

#if defined(__x86_64__)
#include <nmmintrin.h>
#elif defined(__aarch64__) && defined(__linux__)
#include <arm_acle.h>
#include <asm/hwcap.h>
#include <sys/auxv.h>
#endif

namespace athanor {
namespace {

static_assert(std::endian::native == std::endian::little, "shards are little-endian");

constexpr uint32_t kPolynomial = 0x82f63b78;  // 0x1edc6f41, bits in reverse

using Tables = std::array<std::array<uint32_t, 256>, 8>;

// tables[k][b]: the CRC of byte b with k zero bytes behind it.
constexpr Tables MakeTables() {
  Tables tables = {};
  for (uint32_t b = 0; b < 256; ++b) {
    uint32_t crc = b;
    for (int bit = 0; bit < 8; ++bit) crc = crc >> 1 ^ (crc & 1 ? kPolynomial : 0);
    tables[0][b] = crc;
  }
  for (int k = 1; k < 8; ++k) {
    for (int b = 0; b < 256; ++b) {
      tables[k][b] = tables[k - 1][b] >> 8 ^ tables[0][tables[k - 1][b] & 255];
    }
  }
  return tables;
}

constexpr Tables kTables = MakeTables();

uint64_t Load64(const char* bytes) {
  uint64_t word;
  std::memcpy(&word, bytes, 8);
  return word;
}

#if defined(__x86_64__) || (defined(__aarch64__) && defined(__linux__))

// The instruction takes 3 cycles but begins one each cycle, so three lanes run side by side. Their
// CRCs are joined by moving the first two past the zero bytes that a lane is long: a linear map of
// 32 bits to 32, as four tables.
using ShiftTable = std::array<std::array<uint32_t, 256>, 4>;

constexpr uint32_t ShiftByZeros(uint32_t crc, size_t bytes) {
  // Columns of the map for one byte, squared for two, four ... (Adler's crc32_combine).
  std::array<uint32_t, 32> map = {};
  for (int i = 0; i < 32; ++i) {
    const uint32_t unit = uint32_t{1} << i;
    map[i] = unit >> 8 ^ kTables[0][unit & 255];
  }
  const auto apply = [](const std::array<uint32_t, 32>& m, uint32_t x) {
    uint32_t sum = 0;
    for (int i = 0; x != 0; ++i, x >>= 1) sum ^= x & 1 ? m[i] : 0;
    return sum;
  };
  for (; bytes != 0; bytes >>= 1) {
    if (bytes & 1) crc = apply(map, crc);
    std::array<uint32_t, 32> squared = {};
    for (int i = 0; i < 32; ++i) squared[i] = apply(map, map[i]);
    map = squared;
  }
  return crc;
}

constexpr ShiftTable MakeShiftTable(size_t bytes) {
  ShiftTable table = {};
  for (int k = 0; k < 4; ++k) {
    std::array<uint32_t, 8> bits = {};
    for (int i = 0; i < 8; ++i) bits[i] = ShiftByZeros(uint32_t{1} << (8 * k + i), bytes);
    for (int b = 0; b < 256; ++b) {
      for (int i = 0; i < 8; ++i) table[k][b] ^= b >> i & 1 ? bits[i] : 0;
    }
  }
  return table;
}

constexpr size_t kLongLane = 4096, kShortLane = 256;  // bytes
constexpr ShiftTable kLongShift = MakeShiftTable(kLongLane);
constexpr ShiftTable kShortShift = MakeShiftTable(kShortLane);

uint32_t Shift(const ShiftTable& table, uint32_t crc) {
  return table[0][crc & 255] ^ table[1][crc >> 8 & 255] ^ table[2][crc >> 16 & 255] ^
         table[3][crc >> 24];
}

#if defined(__x86_64__)
#define ATHANOR_CRC_TARGET __attribute__((target("sse4.2")))
ATHANOR_CRC_TARGET inline uint64_t Step8(uint64_t crc, uint64_t word) {
  return _mm_crc32_u64(crc, word);
}
ATHANOR_CRC_TARGET inline uint32_t Step1(uint32_t crc, uint8_t byte) {
  return _mm_crc32_u8(crc, byte);
}
bool HasInstruction() { return __builtin_cpu_supports("sse4.2"); }
constexpr std::string_view kInstruction = "SSE4.2";
#else
#define ATHANOR_CRC_TARGET __attribute__((target("+crc")))
ATHANOR_CRC_TARGET inline uint64_t Step8(uint64_t crc, uint64_t word) {
  return __crc32cd(static_cast<uint32_t>(crc), word);
}
ATHANOR_CRC_TARGET inline uint32_t Step1(uint32_t crc, uint8_t byte) {
  return __crc32cb(crc, byte);
}
bool HasInstruction() { return (getauxval(AT_HWCAP) & HWCAP_CRC32) != 0; }
constexpr std::string_view kInstruction = "ARMv8";
#endif

template <size_t kLane>
ATHANOR_CRC_TARGET uint32_t ThreeLanes(const char*& bytes, size_t& size, const ShiftTable& shift,
                                       uint32_t crc) {
  while (size >= 3 * kLane) {
    uint64_t a = crc, b = 0, c = 0;
    for (size_t i = 0; i < kLane; i += 8) {
      a = Step8(a, Load64(bytes + i));
      b = Step8(b, Load64(bytes + kLane + i));
      c = Step8(c, Load64(bytes + 2 * kLane + i));
    }
    const uint32_t joined = Shift(shift, static_cast<uint32_t>(a)) ^ static_cast<uint32_t>(b);
    crc = Shift(shift, joined) ^ static_cast<uint32_t>(c);
    bytes += 3 * kLane;
    size -= 3 * kLane;
  }
  return crc;
}

ATHANOR_CRC_TARGET uint32_t Crc32cInstruction(std::string_view view, uint32_t crc) {
  const char* bytes = view.data();
  size_t size = view.size();
  crc = ~crc;
  crc = ThreeLanes<kLongLane>(bytes, size, kLongShift, crc);
  crc = ThreeLanes<kShortLane>(bytes, size, kShortShift, crc);
  uint64_t wide = crc;
  for (; size >= 8; bytes += 8, size -= 8) wide = Step8(wide, Load64(bytes));
  crc = static_cast<uint32_t>(wide);
  for (; size > 0; ++bytes, --size) crc = Step1(crc, static_cast<uint8_t>(*bytes));
  return ~crc;
}

const bool kHasInstruction = HasInstruction();

#else
constexpr bool kHasInstruction = false;
constexpr std::string_view kInstruction = "";
uint32_t Crc32cInstruction(std::string_view, uint32_t crc) { return crc; }
#endif

}  // namespace

namespace internal {

uint32_t Crc32cTable(std::string_view view, uint32_t crc) {
  const char* bytes = view.data();
  size_t size = view.size();
  crc = ~crc;
  for (; size >= 8; bytes += 8, size -= 8) {
    const uint64_t word = Load64(bytes) ^ crc;
    crc = 0;
    for (int k = 0; k < 8; ++k) crc ^= kTables[7 - k][word >> (8 * k) & 255];
  }
  for (; size > 0; ++bytes, --size) {
    crc = crc >> 8 ^ kTables[0][(crc ^ static_cast<uint8_t>(*bytes)) & 255];
  }
  return ~crc;
}

}  // namespace internal

uint32_t Crc32c(std::string_view bytes, uint32_t crc) {
  return kHasInstruction ? Crc32cInstruction(bytes, crc) : internal::Crc32cTable(bytes, crc);
}

std::string_view Crc32cMethod() { return kHasInstruction ? kInstruction : "table"; }

}  // namespace athanor
