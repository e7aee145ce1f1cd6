#include "athanor/datasets/log_projection.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <utility>

namespace athanor {

std::vector<Eigen::Vector2d> OutlineOf(const Box3& box_in_camera, const Camera& camera) {
  constexpr int kPieces = 8;
  std::vector<Eigen::Vector2d> outline;
  const std::array<Eigen::Vector3d, 8> corners = box_in_camera.Corners();
  for (int i = 0; i < 8; ++i) {
    for (const int bit : {4, 2, 1}) {
      if ((i & bit) != 0) continue;
      Eigen::Vector3d a = corners[i], b = corners[i | bit];
      if (a.z() < kNearestProjected_m && b.z() < kNearestProjected_m) continue;
      if (a.z() < kNearestProjected_m) std::swap(a, b);
      if (b.z() < kNearestProjected_m)
        b = a + (b - a) * ((a.z() - kNearestProjected_m) / (a.z() - b.z()));
      for (int k = 0; k <= kPieces; ++k) {
        const auto pixel = camera.Project(a + (b - a) * (static_cast<double>(k) / kPieces));
        if (pixel) outline.push_back(*pixel);
      }
    }
  }
  return outline;
}

void CutHull(std::vector<Eigen::Vector2d> points, Image* mask) {
  if (points.size() < 3) return;
  std::sort(points.begin(), points.end(), [](const auto& a, const auto& b) {
    return std::pair(a.x(), a.y()) < std::pair(b.x(), b.y());
  });
  const auto cross = [](const Eigen::Vector2d& o, const Eigen::Vector2d& a,
                        const Eigen::Vector2d& b) {
    return (a.x() - o.x()) * (b.y() - o.y()) - (a.y() - o.y()) * (b.x() - o.x());
  };
  std::vector<Eigen::Vector2d> hull;
  for (int pass = 0; pass < 2; ++pass) {
    const size_t start = hull.size();
    for (const Eigen::Vector2d& p : points) {
      while (hull.size() >= start + 2 && cross(hull[hull.size() - 2], hull.back(), p) <= 0) {
        hull.pop_back();
      }
      hull.push_back(p);
    }
    hull.pop_back();
    std::reverse(points.begin(), points.end());
  }
  for (int y = 0; y < mask->height; ++y) {
    double low = mask->width, high = 0;
    for (size_t i = 0; i < hull.size(); ++i) {
      const Eigen::Vector2d &a = hull[i], &b = hull[(i + 1) % hull.size()];
      // Where the edge passes through the row of pixels, which is one high.
      const double top = std::max<double>(std::min(a.y(), b.y()), y);
      const double bottom = std::min<double>(std::max(a.y(), b.y()), y + 1);
      if (top > bottom) continue;
      for (const double at : {top, bottom}) {
        const double t = a.y() == b.y() ? 0 : (at - a.y()) / (b.y() - a.y());
        const double x = a.x() + t * (b.x() - a.x());
        low = std::min(low, x);
        high = std::max(high, x);
        if (a.y() == b.y()) {
          low = std::min(low, b.x());
          high = std::max(high, b.x());
        }
      }
    }
    const int first = static_cast<int>(std::clamp(std::floor(low), 0.0, double(mask->width)));
    const int last = static_cast<int>(std::clamp(std::ceil(high), 0.0, double(mask->width)));
    for (int x = first; x < last; ++x) *mask->at(x, y) = 0;
  }
}

void RemoveHidden(const Camera& camera, std::vector<PixelHit>* hits) {
  constexpr float kShare = 0.93f, kStep_m = 0.3f;
  // Cells of about a seventh of a degree for a common lens; LiDAR rings are 7 of them apart or
  // less.
  const int cell = std::max(1, camera.width_px / 400);
  constexpr int kBeside = 2, kAlong = 8;
  const int width = camera.width_px / cell + 1, height = camera.height_px / cell + 1;
  std::vector<float> nearest(static_cast<size_t>(width) * height, INFINITY);
  for (const PixelHit& hit : *hits) {
    float& value = nearest[static_cast<size_t>(hit.y / cell) * width + hit.x / cell];
    value = std::min(value, hit.depth_m);
  }
  const auto is_hidden = [&](const PixelHit& hit) {
    const int cx = hit.x / cell, cy = hit.y / cell;
    const float limit = kShare * hit.depth_m - kStep_m;
    bool above = false, below = false;
    for (int y = std::max(0, cy - kAlong); y <= std::min(height - 1, cy + kAlong); ++y) {
      for (int x = std::max(0, cx - kBeside); x <= std::min(width - 1, cx + kBeside); ++x) {
        if (nearest[static_cast<size_t>(y) * width + x] >= limit) continue;
        above |= y <= cy;
        below |= y >= cy;
      }
    }
    return above && below;
  };
  // All are judged before one is removed: the result does not depend on their order.
  std::vector<bool> hidden(hits->size());
  for (size_t i = 0; i < hits->size(); ++i) hidden[i] = is_hidden((*hits)[i]);
  size_t kept = 0;
  for (size_t i = 0; i < hits->size(); ++i) {
    if (!hidden[i]) (*hits)[kept++] = (*hits)[i];
  }
  hits->resize(kept);
}

}  // namespace athanor
