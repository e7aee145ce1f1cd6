#include "athanor/loop/training/pareto.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

#include "athanor/base/error.h"

namespace athanor {
namespace {

void CheckPoints(const std::vector<ParetoPoint>& points, size_t size) {
  for (const ParetoPoint& point : points) {
    ATHANOR_CHECK(point.size() == size && size > 0, "pareto: expected points of ", size,
                  " coordinates, at least 1, found ", point.size());
    for (const double value : point) {
      ATHANOR_CHECK(std::isfinite(value), "pareto: expected finite coordinates, found ", value);
    }
  }
}

// The area between the origin and corners that are added one by one, all of them positive.
class Staircase {
 public:
  double area() const { return area_; }

  void Add(double x, double y) {
    // Steps from left to right fall. The first that reaches as far right hides this one or not.
    auto right = steps_.lower_bound(x);
    if (right != steps_.end() && right->second >= y) return;
    const double floor = right == steps_.end() ? 0 : right->second;
    // What lies under the new corner and above the steps that it hides, from right to left.
    double end = x, height = floor;
    auto step = right;
    if (step != steps_.end() && step->first == x) step = steps_.erase(step);
    while (step != steps_.begin()) {
      const auto left = std::prev(step);
      area_ += (end - left->first) * (y - height);
      end = left->first, height = left->second;
      if (height >= y) break;
      step = steps_.erase(left);
    }
    if (height < y) area_ += end * (y - height);
    steps_[x] = y;
  }

 private:
  std::map<double, double> steps_;  // x of a corner to its y
  double area_ = 0;
};

}  // namespace

bool Dominates(std::span<const double> a, std::span<const double> b) {
  bool is_better = false;
  for (size_t i = 0; i < a.size(); ++i) {
    if (a[i] < b[i]) return false;
    is_better |= a[i] > b[i];
  }
  return is_better;
}

std::vector<int> NonDominatedRanks(const std::vector<ParetoPoint>& points) {
  const size_t count = points.size();
  if (count > 0) CheckPoints(points, points[0].size());
  std::vector<std::vector<int>> dominated(count);
  std::vector<int> dominators(count), ranks(count), front;
  for (size_t i = 0; i < count; ++i) {
    for (size_t j = 0; j < count; ++j) {
      if (Dominates(points[i], points[j])) {
        dominated[i].push_back(static_cast<int>(j));
        ++dominators[j];
      }
    }
  }
  for (size_t i = 0; i < count; ++i) {
    if (dominators[i] == 0) front.push_back(static_cast<int>(i));
  }
  for (int rank = 0; !front.empty(); ++rank) {
    std::vector<int> next;
    for (const int i : front) {
      ranks[i] = rank;
      for (const int j : dominated[i]) {
        if (--dominators[j] == 0) next.push_back(j);
      }
    }
    front = std::move(next);
  }
  return ranks;
}

std::vector<double> CrowdingDistances(const std::vector<ParetoPoint>& points) {
  constexpr double kInfinity = std::numeric_limits<double>::infinity();
  std::vector<double> distances(points.size());
  if (points.empty()) return distances;
  CheckPoints(points, points[0].size());
  std::vector<int> order(points.size());
  for (size_t axis = 0; axis < points[0].size(); ++axis) {
    std::iota(order.begin(), order.end(), 0);
    std::stable_sort(order.begin(), order.end(),
                     [&](int a, int b) { return points[a][axis] < points[b][axis]; });
    const double extent = points[order.back()][axis] - points[order.front()][axis];
    distances[order.front()] = distances[order.back()] = kInfinity;
    if (extent <= 0) continue;
    for (size_t i = 1; i + 1 < order.size(); ++i) {
      distances[order[i]] += (points[order[i + 1]][axis] - points[order[i - 1]][axis]) / extent;
    }
  }
  return distances;
}

double Hypervolume(const std::vector<ParetoPoint>& points, std::span<const double> reference) {
  const size_t axes = reference.size();
  ATHANOR_CHECK(axes >= 1 && axes <= 3,
                "hypervolume: expected a reference of 1 to 3 coordinates, found ", axes);
  CheckPoints(points, axes);
  std::vector<ParetoPoint> above;  // as they lie above the reference
  for (const ParetoPoint& point : points) {
    ParetoPoint& shifted = above.emplace_back(point);
    for (size_t i = 0; i < axes; ++i) shifted[i] -= reference[i];
    if (*std::min_element(shifted.begin(), shifted.end()) <= 0) above.pop_back();
  }
  if (axes == 1) {
    double best = 0;
    for (const ParetoPoint& point : above) best = std::max(best, point[0]);
    return best;
  }
  Staircase stairs;
  if (axes == 2) {
    for (const ParetoPoint& point : above) stairs.Add(point[0], point[1]);
    return stairs.area();
  }
  // From the highest slice down.
  std::stable_sort(above.begin(), above.end(),
                   [](const ParetoPoint& a, const ParetoPoint& b) { return a[2] > b[2]; });
  double volume = 0;
  for (size_t i = 0; i < above.size(); ++i) {
    stairs.Add(above[i][0], above[i][1]);
    const double below = i + 1 < above.size() ? above[i + 1][2] : 0;
    volume += stairs.area() * (above[i][2] - below);
  }
  return volume;
}

std::vector<double> HypervolumeContributions(const std::vector<ParetoPoint>& points,
                                             std::span<const double> reference) {
  const double all = Hypervolume(points, reference);
  std::vector<double> contributions;
  for (size_t i = 0; i < points.size(); ++i) {
    std::vector<ParetoPoint> others = points;
    others.erase(others.begin() + static_cast<int64_t>(i));
    // Sums in another order differ in their last bits.
    contributions.push_back(std::max(0.0, all - Hypervolume(others, reference)));
  }
  return contributions;
}

std::vector<int> SelectBest(const std::vector<ParetoPoint>& points,
                            std::span<const double> reference, int count) {
  const std::vector<int> ranks = NonDominatedRanks(points);
  std::vector<int> chosen;
  for (int rank = 0; std::ssize(chosen) < std::min<int64_t>(count, std::ssize(points)); ++rank) {
    std::vector<int> of_rank;
    std::vector<ParetoPoint> layer;
    for (size_t i = 0; i < points.size(); ++i) {
      if (ranks[i] != rank) continue;
      of_rank.push_back(static_cast<int>(i));
      layer.push_back(points[i]);
    }
    const auto room = static_cast<size_t>(count) - chosen.size();
    const auto order = [&] {
      const auto volumes = HypervolumeContributions(layer, reference);
      const auto distances = CrowdingDistances(layer);
      std::vector<size_t> sorted(layer.size());
      std::iota(sorted.begin(), sorted.end(), 0);
      std::stable_sort(sorted.begin(), sorted.end(), [&](size_t a, size_t b) {
        return volumes[a] != volumes[b] ? volumes[a] > volumes[b] : distances[a] > distances[b];
      });
      return sorted;
    };
    while (layer.size() > room) {
      const auto worst = static_cast<int64_t>(order().back());
      layer.erase(layer.begin() + worst);
      of_rank.erase(of_rank.begin() + worst);
    }
    for (const size_t i : order()) chosen.push_back(of_rank[i]);
  }
  return chosen;
}

EpsilonArchive::EpsilonArchive(std::vector<double> epsilon) : epsilon_(std::move(epsilon)) {
  for (const double edge : epsilon_) {
    ATHANOR_CHECK(std::isfinite(edge) && edge >= 0,
                  "archive: expected edges of boxes of 0 or more, found ", edge);
  }
}

ParetoPoint EpsilonArchive::BoxOf(const ParetoPoint& point) const {
  ParetoPoint box(point.size());
  for (size_t i = 0; i < point.size(); ++i) {
    box[i] = epsilon_[i] > 0 ? std::floor(point[i] / epsilon_[i]) : point[i];
  }
  return box;
}

bool EpsilonArchive::Insert(int64_t id, const ParetoPoint& point) {
  CheckPoints({point}, epsilon_.size());
  ATHANOR_CHECK(!points_.contains(id), "archive: point ", id, " comes a second time");
  const ParetoPoint box = BoxOf(point);
  for (const auto& [other_id, other] : points_) {
    const ParetoPoint other_box = BoxOf(other);
    if (Dominates(other_box, box) || Dominates(other, point) || other == point) return false;
    // Of one box: what is nearer to its best corner.
    if (other_box != box || Dominates(point, other)) continue;
    double distance = 0, other_distance = 0;
    for (size_t i = 0; i < box.size(); ++i) {
      const double corner = epsilon_[i] > 0 ? (box[i] + 1) * epsilon_[i] : point[i];
      const double edge = epsilon_[i] > 0 ? epsilon_[i] : 1;
      distance += std::pow((corner - point[i]) / edge, 2);
      other_distance += std::pow((corner - other[i]) / edge, 2);
    }
    if (distance >= other_distance) return false;
  }
  std::erase_if(points_, [&](const auto& entry) {
    const ParetoPoint other_box = BoxOf(entry.second);
    return Dominates(box, other_box) || other_box == box || Dominates(point, entry.second);
  });
  points_[id] = point;
  return true;
}

}  // namespace athanor
