#include "athanor/simulation/street/rig.h"

#include <algorithm>
#include <cmath>
#include <numbers>
#include <string>

namespace athanor {
namespace {

using Eigen::Quaterniond;
using Eigen::Vector3d;

constexpr double kPi = std::numbers::pi;
constexpr double kOriginalWidth = 1600, kOriginalHeight = 900;

struct Mount {
  const char* channel;
  Vector3d position_m;            // ego frame
  double yaw_deg, pitch_deg;      // pitch: down when positive
  double focal_px, cx_px, cy_px;  // of the original picture
};

const Mount kCameras[] = {
    {"CAM_FRONT", {1.70, 0.016, 1.51}, 0.3, 0.4, 1266.4, 816.3, 491.5},
    {"CAM_FRONT_RIGHT", {1.55, -0.493, 1.50}, -56.4, 0.5, 1260.8, 808.0, 495.3},
    {"CAM_BACK_RIGHT", {1.015, -0.481, 1.56}, -110.3, 0.9, 1259.5, 807.3, 501.2},
    {"CAM_BACK", {0.028, 0.0035, 1.58}, 179.9, 0.8, 809.2, 829.2, 481.8},
    {"CAM_BACK_LEFT", {1.036, 0.485, 1.59}, 108.6, 0.6, 1256.7, 792.1, 492.8},
    {"CAM_FRONT_LEFT", {1.524, 0.495, 1.51}, 55.1, 0.5, 1272.6, 826.6, 479.8},
};
// Where a turn of the LiDAR begins and ends, ego frame: when CAM_BACK_LEFT looks there.
constexpr double kTurnStart_deg = 108.6;

}  // namespace

StreetRig NuScenesRig(int width_px, int height_px) {
  StreetRig rig;
  LogSensor lidar;
  lidar.channel = "LIDAR_TOP";
  lidar.kind = SensorKind::kLidar;
  // The LiDAR's frame: x to the right, y forward, z up.
  lidar.ego_from_sensor = {Quaterniond(Eigen::AngleAxisd(-kPi / 2, Vector3d::UnitZ())),
                           Vector3d(0.944, 0, 1.84)};
  rig.sensors.push_back(lidar);
  rig.trigger_us.push_back(0);
  rig.lidar = NuScenesLidar();
  // Ego yaw 0 is +y of the sensor, its azimuth pi / 2.
  rig.lidar.start_azimuth_rad = static_cast<float>(kTurnStart_deg / 180 * kPi + kPi / 2);

  const double scale = std::max(width_px / kOriginalWidth, height_px / kOriginalHeight);
  const double cut_x = (kOriginalWidth * scale - width_px) / 2;
  const double cut_y = kOriginalHeight * scale - height_px;
  for (const Mount& mount : kCameras) {
    LogSensor sensor;
    sensor.channel = mount.channel;
    sensor.kind = SensorKind::kCamera;
    // Camera axes in the ego frame when yaw and pitch are 0: right = -y, down = -z, forward = x.
    Eigen::Matrix3d axes;
    axes << 0, 0, 1, -1, 0, 0, 0, -1, 0;
    sensor.ego_from_sensor.rotation =
        Quaterniond(Eigen::AngleAxisd(mount.yaw_deg / 180 * kPi, Vector3d::UnitZ()) *
                    Eigen::AngleAxisd(mount.pitch_deg / 180 * kPi, Vector3d::UnitY()) *
                    Quaterniond(axes))
            .normalized();
    sensor.ego_from_sensor.translation = mount.position_m;
    sensor.camera.model = CameraModel::kPinhole;
    sensor.camera.width_px = width_px;
    sensor.camera.height_px = height_px;
    sensor.camera.parameters = {mount.focal_px * scale, mount.focal_px * scale,
                                mount.cx_px * scale - cut_x, mount.cy_px * scale - cut_y};
    rig.sensors.push_back(sensor);
    // Clockwise from where the turn starts.
    double turned = std::fmod(kTurnStart_deg - mount.yaw_deg + 720, 360.0) / 360;
    if (turned == 0) turned = 1;
    rig.trigger_us.push_back(
        -static_cast<int64_t>(std::lround((1 - turned) * rig.lidar.turn_s * 1e6)));
  }
  return rig;
}

}  // namespace athanor
