#include "athanor/datasets/arrow_file.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "athanor/base/files.h"
#include "athanor/datasets/dataset_test_util.h"

namespace athanor {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

constexpr ArrowCompression kCompressions[] = {ArrowCompression::kNone, ArrowCompression::kLz4,
                                              ArrowCompression::kZstd};

// Every type, with `rows` rows that differ.
ArrowTable MakeTable(int rows) {
  ArrowTable table("made", rows);
  std::vector<int8_t> i8;
  std::vector<uint16_t> u16;
  std::vector<int32_t> i32;
  std::vector<int64_t> i64;
  std::vector<uint64_t> u64;
  std::vector<float> f32;
  std::vector<double> f64;
  std::vector<std::string> text;
  ArrowColumn flag{"flag", ArrowType::kBool};
  ArrowColumn half{"half", ArrowType::kFloat16};
  ArrowColumn large{"large", ArrowType::kLargeUtf8};
  ArrowColumn gaps{"gaps", ArrowType::kUint8};
  for (int i = 0; i < rows; ++i) {
    i8.push_back(static_cast<int8_t>(i - 60));
    u16.push_back(static_cast<uint16_t>(65535 - i));
    i32.push_back(-1000000 * i);
    i64.push_back((int64_t{1} << 62) - i);
    u64.push_back(static_cast<uint64_t>(i) << 20);
    f32.push_back(0.25f * static_cast<float>(i));
    f64.push_back(1.0 / (i + 1));
    text.push_back(std::string(i % 7, static_cast<char>('a' + i % 26)));
    flag.values.push_back(i % 3 == 0);
    const uint16_t bits = static_cast<uint16_t>(0x3c00 + i);  // 1 + i / 1024
    half.values.push_back(bits & 255);
    half.values.push_back(static_cast<uint8_t>(bits >> 8));
    large.values.push_back('x');
    large.ends.push_back(i + 1);
    gaps.values.push_back(static_cast<uint8_t>(i));
    gaps.valid.push_back(i % 5 != 4);
  }
  table.AddNumbers("i8", i8);
  table.AddNumbers("u16", u16);
  table.AddNumbers("i32", i32);
  table.AddNumbers("i64", i64);
  table.AddNumbers("u64", u64);
  table.AddNumbers("f32", f32);
  table.AddNumbers("f64", f64);
  table.AddStrings("text", text);
  table.Add(flag);
  table.Add(half);
  table.Add(large);
  table.Add(gaps);
  return table;
}

TEST(ArrowFile, EveryTypeComesBackFromEveryCompressionAndBatchSize) {
  for (const int rows : {0, 1, 100}) {
    const ArrowTable table = MakeTable(rows);
    for (const ArrowCompression compression : kCompressions) {
      for (const int64_t batch_rows : {0, 1, 33}) {
        SCOPED_TRACE(StrCat(rows, " ", static_cast<int>(compression), " ", batch_rows));
        const ArrowTable read = ParseArrow(FormatArrow(table, compression, batch_rows), "t");
        ASSERT_EQ(read.rows(), rows);
        ASSERT_EQ(read.columns().size(), table.columns().size());
        for (size_t i = 0; i < table.columns().size(); ++i) {
          const ArrowColumn &truth = table.columns()[i], &column = read.columns()[i];
          EXPECT_EQ(column.name, truth.name);
          EXPECT_EQ(column.type, truth.type) << truth.name;
          EXPECT_EQ(column.ends, truth.ends) << truth.name;
          if (truth.valid.empty() || rows < 5) {
            EXPECT_TRUE(column.valid.empty() || rows < 5) << truth.name;
            EXPECT_EQ(column.values, truth.values) << truth.name;
          } else {
            EXPECT_EQ(column.valid, truth.valid);
          }
        }
      }
    }
  }
}

TEST(ArrowFile, ColumnsAreReadByNameAndType) {
  const ArrowTable table = ParseArrow(FormatArrow(MakeTable(4)), "x.feather");
  EXPECT_THAT(table.Values<int8_t>("i8"), ElementsAre(-60, -59, -58, -57));
  EXPECT_THAT(table.Values<double>("f64"), ElementsAre(1, 0.5, 1.0 / 3, 0.25));
  EXPECT_THAT(table.Reals("half"), ElementsAre(1, 1 + 1.0 / 1024, 1 + 2.0 / 1024, 1 + 3.0 / 1024));
  EXPECT_THAT(table.Reals("i32"), ElementsAre(0, -1e6, -2e6, -3e6));
  EXPECT_THAT(table.Integers("u16"), ElementsAre(65535, 65534, 65533, 65532));
  EXPECT_THAT(table.Integers("flag"), ElementsAre(1, 0, 0, 1));
  EXPECT_THAT(table.Strings("text"), ElementsAre("", "b", "cc", "ddd"));
  EXPECT_THAT(ErrorOf([&] { table.Reals("score"); }),
              HasSubstr("x.feather: expected a column 'score', found 'i8', 'u16'"));
  EXPECT_EQ(ErrorOf([&] { table.Values<float>("f64"); }),
            "x.feather: column 'f64': expected type float32, found float64");
  EXPECT_EQ(ErrorOf([&] { table.Integers("f32"); }),
            "x.feather: column 'f32': expected integers, found float32");
  EXPECT_EQ(ErrorOf([&] { table.Strings("i8"); }),
            "x.feather: column 'i8': expected text, found int8");
  EXPECT_EQ(ErrorOf([&] { table.Reals("text"); }),
            "x.feather: column 'text': expected numbers, found utf8");
  EXPECT_EQ(ErrorOf([] { ParseArrow(FormatArrow(MakeTable(9)), "y").Integers("gaps"); }),
            "y: column 'gaps': row 4: expected a value, found none");
  ArrowTable big("z", 1);
  big.AddNumbers("u64", std::vector<uint64_t>{~uint64_t{0}});
  big.AddNumbers("f64", std::vector<double>{INFINITY});
  EXPECT_THAT(ErrorOf([&] { big.Integers("u64"); }), HasSubstr("within the range of int64"));
  EXPECT_THAT(ErrorOf([&] { big.FiniteReals("f64"); }), HasSubstr("expected a finite number"));
  EXPECT_THAT(ErrorOf([&] { big.AddNumbers("u64", std::vector<int8_t>{1}); }),
              HasSubstr("two columns are named 'u64'"));
  EXPECT_THAT(ErrorOf([&] {
                big.AddNumbers("v", std::vector<int8_t>{1, 2});
              }),
              HasSubstr("expected 1 rows, found 2"));
}

TEST(ArrowFile, WritesAndReadsFiles) {
  const auto path = TestFolder("arrow") / "t.feather";
  WriteArrow(path, MakeTable(3));
  EXPECT_EQ(ReadArrow(path).rows(), 3);
  WriteFile(path, "no");
  EXPECT_THAT(ErrorOf([&] { ReadArrow(path); }), HasSubstr("expected an Arrow IPC file"));
}

// Whatever is damaged, an Error is thrown or a table comes back: nothing is read out of bounds
// (run it with sanitizers), nothing huge is allocated.
TEST(ArrowFile, DamageEndsInAnErrorOrATable) {
  for (const ArrowCompression compression : kCompressions) {
    const std::string good = FormatArrow(MakeTable(20), compression, 11);
    int refused = 0;
    for (size_t cut = 0; cut < good.size(); ++cut) {
      EXPECT_NE(ErrorOf([&] { ParseArrow(good.substr(0, cut), "t"); }), "") << cut;
    }
    for (size_t i = 0; i < good.size(); ++i) {
      std::string bad = good;
      bad[i] = static_cast<char>(bad[i] ^ (i % 2 == 0 ? 0x80 : 0x01));
      refused += ErrorOf([&] { ParseArrow(bad, "t", 1 << 20); }).empty() ? 0 : 1;
    }
    EXPECT_GT(refused, 100);
    // Offsets and lengths stand in whole words.
    for (size_t i = 0; i + 8 <= good.size(); i += 8) {
      for (const int64_t lie : {int64_t{-1}, int64_t{1} << 40, INT64_MAX, INT64_MIN}) {
        std::string bad = good;
        std::memcpy(bad.data() + i, &lie, 8);
        const std::string error = ErrorOf([&] { ParseArrow(bad, "t", 1 << 20); });
        EXPECT_EQ(error.find('\n'), std::string::npos);
      }
    }
  }
}

TEST(ArrowFile, RefusesBombs) {
  ArrowTable table("t", 1 << 20);
  table.AddNumbers("zeros", std::vector<double>(1 << 20));
  for (const ArrowCompression compression : {ArrowCompression::kLz4, ArrowCompression::kZstd}) {
    const std::string bytes = FormatArrow(table, compression);
    EXPECT_LT(bytes.size(), 100000u);
    EXPECT_THAT(ErrorOf([&] { ParseArrow(bytes, "bomb", 1 << 20); }),
                HasSubstr("column 'zeros': values: expected at most 1048576 bytes, found that it "
                          "declares 8388608"));
    EXPECT_EQ(ParseArrow(bytes, "t").rows(), 1 << 20);
  }
  // The size stands before the frame, which begins with a magic number.
  std::string bytes = FormatArrow(table, ArrowCompression::kLz4);
  const size_t frame = bytes.find("\x04\x22\x4d\x18");
  ASSERT_NE(frame, std::string::npos);
  const int64_t lie = int64_t{1} << 32;
  std::memcpy(bytes.data() + frame - 8, &lie, 8);
  EXPECT_THAT(ErrorOf([&] { ParseArrow(bytes, "t"); }), HasSubstr("of LZ4 cannot hold"));
}

}  // namespace
}  // namespace athanor
