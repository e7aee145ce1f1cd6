#include "athanor/scenes/semantics/teachers/masks.h"

#include <ATen/ATen.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <random>

#include "athanor/base/test_util.h"
#include "athanor/scenes/semantics/teachers/mask_source.h"

namespace athanor {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

BitMask Rectangle(int width, int height, PixelRect box) {
  BitMask mask(width, height);
  for (int y = box.top; y < box.bottom; ++y) {
    for (int x = box.left; x < box.right; ++x) mask.Set(x, y, true);
  }
  mask.Close();
  return mask;
}

TEST(BitMaskTest, BoxAreaAndOverlapAreThoseOfThePixels) {
  std::mt19937 random(1);
  for (int trial = 0; trial < 200; ++trial) {
    const int width = 1 + static_cast<int>(random() % 150),
              height = 1 + static_cast<int>(random() % 9);
    BitMask masks[2] = {BitMask(width, height), BitMask(width, height)};
    int64_t area = 0, both = 0;
    PixelRect box = {width, height, 0, 0};
    for (int y = 0; y < height; ++y) {
      for (int x = 0; x < width; ++x) {
        const bool a = random() % 40 == 0, b = random() % 3 == 0;
        masks[0].Set(x, y, a);
        masks[1].Set(x, y, b);
        area += a;
        both += a && b;
        if (!a) continue;
        box = {std::min(box.left, x), std::min(box.top, y), std::max(box.right, x + 1),
               std::max(box.bottom, y + 1)};
      }
    }
    for (BitMask& mask : masks) mask.Close();
    ASSERT_EQ(masks[0].area(), area);
    ASSERT_EQ(Overlap(masks[0], masks[1]), both);
    if (area == 0) continue;
    ASSERT_EQ(masks[0].box().left, box.left);
    ASSERT_EQ(masks[0].box().top, box.top);
    ASSERT_EQ(masks[0].box().right, box.right);
    ASSERT_EQ(masks[0].box().bottom, box.bottom);
  }
  EXPECT_THAT(ErrorOf([] { Overlap(BitMask(3, 4), BitMask(4, 3)); }), HasSubstr("3 x 4"));
}

TEST(MaskTest, SuppressionIsThatOfEveryPair) {
  std::mt19937 random(2);
  for (int trial = 0; trial < 30; ++trial) {
    std::vector<BitMask> masks;
    std::vector<float> scores;
    for (int i = 0; i < 40; ++i) {
      const int left = static_cast<int>(random() % 80), top = static_cast<int>(random() % 40);
      masks.push_back(Rectangle(120, 60,
                                {left, top, left + 1 + static_cast<int>(random() % 40),
                                 top + 1 + static_cast<int>(random() % 20)}));
      scores.push_back(static_cast<float>(random() % 1000));
    }
    const double max_iou = 0.1 * (1 + trial % 8);
    const auto kept = SuppressMasks(masks, scores, max_iou);
    std::vector<size_t> order(masks.size()), expected;
    for (size_t i = 0; i < order.size(); ++i) order[i] = i;
    std::stable_sort(order.begin(), order.end(),
                     [&](size_t a, size_t b) { return scores[a] > scores[b]; });
    for (const size_t i : order) {
      bool is_new = true;
      for (const size_t j : expected) {
        const auto common = static_cast<double>(Overlap(masks[i], masks[j]));
        is_new &=
            common / static_cast<double>(masks[i].area() + masks[j].area() - common) <= max_iou;
      }
      if (is_new) expected.push_back(i);
    }
    ASSERT_EQ(kept, expected);
  }
}

TEST(MaskTest, HolesAreFilledAndIslandsGo) {
  BitMask mask = Rectangle(40, 30, {5, 5, 25, 25});
  mask.Set(10, 10, false);                               // a hole of 1
  for (int x = 14; x < 20; ++x) mask.Set(x, 14, false);  // a hole of 6
  mask.Set(35, 3, true);                                 // an island of 1
  for (int x = 30; x < 36; ++x) mask.Set(x, 20, true);   // an island of 6
  mask.Close();
  const BitMask clean = CleanMask(mask, 4, 4);
  EXPECT_TRUE(clean.Get(10, 10));
  EXPECT_FALSE(clean.Get(15, 14));
  EXPECT_FALSE(clean.Get(35, 3));
  EXPECT_TRUE(clean.Get(31, 20));
  EXPECT_EQ(clean.area(), 20 * 20 - 6 + 6);
  // The largest island stays, however small.
  EXPECT_EQ(CleanMask(Rectangle(9, 9, {2, 2, 4, 4}), 100, 100).area(), 4);
  EXPECT_EQ(CleanMask(BitMask(9, 9), 100, 100).area(), 0);
}

TEST(MaskTest, LayersHoldEveryPixelOfEveryMask) {
  const std::vector<BitMask> masks = {
      Rectangle(20, 10, {2, 2, 6, 6}), Rectangle(20, 10, {0, 0, 20, 10}),
      Rectangle(20, 10, {8, 2, 12, 6}), Rectangle(20, 10, {4, 4, 10, 5})};
  const at::Tensor ids = LayerMasks(masks, 20, 10);
  EXPECT_EQ(ids.sizes(), (std::vector<int64_t>{3, 10, 20}));
  for (size_t i = 0; i < masks.size(); ++i) {
    EXPECT_EQ(ids.eq(static_cast<int>(i)).sum().item<int64_t>(), masks[i].area());
  }
  EXPECT_EQ(LayerMasks({}, 20, 10).size(0), 0);
  EXPECT_THAT(ErrorOf([&] { LayerMasks(masks, 21, 10); }), HasSubstr("mask 1 is 20 x 10"));
}

TEST(GraphSegmenterTest, FindsFlatRegionsAndTheirUnion) {
  Image rgb(60, 40, 3, 20);
  const auto paint = [&](PixelRect box, uint8_t r, uint8_t g) {
    for (int y = box.top; y < box.bottom; ++y) {
      for (int x = box.left; x < box.right; ++x) rgb.at(x, y)[0] = r, rgb.at(x, y)[1] = g;
    }
  };
  paint({10, 10, 30, 30}, 220, 20);
  paint({18, 14, 26, 20}, 220, 90);  // a part of the red thing
  const auto labels = SegmentGraph(rgb, 50, 0, 10);
  EXPECT_EQ(*std::max_element(labels.begin(), labels.end()), 2);
  const auto at = [&](int x, int y) { return labels[static_cast<size_t>(y) * 60 + x]; };
  EXPECT_EQ(at(0, 0), at(59, 39));
  EXPECT_EQ(at(10, 10), at(29, 29));
  EXPECT_EQ(at(18, 14), at(25, 19));
  EXPECT_NE(at(18, 14), at(10, 10));

  GraphSegmenterOptions options;
  options.scales = {50, 30000};
  options.smooth_px = 0;
  options.max_iou = 0.95;
  options.min_area_px = 10;
  const auto masks = MakeGraphSegmenter(options)->Everything(rgb);
  const auto has = [&](const BitMask& wanted) {
    return std::any_of(masks.begin(), masks.end(), [&](const BitMask& mask) {
      return mask.area() == wanted.area() && Overlap(mask, wanted) == wanted.area();
    });
  };
  BitMask ring = Rectangle(60, 40, {10, 10, 30, 30});
  for (int y = 14; y < 20; ++y) {
    for (int x = 18; x < 26; ++x) ring.Set(x, y, false);
  }
  ring.Close();
  EXPECT_TRUE(has(Rectangle(60, 40, {18, 14, 26, 20})));
  EXPECT_TRUE(has(ring));
  EXPECT_TRUE(has(Rectangle(60, 40, {10, 10, 30, 30})));  // at the coarser scale

  const auto in_box = MakeGraphSegmenter(options)->InBoxes(rgb, {{8, 8, 33, 32}, {50, 0, 60, 5}});
  EXPECT_EQ(in_box[0].area(), 400);
  EXPECT_EQ(in_box[1].area(), 0);
}

}  // namespace
}  // namespace athanor
