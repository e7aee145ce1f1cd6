#include "athanor/detection/profusion3d/matching.h"

#include <ATen/ATen.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <set>
#include <utility>
#include <vector>

#include "athanor/base/random.h"
#include "athanor/base/test_util.h"

namespace athanor {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

at::Tensor RandomCosts(int64_t rows, int64_t columns, uint64_t seed, bool ties) {
  Random r(seed);
  at::Tensor cost = at::empty({rows, columns}, at::kDouble);
  auto* out = cost.data_ptr<double>();
  for (int64_t i = 0; i < rows * columns; ++i) {
    out[i] = ties ? static_cast<double>(r.Below(4)) - 2 : r.Uniform(-3, 3);
  }
  return cost;
}

// The least cost of all assignments, by trying every one.
double LeastCost(const at::Tensor& cost) {
  const at::Tensor wide = cost.size(0) <= cost.size(1) ? cost : cost.t();
  const auto at = wide.accessor<double, 2>();
  std::vector<int> columns(wide.size(1));
  std::iota(columns.begin(), columns.end(), 0);
  double least = std::numeric_limits<double>::infinity();
  do {
    double sum = 0;
    for (int64_t i = 0; i < wide.size(0); ++i) sum += at[i][columns[i]];
    least = std::min(least, sum);
  } while (std::next_permutation(columns.begin(), columns.end()));
  return least;
}

// Each row and column once, the cost is that of the pairs, and the potentials prove it least.
void ExpectOptimal(const at::Tensor& cost, const Assignment& result) {
  const int64_t rows = cost.size(0), columns = cost.size(1);
  const auto at = cost.accessor<double, 2>();
  std::set<int64_t> taken;
  double sum = 0;
  for (int64_t i = 0; i < rows; ++i) {
    const int64_t j = result.column_of_row[i];
    if (j < 0) continue;
    EXPECT_TRUE(taken.insert(j).second) << "column " << j << " twice";
    sum += at[i][j];
    EXPECT_NEAR(result.row_potential[i] + result.column_potential[j], at[i][j], 1e-9);
  }
  ASSERT_EQ(static_cast<int64_t>(taken.size()), std::min(rows, columns));
  EXPECT_NEAR(result.cost, sum, 1e-9);
  for (int64_t i = 0; i < rows; ++i) {
    for (int64_t j = 0; j < columns; ++j) {
      ASSERT_LE(result.row_potential[i] + result.column_potential[j], at[i][j] + 1e-9);
    }
  }
  const bool tall = rows > columns;
  const std::vector<double>& longer = tall ? result.row_potential : result.column_potential;
  for (size_t k = 0; k < longer.size(); ++k) {
    EXPECT_LE(longer[k], 0);
    const bool used = tall ? result.column_of_row[k] >= 0 : taken.count(static_cast<int64_t>(k));
    if (!used) {
      EXPECT_EQ(longer[k], 0);
    }
  }
}

TEST(Matching, IsTheLeastOfAllAssignments) {
  uint64_t seed = 0;
  for (int rows = 1; rows <= 6; ++rows) {
    for (int columns = 1; columns <= 6; ++columns) {
      for (const bool ties : {false, true}) {
        for (int repeat = 0; repeat < 3; ++repeat) {
          const at::Tensor cost = RandomCosts(rows, columns, ++seed, ties);
          const Assignment result = SolveAssignment(cost, "test");
          ExpectOptimal(cost, result);
          EXPECT_NEAR(result.cost, LeastCost(cost), 1e-9) << rows << " x " << columns;
        }
      }
    }
  }
}

TEST(Matching, PotentialsProveLargeAssignments) {
  for (const auto& [rows, columns] :
       {std::pair{200, 900}, {900, 200}, {300, 300}, {1, 900}, {64, 1800}}) {
    for (const bool ties : {false, true}) {
      const at::Tensor cost = RandomCosts(rows, columns, rows * columns, ties);
      ExpectOptimal(cost, SolveAssignment(cost, "test"));
    }
  }
  // All boxes want the same queries: long paths.
  const at::Tensor wanted = at::rand({1, 900}, at::kDouble);
  const at::Tensor cost = wanted * at::rand({200, 1}, at::kDouble);
  ExpectOptimal(cost, SolveAssignment(cost, "test"));
  EXPECT_TRUE(SolveAssignment(at::zeros({0, 5}), "test").column_of_row.empty());
  EXPECT_EQ(SolveAssignment(at::zeros({2, 0}), "test").column_of_row,
            (std::vector<int64_t>{-1, -1}));
}

TEST(Matching, NamesCostsThatAreNotFinite) {
  at::Tensor cost = at::zeros({5, 3});
  cost[4][1] = std::nan("");
  EXPECT_THAT(ErrorOf([&] { SolveAssignment(cost, "frame 7"); }),
              AllOf(HasSubstr("frame 7: expected finite costs"), HasSubstr("row 4, column 1")));
  cost[4][1] = std::numeric_limits<float>::infinity();
  EXPECT_THAT(ErrorOf([&] { SolveAssignment(cost.t(), "x"); }), HasSubstr("row 1, column 4"));
}

TEST(Matching, CostIsFocalAndWeighedL1) {
  const at::Tensor logits = at::randn({4, 3}), codes = at::randn({4, 10});
  const at::Tensor labels = at::tensor({2, 0}, at::kLong);
  at::Tensor truth = at::randn({2, 10});
  truth[1][8] = std::nan(""), truth[1][9] = std::nan("");
  const DetectionWeights weights;
  const at::Tensor cost = MatchingCost(logits, codes, labels, truth, weights);
  for (int b = 0; b < 2; ++b) {
    for (int q = 0; q < 4; ++q) {
      const double p = 1 / (1 + std::exp(-logits[q][labels[b].item<int64_t>()].item<double>()));
      double expected =
          2 * (0.25 * (1 - p) * (1 - p) * -std::log(p) - 0.75 * p * p * -std::log(1 - p));
      for (int k = 0; k < (b == 1 ? 8 : 10); ++k) {
        expected += 0.25 * weights.code[k] *
                    std::abs(codes[q][k].item<double>() - truth[b][k].item<double>());
      }
      EXPECT_NEAR(cost[b][q].item<double>(), expected, 1e-4) << b << " " << q;
    }
  }
}

}  // namespace
}  // namespace athanor
