#include "athanor/detection/evaluation/nuscenes_eval.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "athanor/base/parallel.h"
#include "athanor/base/test_util.h"
#include "athanor/detection/evaluation/evaluation_cases.h"
#include "athanor/detection/evaluation/expected_values.h"

namespace athanor {
namespace {

using ::testing::HasSubstr;

std::vector<double> Flatten(const NuscenesMetrics& metrics) {
  std::vector<double> values;
  for (int c = 0; c < kNuscenesClasses; ++c) {
    const auto& aps = metrics.label_aps[c];
    values.insert(values.end(), aps.begin(), aps.end());
  }
  for (int c = 0; c < kNuscenesClasses; ++c) {
    const auto& errors = metrics.label_tp_errors[c];
    values.insert(values.end(), errors.begin(), errors.end());
  }
  values.push_back(metrics.mean_ap);
  values.insert(values.end(), metrics.tp_errors.begin(), metrics.tp_errors.end());
  values.push_back(metrics.nd_score);
  return values;
}

TEST(NuscenesEval, EqualsTheDevkitOnRandomCases) {
  constexpr size_t kValues = 97;
  const std::vector<double> expected =
      ReadExpectedValues("nuscenes_expected.bin.z", kEvaluationCases, kValues);
  double worst = 0;
  for (int seed = 0; seed < kEvaluationCases && !HasFailure(); ++seed) {
    const NuscenesCase random = MakeNuscenesCase(seed);
    const NuscenesMetrics metrics = EvaluateNuscenes(random.truth, random.results);
    ExpectParity(Flatten(metrics), std::span(expected).subspan(seed * kValues, kValues),
                 "case " + std::to_string(seed), &worst);
  }
  RecordProperty("worst_difference", StrCat(worst));
}

// The generator of numpy.random.seed and of random.seed (MT19937, 53-bit fractions).
class MersenneTwister {
 public:
  static MersenneTwister Numpy(uint32_t seed) { return MersenneTwister(seed); }
  static MersenneTwister Python(uint32_t seed) {
    MersenneTwister out(19650218u);
    uint32_t i = 1;
    for (int k = 0; k < kSize; ++k) {  // one word of key
      out.state_[i] = (out.state_[i] ^ (out.Mixed(i) * 1664525u)) + seed;
      out.Step(&i);
    }
    for (int k = 0; k < kSize - 1; ++k) {
      out.state_[i] = (out.state_[i] ^ (out.Mixed(i) * 1566083941u)) - i;
      out.Step(&i);
    }
    out.state_[0] = 0x80000000u;
    return out;
  }
  uint32_t Bits() {
    if (next_ == kSize) Refill();
    uint32_t y = state_[next_++];
    y ^= y >> 11;
    y ^= (y << 7) & 0x9d2c5680u;
    y ^= (y << 15) & 0xefc60000u;
    return y ^ (y >> 18);
  }
  double Uniform() {
    const uint32_t high = Bits() >> 5, low = Bits() >> 6;
    return (high * 67108864.0 + low) / 9007199254740992.0;
  }
  // numpy.random.randint(0, n): words that are masked until one fits.
  int Below(uint32_t n) {
    if (n == 1) return 0;
    uint32_t mask = n - 1;
    for (int shift = 1; shift < 32; shift *= 2) mask |= mask >> shift;
    while (true) {
      const uint32_t word = Bits() & mask;
      if (word < n) return static_cast<int>(word);
    }
  }

 private:
  static constexpr int kSize = 624;
  explicit MersenneTwister(uint32_t seed) {
    state_[0] = seed;
    for (uint32_t i = 1; i < kSize; ++i) {
      state_[i] = 1812433253u * (state_[i - 1] ^ (state_[i - 1] >> 30)) + i;
    }
  }
  uint32_t Mixed(uint32_t i) const { return state_[i - 1] ^ (state_[i - 1] >> 30); }
  void Step(uint32_t* i) {
    if (++*i >= kSize) {
      state_[0] = state_[kSize - 1];
      *i = 1;
    }
  }
  void Refill() {
    for (int i = 0; i < kSize; ++i) {
      const uint32_t y = (state_[i] & 0x80000000u) | (state_[(i + 1) % kSize] & 0x7fffffffu);
      state_[i] = state_[(i + 397) % kSize] ^ (y >> 1) ^ ((y & 1) != 0 ? 0x9908b0dfu : 0);
    }
    next_ = 0;
  }
  uint32_t state_[kSize];
  int next_ = kSize;
};

// The devkit's own test (eval/detection/tests/test_algo.py, test_nd_score), whose random input we
// make anew: 30 samples of 3 true boxes and 25 detections per class, all at 2 m, nothing filtered.
TEST(NuscenesEval, DevkitsOwnTestOfTheScore) {
  MersenneTwister numpy = MersenneTwister::Numpy(42), python = MersenneTwister::Python(42);
  NuscenesCase mock;
  mock.truth.source = "truth";
  mock.results.source = "results";
  std::vector<std::vector<NuscenesBox>> found(30);
  for (int s = 0; s < 30; ++s) {
    mock.truth.samples.push_back({.token = std::to_string(s)});
    mock.results.sample_tokens.push_back(std::to_string(s));
  }
  const auto make_box = [&](int c, double extent) {
    NuscenesBox box;
    box.class_index = static_cast<int8_t>(c);
    for (int i = 0; i < 2; ++i) box.translation_m[i] = numpy.Uniform() * extent;
    for (int i = 0; i < 3; ++i) box.size_wlh_m[i] = numpy.Uniform() * 4;
    for (int i = 0; i < 4; ++i) box.rotation_wxyz[i] = numpy.Uniform();
    for (int i = 0; i < 2; ++i) box.velocity_mps[i] = numpy.Uniform() * 4;
    numpy.Uniform();
    box.score = python.Uniform();
    // The attributes of the class: pedestrian 0-2, cycle 3-4, vehicle 5-7, none.
    const bool is_cycle = c == 6 || c == 7;
    const int first = c == 5 ? 0 : is_cycle ? 3 : 5;
    if (c < 8) box.attribute = static_cast<int8_t>(first + numpy.Below(is_cycle ? 2 : 3));
    python.Uniform();
    return box;
  };
  for (int c = 0; c < kNuscenesClasses; ++c) {
    for (auto& sample : mock.truth.samples) {
      for (int k = 0; k < 3; ++k) sample.boxes.push_back(make_box(c, 15));
    }
    for (auto& boxes : found) {
      for (int k = 0; k < 25; ++k) boxes.push_back(make_box(c, 10));
    }
  }
  for (const auto& boxes : found) {
    mock.results.boxes.insert(mock.results.boxes.end(), boxes.begin(), boxes.end());
    mock.results.first_box.push_back(static_cast<int64_t>(mock.results.boxes.size()));
  }
  NuscenesConfig config;
  config.match_distances_m = {2.0};
  EXPECT_NEAR(EvaluateNuscenes(mock.truth, mock.results, config).nd_score, 0.08606662159639042,
              1e-15);
}

NuscenesCase OneCar() {
  NuscenesCase out;
  out.truth.source = "W";
  out.results.source = "R.json";
  NuscenesBox car;
  car.attribute = 5;
  car.score = 0.5;
  out.truth.samples.push_back({.token = "a", .boxes = {car}});
  out.results.sample_tokens = {"a"};
  out.results.boxes = {car};
  out.results.first_box = {0, 1};
  return out;
}

TEST(NuscenesEval, PerfectDetection) {
  const NuscenesCase one = OneCar();
  const NuscenesMetrics metrics = EvaluateNuscenes(one.truth, one.results);
  EXPECT_DOUBLE_EQ(metrics.mean_dist_aps[0], 1);
  EXPECT_EQ(metrics.label_tp_errors[0], (NuscenesMetrics::Errors{0, 0, 0, 0, 0}));
  // The nine classes without truth have AP 0 and errors 1.
  EXPECT_DOUBLE_EQ(metrics.mean_ap, 0.1);
  EXPECT_DOUBLE_EQ(metrics.tp_errors[0], 0.9);
  int classes = 0;
  const NuscenesMatches matches = MatchNuscenes(one.truth, one.results, {});
  EXPECT_DOUBLE_EQ(MeanApOfClassesWithTruth(matches, metrics, &classes), 1);
  EXPECT_EQ(classes, 1);
  EXPECT_TRUE(std::isnan(metrics.label_tp_errors[8][2]));
}

TEST(NuscenesEval, WeightsCountSamplesManyTimes) {
  // Twice the first sample, not the second: as if the files said so.
  for (int seed = 0; seed < 64; ++seed) {
    NuscenesCase random = MakeNuscenesCase(seed);
    // No ties: copies of a sample would rank otherwise within them.
    for (size_t i = 0; i < random.results.boxes.size(); ++i) {
      random.results.boxes[i].score = static_cast<double>((i * 7919) % 10007) / 10007;
    }
    const size_t samples = random.truth.samples.size();
    std::vector<int32_t> weights(samples, 1);
    weights[0] = 2;
    if (samples > 1) weights[1] = 0;
    NuscenesCase copied;
    for (size_t i = 0; i < samples; ++i) {
      for (int copy = 0; copy < weights[i]; ++copy) {
        copied.truth.samples.push_back(random.truth.samples[i]);
        copied.truth.samples.back().token += StrCat("_", copy);
      }
    }
    for (size_t i = 0; i < samples; ++i) {
      const std::string& token = random.results.sample_tokens[i];
      for (size_t s = 0; s < samples; ++s) {
        if (random.truth.samples[s].token != token) continue;
        for (int copy = 0; copy < weights[s]; ++copy) {
          copied.results.sample_tokens.push_back(StrCat(token, "_", copy));
          for (int64_t j = random.results.first_box[i]; j < random.results.first_box[i + 1]; ++j) {
            copied.results.boxes.push_back(random.results.boxes[j]);
          }
          copied.results.first_box.push_back(static_cast<int64_t>(copied.results.boxes.size()));
        }
      }
    }
    const NuscenesConfig config;
    const auto weighted =
        SummarizeNuscenes(MatchNuscenes(random.truth, random.results, config), config, weights);
    const auto real = EvaluateNuscenes(copied.truth, copied.results);
    double worst = 0;
    ExpectParity(Flatten(weighted), Flatten(real), "case " + std::to_string(seed), &worst);
  }
}

TEST(NuscenesEval, SameResultOnAnyNumberOfThreads) {
  const NuscenesCase random = MakeNuscenesCase(5);
  SetNumThreads(1);
  const auto one = Flatten(EvaluateNuscenes(random.truth, random.results));
  SetNumThreads(3);
  const auto three = Flatten(EvaluateNuscenes(random.truth, random.results));
  SetNumThreads(0);
  for (size_t i = 0; i < one.size(); ++i) {
    EXPECT_TRUE(one[i] == three[i] || (std::isnan(one[i]) && std::isnan(three[i]))) << i;
  }
}

TEST(NuscenesEval, SamplesMustBeTheSame) {
  NuscenesCase one = OneCar();
  one.results.sample_tokens = {"b"};
  EXPECT_EQ(ErrorOf([&] { EvaluateNuscenes(one.truth, one.results); }),
            "R.json: holds sample b, which W does not");
  one = OneCar();
  one.truth.samples.push_back({.token = "c"});
  one.truth.samples.push_back({.token = "d"});
  EXPECT_THAT(ErrorOf([&] { EvaluateNuscenes(one.truth, one.results); }),
              HasSubstr("R.json: lacks sample c (and 1 more) of W"));
  one = OneCar();
  one.results.sample_tokens = {"a", "a"};
  one.results.first_box = {0, 1, 1};
  EXPECT_THAT(ErrorOf([&] { EvaluateNuscenes(one.truth, one.results); }), HasSubstr("twice"));
}

TEST(NuscenesEval, BadBoxes) {
  const auto error_with = [](auto&& change) {
    NuscenesCase one = OneCar();
    change(&one);
    return ErrorOf([&] { EvaluateNuscenes(one.truth, one.results); });
  };
  EXPECT_THAT(error_with([](auto* x) { x->results.boxes[0].size_wlh_m[1] = 0; }),
              HasSubstr("R.json: sample a: expected box sizes > 0, found [1, 0, 1]"));
  EXPECT_THAT(error_with([](auto* x) { x->truth.samples[0].boxes[0].size_wlh_m[1] = -1; }),
              HasSubstr("W: sample a: expected box sizes > 0"));
  EXPECT_THAT(error_with([](auto* x) { x->results.boxes[0].translation_m[0] = std::nan(""); }),
              HasSubstr("not finite"));
  EXPECT_THAT(error_with([](auto* x) { x->results.boxes[0].score = std::nan(""); }),
              HasSubstr("score is NaN"));
  EXPECT_THAT(error_with([](auto* x) {
                x->results.boxes.resize(501, x->results.boxes[0]);
                x->results.first_box = {0, 501};
              }),
              HasSubstr("expected at most 500 boxes, found 501"));
}

TEST(NuscenesEval, BadConfiguration) {
  const NuscenesCase one = OneCar();
  NuscenesConfig config;
  config.tp_distance_m = 3;
  EXPECT_THAT(ErrorOf([&] { EvaluateNuscenes(one.truth, one.results, config); }),
              HasSubstr("expected dist_th_tp to be one of dist_ths, found 3"));
  config = {};
  config.min_precision = 1;
  EXPECT_THAT(ErrorOf([&] { EvaluateNuscenes(one.truth, one.results, config); }),
              HasSubstr("expected min_precision in [0, 1), found 1"));
}

}  // namespace
}  // namespace athanor
