#include "athanor/loop/labeling/precision.h"

#include <algorithm>
#include <cmath>

#include "athanor/base/error.h"

namespace athanor {
namespace {

// Regularised incomplete beta function I_x(a, b) by its continued fraction (Lentz), as in
// Abramowitz and Stegun 26.5.8.
double IncompleteBeta(double a, double b, double x) {
  if (x <= 0) return 0;
  if (x >= 1) return 1;
  if (x > (a + 1) / (a + b + 2)) return 1 - IncompleteBeta(b, a, 1 - x);
  const double front = std::exp(std::lgamma(a + b) - std::lgamma(a) - std::lgamma(b) +
                                a * std::log(x) + b * std::log1p(-x)) /
                       a;
  constexpr double kTiny = 1e-300;
  double f = 1, c = 1, d = 0;
  for (int i = 0; i < 1000; ++i) {
    const int m = i / 2;
    double numerator = 1;
    if (i > 0 && i % 2 == 0) {
      numerator = m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m));
    } else if (i % 2 == 1) {
      numerator = -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1));
    }
    d = 1 + numerator * d;
    if (std::abs(d) < kTiny) d = kTiny;
    d = 1 / d;
    c = 1 + numerator / c;
    if (std::abs(c) < kTiny) c = kTiny;
    f *= c * d;
    if (std::abs(1 - c * d) < 1e-14) break;
  }
  return front * (f - 1);
}

}  // namespace

double LowerBound(int64_t hits, int64_t trials, double confidence) {
  ATHANOR_CHECK(hits >= 0 && hits <= trials && confidence > 0 && confidence < 1,
                "lower bound: expected 0 <= hits <= trials and a confidence in (0, 1), found ",
                hits, ", ", trials, ", ", confidence);
  if (hits == 0) return 0;
  // P(at least `hits` | p) = I_p(hits, trials - hits + 1) = 1 - confidence.
  double low = 0, high = 1;
  for (int i = 0; i < 100; ++i) {
    const double middle = 0.5 * (low + high);
    const bool is_below =
        IncompleteBeta(static_cast<double>(hits), static_cast<double>(trials - hits + 1), middle) <
        1 - confidence;
    (is_below ? low : high) = middle;
  }
  return low;
}

std::array<ClassThreshold, kNuscenesAllClasses> ChooseThresholds(
    std::span<const AuditedLabel> labels, double precision, double confidence) {
  std::array<ClassThreshold, kNuscenesAllClasses> thresholds;
  for (int k = 0; k < kNuscenesAllClasses; ++k) {
    std::vector<AuditedLabel> of_class;
    for (const AuditedLabel& label : labels) {
      if (label.class_index == k) of_class.push_back(label);
    }
    std::stable_sort(of_class.begin(), of_class.end(),
                     [](auto& a, auto& b) { return a.confidence > b.confidence; });
    ClassThreshold& chosen = thresholds[k];
    const auto n = std::ssize(of_class);
    chosen.audited = n;
    const double each = 1 - (1 - confidence) / kThresholdSteps;
    int64_t right = 0, next = 0;
    for (int step = 1; step <= kThresholdSteps; ++step) {
      int64_t end = n * step / kThresholdSteps;
      // Labels of one confidence go together.
      while (end > 0 && end < n && of_class[end].confidence == of_class[end - 1].confidence) ++end;
      for (; next < end; ++next) right += of_class[next].is_right;
      if (end == 0) continue;
      const double bound = LowerBound(right, end, each);
      if (bound < precision) continue;
      chosen.threshold = of_class[end - 1].confidence;
      chosen.accepted = end;
      chosen.right = right;
      chosen.lower_bound = bound;
    }
  }
  return thresholds;
}

std::vector<uint8_t> MatchToTruth(std::span<const NuscenesBox> labels,
                                  std::span<const NuscenesBox> truth, double distance_m) {
  std::vector<size_t> order(labels.size());
  for (size_t i = 0; i < order.size(); ++i) order[i] = i;
  std::stable_sort(order.begin(), order.end(),
                   [&](size_t a, size_t b) { return labels[a].score > labels[b].score; });
  std::vector<uint8_t> is_right(labels.size()), is_taken(truth.size());
  for (const size_t i : order) {
    double nearest_m = distance_m;
    int64_t found = -1;
    for (size_t t = 0; t < truth.size(); ++t) {
      if (is_taken[t] || truth[t].class_index != labels[i].class_index) continue;
      const double away_m = (truth[t].translation_m - labels[i].translation_m).head<2>().norm();
      if (away_m < nearest_m) nearest_m = away_m, found = static_cast<int64_t>(t);
    }
    if (found < 0) continue;
    is_taken[found] = 1;
    is_right[i] = 1;
  }
  return is_right;
}

}  // namespace athanor
