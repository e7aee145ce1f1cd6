// SHA-256 (FIPS 180-4): what the makers of a file publish, so that a download can be trusted, and
// what names data by content. By the processor's SHA instructions where it has them.
#pragma once

#include <array>
#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>

namespace athanor {

class Sha256 {
 public:
  void Add(std::string_view bytes);
  // 64 lower-case hexadecimal digits. Nothing may be added afterwards.
  std::string Finish();

 private:
  void Blocks(const uint8_t* bytes, size_t blocks);

  std::array<uint32_t, 8> state_ = {0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a,
                                    0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19};
  std::array<uint8_t, 64> rest_ = {};
  uint64_t size_ = 0;  // bytes
};

std::string Sha256Of(std::string_view bytes);
// Reads the file in pieces: any size. Throws Error (path, reason).
std::string Sha256OfFile(const std::filesystem::path& path);

namespace internal {
// One step of the state for each 64 bytes, without special instructions: the tests' second opinion.
void Sha256BlocksPlain(std::array<uint32_t, 8>& state, const uint8_t* bytes, size_t blocks);
}  // namespace internal

}  // namespace athanor
