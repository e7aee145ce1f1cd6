// Objects from scores: Gaussians that belong to a phrase and touch.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "athanor/datasets/gaussian_cloud.h"
#include "athanor/geometry/box3.h"

namespace athanor {

struct FoundObject {
  std::vector<int32_t> gaussians;  // rising
  // World frame, along its axes: the 2nd to the 98th percentile of the centres, and the size of a
  // typical Gaussian around it.
  Box3 box;
  double score = 0;  // mean of the scores, weighted with opacity
  double mass = 0;   // sum of score times opacity: large and sure objects come first
};

struct ObjectOptions {
  double threshold = 0.5;      // a Gaussian belongs to the phrase above this score
  double min_opacity = 0.1;    // fainter ones neither join nor connect
  double neighbor_factor = 4;  // two are neighbours within this many typical distances
  int min_gaussians = 8;       // smaller groups are dropped
  int max_objects = 100;
};

// Connected components of the graph whose edges join selected Gaussians that lie within a radius:
// neighbor_factor times the median distance of selected Gaussians to their 3 nearest. Ordered by
// falling mass. `scores`: [N]. Cells of half the radius, in which all are neighbours: a pair of
// cells needs one edge, which boxes around halves of their points find or exclude, so that many
// Gaussians on one spot cost no more than as many apart: O(N log N).
std::vector<FoundObject> FindObjects(const GaussianCloud& cloud, std::span<const float> scores,
                                     const ObjectOptions& options);

}  // namespace athanor
