#include "athanor/geometry/nearest.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "athanor/base/error.h"
#include "athanor/base/parallel.h"
#include "athanor/base/random.h"

namespace athanor {
namespace {

using ::testing::AllOf;
using ::testing::Each;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

// All pairs.
std::vector<float> SlowMean(const std::vector<float>& points, int k) {
  const size_t n = points.size() / 3;
  std::vector<float> mean;
  for (size_t i = 0; i < n; ++i) {
    std::vector<double> squares;
    for (size_t j = 0; j < n; ++j) {
      if (j == i) continue;
      double square = 0;
      for (int axis = 0; axis < 3; ++axis) {
        square += std::pow(static_cast<double>(points[3 * i + axis]) - points[3 * j + axis], 2);
      }
      squares.push_back(square);
    }
    std::sort(squares.begin(), squares.end());
    squares.resize(std::min<size_t>(squares.size(), k));
    double sum = 0;
    for (const double square : squares) sum += square;
    mean.push_back(static_cast<float>(sum / static_cast<double>(squares.size())));
  }
  return mean;
}

std::vector<float> RandomPoints(int n, float grid_step) {
  Random random(11);
  std::vector<float> points(3 * n);
  for (float& x : points) {
    x = random.Normal() * 3;
    if (grid_step > 0) x = std::round(x / grid_step) * grid_step;  // many at the same place
  }
  return points;
}

TEST(NearestTest, AgreesWithAllPairs) {
  for (const float grid_step : {0.0f, 1.0f}) {
    const std::vector<float> points = RandomPoints(2500, grid_step);
    for (const int k : {1, 3, 8}) {
      const auto fast = MeanSquaredDistanceToNearest(points.data(), 2500, k);
      const auto slow = SlowMean(points, k);
      ASSERT_EQ(fast.size(), slow.size());
      for (size_t i = 0; i < slow.size(); ++i) ASSERT_FLOAT_EQ(fast[i], slow[i]) << i;
    }
  }
}

TEST(NearestTest, SameWhateverTheThreads) {
  const std::vector<float> points = RandomPoints(5000, 0);
  SetNumThreads(1);
  const auto one = MeanSquaredDistanceToNearest(points.data(), 5000, 3);
  SetNumThreads(3);
  EXPECT_EQ(MeanSquaredDistanceToNearest(points.data(), 5000, 3), one);
  SetNumThreads(0);
}

TEST(NearestTest, FewPoints) {
  const float points[] = {0, 0, 0, 1, 0, 0, 0, 3, 0};
  EXPECT_TRUE(MeanSquaredDistanceToNearest(nullptr, 0, 3).empty());
  EXPECT_THAT(MeanSquaredDistanceToNearest(points, 1, 3), ElementsAre(0));
  EXPECT_THAT(MeanSquaredDistanceToNearest(points, 2, 3), ElementsAre(1, 1));
  EXPECT_THAT(MeanSquaredDistanceToNearest(points, 3, 3), ElementsAre(5, 5.5f, 9.5f));
}

TEST(NearestTest, AllAtOnePlaceAndVeryFarApart) {
  const std::vector<float> same(3 * 20000, 0.25f);
  EXPECT_THAT(MeanSquaredDistanceToNearest(same.data(), 20000, 3), Each(0));
  const float far[] = {-3e38f, 0, 0, 3e38f, 0, 0};
  EXPECT_THAT(MeanSquaredDistanceToNearest(far, 2, 1), Each(std::numeric_limits<float>::max()));
}

TEST(NearestTest, RefusesNonFinitePointsByIndex) {
  std::vector<float> points = RandomPoints(10, 0);
  points[3 * 7 + 1] = std::numeric_limits<float>::quiet_NaN();
  const auto error_of = [&](int64_t n, int k) -> std::string {
    try {
      MeanSquaredDistanceToNearest(points.data(), n, k);
    } catch (const Error& error) {
      return error.what();
    }
    return {};
  };
  EXPECT_THAT(error_of(10, 3), AllOf(HasSubstr("point 7"), HasSubstr("nan")));
  EXPECT_THAT(error_of(5, 0), HasSubstr("at least 1, found 0"));
  EXPECT_THAT(error_of(-1, 3), HasSubstr("found -1"));
  EXPECT_EQ(error_of(7, 3), "");
}

}  // namespace
}  // namespace athanor
