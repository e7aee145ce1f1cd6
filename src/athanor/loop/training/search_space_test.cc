#include "athanor/loop/training/search_space.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <set>

#include "athanor/base/test_util.h"
#include "athanor/loop/training/toml_section.h"

namespace athanor {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

constexpr const char* kSpace = R"(
budget = 3
[space]
rate = { low = 1e-4, high = 0.1, scale = "log" }
momentum = { low = 0, high = 0.99 }
hidden = { low = 4, high = 64, scale = "log", integer = true, fixed = true }
layers = { low = 1, high = 3, integer = true }
kind = { choices = ["a", "b", "c"] }
)";

TEST(SearchSpaceTest, DrawsEveryPartOfItsRanges) {
  const SearchSpace space = SearchSpace::FromToml(kSpace, "space.toml");
  ASSERT_EQ(space.ranges().size(), 5u);
  EXPECT_EQ(space.ranges()[0].name, "rate");  // the order of the file
  EXPECT_EQ(space.ranges()[4].name, "kind");
  Random random(3);
  int low_rates = 0;
  std::set<std::string> layers, kinds;
  for (int i = 0; i < 3000; ++i) {
    const HyperParameters hyper = space.Sample(&random);
    space.Check(hyper, "drawn");
    // Half of the logarithms lie below the geometric mean of the ends.
    low_rates += HyperNumber(hyper, "rate") < std::sqrt(1e-5);
    layers.insert(hyper.at("layers"));
    kinds.insert(hyper.at("kind"));
  }
  EXPECT_NEAR(low_rates, 1500, 5 * std::sqrt(750));
  EXPECT_EQ(layers, (std::set<std::string>{"1", "2", "3"}));
  EXPECT_EQ(kinds, (std::set<std::string>{"a", "b", "c"}));
}

TEST(SearchSpaceTest, AThousandPerturbationsStayInRange) {
  const SearchSpace space = SearchSpace::FromToml(kSpace, "space.toml");
  Random random(4);
  HyperParameters hyper = space.Sample(&random);
  const std::string hidden = hyper.at("hidden");
  for (int i = 0; i < 1000; ++i) {
    hyper = space.Perturb(hyper, 0.05, &random);
    space.Check(hyper, "perturbed");
    EXPECT_EQ(hyper.at("hidden"), hidden);
  }
}

TEST(SearchSpaceTest, PerturbsByAFifthOrDrawsAnew) {
  const SearchSpace space({{.name = "x", .low = 0, .high = 100},
                           {.name = "n", .kind = HyperRange::Kind::kInteger, .low = 1, .high = 9}});
  Random random(5);
  int up = 0, others = 0;
  constexpr int kTrials = 2000;
  for (int i = 0; i < kTrials; ++i) {
    const HyperParameters changed = space.Perturb({{"x", "10"}, {"n", "2"}}, 0.25, &random);
    const double x = HyperNumber(changed, "x");
    up += x == 12;
    others += x != 12 && x != 8;
  }
  EXPECT_NEAR(others, kTrials / 4, 5 * std::sqrt(kTrials * 0.25 * 0.75));
  EXPECT_NEAR(up, kTrials * 3 / 8, 5 * std::sqrt(kTrials * 0.375 * 0.625));
  // Without drawing anew an integer moves all the same.
  for (int i = 0; i < 20; ++i) {
    EXPECT_THAT(space.Perturb({{"x", "10"}, {"n", "2"}}, 0, &random).at("n"),
                ::testing::AnyOf("1", "3"));
  }
}

TEST(SearchSpaceTest, CrossingTakesFromBothAndSizesFromTheFirst) {
  const SearchSpace space = SearchSpace::FromToml(kSpace, "space.toml");
  Random random(6);
  const HyperParameters first = space.Sample(&random), second = space.Sample(&random);
  ASSERT_NE(first.at("rate"), second.at("rate"));
  std::set<std::string> rates;
  for (int i = 0; i < 50; ++i) {
    const HyperParameters crossed = space.Cross(first, second, &random);
    rates.insert(crossed.at("rate"));
    EXPECT_EQ(crossed.at("hidden"), first.at("hidden"));
  }
  EXPECT_EQ(rates, (std::set<std::string>{first.at("rate"), second.at("rate")}));
}

TEST(SearchSpaceTest, TextOfNumbersReadsBack) {
  Random random(7);
  for (int i = 0; i < 1000; ++i) {
    const double value = std::exp(random.Uniform(-40, 40));
    EXPECT_EQ(HyperNumber({{"x", HyperText(value)}}, "x"), value);
  }
}

TEST(TomlSectionTest, KeepsTheLinesOfATable) {
  const std::string text = "a = 1\n[one]\nb = 2\n\n[two] # of two\nc = [\n[3]]\n";
  EXPECT_EQ(TomlSection(text, "t.toml", ""), "a = 1\n\n\n\n\n\n\n");
  EXPECT_EQ(TomlSection(text, "t.toml", "one"), "\n\nb = 2\n\n\n\n\n");
  EXPECT_EQ(TomlSection(text, "t.toml", "two"), "\n\n\n\n\nc = [\n[3]]\n");
  EXPECT_EQ(TomlSection(text, "t.toml", "three"), "\n\n\n\n\n\n\n");
  CheckTomlTables(text, "t.toml", {"one", "two"});
  EXPECT_THAT(ErrorOf([&] { CheckTomlTables(text, "t.toml", {"one"}); }),
              AllOf(HasSubstr("t.toml: line 5"), HasSubstr("'two'")));
  EXPECT_THAT(ErrorOf([] { TomlSection("a = \n", "t.toml", ""); }), HasSubstr("t.toml: line 1"));
}

TEST(SearchSpaceTest, SaysWhatIsWrong) {
  const auto error = [](const std::string& line) {
    return ErrorOf([&] { SearchSpace::FromToml("[space]\n" + line + "\n", "c.toml"); });
  };
  EXPECT_THAT(error("x = { low = 2, high = 1 }"),
              AllOf(HasSubstr("c.toml: line 2: "), HasSubstr("'x'"), HasSubstr("range is empty"),
                    HasSubstr("found 2 and 1")));
  EXPECT_THAT(error("x = { choices = [] }"), HasSubstr("range is empty"));
  EXPECT_THAT(error("x = { low = 0, high = 1, scale = \"log\" }"), HasSubstr("low above 0"));
  EXPECT_THAT(error("x = { lo = 0, high = 1 }"), HasSubstr("found 'lo'"));
  EXPECT_THAT(error("x = { low = 0 }"), HasSubstr("expected low and high, or choices"));
  EXPECT_THAT(error("x = { low = \"a\", high = 1 }"), HasSubstr("low: expected a number"));
  EXPECT_THAT(error("x = 3"), HasSubstr("expected { low"));
  EXPECT_THAT(error("x = { low = 0.5, high = 3, integer = true }"), HasSubstr("expected integers"));
  EXPECT_THAT(error(""), HasSubstr("expected a table [space]"));
  EXPECT_THAT(error("x = {"), HasSubstr("c.toml: line 2"));
  const SearchSpace space = SearchSpace::FromToml(kSpace, "c.toml");
  Random random(1);
  HyperParameters hyper = space.Sample(&random);
  hyper["rate"] = "7";
  EXPECT_THAT(ErrorOf([&] { space.Check(hyper, "m"); }), HasSubstr("'rate': expected 0.0001"));
  hyper["rate"] = "fast";
  EXPECT_THAT(ErrorOf([&] { space.Check(hyper, "m"); }), HasSubstr("found 'fast'"));
}

}  // namespace
}  // namespace athanor
