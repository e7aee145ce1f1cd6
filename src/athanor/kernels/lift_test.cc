// Lifting against the rasteriser: blending splats whose features are one-hot gives every weight of
// every pixel.
#include "athanor/kernels/lift.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <map>
#include <vector>

#include "athanor/base/parallel.h"
#include "athanor/base/random.h"
#include "athanor/kernels/lift_bfloat16.h"
#include "athanor/kernels/rasterize.h"
#include "athanor/kernels/tile_binning.h"

namespace athanor {
namespace {

uint16_t ToHalf(float value) {
  const auto half = static_cast<_Float16>(value);
  uint16_t bits;
  std::memcpy(&bits, &half, sizeof bits);
  return bits;
}
float FromHalf(uint16_t bits) {
  _Float16 half;
  std::memcpy(&half, &bits, sizeof bits);
  return static_cast<float>(half);
}

class LiftTest : public ::testing::Test {
 protected:
  static constexpr int kWidth = 45, kHeight = 37, kSplats = 40, kPixels = kWidth * kHeight;

  LiftTest() {
    Random random(4);
    for (int i = 0; i < kSplats; ++i) {
      Splat s = {};
      s.x = random.Uniform(-5, kWidth + 5), s.y = random.Uniform(-5, kHeight + 5);
      const float size = i % 7 == 0 ? 15.0f : random.Uniform(0.7f, 5.0f);
      s.a = 1 / (size * size), s.c = s.a * random.Uniform(0.4f, 1.0f), s.b = 0.2f * s.a;
      s.opacity = random.Uniform(0.2f, 0.99f);
      s.depth = static_cast<float>(i);
      s.radius = 4 * size + 3;
      splats_.push_back(s);
    }
    BinTilesCpu(splats_.data(), kSplats, kWidth, kHeight, &bins_);
    std::vector<float> one_hot(kSplats * kSplats, 0.0f), transmittance(kPixels);
    for (int i = 0; i < kSplats; ++i) one_hot[i * kSplats + i] = 1;
    weights_.resize(static_cast<size_t>(kSplats) * kPixels);
    std::vector<int32_t> walked(MakeTileGrid(kWidth, kHeight).size());
    RasterizeForwardArgs raster = {};
    raster.width_px = kWidth, raster.height_px = kHeight, raster.channels = kSplats;
    raster.splats = splats_.data(), raster.features = one_hot.data();
    raster.tile_offsets = bins_.offsets.data(), raster.tile_ids = bins_.ids.data();
    raster.image = weights_.data(), raster.transmittance = transmittance.data();
    raster.tile_walked = walked.data();
    RasterizeForwardCpu(raster);
  }

  // Cells of `size` x `size` pixels; every seventh pixel says nothing when `holes`.
  std::vector<int32_t> Cells(int size, bool holes) const {
    std::vector<int32_t> cells(kPixels);
    for (int p = 0; p < kPixels; ++p) {
      cells[p] = p / kWidth / size * ((kWidth + size - 1) / size) + p % kWidth / size;
      if (holes && p % 7 == 0) cells[p] = -1;
    }
    return cells;
  }
  LiftView View(const std::vector<int32_t>& cells, int top_k = 0, float least_weight = 0,
                bool per_footprint = false) const {
    return {kWidth,           kHeight,      kSplats, splats_.data(), bins_.offsets.data(),
            bins_.ids.data(), cells.data(), top_k,   least_weight,   per_footprint};
  }
  float Weight(int splat, int pixel) const { return weights_[splat * kPixels + pixel]; }
  // The weight, or 0 when it is not among the k largest of its pixel.
  float TopWeight(int splat, int pixel, int k) const {
    if (k == 0) return Weight(splat, pixel);
    int larger = 0;
    for (int i = 0; i < kSplats; ++i) {
      larger += Weight(i, pixel) > Weight(splat, pixel) ||
                (Weight(i, pixel) == Weight(splat, pixel) && i < splat);
    }
    return larger < k ? Weight(splat, pixel) : 0.0f;
  }

  std::vector<Splat> splats_;
  TileBins bins_;
  std::vector<float> weights_;  // [splats,pixels]
};

TEST_F(LiftTest, SumsAreThoseOfTheRasterisersWeights) {
  for (const int dimension : {1, 5, 16, 40, 130}) {
    for (const int size : {1, 3, 8}) {
      for (const int top_k : {0, 2}) {
        SCOPED_TRACE(testing::Message() << dimension << " " << size << " " << top_k);
        const bool holes = dimension != 16;
        const float least = dimension == 40 ? 0.02f : 0.0f;
        const std::vector<int32_t> cells = Cells(size, holes);
        const int num_cells = 1 + *std::max_element(cells.begin(), cells.end());
        Random random(7);
        std::vector<uint16_t> features(static_cast<size_t>(num_cells) * dimension);
        for (uint16_t& f : features) f = ToHalf(random.Normal());
        std::vector<float> scales(num_cells);
        for (float& s : scales) s = random.Uniform(0.5f, 2.0f);
        const int stride = dimension + 3;
        std::vector<float> sums(kSplats * stride, 0.5f), totals(kSplats, 0.0f);
        std::vector<float> maxima(kSplats, 0.0f), centers(kSplats, 0.0f);
        LiftTilesArgs args = {};
        args.view = View(cells, top_k, least);
        args.totals = {totals.data(), maxima.data(), centers.data()};
        args.dimension = dimension, args.features = features.data(), args.scales = scales.data();
        args.factor = 2, args.sums = sums.data(), args.stride = stride;
        LiftTilesCpu(args);
        for (int i = 0; i < kSplats; ++i) {
          double total = 0, largest = 0, center = 0;
          std::vector<double> sum(dimension, 0.0);
          for (int p = 0; p < kPixels; ++p) {
            largest = std::max(largest, double{Weight(i, p)});
            if (std::abs(p % kWidth - std::floor(splats_[i].x)) <= 1 &&
                std::abs(p / kWidth - std::floor(splats_[i].y)) <= 1) {
              center = std::max(center, double{Weight(i, p)});
            }
            if (cells[p] < 0) continue;
            const double weight = TopWeight(i, p, top_k);
            if (weight < least) continue;
            total += weight;
            for (int c = 0; c < dimension; ++c) {
              sum[c] += weight * scales[cells[p]] * FromHalf(features[cells[p] * dimension + c]);
            }
          }
          EXPECT_NEAR(totals[i], total, 1e-4 * (1 + total)) << i;
          EXPECT_NEAR(maxima[i], largest, 1e-6) << i;
          EXPECT_NEAR(centers[i], center, 1e-6) << i;
          for (int c = 0; c < dimension; ++c) {
            EXPECT_NEAR(sums[i * stride + c], 0.5 + 2 * sum[c], 1e-3 * (1 + total)) << i;
          }
          for (int c = dimension; c < stride; ++c) EXPECT_EQ(sums[i * stride + c], 0.5f);
        }
      }
    }
  }
}

TEST_F(LiftTest, Bfloat16IsNear) {
  for (const int dimension : {1, 16, 40, 130, 300}) {
    for (const int size : {1, 3}) {
      for (const bool holes : {false, true}) {
        SCOPED_TRACE(testing::Message() << dimension << " " << size << " " << holes);
        const std::vector<int32_t> cells = Cells(size, holes);
        const int num_cells = 1 + *std::max_element(cells.begin(), cells.end());
        Random random(8);
        std::vector<uint16_t> features(static_cast<size_t>(num_cells) * dimension), sizes;
        for (uint16_t& f : features) f = ToHalf(random.Normal());
        for (const uint16_t f : features) sizes.push_back(f & 0x7fff);
        const std::vector<float> scales(num_cells, 0.7f);
        const int stride = dimension + 3;
        const auto lift = [&](const std::vector<uint16_t>& of, bool bfloat16) {
          std::vector<float> sums(kSplats * stride, 0.25f);
          LiftTilesArgs args = {};
          args.view = View(cells);
          args.dimension = dimension, args.features = of.data(), args.scales = scales.data();
          args.factor = 1, args.sums = sums.data(), args.stride = stride;
          args.bfloat16 = bfloat16;
          LiftTilesCpu(args);
          return sums;
        };
        const std::vector<float> exact = lift(features, false), near = lift(features, true);
        const std::vector<float> bound = lift(sizes, false);  // sums of absolute values
        for (size_t i = 0; i < exact.size(); ++i) {
          // Two factors, each rounded to 8 bits.
          ASSERT_NEAR(near[i], exact[i], (bound[i] - 0.25) / 128 + 1e-6) << i;
        }
        if (HasNativeBfloat16() && dimension == 300) {
          EXPECT_NE(near, exact);
        }
      }
    }
  }
}

TEST_F(LiftTest, PerFootprintASplatInFullViewHasItsOpacityHoweverLarge) {
  // Opaque, alone, well inside the picture: two sizes, one twisted.
  for (const float size : {1.2f, 3.0f}) {
    Splat s = {};
    s.x = 20.3f, s.y = 17.8f;
    s.a = 1 / (size * size), s.c = 2 * s.a, s.b = 0.3f * s.a;
    s.opacity = 0.8f, s.radius = 5 * size;
    TileBins bins;
    BinTilesCpu(&s, 1, kWidth, kHeight, &bins);
    const std::vector<int32_t> cells = Cells(4, false);
    float total = 0, largest = 0;
    std::vector<LiftEntry> entries;
    const LiftView view = {kWidth,          kHeight,      1, &s,   bins.offsets.data(),
                           bins.ids.data(), cells.data(), 0, 0.0f, true};
    LiftWeightsCpu(view, {&total, &largest, nullptr}, &entries);
    // Cut where alpha falls below 1/255.
    EXPECT_NEAR(total, 0.8f, 0.01f) << size;
    EXPECT_NEAR(largest, 0.8f, 0.12f) << size;
    double sum = 0;
    for (const LiftEntry& entry : entries) sum += entry.weight;
    EXPECT_NEAR(sum, total, 1e-5) << size;
  }
}

TEST_F(LiftTest, PerFootprintScalesEachSplat) {
  const std::vector<int32_t> cells = Cells(3, true);
  for (const int top_k : {0, 2}) {
    std::vector<float> plain(kSplats, 0.0f), scaled(kSplats, 0.0f);
    LiftWeightsCpu(View(cells, top_k), {plain.data(), nullptr, nullptr}, nullptr);
    LiftWeightsCpu(View(cells, top_k, 0, true), {scaled.data(), nullptr, nullptr}, nullptr);
    for (int i = 0; i < kSplats; ++i) {
      EXPECT_NEAR(scaled[i], plain[i] * PerPixelCovered(splats_[i]), 1e-5f * plain[i]) << i;
    }
  }
}

TEST_F(LiftTest, RowsChooseSplatsAndThreadsDoNotMatter) {
  const std::vector<int32_t> cells = Cells(1, false);
  constexpr int kDimension = 200;
  Random random(9);
  std::vector<uint16_t> features(static_cast<size_t>(kPixels) * kDimension);
  for (uint16_t& f : features) f = ToHalf(random.Normal());
  int top_k = 0;
  const auto lift = [&](const int32_t* rows) {
    std::vector<float> sums(kSplats * kDimension, 0.0f);
    LiftTilesArgs args = {};
    args.view = View(cells, top_k);
    args.dimension = kDimension, args.features = features.data(), args.rows = rows;
    args.factor = 1, args.sums = sums.data(), args.stride = kDimension;
    LiftTilesCpu(args);
    return sums;
  };
  for (const int k : {0, 3}) {
    top_k = k;
    const std::vector<float> all = lift(nullptr);
    SetNumThreads(1);
    EXPECT_EQ(lift(nullptr), all);
    SetNumThreads(0);
    std::vector<int32_t> rows(kSplats, -1);
    rows[31] = 0, rows[4] = 2;
    const std::vector<float> some = lift(rows.data());
    for (int c = 0; c < kDimension; ++c) {
      EXPECT_EQ(some[c], all[31 * kDimension + c]);
      EXPECT_EQ(some[kDimension + c], 0);
      EXPECT_EQ(some[2 * kDimension + c], all[4 * kDimension + c]);
    }
  }
}

TEST_F(LiftTest, EntriesAreWeightsSummedPerCell) {
  const std::vector<int32_t> cells = Cells(9, true);
  std::vector<LiftEntry> entries;
  LiftWeightsCpu(View(cells), {}, &entries);
  std::map<std::pair<int, int>, double> expected;
  for (int i = 0; i < kSplats; ++i) {
    for (int p = 0; p < kPixels; ++p) {
      if (cells[p] >= 0 && Weight(i, p) > 0) expected[{i, cells[p]}] += Weight(i, p);
    }
  }
  ASSERT_EQ(entries.size(), expected.size());
  auto next = expected.begin();
  for (const LiftEntry& entry : entries) {
    EXPECT_EQ(std::make_pair(entry.splat, entry.cell), next->first);
    EXPECT_NEAR(entry.weight, next->second, 1e-4);
    ++next;
  }
}

TEST(LiftRows, MultipliesASparseMatrix) {
  for (const int dimension : {1, 7, 48, 67}) {
    Random random(dimension);
    constexpr int kColumns = 11, kRows = 6;
    std::vector<uint16_t> features(kColumns * dimension);
    for (uint16_t& f : features) f = ToHalf(random.Normal());
    std::fill_n(features.begin(), dimension, uint16_t{0});
    std::vector<float> scales(kColumns);
    InverseLengthsCpu(features.data(), kColumns, dimension, scales.data());
    EXPECT_EQ(scales[0], 0);
    double square = 0;
    for (int c = 0; c < dimension; ++c) square += std::pow(FromHalf(features[dimension + c]), 2);
    EXPECT_NEAR(scales[1], 1 / std::sqrt(square), 1e-4 / std::sqrt(square));

    std::vector<int64_t> offsets = {0};
    std::vector<int32_t> columns, ids = {3, 0, 5, 1, 2, 4};
    std::vector<float> weights;
    for (int r = 0; r < kRows; ++r) {
      for (int e = 0; e < r; ++e) {
        columns.push_back(static_cast<int32_t>(random.Below(kColumns)));
        weights.push_back(random.Uniform());
      }
      offsets.push_back(static_cast<int64_t>(columns.size()));
    }
    const int stride = dimension + 1;
    std::vector<float> sums(kRows * stride, 1.0f);
    LiftRowsCpu({kRows, ids.data(), offsets.data(), columns.data(), weights.data(), dimension,
                 features.data(), scales.data(), sums.data(), stride});
    for (int r = 0; r < kRows; ++r) {
      for (int c = 0; c < dimension; ++c) {
        double expected = 1;
        for (int64_t e = offsets[r]; e < offsets[r + 1]; ++e) {
          expected +=
              weights[e] * scales[columns[e]] * FromHalf(features[columns[e] * dimension + c]);
        }
        EXPECT_NEAR(sums[ids[r] * stride + c], expected, 1e-4);
      }
      EXPECT_EQ(sums[ids[r] * stride + dimension], 1);
    }
  }
}

TEST(LiftRows, LeavesOutAViewThatContradicts) {
  // 20 views say (1, 0) with a little noise, one says (0, 1).
  constexpr int kViews = 21, kOdd = 13;
  Random random(2);
  std::vector<uint16_t> features;
  std::vector<float> scales(kViews, 1.0f), weights(kViews, 0.5f);
  std::vector<int32_t> columns, views;
  for (int v = 0; v < kViews; ++v) {
    const float angle = v == kOdd ? 1.57f : random.Uniform(-0.1f, 0.1f);
    features.push_back(ToHalf(std::cos(angle)));
    features.push_back(ToHalf(std::sin(angle)));
    columns.push_back(v), views.push_back(v);
  }
  const std::vector<int64_t> offsets = {0, kViews, kViews, kViews + 1};
  columns.push_back(4), weights.push_back(2.0f);
  std::vector<float> sums(6, 7.0f), kept(3);
  std::vector<int32_t> rejected(3);
  LiftRobustRowsArgs args = {};
  args.rows = {3, nullptr,         offsets.data(), columns.data(), weights.data(),
               2, features.data(), scales.data(),  sums.data(),    2};
  args.views = views.data(), args.z_limit = 3;
  args.weights = kept.data(), args.rejected_views = rejected.data();
  LiftRobustRowsCpu(args);
  EXPECT_EQ(rejected, (std::vector<int32_t>{1, 0, 0}));
  EXPECT_NEAR(kept[0], 10, 1e-5);
  EXPECT_EQ(kept[1], 0);
  EXPECT_NEAR(kept[2], 2, 1e-6);
  EXPECT_GT(sums[0] / std::hypot(sums[0], sums[1]), 0.998);
  EXPECT_EQ(sums[2], 0);
  EXPECT_NEAR(sums[4], 2 * FromHalf(features[8]), 1e-5);
}

}  // namespace
}  // namespace athanor
