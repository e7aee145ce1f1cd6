#include "athanor/loop/labeling/words/moment_scene.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <unordered_map>

#include "athanor/base/error.h"
#include "athanor/media/undistort.h"

namespace athanor {
namespace {

constexpr float kOpacity = 0.9f;
constexpr double kCell_m = 1, kSlope = 0.05;
constexpr double kStrays = 0.1;  // of the cells around: they may be below the ground
constexpr int kReach = 6;        // cells

int64_t KeyOf(int x, int y) { return (int64_t{x} << 32) ^ static_cast<uint32_t>(y); }

GaussianModel ModelOf(const MomentScene& scene, double spread_rad) {
  GaussianCloud cloud;
  cloud.Resize(static_cast<int64_t>(scene.points.size()));
  const float logit = std::log(kOpacity / (1 - kOpacity));
  for (size_t i = 0; i < scene.points.size(); ++i) {
    const double range_m = (scene.points[i] - scene.lidar).norm();
    for (int k = 0; k < 3; ++k) {
      cloud.means[3 * i + k] = static_cast<float>(scene.points[i][k]);
      cloud.log_scales[3 * i + k] = static_cast<float>(std::log(spread_rad * range_m));
    }
    cloud.quats[4 * i] = 1;
    cloud.opacity_logits[i] = logit;
  }
  return GaussianModel::FromCloud(cloud, /*with_moments=*/false, c10::kCPU);
}

}  // namespace

std::vector<float> HeightsAboveGround(std::span<const Eigen::Vector3d> points) {
  struct Cell {
    int x, y;
  };
  const auto cell_of = [](const Eigen::Vector3d& point) {
    return Cell{static_cast<int>(std::floor(point.x() / kCell_m)),
                static_cast<int>(std::floor(point.y() / kCell_m))};
  };
  std::unordered_map<int64_t, double> lowest;
  for (const Eigen::Vector3d& point : points) {
    const Cell cell = cell_of(point);
    double& low = lowest.try_emplace(KeyOf(cell.x, cell.y), point.z()).first->second;
    low = std::min(low, point.z());
  }
  std::unordered_map<int64_t, double> ground;
  std::vector<float> heights;
  for (const Eigen::Vector3d& point : points) {
    const Cell cell = cell_of(point);
    const auto [entry, is_new] = ground.try_emplace(KeyOf(cell.x, cell.y), point.z());
    if (is_new) {
      std::vector<double> grounds;
      for (int dy = -kReach; dy <= kReach; ++dy) {
        for (int dx = -kReach; dx <= kReach; ++dx) {
          const auto other = lowest.find(KeyOf(cell.x + dx, cell.y + dy));
          if (other == lowest.end()) continue;
          grounds.push_back(other->second + kSlope * kCell_m * std::hypot(dx, dy));
        }
      }
      const auto rank = static_cast<int64_t>(kStrays * static_cast<double>(grounds.size()));
      std::nth_element(grounds.begin(), grounds.begin() + rank, grounds.end());
      entry->second = grounds[rank];
    }
    heights.push_back(static_cast<float>(point.z() - entry->second));
  }
  return heights;
}

MomentScene MakeMomentScene(const Log& log, int frame, const MomentOptions& options) {
  const int lidar = log.MainLidar();
  ATHANOR_CHECK(lidar >= 0, log.source, ": log ", log.name, ": expected a LiDAR, found none");
  MomentScene scene;
  const std::vector<int>& readings = log.frames.at(frame).readings;
  if (readings[lidar] < 0 || !HasPayload(log, log.readings[readings[lidar]])) return scene;
  const LogReading& sweep = log.readings[readings[lidar]];
  const Rigid3 world_from_lidar = sweep.world_from_ego * log.sensors[lidar].ego_from_sensor;
  scene.origin_in_world = sweep.world_from_ego.translation;
  const Rigid3 scene_from_world = {Eigen::Quaterniond::Identity(), -scene.origin_in_world};
  const Rigid3 scene_from_lidar = scene_from_world * world_from_lidar;
  scene.lidar = scene_from_lidar.translation;
  for (const Eigen::Vector3f& point : MergeSweeps(log, frame, options.sweeps).points) {
    const double range_m = point.cast<double>().norm();
    if (!(range_m >= options.min_range_m && range_m <= options.max_range_m)) continue;
    scene.points.push_back(scene_from_lidar * point.cast<double>());
  }
  scene.height_m = HeightsAboveGround(scene.points);
  for (size_t s = 0; s < log.sensors.size(); ++s) {
    if (log.sensors[s].kind != SensorKind::kCamera || readings[s] < 0) continue;
    const LogReading& reading = log.readings[readings[s]];
    if (!HasPayload(log, reading)) continue;
    const Camera& camera = log.sensors[s].camera;
    Image picture = DecodeImage(ReadPayload(log, reading), reading.path.string(), 3);
    ATHANOR_CHECK(picture.width == camera.width_px && picture.height == camera.height_px,
                  reading.path.string(), ": the picture is ", picture.width, "x", picture.height,
                  ", but its camera is ", camera.width_px, "x", camera.height_px);
    const Camera pinhole = camera.IsPinhole() ? camera : UndistortedCamera(camera);
    if (!camera.IsPinhole()) picture = Undistort(picture, camera, pinhole);
    const Rigid3 scene_from_camera =
        scene_from_world * (reading.world_from_ego * log.sensors[s].ego_from_sensor);
    const Rigid3 camera_from_scene = scene_from_camera.Inverse();
    const bool sees_any =
        std::any_of(scene.points.begin(), scene.points.end(), [&](const Eigen::Vector3d& point) {
          const auto pixel = pinhole.Project(camera_from_scene * point);
          return pixel && pixel->x() >= 0 && pixel->y() >= 0 && pixel->x() < pinhole.width_px &&
                 pixel->y() < pinhole.height_px;
        });
    if (!sees_any) continue;
    scene.views.push_back(MakeView(pinhole, camera_from_scene));
    scene.pictures.push_back(std::move(picture));
    scene.names.push_back(reading.path.filename().string());
  }
  if (!scene.points.empty()) scene.model = ModelOf(scene, options.spread_rad);
  return scene;
}

}  // namespace athanor
