#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdlib>

#include "athanor/datasets/dataset_test_util.h"
#include "athanor/datasets/log.h"
#include "athanor/datasets/nuscenes_keyframe_reader.h"

namespace athanor {
namespace {

namespace fs = std::filesystem;
using testing::HasSubstr;

TEST(NuscenesKeyframe, PointsInBoxesAreTheCountOfTheExport) {
  ATHANOR_SKIP_WITHOUT("nuscenes_keyframe");
  const fs::path folder = SharedData("nuscenes_keyframe");
  const auto logs = OpenLogs(folder);
  const Log log = logs->Read(0);
  EXPECT_EQ(log.name, "scene-0061");
  EXPECT_EQ(log.sensors.size(), 7u);
  ASSERT_EQ(log.frames.size(), 1u);
  EXPECT_EQ(log.frames[0].boxes.size(), 69u);
  const LidarSweep sweep = ReadSweep(log, log.frames[0].readings[log.MainLidar()]);
  EXPECT_EQ(sweep.size(), 34688);
  const Rigid3 world_from_lidar =
      log.frames[0].world_from_ego * log.sensors[log.MainLidar()].ego_from_sensor;
  int64_t counted = 0, annotated = 0;
  for (const LogBox& box : log.frames[0].boxes) {
    annotated += box.num_lidar_points;
    const Box3 in_lidar = world_from_lidar.Inverse() * box.box;
    for (const Eigen::Vector3f& point : sweep.points) {
      counted += in_lidar.Contains(point.cast<double>());
    }
  }
  EXPECT_EQ(annotated, 1009);
  EXPECT_EQ(counted, 994);
}

constexpr const char* kSmall = R"({"dataset": "d", "scene": "s", "token": "t", "timestamp": 1.5,
  "lidar": "l.bin", "T_global_ego": [[1,0,0,5],[0,1,0,0],[0,0,1,0],[0,0,0,1]],
  "T_ego_lidar": [[0,1,0,1],[-1,0,0,0],[0,0,1,2],[0,0,0,1]],
  "cameras": [{"name": "C", "file": "c.jpg", "width": 10, "height": 8, "timestamp": 1.4,
    "K": [[5,0,5],[0,5,4],[0,0,1]], "T_cam_lidar": [[1,0,0,0],[0,0,-1,0],[0,1,0,0],[0,0,0,1]]}],
  "boxes": [{"cls": "car", "center": [0,10,0], "lwh": [4,2,1.5], "yaw": 1.5707963267948966,
    "velocity": [0, 3], "num_lidar_pts": 7}]})";

TEST(NuscenesKeyframe, TurnsBoxesIntoTheWorld) {
  const Log log = ParseNuscenesKeyframe(kSmall, "sample.json", "/x");
  const LogBox& box = log.frames[0].boxes[0];
  EXPECT_TRUE(box.box.frame_from_box.translation.isApprox(Eigen::Vector3d(16, 0, 2), 1e-9));
  EXPECT_NEAR(box.box.yaw_rad(), 0, 1e-9);
  EXPECT_TRUE(box.velocity_mps.isApprox(Eigen::Vector2d(3, 0), 1e-9));
  EXPECT_EQ(log.readings[1].time_us, 1400000);
  EXPECT_EQ(log.readings[1].path, "/x/c.jpg");
  // The camera looks along the car.
  EXPECT_TRUE((log.sensors[1].ego_from_sensor.rotation * Eigen::Vector3d::UnitZ())
                  .isApprox(Eigen::Vector3d::UnitX(), 1e-9));
}

TEST(NuscenesKeyframe, RefusesDamage) {
  const auto error = [](const std::string& from, const std::string& to) {
    std::string text = kSmall;
    text.replace(text.find(from), from.size(), to);
    return ErrorOf([&] { ParseNuscenesKeyframe(text, "sample.json", "/x"); });
  };
  EXPECT_THAT(error("{", "["), HasSubstr("not valid JSON"));
  EXPECT_THAT(error("[4,2,1.5]", "[4,0,1.5]"), HasSubstr("box 0: lwh: expected"));
  EXPECT_THAT(error("[4,2,1.5]", "[4,1.5]"), HasSubstr("3 numbers"));
  EXPECT_THAT(error("[[0,1,0,1]", "[[0,2,0,1]"), HasSubstr("a rotation"));
  EXPECT_THAT(error("c.jpg", "../c.jpg"), HasSubstr("beside"));
  EXPECT_THAT(error("\"width\": 10", "\"width\": 0"), HasSubstr("camera 0: width"));
  EXPECT_THAT(error("\"token\"", "\"taken\""), HasSubstr("token: expected text, found nothing"));
}

}  // namespace
}  // namespace athanor
