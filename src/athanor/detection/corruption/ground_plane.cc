#include "athanor/detection/corruption/ground_plane.h"

#include <Eigen/Dense>
#include <cmath>
#include <vector>

#include "athanor/base/random.h"

namespace athanor {
namespace {

constexpr double kReach_m = 40, kTolerance_m = 0.1;
constexpr int kTries = 100, kMinPoints = 100, kScored = 2000;
const double kMinUp = std::cos(10 * M_PI / 180);

}  // namespace

std::optional<GroundPlane> FindGroundPlane(const LidarSweep& sweep, uint64_t key) {
  std::vector<Eigen::Vector3d> below;
  for (const Eigen::Vector3f& point : sweep.points) {
    if (point.z() < -0.5f && point.norm() < kReach_m) below.push_back(point.cast<double>());
  }
  if (below.size() < kMinPoints) return std::nullopt;
  Random random(key);
  const auto any = [&] { return below[random.Below(static_cast<uint32_t>(below.size()))]; };
  std::vector<Eigen::Vector3d> scored;  // enough to tell which plane is best
  for (int i = 0; i < kScored; ++i) scored.push_back(any());
  GroundPlane best;
  int best_count = 0;
  for (int i = 0; i < kTries; ++i) {
    const Eigen::Vector3d a = any(), b = any(), c = any();
    Eigen::Vector3d normal = (b - a).cross(c - a);
    if (normal.norm() < 1e-6) continue;
    normal.normalize();
    if (normal.z() < 0) normal = -normal;
    const GroundPlane plane = {normal, -normal.dot(a)};
    if (normal.z() < kMinUp) continue;
    int count = 0;
    for (const Eigen::Vector3d& point : scored) {
      count += std::abs(plane.HeightOf(point)) < kTolerance_m;
    }
    if (count > best_count) {
      best = plane;
      best_count = count;
    }
  }
  if (best_count == 0) return std::nullopt;
  int count = 0;
  for (int round = 0; round < 3; ++round) {
    // z = p x + q y + r over the points that agree.
    Eigen::Matrix3d normal_matrix = Eigen::Matrix3d::Zero();
    Eigen::Vector3d right = Eigen::Vector3d::Zero();
    count = 0;
    for (const Eigen::Vector3d& point : below) {
      if (std::abs(best.HeightOf(point)) >= kTolerance_m) continue;
      const Eigen::Vector3d row(point.x(), point.y(), 1);
      normal_matrix += row * row.transpose();
      right += row * point.z();
      ++count;
    }
    if (count < kMinPoints) return std::nullopt;
    const Eigen::Vector3d solution = normal_matrix.ldlt().solve(right);
    const Eigen::Vector3d normal = Eigen::Vector3d(-solution.x(), -solution.y(), 1);
    if (!solution.allFinite() || normal.normalized().z() < kMinUp) return std::nullopt;
    best = {normal.normalized(), -solution.z() / normal.norm()};
  }
  return best;
}

}  // namespace athanor
