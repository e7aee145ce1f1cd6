#include "athanor/scenes/semantics/evaluation/mask_metrics.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>

#include "athanor/base/random.h"
#include "athanor/base/test_util.h"

namespace athanor {
namespace {

using ::testing::HasSubstr;

std::vector<uint8_t> Box(int width, int height, int x0, int y0, int x1, int y1) {
  std::vector<uint8_t> mask(width * height);
  for (int y = y0; y < y1; ++y) {
    for (int x = x0; x < x1; ++x) mask[y * width + x] = 255;
  }
  return mask;
}

TEST(MaskMetrics, Iou) {
  const auto a = Box(10, 8, 0, 0, 4, 4), b = Box(10, 8, 2, 0, 6, 4), none = Box(10, 8, 0, 0, 0, 0);
  EXPECT_DOUBLE_EQ(MaskIou({a, 10, 8}, {b, 10, 8}), 8.0 / 24);
  EXPECT_DOUBLE_EQ(MaskIou({a, 10, 8}, {none, 10, 8}), 0);
  EXPECT_DOUBLE_EQ(MaskIou({none, 10, 8}, {none, 10, 8}), 1);
  EXPECT_THAT(ErrorOf([&] {
                MaskIou({a, 10, 8}, {a, 8, 10});
              }),
              HasSubstr("expected a predicted mask of 10 x 8 as the truth, found 8 x 10"));
  EXPECT_THAT(ErrorOf([&] { MaskIou({a, 10, 9}, {a, 10, 9}); }), HasSubstr("found 80"));
}

// The definition itself: erode one pixel after another.
std::vector<uint8_t> ErodedBand(const std::vector<uint8_t>& mask, int width, int height,
                                int times) {
  std::vector<uint8_t> eroded = mask;
  for (int i = 0; i < times; ++i) {
    const std::vector<uint8_t> before = eroded;
    for (int y = 0; y < height; ++y) {
      for (int x = 0; x < width; ++x) {
        for (int dy = -1; dy <= 1; ++dy) {
          for (int dx = -1; dx <= 1; ++dx) {
            const int u = x + dx, v = y + dy;
            const bool inside = u >= 0 && v >= 0 && u < width && v < height;
            if (!inside || before[v * width + u] == 0) eroded[y * width + x] = 0;
          }
        }
      }
    }
  }
  std::vector<uint8_t> band(mask.size());
  for (size_t i = 0; i < mask.size(); ++i) band[i] = mask[i] != 0 && eroded[i] == 0 ? 1 : 0;
  return band;
}

TEST(MaskMetrics, BoundaryIouEqualsItsDefinition) {
  Random random(7);
  for (int repeat = 0; repeat < 20; ++repeat) {
    const int width = 60 + static_cast<int>(random.Below(60));
    const int height = 50 + static_cast<int>(random.Below(60));
    const auto blob = [&] {
      std::vector<uint8_t> mask(width * height);
      for (int k = 0; k < 4; ++k) {
        const float x0 = random.Uniform(0, width), y0 = random.Uniform(0, height),
                    radius = random.Uniform(3, 30);
        for (int y = 0; y < height; ++y) {
          for (int x = 0; x < width; ++x) {
            if (std::hypot(x - x0, y - y0) < radius) mask[y * width + x] = 1;
          }
        }
      }
      return mask;
    };
    const auto a = blob(), b = blob();
    const int d = std::max(1, static_cast<int>(std::nearbyint(0.02 * std::hypot(width, height))));
    const auto band_a = ErodedBand(a, width, height, d), band_b = ErodedBand(b, width, height, d);
    EXPECT_DOUBLE_EQ(BoundaryIou({a, width, height}, {b, width, height}),
                     MaskIou({band_a, width, height}, {band_b, width, height}));
  }
}

TEST(MaskMetrics, BoundaryIouPunishesThinErrorsMore) {
  const auto truth = Box(200, 200, 40, 40, 160, 160), shifted = Box(200, 200, 44, 40, 164, 160);
  const double iou = MaskIou({truth, 200, 200}, {shifted, 200, 200});
  const double boundary = BoundaryIou({truth, 200, 200}, {shifted, 200, 200});
  EXPECT_GT(iou, 0.9);
  EXPECT_LT(boundary, 0.7);
  EXPECT_DOUBLE_EQ(BoundaryIou({truth, 200, 200}, {truth, 200, 200}), 1);
}

TEST(MaskMetrics, Localization) {
  std::vector<float> map(20, 0.1f);
  map[1 * 5 + 3] = 0.9f;  // x 3, y 1
  map[0] = std::nanf("");
  const PixelBox hit[] = {{0, 0, 1, 1}, {3, 1, 4, 2}}, miss[] = {{0, 0, 2, 3}};
  EXPECT_TRUE(IsLocalized({map, 5, 4}, hit));
  EXPECT_FALSE(IsLocalized({map, 5, 4}, miss));
  EXPECT_FALSE(IsLocalized({map, 5, 4}, {}));
  map[3 * 5 + 0] = 0.9f;  // as high, and inside the other box
  EXPECT_TRUE(IsLocalized({map, 5, 4}, miss));
  EXPECT_THAT(ErrorOf([] { IsLocalized({{}, 0, 0}, {}); }), HasSubstr("found 0"));
}

TEST(MaskMetrics, Selections) {
  EXPECT_EQ(SilhouetteMask(std::vector<float>{0.69f, 0.7f, 0.71f}),
            (std::vector<uint8_t>{0, 0, 1}));
  const SelectionScores scores = ScoreSelections(std::vector<double>{0, 0.25, 0.4, 0.75});
  EXPECT_DOUBLE_EQ(scores.mean_iou, 0.35);
  EXPECT_DOUBLE_EQ(scores.accuracy_25, 0.5);
  EXPECT_DOUBLE_EQ(scores.accuracy_50, 0.25);
  EXPECT_THAT(ErrorOf([] { ScoreSelections({}); }), HasSubstr("at least one query"));
}

TEST(MaskMetrics, ScenesAndQueriesWeighDifferently) {
  const SceneHits scenes[] = {{1, 1}, {1, 9}, {0, 0}};
  EXPECT_DOUBLE_EQ(PoolAccuracy(scenes).scene_mean, (1 + 1.0 / 9) / 2);
  EXPECT_DOUBLE_EQ(PoolAccuracy(scenes).query_weighted, 0.2);
  const SceneHits none[] = {{0, 0}}, wrong[] = {{2, 1}};
  EXPECT_THAT(ErrorOf([&] { PoolAccuracy(none); }), HasSubstr("found none"));
  EXPECT_THAT(ErrorOf([&] { PoolAccuracy(wrong); }), HasSubstr("expected 0 to 1 hits, found 2"));
}

}  // namespace
}  // namespace athanor
