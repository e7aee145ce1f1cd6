#include "athanor/loop/inference/cell_store.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>

#include "athanor/base/files.h"
#include "athanor/base/random.h"
#include "athanor/lake/lake_test_util.h"

namespace athanor {
namespace {

using ::testing::HasSubstr;

FrameOutput SomeOutput(uint64_t seed) {
  Random random(seed);
  FrameOutput output;
  if (seed % 4 == 3) {
    output.failure = "no picture";
    return output;
  }
  for (int i = 0; i < 5; ++i) output.vector.push_back(random.Normal());
  for (uint64_t k = 0; k < seed % 4; ++k) {
    FoundObject object;
    object.class_index = static_cast<int>(random.Below(11)) - 1;
    object.score = random.Uniform();
    for (float& value : object.box) value = random.Normal();
    object.attribute = static_cast<int>(k) - 1;
    object.sensor = object.class_index < 0 ? 2 : -1;
    object.region_px = {1, 2, 30.5f, 40};
    output.objects.push_back(object);
    output.object_vectors.push_back(random.Normal());
  }
  return output;
}

const CellShard kShard = {"m", "c", 16, 4};

TEST(CellStoreTest, CutsClipsAtFixedFrames) {
  std::vector<std::string> ids;
  for (const CellShard& shard : ShardsOf("m", "c", 37)) {
    ids.push_back(StrCat(shard.Id(), "+", shard.count));
  }
  EXPECT_THAT(ids, ::testing::ElementsAre("m.c.0+16", "m.c.16+16", "m.c.32+5"));
}

TEST(CellStoreTest, GivesBackWhatWasWritten) {
  const CellStore store(MemoryFolder("cells"));
  std::vector<FrameOutput> outputs;
  for (int i = 0; i < 4; ++i) outputs.push_back(SomeOutput(i));
  EXPECT_FALSE(store.Has(kShard));
  store.AppendPart(kShard, "w1", 17, outputs[1]);
  store.AppendPart(kShard, "w2", 16, outputs[0]);
  store.AppendPart({"m", "c", 160, 4}, "w2", 160, outputs[0]);  // another shard's
  const auto parts = store.ReadParts(kShard);
  ASSERT_EQ(parts.size(), 2u);
  EXPECT_EQ(parts.at(16), outputs[0]);
  EXPECT_EQ(parts.at(17), outputs[1]);
  store.Write(kShard, outputs);
  EXPECT_TRUE(store.Has(kShard));
  EXPECT_EQ(store.Read(kShard), outputs);
  EXPECT_TRUE(store.ReadParts(kShard).empty());
}

TEST(CellStoreTest, APartThatWasCutAnywhereKeepsItsWholeCells) {
  const auto folder = MemoryFolder("cut");
  const CellStore store(folder);
  for (int i = 0; i < 3; ++i) store.AppendPart(kShard, "w", 16 + i, SomeOutput(i + 1));
  const auto path = folder / "m" / "c" / "16.w.part";
  const std::string bytes = ReadFile(path);
  size_t most = 0;
  for (size_t size = 0; size <= bytes.size(); ++size) {
    WriteFile(path, bytes.substr(0, size));
    const auto parts = store.ReadParts(kShard);
    EXPECT_GE(parts.size(), most);
    most = parts.size();
    for (const auto& [frame, output] : parts) EXPECT_EQ(output, SomeOutput(frame - 15));
  }
  EXPECT_EQ(most, 3u);
}

TEST(CellStoreTest, EveryFlippedByteOfAPublishedFileIsDamage) {
  const CellStore store(MemoryFolder("flip"));
  std::vector<FrameOutput> outputs;
  for (int i = 0; i < 4; ++i) outputs.push_back(SomeOutput(i));
  store.Write(kShard, outputs);
  const std::string bytes = ReadFile(store.PathOf(kShard));
  for (size_t i = 0; i < bytes.size(); ++i) {
    std::string bad = bytes;
    bad[i] = static_cast<char>(bad[i] ^ 0x10);
    WriteFile(store.PathOf(kShard), bad);
    try {
      store.Read(kShard);
      ADD_FAILURE() << "byte " << i;
    } catch (const CellDamage& damage) {
      EXPECT_EQ(damage.shard.Id(), kShard.Id());
      EXPECT_THAT(damage.what(), HasSubstr("16.cells"));
    }
  }
  store.SetAside(kShard);
  EXPECT_FALSE(store.Has(kShard));
}

TEST(CellStoreTest, NotesNameTheirFrame) {
  const CellStore store(MemoryFolder("notes"));
  WriteFile(store.NotePath(kShard, "w2", 17), "hung");
  WriteFile(store.NotePath(kShard, "w1", 17), "crashed");
  WriteFile(store.NotePath(kShard, "w1", 18), "crashed");
  EXPECT_THAT(store.ReadNotes(kShard),
              ::testing::ElementsAre(::testing::Pair(17, ::testing::ElementsAre("crashed", "hung")),
                                     ::testing::Pair(18, ::testing::ElementsAre("crashed"))));
}

}  // namespace
}  // namespace athanor
