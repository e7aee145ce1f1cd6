#include "athanor/base/sha256.h"

#include <gtest/gtest.h>

#include "athanor/base/files.h"
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

}  // namespace
}  // namespace athanor
