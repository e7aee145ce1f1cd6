#include "athanor/loop/mining/directed.h"

#include <gmock/gmock.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "athanor/base/random.h"
#include "athanor/base/test_util.h"

namespace athanor {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

constexpr int kDimension = 16;

// 2000 rows around random directions; ids 0..39 lie around the first axis, 40..79 around the
// second.
class DirectedTest : public ::testing::Test {
 protected:
  DirectedTest()
      : index_(VectorTable::Create(TestFolder("directed") / "t",
                                   {"m", "object", kDimension, VectorPrecision::kFloat32})) {
    Random random(1);
    std::vector<int64_t> ids;
    std::vector<float> vectors;
    for (int i = 0; i < 2000; ++i) {
      std::vector<float> v(kDimension);
      for (float& x : v) x = random.Normal() * (i < 80 ? 0.15f : 1.0f);
      if (i < 80) v[i / 40] += 1;
      ids.push_back(i);
      vectors.insert(vectors.end(), v.begin(), v.end());
    }
    index_.Add(ids, vectors);
  }

  std::vector<float> Axis(int axis) const {
    std::vector<float> v(kDimension, 0.0f);
    v[axis] = 3;  // of any length
    return v;
  }
  std::vector<float> Row(int64_t id) const {
    std::vector<float> v(kDimension);
    index_.table().Read(index_.table().Find(id), v.data());
    return v;
  }

  VectorIndex index_;
};

int Between(const DirectedResult& result, int64_t low, int64_t high) {
  return static_cast<int>(
      std::count_if(result.hits.begin(), result.hits.end(),
                    [&](const DirectedHit& hit) { return hit.id >= low && hit.id < high; }));
}

// Every score against a plain loop over all rows.
TEST_F(DirectedTest, FindsTheBestByItsOwnFormula) {
  auto positives = Axis(0);
  const auto other = Axis(1);
  positives.insert(positives.end(), other.begin(), other.end());
  const auto negatives = Axis(2), text = Axis(3);
  for (const auto score : {ExampleScore::kMax, ExampleScore::kMean, ExampleScore::kSoftmaxMean}) {
    const DirectedQuery query = {positives, negatives, text, score};
    const auto result = MineDirected(index_, query, {.count = 15, .rerank = 200});
    std::vector<std::pair<double, int64_t>> all;
    for (int64_t id = 0; id < 2000; ++id) {
      const auto x = Row(id);
      const double a = x[0], b = x[1], top = std::max(a, b);
      const double wa = std::exp((a - top) / 0.1), wb = std::exp((b - top) / 0.1);
      const double positive = score == ExampleScore::kMax    ? top
                              : score == ExampleScore::kMean ? (a + b) / 2
                                                             : (wa * a + wb * b) / (wa + wb);
      all.emplace_back(-(0.5 * x[3] + 0.5 * positive - 0.5 * x[2]), id);
    }
    std::sort(all.begin(), all.end());
    ASSERT_EQ(result.hits.size(), 15u);
    for (int i = 0; i < 15; ++i) {
      EXPECT_EQ(result.hits[i].id, all[i].second) << ExampleScoreName(score) << " " << i;
      EXPECT_NEAR(result.hits[i].score, -all[i].first, 1e-5);
    }
  }
}

TEST_F(DirectedTest, FindsTheRareOnesAndSaysWhy) {
  const auto result = MineDirected(index_, {Axis(0)}, {.count = 30});
  EXPECT_GE(Between(result, 0, 40), 29);
  EXPECT_THAT(result.hits[0].reason, HasSubstr("like example 0 (0."));
  EXPECT_THAT(result.plan, HasSubstr("exact"));
  const auto by_text = MineDirected(index_, {{}, {}, Axis(1)}, {.count = 30});
  EXPECT_GE(Between(by_text, 40, 80), 29);
  EXPECT_THAT(by_text.hits[0].reason, testing::StartsWith("text 0."));
  EXPECT_EQ(by_text.hits[0].nearest_example, -1);
  EXPECT_THAT(MineDirected(index_, {Axis(0), Row(by_text.hits[0].id)}).hits[0].reason,
              HasSubstr("unlike negative 0"));
}

TEST_F(DirectedTest, TheLogisticHeadSeparates) {
  std::vector<float> positives;
  for (int64_t id = 0; id < 6; ++id) {
    const auto row = Row(id);
    positives.insert(positives.end(), row.begin(), row.end());
  }
  const auto negatives = Row(50);
  DirectedQuery query = {positives, negatives};
  query.score = ExampleScore::kLogistic;
  const auto result = MineDirected(index_, query, {.count = 36});
  EXPECT_GE(Between(result, 0, 40), 33);
  EXPECT_THAT(result.hits[0].reason, testing::StartsWith("head 0."));
  EXPECT_EQ(MineDirected(index_, query, {.count = 36}).hits[20].id, result.hits[20].id);
}

// The gradient of the loss is zero at what was fitted.
TEST(FitLogisticHeadTest, IsAtTheMinimum) {
  Random random(4);
  const int n = 40, dimension = 7;
  const double ridge = 0.05;
  std::vector<float> vectors(n * dimension);
  std::vector<uint8_t> labels(n);
  for (int i = 0; i < n; ++i) {
    labels[i] = i % 3 == 0;
    for (int c = 0; c < dimension; ++c) {
      vectors[i * dimension + c] = random.Normal() + (labels[i] == 1 && c == 2 ? 1.0f : 0.0f);
    }
  }
  const auto head = FitLogisticHead(vectors, labels, dimension, ridge);
  const auto ones = static_cast<double>(std::count(labels.begin(), labels.end(), 1));
  for (int c = 0; c <= dimension; ++c) {
    double gradient = ridge * head[c];
    for (int i = 0; i < n; ++i) {
      double z = head[dimension];
      for (int k = 0; k < dimension; ++k) z += head[k] * vectors[i * dimension + k];
      const double weight = 0.5 / (labels[i] == 1 ? ones : n - ones);
      gradient += weight * (1 / (1 + std::exp(-z)) - labels[i]) *
                  (c < dimension ? vectors[i * dimension + c] : 1.0);
    }
    EXPECT_NEAR(gradient, 0, 1e-5) << c;
  }
  EXPECT_EQ(FitLogisticHead({}, {}, 3, 1), std::vector<double>(4, 0.0));
}

TEST_F(DirectedTest, ThinsInTimeAndSpreadsOut) {
  DirectedOptions options = {.count = 20};
  options.window_us = -1;
  options.moment = [](int64_t id) { return Moment{id < 40 ? 7 : id, id * 1000}; };
  EXPECT_EQ(Between(MineDirected(index_, {Axis(0)}, options), 0, 40), 1);
  options.window_us = 10000;
  const auto result = MineDirected(index_, {Axis(0)}, options);
  EXPECT_LE(Between(result, 0, 40), 4);
  EXPECT_GE(Between(result, 0, 40), 2);

  options = {.count = 20, .min_distance = 0.6};
  const auto spread = MineDirected(index_, {Axis(0)}, options);
  for (size_t i = 0; i < spread.hits.size(); ++i) {
    for (size_t j = 0; j < i; ++j) {
      const auto a = Row(spread.hits[i].id), b = Row(spread.hits[j].id);
      double square = 0;
      for (int c = 0; c < kDimension; ++c) square += (a[c] - b[c]) * (a[c] - b[c]);
      EXPECT_GE(std::sqrt(square), 0.6 - 1e-5);
    }
  }
}

TEST_F(DirectedTest, KeepsToTheFilter) {
  const VectorFilter filter = FilterOf(index_.table(), std::vector<int64_t>{3, 1500, 77});
  const auto result = MineDirected(index_, {Axis(0)}, {.count = 20, .filter = &filter});
  std::vector<int64_t> ids;
  for (const auto& hit : result.hits) ids.push_back(hit.id);
  EXPECT_EQ(ids.size(), 3u);
  EXPECT_EQ(ids[0], 3);
}

TEST_F(DirectedTest, RefusesBadQueries) {
  auto nan = Axis(0);
  nan[2] = std::numeric_limits<float>::quiet_NaN();
  EXPECT_THAT(ErrorOf([&] { MineDirected(index_, {nan}); }),
              HasSubstr("example 0: component 2 is nan"));
  EXPECT_THAT(ErrorOf([&] { MineDirected(index_, {}); }), HasSubstr("an example or a text"));
  const auto axis = Axis(0);
  EXPECT_THAT(ErrorOf([&] { MineDirected(index_, {std::span(axis).first(5)}); }),
              HasSubstr("expected example of 16 components, found 5"));
  VectorIndex empty(VectorTable::Create(TestFolder("none") / "t", {"m", "object", kDimension}));
  EXPECT_TRUE(MineDirected(empty, {axis}).hits.empty());
}

}  // namespace
}  // namespace athanor
