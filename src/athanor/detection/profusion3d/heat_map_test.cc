#include "athanor/detection/profusion3d/heat_map.h"

#include <ATen/ATen.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <set>

#include "athanor/base/test_util.h"
#include "athanor/detection/profusion3d/sample.h"

namespace athanor {
namespace {

using ::testing::HasSubstr;

BevGrid SmallGrid() {
  BevGrid grid;
  grid.range_m = {-8, -8, -2, 8, 8, 2};
  grid.cell_m = 1;
  return grid;
}

TEST(HeatMap, PeaksAreTheHighestOfTheirNeighboursBestFirst) {
  at::Tensor logits = at::full({kNumDetectionClasses, 16, 16}, -9.0f);
  logits[0][3][4] = 2, logits[0][3][5] = 1;  // a peak with a shoulder
  logits[8][3][4] = 3;                       // another class at the same place
  logits[1][15][0] = -1;
  const HeatPeaks peaks = FindPeaks(logits, 3);
  EXPECT_TRUE(at::equal(peaks.labels, at::tensor({8, 0, 1}, at::kLong)));
  EXPECT_TRUE(at::equal(peaks.cells, at::tensor({3 * 16 + 4, 3 * 16 + 4, 15 * 16}, at::kLong)));
  EXPECT_TRUE(
      at::allclose(CellCenters(peaks.cells, 16, 16)[2], at::tensor({0.5f / 16, 15.5f / 16, 0.5f})));
  // The shoulder comes when there is nothing better; every pair comes once.
  const HeatPeaks all = FindPeaks(logits, 256);
  std::set<std::pair<int64_t, int64_t>> pairs;
  for (int i = 0; i < 256; ++i) {
    pairs.emplace(all.labels[i].item<int64_t>(), all.cells[i].item<int64_t>());
  }
  EXPECT_EQ(pairs.size(), 256u);
  logits[2][0][1] = NAN;
  EXPECT_THAT(ErrorOf([&] { FindPeaks(logits, 3); }), HasSubstr("class 2, cell 1"));
  EXPECT_THAT(ErrorOf([&] { FindPeaks(logits, 257); }), HasSubstr("found 256"));
}

// What "Objects as Points" says of a map and its truth, number by number.
TEST(HeatMap, LossIsThePaper) {
  const BevGrid grid = SmallGrid();
  at::manual_seed(3);
  const at::Tensor logits = at::randn({kNumDetectionClasses, 16, 16}, at::kDouble);
  const at::Tensor boxes = at::tensor({0.2f,  3.4f,  0.0f, 9.0f, 4.0f, 1.5f, 0.3f, 0.0f, 0.0f,  //
                                       -7.9f, -7.9f, 0.0f, 0.7f, 0.7f, 1.7f, 0.0f, 0.0f, 0.0f,
                                       20.0f, 0.0f,  0.0f, 4.0f, 2.0f, 1.5f, 0.0f, 0.0f, 0.0f})
                               .view({3, kBoxColumns});
  const at::Tensor labels = at::tensor({1, 8, 0}, at::kLong);
  double expected = 0;
  for (int k = 0; k < kNumDetectionClasses; ++k) {
    for (int row = 0; row < 16; ++row) {
      for (int column = 0; column < 16; ++column) {
        double truth = 0;
        if (k == 1) {
          truth = std::exp(-(std::pow(row - 11, 2) + std::pow(column - 8, 2)) / 2);  // sigma 1
          if (std::abs(row - 11) > 3 || std::abs(column - 8) > 3) truth = 0;
        }
        if (k == 8) {
          truth = std::exp(-(row * row + column * column) / 0.5);  // half a cell
          if (row > 2 || column > 2) truth = 0;
        }
        const double p = 1 / (1 + std::exp(-logits[k][row][column].item<double>()));
        expected -= truth == 1 ? std::pow(1 - p, 2) * std::log(p)
                               : std::pow(1 - truth, 4) * p * p * std::log(1 - p);
      }
    }
  }
  EXPECT_NEAR(HeatLoss(logits, boxes, labels, grid).item<double>(), expected / 2, 1e-3);
  // Without a box, only what is not there counts.
  const at::Tensor none = HeatLoss(logits, boxes.slice(0, 0, 0), labels.slice(0, 0, 0), grid);
  EXPECT_GT(none.item<double>(), 0);
  // Large numbers stay numbers.
  EXPECT_TRUE(std::isfinite(HeatLoss(1e4 * logits, boxes, labels, grid).item<double>()));
}

TEST(HeatMap, LearnsWhereABoxIs) {
  const BevGrid grid = SmallGrid();
  Parameters parameters;
  const HeatHead head({&parameters, 1, ""}, 8);
  at::manual_seed(4);
  const at::Tensor map = at::randn({8, 16, 16});
  const at::Tensor boxes =
      at::tensor({2.5f, -3.5f, 0.0f, 4.0f, 2.0f, 1.5f, 0.0f, 0.0f, 0.0f}).view({1, kBoxColumns});
  const at::Tensor labels = at::tensor({3}, at::kLong);
  AdamW adam(&parameters, {});
  for (int i = 0; i < 60; ++i) {
    HeatLoss(head.Forward(map, true), boxes, labels, grid).backward();
    adam.Step(2e-2);
  }
  const HeatPeaks peaks = FindPeaks(head.Forward(map, true), 1);
  EXPECT_EQ(peaks.labels[0].item<int64_t>(), 3);
  EXPECT_EQ(peaks.cells[0].item<int64_t>(), 4 * 16 + 10);
}

}  // namespace
}  // namespace athanor
