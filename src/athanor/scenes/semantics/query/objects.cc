#include "athanor/scenes/semantics/query/objects.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <numeric>
#include <unordered_map>

#include "athanor/base/error.h"
#include "athanor/base/random.h"
#include "athanor/geometry/nearest.h"

namespace athanor {
namespace {

using Cell = std::array<int64_t, 3>;
struct CellHash {
  size_t operator()(const Cell& c) const {
    return MixBits(static_cast<uint64_t>(c[0]) ^
                   MixBits(static_cast<uint64_t>(c[1]) ^ MixBits(static_cast<uint64_t>(c[2]))));
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

  std::unordered_map<Cell, std::vector<int32_t>, CellHash> grid;
  const auto cell_of = [&](size_t k) {
    Cell cell;
    for (int axis = 0; axis < 3; ++axis) {
      cell[axis] = static_cast<int64_t>(std::floor(points[3 * k + axis] / radius));
    }
    return cell;
  };
  for (size_t k = 0; k < chosen.size(); ++k) grid[cell_of(k)].push_back(static_cast<int32_t>(k));
  Groups groups(chosen.size());
  const auto near_enough = [&](int32_t a, int32_t b) {
    double square = 0;
    for (int axis = 0; axis < 3; ++axis) {
      const double d = double{points[3 * int64_t{a} + axis]} - points[3 * int64_t{b} + axis];
      square += d * d;
    }
    return square <= radius * radius;
  };
  for (size_t k = 0; k < chosen.size(); ++k) {
    const auto i = static_cast<int32_t>(k);
    const Cell cell = cell_of(k);
    for (int64_t dz = -1; dz <= 1; ++dz) {
      for (int64_t dy = -1; dy <= 1; ++dy) {
        for (int64_t dx = -1; dx <= 1; ++dx) {
          const auto found = grid.find({cell[0] + dx, cell[1] + dy, cell[2] + dz});
          if (found == grid.end()) continue;
          for (const int32_t j : found->second) {
            if (j < i && groups.Find(i) != groups.Find(j) && near_enough(i, j)) groups.Join(i, j);
          }
        }
      }
    }
  }

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
