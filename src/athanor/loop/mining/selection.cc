#include "athanor/loop/mining/selection.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <map>
#include <numeric>
#include <set>

#include "athanor/base/error.h"
#include "athanor/base/parallel.h"
#include "athanor/base/random.h"

namespace athanor {
namespace {

double SquaredDistance(const float* a, const float* b, int dimension) {
  // Several sums, so that the compiler may use vectors.
  float sums[16] = {};
  int c = 0;
  for (; c + 16 <= dimension; c += 16) {
    for (int k = 0; k < 16; ++k) sums[k] += (a[c + k] - b[c + k]) * (a[c + k] - b[c + k]);
  }
  for (; c < dimension; ++c) sums[0] += (a[c] - b[c]) * (a[c] - b[c]);
  return std::accumulate(std::begin(sums), std::end(sums), 0.0);
}

// Lowers each candidate's distance to what is taken, now that `vector` is.
void Approach(std::span<const float> vectors, int dimension, const float* vector,
              std::vector<double>* squared) {
  ParallelFor(static_cast<int64_t>(squared->size()), 4096, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      const double now = SquaredDistance(vectors.data() + i * dimension, vector, dimension);
      if (now < (*squared)[i]) (*squared)[i] = now;
    }
  });
}

// A uniform number in [0, 1) of 53 bits.
double Uniform(Random& random) {
  const uint64_t high = random.NextBits(), low = random.NextBits();
  return static_cast<double>((high << 21) ^ (low >> 11)) * 0x1p-53;
}

std::vector<int> ByScore(std::span<const Candidate> candidates) {
  std::vector<int> order;
  for (size_t i = 0; i < candidates.size(); ++i) {
    if (!std::isnan(candidates[i].score)) order.push_back(static_cast<int>(i));
  }
  std::stable_sort(order.begin(), order.end(),
                   [&](int a, int b) { return candidates[a].score > candidates[b].score; });
  return order;
}

}  // namespace

std::vector<int> DeduplicateInTime(std::span<const Candidate> candidates, int64_t window_us) {
  std::map<int64_t, std::set<int64_t>> taken;  // times by group
  std::vector<int> kept;
  for (const int i : ByScore(candidates)) {
    const Candidate& candidate = candidates[i];
    std::set<int64_t>& times = taken[candidate.group];
    if (!times.empty()) {
      if (window_us < 0) continue;
      const auto after = times.lower_bound(candidate.time_us);
      if (after != times.end() && *after - candidate.time_us < window_us) continue;
      if (after != times.begin() && candidate.time_us - *std::prev(after) < window_us) continue;
    }
    times.insert(candidate.time_us);
    kept.push_back(i);
  }
  return kept;
}

std::vector<int> SpreadOut(std::span<const int> best_first, std::span<const float> vectors,
                           int dimension, double min_distance, int count) {
  std::vector<int> taken;
  for (const int i : best_first) {
    if (static_cast<int>(taken.size()) >= count) break;
    const float* vector = vectors.data() + int64_t{i} * dimension;
    const bool apart = std::all_of(taken.begin(), taken.end(), [&](int other) {
      return SquaredDistance(vector, vectors.data() + int64_t{other} * dimension, dimension) >=
             min_distance * min_distance;
    });
    if (apart) taken.push_back(i);
  }
  return taken;
}

std::vector<int> FarthestFirst(std::span<const int> order, std::span<const float> vectors,
                               int dimension, int count) {
  std::vector<int> taken;
  std::vector<double> squared(order.size(), std::numeric_limits<double>::infinity());
  while (static_cast<int>(taken.size()) < std::min<int>(count, static_cast<int>(order.size()))) {
    size_t best = 0;  // the first of equals
    for (size_t i = 1; i < order.size(); ++i) {
      if (squared[i] > squared[best]) best = i;
    }
    taken.push_back(order[best]);
    const float* vector = vectors.data() + int64_t{order[best]} * dimension;
    for (size_t i = 0; i < order.size(); ++i) {
      squared[i] = std::min(
          squared[i],
          SquaredDistance(vectors.data() + int64_t{order[i]} * dimension, vector, dimension));
    }
    squared[best] = -1;
  }
  return taken;
}

std::string_view SelectionMethodName(SelectionMethod method) {
  constexpr std::string_view kNames[] = {"random", "score", "k-centre", "k-means++"};
  return kNames[static_cast<int>(method)];
}

Selection SelectWithinCost(const SelectionArgs& args) {
  const auto n = static_cast<int64_t>(args.candidates.size());
  const bool uses_vectors =
      args.method == SelectionMethod::kKCentre || args.method == SelectionMethod::kKMeansPlus;
  ATHANOR_CHECK(args.cost.per_frame >= 0 && args.cost.per_box >= 0 && args.cost.budget >= 0,
                "selection: expected costs >= 0, found ", args.cost.per_frame, " a frame, ",
                args.cost.per_box, " a box, a budget of ", args.cost.budget);
  if (uses_vectors) {
    ATHANOR_CHECK(args.dimension >= 1 &&
                      static_cast<int64_t>(args.vectors.size()) == n * args.dimension &&
                      args.labelled.size() % args.dimension == 0,
                  "selection: expected ", n, " vectors of ", args.dimension, " components, found ",
                  args.vectors.size(), " numbers (labelled: ", args.labelled.size(), ")");
    for (const auto& vectors : {args.vectors, args.labelled}) {
      for (size_t i = 0; i < vectors.size(); ++i) {
        ATHANOR_CHECK(std::isfinite(vectors[i]), "selection: vector ", i / args.dimension,
                      ": component ", i % args.dimension, " is ", vectors[i]);
      }
    }
  }
  const auto cost_of = [&](int64_t i) {
    return args.cost.per_frame + args.cost.per_box * std::max(args.candidates[i].boxes, 0);
  };
  Selection selection;
  const auto fits = [&](int64_t i) { return selection.cost + cost_of(i) <= args.cost.budget; };
  const auto take = [&](int64_t i) {
    selection.indices.push_back(static_cast<int>(i));
    selection.cost += cost_of(i);
  };

  Random random(args.seed);
  if (!uses_vectors) {
    std::vector<int> order = ByScore(args.candidates);
    if (args.method == SelectionMethod::kRandom) {
      std::sort(order.begin(), order.end());
      for (size_t i = order.size(); i > 1; --i) {
        std::swap(order[i - 1], order[random.Below(static_cast<uint32_t>(i))]);
      }
    }
    for (const int i : order) {
      if (fits(i)) take(i);
    }
    return selection;
  }

  std::vector<double> squared(n, std::numeric_limits<double>::infinity());
  for (size_t at = 0; at < args.labelled.size(); at += args.dimension) {
    Approach(args.vectors, args.dimension, args.labelled.data() + at, &squared);
  }
  std::vector<bool> out(n);
  for (int64_t i = 0; i < n; ++i) out[i] = std::isnan(args.candidates[i].score);
  bool anything_near = !args.labelled.empty();
  while (true) {
    const auto weight = [&](int64_t i) {
      if (args.method == SelectionMethod::kKCentre) return squared[i];
      const double score = std::max(args.candidates[i].score, 0.0);
      return anything_near ? squared[i] * score : score;
    };
    int64_t next = -1;
    double total = 0;
    for (int64_t i = 0; i < n; ++i) {
      if (out[i]) continue;
      if (!fits(i)) {
        out[i] = true;  // what is left only shrinks
      } else if (args.method == SelectionMethod::kKCentre) {
        if (next < 0 || weight(i) > weight(next)) next = i;
      } else {
        total += weight(i);
      }
    }
    if (args.method == SelectionMethod::kKMeansPlus) {
      double left = Uniform(random) * total;
      for (int64_t i = 0; i < n; ++i) {
        if (out[i]) continue;
        if (next < 0 || weight(i) > 0) next = i;  // the last one, should rounding pass the end
        if (weight(i) > 0 && (left -= weight(i)) < 0) break;
      }
    }
    if (next < 0) break;
    take(next);
    out[next] = true;
    anything_near = true;
    Approach(args.vectors, args.dimension, args.vectors.data() + next * args.dimension, &squared);
  }
  return selection;
}

}  // namespace athanor
