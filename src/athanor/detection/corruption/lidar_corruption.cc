#include "athanor/detection/corruption/lidar_corruption.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <vector>

#include "athanor/base/error.h"
#include "athanor/base/random.h"
#include "athanor/detection/corruption/lidar_fog.h"
#include "athanor/detection/corruption/lidar_snow.h"

namespace athanor {
namespace {

template <typename Keep>
LidarSweep Filter(const LidarSweep& sweep, Keep keep) {
  LidarSweep result;
  for (int64_t i = 0; i < sweep.size(); ++i) {
    if (!keep(i)) continue;
    result.points.push_back(sweep.points[i]);
    result.intensity.push_back(sweep.intensity[i]);
    if (!sweep.ring.empty()) result.ring.push_back(sweep.ring[i]);
    if (!sweep.time_s.empty()) result.time_s.push_back(sweep.time_s[i]);
  }
  return result;
}

void CheckRings(const LidarSweep& sweep, const Corruption& corruption) {
  ATHANOR_CHECK(sweep.points.empty() || !sweep.ring.empty(), CorruptionName(corruption.kind),
                ": expected a sweep with the beam of every point, found one without");
}

// The points with the smallest random numbers go, exactly so many.
LidarSweep RemoveShare(const LidarSweep& sweep, int percent, uint64_t key) {
  const int64_t n = sweep.size();
  const auto kept = static_cast<int64_t>(std::nearbyint(n * ((100 - percent) / 100.0)));
  std::vector<std::pair<uint64_t, int64_t>> order(n);
  for (int64_t i = 0; i < n; ++i) order[i] = {MixBits(key ^ MixBits(i)), i};
  std::nth_element(order.begin(), order.begin() + kept, order.end());
  std::vector<uint8_t> is_kept(n, 0);
  for (int64_t i = 0; i < kept; ++i) is_kept[order[i].second] = 1;
  return Filter(sweep, [&](int64_t i) { return is_kept[i] != 0; });
}

LidarSweep Jitter(const LidarSweep& sweep, float sigma_m, uint64_t key) {
  Random random(key);
  const Eigen::Vector3f shift =
      sigma_m * Eigen::Vector3f(random.Normal(), random.Normal(), random.Normal());
  const float shares[3] = {0.15f, 0.2f, 0.12f};
  LidarSweep result = sweep;
  for (Eigen::Vector3f& point : result.points) {
    point += shift;
    for (int axis = 0; axis < 3; ++axis) {
      point[axis] +=
          std::clamp(sigma_m * shares[axis] * random.Normal(), -3 * sigma_m, 3 * sigma_m);
    }
  }
  return result;
}

LidarSweep LoseBeams(const LidarSweep& sweep, double share, uint64_t log_key) {
  CheckRings(sweep, {CorruptionKind::kBeamLoss});
  int beams = 32;
  for (const uint16_t ring : sweep.ring) beams = std::max(beams, ring + 1);
  // LiDARs have a power of two of them; the top one may have no return in this sweep.
  while ((beams & (beams - 1)) != 0) ++beams;
  std::vector<std::pair<uint64_t, int>> order(beams);
  for (int i = 0; i < beams; ++i) order[i] = {MixBits(log_key ^ MixBits(i)), i};
  std::sort(order.begin(), order.end());
  std::vector<uint8_t> is_dead(beams, 0);
  for (int i = 0; i < static_cast<int>(std::lround(share * beams)); ++i) {
    is_dead[order[i].second] = 1;
  }
  return Filter(sweep, [&](int64_t i) { return !is_dead[sweep.ring[i]]; });
}

const FogResponse& FogOfSeverity(int severity) {
  static const FogResponse responses[kNumSeverities] = {FogResponse(LidarFogOfSeverity(1)),
                                                        FogResponse(LidarFogOfSeverity(2)),
                                                        FogResponse(LidarFogOfSeverity(3))};
  return responses[severity - 1];
}

}  // namespace

bool IsDrawn(const Corruption& corruption, uint64_t key) {
  return Random(key).Uniform() < corruption.Of<float>({0.2f, 0.4f, 0.6f});
}

Rigid3 SpatialMisalignment(const Corruption& corruption) {
  const double angle_rad = -corruption.Of<double>({1, 2, 3}) * M_PI / 180;
  return {Eigen::Quaterniond(Eigen::AngleAxisd(angle_rad, Eigen::Vector3d::UnitX()) *
                             Eigen::AngleAxisd(angle_rad, Eigen::Vector3d::UnitY()) *
                             Eigen::AngleAxisd(angle_rad, Eigen::Vector3d::UnitZ())),
          {2, 0, 0}};
}

LidarSweep CorruptSweep(const LidarSweep& sweep, const Corruption& corruption,
                        const SweepContext& context) {
  corruption.Check();
  const size_t n = sweep.points.size();
  ATHANOR_CHECK(sweep.intensity.size() == n && (sweep.ring.empty() || sweep.ring.size() == n) &&
                    (sweep.time_s.empty() || sweep.time_s.size() == n),
                "sweep: expected ", n, " intensities, rings and times, found ",
                sweep.intensity.size(), ", ", sweep.ring.size(), " and ", sweep.time_s.size());
  switch (corruption.kind) {
    case CorruptionKind::kBeamsReducing: {
      CheckRings(sweep, corruption);
      const int step = corruption.Of<int>({2, 4, 8});
      return Filter(sweep, [&](int64_t i) { return sweep.ring[i] % step == 1; });
    }
    case CorruptionKind::kPointsReducing:
      return RemoveShare(sweep, corruption.Of<int>({70, 80, 90}), context.key);
    case CorruptionKind::kSpatialMisalignment: {
      LidarSweep result = sweep;
      if (!IsDrawn(corruption, context.key)) return result;
      const Rigid3 moved = SpatialMisalignment(corruption);
      for (Eigen::Vector3f& point : result.points) {
        point = (moved * point.cast<double>()).cast<float>();
      }
      return result;
    }
    case CorruptionKind::kMotionBlur:
      return Jitter(sweep, corruption.Of<float>({0.06f, 0.1f, 0.13f}), context.key);
    case CorruptionKind::kFog:
      return FogSweep(sweep, FogOfSeverity(corruption.severity), context.key);
    case CorruptionKind::kSnow:
      return SnowSweep(sweep, LidarSnowOfSeverity(corruption.severity), context.key);
    case CorruptionKind::kNoLidar:
      return {};
    case CorruptionKind::kBeamLoss:
      return LoseBeams(sweep, corruption.Of<double>({0.125, 0.25, 0.5}), context.log_key);
    case CorruptionKind::kFieldLoss: {
      const double half_rad = corruption.Of<double>({90, 60, 45}) * M_PI / 180;
      const Eigen::Matrix3d rotation = context.ego_from_sensor.rotation.toRotationMatrix();
      return Filter(sweep, [&](int64_t i) {
        const Eigen::Vector3d ray = rotation * sweep.points[i].cast<double>();
        return std::abs(std::atan2(ray.y(), ray.x())) <= half_rad;
      });
    }
    default:
      return sweep;
  }
}

}  // namespace athanor
