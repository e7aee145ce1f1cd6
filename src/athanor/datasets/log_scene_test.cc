#include "athanor/datasets/log_scene.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>

#include "athanor/base/parallel.h"
#include "athanor/datasets/log_test_util.h"

namespace athanor {
namespace {

namespace fs = std::filesystem;
using testing::ElementsAre;
using testing::HasSubstr;

class LogSceneTest : public testing::Test {
 protected:
  void SetUp() override {
    root_ = TestFolder("log scene");
    NuscenesWriter writer(root_);
    writer.AddScene(WriteTestLog(root_, "scene-0001"));
    writer.Finish();
    log_ = OpenLogs(root_)->Read(0);
    options_.depth_sweeps = 1;
  }
  fs::path root_;
  Log log_;
  LogSceneOptions options_;
};

TEST_F(LogSceneTest, PicturesStandWhereTheirCamerasStood) {
  const LogScene scene = MakeLogScene(log_, root_ / "cache", options_);
  ASSERT_EQ(scene.posed.images.size(), 5u);
  ASSERT_EQ(scene.posed.cameras.size(), 1u);
  EXPECT_EQ(scene.posed.images[0].name, "CAM_FRONT/1700000000001000.png");
  EXPECT_TRUE(scene.origin_in_world.isApprox(Eigen::Vector3d(100, -20, 0.3)));
  // Half a second later the car is 5 m further.
  const Eigen::Vector3d centre = scene.posed.images[2].camera_from_world.Inverse().translation;
  EXPECT_TRUE(centre.isApprox(Eigen::Vector3d(5.01 + 1.5, 0, 1.6), 1e-6)) << centre.transpose();
  options_.seconds = 0.3;
  options_.begin_s = 0.5;
  options_.picture_step = 2;
  EXPECT_EQ(MakeLogScene(log_, root_ / "cache", options_).posed.images.size(), 1u);
}

TEST_F(LogSceneTest, WhatMovesIsMasked) {
  const LogScene scene = MakeLogScene(log_, root_ / "cache", options_);
  EXPECT_THAT(scene.moving_tracks, ElementsAre(0));
  const Image mask = ReadImage(scene.posed.images[0].mask_path, 1);
  EXPECT_EQ(*mask.at(32, 18), 0);  // the car, straight ahead
  EXPECT_EQ(*mask.at(2, 18), 255);
  EXPECT_EQ(*mask.at(32, 2), 255);
  // Half way between two frames, it is half way: 12 m ahead of where the log begins, 8.0 m ahead of
  // the camera. 2.4 m wide with the margin, seen at its back, 5.5 m away.
  const Image between = ReadImage(scene.posed.images[1].mask_path, 1);
  int width = 0;
  for (int x = 0; x < 64; ++x) width += *between.at(x, 18) == 0;
  EXPECT_NEAR(width, 50 * 2.4 / 5.5, 3);
  // With thresholds above its speed nothing moves.
  options_.moving_speed_mps = 100;
  options_.moving_distance_m = 100;
  EXPECT_TRUE(MakeLogScene(log_, root_ / "cache2", options_).posed.images[0].mask_path.empty());
}

TEST_F(LogSceneTest, DepthsAreThoseOfStaticPoints) {
  options_.moving_speed_mps = 100;
  options_.moving_distance_m = 100;
  const LogScene scene = MakeLogScene(log_, root_ / "cache", options_);
  const LogReading& picture = log_.readings[0];
  const Rigid3 camera_from_lidar =
      (picture.world_from_ego * log_.sensors[0].ego_from_sensor).Inverse() *
      (log_.readings[log_.frames[0].readings[1]].world_from_ego * log_.sensors[1].ego_from_sensor);
  const DepthImage depth = ReadDepthPng(scene.posed.images[0].depth_path);
  DepthImage expected(64, 36, 1);
  for (const Eigen::Vector3f& point : TestSweep().points) {
    const Eigen::Vector3d p = camera_from_lidar * point.cast<double>();
    const auto pixel = log_.sensors[0].camera.Project(p);
    if (point.head<2>().norm() < 2.5f || !pixel || pixel->x() < 0 || pixel->y() < 0 ||
        pixel->x() >= 64 || pixel->y() >= 36) {
      continue;
    }
    uint16_t& value = *expected.at(static_cast<int>(pixel->x()), static_cast<int>(pixel->y()));
    const auto steps = static_cast<uint16_t>(std::lround(1000 * p.z()));
    if (value == 0 || steps < value) value = steps;
  }
  int known = 0, same = 0;
  for (size_t i = 0; i < depth.data.size(); ++i) {
    if (depth.data[i] == 0) continue;
    ++known;
    same += std::abs(depth.data[i] - expected.data[i]) <= 1;
  }
  EXPECT_GT(known, 20);
  EXPECT_EQ(same, known);
}

TEST_F(LogSceneTest, WhatIsBehindNearerPointsHasNoDepth) {
  // A wall of rings 6 m ahead with gaps, and one 20 m ahead that shows through them.
  LidarSweep sweep;
  const auto add = [&](double y, double z, double x) {
    sweep.points.push_back(Eigen::Vector3d(x, y, z).cast<float>());
    sweep.intensity.push_back(0.5f);
  };
  for (int i = -20; i <= 20; ++i) {
    for (int ring = -8; ring <= 8; ++ring) {
      add(0.1 * i, 0.25 * ring, 6);
      add(1.3 * i, 0.8 * ring + 0.1, 20);
    }
  }
  for (const LogReading& reading : log_.readings) {
    if (reading.sensor == 1) WriteFile(reading.path, EncodePcdBin(sweep));
  }
  options_.moving_speed_mps = options_.moving_distance_m = 100;
  const LogScene scene = MakeLogScene(log_, root_ / "cache", options_);
  const DepthImage depth = ReadDepthPng(scene.posed.images[0].depth_path);
  int near = 0, far_behind = 0, far_beside = 0;
  for (int y = 0; y < depth.height; ++y) {
    for (int x = 0; x < depth.width; ++x) {
      const uint16_t value = *depth.at(x, y);
      if (value == 0) continue;
      const bool on_wall = std::abs(x - 32) < 50 * 2.0 / 4.5 - 3 && std::abs(y - 18) < 14;
      near += value < 6000;
      far_behind += value > 10000 && on_wall;
      far_beside += value > 10000 && std::abs(x - 32) > 50 * 2.0 / 4.5 + 4;
    }
  }
  EXPECT_GT(near, 100);
  EXPECT_EQ(far_behind, 0);
  EXPECT_GT(far_beside, 0);
}

TEST_F(LogSceneTest, SameBytesWhateverTheThreads) {
  options_.depth_sweeps = 5;
  options_.max_points = 100;
  SetNumThreads(1);
  const LogScene one = MakeLogScene(log_, root_ / "one", options_);
  SetNumThreads(3);
  const LogScene three = MakeLogScene(log_, root_ / "three", options_);
  SetNumThreads(0);
  EXPECT_EQ(one.depth_pixels, three.depth_pixels);
  ASSERT_EQ(one.posed.points.size(), 100u);
  ASSERT_EQ(three.posed.points.size(), 100u);
  for (size_t i = 0; i < 100; ++i) {
    for (int k = 0; k < 3; ++k) {
      EXPECT_EQ(one.posed.points[i].position[k], three.posed.points[i].position[k]);
      EXPECT_EQ(one.posed.points[i].color[k], three.posed.points[i].color[k]);
    }
  }
  for (size_t i = 0; i < one.posed.images.size(); ++i) {
    EXPECT_EQ(ReadFile(one.posed.images[i].depth_path), ReadFile(three.posed.images[i].depth_path));
  }
}

TEST_F(LogSceneTest, SaysWhatIsMissing) {
  options_.begin_s = 60;
  EXPECT_THAT(ErrorOf([&] { MakeLogScene(log_, root_ / "cache", options_); }),
              HasSubstr("no picture of this stretch is on disk"));
  options_.begin_s = 0;
  for (const LogReading& reading : log_.readings) {
    if (reading.sensor == 1) fs::remove(reading.path);
  }
  EXPECT_THAT(ErrorOf([&] { MakeLogScene(log_, root_ / "cache", options_); }),
              HasSubstr("no LiDAR sweep"));
}

}  // namespace
}  // namespace athanor
