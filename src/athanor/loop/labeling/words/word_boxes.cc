#include "athanor/loop/labeling/words/word_boxes.h"

#include <Eigen/Eigenvalues>
#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <numbers>
#include <numeric>

#include "athanor/base/error.h"
#include "athanor/geometry/box3.h"

namespace athanor {
namespace {

constexpr double kJoin = 0.02, kLeastJoin_m = 0.4, kMostJoin_m = 1.2, kFinest_m = 0.15;
constexpr double kLongClass_m = 1.5;  // whose corners a LiDAR sees
constexpr double kHalo_rad = 0.0175;
constexpr double kAround_m = 0.25;
constexpr double kBand = 1.25;  // a group may be so much larger than its class before it is cut

struct Extent {
  double low = std::numeric_limits<double>::infinity();
  double high = -std::numeric_limits<double>::infinity();
  void Add(double value) {
    low = std::min(low, value);
    high = std::max(high, value);
  }
  double size() const { return high - low; }
};

Eigen::Vector2d Axis(double yaw) { return {std::cos(yaw), std::sin(yaw)}; }

// Connected groups of points that lie within `radius_of(point)` of each other.
template <typename Radius>
std::vector<std::vector<int>> Join(std::span<const Eigen::Vector3d> points,
                                   const std::vector<int>& chosen, const Radius& radius_of) {
  std::vector<int> parent(chosen.size());
  std::iota(parent.begin(), parent.end(), 0);
  const auto find = [&](int i) {
    while (parent[i] != i) i = parent[i] = parent[parent[i]];
    return i;
  };
  // Sorted along x, so that only a window has to be looked at.
  std::vector<int> order(chosen.size());
  std::iota(order.begin(), order.end(), 0);
  std::sort(order.begin(), order.end(), [&](int a, int b) {
    return std::pair(points[chosen[a]].x(), a) < std::pair(points[chosen[b]].x(), b);
  });
  for (size_t i = 0; i < order.size(); ++i) {
    const Eigen::Vector3d& a = points[chosen[order[i]]];
    const double radius = radius_of(a);
    for (size_t j = i + 1; j < order.size(); ++j) {
      const Eigen::Vector3d& b = points[chosen[order[j]]];
      if (b.x() - a.x() > radius) break;
      // Beams are far apart in height: things are told apart in the plane.
      if ((a - b).head<2>().norm() > radius || std::abs(a.z() - b.z()) > 2 * radius) continue;
      const int x = find(order[i]), y = find(order[j]);
      parent[std::max(x, y)] = std::min(x, y);
    }
  }
  std::vector<std::vector<int>> groups;
  std::vector<int> number(chosen.size(), -1);
  for (size_t i = 0; i < chosen.size(); ++i) {
    int& group = number[find(static_cast<int>(i))];
    if (group < 0) {
      group = static_cast<int>(groups.size());
      groups.emplace_back();
    }
    groups[group].push_back(chosen[i]);
  }
  return groups;
}

double YawOf(std::span<const Eigen::Vector2d> points, const ClassSize& size) {
  if (size.usual_m.head<2>().maxCoeff() > kLongClass_m) {
    return internal::ClosestRectangleYaw(points);
  }
  Eigen::Vector2d mean = Eigen::Vector2d::Zero();
  for (const Eigen::Vector2d& p : points) mean += p / static_cast<double>(points.size());
  Eigen::Matrix2d covariance = Eigen::Matrix2d::Zero();
  for (const Eigen::Vector2d& p : points) covariance += (p - mean) * (p - mean).transpose();
  const Eigen::SelfAdjointEigenSolver<Eigen::Matrix2d> solver(covariance);
  const Eigen::Vector2d axis = solver.eigenvectors().col(1);
  return std::atan2(axis.y(), axis.x());
}

class Finder {
 public:
  Finder(const ScoredPoints& scored, int class_index, const WordBoxOptions& options)
      : scored_(scored), options_(options), class_(class_index), size_(SizeOfClass(class_index)) {}

  std::vector<NuscenesBox> Find() {
    std::vector<int> chosen;
    for (size_t i = 0; i < scored_.points.size(); ++i) {
      if (scored_.scores[i] > options_.threshold && scored_.height_m[i] > options_.clearance_m) {
        chosen.push_back(static_cast<int>(i));
      }
    }
    for (const auto& group : Join(scored_.points, RemoveHalo(chosen), [&](const auto& point) {
           return std::clamp(kJoin * (point - scored_.sensor).norm(), kLeastJoin_m, kMostJoin_m);
         })) {
      const double range_m = (scored_.points[group[0]] - scored_.sensor).norm();
      Split(group, std::clamp(kJoin * range_m, kLeastJoin_m, kMostJoin_m) / 2);
    }
    std::stable_sort(boxes_.begin(), boxes_.end(),
                     [](const auto& a, const auto& b) { return a.score > b.score; });
    return std::move(boxes_);
  }

 private:
  // Without points that have a much nearer chosen one beside them, as the sensor sees it.
  std::vector<int> RemoveHalo(const std::vector<int>& chosen) const {
    struct Seen {
      double azimuth, elevation, range_m;
      int point;
    };
    std::vector<Seen> seen;
    for (const int i : chosen) {
      const Eigen::Vector3d d = scored_.points[i] - scored_.sensor;
      seen.push_back(
          {std::atan2(d.y(), d.x()), std::atan2(d.z(), d.head<2>().norm()), d.norm(), i});
    }
    std::sort(seen.begin(), seen.end(), [](const Seen& a, const Seen& b) {
      return std::pair(a.azimuth, a.point) < std::pair(b.azimuth, b.point);
    });
    const double depth_m = size_.most_m.head<2>().norm();
    std::vector<uint8_t> is_halo(seen.size(), 0);
    for (size_t i = 0; i < seen.size(); ++i) {
      for (size_t j = i + 1; j < seen.size(); ++j) {
        if (seen[j].azimuth - seen[i].azimuth > kHalo_rad) break;
        if (std::abs(seen[j].elevation - seen[i].elevation) > 2 * kHalo_rad) continue;
        if (seen[j].range_m > seen[i].range_m + depth_m) is_halo[j] = 1;
        if (seen[i].range_m > seen[j].range_m + depth_m) is_halo[i] = 1;
      }
    }
    std::vector<int> kept;
    for (size_t i = 0; i < seen.size(); ++i) {
      if (is_halo[i] == 0) kept.push_back(seen[i].point);
    }
    std::sort(kept.begin(), kept.end());
    return kept;
  }

  // A box for the group, or for its parts when it is larger than the class may be.
  void Split(const std::vector<int>& group, double finer_m) {
    if (std::ssize(group) < options_.min_points) return;
    std::vector<Eigen::Vector2d> plane;
    for (const int i : group) plane.push_back(scored_.points[i].head<2>());
    const double yaw = YawOf(plane, size_);
    Extent along, across;
    for (const Eigen::Vector2d& p : plane) {
      along.Add(p.dot(Axis(yaw)));
      across.Add(p.dot(Axis(yaw + std::numbers::pi / 2)));
    }
    const double most = size_.most_m.head<2>().maxCoeff();
    const double least = size_.most_m.head<2>().minCoeff();
    const bool is_too_large = std::max(along.size(), across.size()) > kBand * most ||
                              std::min(along.size(), across.size()) > kBand * least;
    if (is_too_large && finer_m >= kFinest_m) {
      for (const auto& part : Join(scored_.points, group, [&](const auto&) { return finer_m; })) {
        Split(part, finer_m / 2);
      }
      return;
    }
    if (is_too_large) return;
    AddBox(group, yaw, along, across);
  }

  void AddBox(const std::vector<int>& group, double yaw, Extent along, Extent across) {
    // The long side of the points is that of the class: a barrier is wider than long.
    if ((along.size() < across.size()) != (size_.usual_m.y() < size_.usual_m.x())) {
      yaw += std::numbers::pi / 2;
      const Extent turned = {-along.high, -along.low};
      along = across;
      across = turned;
    }
    NuscenesBox box;
    box.class_index = static_cast<int8_t>(class_);
    Eigen::Vector2d center = Eigen::Vector2d::Zero();
    const auto side = [&](const Extent& extent, const Eigen::Vector2d& axis, int k) {
      const double size = std::clamp(extent.size(), size_.least_m[k], size_.most_m[k]);
      const double middle = (extent.low + extent.high) / 2;
      const Eigen::Vector2d to_sensor =
          scored_.sensor.head<2>() - scored_.points[group[0]].head<2>();
      // -1 .. 1: how much of what is missing lies on the far side.
      const double away = -to_sensor.normalized().dot(axis);
      center += (middle + away * std::max(0.0, size - extent.size()) / 2) * axis;
      box.size_wlh_m[k] = size;
    };
    side(along, Axis(yaw), 1);
    side(across, Axis(yaw + std::numbers::pi / 2), 0);
    double sum = 0, top = -std::numeric_limits<double>::infinity(), ground = 0;
    for (const int i : group) {
      sum += scored_.scores[i];
      top = std::max(top, scored_.points[i].z());
      ground += (scored_.points[i].z() - scored_.height_m[i]) / static_cast<double>(group.size());
    }
    const double height = std::clamp(top - ground, size_.least_m.z(), size_.most_m.z());
    box.size_wlh_m.z() = height;
    box.translation_m = {center.x(), center.y(), ground + height / 2};
    box.rotation_wxyz = {std::cos(yaw / 2), 0, 0, std::sin(yaw / 2)};
    box.velocity_mps.setConstant(std::nan(""));
    const auto n = static_cast<double>(group.size());
    // Points of all that stands there: what is called a person on the side of a car is none.
    Box3 around =
        MakeBox3(box.translation_m, {box.size_wlh_m.y(), box.size_wlh_m.x(), height}, yaw);
    around.size_m.array() += 2 * kAround_m;
    const double reach_m = around.size_m.norm() / 2;
    double all = 0;
    for (size_t i = 0; i < scored_.points.size(); ++i) {
      all += scored_.height_m[i] > options_.clearance_m &&
             (scored_.points[i] - box.translation_m).squaredNorm() <= reach_m * reach_m &&
             around.Contains(scored_.points[i]);
    }
    box.score = sum / n * n / (n + 1) * std::min(1.0, n / std::max(all, 1.0));
    box.num_points = static_cast<int32_t>(group.size());
    boxes_.push_back(box);
  }

  const ScoredPoints& scored_;
  const WordBoxOptions& options_;
  int class_;
  const ClassSize& size_;
  std::vector<NuscenesBox> boxes_;
};

}  // namespace

namespace internal {

double ClosestRectangleYaw(std::span<const Eigen::Vector2d> points) {
  constexpr int kSteps = 45;
  constexpr double kLeast_m = 0.05;  // nearer to a side than this is as good as on it
  double best = 0, most = -1;
  for (int step = 0; step < kSteps; ++step) {
    const double yaw = step * std::numbers::pi / (2 * kSteps);
    const std::array<Eigen::Vector2d, 2> axes = {Axis(yaw), Axis(yaw + std::numbers::pi / 2)};
    std::array<Extent, 2> extents;
    for (const Eigen::Vector2d& p : points) {
      for (int k = 0; k < 2; ++k) extents[k].Add(p.dot(axes[k]));
    }
    double closeness = 0;
    for (const Eigen::Vector2d& p : points) {
      double nearest = std::numeric_limits<double>::infinity();
      for (int k = 0; k < 2; ++k) {
        const double at = p.dot(axes[k]);
        nearest = std::min({nearest, at - extents[k].low, extents[k].high - at});
      }
      closeness += 1 / std::max(nearest, kLeast_m);
    }
    if (closeness > most) most = closeness, best = yaw;
  }
  return best;
}

}  // namespace internal

const ClassSize& SizeOfClass(int class_index) {
  static const std::array<ClassSize, kNuscenesAllClasses> sizes = [] {
    // In the order of kNuscenesClassNames.
    const std::array<Eigen::Vector3d, kNuscenesAllClasses> usual = {{{1.95, 4.6, 1.7},
                                                                     {2.5, 6.9, 2.8},
                                                                     {2.9, 11, 3.5},
                                                                     {2.9, 12, 3.9},
                                                                     {2.8, 6.4, 3.2},
                                                                     {0.67, 0.73, 1.77},
                                                                     {0.77, 2.1, 1.5},
                                                                     {0.6, 1.7, 1.3},
                                                                     {0.4, 0.4, 1.0},
                                                                     {2.5, 0.5, 1.0},
                                                                     {0.4, 0.9, 0.7}}};
    std::array<ClassSize, kNuscenesAllClasses> all;
    for (int k = 0; k < kNuscenesAllClasses; ++k) {
      all[k] = {usual[k], 0.6 * usual[k], 1.6 * usual[k]};
    }
    const int animal = FindNuscenesClass("animal");
    all[animal].least_m = {0.2, 0.4, 0.3};
    all[animal].most_m = {1.0, 2.5, 1.8};
    const int cone = FindNuscenesClass("traffic_cone");
    all[cone].least_m = {0.25, 0.25, 0.4};
    return all;
  }();
  ATHANOR_CHECK(class_index >= 0 && class_index < kNuscenesAllClasses,
                "word boxes: there is no class ", class_index);
  return sizes[class_index];
}

std::vector<NuscenesBox> FindWordBoxes(const ScoredPoints& scored, int class_index,
                                       const WordBoxOptions& options) {
  ATHANOR_CHECK(scored.points.size() == scored.scores.size() &&
                    scored.points.size() == scored.height_m.size(),
                "word boxes: expected ", scored.points.size(), " scores and heights, found ",
                scored.scores.size(), " and ", scored.height_m.size());
  return Finder(scored, class_index, options).Find();
}

}  // namespace athanor
