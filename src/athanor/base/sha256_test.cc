#include "athanor/base/sha256.h"

#include <gtest/gtest.h>

#include "athanor/base/files.h"
#include "athanor/base/hash.h"
#include "athanor/base/test_util.h"

namespace athanor {
namespace {

// The examples of FIPS 180-4 and of NIST's test vectors.
TEST(Sha256Test, KnownDigests) {
  EXPECT_EQ(Sha256Of(""), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
  EXPECT_EQ(Sha256Of("abc"), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
  EXPECT_EQ(Sha256Of("abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq"),
            "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1");
  EXPECT_EQ(Sha256Of(std::string(1000000, 'a')),
            "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0");
}

TEST(Sha256Test, PiecesAndFilesGiveTheSameDigest) {
  std::string bytes;
  for (int i = 0; i < 300; ++i) bytes += static_cast<char>(i * 7);
  for (size_t size = 0; size <= bytes.size(); ++size) {
    const std::string part = bytes.substr(0, size);
    Sha256 sha;
    for (size_t begin = 0; begin < size; begin += 13) sha.Add(part.substr(begin, 13));
    ASSERT_EQ(sha.Finish(), Sha256Of(part)) << size;
  }
  const auto path = TestFolder("sha") / "bytes";
  WriteFile(path, bytes);
  EXPECT_EQ(Sha256OfFile(path), Sha256Of(bytes));
  EXPECT_NE(ErrorOf([&] { Sha256OfFile(path.parent_path() / "none"); }).find("no such file"),
            std::string::npos);
}

// The plain rounds against whatever the processor offers, on whole blocks.
TEST(Sha256Test, TheProcessorsInstructionsAgreeWithThePlainRounds) {
  std::string bytes;
  for (int i = 0; i < 55; ++i) bytes += static_cast<char>(i * i);
  bytes += '\x80';
  for (int shift = 56; shift >= 0; shift -= 8) bytes += static_cast<char>(uint64_t{440} >> shift);
  std::array<uint32_t, 8> state = {0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a,
                                   0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19};
  ASSERT_EQ(bytes.size(), 64u);
  internal::Sha256BlocksPlain(state, reinterpret_cast<const uint8_t*>(bytes.data()), 1);
  std::string digits;
  for (const uint32_t word : state) digits += HexDigits(word).substr(8);
  EXPECT_EQ(digits, Sha256Of(bytes.substr(0, 55)));
}

}  // namespace
}  // namespace athanor
