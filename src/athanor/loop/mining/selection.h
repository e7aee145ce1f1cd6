// Which of many candidates are worth labelling: one per moment, unlike one another, within a cost.
// All of it is deterministic: by the order of the candidates and a seed.
//
// Vectors are [N,D] f32, row i of candidate i; distances between them are Euclidean (for vectors of
// length 1: sqrt(2 - 2 cosine)).
//   k-centre     Sener and Savarese, ICLR 2018 (greedy: at most twice the best radius)
//   k-means++    Arthur and Vassilvitskii 2007, as BADGE uses it (Ash et al., ICLR 2020)
//   cost         frames and boxes, after Liang et al. 2022 (arXiv 2205.07708)
#pragma once

#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

namespace athanor {

struct Candidate {
  int64_t id = 0;
  double score = 0;   // more is better; NaN is never taken
  int64_t group = 0;  // a track, or a clip: what is seen again and again
  int64_t time_us = 0;
  int boxes = 0;  // how many there are to label
};

// Of each group the best candidate, then the best that is at least `window_us` away from those
// taken, and so on; `window_us` < 0: one per group. Indices, best first, equal scores by index.
std::vector<int> DeduplicateInTime(std::span<const Candidate> candidates, int64_t window_us);

// Down the list (best first), what is at least `min_distance` away from all taken before, until
// there are `count`. Indices into the candidates.
std::vector<int> SpreadOut(std::span<const int> best_first, std::span<const float> vectors,
                           int dimension, double min_distance, int count);

// Greedy max-min: begins with the first of `order`, then always the one farthest from those taken.
std::vector<int> FarthestFirst(std::span<const int> order, std::span<const float> vectors,
                               int dimension, int count);

enum class SelectionMethod {
  kRandom,     // uniformly
  kScore,      // the best scores (with entropies: entropy sampling)
  kKCentre,    // farthest first from what is labelled and taken already; scores play no part
  kKMeansPlus  // at random, by squared distance to those taken times max(score, 0)
};
// "random", "score", "k-centre", "k-means++".
std::string_view SelectionMethodName(SelectionMethod method);

struct SelectionCost {
  double per_frame = 1;  // candidate
  double per_box = 0.1;
  double budget = 0;
};

struct Selection {
  std::vector<int> indices;  // in the order that they were taken
  double cost = 0;           // <= budget
};

struct SelectionArgs {
  std::span<const Candidate> candidates;  // [N]
  std::span<const float> vectors;         // [N,D]; may be empty for kRandom and kScore
  int dimension = 0;
  std::span<const float> labelled;  // [M,D] what is labelled already: also to be kept away from
  SelectionMethod method = SelectionMethod::kKCentre;
  SelectionCost cost;
  uint64_t seed = 1;
};

// Takes until nothing more fits the budget: what is too dear is passed over, not waited for.
// O(taken * N * D). Throws Error for sizes that do not fit, NaN in vectors, a negative cost.
Selection SelectWithinCost(const SelectionArgs& args);

}  // namespace athanor
