#include "athanor/scenes/semantics/wordnet.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "athanor/base/files.h"
#include "athanor/base/test_util.h"

namespace athanor {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

// Two synsets as wndb(5WN) says: {mug, coffee mug} is a kind of {container}.
std::filesystem::path SmallWordNet(const std::string& name) {
  const auto folder = TestFolder(name);
  const std::string container =
      "00000000 06 n 01 container 0 001 ~ 00000068 n 0000 | holds things  \n";
  EXPECT_EQ(container.size(), 68u);
  WriteFile(folder / "data.noun",
            container +
                "00000068 06 n 02 mug 0 Coffee_mug 0 001 @ 00000000 n 0000 | with a "
                "handle; for drinking; \"a mug of tea\"  \n");
  WriteFile(folder / "index.noun",
            "  1 the licence\ncoffee_mug n 1 1 @ 1 0 00000068  \ncontainer n 1 1 ~ 1 0 00000000  \n"
            "mug n 1 1 @ 1 0 00000068  \n");
  return folder;
}

TEST(WordNetTest, ReadsSensesAndWhatTheyAreKindsOf) {
  const auto folder = SmallWordNet("wordnet");
  WriteFile(folder / "noun.exc", "mugga mug\n");
  const WordNet nouns(folder);
  ASSERT_THAT(nouns.Senses("Coffee mug"), ElementsAre(68));
  const WordNet::Synset mug = nouns.Read(68);
  EXPECT_EQ(mug.offset, 68);
  EXPECT_THAT(mug.words, ElementsAre("mug", "coffee mug"));
  EXPECT_EQ(mug.lexicographer_file, 6);
  EXPECT_EQ(mug.gloss, "with a handle; for drinking");
  const auto above = nouns.Ancestors(mug, 3);
  ASSERT_EQ(above.size(), 1u);
  EXPECT_THAT(above[0].words, ElementsAre("container"));
  EXPECT_THAT(above[0].kinds, ElementsAre(68));
  EXPECT_THAT(nouns.Senses("zebra"), IsEmpty());
  EXPECT_EQ(nouns.Singular("mugga"), "mug");
}

TEST(WordNetTest, RefusesDamagedFiles) {
  const auto folder = SmallWordNet("wordnet bad");
  EXPECT_THAT(ErrorOf([&] { WordNet nouns(folder / "none"); }), HasSubstr("data.noun"));
  WriteFile(folder / "index.noun", "mug v 1 1 @ 1 0 00000052\n");
  EXPECT_THAT(ErrorOf([&] { WordNet nouns(folder); }),
              AllOf(HasSubstr("index.noun:1"), HasSubstr("expected a noun")));
  WriteFile(folder / "index.noun", "  the licence alone\n");
  EXPECT_THAT(ErrorOf([&] { WordNet nouns(folder); }), HasSubstr("found none"));
  WriteFile(folder / "index.noun", "mug n 1 1 @ 1 0 00000007\nstuff n 1 0 1 0 99999999\n");
  const WordNet nouns(folder);
  EXPECT_THAT(ErrorOf([&] { nouns.Read(nouns.Senses("mug")[0]); }),
              AllOf(HasSubstr("data.noun"), HasSubstr("byte 7")));
  EXPECT_THAT(ErrorOf([&] { nouns.Read(nouns.Senses("stuff")[0]); }),
              HasSubstr("no synset at byte 99999999"));
  const std::string whole = ReadFile(SmallWordNet("wordnet cut") / "data.noun");
  for (size_t size = 69; size < whole.find(" 001 @"); ++size) {
    WriteFile(folder / "data.noun", whole.substr(0, size));
    const WordNet cut(folder);
    EXPECT_THAT(ErrorOf([&] { cut.Read(68); }), HasSubstr("data.noun: byte 68")) << size;
  }
}

}  // namespace
}  // namespace athanor
