#include "athanor/geometry/box3.h"

#include <gtest/gtest.h>

#include <cmath>

namespace athanor {
namespace {

TEST(Box3Test, LengthLiesAlongTheHeading) {
  const Box3 box = MakeBox3({10, 20, 1}, {4, 2, 1.5}, M_PI / 2);
  EXPECT_NEAR(box.yaw_rad(), M_PI / 2, 1e-12);
  EXPECT_TRUE(box.Contains({10, 21.9, 1}));
  EXPECT_FALSE(box.Contains({11.9, 20, 1}));
  EXPECT_TRUE(box.Contains({10.9, 20, 1.7}));
  EXPECT_FALSE(box.Contains({10.9, 20, 1.8}));
}

TEST(Box3Test, CornersComeInTheirOrder) {
  const Box3 box = MakeBox3({0, 0, 0}, {4, 2, 1}, 0);
  const auto corners = box.Corners();
  EXPECT_EQ(corners[0], Eigen::Vector3d(2, 1, -0.5));
  EXPECT_EQ(corners[1], Eigen::Vector3d(2, 1, 0.5));
  EXPECT_EQ(corners[2], Eigen::Vector3d(2, -1, -0.5));
  EXPECT_EQ(corners[7], Eigen::Vector3d(-2, -1, 0.5));
  for (const Eigen::Vector3d& corner : corners) EXPECT_TRUE(box.Contains(corner));
}

TEST(Box3Test, MovesWithItsFrame) {
  const Rigid3 world_from_ego = {
      Eigen::Quaterniond(Eigen::AngleAxisd(M_PI / 2, Eigen::Vector3d::UnitZ())), {100, 0, 0}};
  const Box3 moved = world_from_ego * MakeBox3({1, 0, 0}, {4, 2, 1}, 0.25);
  EXPECT_NEAR(moved.yaw_rad(), M_PI / 2 + 0.25, 1e-12);
  EXPECT_NEAR((moved.frame_from_box.translation - Eigen::Vector3d(100, 1, 0)).norm(), 0, 1e-12);
}

TEST(Box3Test, NothingIsInABoxThatIsNotANumber) {
  EXPECT_FALSE(MakeBox3({0, 0, 0}, {NAN, 2, 1}, 0).Contains({0, 0, 0}));
}

}  // namespace
}  // namespace athanor
