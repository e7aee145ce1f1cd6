#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <set>

#include "athanor/base/error.h"
#include "athanor/base/files.h"
#include "athanor/base/hash.h"
#include "athanor/base/options.h"
#include "athanor/base/parallel.h"
#include "athanor/base/random.h"
#include "athanor/base/test_util.h"

namespace athanor {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

TEST(FilesTest, WriteThenReadKeepsEveryByte) {
  const auto path = TestFolder("write") / "deep" / "file.bin";
  std::string bytes = "one\0two";
  bytes.push_back('\0');
  WriteFile(path, bytes);
  EXPECT_EQ(ReadFile(path), bytes);
  WriteFile(path, "new");
  EXPECT_EQ(ReadFile(path), "new");
  EXPECT_EQ(ListFiles(path.parent_path()).size(), 1u) << "no temporary file is left";
}

TEST(FilesTest, FullDiskNamesThePathAndLeavesTheOldFile) {
  EXPECT_THAT(ErrorOf([] { AppendFile("/dev/full", "x"); }),
              AllOf(HasSubstr("/dev/full"), HasSubstr("No space left")));
  EXPECT_THAT(ErrorOf([] { WriteFile("/proc/no/file", "x"); }), HasSubstr("/proc/no"));
  EXPECT_THAT(ErrorOf([] { ReadFile("/no/such/file"); }), HasSubstr("/no/such/file"));
  EXPECT_THAT(ErrorOf([] { ReadFile("/tmp"); }), HasSubstr("folder"));
}

TEST(ByteReaderTest, StopsAtTheEndAndSaysWhere) {
  ByteReader reader(std::string_view("\x01\0\0\0\x02", 5), "file.bin");
  EXPECT_EQ(reader.Read<uint32_t>("count"), 1u);
  EXPECT_THAT(
      ErrorOf([&] { reader.Read<uint32_t>("width"); }),
      AllOf(HasSubstr("file.bin: byte 4"), HasSubstr("4 bytes of width"), HasSubstr("found 1")));
}

TEST(ByteReaderTest, RefusesALyingCount) {
  std::string bytes(16, '\0');
  bytes[7] = 0x10;  // 2^60
  ByteReader reader(bytes, "cameras.bin");
  EXPECT_THAT(ErrorOf([&] { reader.ReadCount(8, "cameras"); }),
              AllOf(HasSubstr("1152921504606846976"), HasSubstr("8 bytes that are left")));
}

struct SampleOptions {
  bool fast = false;
  int steps = 10;
  float rate = 0.5f;
  std::string path = "orbit";
};

OptionList Describe(SampleOptions& o) {
  OptionList list;
  list.Add("fast", &o.fast, "skip the checks");
  list.Add("steps", &o.steps, "number of steps", {.min = 1, .max = 100});
  list.Add("rate", &o.rate, "learning rate", {.min = 0});
  list.Add("path", &o.path, "camera path", {.choices = {"orbit", "still"}});
  return list;
}

TEST(OptionsTest, TomlRoundTrip) {
  SampleOptions written{true, 42, 2.0f, "still"};
  const std::string text = Describe(written).ToToml();
  SampleOptions read;
  Describe(read).ParseToml(text, "config.toml");
  EXPECT_EQ(read.fast, written.fast);
  EXPECT_EQ(read.steps, written.steps);
  EXPECT_EQ(read.rate, written.rate);
  EXPECT_EQ(read.path, written.path);
}

TEST(OptionsTest, RefusesWithFileLineAndExpectation) {
  SampleOptions o;
  OptionList list = Describe(o);
  EXPECT_THAT(ErrorOf([&] { list.ParseToml("fast = true\nsteps = 1000\n", "a.toml"); }),
              AllOf(HasSubstr("a.toml: line 2"), HasSubstr("at most 100"), HasSubstr("1000")));
  EXPECT_THAT(ErrorOf([&] { list.ParseToml("speed = 1\n", "a.toml"); }), HasSubstr("'speed'"));
  EXPECT_THAT(ErrorOf([&] { list.ParseToml("steps = \"5\"\n", "a.toml"); }), HasSubstr("integer"));
  EXPECT_THAT(ErrorOf([&] { list.ParseToml("rate = \n", "a.toml"); }), HasSubstr("line 1"));
  EXPECT_THAT(ErrorOf([&] { list.Find("path")->Set("spiral"); }), HasSubstr("orbit|still"));
  EXPECT_THAT(ErrorOf([&] { list.Find("rate")->Set("nan"); }), HasSubstr("number"));
  EXPECT_EQ(o.steps, 10);
}

TEST(ParallelTest, EveryChunkOnceWhateverTheThreads) {
  for (int threads : {1, 3}) {
    SetNumThreads(threads);
    std::vector<std::atomic<int>> visits(1001);
    ParallelFor(1001, 10, [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) ++visits[i];
    });
    for (const auto& visit : visits) ASSERT_EQ(visit, 1);
  }
  SetNumThreads(0);
}

TEST(ParallelTest, RethrowsAnException) {
  EXPECT_EQ(ErrorOf([] {
              ParallelChunks(8, [](int64_t chunk) { ATHANOR_CHECK(chunk != 5, "chunk five"); });
            }),
            "chunk five");
}

TEST(RandomTest, MatchesItsDistributionAndResumes) {
  Random random(7);
  double sum = 0, square = 0;
  constexpr int kSamples = 100'000;
  for (int i = 0; i < kSamples; ++i) {
    const float x = random.Normal();
    sum += x;
    square += x * x;
  }
  EXPECT_NEAR(sum / kSamples, 0, 0.02);
  EXPECT_NEAR(square / kSamples, 1, 0.02);
  Random copy;
  copy.set_state(random.state());
  EXPECT_EQ(copy.NextBits(), random.NextBits());
}

TEST(HashTest, DependsOnEveryByteAndOnTheLength) {
  std::set<uint64_t> seen;
  for (const char* text : {"", "a", "b", "ab", "ba", "abcdefgh", "abcdefghi", "abcdefgi"}) {
    EXPECT_TRUE(seen.insert(HashBytes(text)).second) << text;
  }
  EXPECT_EQ(HexDigits(0xabc), "0000000000000abc");
}

TEST(Files, WhatComesWithTheProgramIsFound) {
  EXPECT_TRUE(std::filesystem::exists(FindShared("configs/scene_fast.toml")));
  EXPECT_THAT(ErrorOf([] { FindShared("configs/none.toml"); }),
              HasSubstr("share/athanor/configs/none.toml"));
}

}  // namespace
}  // namespace athanor
