#include "athanor/datasets/ply_points.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>

#include "athanor/datasets/dataset_test_util.h"

namespace athanor {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

std::string ParseError(const std::string& bytes) {
  return ErrorOf([&] { ParsePlyPoints(bytes, "dir/p.ply"); });
}

std::string Reversed(std::string bytes) {
  std::reverse(bytes.begin(), bytes.end());
  return bytes;
}

TEST(PlyPointsTest, AsciiOfAnyOrderWithElementsAndListsToSkip) {
  const auto points = ParsePlyPoints(
      "ply\r\nformat ascii 1.0\r\ncomment made by hand\r\nobj_info x\r\nelement camera 1\r\n"
      "property list uchar int ids\r\nproperty float f\r\nelement vertex 2\r\n"
      "property uchar blue\r\nproperty double z\r\nproperty list int float weights\r\n"
      "property float y\r\nproperty uchar green\r\nproperty uint8 red\r\nproperty float32 x\r\n"
      "property float confidence\r\nelement face 1\r\nproperty list uchar int vertex_indices\r\n"
      "end_header\r\n2 5 6 0.5\r\n3 30.5 1 0.1 20 2 1 10 0.9\r\n6 60 0 50\n5 4\t40 0.9\n3 0 1 0\n",
      "p.ply");
  ASSERT_EQ(points.size(), 2u);
  EXPECT_THAT(points[0].position, ElementsAre(10, 20, 30.5));
  EXPECT_THAT(points[0].color, ElementsAre(1, 2, 3));
  EXPECT_THAT(points[1].position, ElementsAre(40, 50, 60));
  EXPECT_THAT(points[1].color, ElementsAre(4, 5, 6));
}

TEST(PlyPointsTest, BinaryOfBothByteOrdersAndEveryColourType) {
  for (const bool big : {false, true}) {
    const auto number = [&](auto value) { return big ? Reversed(Bytes(value)) : Bytes(value); };
    const std::string format =
        StrCat("ply\nformat binary_", big ? "big" : "little", "_endian 1.0\n");
    const std::string header =
        format +
        "element vertex 1\nproperty short x\nproperty double y\nproperty list ushort short l\n"
        "property int z\nproperty float red\nproperty ushort green\nproperty int blue\n"
        "end_header\n";
    const auto points =
        ParsePlyPoints(header + number(int16_t{-7}) + number(1.25) + number(uint16_t{2}) +
                           number(int16_t{1}) + number(int16_t{2}) + number(int32_t{-100000}) +
                           number(0.5f) + number(uint16_t{65535}) + number(int32_t{9}),
                       "p.ply");
    ASSERT_EQ(points.size(), 1u);
    EXPECT_THAT(points[0].position, ElementsAre(-7, 1.25, -100000));
    EXPECT_THAT(points[0].color, ElementsAre(128, 255, 9));
  }
}

TEST(PlyPointsTest, RefusesWithPlaceAndExpectation) {
  const std::string begin = "ply\nformat ascii 1.0\n";
  const std::string xyz = "property float x\nproperty float y\nproperty float z\n";
  EXPECT_THAT(ParseError(""), HasSubstr("dir/p.ply: byte 0"));
  EXPECT_THAT(ParseError("plx\n"), HasSubstr("expected a PLY file"));
  EXPECT_THAT(ParseError("ply\nformat ebcdic 1.0\n"),
              AllOf(HasSubstr("line 2"), HasSubstr("'ebcdic'")));
  EXPECT_THAT(ParseError("ply\nend_header\n"), HasSubstr("line 'format'"));
  EXPECT_THAT(ParseError(begin + "element vertex 1\n"), HasSubstr("'end_header'"));
  EXPECT_THAT(ParseError(begin + "element vertex -1\n"), HasSubstr("number of elements"));
  EXPECT_THAT(ParseError(begin + "property float x\n"), HasSubstr("line 3: expected an element"));
  EXPECT_THAT(ParseError(begin + "element vertex 1\nproperty half x\n"), HasSubstr("'half'"));
  EXPECT_THAT(ParseError(begin + "element vertex 1\n" + xyz + "property float x\n"),
              HasSubstr("line 7: property 'x' occurs twice"));
  EXPECT_THAT(ParseError(begin + "element vertex 1\nproperty list float int x\n"),
              HasSubstr("integer type"));
  EXPECT_THAT(ParseError(begin + "element vertex 1\nproperty float x\nend_header\n1\n"),
              HasSubstr("x, y and z"));
  EXPECT_THAT(ParseError(begin + "element face 0\nend_header\n"), HasSubstr("element vertex"));
  EXPECT_THAT(ParseError(begin + "element vertex 2\n" + xyz + "end_header\n1.25 2.5 3.75\n4 5\n"),
              HasSubstr("found the end of the file"));
  EXPECT_THAT(ParseError(begin + "element vertex 1\n" + xyz + "end_header\n1 two 3\n"),
              AllOf(HasSubstr("byte 102"), HasSubstr("as 'y', found 'two'")));
  EXPECT_THAT(ParseError(begin + "element vertex 1\n" + xyz + "end_header\n1 nan 3\n"),
              HasSubstr("finite y"));
  EXPECT_THAT(ParseError(begin + "element vertex 1\n" + xyz + "end_header\n1 2 1e300\n"),
              HasSubstr("finite z"));
  EXPECT_THAT(ParseError(begin + "element vertex 1\n" + xyz +
                         "property uchar red\nend_header\n1 2 3 256\n"),
              HasSubstr("colour of 0 to 255, found 256"));
  for (const char* format : {"ascii", "binary_little_endian", "binary_big_endian"}) {
    const std::string header = StrCat("ply\nformat ", format, " 1.0\n");
    EXPECT_THAT(
        ParseError(header + "element vertex 1152921504606846976\n" + xyz + "end_header\n1 2 3"),
        HasSubstr("1152921504606846976"));
    EXPECT_THAT(ParseError(header + "element tag 1\nproperty list uint double l\n" +
                           "element vertex 1\n" + xyz + "end_header\n4294967295 1 2 3\n"),
                HasSubstr("do not fit"));
  }
}

}  // namespace
}  // namespace athanor
