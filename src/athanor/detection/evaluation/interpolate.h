// Linear interpolation with the edge rules of numpy.interp, which the official evaluators use.
#pragma once

#include <algorithm>
#include <cmath>
#include <span>

namespace athanor {

// The value at `x` of the line through (xs[i], ys[i]), xs ascending, at least one point. Outside
// the range: the first or the last value. Where an x repeats, the segment that begins at its last
// copy counts.
inline double InterpolateLinear(double x, std::span<const double> xs, std::span<const double> ys) {
  const auto above = std::upper_bound(xs.begin(), xs.end(), x) - xs.begin();
  if (above == 0) return ys.front();
  const auto at = static_cast<size_t>(above - 1);
  if (at + 1 == xs.size() || xs[at] == x) return ys[at];
  const double slope = (ys[at + 1] - ys[at]) / (xs[at + 1] - xs[at]);
  const double value = slope * (x - xs[at]) + ys[at];
  if (!std::isnan(value)) return value;
  const double other = slope * (x - xs[at + 1]) + ys[at + 1];
  return std::isnan(other) && ys[at] == ys[at + 1] ? ys[at] : other;
}

// numpy.linspace(0, 1, count)[i].
inline double RecallAt(int i, int count) { return i + 1 == count ? 1.0 : i * (1.0 / (count - 1)); }

}  // namespace athanor
