#include "athanor/loop/features/class_words.h"

#include <gmock/gmock.h>

namespace athanor {
namespace {

using ::testing::ElementsAre;
using ::testing::Gt;

const std::vector<std::string> kClasses = {"car", "truck", "pedestrian", "traffic_cone", "animal"};

TEST(ClassWords, WithoutADictionaryNamesAreNames) {
  EXPECT_THAT(FitClasses("a Traffic  cone", kClasses, nullptr), ElementsAre(0, 0, 0, 1, 0));
  EXPECT_THAT(FitClasses("cars", kClasses, nullptr), ElementsAre(1, 0, 0, 0, 0));
  EXPECT_THAT(FitClasses("dog", kClasses, nullptr), ElementsAre(0, 0, 0, 0, 0));
}

TEST(ClassWords, KindsByWordNet) {
  const WordNet* wordnet = WordNet::Installed();
  if (wordnet == nullptr) GTEST_SKIP() << "needs WordNet's nouns (Debian: wordnet-base)";
  EXPECT_THAT(FitClasses("dog", kClasses, wordnet), ElementsAre(0, 0, 0, 0, Gt(0.2)));
  EXPECT_THAT(FitClasses("sheep", kClasses, wordnet), ElementsAre(0, 0, 0, 0, Gt(0.05)));
  EXPECT_THAT(FitClasses("automobile", kClasses, wordnet), ElementsAre(1, 0, 0, 0, 0));
  EXPECT_THAT(FitClasses("the vehicle", kClasses, wordnet), ElementsAre(1, 1, 0, 0, 0));
  EXPECT_THAT(FitClasses("ambulance", kClasses, wordnet), ElementsAre(Gt(0.2), 0, 0, 0, 0));
  EXPECT_THAT(FitClasses("xyzzy", kClasses, wordnet), ElementsAre(0, 0, 0, 0, 0));
  // People are called so, too.
  EXPECT_THAT(FitClasses("tree", kClasses, wordnet), ElementsAre(0, 0, 0, 0, 0));
}

}  // namespace
}  // namespace athanor
