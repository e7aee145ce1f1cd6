#include "athanor/datasets/kitti_labels.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "athanor/datasets/dataset_test_util.h"

namespace athanor {
namespace {

using testing::HasSubstr;

constexpr char kText[] =
    "Car 0.12 1 1.85 387.63 181.54 423.81 203.12 1.67 1.87 3.69 -16.53 2.39 58.49 1.57\n"
    "\n"
    "DontCare -1 -1 -10 503.89 169.71 590.61 190.13 -1 -1 -1 -1000 -1000 -1000 -10\r\n"
    "Cyclist -1 -1 -10 0 0 10 20.5 1.7 0.6 1.8 4 1.5 20 -0.5 0.875";

TEST(KittiLabels, ReadsEveryColumn) {
  const auto labels = ParseKittiLabels(kText, "t");
  ASSERT_EQ(labels.size(), 3u);
  EXPECT_EQ(labels[0].type, "Car");
  EXPECT_EQ(labels[0].truncated, 0.12);
  EXPECT_EQ(labels[0].occluded, 1);
  EXPECT_EQ(labels[0].alpha_rad, 1.85);
  EXPECT_EQ(labels[0].box_px, (std::array<double, 4>{387.63, 181.54, 423.81, 203.12}));
  EXPECT_EQ(labels[0].height_m, 1.67);
  EXPECT_EQ(labels[0].width_m, 1.87);
  EXPECT_EQ(labels[0].length_m, 3.69);
  EXPECT_EQ(labels[0].bottom_in_camera_m, Eigen::Vector3d(-16.53, 2.39, 58.49));
  EXPECT_EQ(labels[0].rotation_y_rad, 1.57);
  EXPECT_FALSE(labels[0].score);
  EXPECT_TRUE(labels[0].has_box3());
  EXPECT_FALSE(labels[1].has_box3());
  EXPECT_EQ(labels[2].score, 0.875);
}

TEST(KittiLabels, WritesWhatReadsBackAsTheSameNumbers) {
  auto labels = ParseKittiLabels(kText, "t");
  labels[0].alpha_rad = 1.0 / 3;
  const auto folder = TestFolder("kitti labels");
  WriteKittiLabels(folder / "000000.txt", labels);
  const auto again = ReadKittiLabels(folder / "000000.txt");
  ASSERT_EQ(again.size(), 3u);
  EXPECT_EQ(again[0].alpha_rad, 1.0 / 3);
  EXPECT_EQ(again[2].score, 0.875);
  EXPECT_EQ(FormatKittiLabels(again), FormatKittiLabels(labels));
}

TEST(KittiLabels, BoxStandsOnItsBottomAndPointsAsRotationYSays) {
  KittiLabel label = ParseKittiLabels(kText, "t")[0];
  label.rotation_y_rad = -M_PI / 2;  // heading along +z, away from the camera
  const Box3 box = KittiBoxInCamera(label);
  EXPECT_NEAR(box.frame_from_box.translation.y(), 2.39 - 1.67 / 2, 1e-12);
  EXPECT_EQ(box.size_m, Eigen::Vector3d(3.69, 1.87, 1.67));
  const Eigen::Vector3d heading = box.frame_from_box.rotation * Eigen::Vector3d::UnitX();
  EXPECT_NEAR((heading - Eigen::Vector3d::UnitZ()).norm(), 0, 1e-12);
  const Eigen::Vector3d up = box.frame_from_box.rotation * Eigen::Vector3d::UnitZ();
  EXPECT_NEAR((up + Eigen::Vector3d::UnitY()).norm(), 0, 1e-12);

  for (const double rotation : {-3.0, -0.5, 0.0, 1.57, 2.9}) {
    label.rotation_y_rad = rotation;
    KittiLabel back;
    SetKittiBox(KittiBoxInCamera(label), &back);
    EXPECT_NEAR(back.rotation_y_rad, rotation, 1e-12);
    EXPECT_NEAR((back.bottom_in_camera_m - label.bottom_in_camera_m).norm(), 0, 1e-12);
    EXPECT_EQ(back.length_m, label.length_m);
  }
  // The angle that KITTI's own labels of this object state.
  label.rotation_y_rad = 1.57;
  KittiLabel back;
  SetKittiBox(KittiBoxInCamera(label), &back);
  EXPECT_NEAR(back.alpha_rad, 1.85, 0.01);
}

TEST(KittiLabels, RefusesBadLinesByNumber) {
  const auto parse = [](std::string line) {
    return ErrorOf([&] { ParseKittiLabels("\n" + line, "x.txt"); });
  };
  EXPECT_THAT(parse("Car 0 0 0"), HasSubstr("x.txt: line 2: expected a number as edge of the box"));
  EXPECT_THAT(parse("Car 0 0 0 0 0 1 1 1 1 1 0 0 nan 0"), HasSubstr("expected a finite number"));
  EXPECT_THAT(parse("Car 0 0 0 0 0 1 1 0 1 1 0 0 0 0"), HasSubstr("height (column 9)"));
  EXPECT_THAT(parse("Car 0 0.5 0 0 0 1 1 1 1 1 0 0 0 0"), HasSubstr("occlusion"));
  EXPECT_THAT(parse("Car 0 0 0 0 0 1 1 1 1 1 0 0 0 0 0.5 7"), HasSubstr("found more: '7'"));
  EXPECT_THAT(ErrorOf([] { KittiBoxInCamera({}); }), HasSubstr("expected a box in 3D"));
}

}  // namespace
}  // namespace athanor
