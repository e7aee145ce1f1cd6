#include "athanor/lake/shard.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "athanor/base/files.h"
#include "athanor/lake/lake_test_util.h"

namespace athanor {
namespace {

namespace fs = std::filesystem;
using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::SizeIs;

// Payloads of a small shard: empty, tiny, one that holds the bytes of a block.
std::vector<std::string> SmallPayloads() {
  return {"first", "", RandomBytes(70, 1), "ATHB" + RandomBytes(40, 2), "last"};
}

std::vector<ShardBlock> WriteShard(const fs::path& path, const std::vector<std::string>& payloads,
                                   bool seal) {
  std::vector<ShardBlock> blocks;
  auto writer = ShardWriter::Create(path);
  for (size_t i = 0; i < payloads.size(); ++i) {
    const std::string_view payload = payloads[i];
    const size_t head = std::min<size_t>(payload.size(), 3);
    blocks.push_back(
        writer.Append(static_cast<uint32_t>(i), payload.substr(0, head), payload.substr(head)));
  }
  seal ? writer.Seal() : writer.Sync();
  return blocks;
}

TEST(ShardTest, BlocksComeBackSmallAndLarge) {
  const fs::path path = MemoryFolder("shard") / "a.shard";
  std::vector<std::string> payloads = SmallPayloads();
  payloads.push_back(RandomBytes(3'000'000, 3));
  payloads.push_back(RandomBytes(1 << 16, 4));
  for (int i = 0; i < 100; ++i) payloads.push_back(RandomBytes(30'000 + i, i));
  const auto blocks = WriteShard(path, payloads, true);
  const ShardReader reader(path);
  for (size_t i = 0; i < payloads.size(); ++i) {
    EXPECT_EQ(reader.Read(blocks[i]), payloads[i]) << i;
    const auto from = static_cast<int64_t>(payloads[i].size() / 2);
    EXPECT_EQ(reader.Read(blocks[i], from), payloads[i].substr(from)) << i;
  }
  EXPECT_EQ(reader.ReadIndex(), blocks);
  const ShardScan scan = ScanShard(path);
  EXPECT_EQ(scan.blocks, blocks);
  EXPECT_TRUE(scan.sealed);
  EXPECT_EQ(scan.whole_end, static_cast<int64_t>(fs::file_size(path)));
  EXPECT_THAT(scan.faults, IsEmpty());
}

TEST(ShardTest, GoesOnWhereItEndedAndTakesBack) {
  const fs::path path = MemoryFolder("shard") / "a.shard";
  const auto blocks = WriteShard(path, {"one", "two"}, false);
  {
    auto writer = ShardWriter::Continue(path, blocks[0].end());
    EXPECT_EQ(writer.Append(7, "three").offset, blocks[0].end());
    writer.Append(8, RandomBytes(100'000, 1));
    writer.CutTo(blocks[0].end());
    writer.Append(9, "four");
    writer.Seal();
  }
  EXPECT_THAT(ScanShard(path).blocks,
              ::testing::ElementsAre(blocks[0], ShardBlock{blocks[0].end(), 4, 9}));
  EXPECT_THAT(ErrorOf([&] { ShardWriter::Create(path); }), HasSubstr("exists"));
  EXPECT_THAT(ErrorOf([&] { ShardWriter::Continue(path, 100'000); }), HasSubstr("cut off"));
}

// Cut at every byte, a shard keeps its whole blocks and can be gone on with.
TEST(ShardTest, ATornShardKeepsItsWholeBlocks) {
  const fs::path folder = MemoryFolder("shard");
  for (const bool seal : {false, true}) {
    fs::remove(folder / "whole.shard");
    const auto blocks = WriteShard(folder / "whole.shard", SmallPayloads(), seal);
    const std::string bytes = ReadFile(folder / "whole.shard");
    for (size_t size = kShardStart; size < bytes.size(); ++size) {
      const fs::path path = folder / "torn.shard";
      WriteFile(path, bytes.substr(0, size));
      const ShardScan scan = ScanShard(path);
      size_t whole = 0;
      while (whole < blocks.size() && blocks[whole].end() <= static_cast<int64_t>(size)) ++whole;
      ASSERT_THAT(scan.blocks, SizeIs(whole)) << size;
      ASSERT_FALSE(scan.sealed);
      ASSERT_EQ(scan.whole_end, whole == 0 ? kShardStart : blocks[whole - 1].end());
      // A clean end is no fault; anything behind it is one.
      ASSERT_EQ(scan.faults.size(), static_cast<int64_t>(size) == scan.whole_end ? 0u : 1u) << size;
      auto writer = ShardWriter::Continue(path, scan.whole_end);
      const ShardBlock more = writer.Append(5, "more");
      writer.Seal();
      ASSERT_EQ(ShardReader(path).Read(more), "more");
      ASSERT_THAT(ShardReader(path).ReadIndex(), SizeIs(whole + 1));
    }
  }
}

TEST(ShardTest, EveryFlippedBitIsFoundAndTheOtherBlocksStay) {
  const fs::path folder = MemoryFolder("shard");
  const auto blocks = WriteShard(folder / "whole.shard", SmallPayloads(), true);
  const std::string bytes = ReadFile(folder / "whole.shard");
  for (size_t i = 0; i < bytes.size(); ++i) {
    std::string flipped = bytes;
    flipped[i] = static_cast<char>(flipped[i] ^ (1 << (i % 8)));
    const fs::path path = folder / "flipped.shard";
    WriteFile(path, flipped);
    const ShardScan scan = ScanShard(path);
    ASSERT_THAT(scan.faults, SizeIs(1)) << i;
    const ShardFault& fault = scan.faults[0];
    ASSERT_THAT(fault.message, HasSubstr(path.string() + ": byte "));
    ASSERT_LE(fault.begin, static_cast<int64_t>(i));
    ASSERT_GT(fault.end, static_cast<int64_t>(i));
    size_t lost = 0;
    for (const ShardBlock& block : blocks) {
      lost += block.offset <= static_cast<int64_t>(i) && static_cast<int64_t>(i) < block.end();
    }
    ASSERT_THAT(scan.blocks, SizeIs(blocks.size() - lost)) << i;
  }
}

TEST(ShardTest, ReadingChecksWhatItReads) {
  const fs::path folder = MemoryFolder("shard");
  const fs::path path = folder / "a.shard";
  const auto blocks = WriteShard(path, SmallPayloads(), false);
  std::string bytes = ReadFile(path);
  bytes[blocks[2].offset + kShardHeaderBytes + 5] ^= 1;
  WriteFile(path, bytes);
  const ShardReader reader(path);
  EXPECT_EQ(reader.Read(blocks[0]), "first");
  EXPECT_THAT(ErrorOf([&] { reader.Read(blocks[2]); }),
              AllOf(HasSubstr("a.shard: byte 69: block of 70 bytes: expected CRC32C ")));
  ShardBlock wrong = blocks[0];
  wrong.offset += 1;
  EXPECT_THAT(ErrorOf([&] { reader.Read(wrong); }), HasSubstr("header of a block"));
  wrong = blocks[0];
  wrong.kind = 9;
  EXPECT_THAT(ErrorOf([&] { reader.Read(wrong); }), HasSubstr("header of a block"));
  wrong.length = int64_t{1} << 60;
  EXPECT_THAT(ErrorOf([&] { reader.Read(wrong); }), HasSubstr("the file ends at byte"));
  EXPECT_THAT(ErrorOf([&] { reader.ReadIndex(); }), HasSubstr("expected the seal"));
  WriteFile(folder / "text", "no shard, but text of some length");
  EXPECT_THAT(ScanShard(folder / "text").faults[0].message, HasSubstr("first 16 bytes of a shard"));
  EXPECT_THAT(ErrorOf([&] { ShardWriter::Continue(folder / "text", 16); }),
              HasSubstr("first 16 bytes of a shard"));
  EXPECT_THAT(ErrorOf([&] { ShardReader(folder / "none"); }), HasSubstr("No such file"));
}

}  // namespace
}  // namespace athanor
