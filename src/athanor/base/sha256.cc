#include "athanor/base/sha256.h"

#include <algorithm>
#include <bit>
#include <cstring>
#include <fstream>
#include <vector>

#include "athanor/base/error.h"

namespace athanor {
namespace {

constexpr size_t kBlockBytes = 64;

// The first 32 bits of the fractional parts of the cube roots of the first 64 primes, computed: no
// table to mistype.
constexpr std::array<uint32_t, 64> MakeConstants() {
  std::array<uint32_t, 64> constants = {};
  int found = 0;
  for (uint32_t n = 2; found < 64; ++n) {
    bool is_prime = true;
    for (uint32_t d = 2; d * d <= n; ++d) is_prime &= n % d != 0;
    if (!is_prime) continue;
    // floor(2^32 cbrt(n)): the largest root with root^3 <= n 2^96. At most 35 bits.
    unsigned __int128 root = 0;
    for (int bit = 34; bit >= 0; --bit) {
      const unsigned __int128 tried = root | static_cast<unsigned __int128>(1) << bit;
      if (tried * tried * tried <= static_cast<unsigned __int128>(n) << 96) root = tried;
    }
    constants[found++] = static_cast<uint32_t>(root);
  }
  return constants;
}

constexpr std::array<uint32_t, 64> kConstants = MakeConstants();
static_assert(kConstants[0] == 0x428a2f98 && kConstants[63] == 0xc67178f2);

uint32_t LoadBigEndian(const uint8_t* bytes) {
  return static_cast<uint32_t>(bytes[0]) << 24 | static_cast<uint32_t>(bytes[1]) << 16 |
         static_cast<uint32_t>(bytes[2]) << 8 | bytes[3];
}

}  // namespace

void Sha256::Block(const uint8_t* bytes) {
  std::array<uint32_t, 64> w;
  for (int i = 0; i < 16; ++i) w[i] = LoadBigEndian(bytes + 4 * i);
  for (int i = 16; i < 64; ++i) {
    const uint32_t a = w[i - 15], b = w[i - 2];
    w[i] = w[i - 16] + (std::rotr(a, 7) ^ std::rotr(a, 18) ^ a >> 3) + w[i - 7] +
           (std::rotr(b, 17) ^ std::rotr(b, 19) ^ b >> 10);
  }
  auto [a, b, c, d, e, f, g, h] = state_;
  for (int i = 0; i < 64; ++i) {
    const uint32_t first = h + (std::rotr(e, 6) ^ std::rotr(e, 11) ^ std::rotr(e, 25)) +
                           ((e & f) ^ (~e & g)) + kConstants[i] + w[i];
    const uint32_t second =
        (std::rotr(a, 2) ^ std::rotr(a, 13) ^ std::rotr(a, 22)) + ((a & b) ^ (a & c) ^ (b & c));
    h = g, g = f, f = e, e = d + first, d = c, c = b, b = a, a = first + second;
  }
  const std::array<uint32_t, 8> worked = {a, b, c, d, e, f, g, h};
  for (int i = 0; i < 8; ++i) state_[i] += worked[i];
}

void Sha256::Add(std::string_view bytes) {
  size_t held = size_ % kBlockBytes;
  size_ += bytes.size();
  while (!bytes.empty()) {
    if (held == 0 && bytes.size() >= kBlockBytes) {
      Block(reinterpret_cast<const uint8_t*>(bytes.data()));
      bytes.remove_prefix(kBlockBytes);
      continue;
    }
    const size_t taken = std::min(kBlockBytes - held, bytes.size());
    std::memcpy(rest_.data() + held, bytes.data(), taken);
    bytes.remove_prefix(taken);
    held += taken;
    if (held == kBlockBytes) Block(rest_.data()), held = 0;
  }
}

std::string Sha256::Finish() {
  const uint64_t bits = size_ * 8;
  std::string end(1, '\x80');
  end.append((kBlockBytes * 2 - 9 - size_ % kBlockBytes) % kBlockBytes, '\0');
  for (int shift = 56; shift >= 0; shift -= 8) end += static_cast<char>(bits >> shift);
  Add(end);
  std::string digits;
  for (const uint32_t word : state_) {
    for (int shift = 28; shift >= 0; shift -= 4) digits += "0123456789abcdef"[word >> shift & 15];
  }
  return digits;
}

std::string Sha256Of(std::string_view bytes) {
  Sha256 sha;
  sha.Add(bytes);
  return sha.Finish();
}

std::string Sha256OfFile(const std::filesystem::path& path) {
  std::ifstream file(path, std::ios::binary);
  ATHANOR_CHECK(file.good(), path.string(), ": no such file, or no permission");
  Sha256 sha;
  std::vector<char> piece(1 << 20);
  while (file) {
    file.read(piece.data(), static_cast<std::streamsize>(piece.size()));
    sha.Add(std::string_view(piece.data(), static_cast<size_t>(file.gcount())));
  }
  ATHANOR_CHECK(file.eof(), path.string(), ": cannot be read");
  return sha.Finish();
}

}  // namespace athanor
