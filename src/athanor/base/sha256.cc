#include "athanor/base/sha256.h"

#include <algorithm>
#include <bit>
#include <cstring>
#include <fstream>
#include <vector>

#if defined(__x86_64__)
#include <cpuid.h>
#include <immintrin.h>
#endif

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

using State = std::array<uint32_t, 8>;

void BlocksPlain(State& state, const uint8_t* bytes, size_t blocks);

#if defined(__x86_64__)
// The processor's SHA instructions (Intel's manual, SHA256RNDS2): two rounds each, on a state kept
// as the halves ABEF and CDGH.
__attribute__((target("sha,sse4.1"))) void BlocksSha(State& state, const uint8_t* bytes,
                                                     size_t blocks) {
  const __m128i big_endian = _mm_set_epi64x(0x0c0d0e0f08090a0b, 0x0405060700010203);
  auto* low = reinterpret_cast<__m128i*>(state.data());
  const __m128i badc = _mm_shuffle_epi32(_mm_loadu_si128(low), 0xb1);
  const __m128i hgfe = _mm_shuffle_epi32(_mm_loadu_si128(low + 1), 0x1b);
  __m128i abef = _mm_alignr_epi8(badc, hgfe, 8);
  __m128i cdgh = _mm_blend_epi16(hgfe, badc, 0xf0);
  for (; blocks > 0; --blocks, bytes += kBlockBytes) {
    const __m128i abef_before = abef, cdgh_before = cdgh;
    __m128i w[4];
#pragma GCC unroll 16
    for (int group = 0; group < 16; ++group) {  // of four rounds
      __m128i& next = w[group % 4];
      if (group < 4) {
        next = _mm_shuffle_epi8(
            _mm_loadu_si128(reinterpret_cast<const __m128i*>(bytes + 16 * group)), big_endian);
      } else {
        const __m128i before = w[(group + 3) % 4];
        const __m128i sum = _mm_add_epi32(_mm_sha256msg1_epu32(next, w[(group + 1) % 4]),
                                          _mm_alignr_epi8(before, w[(group + 2) % 4], 4));
        next = _mm_sha256msg2_epu32(sum, before);
      }
      const __m128i added = _mm_add_epi32(
          next, _mm_loadu_si128(reinterpret_cast<const __m128i*>(kConstants.data() + 4 * group)));
      cdgh = _mm_sha256rnds2_epu32(cdgh, abef, added);
      abef = _mm_sha256rnds2_epu32(abef, cdgh, _mm_shuffle_epi32(added, 0x0e));
    }
    abef = _mm_add_epi32(abef, abef_before);
    cdgh = _mm_add_epi32(cdgh, cdgh_before);
  }
  const __m128i feba = _mm_shuffle_epi32(abef, 0x1b);
  const __m128i dchg = _mm_shuffle_epi32(cdgh, 0xb1);
  _mm_storeu_si128(low, _mm_blend_epi16(feba, dchg, 0xf0));
  _mm_storeu_si128(low + 1, _mm_alignr_epi8(dchg, feba, 8));
}

bool HasSha() {
  unsigned a = 0, b = 0, c = 0, d = 0;
  constexpr unsigned kShaBit = 1u << 29;  // leaf 7, EBX
  return __get_cpuid_count(7, 0, &a, &b, &c, &d) != 0 && (b & kShaBit) != 0 &&
         __builtin_cpu_supports("sse4.1");
}
#endif

void (*ChooseBlocks())(State&, const uint8_t*, size_t) {
#if defined(__x86_64__)
  if (HasSha()) return &BlocksSha;
#endif
  return &BlocksPlain;
}

void BlockPlain(State& state, const uint8_t* bytes) {
  std::array<uint32_t, 64> w;
  for (int i = 0; i < 16; ++i) w[i] = LoadBigEndian(bytes + 4 * i);
  for (int i = 16; i < 64; ++i) {
    const uint32_t a = w[i - 15], b = w[i - 2];
    w[i] = w[i - 16] + (std::rotr(a, 7) ^ std::rotr(a, 18) ^ a >> 3) + w[i - 7] +
           (std::rotr(b, 17) ^ std::rotr(b, 19) ^ b >> 10);
  }
  auto [a, b, c, d, e, f, g, h] = state;
  for (int i = 0; i < 64; ++i) {
    const uint32_t first = h + (std::rotr(e, 6) ^ std::rotr(e, 11) ^ std::rotr(e, 25)) +
                           ((e & f) ^ (~e & g)) + kConstants[i] + w[i];
    const uint32_t second =
        (std::rotr(a, 2) ^ std::rotr(a, 13) ^ std::rotr(a, 22)) + ((a & b) ^ (a & c) ^ (b & c));
    h = g, g = f, f = e, e = d + first, d = c, c = b, b = a, a = first + second;
  }
  const std::array<uint32_t, 8> worked = {a, b, c, d, e, f, g, h};
  for (int i = 0; i < 8; ++i) state[i] += worked[i];
}

void BlocksPlain(State& state, const uint8_t* bytes, size_t blocks) {
  for (; blocks > 0; --blocks, bytes += kBlockBytes) BlockPlain(state, bytes);
}

}  // namespace

namespace internal {
void Sha256BlocksPlain(std::array<uint32_t, 8>& state, const uint8_t* bytes, size_t blocks) {
  BlocksPlain(state, bytes, blocks);
}
}  // namespace internal

void Sha256::Blocks(const uint8_t* bytes, size_t blocks) {
  static const auto chosen = ChooseBlocks();
  chosen(state_, bytes, blocks);
}

void Sha256::Add(std::string_view bytes) {
  size_t held = size_ % kBlockBytes;
  size_ += bytes.size();
  while (!bytes.empty()) {
    if (held == 0 && bytes.size() >= kBlockBytes) {
      const size_t blocks = bytes.size() / kBlockBytes;
      Blocks(reinterpret_cast<const uint8_t*>(bytes.data()), blocks);
      bytes.remove_prefix(blocks * kBlockBytes);
      continue;
    }
    const size_t taken = std::min(kBlockBytes - held, bytes.size());
    std::memcpy(rest_.data() + held, bytes.data(), taken);
    bytes.remove_prefix(taken);
    held += taken;
    if (held == kBlockBytes) Blocks(rest_.data(), 1), held = 0;
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
