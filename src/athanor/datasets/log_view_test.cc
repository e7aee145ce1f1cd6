#include "athanor/datasets/log_view.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdlib>

#include "athanor/datasets/log_check.h"
#include "athanor/datasets/log_test_util.h"

namespace athanor {
namespace {

namespace fs = std::filesystem;
using testing::HasSubstr;

// The test log on disk, read back.
Log SmallLog(const fs::path& root) {
  NuscenesWriter writer(root);
  writer.AddScene(WriteTestLog(root, "scene-0001"));
  writer.Finish();
  return OpenLogs(root)->Read(0);
}

int CountColor(const Image& image, Color color) {
  int count = 0;
  for (int y = 0; y < image.height; ++y) {
    for (int x = 0; x < image.width; ++x) {
      const uint8_t* p = image.at(x, y);
      count += p[0] == color.r && p[1] == color.g && p[2] == color.b;
    }
  }
  return count;
}

TEST(LogView, BoxesStandWhereTheyAre) {
  Log log = SmallLog(TestFolder("log view"));
  LogViewOptions options;
  options.range_m = 20;
  const Image above = DrawFromAbove(log, 0, 400, options);
  // The car is 10 m ahead: its front edge, drawn heavily, is at 12.25 m, 10 px a metre.
  const Color orange = CategoryColor("vehicle.car");
  const uint8_t* front = above.at(200, 200 - 122);
  EXPECT_GT(front[0], 200);  // orange, but for its soft edge
  EXPECT_LT(front[2], 80);
  EXPECT_GT(CountColor(above, orange), 100);
  options.boxes = false;
  EXPECT_EQ(CountColor(DrawFromAbove(log, 0, 400, options), orange), 0);

  options = {};
  options.points_in_cameras = false;
  options.camera_width_px = 320;
  const Image with = DrawCamera(log, 0, 0, options);
  EXPECT_EQ(with.width, 320);
  EXPECT_EQ(with.height, 180);
  EXPECT_GT(CountColor(with, orange), 20);
  // Behind the camera, nothing is drawn.
  for (LogBox& box : log.frames[0].boxes) box.box.frame_from_box.translation.x() -= 40;
  EXPECT_EQ(CountColor(DrawCamera(log, 0, 0, options), orange), 0);
}

TEST(LogView, SheetsDoWithoutFiles) {
  Log log = SmallLog(TestFolder("log sheet"));
  const Image sheet = DrawFrame(log, 1);
  EXPECT_GT(sheet.width, 800);
  EXPECT_EQ(FrameToShow(log), 1);
  fs::remove(log.readings[log.frames[1].readings[0]].path);
  EXPECT_EQ(FrameToShow(log), 0);
  fs::remove(log.readings[log.frames[1].readings[1]].path);
  const Image without = DrawFrame(log, 1);
  EXPECT_EQ(without.width, sheet.width);
  EXPECT_EQ(without.height, sheet.height);
  EXPECT_THAT(ErrorOf([&] { DrawFrame(log, 3); }), HasSubstr("expected a frame of 0 to 3"));
}

TEST(LogCheck, FindsWhatIsBroken) {
  const fs::path root = TestFolder("log check");
  Log log = SmallLog(root);
  const auto check = [&] {
    std::vector<std::string> faults;
    CheckLogs(root, [&](const std::string& fault) { faults.push_back(fault); });
    return faults;
  };
  const std::vector<int64_t> counts = CountPointsInBoxes(log, 0);
  ASSERT_EQ(counts.size(), 1u);
  // By hand: x from 7.75 to 12.25, y from -0.95 to 0.95, and 0.4 m above the LiDAR (the car stands
  // 0.8 m above the car's own origin).
  int64_t inside = 0;
  for (const Eigen::Vector3f& p : TestSweep().points) {
    inside += p.x() >= 7.75f && p.x() <= 12.25f && std::abs(p.y()) <= 0.95f && p.z() >= -0.7f &&
              p.z() <= 0.9f;
  }
  EXPECT_EQ(counts[0], inside);
  EXPECT_THAT(check(), testing::IsEmpty());
  const auto path = [&](int sensor, int nth) {
    return log.readings[log.frames[nth].readings[sensor]].path;
  };
  WriteFile(path(1, 0), "123456789012");
  WriteFile(path(1, 1), "");
  fs::remove(path(0, 0));
  WriteImage(path(0, 1), Image(8, 8, 3));
  const std::vector<std::string> faults = check();
  EXPECT_EQ(faults.size(), 4u);
  EXPECT_THAT(faults, testing::Contains(HasSubstr("3 floats a point")));
  EXPECT_THAT(faults, testing::Contains(HasSubstr("expected points, found none")));
  EXPECT_THAT(faults, testing::Contains(HasSubstr("no such file")));
  EXPECT_THAT(faults, testing::Contains(HasSubstr("the picture is 8x8")));
}

TEST(LogCheck, BoxesInTheWrongPlaceAreFound) {
  const fs::path root = TestFolder("log check boxes");
  NuscenesWriter writer(root);
  Log log = WriteTestLog(root, "scene-0001");
  log.frames[2].boxes[0].num_lidar_points = 100;
  writer.AddScene(log);
  writer.Finish();
  std::vector<std::string> faults;
  CheckLogs(root, [&](const std::string& fault) { faults.push_back(fault); });
  ASSERT_EQ(faults.size(), 1u);
  EXPECT_THAT(faults[0], HasSubstr("frame 2: "));
  EXPECT_THAT(faults[0], HasSubstr("but they say 100"));
}

TEST(LogCheck, RealSweepsHaveTheirPointsInTheirBoxes) {
  ATHANOR_SKIP_WITHOUT("argoverse2/sensor_val_7fab2350");
  const fs::path folder = SharedData("argoverse2/sensor_val_7fab2350");
  const LogCheckResult result =
      CheckLogs(folder, [](const std::string& fault) { ADD_FAILURE() << fault; });
  EXPECT_EQ(result.frames, 156);
  EXPECT_EQ(result.faults, 0);
  EXPECT_EQ(result.points_counted, 18688);
  EXPECT_EQ(result.points_annotated, 18688);
  const Log log = OpenLogs(folder)->Read(0);
  const std::vector<int64_t> counts = CountPointsInBoxes(log, FrameToShow(log));
  ASSERT_EQ(counts.size(), log.frames[FrameToShow(log)].boxes.size());
  for (size_t i = 0; i < counts.size(); ++i) {
    EXPECT_EQ(counts[i], log.frames[FrameToShow(log)].boxes[i].num_lidar_points);
  }
}

}  // namespace
}  // namespace athanor
