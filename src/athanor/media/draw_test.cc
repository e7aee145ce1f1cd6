#include "athanor/media/draw.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <set>

#include "athanor/base/error.h"
#include "athanor/base/test_util.h"
#include "athanor/media/plot.h"

namespace athanor {
namespace {

using ::testing::Each;
using ::testing::HasSubstr;

constexpr float kNaN = std::numeric_limits<float>::quiet_NaN();
constexpr Color kRed = {255, 0, 0};

Color At(const Image& image, int x, int y) {
  const uint8_t* p = image.at(x, y);
  return {p[0], p[1], p[2]};
}

int Count(const Image& image, Color color) {
  int count = 0;
  for (int y = 0; y < image.height; ++y) {
    for (int x = 0; x < image.width; ++x) count += At(image, x, y) == color;
  }
  return count;
}

// Of black on white: how much ink, in pixels.
double Ink(const Image& image) {
  double sum = 0;
  for (const uint8_t value : image.data) sum += 255 - value;
  return sum / (3 * 255);
}

void ExpectNear(Color a, Color b, int tolerance) {
  EXPECT_NEAR(a.r, b.r, tolerance);
  EXPECT_NEAR(a.g, b.g, tolerance);
  EXPECT_NEAR(a.b, b.b, tolerance);
}

// What D3's turbo, made from the same polynomial, and the table of viridis say.
TEST(ColorMapTest, MatchesWhatOthersShow) {
  ExpectNear(MapColor(ColorMap::kTurbo, 0), {35, 23, 27}, 1);
  ExpectNear(MapColor(ColorMap::kTurbo, 0.5f), {149, 251, 80}, 1);
  ExpectNear(MapColor(ColorMap::kTurbo, 1), {144, 12, 0}, 1);
  ExpectNear(MapColor(ColorMap::kViridis, 0), {68, 1, 84}, 0);
  ExpectNear(MapColor(ColorMap::kViridis, 0.5f), {33, 144, 140}, 1);
  ExpectNear(MapColor(ColorMap::kViridis, 1), {253, 231, 37}, 0);
  EXPECT_EQ(MapColor(ColorMap::kTurbo, kNaN), kBlack);
  EXPECT_EQ(MapColor(ColorMap::kViridis, -7), MapColor(ColorMap::kViridis, 0));
  EXPECT_EQ(MapColor(ColorMap::kTurbo, 1e9f), MapColor(ColorMap::kTurbo, 1));
}

TEST(ColorMapTest, ViridisGrowsEvenlyBrighter) {
  double previous = -1;
  for (int i = 0; i <= 100; ++i) {
    const Color color = MapColor(ColorMap::kViridis, static_cast<float>(i) / 100);
    const double luma = 0.2126 * color.r + 0.7152 * color.g + 0.0722 * color.b;
    EXPECT_GT(luma, previous) << i;
    previous = luma;
  }
}

TEST(ColorMapTest, DepthByItsReciprocalAndNothingIsBlack) {
  FloatImage depth(5, 1, 1);
  depth.data = {1, 2, 100, 0, kNaN};
  const Image colored = ColorizeDepth(depth, 1, 100, ColorMap::kViridis);
  EXPECT_EQ(At(colored, 0, 0), MapColor(ColorMap::kViridis, 1));
  EXPECT_EQ(At(colored, 1, 0), MapColor(ColorMap::kViridis, (0.5f - 0.01f) / 0.99f));
  EXPECT_EQ(At(colored, 2, 0), MapColor(ColorMap::kViridis, 0));
  EXPECT_EQ(At(colored, 3, 0), kBlack);
  EXPECT_EQ(At(colored, 4, 0), kBlack);
  EXPECT_THAT(ErrorOf([&] { ColorizeDepth(depth, 2, 1); }), HasSubstr("found 2 and 1"));
  EXPECT_THAT(ErrorOf([&] { ColorizeDepth(depth, 0, 1); }), HasSubstr("0 < near"));
}

TEST(ColorMapTest, ErrorIsTheMeanDifference) {
  Image truth(2, 1, 3, 100), render = truth;
  render.data = {100, 100, 100, 148, 52, 100};
  const Image colored = ColorizeError(truth, render, 64);
  EXPECT_EQ(At(colored, 0, 0), MapColor(ColorMap::kViridis, 0));
  EXPECT_EQ(At(colored, 1, 0), MapColor(ColorMap::kViridis, 0.5f));
  EXPECT_THAT(ErrorOf([&] { ColorizeError(truth, Image(1, 2, 3)); }), HasSubstr("2x1x3 and 1x2x3"));
}

TEST(DrawTest, RectanglesAreCutAtTheBorder) {
  Image image(10, 8, 3);
  FillRectangle(&image, 2, 3, 4, 2, kRed);
  EXPECT_EQ(Count(image, kRed), 8);
  EXPECT_EQ(At(image, 2, 3), kRed);
  EXPECT_EQ(At(image, 5, 4), kRed);
  FillRectangle(&image, -5, -5, 2000000000, 2147483647, kWhite);
  EXPECT_EQ(Count(image, kWhite), 80);
  FillRectangle(&image, 20, 2, 5, 5, kRed);
  FillRectangle(&image, 3, 3, -4, 5, kRed);
  EXPECT_EQ(Count(image, kRed), 0);
  DrawRectangle(&image, 1, 1, 6, 5, kRed, 1);
  EXPECT_EQ(Count(image, kRed), 2 * 6 + 2 * 3);
  EXPECT_EQ(At(image, 3, 3), kWhite);
  EXPECT_THAT(ErrorOf([] {
                Image grey(2, 2, 1);
                FillRectangle(&grey, 0, 0, 1, 1, kRed);
              }),
              HasSubstr("found 1 channels"));
}

TEST(DrawTest, AStraightLineCoversItsPixels) {
  Image image(20, 9, 3, 255);
  DrawLine(&image, 3.5, 4.5, 15.5, 4.5, kBlack, 1);
  for (int x = 4; x <= 14; ++x) EXPECT_EQ(At(image, x, 4), kBlack) << x;
  EXPECT_EQ(At(image, 10, 3), kWhite);
  EXPECT_EQ(At(image, 1, 4), kWhite);
}

TEST(DrawTest, InkIsLengthTimesThickness) {
  for (const double angle : {0.1, 0.6, 0.785, 1.2, 2.0, 3.0, 4.4}) {
    for (const double thickness : {1.0, 3.0}) {
      Image image(100, 100, 3, 255);
      const double x = 35 * std::cos(angle), y = 35 * std::sin(angle);
      DrawLine(&image, 50 - x, 50 - y, 50 + x, 50 + y, kBlack, thickness);
      // Thin lines at 45 degrees are a little bolder than they should be.
      EXPECT_NEAR(Ink(image), 70 * thickness + 0.785 * thickness * thickness, 0.12 * Ink(image))
          << angle << " " << thickness;
    }
  }
}

TEST(DrawTest, LinesFarOutsideAreCut) {
  Image image(50, 40, 3, 255);
  DrawLine(&image, -1e9, 20.5, 1e9, 20.5, kRed, 1);
  EXPECT_EQ(Count(image, kRed), 50);
  DrawLine(&image, 25.5, -1e12, 25.5, 1e12, kRed, 1);
  EXPECT_EQ(Count(image, kRed), 50 + 39);
  const Image before = image;
  DrawLine(&image, kNaN, 0, 10, 10, kRed);
  DrawLine(&image, 0, 0, std::numeric_limits<double>::infinity(), 10, kRed);
  DrawLine(&image, 100, 100, 300, 200, kRed);
  DrawLine(&image, -1e300, -1e300, -1e299, 1e300, kRed);
  EXPECT_EQ(image.data, before.data);
}

TEST(DrawTest, EachLetterIsItsOwn) {
  std::set<std::string> seen;
  for (char c = ' '; c <= '~'; ++c) {
    Image image(kLetterWidth, kLetterHeight, 3, 255);
    DrawText(&image, 0, 0, std::string(1, c), kBlack);
    EXPECT_TRUE(seen.emplace(image.data.begin(), image.data.end()).second) << c;
    EXPECT_EQ(Ink(image) == 0, c == ' ') << c;
    for (int y = 0; y < kLetterHeight; ++y) EXPECT_EQ(At(image, 5, y), kWhite) << "space between";
  }
  // The letter T: a bar above and a stem.
  Image image(kLetterWidth, kLetterHeight, 3, 255);
  DrawText(&image, 0, 0, "T", kBlack);
  EXPECT_EQ(Ink(image), 5 + 6);
  EXPECT_EQ(At(image, 4, 0), kBlack);
  EXPECT_EQ(At(image, 2, 6), kBlack);
}

TEST(DrawTest, TextScalesAndCountsCharactersNotBytes) {
  EXPECT_EQ(TextWidth("abc"), 18);
  EXPECT_EQ(TextWidth("é€x", 2), 36);
  Image one(60, 20, 3, 255), two(120, 40, 3, 255);
  DrawText(&one, 1, 2, "Ag\xc3\xa9", kBlack);
  DrawText(&two, 2, 4, "Ag\xc3\xa9", kBlack, 2);
  EXPECT_EQ(Ink(two), 4 * Ink(one));
  for (int i = 0; i < 60 * 20; ++i) {
    ASSERT_EQ(At(two, 2 * (i % 60), 2 * (i / 60)), At(one, i % 60, i / 60));
  }
  DrawText(&one, -1000, 5, "far", kBlack);
  DrawText(&one, 50, -3, "cut at the border", kBlack);
}

TEST(DrawTest, FitTextEndsWithDots) {
  EXPECT_EQ(FitText("short", 30), "short");
  EXPECT_EQ(FitText("longer than that", 30), "lon..");
  EXPECT_EQ(FitText("\xc3\xa9\xc3\xa9\xc3\xa9\xc3\xa9", 18), "\xc3\xa9..");
  EXPECT_EQ(FitText("abc", 5), "");
  EXPECT_EQ(FitText("\x80\x80\x80 broken UTF-8 \xff", 30).substr(0, 3), "\x80\x80\x80");
}

TEST(ContactSheetTest, PicturesStandInTheirColumns) {
  const Image red = [] {
    Image image(40, 20, 3);
    FillRectangle(&image, 0, 0, 40, 20, kRed);
    return image;
  }();
  const Image grey(10, 10, 1, 90);
  const Image sheet = ContactSheet({"truth", "render", "error"},
                                   {{{red, "first"}, {grey, "second"}}, {{red, ""}}}, 100);
  EXPECT_EQ(sheet.width, 8 + 3 * 108);
  EXPECT_EQ(Count(sheet, kRed), 2 * 100 * 50);
  EXPECT_EQ(Count(sheet, {90, 90, 90}), 100 * 100);
  EXPECT_EQ(At(sheet, 8, 8 + 24), kRed);
  EXPECT_EQ(At(sheet, 7, 8 + 24), kWhite);
  EXPECT_GT(Count(sheet, kBlack), 100) << "titles and captions";
  EXPECT_THAT(ErrorOf([] { ContactSheet({}, {}); }), HasSubstr("at least one cell"));
  EXPECT_EQ(Count(ContactSheet({}, {{{Image(), ""}}}, 50), kBlack), 0);
}

TEST(PlotTest, DrawsEachSeriesInItsColor) {
  PlotSeries up{"up", {0, 1, 2, 3}, {0, 1, 2, 3}}, down{"down", {0, 1, 2, 3}, {3, 2, 1, 0}};
  const Image both = PlotLines({up, down}, {.title = "T", .x_label = "step", .y_label = "loss"});
  EXPECT_EQ(both.width, 640);
  EXPECT_EQ(both.height, 400);
  const Color blue{0, 114, 178}, orange{213, 94, 0};
  EXPECT_GT(Count(both, blue), 300);
  EXPECT_GT(Count(both, orange), 300);
  // Rising to the right: the left half of the blue line is lower.
  double left_y = 0, right_y = 0;
  int left_count = 0, right_count = 0;
  for (int y = 0; y < both.height; ++y) {
    for (int x = 0; x < 400; ++x) {  // left of the legend
      if (!(At(both, x, y) == blue)) continue;
      (x < 200 ? left_y : right_y) += y;
      ++(x < 200 ? left_count : right_count);
    }
  }
  EXPECT_GT(left_y / left_count, right_y / right_count + 50);
}

TEST(PlotTest, StandsAnyValues) {
  const double inf = std::numeric_limits<double>::infinity(), nan = kNaN;
  const std::vector<std::vector<double>> values = {
      {},
      {5},
      {nan, nan},
      {1, nan, 3},
      {inf, -inf, 1},
      {0, 0, 0},
      {1e-320, 0, 1e-310},
      {1.7e308, -1.7e308},
      {1e15, 1e15 + 1},
      {1e-8, 1e8, 3},
      {-1, -2},
  };
  for (const auto& x : values) {
    for (const auto& y : values) {
      if (x.size() != y.size()) continue;
      for (const bool log_y : {false, true}) {
        const Image plot = PlotLines({{"series", x, y}}, {.log_y = log_y});
        EXPECT_GT(Count(plot, kBlack), 20) << "ticks have labels";
      }
    }
  }
  EXPECT_GT(Count(PlotLines({}), kBlack), 20);
}

TEST(PlotTest, RefusesSeriesOfTwoLengths) {
  EXPECT_THAT(ErrorOf([] {
                PlotLines({{"loss", {1, 2}, {3}}});
              }),
              HasSubstr("'loss': expected as many x as y, found 2 and 1"));
  EXPECT_THAT(ErrorOf([] { PlotLines({}, {.width_px = 10}); }), HasSubstr("found 10x400"));
}

}  // namespace
}  // namespace athanor
