// Distances between neighbouring points: what the first sizes of Gaussians follow from.
#pragma once

#include <cstdint>
#include <vector>

namespace athanor {

// Per point, the mean of the squared distances to its k nearest other points; to all others when
// there are fewer than k, and 0 for a lone point. Another point at the same place counts, at
// distance 0. Saturates at the largest float.
//
// points: [N,3], any unit (the result is in its square). Exact, by a kd-tree, on all threads:
// O(N log N). Throws Error unless k >= 1, or naming the index of a point that is not finite.
std::vector<float> MeanSquaredDistanceToNearest(const float* points, int64_t n, int k);

}  // namespace athanor
