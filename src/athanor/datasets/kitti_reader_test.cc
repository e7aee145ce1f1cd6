#include "athanor/datasets/kitti_reader.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "athanor/base/files.h"
#include "athanor/datasets/dataset_test_util.h"
#include "athanor/datasets/kitti_labels.h"

namespace athanor {
namespace {

namespace fs = std::filesystem;
using testing::ElementsAre;
using testing::HasSubstr;

constexpr char kReal[] = "kitti/object";

// LiDAR axes (x forward, z up) to camera axes (z forward, y down) and nothing else; camera 2 is
// 0.1 m to the right of camera 0.
constexpr char kCalibration[] =
    "P0: 100 0 32 0 0 100 24 0 0 0 1 0\n"
    "P1: 100 0 32 0 0 100 24 0 0 0 1 0\n"
    "P2: 100 0 32 -10 0 100 24 0 0 0 1 0\n"
    "P3: 100 0 32 0 0 100 24 0 0 0 1 0\n"
    "R0_rect: 1 0 0 0 1 0 0 0 1\n"
    "Tr_velo_to_cam: 0 -1 0 0 0 0 -1 -0.08 1 0 0 -0.27\n"
    "Tr_imu_to_velo: 1 0 0 0 0 1 0 0 0 0 1 0\n";

fs::path MakeFrames(const std::string& name) {
  const fs::path folder = TestFolder(name);
  for (const char* id : {"000001", "000007"}) {
    WriteFile(folder / "training" / "calib" / StrCat(id, ".txt"), kCalibration);
    WriteImage(folder / "training" / "image_2" / StrCat(id, ".png"), Image(64, 48, 3));
    WriteFile(folder / "training" / "velodyne" / StrCat(id, ".bin"),
              Bytes(std::array<float, 8>{10, 1, -1, 0.25f, 20, 2, 0, 0}));
    // Heading along the camera's z, so along the LiDAR's x.
    WriteFile(folder / "training" / "label_2" / StrCat(id, ".txt"),
              "Car 0 0 0 1 2 3 4 1.5 1.6 4 1 1.5 10 -1.5707963267948966\n"
              "DontCare -1 -1 -10 5 6 7 8 -1 -1 -1 -1000 -1000 -1000 -10\n");
  }
  return folder;
}

TEST(KittiReader, EveryFrameIsALogInTheLidarsFrame) {
  const fs::path folder = MakeFrames("kitti");
  EXPECT_TRUE(IsKittiFolder(folder));
  EXPECT_TRUE(IsKittiFolder(folder / "training"));
  EXPECT_FALSE(IsKittiFolder(folder / "training" / "calib"));
  const auto dataset = OpenKittiLogs(folder);
  EXPECT_EQ(dataset->format(), "kitti");
  EXPECT_THAT(dataset->names(), ElementsAre("training/000001", "training/000007"));
  EXPECT_THAT(OpenKittiLogs(folder / "training")->names(), ElementsAre("000001", "000007"));
  const Log log = dataset->Read(1);
  ASSERT_EQ(log.frames.size(), 1u);
  ASSERT_EQ(log.sensors.size(), 2u);
  EXPECT_EQ(log.sensors[0].channel, "image_2");
  EXPECT_EQ(log.sensors[1].channel, "velodyne");
  EXPECT_EQ(log.frames[0].readings.size(), 2u);

  ASSERT_EQ(log.frames[0].boxes.size(), 1u);
  EXPECT_EQ(log.tracks[0].category, "Car");
  const Box3& box = log.frames[0].boxes[0].box;
  EXPECT_NEAR(box.yaw_rad(), 0, 1e-12);
  // Camera (1, 1.5 - 0.75, 10) is LiDAR (10 + 0.27, -1, -0.75 - 0.08).
  EXPECT_NEAR((box.frame_from_box.translation - Eigen::Vector3d(10.27, -1, -0.83)).norm(), 0,
              1e-12);
  EXPECT_EQ(box.size_m, Eigen::Vector3d(4, 1.6, 1.5));

  // Projected through the sensor it is what P2 says, half a pixel on.
  const Eigen::Vector3d in_camera =
      log.sensors[0].ego_from_sensor.Inverse() * box.frame_from_box.translation;
  const auto pixel = log.sensors[0].camera.Project(in_camera);
  ASSERT_TRUE(pixel);
  EXPECT_NEAR(pixel->x(), (100 * 1 - 10) / 10.0 + 32.5, 1e-9);
  EXPECT_NEAR(pixel->y(), 100 * 0.75 / 10 + 24.5, 1e-9);

  const LidarSweep sweep = ReadSweep(log, 1);
  EXPECT_THAT(sweep.points, ElementsAre(Eigen::Vector3f(10, 1, -1), Eigen::Vector3f(20, 2, 0)));
  EXPECT_THAT(sweep.intensity, ElementsAre(0.25f, 0));
}

TEST(KittiReader, BadFilesEndInOneLine) {
  EXPECT_THAT(ErrorOf([] { ParseKittiSweep(std::string(24, '\0'), "a.bin"); }),
              HasSubstr("a.bin: expected points of 4 floats"));
  const std::array<float, 4> nan = {0, NAN, 0, 0};
  EXPECT_THAT(ErrorOf([&] { ParseKittiSweep(Bytes(nan), "a.bin"); }), HasSubstr("a.bin: byte 0: "));
  // 4 points of 3 floats look like 3 points of 4 until something negative stands for reflectance.
  const std::array<float, 12> three = {1, 2, 3, -4, 5, 6, 7, 8, 9, 1, 2, 3};
  EXPECT_THAT(ErrorOf([&] { ParseKittiSweep(Bytes(three), "a.bin"); }), HasSubstr("reflectance"));
  EXPECT_EQ(ParseKittiSweep("", "a.bin").size(), 0);

  const auto error = [](std::string text, std::string_view from, std::string_view to) {
    text.replace(text.find(from), from.size(), to);
    return ErrorOf([&] { ParseKittiCalibration(text, "c.txt"); });
  };
  EXPECT_THAT(error(kCalibration, "P1: 100 0", "Q1: 100 0"), HasSubstr("expected a line 'P1:'"));
  EXPECT_THAT(error(kCalibration, "P1: 100 0", "P1: nan 0"),
              HasSubstr("c.txt: line 2: expected finite numbers as P1"));
  EXPECT_THAT(error(kCalibration, "R0_rect: 1 0", "R0_rect: 1"), HasSubstr("expected a number"));
  EXPECT_THAT(error(kCalibration, "R0_rect: 1 0", "R0_rect: 1 1"),
              HasSubstr("expected a rotation"));
  EXPECT_THAT(error(kCalibration, "P1: 100 0", "P1: 100 9"),
              HasSubstr("P1: expected the projection"));
  EXPECT_THAT(ErrorOf([] { OpenKittiLogs(TestFolder("empty")); }), HasSubstr("expected KITTI"));

  // A calibration without anything that it calibrates, as in the tracking benchmark.
  const fs::path folder = TestFolder("tracking");
  WriteFile(folder / "calib" / "0001.txt", kCalibration);
  fs::create_directories(folder / "velodyne");
  EXPECT_THAT(ErrorOf([&] { OpenLogs(folder)->Read(0); }),
              HasSubstr("calib/0001.txt: expected velodyne/0001.bin"));
  fs::create_directories(folder / "velodyne" / "0001");
  EXPECT_THAT(ErrorOf([&] { OpenLogs(folder)->Read(0); }), HasSubstr("this is KITTI tracking"));
}

double Iou(const std::array<double, 4>& a, const std::array<double, 4>& b) {
  const double w = std::min(a[2], b[2]) - std::max(a[0], b[0]);
  const double h = std::min(a[3], b[3]) - std::max(a[1], b[1]);
  if (w <= 0 || h <= 0) return 0;
  const auto area = [](const auto& box) { return (box[2] - box[0]) * (box[3] - box[1]); };
  return w * h / (area(a) + area(b) - w * h);
}

TEST(KittiRealFrames, BoxesSitOnThePointsAndInThePictures) {
  ATHANOR_SKIP_WITHOUT(kReal);
  const auto dataset = OpenLogs(SharedData(kReal));
  ASSERT_THAT(dataset->names(), ElementsAre("000000", "000001", "000002"));
  int cars = 0;
  for (int i = 0; i < 3; ++i) {
    const Log log = dataset->Read(i);
    const auto labels =
        ReadKittiLabels(SharedData(kReal) / "label_2" / (dataset->names()[i] + ".txt"));
    const LidarSweep sweep = ReadSweep(log, static_cast<int>(log.readings.size()) - 1);
    EXPECT_GT(sweep.size(), 100000);
    const LogSensor& camera = log.sensors[0];
    for (size_t b = 0; b < log.frames[0].boxes.size(); ++b) {
      const Box3& box = log.frames[0].boxes[b].box;
      int inside = 0;
      for (const Eigen::Vector3f& point : sweep.points) {
        inside += box.Contains(point.cast<double>());
      }
      std::array<double, 4> around = {1e9, 1e9, -1e9, -1e9};
      for (const Eigen::Vector3d& corner : box.Corners()) {
        const auto pixel = camera.camera.Project(camera.ego_from_sensor.Inverse() * corner);
        ASSERT_TRUE(pixel);
        around = {std::min(around[0], pixel->x()), std::min(around[1], pixel->y()),
                  std::max(around[2], pixel->x()), std::max(around[3], pixel->y())};
      }
      around[0] = std::max(around[0], 0.0);
      around[1] = std::max(around[1], 0.0);
      around[2] = std::min<double>(around[2], camera.camera.width_px);
      around[3] = std::min<double>(around[3], camera.camera.height_px);
      const double iou = Iou(around, labels[b].box_px);
      RecordProperty(StrCat(log.name, "_", b),
                     StrCat(labels[b].type, " points ", inside, " iou ", iou));
      if (labels[b].type != "Car" || labels[b].truncated > 0) continue;
      ++cars;
      EXPECT_GT(inside, 0) << log.name << " " << b;
      EXPECT_GT(iou, 0.7) << log.name << " " << b;
    }
  }
  EXPECT_EQ(cars, 2);
}

}  // namespace
}  // namespace athanor
