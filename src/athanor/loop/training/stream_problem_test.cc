// The small network and the small problem.
#include "athanor/loop/training/stream_problem.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstring>

#include "athanor/base/files.h"
#include "athanor/base/test_util.h"
#include "athanor/loop/training/stream_network.h"

namespace athanor {
namespace {

namespace fs = std::filesystem;
using ::testing::AllOf;
using ::testing::HasSubstr;

constexpr size_t kHead_bytes = 8 + 4 + 4 * 4;  // of a network of four layers

// A float of the state, after the head.
float& FloatOf(std::string& bytes, size_t index) {
  return *reinterpret_cast<float*>(bytes.data() + kHead_bytes + 4 * index);
}

struct Batch {
  std::vector<std::vector<float>> values;
  std::vector<const float*> inputs;
  std::vector<int> labels;
};
Batch MakeBatch(int count, int inputs, int classes) {
  Random random(11);
  Batch batch;
  batch.values.resize(count);
  for (auto& value : batch.values) {
    for (int i = 0; i < inputs; ++i) value.push_back(random.Normal());
    batch.inputs.push_back(value.data());
    batch.labels.push_back(static_cast<int>(random.Below(classes)));
  }
  return batch;
}

TEST(StreamNetworkTest, GradientsAreThoseOfFiniteDifferences) {
  const Batch batch = MakeBatch(7, 4, 3);
  const std::vector<float> weights = {1, 2, 0.5};
  const StreamNetwork before({4, 6, 5, 3}, 3);
  const std::string bytes = before.Encode();
  Random random(0);
  StreamNetwork after = before;
  after.Update(batch.inputs, batch.labels, weights, {.rate = 1, .momentum = 0}, &random);
  std::string stepped = after.Encode();
  const auto loss_at = [&](size_t index, float change) {
    std::string moved = bytes;
    FloatOf(moved, index) += change;
    StreamNetwork mlp = StreamNetwork::Decode(moved, "moved");
    return mlp.Update(batch.inputs, batch.labels, weights, {.rate = 0, .momentum = 0}, &random);
  };
  // The first layer's weights and biases; in the file their speeds follow.
  std::string begun = bytes;
  int checked = 0;
  for (size_t i = 0; i < 4 * 6 + 6; ++i) {
    const float h = 2e-3f;
    const double expected = (loss_at(i, h) - loss_at(i, -h)) / (2 * h);
    const double found = FloatOf(begun, i) - FloatOf(stepped, i);
    EXPECT_NEAR(found, expected, 2e-3) << i;
    checked += std::abs(expected) > 1e-3;
  }
  EXPECT_GT(checked, 10);
}

TEST(StreamNetworkTest, ShrinkAndPerturbIsTheSumThatItSays) {
  const StreamNetwork one({4, 6, 5, 3}, 1), other({4, 6, 5, 3}, 2);
  StreamNetwork mixed = one;
  mixed.ShrinkAndPerturb(0.4, 0.1, 2);
  std::string a = one.Encode(), b = other.Encode(), c = mixed.Encode();
  for (size_t i = 0; i < 24; ++i) {
    EXPECT_FLOAT_EQ(FloatOf(c, i), 0.4f * FloatOf(a, i) + 0.1f * FloatOf(b, i));
  }
  mixed = one;
  mixed.ShrinkAndPerturb(0, 1, 2);
  EXPECT_EQ(mixed.Encode(), b);  // a new network
}

TEST(StreamNetworkTest, UnitsThatBeginAnewAreThoseOfLeastUse) {
  const Batch batch = MakeBatch(16, 4, 3);
  StreamNetwork mlp({4, 6, 5, 3}, 3);
  // The first unit of the first layer never says anything: a large negative bias.
  std::string bytes = mlp.Encode();
  FloatOf(bytes, 24) = -100;
  mlp = StreamNetwork::Decode(bytes, "dead");
  EXPECT_GE(mlp.Monitor(batch.inputs).dormant, 1 / 11.0);
  Random random(0);
  for (int i = 0; i < 20; ++i) {
    mlp.Update(batch.inputs, batch.labels, {1, 1, 1}, {.rate = 0.01}, &random);
  }
  mlp.ReplaceLeastUsed(1 / 6.0, &random);  // one of six, one of five
  bytes = mlp.Encode();
  EXPECT_EQ(FloatOf(bytes, 24), 0);

  // The same in continual backpropagation: old enough, and at its rate.
  StreamNetwork continual({4, 6, 5, 3}, 3);
  bytes = continual.Encode();
  FloatOf(bytes, 24) = -100;
  continual = StreamNetwork::Decode(bytes, "dead");
  const StreamUpdate update{.rate = 0.01, .replacement_rate = 0.02, .maturity = 10};
  for (int i = 0; i < 10; ++i) {
    continual.Update(batch.inputs, batch.labels, {1, 1, 1}, update, &random);
  }
  bytes = continual.Encode();
  EXPECT_EQ(FloatOf(bytes, 24), -100);  // too young
  for (int i = 0; i < 10; ++i) {
    continual.Update(batch.inputs, batch.labels, {1, 1, 1}, update, &random);
  }
  bytes = continual.Encode();
  EXPECT_GT(FloatOf(bytes, 24), -1);
}

TEST(StreamNetworkTest, StableRankOfOneDirectionIsOne) {
  StreamNetwork mlp({4, 6, 5, 3}, 3);
  std::vector<std::vector<float>> values;
  std::vector<const float*> inputs;
  for (int i = 1; i <= 20; ++i) {
    values.push_back({0.1f * i, 0, 0, 0});
  }
  for (const auto& value : values) inputs.push_back(value.data());
  EXPECT_NEAR(mlp.Monitor(inputs).stable_rank, 1, 1e-6);
  const Batch batch = MakeBatch(200, 4, 3);
  EXPECT_GT(mlp.Monitor(batch.inputs).stable_rank, 1.2);
  EXPECT_LT(mlp.Monitor(batch.inputs).stable_rank, 5);
}

TEST(StreamNetworkTest, RefusesWhatIsNoNetwork) {
  const std::string bytes = StreamNetwork({4, 6, 3}, 1).Encode();
  EXPECT_EQ(StreamNetwork::Decode(bytes, "a").Encode(), bytes);
  for (size_t size = 0; size < bytes.size(); size += 7) {
    EXPECT_THAT(ErrorOf([&] { StreamNetwork::Decode(bytes.substr(0, size), "cut.mlp"); }),
                HasSubstr("cut.mlp"));
  }
  EXPECT_THAT(ErrorOf([&] { StreamNetwork::Decode(bytes + "x", "long"); }), HasSubstr("end"));
  EXPECT_THAT(ErrorOf([&] { StreamNetwork::Decode("something else", "x"); }),
              HasSubstr("ATHMLP01"));
}

TEST(StreamProblemTest, AveragePrecisionOfKnownOrders) {
  EXPECT_DOUBLE_EQ(AveragePrecision({3, 2, 1}, {true, false, true}), (1 + 2 / 3.0) / 2);
  EXPECT_DOUBLE_EQ(AveragePrecision({1, 1}, {true, false}), 0.5);  // a tie helps nobody
  EXPECT_DOUBLE_EQ(AveragePrecision({1, 2}, {false, false}), 0);
}

TEST(StreamProblemTest, LearnsInStepsThatAreTheSameAgain) {
  const fs::path folder = TestFolder("stream");
  StreamProblem problem({});
  const HyperParameters hyper = {{"rate", "0.05"}, {"hidden", "16"}};
  TrainRequest request{.hyper = hyper, .updates = 200, .seed = 5};
  const TrainReport first = problem.Train(request, folder / "a");
  const auto begun = problem.Evaluate(folder / "a", hyper);
  request.from = folder / "a", request.updates_before = 200, request.seed = 6;
  problem.Train(request, folder / "b");
  StreamProblem again({});
  again.Train(request, folder / "c");
  EXPECT_EQ(ReadFile(folder / "b"), ReadFile(folder / "c"));
  const auto later = problem.Evaluate(folder / "b", hyper);
  EXPECT_GT(later.at("map"), begun.at("map"));
  EXPECT_GT(later.at("map"), 0.6);
  EXPECT_EQ(later.at("cost"), 12 * 16 + 16 * 16 + 16 * 5);
  EXPECT_GT(first.monitors.at("stable_rank"), 1);
  EXPECT_DOUBLE_EQ(first.work, 3e-6 * 528 * 32 * 200);
}

TEST(StreamProblemTest, SaysWhatIsWrong) {
  const fs::path folder = TestFolder("stream wrong");
  StreamProblem problem({});
  TrainRequest request{.hyper = {{"rate", "10000"}}, .updates = 100};
  EXPECT_THROW(problem.Train(request, folder / "a"), MemberFailure);
  EXPECT_FALSE(fs::exists(folder / "a"));
  EXPECT_THAT(ErrorOf([&] { problem.Train(request, folder / "a"); }),
              HasSubstr("the loss is not finite at update"));
  EXPECT_THAT(ErrorOf([&] { problem.CheckSpace(SearchSpace({{.name = "x", .high = 1}})); }),
              AllOf(HasSubstr("no hyper-parameter 'x'"), HasSubstr("rare-weight")));
  EXPECT_THAT(ErrorOf([&] {
                problem.CheckSpace(SearchSpace(
                    {{.name = "hidden", .kind = HyperRange::Kind::kInteger, .low = 2, .high = 9}}));
              }),
              HasSubstr("fixed = true"));
  EXPECT_THAT(ErrorOf([] { StreamProblem::FromToml("[stream]\ndrop = 3\n", "c.toml"); }),
              HasSubstr("c.toml: line 2: no option is named 'drop'"));
}

}  // namespace
}  // namespace athanor
