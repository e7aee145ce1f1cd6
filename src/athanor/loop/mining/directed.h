// Directed mining: rows of a table that are like examples, unlike negatives, and fit a text. The
// large model's vectors find what the detector may know nothing of.
//
// The index proposes r*k rows for each vector that is asked for; all of them are scored again from
// their stored vectors, thinned to one per moment, spread out, and the best k are returned with the
// reason.
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "athanor/loop/mining/vector_index.h"

namespace athanor {

// How the similarities s_i to the positive examples become one number.
enum class ExampleScore {
  kMax,          // the nearest example: several unlike things at once
  kMean,         // one thing seen several times
  kSoftmaxMean,  // between them: sum s_i e^(s_i / t) / sum e^(s_i / t)
  kLogistic      // a logistic head fitted on positives, negatives and random rows
};
// "max", "mean", "softmax-mean", "logistic".
std::string_view ExampleScoreName(ExampleScore score);

// Vectors are [N,D]; for cosine tables of any length. At least one positive or a text.
struct DirectedQuery {
  std::span<const float> positives;
  std::span<const float> negatives;
  std::span<const float> text;  // [D] or empty; in the same space as the rows
  ExampleScore score = ExampleScore::kMax;
  double temperature = 0.1;      // of the softmax
  double negative_weight = 0.5;  // lambda: score = positive - lambda * nearest negative
  double text_weight = 0.5;      // of the text against the examples, when there are both: 0 .. 1
  // Logistic head: L2 weight, and random rows of the table taken as negatives (few of them are
  // not).
  double ridge = 1e-2;
  int background = 256;
  uint64_t seed = 1;
};

// Where and when a row was seen.
struct Moment {
  int64_t group = 0;  // track or clip
  int64_t time_us = 0;
};

struct DirectedOptions {
  int count = 100;          // k
  int rerank = 10;          // r
  int width = 128;          // of the walk
  int64_t window_us = 0;    // one hit per group and window; < 0: one per group; 0: all
  double min_distance = 0;  // between hits, 0 .. 2 for vectors of length 1
  const VectorFilter* filter = nullptr;
  std::function<Moment(int64_t id)> moment;  // null: every row is its own
};

struct DirectedHit {
  int64_t id = 0;
  double score = 0;
  int nearest_example = -1;  // index into the positives; -1: there are none
  std::string reason;        // "like example 2 (0.913), text 0.310, unlike negative 0 (0.220)"
};

struct DirectedResult {
  std::vector<DirectedHit> hits;  // best first
  std::string plan;               // what the index did
  int64_t candidates = 0;         // scored again
};

// Throws Error for NaN, sizes that do not fit, nothing to ask for.
DirectedResult MineDirected(const VectorIndex& index, const DirectedQuery& query,
                            const DirectedOptions& options = {});

// Logistic regression with a ridge on the weights, classes weighed alike, by Newton's method in the
// span of the examples. `vectors` [N,D], `labels` [N] 0 or 1; returns D weights and the bias.
std::vector<double> FitLogisticHead(std::span<const float> vectors, std::span<const uint8_t> labels,
                                    int dimension, double ridge);

}  // namespace athanor
