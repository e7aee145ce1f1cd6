#include "athanor/simulation/street/map_mask.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <span>
#include <vector>

#include "athanor/simulation/street/town_parts.h"

namespace athanor {
namespace {

using Eigen::Vector2d;
using Eigen::Vector3d;

constexpr double kMaxPixels = 4e8;

// Pixels whose centres lie inside (by the even-odd rule).
void FillPolygon(std::span<const Vector3d> outline, Image* mask) {
  double low = 1e30, high = -1e30;
  for (const Vector3d& p : outline) {
    low = std::min(low, p.y());
    high = std::max(high, p.y());
  }
  const auto pixel = [](double at_m, int size) {
    return static_cast<int>(std::clamp(std::ceil(at_m / kMapMaskPixel_m - 0.5), 0.0, double(size)));
  };
  std::vector<double> cuts;
  for (int row = pixel(low, mask->height); row < pixel(high, mask->height); ++row) {
    const double y = (row + 0.5) * kMapMaskPixel_m;
    cuts.clear();
    for (size_t i = 0, j = outline.size() - 1; i < outline.size(); j = i++) {
      const Vector3d &a = outline[i], &b = outline[j];
      if ((a.y() > y) == (b.y() > y)) continue;
      cuts.push_back(a.x() + (b.x() - a.x()) * (y - a.y()) / (b.y() - a.y()));
    }
    std::sort(cuts.begin(), cuts.end());
    for (size_t i = 0; i + 1 < cuts.size(); i += 2) {
      const int begin = pixel(cuts[i], mask->width), end = pixel(cuts[i + 1], mask->width);
      if (begin < end) std::fill_n(mask->at(begin, mask->height - 1 - row), end - begin, 255);
    }
  }
}

}  // namespace

Image DrawMapMask(const RoadNetwork& roads, const Vector2d& high_m) {
  const Vector2d size = (roads.max_m.cwiseMin(high_m) / kMapMaskPixel_m).array().ceil();
  if (!(size.minCoeff() >= 1) || size.prod() > kMaxPixels) return {};
  Image mask(static_cast<int>(size.x()), static_cast<int>(size.y()), 1);
  for (const RoadJunction& junction : roads.junctions) {
    if (junction.shape.size() >= 3) FillPolygon(junction.shape, &mask);
  }
  for (const RoadLane& lane : roads.lanes) {
    if (lane.kind == LaneKind::kRail) continue;
    if (lane.kind == LaneKind::kWalkingArea) {
      FillPolygon(lane.shape, &mask);
      continue;
    }
    const std::vector<Vector3d> left = OffsetLine(lane.shape, lane.width_m / 2);
    const std::vector<Vector3d> right = OffsetLine(lane.shape, -lane.width_m / 2);
    for (size_t i = 0; i + 1 < left.size() && i + 1 < right.size(); ++i) {
      FillPolygon(std::array{left[i], left[i + 1], right[i + 1], right[i]}, &mask);
    }
  }
  return mask;
}

}  // namespace athanor
