// A small driving log, for tests of what writes and reads them.
#pragma once

#include <filesystem>
#include <string>

#include "athanor/base/error.h"
#include "athanor/base/files.h"
#include "athanor/datasets/dataset_test_util.h"
#include "athanor/datasets/log.h"
#include "athanor/datasets/nuscenes_points.h"
#include "athanor/datasets/nuscenes_writer.h"
#include "athanor/media/image.h"

namespace athanor {

inline Rigid3 TestPose(double x, double y, double yaw_rad) {
  return {Eigen::Quaterniond(Eigen::AngleAxisd(yaw_rad, Eigen::Vector3d::UnitZ())), {x, y, 0.3}};
}

// The returns that a box 10 m ahead of a standing LiDAR and flat ground would give.
inline LidarSweep TestSweep() {
  LidarSweep sweep;
  for (int i = 0; i < 200; ++i) {
    sweep.points.emplace_back(5.0f + 0.05f * i, 0.1f * (i % 20) - 1.0f, i % 3 == 0 ? 0.4f : -1.5f);
    sweep.intensity.push_back(static_cast<float>(i) / 255.0f);
    sweep.ring.push_back(static_cast<uint16_t>(i % 32));
  }
  sweep.points.emplace_back(0.4f, -0.3f, 0.1f);  // the car itself
  sweep.intensity.push_back(1);
  sweep.ring.push_back(0);
  return sweep;
}

// One camera and one LiDAR on a car that drives at 10 m/s along x: `frames` key frames at 2 Hz with
// 3 sweeps and a picture in between. Files are written below `root`, paths are relative to it.
inline Log WriteTestLog(const std::filesystem::path& root, const std::string& name,
                        int frames = 3) {
  // Scenes begin a minute apart by the last letter of their name.
  const int64_t start_us = 1700000000000000 + 60000000 * (name.back() - '1');
  constexpr int64_t kKey_us = 500000, kSweep_us = 125000;
  Log log;
  log.name = name;
  log.location = "test-town";
  log.description = "A \"small\" log";
  log.vehicle = "car 1";
  LogSensor camera{"CAM_FRONT", SensorKind::kCamera, {}, {}};
  camera.camera.width_px = 64;
  camera.camera.height_px = 36;
  camera.camera.parameters = {50, 50, 32, 18};
  Eigen::Matrix3d ego_from_camera;
  ego_from_camera << 0, 0, 1, -1, 0, 0, 0, -1, 0;
  camera.ego_from_sensor = {Eigen::Quaterniond(ego_from_camera), {1.5, 0, 1.6}};
  log.sensors = {camera, {"LIDAR_TOP", SensorKind::kLidar, TestPose(0.9, 0, -M_PI / 2), {}}};
  log.sensors[1].ego_from_sensor.rotation = Eigen::Quaterniond::Identity();
  log.sensors[1].ego_from_sensor.translation = {0, 0, 1.5};

  const auto ego_at = [&](int64_t time_us) {
    return TestPose(100 + 1e-5 * static_cast<double>(time_us - start_us), -20, 0);
  };
  const Image picture = WavyImage(64, 36);
  const std::string points = EncodePcdBin(TestSweep());
  log.frames.resize(frames);
  for (int sensor = 0; sensor < 2; ++sensor) {
    const int64_t step_us = sensor == 0 ? kKey_us / 2 : kSweep_us;
    for (int64_t time_us = 0; time_us <= kKey_us * (frames - 1); time_us += step_us) {
      const bool key = time_us % kKey_us == 0;
      LogReading reading;
      reading.sensor = sensor;
      reading.time_us = start_us + time_us + (sensor == 0 ? 1000 : 0);
      reading.world_from_ego = ego_at(reading.time_us);
      reading.path = NuscenesWriter::ReadingPath(name, log.sensors[sensor].channel, reading.time_us,
                                                 key, sensor == 0 ? ".png" : ".pcd.bin");
      reading.frame = key ? static_cast<int>(time_us / kKey_us) : -1;
      MakeFolder((root / reading.path).parent_path());
      if (sensor == 0) {
        WriteImage(root / reading.path, picture);
      } else {
        WriteFile(root / reading.path, points);
      }
      if (key) log.frames[reading.frame].readings.push_back(static_cast<int>(log.readings.size()));
      log.readings.push_back(reading);
    }
  }
  log.tracks = {{"", "vehicle.car"}, {"", "animal.dog"}, {"", "human.pedestrian.adult"}};
  for (int f = 0; f < frames; ++f) {
    LogFrame& frame = log.frames[f];
    frame.time_us = start_us + f * kKey_us;
    frame.world_from_ego = ego_at(frame.time_us);
    LogBox car;
    car.box = MakeBox3({110.0 + 4 * f, -20, 1.9}, {4.5, 1.9, 1.6}, 0.1 * f);
    car.attributes = {"vehicle.moving"};
    car.num_lidar_points = 12;
    car.num_radar_points = 0;
    car.visibility = 4;
    frame.boxes.push_back(car);
    if (f == 1) {
      LogBox dog;
      dog.track = 1;
      dog.box = MakeBox3({107, -17, 0.8}, {0.8, 0.3, 0.6}, -2);
      dog.num_lidar_points = 0;
      dog.num_radar_points = 0;
      frame.boxes.push_back(dog);
    }
  }
  const int64_t end_us = start_us + kKey_us * (frames - 1);
  log.tags = {{"ego.cruise", -1, start_us, end_us},
              {"actor.drives_ahead", 0, start_us, end_us},
              {"actor.unseen", 2, start_us, start_us}};
  return log;
}

// A nuScenes data set below `root`: two scenes of such frames, with one car in each. The car moves;
// what sensors see of it does not.
inline std::filesystem::path WriteTestTown(const std::filesystem::path& root, int frames = 3) {
  NuscenesWriter writer(root);
  for (const char* name : {"scene-0001", "scene-0002"}) {
    writer.AddScene(WriteTestLog(root, name, frames));
  }
  writer.Finish();
  return root;
}

}  // namespace athanor
