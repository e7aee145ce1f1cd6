#include "athanor/loop/training/pareto.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "athanor/base/random.h"
#include "athanor/base/test_util.h"

namespace athanor {
namespace {

using ::testing::DoubleNear;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

std::vector<ParetoPoint> RandomPoints(int count, int axes, uint64_t seed, int steps = 0) {
  Random random(seed);
  std::vector<ParetoPoint> points(count, ParetoPoint(axes));
  for (ParetoPoint& point : points) {
    for (double& value : point) {
      value =
          steps > 0 ? random.Below(steps) / static_cast<double>(steps) : random.Uniform(-0.2, 1);
    }
  }
  return points;
}

// By inclusion and exclusion over all subsets: an independent, exact computation.
double SlowHypervolume(const std::vector<ParetoPoint>& points, const ParetoPoint& reference) {
  double volume = 0;
  for (uint32_t subset = 1; subset < 1u << points.size(); ++subset) {
    double box = 1;
    for (size_t axis = 0; axis < reference.size(); ++axis) {
      double least = std::numeric_limits<double>::infinity();
      for (size_t i = 0; i < points.size(); ++i) {
        if (subset >> i & 1) least = std::min(least, points[i][axis]);
      }
      box *= std::max(0.0, least - reference[axis]);
    }
    volume += __builtin_popcount(subset) % 2 == 1 ? box : -box;
  }
  return volume;
}

TEST(ParetoTest, RanksAreThoseOfPeelingOffFronts) {
  for (uint64_t seed = 0; seed < 20; ++seed) {
    // On a grid there are ties and points that are equal.
    const auto points = RandomPoints(40, 2 + seed % 2, seed, seed % 4 < 2 ? 6 : 0);
    std::vector<int> expected(points.size(), -1);
    int left = static_cast<int>(points.size());
    for (int rank = 0; left > 0; ++rank) {
      std::vector<int> front;
      for (size_t i = 0; i < points.size(); ++i) {
        if (expected[i] >= 0) continue;
        bool is_free = true;
        for (size_t j = 0; j < points.size(); ++j) {
          if (expected[j] < 0 && Dominates(points[j], points[i])) is_free = false;
        }
        if (is_free) front.push_back(static_cast<int>(i));
      }
      for (const int i : front) expected[i] = rank, --left;
    }
    EXPECT_EQ(NonDominatedRanks(points), expected);
  }
}

TEST(ParetoTest, CrowdingIsThatOfTheKnownExample) {
  // Five points on a line: neighbours' distances, 2 of 4 along both axes for the inner ones.
  const std::vector<ParetoPoint> points = {{0, 4}, {1, 3}, {2, 2}, {3, 1}, {4, 0}};
  const double infinity = std::numeric_limits<double>::infinity();
  EXPECT_THAT(CrowdingDistances(points), ElementsAre(infinity, 1, 1, 1, infinity));
  EXPECT_THAT(CrowdingDistances({{1, 1}, {1, 1}, {1, 1}}), ElementsAre(infinity, 0, infinity));
}

TEST(ParetoTest, HypervolumeOfKnownShapes) {
  EXPECT_EQ(Hypervolume({}, ParetoPoint{0, 0}), 0);
  EXPECT_EQ(Hypervolume({{3}, {5}, {-1}}, ParetoPoint{1}), 4);
  EXPECT_EQ(Hypervolume({{1, 3}, {2, 2}, {3, 1}}, ParetoPoint{0, 0}), 6);
  EXPECT_EQ(Hypervolume({{1, 1, 1}}, ParetoPoint{-1, -1, -1}), 8);
  EXPECT_EQ(Hypervolume({{2, 1, 1}, {1, 2, 1}, {1, 1, 2}}, ParetoPoint{0, 0, 0}), 4);
  EXPECT_EQ(Hypervolume({{5, -1}}, ParetoPoint{0, 0}), 0);
}

TEST(ParetoTest, HypervolumeIsThatOfInclusionAndExclusion) {
  for (uint64_t seed = 0; seed < 200; ++seed) {
    const int axes = 1 + static_cast<int>(seed % 3);
    const auto points = RandomPoints(1 + seed % 11, axes, 100 + seed, seed % 5 == 0 ? 4 : 0);
    const ParetoPoint reference(axes, seed % 2 == 0 ? 0.0 : -0.3);
    EXPECT_NEAR(Hypervolume(points, reference), SlowHypervolume(points, reference), 1e-9) << seed;
    const auto contributions = HypervolumeContributions(points, reference);
    for (size_t i = 0; i < points.size(); ++i) {
      auto others = points;
      others.erase(others.begin() + static_cast<int64_t>(i));
      EXPECT_NEAR(contributions[i],
                  SlowHypervolume(points, reference) - SlowHypervolume(others, reference), 1e-9);
    }
  }
}

TEST(ParetoTest, HypervolumeOfManyPointsIsWhatDartsHit) {
  constexpr int kDarts = 20000;
  for (const int axes : {2, 3}) {
    const auto points = RandomPoints(300, axes, 7 + axes);
    Random random(9);
    int hits = 0;
    for (int d = 0; d < kDarts; ++d) {
      ParetoPoint dart(axes);
      for (double& value : dart) value = random.Uniform();
      hits += std::any_of(points.begin(), points.end(), [&](const ParetoPoint& point) {
        for (int i = 0; i < axes; ++i) {
          if (point[i] < dart[i]) return false;
        }
        return true;
      });
    }
    const double share = hits / static_cast<double>(kDarts);
    // Five standard deviations.
    EXPECT_THAT(Hypervolume(points, ParetoPoint(axes, 0)),
                DoubleNear(share, 5 * std::sqrt(share * (1 - share) / kDarts)));
  }
}

TEST(ParetoTest, SelectionKeepsTheFrontAndDropsWhatAddsLeast) {
  // The second point adds least; the last is dominated.
  const std::vector<ParetoPoint> points = {{1, 9}, {1.02, 8}, {5, 5}, {9, 1}, {4, 4}};
  const ParetoPoint reference = {0, 0};
  EXPECT_THAT(SelectBest(points, reference, 3), ::testing::UnorderedElementsAre(0, 2, 3));
  EXPECT_EQ(SelectBest(points, reference, 3)[0], 2);  // most volume of its own
  EXPECT_EQ(SelectBest(points, reference, 9).size(), 5u);
  EXPECT_EQ(SelectBest(points, reference, 9).back(), 4);
  EXPECT_TRUE(SelectBest({}, reference, 3).empty());
  // Never less volume than by dropping points of the front at random.
  for (uint64_t seed = 0; seed < 10; ++seed) {
    const auto many = RandomPoints(30, 3, seed);
    std::vector<ParetoPoint> chosen, drawn;
    for (const int i : SelectBest(many, ParetoPoint{0, 0, 0}, 6)) chosen.push_back(many[i]);
    const auto ranks = NonDominatedRanks(many);
    for (size_t i = 0; i < many.size() && drawn.size() < 6; ++i) {
      if (ranks[i] == 0) drawn.push_back(many[i]);
    }
    EXPECT_GE(Hypervolume(chosen, ParetoPoint{0, 0, 0}) + 1e-12,
              Hypervolume(drawn, ParetoPoint{0, 0, 0}));
  }
}

TEST(ParetoTest, AnArchiveWithoutEpsilonIsTheFront) {
  const auto points = RandomPoints(200, 3, 5, 7);
  EpsilonArchive archive({0, 0, 0});
  for (size_t i = 0; i < points.size(); ++i) archive.Insert(static_cast<int64_t>(i), points[i]);
  std::vector<ParetoPoint> kept, expected;
  for (const auto& [id, point] : archive.points()) kept.push_back(point);
  const auto ranks = NonDominatedRanks(points);
  for (size_t i = 0; i < points.size(); ++i) {
    if (ranks[i] == 0) expected.push_back(points[i]);
  }
  std::sort(expected.begin(), expected.end());
  expected.erase(std::unique(expected.begin(), expected.end()), expected.end());
  EXPECT_THAT(kept, ::testing::UnorderedElementsAreArray(expected));
}

TEST(ParetoTest, AnArchiveCoversAllUpToEpsilonWithFewPoints) {
  const auto points = RandomPoints(2000, 2, 6);
  EpsilonArchive archive({0.1, 0.1});
  for (size_t i = 0; i < points.size(); ++i) archive.Insert(static_cast<int64_t>(i), points[i]);
  EXPECT_LE(archive.points().size(), 12u);  // one per box along a falling line
  std::vector<ParetoPoint> kept;
  for (const auto& [id, point] : archive.points()) kept.push_back(point);
  for (const int rank : NonDominatedRanks(kept)) EXPECT_EQ(rank, 0);
  for (const ParetoPoint& point : points) {
    EXPECT_TRUE(std::any_of(kept.begin(), kept.end(), [&](const ParetoPoint& other) {
      return other[0] >= point[0] - 0.1 - 1e-12 && other[1] >= point[1] - 0.1 - 1e-12;
    }));
  }
}

TEST(ParetoTest, SaysWhatIsWrong) {
  EXPECT_THAT(ErrorOf([] { NonDominatedRanks({{1, 2}, {1}}); }), HasSubstr("found 1"));
  EXPECT_THAT(ErrorOf([] { Hypervolume({{NAN, 1}}, ParetoPoint{0, 0}); }), HasSubstr("finite"));
  EXPECT_THAT(ErrorOf([] {
                Hypervolume({}, ParetoPoint{0, 0, 0, 0});
              }),
              HasSubstr("1 to 3 coordinates, found 4"));
  EXPECT_THAT(ErrorOf([] { EpsilonArchive({-1}); }), HasSubstr("found -1"));
}

}  // namespace
}  // namespace athanor
