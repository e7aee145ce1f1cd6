// Prompts as words, and what phrases are true of.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "athanor/base/files.h"
#include "athanor/base/test_util.h"
#include "athanor/scenes/semantics/teachers/embedded/lexicon.h"
#include "athanor/scenes/semantics/teachers/embedded/words.h"

namespace athanor {
namespace {

using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

TEST(EmbeddedWords, SplitsPromptsAndLeavesOutWhatSaysNothing) {
  EXPECT_THAT(SplitWords("The RED mug, on a table!"), ElementsAre("red", "mug", "on", "table"));
  EXPECT_THAT(SplitWords("the chair's leg; T-shirt"), ElementsAre("chair", "leg", "t", "shirt"));
  EXPECT_THAT(SplitWords("caf\xc3\xa9"), ElementsAre("caf\xc3\xa9"));
  EXPECT_THAT(SplitWords(" a the ,.-"), IsEmpty());
}

TEST(EmbeddedWords, FindsFormsOfKnownWords) {
  const Vocabulary words({"mug", "shelf", "sit", "box", "knife", "berry", "write", "headphones"});
  const auto found = [&](const std::string& word) {
    const int id = words.Find(word);
    return id < 0 ? std::string("-") : words.words()[id];
  };
  EXPECT_EQ(found("mug"), "mug");
  EXPECT_EQ(found("mugs"), "mug");
  EXPECT_EQ(found("shelves"), "shelf");
  EXPECT_EQ(found("sitting"), "sit");
  EXPECT_EQ(found("boxes"), "box");
  EXPECT_EQ(found("knives"), "knife");
  EXPECT_EQ(found("berries"), "berry");
  EXPECT_EQ(found("writing"), "write");
  EXPECT_EQ(found("headphone"), "headphones");
  EXPECT_EQ(found("giraffe"), "-");
}

TEST(EmbeddedWords, KeepsUnknownWordsApartAndNamesTheNearest) {
  const Vocabulary words({"mug", "chair", "table", "red"});
  const Vocabulary::Tokens tokens = words.Tokenize("a red zebra chiar");
  EXPECT_THAT(tokens.ids, ElementsAre(3));
  EXPECT_THAT(tokens.unknown, ElementsAre("zebra", "chiar"));
  EXPECT_EQ(words.Nearest("chiar", 2)[0], "chair");
  EXPECT_EQ(words.Nearest("mg", 9).size(), 4u);
  EXPECT_THAT(ErrorOf([] { Vocabulary({"mug", "mug"}); }), HasSubstr("'mug' comes twice"));
  EXPECT_THAT(ErrorOf([] { Vocabulary({"Two words"}); }), HasSubstr("found 'Two words'"));
}

// Two synsets as wndb(5WN) says: {mug, coffee mug} is a kind of {container}.
std::filesystem::path SmallWordNet() {
  const auto folder = TestFolder("wordnet lexicon");
  const std::string container = "00000000 06 n 01 container 0 000 | holds things  \n";
  std::string at = std::to_string(container.size());
  at.insert(0, 8 - at.size(), '0');
  WriteFile(folder / "data.noun",
            container + at + " 06 n 02 mug 0 Coffee_mug 0 001 @ 00000000 n 0000 | to drink  \n");
  WriteFile(folder / "index.noun", "  1 the licence\ncoffee_mug n 1 1 @ 1 0 " + at +
                                       "  \ncontainer n 1 0 1 0 00000000  \nmug n 1 1 @ 1 0 " + at +
                                       "  \n");
  return folder;
}

Lexicon SmallLexicon(const WordNet* nouns = nullptr) {
  return Lexicon({{"mug", {"coffee mug"}, "tableware", {"to drink from"}, {"body", "handle"}},
                  {"plate", {"dish"}, "tableware", {"to eat from"}, {"body", "rim"}},
                  {"bowl", {"dish"}, "tableware", {"to eat from"}, {"body"}},
                  {"chair", {}, "furniture", {"to sit on"}, {"seat", "leg"}},
                  {"wall", {}, "structure", {}, {}}},
                 {"blue", "red"}, {"ceramic", "wooden"}, {"", "striped"}, {"large", "small"},
                 nouns);
}

TEST(Lexicon, TellsTruthOfPhrases) {
  const Lexicon lexicon = SmallLexicon();
  Random random(1);
  const PixelLabel red_handle = {.kind = 0,
                                 .color = 1,
                                 .material = 0,
                                 .pattern = 0,
                                 .size = 1,
                                 .part = lexicon.FindPart("handle")};
  const auto truth = [&](int kind, int color, const char* part) {
    return Holds(lexicon.Describe(kind, color, part == nullptr ? kUnknown : lexicon.FindPart(part),
                                  random, true),
                 red_handle);
  };
  EXPECT_EQ(truth(0, kUnknown, nullptr), Truth::kTrue);  // mug
  EXPECT_EQ(truth(0, 1, nullptr), Truth::kTrue);         // red mug
  EXPECT_EQ(truth(0, 0, nullptr), Truth::kFalse);        // blue mug
  EXPECT_EQ(truth(0, 1, "handle"), Truth::kTrue);        // red mug handle
  EXPECT_EQ(truth(0, kUnknown, "body"), Truth::kFalse);  // mug body
  EXPECT_EQ(truth(3, kUnknown, "leg"), Truth::kFalse);   // chair leg
  PixelLabel no_color = red_handle;
  no_color.color = kUnknown;
  const Phrase red_mug = lexicon.Describe(0, 1, kUnknown, random, true);
  EXPECT_EQ(red_mug.text, "red mug");
  EXPECT_EQ(Holds(red_mug, no_color), Truth::kUnsaid);
  // A word that two kinds share is true of both.
  Phrase dish;
  while (dish.text != "dish") dish = lexicon.NameOf(1, random);
  EXPECT_EQ(Holds(dish, {.kind = 1}), Truth::kTrue);
  EXPECT_EQ(Holds(dish, {.kind = 2}), Truth::kTrue);
  EXPECT_EQ(Holds(dish, {.kind = 0}), Truth::kFalse);
  EXPECT_TRUE(lexicon.Shares(2, dish));
}

TEST(Lexicon, DrawnDescriptionsAreTrueAndTheirWordsAreKnown) {
  const WordNet nouns(SmallWordNet());
  const Lexicon lexicon = SmallLexicon(&nouns);
  const Vocabulary vocabulary(lexicon.Words());
  EXPECT_GE(vocabulary.Find("container"), 0);  // what WordNet says of mugs
  Random random(2);
  int false_ones = 0;
  for (int i = 0; i < 3000; ++i) {
    PixelLabel label;
    label.kind = static_cast<int>(random.Below(5));
    label.color = static_cast<int>(random.Below(3)) - 1;  // kUnknown too
    label.material = static_cast<int>(random.Below(3)) - 1;
    label.pattern = static_cast<int>(random.Below(2));
    label.size = static_cast<int>(random.Below(2));
    const auto& parts = lexicon.kinds()[label.kind].parts;
    if (!parts.empty()) {
      label.part = lexicon.FindPart(parts[random.Below(static_cast<uint32_t>(parts.size()))]);
    }
    const Phrase phrase = lexicon.TrueOf(label, random);
    EXPECT_EQ(Holds(phrase, label), Truth::kTrue) << phrase.text;
    const Phrase near = lexicon.NearlyTrueOf(label, random);
    false_ones += Holds(near, label) == Truth::kFalse;
    for (const std::string& text : {phrase.text, near.text}) {
      EXPECT_THAT(vocabulary.Tokenize(text).unknown, IsEmpty()) << text;
      EXPECT_FALSE(vocabulary.Tokenize(text).ids.empty()) << text;
    }
  }
  EXPECT_GT(false_ones, 900);
  for (const std::string& word : NeutralWords()) EXPECT_THAT(lexicon.Words(), Contains(word));
}

}  // namespace
}  // namespace athanor
