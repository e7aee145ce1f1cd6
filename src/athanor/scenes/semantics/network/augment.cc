#include "athanor/scenes/semantics/network/augment.h"

#include <Eigen/Dense>
#include <algorithm>
#include <array>
#include <cmath>
#include <vector>

#include "athanor/base/error.h"
#include "athanor/base/parallel.h"
#include "athanor/scenes/gaussians/transform.h"

namespace athanor {
namespace {

constexpr int64_t kGrain = 4096;

}  // namespace

void DistortElastically(double spacing, double magnitude, Random* random, GaussianCloud* cloud) {
  if (cloud->size() == 0) return;
  Eigen::Array3d low = Eigen::Array3d::Constant(1e30), high = -low;
  for (int64_t i = 0; i < cloud->size(); ++i) {
    const Eigen::Array3d p =
        Eigen::Map<Eigen::Vector3f>(cloud->means.data() + 3 * i).cast<double>().array();
    low = low.min(p), high = high.max(p);
  }
  // A stray Gaussian must not ask for an endless grid: a coarse one does for all of such a scene.
  constexpr double kMostCells = 128;
  spacing = std::max(spacing, (high - low).maxCoeff() / kMostCells);
  Eigen::Array3i size = ((high - low) / spacing).floor().cast<int>() + 3;
  const auto at = [&](int x, int y, int z) {
    return (static_cast<size_t>(x) * size[1] + y) * size[2] + z;
  };
  const size_t cells = static_cast<size_t>(size[0]) * size[1] * size[2];
  std::array<std::vector<float>, 3> noise;
  for (auto& component : noise) {
    component.resize(cells);
    for (float& v : component) v = random->Normal();
    for (int pass = 0; pass < 6; ++pass) {
      const int axis = pass % 3;
      const std::vector<float> before = component;
      for (int x = 0; x < size[0]; ++x) {
        for (int y = 0; y < size[1]; ++y) {
          for (int z = 0; z < size[2]; ++z) {
            float sum = 0;
            for (int step = -1; step <= 1; ++step) {
              Eigen::Array3i p(x, y, z);
              p[axis] += step;
              if (p[axis] >= 0 && p[axis] < size[axis]) sum += before[at(p[0], p[1], p[2])];
            }
            component[at(x, y, z)] = sum / 3;
          }
        }
      }
    }
  }
  ParallelFor(cloud->size(), kGrain, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      float* mean = cloud->means.data() + 3 * i;
      int cell[3];
      double part[3];
      for (int axis = 0; axis < 3; ++axis) {
        const double place = (mean[axis] - low[axis]) / spacing;
        cell[axis] = std::clamp(static_cast<int>(place), 0, size[axis] - 2);
        part[axis] = place - cell[axis];
      }
      for (int axis = 0; axis < 3; ++axis) {
        double sum = 0;
        for (int corner = 0; corner < 8; ++corner) {
          const int dx = corner >> 2, dy = corner >> 1 & 1, dz = corner & 1;
          const double weight = (dx ? part[0] : 1 - part[0]) * (dy ? part[1] : 1 - part[1]) *
                                (dz ? part[2] : 1 - part[2]);
          sum += weight * noise[axis][at(cell[0] + dx, cell[1] + dy, cell[2] + dz)];
        }
        mean[axis] += static_cast<float>(magnitude * sum);
      }
    }
  });
}

void AugmentCloud(const AugmentOptions& options, Random* random, GaussianCloud* cloud) {
  // Drawn whether used or not, so that switching one off leaves the others as they were. The
  // elastic part draws as many numbers as its grid has cells: they come from a stream of their own.
  Random elastic(random->NextBits());
  if (options.elastic) {
    DistortElastically(0.2, 0.4, &elastic, cloud);
    DistortElastically(0.8, 1.6, &elastic, cloud);
  }
  constexpr auto kPi = std::numbers::pi_v<float>;
  const float about_x = random->Uniform(-kPi / 64, kPi / 64);
  const float about_y = random->Uniform(-kPi / 64, kPi / 64);
  const float about_z = random->Uniform(-kPi, kPi);
  const bool mirror_x = random->Uniform() < 0.5f, mirror_y = random->Uniform() < 0.5f;
  const float scale = random->Uniform(0.9f, 1.1f);
  Eigen::Matrix3d q = Eigen::Matrix3d::Identity();
  if (options.rotate) {
    q = (Eigen::AngleAxisd(about_z, Eigen::Vector3d::UnitZ()) *
         Eigen::AngleAxisd(about_y, Eigen::Vector3d::UnitY()) *
         Eigen::AngleAxisd(about_x, Eigen::Vector3d::UnitX()))
            .toRotationMatrix();
  }
  if (options.mirror && mirror_x) q.row(0) *= -1;
  if (options.mirror && mirror_y) q.row(1) *= -1;
  TransformGaussians({options.resize ? scale : 1.0, q, Eigen::Vector3d::Zero()}, cloud);
}

}  // namespace athanor
