#include "athanor/detection/evaluation/argoverse_eval.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <tuple>

#include "athanor/base/error.h"
#include "athanor/base/parallel.h"
#include "athanor/detection/evaluation/interpolate.h"

namespace athanor {
namespace {

constexpr size_t kMaxDistances = 8;
constexpr double kDefaultErrors[3] = {2, 1, std::numbers::pi};

double Yaw(const Eigen::Vector4d& q) {
  return std::atan2(2 * (q[1] * q[2] + q[0] * q[3]),
                    q[0] * q[0] + q[1] * q[1] - q[2] * q[2] - q[3] * q[3]);
}

// Folds an angle between two headings into [0, pi].
double FoldAngle(double angle) {
  angle = std::abs(angle);
  if (angle < std::numbers::pi) return angle;
  return std::numbers::pi - std::fmod(angle, std::numbers::pi);
}

std::array<double, 3> MatchErrors(const ArgoverseBox& truth, const ArgoverseBox& found) {
  const double overlap = truth.size_m.cwiseMin(found.size_m).prod();
  const double around = truth.size_m.cwiseMax(found.size_m).prod();
  return {(found.center_m - truth.center_m).norm(), 1 - overlap / around,
          FoldAngle(Yaw(found.rotation_wxyz) - Yaw(truth.rotation_wxyz))};
}

struct Found {
  double score;
  int32_t sweep;
  uint8_t hits = 0;
  std::array<double, 3> errors = {};
};

// One category in one sweep: as in the official assign(), after its filters.
void MatchSweep(std::vector<const ArgoverseBox*> detections,
                const std::vector<const ArgoverseBox*>& truths, int32_t sweep_index,
                const ArgoverseSweep& sweep, const ArgoverseConfig& config, const ArgoverseRoi& roi,
                std::vector<Found>* found) {
  // Best first, and where each stands in the file's order, which the ranking of all sweeps keeps.
  std::vector<size_t> order(detections.size());
  std::iota(order.begin(), order.end(), size_t{0});
  std::stable_sort(order.begin(), order.end(),
                   [&](size_t a, size_t b) { return detections[a]->score > detections[b]->score; });
  // The limit on their number comes before the region of interest.
  std::vector<uint8_t> counts(detections.size());
  int in_range = 0;
  for (const size_t i : order) {
    if (!(detections[i]->center_m.norm() < config.max_range_m)) continue;
    if (++in_range > config.max_detections_per_category) break;
    counts[i] = roi == nullptr || roi(sweep, *detections[i]);
  }
  const size_t begin = found->size();
  std::vector<size_t> place(detections.size());
  for (size_t i = 0; i < detections.size(); ++i) {
    if (counts[i] == 0) continue;
    place[i] = found->size() - begin;
    found->push_back({detections[i]->score, sweep_index});
  }
  std::vector<bool> taken(truths.size());
  for (const size_t i : order) {
    if (counts[i] == 0 || truths.empty()) continue;
    size_t nearest = 0;
    double least = std::numeric_limits<double>::infinity();
    for (size_t j = 0; j < truths.size(); ++j) {
      const double distance = (detections[i]->center_m - truths[j]->center_m).norm();
      if (distance < least) {
        least = distance;
        nearest = j;
      }
    }
    if (taken[nearest]) continue;  // there is no second choice
    taken[nearest] = true;         // even when it is too far away
    Found& match = (*found)[begin + place[i]];
    for (size_t t = 0; t < config.match_distances_m.size(); ++t) {
      if (least < config.match_distances_m[t]) match.hits |= static_cast<uint8_t>(1 << t);
      if (config.match_distances_m[t] == config.tp_distance_m && (match.hits >> t & 1) != 0) {
        match.errors = MatchErrors(*truths[nearest], *detections[i]);
      }
    }
  }
}

void CheckConfig(const ArgoverseConfig& config) {
  const auto& distances = config.match_distances_m;
  ATHANOR_CHECK(!distances.empty() && distances.size() <= kMaxDistances, "expected 1 to ",
                kMaxDistances, " match distances, found ", distances.size());
  ATHANOR_CHECK(distances[distances.size() / 2] == config.tp_distance_m,
                "expected the distance of true-positive errors to be the middle match distance (",
                distances[distances.size() / 2], "), found ", config.tp_distance_m);
  ATHANOR_CHECK(config.recall_samples >= 2, "expected at least 2 recall samples, found ",
                config.recall_samples);
}

void CheckBox(const ArgoverseBox& box, const ArgoverseSweep& sweep, const char* what) {
  ATHANOR_CHECK(box.center_m.allFinite() && box.rotation_wxyz.allFinite() &&
                    box.size_m.allFinite() && std::isfinite(box.score),
                "log ", sweep.log_id, ", sweep ", sweep.timestamp_ns, ": ", what,
                " has a number that is not finite");
  ATHANOR_CHECK((box.size_m.array() > 0).all(), "log ", sweep.log_id, ", sweep ",
                sweep.timestamp_ns, ": ", what, " has a size that is not > 0: ", box.size_m.x(),
                ", ", box.size_m.y(), ", ", box.size_m.z());
}

// Area under the precision envelope at one distance.
double AveragePrecision(const ArgoverseMatches::Category& matches, size_t distance, int64_t truths,
                        int recall_samples, std::span<const int32_t> weights) {
  // The ends of each run of equal recalls: all that interpolation looks at, and the first of each
  // is the highest of its run.
  std::vector<double> recalls, precisions;
  int64_t tp = 0, fp = 0;
  constexpr double kEpsilon = std::numeric_limits<double>::epsilon();  // as the official tool
  const auto add = [&] {
    recalls.push_back(static_cast<double>(tp) / static_cast<double>(truths));
    precisions.push_back(static_cast<double>(tp) / (static_cast<double>(tp + fp) + kEpsilon));
  };
  for (size_t i = 0; i < matches.score.size(); ++i) {
    const int weight = weights.empty() ? 1 : weights[matches.sweep[i]];
    if ((matches.hits[i] >> distance & 1) == 0) {
      fp += weight;
      continue;
    }
    for (int copy = 0; copy < weight; ++copy) {
      if (tp + fp > 0) add();
      ++tp;
      add();
    }
  }
  if (tp == 0) return 0;
  add();
  for (size_t i = precisions.size() - 1; i > 0; --i) {
    precisions[i - 1] = std::max(precisions[i - 1], precisions[i]);
  }
  double sum = 0;
  for (int k = 0; k < recall_samples; ++k) {
    const double recall = RecallAt(k, recall_samples);
    if (recall <= recalls.back()) sum += InterpolateLinear(recall, recalls, precisions);
  }
  return sum / recall_samples;
}

ArgoverseScores Summarize(const ArgoverseMatches::Category& matches, const ArgoverseConfig& config,
                          std::span<const int32_t> weights) {
  ArgoverseScores scores;
  scores.ate_m = config.tp_distance_m;
  int64_t truths = 0;
  for (size_t i = 0; i < matches.truths.size(); ++i) {
    truths += int64_t{matches.truths[i]} * (weights.empty() ? 1 : weights[i]);
  }
  if (truths == 0) return scores;
  const size_t distances = config.match_distances_m.size();
  for (size_t t = 0; t < distances; ++t) {
    scores.ap += AveragePrecision(matches, t, truths, config.recall_samples, weights);
  }
  scores.ap /= static_cast<double>(distances);

  std::array<double, 3> errors = {config.tp_distance_m, kDefaultErrors[1], kDefaultErrors[2]};
  const std::array<double, 3> terms = errors;
  std::array<double, 3> sums = {};
  int64_t count = 0;
  size_t hit = 0;
  for (size_t i = 0; i < matches.score.size(); ++i) {
    if ((matches.hits[i] >> (distances / 2) & 1) == 0) continue;
    const int weight = weights.empty() ? 1 : weights[matches.sweep[i]];
    for (int e = 0; e < 3; ++e) sums[e] += weight * matches.errors[hit][e];
    count += weight;
    ++hit;
  }
  double quality = 0;
  for (int e = 0; e < 3; ++e) {
    if (count > 0) errors[e] = sums[e] / static_cast<double>(count);
    quality += 1 - errors[e] / terms[e];
  }
  scores.ate_m = errors[0];
  scores.ase = errors[1];
  scores.aoe_rad = errors[2];
  scores.cds = scores.ap * (quality / 3);
  return scores;
}

}  // namespace

std::vector<std::string> ArgoverseCategories() {
  return {"ARTICULATED_BUS",
          "BICYCLE",
          "BICYCLIST",
          "BOLLARD",
          "BOX_TRUCK",
          "BUS",
          "CONSTRUCTION_BARREL",
          "CONSTRUCTION_CONE",
          "DOG",
          "LARGE_VEHICLE",
          "MESSAGE_BOARD_TRAILER",
          "MOBILE_PEDESTRIAN_CROSSING_SIGN",
          "MOTORCYCLE",
          "MOTORCYCLIST",
          "PEDESTRIAN",
          "REGULAR_VEHICLE",
          "SCHOOL_BUS",
          "SIGN",
          "STOP_SIGN",
          "STROLLER",
          "TRUCK",
          "TRUCK_CAB",
          "VEHICULAR_TRAILER",
          "WHEELCHAIR",
          "WHEELED_DEVICE",
          "WHEELED_RIDER"};
}

ArgoverseMatches MatchArgoverse(const std::vector<ArgoverseSweep>& sweeps,
                                const ArgoverseConfig& config, const ArgoverseRoi& roi) {
  CheckConfig(config);
  // Equal scores rank by log and time.
  std::vector<int32_t> order(sweeps.size());
  std::iota(order.begin(), order.end(), 0);
  const auto key = [&](int32_t i) { return std::tie(sweeps[i].log_id, sweeps[i].timestamp_ns); };
  std::sort(order.begin(), order.end(), [&](int32_t a, int32_t b) { return key(a) < key(b); });
  for (size_t i = 1; i < order.size(); ++i) {
    ATHANOR_CHECK(key(order[i - 1]) != key(order[i]), "log ", sweeps[order[i]].log_id, ", sweep ",
                  sweeps[order[i]].timestamp_ns, " comes twice");
  }

  const size_t categories = config.categories.size();
  ArgoverseMatches matches;
  matches.num_sweeps = static_cast<int64_t>(sweeps.size());
  matches.categories.resize(categories);
  for (auto& category : matches.categories) category.truths.assign(sweeps.size(), 0);

  constexpr int64_t kGrain = 64;
  const auto count = static_cast<int64_t>(order.size());
  std::vector<std::vector<std::vector<Found>>> pieces((count + kGrain - 1) / kGrain);
  ParallelFor(count, kGrain, [&](int64_t begin, int64_t end) {
    auto& piece = pieces[begin / kGrain];
    piece.resize(categories);
    std::vector<std::vector<const ArgoverseBox*>> truths(categories), detections(categories);
    const auto find = [&](const ArgoverseBox& box) {
      ATHANOR_CHECK(box.category >= -1 && box.category < static_cast<int>(categories),
                    "no category has index ", box.category);
      return box.category;
    };
    for (int64_t i = begin; i < end; ++i) {
      const ArgoverseSweep& sweep = sweeps[order[i]];
      for (size_t c = 0; c < categories; ++c) truths[c].clear(), detections[c].clear();
      for (const ArgoverseBox& box : sweep.truths) {
        CheckBox(box, sweep, "a true box");
        if (find(box) < 0 || box.num_points <= 0) continue;
        if (!(box.center_m.norm() < config.max_range_m)) continue;
        if (roi == nullptr || roi(sweep, box)) truths[box.category].push_back(&box);
      }
      for (const ArgoverseBox& box : sweep.detections) {
        CheckBox(box, sweep, "a detection");
        if (find(box) >= 0) detections[box.category].push_back(&box);
      }
      for (size_t c = 0; c < categories; ++c) {
        matches.categories[c].truths[order[i]] = static_cast<int32_t>(truths[c].size());
        MatchSweep(detections[c], truths[c], order[i], sweep, config, roi, &piece[c]);
      }
    }
  });

  const size_t tp = config.match_distances_m.size() / 2;
  ParallelChunks(static_cast<int64_t>(categories), [&](int64_t c) {
    std::vector<Found> all;
    for (const auto& piece : pieces) all.insert(all.end(), piece[c].begin(), piece[c].end());
    std::stable_sort(all.begin(), all.end(),
                     [](const Found& a, const Found& b) { return a.score > b.score; });
    ArgoverseMatches::Category& ranked = matches.categories[c];
    for (const Found& found : all) {
      ranked.score.push_back(found.score);
      ranked.sweep.push_back(found.sweep);
      ranked.hits.push_back(found.hits);
      if ((found.hits >> tp & 1) != 0) ranked.errors.push_back(found.errors);
    }
  });
  return matches;
}

ArgoverseMetrics SummarizeArgoverse(const ArgoverseMatches& matches, const ArgoverseConfig& config,
                                    std::span<const int32_t> weights) {
  CheckConfig(config);
  ATHANOR_CHECK(weights.empty() || static_cast<int64_t>(weights.size()) == matches.num_sweeps,
                "expected one weight per sweep (", matches.num_sweeps, "), found ", weights.size());
  ArgoverseMetrics metrics;
  metrics.categories.resize(matches.categories.size());
  ParallelChunks(static_cast<int64_t>(matches.categories.size()), [&](int64_t c) {
    metrics.categories[c] = Summarize(matches.categories[c], config, weights);
  });
  ArgoverseScores sum = {0, 0, 0, 0, 0};
  for (const ArgoverseScores& scores : metrics.categories) {
    sum.ap += scores.ap;
    sum.ate_m += scores.ate_m;
    sum.ase += scores.ase;
    sum.aoe_rad += scores.aoe_rad;
    sum.cds += scores.cds;
  }
  const auto count = static_cast<double>(metrics.categories.size());
  metrics.average = {sum.ap / count, sum.ate_m / count, sum.ase / count, sum.aoe_rad / count,
                     sum.cds / count};
  return metrics;
}

ArgoverseScores Rounded(const ArgoverseScores& scores) {
  const auto round = [](double value) { return std::nearbyint(value * 1000) / 1000; };
  return {round(scores.ap), round(scores.ate_m), round(scores.ase), round(scores.aoe_rad),
          round(scores.cds)};
}

}  // namespace athanor
