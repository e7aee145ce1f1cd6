// Which of two searches is cheaper: a scan of all rows that pass, or a walk of the graph
// (vector_index.h); and what a walk is expected to find.
//
// Unit of cost: a row scored in a scan.
//   scan   passing rows + all rows * (0.01 for a bitmap, 0.3 for a predicate)
//   graph  width / share of rows that pass * distances per step (counted as searches go, 20 at
//          first) * 2.5 (a row met on a walk against the next one of a scan: 1.8 to 4.2 measured)
// A scan is exact. What a walk is expected to find was measured on the index itself
// (VectorIndex::MeasureRecall), by width; unmeasured it is NaN, "unknown".
#pragma once

#include <cstdint>
#include <vector>

#include "athanor/loop/mining/vector_scan.h"

namespace athanor {

// Rows that the filter lets through: counted in a bitmap, on a sample of rows for a predicate.
double CountPassing(const VectorTable& table, const VectorFilter* filter, int64_t rows);

// Never kAuto. `passing`: of `rows`; `distances_per_step`: that walks took so far.
SearchPlan CheaperPlan(int64_t rows, double passing, const VectorFilter* filter, int width,
                       double distances_per_step);

struct RecallPoint {
  double width, recall;
};
// The share of the true best that walks of some widths found.
struct RecallCurve {
  std::vector<RecallPoint> points;  // by width, rising

  // Between points by the logarithm of the width; NaN when there are none.
  double At(double width) const;
  // The narrowest width that reaches `recall`, or the widest. There must be points.
  int WidthFor(double recall) const;
};

}  // namespace athanor
