#include "athanor/loop/mining/search_planner.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>

namespace athanor {
namespace {

constexpr double kWalkedRow = 2.5, kBitmapRow = 0.01, kPredicateRow = 0.3;
constexpr int kSelectivitySample = 1024;

}  // namespace

double CountPassing(const VectorTable& table, const VectorFilter* filter, int64_t rows) {
  double passing = static_cast<double>(table.live_rows());
  if (filter == nullptr) return passing;
  if (!filter->rows.empty()) {
    int64_t set = 0;
    for (const uint64_t word : filter->rows) set += std::popcount(word);
    passing = std::min(passing, static_cast<double>(set));
  }
  if (filter->predicate && rows > 0) {
    const int64_t sample = std::min<int64_t>(rows, kSelectivitySample);
    int64_t passed = 0;
    for (int64_t i = 0; i < sample; ++i) {
      passed += filter->predicate(table.id(i * rows / sample)) ? 1 : 0;
    }
    passing *= static_cast<double>(passed) / static_cast<double>(sample);
  }
  return passing;
}

SearchPlan CheaperPlan(int64_t rows, double passing, const VectorFilter* filter, int width,
                       double distances_per_step) {
  const bool has_predicate = filter != nullptr && filter->predicate != nullptr;
  const bool has_bitmap = filter != nullptr && !filter->rows.empty();
  const double all = std::max<double>(static_cast<double>(rows), 1);
  const double scan = passing + all * ((has_predicate && !has_bitmap ? kPredicateRow : 0) +
                                       (filter != nullptr ? kBitmapRow : 0));
  const double share = std::max(passing / all, 1 / all);
  const double walk = width / share * distances_per_step * kWalkedRow;
  return walk < scan ? SearchPlan::kGraph : SearchPlan::kScan;
}

double RecallCurve::At(double width) const {
  if (points.empty()) return std::numeric_limits<double>::quiet_NaN();
  if (width <= points.front().width) return points.front().recall;
  for (size_t i = 1; i < points.size(); ++i) {
    const RecallPoint &a = points[i - 1], &b = points[i];
    if (width > b.width) continue;
    const double along = std::log(width / a.width) / std::log(b.width / a.width);
    return a.recall + along * (b.recall - a.recall);
  }
  return points.back().recall;
}

int RecallCurve::WidthFor(double recall) const {
  for (const RecallPoint& point : points) {
    if (point.recall >= recall) return static_cast<int>(point.width);
  }
  return static_cast<int>(points.back().width);
}

}  // namespace athanor
