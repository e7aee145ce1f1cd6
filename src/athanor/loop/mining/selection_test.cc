#include "athanor/loop/mining/selection.h"

#include <gmock/gmock.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <set>

#include "athanor/base/random.h"
#include "athanor/base/test_util.h"

namespace athanor {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

double Distance(const std::vector<float>& vectors, int dimension, int a, int b) {
  double square = 0;
  for (int c = 0; c < dimension; ++c) {
    const double d = double{vectors[a * dimension + c]} - vectors[b * dimension + c];
    square += d * d;
  }
  return std::sqrt(square);
}

std::vector<float> RandomVectors(int n, int dimension, uint64_t seed) {
  Random random(seed);
  std::vector<float> vectors(n * dimension);
  for (float& x : vectors) x = random.Normal();
  return vectors;
}

std::vector<int> Order(int n) {
  std::vector<int> order(n);
  std::iota(order.begin(), order.end(), 0);
  return order;
}

TEST(DeduplicateInTimeTest, KeepsTheBestOfEachWindow) {
  const std::vector<Candidate> candidates = {{0, 0.5, 1, 0},   {1, 0.9, 1, 100}, {2, 0.8, 1, 199},
                                             {3, 0.7, 1, 200}, {4, 0.6, 2, 150}, {5, NAN, 3, 0},
                                             {6, 0.9, 2, 151}};
  EXPECT_THAT(DeduplicateInTime(candidates, 100), ElementsAre(1, 6, 3, 0));
  EXPECT_THAT(DeduplicateInTime(candidates, -1), ElementsAre(1, 6));
  EXPECT_THAT(DeduplicateInTime(candidates, 0), ElementsAre(1, 6, 2, 3, 4, 0));
  EXPECT_THAT(DeduplicateInTime({}, 5), IsEmpty());
}

// By hand: down the scores, comparing with all that were kept.
TEST(DeduplicateInTimeTest, MatchesAPlainSearch) {
  Random random(1);
  for (int trial = 0; trial < 50; ++trial) {
    std::vector<Candidate> candidates(60);
    for (int i = 0; i < 60; ++i) {
      candidates[i] = {i, random.Uniform(), random.Below(4), random.Below(1000)};
    }
    std::vector<int> order = Order(60);
    std::sort(order.begin(), order.end(),
              [&](int a, int b) { return candidates[a].score > candidates[b].score; });
    std::vector<int> kept;
    for (const int i : order) {
      const bool free = std::none_of(kept.begin(), kept.end(), [&](int k) {
        return candidates[k].group == candidates[i].group &&
               std::abs(candidates[k].time_us - candidates[i].time_us) < 70;
      });
      if (free) kept.push_back(i);
    }
    EXPECT_EQ(DeduplicateInTime(candidates, 70), kept);
  }
}

TEST(SpreadOutTest, KeepsItsDistance) {
  const auto vectors = RandomVectors(80, 5, 2);
  const auto taken = SpreadOut(Order(80), vectors, 5, 2.0, 1000);
  EXPECT_EQ(taken[0], 0);
  // What was left out is near one that came before it; what was taken is near none.
  for (int i = 0; i < 80; ++i) {
    const bool in = std::find(taken.begin(), taken.end(), i) != taken.end();
    bool near = false;
    for (const int t : taken) near |= t < i && Distance(vectors, 5, t, i) < 2.0;
    EXPECT_NE(in, near) << i;
  }
  EXPECT_EQ(SpreadOut(Order(80), vectors, 5, 2.0, 3).size(), 3u);
  EXPECT_THAT(SpreadOut({}, vectors, 5, 2.0, 3), IsEmpty());
}

TEST(FarthestFirstTest, EachIsTheFarthest) {
  const auto vectors = RandomVectors(40, 3, 3);
  const auto taken = FarthestFirst(Order(40), vectors, 3, 12);
  ASSERT_EQ(taken.size(), 12u);
  EXPECT_EQ(taken[0], 0);
  for (size_t step = 1; step < taken.size(); ++step) {
    const auto reach = [&](int i) {
      double nearest = 1e9;
      for (size_t t = 0; t < step; ++t) {
        nearest = std::min(nearest, Distance(vectors, 3, taken[t], i));
      }
      return nearest;
    };
    for (int i = 0; i < 40; ++i) EXPECT_LE(reach(i), reach(taken[step]) + 1e-5);
  }
  EXPECT_EQ(FarthestFirst(Order(4), vectors, 3, 12).size(), 4u);
}

std::vector<Candidate> MakeCandidates(int n, uint64_t seed) {
  Random random(seed);
  std::vector<Candidate> candidates(n);
  for (int i = 0; i < n; ++i) {
    candidates[i] = {i, random.Uniform(), 0, 0, static_cast<int>(random.Below(30))};
  }
  return candidates;
}

TEST(SelectWithinCostTest, EveryMethodKeepsTheBudgetAndFillsIt) {
  const int n = 120;
  auto candidates = MakeCandidates(n, 4);
  candidates[7].score = NAN;
  const auto vectors = RandomVectors(n, 6, 5);
  for (const auto method : {SelectionMethod::kRandom, SelectionMethod::kScore,
                            SelectionMethod::kKCentre, SelectionMethod::kKMeansPlus}) {
    for (const double budget : {0.0, 0.5, 10.0, 60.0, 1e6}) {
      SelectionArgs args = {candidates, vectors, 6};
      args.method = method;
      args.cost.budget = budget;
      const Selection selection = SelectWithinCost(args);
      double cost = 0, cheapest = 1e9;
      const std::set<int> taken(selection.indices.begin(), selection.indices.end());
      EXPECT_EQ(taken.size(), selection.indices.size());
      EXPECT_FALSE(taken.contains(7));
      for (int i = 0; i < n; ++i) {
        const double price = 1 + 0.1 * candidates[i].boxes;
        if (taken.contains(i)) {
          cost += price;
        } else if (i != 7) {
          cheapest = std::min(cheapest, price);
        }
      }
      EXPECT_NEAR(cost, selection.cost, 1e-9);
      EXPECT_LE(selection.cost, budget);
      EXPECT_GT(cost + cheapest, budget - 1e-9) << SelectionMethodName(method);  // nothing fits
      EXPECT_EQ(SelectWithinCost(args).indices, selection.indices);
      args.seed = 2;
      if (budget == 10.0 &&
          (method == SelectionMethod::kRandom || method == SelectionMethod::kKMeansPlus)) {
        EXPECT_NE(SelectWithinCost(args).indices, selection.indices);
      }
    }
  }
}

// The greedy choice covers within twice the best radius, which a search of all choices finds.
TEST(SelectWithinCostTest, KCentreIsWithinTwiceTheBest) {
  for (uint64_t seed = 1; seed <= 10; ++seed) {
    const int n = 12, k = 3;
    const auto vectors = RandomVectors(n, 2, seed);
    const std::vector<Candidate> candidates(n);
    SelectionArgs args = {candidates, vectors, 2};
    args.cost = {1, 0, k};
    const auto chosen = SelectWithinCost(args).indices;
    ASSERT_EQ(chosen.size(), static_cast<size_t>(k));
    const auto radius = [&](const std::vector<int>& centres) {
      double largest = 0;
      for (int i = 0; i < n; ++i) {
        double nearest = 1e9;
        for (const int c : centres) nearest = std::min(nearest, Distance(vectors, 2, c, i));
        largest = std::max(largest, nearest);
      }
      return largest;
    };
    double best = 1e9;
    for (int a = 0; a < n; ++a) {
      for (int b = a + 1; b < n; ++b) {
        for (int c = b + 1; c < n; ++c) best = std::min(best, radius({a, b, c}));
      }
    }
    EXPECT_LE(radius(chosen), 2 * best + 1e-6);
  }
}

TEST(SelectWithinCostTest, KeepsAwayFromWhatIsLabelled) {
  const std::vector<float> vectors = {0, 0, 0.1f, 0, 5, 5}, labelled = {0, 0};
  const std::vector<Candidate> candidates(3);
  SelectionArgs args = {candidates, vectors, 2, labelled};
  args.cost = {1, 0, 1};
  EXPECT_THAT(SelectWithinCost(args).indices, ElementsAre(2));
}

// Three clusters of unequal size: squared distances draw one from each almost always.
TEST(SelectWithinCostTest, KMeansPlusSpreadsOverClustersAndFollowsScores) {
  std::vector<float> vectors;
  std::vector<Candidate> candidates;
  for (int i = 0; i < 110; ++i) {
    const int cluster = i < 100 ? 0 : i < 105 ? 1 : 2;
    vectors.push_back(static_cast<float>(100 * cluster) + 0.01f * static_cast<float>(i));
    candidates.push_back({i, 1});
  }
  int all_three = 0;
  for (uint64_t seed = 0; seed < 50; ++seed) {
    SelectionArgs args = {candidates, vectors, 1};
    args.method = SelectionMethod::kKMeansPlus;
    args.cost = {1, 0, 3};
    args.seed = seed;
    std::set<int> clusters;
    for (const int i : SelectWithinCost(args).indices) {
      clusters.insert(i < 100 ? 0 : i < 105 ? 1 : 2);
    }
    all_three += clusters.size() == 3;
  }
  EXPECT_GE(all_three, 48);
  for (int i = 0; i < 105; ++i) candidates[i].score = 0;
  SelectionArgs args = {candidates, vectors, 1};
  args.method = SelectionMethod::kKMeansPlus;
  args.cost = {1, 0, 4};
  for (const int i : SelectWithinCost(args).indices) EXPECT_GE(i, 105);
}

TEST(SelectWithinCostTest, RefusesWhatDoesNotFit) {
  const std::vector<Candidate> candidates(2);
  const std::vector<float> three(3), nan = {1, NAN, 0, 0};
  EXPECT_THAT(ErrorOf([&] {
                SelectWithinCost({candidates, three, 2});
              }),
              HasSubstr("expected 2 vectors of 2 components, found 3"));
  EXPECT_THAT(ErrorOf([&] {
                SelectWithinCost({candidates, nan, 2});
              }),
              HasSubstr("vector 0: component 1 is nan"));
  SelectionArgs args = {candidates};
  args.method = SelectionMethod::kScore;
  args.cost.budget = -1;
  EXPECT_THAT(ErrorOf([&] { SelectWithinCost(args); }), HasSubstr("expected costs >= 0"));
}

}  // namespace
}  // namespace athanor
