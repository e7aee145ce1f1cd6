#include "athanor/scenes/semantics/teachers/clip_tokenizer.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "athanor/base/files.h"
#include "athanor/base/test_util.h"

namespace athanor {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

class ClipTokenizerTest : public ::testing::Test {
 protected:
  void SetUp() override { ATHANOR_SKIP_WITHOUT("clip_text_space"); }
  static const ClipTokenizer& Tokenizer() {
    static const ClipTokenizer tokenizer(SharedData("clip_text_space") /
                                         "bpe_simple_vocab_16e6.txt.gz");
    return tokenizer;
  }
  static std::vector<int32_t> Inner(std::string_view text) {
    std::vector<int32_t> tokens = Tokenizer().Encode(text);
    EXPECT_EQ(tokens.front(), ClipTokenizer::kStart);
    EXPECT_EQ(tokens.back(), ClipTokenizer::kEnd);
    return {tokens.begin() + 1, tokens.end() - 1};
  }
};

// Expected tokens: those that OpenAI's documentation shows, and a second implementation of the
// encoding, in another language, from its description.
TEST_F(ClipTokenizerTest, KnownTokens) {
  EXPECT_THAT(Inner("a photo of a cat"), ElementsAre(320, 1125, 539, 320, 2368));
  EXPECT_THAT(Inner("hello world!"), ElementsAre(3306, 1002, 256));
  EXPECT_THAT(Inner("supercalifragilisticexpialidocious"),
              ElementsAre(1642, 2857, 13093, 2076, 5868, 26850, 835, 639, 38466));
  EXPECT_THAT(Inner("it's 2024, isn't it?!"),
              ElementsAre(585, 568, 273, 271, 273, 275, 267, 2923, 713, 585, 2835));
  EXPECT_THAT(Inner("a<|endoftext|>b"), ElementsAre(320, 49407, 321));
}

TEST_F(ClipTokenizerTest, CleansText) {
  const auto cat = Inner("a photo of a cat");
  EXPECT_EQ(Inner("A  PHOTO\n of\ta Cat "), cat);
  EXPECT_EQ(Inner("a photo\u3000of\u00a0a c\uff41t"), cat);  // wide and unbroken spaces, wide a
  EXPECT_EQ(Inner("it\u2019s"), Inner("it's"));
  EXPECT_EQ(Inner("e\u0301"), Inner("\u00e9"));  // composed
  EXPECT_THAT(Inner("&lt;b&gt;caf&#233; &amp;amp; r&eacute;sum&#xE9;"),
              ElementsAre(283, 321, 285, 15304, 261, 29106, 7054, 4166));
  EXPECT_EQ(Inner("a & b; &nosuch; &#xffffffffff;").size(),
            Inner("a & b ; & nosuch ; &# xffffffffff ;").size());
}

TEST_F(ClipTokenizerTest, AnyLanguage) {
  EXPECT_THAT(Inner("一只猫在街上"), ElementsAre(19759, 222, 34517, 103, 163, 234, 104, 37746, 101,
                                                 164, 94, 245, 19759, 488));
  EXPECT_THAT(Inner("I ❤️ 🚗🚕 driving"), ElementsAre(328, 1752, 33054, 2730, 499, 4161));
  EXPECT_THAT(Inner("ΟΔΥΣΣΕΥΣ İstanbul"),
              ElementsAre(138, 123, 138, 112, 139, 227, 139, 225, 139, 225, 138, 113, 139, 227, 139,
                          480, 328, 16384, 11231));
  EXPECT_THAT(Inner("naïve Ünïcödé ½ x² 5%"),
              ElementsAre(1097, 35689, 563, 6522, 77, 35689, 66, 7255, 67, 4166, 33613, 343, 41175,
                          276, 260));
}

TEST_F(ClipTokenizerTest, SaysWhatDoesNotFit) {
  const auto padded = Tokenizer().EncodePadded("cat", 77);
  ASSERT_EQ(padded.size(), 77u);
  EXPECT_THAT(std::vector<int32_t>(padded.begin(), padded.begin() + 4),
              ElementsAre(49406, 2368, 49407, 0));
  std::string longest;
  for (int i = 0; i < 75; ++i) longest += "cat ";
  EXPECT_EQ(Tokenizer().EncodePadded(longest, 77).back(), ClipTokenizer::kEnd);
  EXPECT_THAT(ErrorOf([&] { Tokenizer().EncodePadded(longest + "cat", 77); }),
              AllOf(HasSubstr("'cat cat"), HasSubstr("has 78 tokens, expected at most 77")));
  EXPECT_THAT(ErrorOf([&] { Tokenizer().EncodePadded(" \n ", 77); }), HasSubstr("an empty prompt"));
  EXPECT_THAT(ErrorOf([&] { Tokenizer().Encode("cat \xff\xfe"); }),
              HasSubstr("not UTF-8 at byte 4"));
}

TEST_F(ClipTokenizerTest, RefusesADamagedVocabulary) {
  const auto folder = TestFolder("vocabulary");
  const std::string bytes =
      ReadFile(SharedData("clip_text_space") / "bpe_simple_vocab_16e6.txt.gz");
  WriteFile(folder / "cut.gz", bytes.substr(0, bytes.size() / 2));
  EXPECT_THAT(ErrorOf([&] { ClipTokenizer{folder / "cut.gz"}; }), HasSubstr("cut.gz: "));
  WriteFile(folder / "short.txt", "#version\na b\nc d\n");
  EXPECT_THAT(ErrorOf([&] { ClipTokenizer{folder / "short.txt"}; }),
              HasSubstr("ends after 2 merges, expected 48894"));
  WriteFile(folder / "odd.txt", "#version\na b c\n");
  EXPECT_THAT(ErrorOf([&] { ClipTokenizer{folder / "odd.txt"}; }),
              HasSubstr("odd.txt:2: expected two parts of a word, found 'a b c'"));
  EXPECT_THAT(ErrorOf([&] { ClipTokenizer{folder / "none.gz"}; }), HasSubstr("no such file"));
}

}  // namespace
}  // namespace athanor
