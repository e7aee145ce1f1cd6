// A moment of a street for tests.
#pragma once

#include <Eigen/Geometry>
#include <filesystem>
#include <string>
#include <vector>

#include "athanor/base/files.h"
#include "athanor/datasets/log.h"
#include "athanor/media/image.h"

namespace athanor {

// The sides of a box that a sensor at the origin sees, as points `step_m` apart.
inline std::vector<Eigen::Vector3d> SidesOf(const Box3& box, double step_m) {
  std::vector<Eigen::Vector3d> points;
  const Eigen::Vector3d half = box.size_m / 2;
  const Eigen::Vector3d sensor = box.frame_from_box.Inverse() * Eigen::Vector3d(0, 0, 1.8);
  for (int axis = 0; axis < 2; ++axis) {
    const double sign = sensor[axis] > 0 ? 1 : -1;
    for (double a = -half[1 - axis]; a <= half[1 - axis]; a += step_m) {
      for (double z = -half.z(); z <= half.z(); z += step_m) {
        Eigen::Vector3d p;
        p[axis] = sign * half[axis];
        p[1 - axis] = a;
        p.z() = z;
        points.push_back(box.frame_from_box * p);
      }
    }
  }
  return points;
}

inline constexpr int kStreetWidth = 320, kStreetHeight = 160;
inline constexpr double kStreetFocal = 200;

// A moment: a meadow, a red box at 8 m and a blue one at 12 m, as a LiDAR and a camera ahead of the
// car see them. nuScenes' sweeps: five floats a point.
inline Log MakeStreet(const std::filesystem::path& folder, const std::vector<Box3>& boxes) {
  Log log;
  log.source = folder.string();
  log.name = "street";
  log.sensors.resize(2);
  log.sensors[0].channel = "LIDAR_TOP";
  log.sensors[0].kind = SensorKind::kLidar;
  log.sensors[0].ego_from_sensor.translation = {0, 0, 1.8};
  LogSensor& camera = log.sensors[1];
  camera.channel = "CAM_FRONT";
  camera.camera.width_px = kStreetWidth, camera.camera.height_px = kStreetHeight;
  camera.camera.parameters = {kStreetFocal, kStreetFocal, kStreetWidth / 2.0, kStreetHeight / 2.0};
  Eigen::Matrix3d axes;  // columns: the camera's x, y, z in the ego frame
  axes << 0, 0, 1, -1, 0, 0, 0, -1, 0;
  camera.ego_from_sensor = {Eigen::Quaterniond(axes), {0, 0, 1.6}};
  const Rigid3 world_from_ego = {Eigen::Quaterniond::Identity(), {1000, -2000, 30}};
  LogFrame frame;
  frame.id = "moment", frame.time_us = 1000000, frame.world_from_ego = world_from_ego;
  std::vector<Eigen::Vector3d> points;
  for (double x = 3; x < 30; x += 0.4) {
    for (double y = -8; y < 8; y += 0.4) points.emplace_back(x, y, 0);
  }
  Image picture(kStreetWidth, kStreetHeight, 3);
  const Rigid3 camera_from_ego = camera.ego_from_sensor.Inverse();
  for (int y = 0; y < kStreetHeight; ++y) {
    for (int x = 0; x < kStreetWidth; ++x) picture.at(x, y)[1] = 255;
  }
  for (size_t b = 0; b < boxes.size(); ++b) {
    for (const Eigen::Vector3d& p : SidesOf(boxes[b], 0.01)) {
      const auto pixel = camera.camera.Project(camera_from_ego * p);
      if (!pixel || pixel->x() < 0 || pixel->y() < 0 || pixel->x() >= kStreetWidth ||
          pixel->y() >= kStreetHeight) {
        continue;
      }
      uint8_t* rgb = picture.at(static_cast<int>(pixel->x()), static_cast<int>(pixel->y()));
      rgb[0] = b == 0 ? 255 : 0, rgb[1] = 0, rgb[2] = b == 0 ? 0 : 255;
    }
    for (const Eigen::Vector3d& p : SidesOf(boxes[b], 0.12)) points.push_back(p);
  }
  std::string bytes;
  for (const Eigen::Vector3d& p : points) {
    const float row[5] = {static_cast<float>(p.x()), static_cast<float>(p.y()),
                          static_cast<float>(p.z() - 1.8), 10, 0};
    bytes.append(reinterpret_cast<const char*>(row), sizeof row);
  }
  WriteFile(folder / "sweep.pcd.bin", bytes);
  WriteImage(folder / "picture.png", picture);
  for (int s = 0; s < 2; ++s) {
    LogReading reading;
    reading.sensor = s, reading.time_us = frame.time_us, reading.frame = 0;
    reading.world_from_ego = world_from_ego;
    reading.path = folder / (s == 0 ? "sweep.pcd.bin" : "picture.png");
    frame.readings.push_back(s);
    log.readings.push_back(reading);
  }
  log.frames.push_back(frame);
  return log;
}

}  // namespace athanor
