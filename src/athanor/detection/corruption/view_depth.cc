#include "athanor/detection/corruption/view_depth.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include "athanor/base/error.h"
#include "athanor/base/parallel.h"

namespace athanor {
namespace {

// The elevation up to which the LiDAR looks: that of all but a thousandth of its points.
double HighestLook(const LidarSweep& sweep) {
  std::vector<double> slopes;
  for (const Eigen::Vector3f& point : sweep.points) {
    const double ahead = std::hypot(point.x(), point.y());
    if (ahead > 2) slopes.push_back(point.z() / ahead);
  }
  if (slopes.empty()) return 0;
  const auto high =
      slopes.begin() + static_cast<int64_t>(0.999 * static_cast<double>(slopes.size() - 1));
  std::nth_element(slopes.begin(), high, slopes.end());
  return *high;
}

}  // namespace

FloatImage GuessDepth(const LidarSweep& sweep, const Camera& camera,
                      const Rigid3& camera_from_lidar, const Rigid3& ego_from_camera, int cell_px) {
  camera.Check("camera");
  ATHANOR_CHECK(cell_px >= 1, "cell: expected 1 pixel or more, found ", cell_px);
  const int columns = (camera.width_px + cell_px - 1) / cell_px;
  const int rows = (camera.height_px + cell_px - 1) / cell_px;
  constexpr float kFar = 1 / kSkyDepth_m;
  FloatImage inverse(columns, rows, 1);                              // 1 / depth; 0: no return
  std::vector<float> slope_of(static_cast<size_t>(columns) * rows);  // of the return, upwards
  for (const Eigen::Vector3f& point : sweep.points) {
    if (point.norm() < 1.5f) continue;  // the car itself
    const Eigen::Vector3d in_camera = camera_from_lidar * point.cast<double>();
    const auto pixel = camera.Project(in_camera);
    if (!pixel || !(pixel->x() >= 0 && pixel->y() >= 0)) continue;
    if (!(pixel->x() < camera.width_px && pixel->y() < camera.height_px)) continue;
    const int x = static_cast<int>(pixel->x()) / cell_px,
              y = static_cast<int>(pixel->y()) / cell_px;
    const auto value = static_cast<float>(1 / std::max(in_camera.z(), 0.1));
    if (value <= *inverse.at(x, y)) continue;
    *inverse.at(x, y) = value;
    slope_of[static_cast<size_t>(y) * columns + x] = point.z() / std::hypot(point.x(), point.y());
  }
  const double highest = HighestLook(sweep);
  std::vector<uint8_t> has_return(columns, 0);
  ParallelFor(columns, 8, [&](int64_t begin, int64_t end) {
    for (int x = static_cast<int>(begin); x < end; ++x) {
      // Flat ground, or the sky, seen in each cell.
      std::vector<float> flat(rows, kFar);
      for (int y = 0; y < rows; ++y) {
        const auto ray = camera.Unproject({(x + 0.5) * cell_px, (y + 0.5) * cell_px});
        if (!ray) continue;
        const double down = -(ego_from_camera.rotation * *ray).z();
        const double height_m = std::max(ego_from_camera.translation.z(), 0.1);
        flat[y] = std::max(kFar, static_cast<float>(down / height_m));
      }
      int above = -1;  // the last return
      for (int y = 0; y < rows; ++y) {
        const float value = *inverse.at(x, y);
        if (value <= 0) continue;
        if (above < 0) {
          const bool goes_on =
              slope_of[static_cast<size_t>(y) * columns + x] > highest - 0.05;  // two beams
          for (int k = 0; k < y; ++k) *inverse.at(x, k) = goes_on ? value : flat[k];
        } else {
          const float top = *inverse.at(x, above);
          for (int k = above + 1; k < y; ++k) {
            const float share = static_cast<float>(k - above) / static_cast<float>(y - above);
            *inverse.at(x, k) = top + share * (value - top);
          }
        }
        above = y;
      }
      has_return[x] = above >= 0;
      for (int k = above + 1; k < rows; ++k) {
        *inverse.at(x, k) = above < 0 ? flat[k] : std::max(flat[k], *inverse.at(x, above));
      }
    }
  });
  // Columns without a return, where others have some.
  std::vector<int> nearest(columns, -1);
  for (int x = 0, last = -1; x < columns; ++x) nearest[x] = last = has_return[x] ? x : last;
  for (int x = columns - 1, last = -1; x >= 0; --x) {
    last = has_return[x] ? x : last;
    if (last >= 0 && (nearest[x] < 0 || last - x < x - nearest[x])) nearest[x] = last;
  }
  FloatImage depth(columns, rows, 1);
  for (int y = 0; y < rows; ++y) {
    for (int x = 0; x < columns; ++x) {
      // The mean of five columns takes the streaks out.
      float sum = 0;
      for (int k = -2; k <= 2; ++k) {
        const int column = std::clamp(x + k, 0, columns - 1);
        sum += *inverse.at(nearest[column] < 0 ? column : nearest[column], y);
      }
      *depth.at(x, y) = std::min(5 / std::max(sum, 1e-6f), kSkyDepth_m);
    }
  }
  return depth;
}

void AlignDepth(const Image& picture, FloatImage* depth) {
  constexpr int kReach = 12;                   // cells
  constexpr float kColor = 25, kDistance = 6;  // sigmas: grey levels, cells
  const Image colors = Resize(picture, depth->width, depth->height);
  std::vector<float> near(2 * kReach * kReach + 1);
  for (size_t i = 0; i < near.size(); ++i) near[i] = std::exp(-0.5f * i / (kDistance * kDistance));
  std::vector<float> alike(3 * 255 * 255 + 1);
  for (size_t i = 0; i < alike.size(); ++i) alike[i] = std::exp(-0.5f * i / (kColor * kColor));
  FloatImage aligned = *depth;
  ParallelFor(depth->height, 4, [&](int64_t begin, int64_t end) {
    for (int y = static_cast<int>(begin); y < end; ++y) {
      for (int x = 0; x < depth->width; ++x) {
        const uint8_t* color = colors.at(x, y);
        float sum = 0, weights = 0;
        for (int v = std::max(y - kReach, 0); v <= std::min(y + kReach, depth->height - 1); ++v) {
          for (int u = std::max(x - kReach, 0); u <= std::min(x + kReach, depth->width - 1); ++u) {
            const uint8_t* other = colors.at(u, v);
            int difference = 0;
            for (int c = 0; c < 3; ++c) difference += (color[c] - other[c]) * (color[c] - other[c]);
            const float weight = near[(u - x) * (u - x) + (v - y) * (v - y)] * alike[difference];
            sum += weight / *depth->at(u, v);
            weights += weight;
          }
        }
        *aligned.at(x, y) = weights / sum;
      }
    }
  });
  *depth = aligned;
}

}  // namespace athanor
