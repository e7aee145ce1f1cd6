#include "athanor/lake/crc32c.h"

#include <gtest/gtest.h>

#include <string>

#include "athanor/base/random.h"

namespace athanor {
namespace {

// RFC 3720, appendix B.4, and the catalogue's check value of "123456789".
TEST(Crc32cTest, KnownValues) {
  std::string rising, falling;
  for (int i = 0; i < 32; ++i) {
    rising += static_cast<char>(i);
    falling += static_cast<char>(31 - i);
  }
  for (const auto crc : {&Crc32c, &internal::Crc32cTable}) {
    EXPECT_EQ(crc("", 0), 0u);
    EXPECT_EQ(crc("123456789", 0), 0xe3069283u);
    EXPECT_EQ(crc(std::string(32, '\0'), 0), 0x8a9136aau);
    EXPECT_EQ(crc(std::string(32, '\xff'), 0), 0x62a8ab43u);
    EXPECT_EQ(crc(rising, 0), 0x46dd794eu);
    EXPECT_EQ(crc(falling, 0), 0x113fdb5cu);
  }
}

TEST(Crc32cTest, EveryLengthAndPieceAgreesWithTheTable) {
  Random random(3);
  std::string bytes;
  while (bytes.size() < 40'000) bytes += static_cast<char>(random.NextBits());
  const std::string_view all = bytes;
  for (size_t size = 0; size < 2000; ++size) {
    const std::string_view part = all.substr(size % 13, size);
    ASSERT_EQ(Crc32c(part), internal::Crc32cTable(part)) << size;
  }
  for (int i = 0; i < 100; ++i) {
    const size_t begin = random.Below(1000), size = random.Below(39'000);
    const std::string_view part = all.substr(begin, size);
    const uint32_t whole = internal::Crc32cTable(part);
    ASSERT_EQ(Crc32c(part), whole) << begin << " " << size;
    const size_t cut = size == 0 ? 0 : random.Below(static_cast<uint32_t>(size));
    ASSERT_EQ(Crc32c(part.substr(cut), Crc32c(part.substr(0, cut))), whole);
  }
}

}  // namespace
}  // namespace athanor
