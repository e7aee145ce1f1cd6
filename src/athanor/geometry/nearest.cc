#include "athanor/geometry/nearest.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <nanoflann.hpp>
#include <numeric>

#include "athanor/base/error.h"
#include "athanor/base/parallel.h"

namespace athanor {
namespace {

// Points as nanoflann asks for them. Doubles, so that no square of a finite float overflows.
struct PointTable {
  const float* points;
  size_t n;

  size_t kdtree_get_point_count() const { return n; }
  double kdtree_get_pt(size_t index, size_t axis) const { return points[3 * index + axis]; }
  template <typename Box>
  bool kdtree_get_bbox(Box&) const {
    return false;
  }
};

using Tree = nanoflann::KDTreeSingleIndexAdaptor<nanoflann::L2_Simple_Adaptor<double, PointTable>,
                                                 PointTable, 3, uint32_t>;

// Ends the search once all that are wanted lie at the query's own place: else each of N points at
// one place would visit all N.
class NearestSet : public nanoflann::KNNResultSet<double, uint32_t> {
 public:
  using KNNResultSet::KNNResultSet;
  double worstDist() const {
    const double worst = KNNResultSet::worstDist();
    return worst > 0 ? worst : -1;
  }
};

}  // namespace

std::vector<float> MeanSquaredDistanceToNearest(const float* points, int64_t n, int k) {
  ATHANOR_CHECK(k >= 1, "number of nearest points: expected at least 1, found ", k);
  ATHANOR_CHECK(n >= 0 && n <= std::numeric_limits<uint32_t>::max(),
                "number of points: expected 0 to 2^32 - 1, found ", n);
  for (int64_t i = 0; i < 3 * n; ++i) {
    ATHANOR_CHECK(std::isfinite(points[i]), "point ", i / 3,
                  ": expected finite coordinates, found ", points[i]);
  }
  std::vector<float> mean(static_cast<size_t>(n));
  if (n < 2) return mean;
  const PointTable table{points, static_cast<size_t>(n)};
  const Tree tree(3, table, nanoflann::KDTreeSingleIndexAdaptorParams(16));
  const auto wanted = static_cast<size_t>(std::min<int64_t>(k, n - 1)) + 1;  // with itself
  ParallelFor(n, 1024, [&](int64_t begin, int64_t end) {
    std::vector<uint32_t> indices(wanted);
    std::vector<double> distances(wanted);
    for (int64_t i = begin; i < end; ++i) {
      const double query[3] = {points[3 * i], points[3 * i + 1], points[3 * i + 2]};
      NearestSet nearest(wanted);
      nearest.init(indices.data(), distances.data());
      tree.findNeighbors(nearest, query, {});
      // Nothing is nearer than the point itself, at 0: the first goes, whichever of equals it is.
      const double sum = std::accumulate(distances.begin() + 1, distances.end(), 0.0);
      mean[i] = static_cast<float>(std::min<double>(sum / static_cast<double>(wanted - 1),
                                                    std::numeric_limits<float>::max()));
    }
  });
  return mean;
}

}  // namespace athanor
