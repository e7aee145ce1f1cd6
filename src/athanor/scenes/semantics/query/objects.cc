#include "athanor/scenes/semantics/query/objects.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <numeric>
#include <unordered_map>

#include "athanor/base/error.h"
#include "athanor/base/random.h"
#include "athanor/geometry/nearest.h"

namespace athanor {
namespace {

// Whole numbers, however large: a Gaussian may have been thrown out of reach of any integer.
using Cell = std::array<double, 3>;
struct CellHash {
  size_t operator()(const Cell& c) const {
    uint64_t hash = 0;
    for (const double v : c) hash = MixBits(hash ^ std::bit_cast<uint64_t>(v + 0.0));  // no -0
    return hash;
  }
};

// Union-find with halved paths.
class Groups {
 public:
  explicit Groups(size_t n) : parent_(n) { std::iota(parent_.begin(), parent_.end(), 0); }
  int32_t Find(int32_t i) {
    while (parent_[i] != i) i = parent_[i] = parent_[parent_[i]];
    return i;
  }
  // The smaller number leads, so that the result does not depend on the order.
  void Join(int32_t a, int32_t b) {
    a = Find(a), b = Find(b);
    parent_[std::max(a, b)] = std::min(a, b);
  }

 private:
  std::vector<int32_t> parent_;
};

// Asks whether a point of one cell lies within a radius of a point of another.
class CellPairs {
 public:
  CellPairs(const std::vector<float>& points, double radius)
      : points_(points), square_(radius * radius) {}

  // Reorders both.
  bool Touch(std::span<int32_t> a, std::span<int32_t> b) const {
    constexpr size_t kFew = 64;
    if (a.size() * b.size() <= kFew) {
      for (const int32_t i : a) {
        for (const int32_t j : b) {
          if (Square(i, j) <= square_) return true;
        }
      }
      return false;
    }
    const Bounds of_a = BoundsOf(a), of_b = BoundsOf(b);
    double least = 0, most = 0;  // squared distances of points in the boxes
    for (int axis = 0; axis < 3; ++axis) {
      const double gap =
          std::max({0.0, of_a.low[axis] - of_b.high[axis], of_b.low[axis] - of_a.high[axis]});
      const double reach =
          std::max(of_a.high[axis] - of_b.low[axis], of_b.high[axis] - of_a.low[axis]);
      least += gap * gap, most += reach * reach;
    }
    if (least > square_) return false;
    if (most <= square_) return true;
    // Halves of the larger box, or of more points where both are points.
    const double side_a = of_a.side(), side_b = of_b.side();
    const bool split_a =
        b.size() == 1 ||
        (a.size() > 1 && (side_a > side_b || (side_a == side_b && a.size() >= b.size())));
    const std::span<int32_t> split = split_a ? a : b, other = split_a ? b : a;
    const int axis = (split_a ? of_a : of_b).longest();
    const size_t half = split.size() / 2;
    std::nth_element(split.begin(), split.begin() + half, split.end(), [&](int32_t i, int32_t j) {
      return points_[3 * int64_t{i} + axis] < points_[3 * int64_t{j} + axis];
    });
    return Touch(split.first(half), other) || Touch(split.subspan(half), other);
  }

 private:
  struct Bounds {
    double low[3], high[3];
    int longest() const {
      int axis = 0;
      for (int k = 1; k < 3; ++k) {
        if (high[k] - low[k] > high[axis] - low[axis]) axis = k;
      }
      return axis;
    }
    double side() const { return high[longest()] - low[longest()]; }
  };
  Bounds BoundsOf(std::span<const int32_t> points) const {
    Bounds bounds;
    for (int axis = 0; axis < 3; ++axis) {
      float low = points_[3 * int64_t{points[0]} + axis], high = low;
      for (const int32_t i : points) {
        low = std::min(low, points_[3 * int64_t{i} + axis]);
        high = std::max(high, points_[3 * int64_t{i} + axis]);
      }
      bounds.low[axis] = low, bounds.high[axis] = high;
    }
    return bounds;
  }
  double Square(int32_t a, int32_t b) const {
    double square = 0;
    for (int axis = 0; axis < 3; ++axis) {
      const double d = double{points_[3 * int64_t{a} + axis]} - points_[3 * int64_t{b} + axis];
      square += d * d;
    }
    return square;
  }

  const std::vector<float>& points_;
  const double square_;
};

// Joins all points [n,3] that lie within `radius` of each other.
void JoinNeighbors(const std::vector<float>& points, double radius, Groups* groups) {
  // A little over half: the diagonal of a cell is 0.88 of the radius, and points that are
  // neighbours lie in cells that differ by 2 at the most along an axis; both hold whatever rounding
  // does.
  const double side = 0.51 * radius;
  std::unordered_map<Cell, size_t, CellHash> number;
  std::vector<std::vector<int32_t>> members;
  for (size_t k = 0; k < points.size() / 3; ++k) {
    Cell cell;
    for (int axis = 0; axis < 3; ++axis) cell[axis] = std::floor(points[3 * k + axis] / side);
    const auto [entry, is_new] = number.emplace(cell, members.size());
    if (is_new) members.emplace_back();
    std::vector<int32_t>& own = members[entry->second];
    own.push_back(static_cast<int32_t>(k));
    groups->Join(own.front(), own.back());
  }
  const CellPairs pairs(points, radius);
  for (const auto& [cell, own] : number) {
    // Of the 124 cells around it, the half that comes later: each pair of cells once.
    for (int d = 63; d < 125; ++d) {
      const auto found =
          number.find({cell[0] + d % 5 - 2, cell[1] + d / 5 % 5 - 2, cell[2] + d / 25 - 2});
      if (found == number.end()) continue;
      std::vector<int32_t>&a = members[own], &b = members[found->second];
      if (groups->Find(a.front()) == groups->Find(b.front())) continue;
      if (pairs.Touch(a, b)) groups->Join(a.front(), b.front());
    }
  }
}

Box3 BoxOf(const GaussianCloud& cloud, const std::vector<int32_t>& gaussians) {
  Eigen::Vector3d low, high;
  std::vector<float> values;
  std::vector<float> sizes;
  for (const int32_t i : gaussians) {
    const float* s = cloud.log_scales.data() + 3 * int64_t{i};
    sizes.push_back(std::exp((s[0] + s[1] + s[2]) / 3));
  }
  std::nth_element(sizes.begin(), sizes.begin() + sizes.size() / 2, sizes.end());
  const double around = sizes[sizes.size() / 2];
  for (int axis = 0; axis < 3; ++axis) {
    values.clear();
    for (const int32_t i : gaussians) values.push_back(cloud.means[3 * int64_t{i} + axis]);
    std::sort(values.begin(), values.end());
    const auto last = static_cast<double>(values.size() - 1);
    low[axis] = values[std::lround(0.02 * last)] - around;
    high[axis] = values[std::lround(0.98 * last)] + around;
  }
  return MakeBox3((low + high) / 2, high - low, 0);
}

}  // namespace

std::vector<FoundObject> FindObjects(const GaussianCloud& cloud, std::span<const float> scores,
                                     const ObjectOptions& options) {
  ATHANOR_CHECK(static_cast<int64_t>(scores.size()) == cloud.size(), "objects: expected ",
                cloud.size(), " scores, found ", scores.size());
  std::vector<int32_t> chosen;
  std::vector<float> points, opacities;
  for (int64_t i = 0; i < cloud.size(); ++i) {
    const float opacity = 1 / (1 + std::exp(-cloud.opacity_logits[i]));
    if (!(scores[i] > options.threshold) || opacity < options.min_opacity) continue;
    chosen.push_back(static_cast<int32_t>(i));
    opacities.push_back(opacity);
    for (int axis = 0; axis < 3; ++axis) points.push_back(cloud.means[3 * i + axis]);
  }
  if (chosen.empty()) return {};
  std::vector<float> near =
      MeanSquaredDistanceToNearest(points.data(), static_cast<int64_t>(chosen.size()), 3);
  std::nth_element(near.begin(), near.begin() + near.size() / 2, near.end());
  const double radius =
      std::max(options.neighbor_factor * std::sqrt(double{near[near.size() / 2]}), 1e-6);

  Groups groups(chosen.size());
  JoinNeighbors(points, radius, &groups);

  std::unordered_map<int32_t, size_t> number;
  std::vector<FoundObject> objects;
  std::vector<double> opacity_sums;
  for (size_t k = 0; k < chosen.size(); ++k) {
    const auto [entry, is_new] =
        number.emplace(groups.Find(static_cast<int32_t>(k)), objects.size());
    if (is_new) {
      objects.emplace_back();
      opacity_sums.push_back(0);
    }
    FoundObject& object = objects[entry->second];
    object.gaussians.push_back(chosen[k]);
    object.mass += double{opacities[k]} * scores[chosen[k]];
    opacity_sums[entry->second] += opacities[k];
  }
  for (size_t o = 0; o < objects.size(); ++o) objects[o].score = objects[o].mass / opacity_sums[o];
  std::erase_if(objects, [&](const FoundObject& object) {
    return static_cast<int>(object.gaussians.size()) < options.min_gaussians;
  });
  std::stable_sort(objects.begin(), objects.end(),
                   [](const FoundObject& a, const FoundObject& b) { return a.mass > b.mass; });
  if (static_cast<int>(objects.size()) > options.max_objects) objects.resize(options.max_objects);
  for (FoundObject& object : objects) object.box = BoxOf(cloud, object.gaussians);
  return objects;
}

}  // namespace athanor
