// How sure a label has to be: per class, the lowest confidence from which on labels are as precise
// as asked for, with a bound that luck does not reach.
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <vector>

#include "athanor/detection/evaluation/nuscenes_eval.h"

namespace athanor {

// Lower end of the one-sided interval of Clopper and Pearson (Biometrika 1934) for a share of which
// `hits` of `trials` were hits: the share is at least this, with `confidence`. 0 for none.
double LowerBound(int64_t hits, int64_t trials, double confidence);

// A label that somebody looked at.
struct AuditedLabel {
  int class_index = 0;
  double confidence = 0;
  bool is_right = false;
};

struct ClassThreshold {
  static constexpr double kNever = 2;  // no confidence is enough: everything goes to people
  double threshold = kNever;
  int64_t accepted = 0, right = 0;  // of the audited ones, from the threshold on
  int64_t audited = 0;
  double lower_bound = 0;  // of the precision
};

// The lowest threshold whose accepted labels have a lower bound of at least `precision`, for each
// class. Only thresholds that cut the audited labels into at most `kSteps` shares are tried, and
// `confidence` is divided by their number (Bonferroni): trying many does not make one true.
inline constexpr int kThresholdSteps = 10;
std::array<ClassThreshold, kNuscenesAllClasses> ChooseThresholds(
    std::span<const AuditedLabel> labels, double precision, double confidence);

// Compares labels with true boxes of the same frame as the benchmark matches: per class, best
// first, nearest centre in the plane within `distance_m`. `is_right` in the order of `labels`.
std::vector<uint8_t> MatchToTruth(std::span<const NuscenesBox> labels,
                                  std::span<const NuscenesBox> truth, double distance_m = 2);

}  // namespace athanor
