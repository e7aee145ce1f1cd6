#include "athanor/simulation/street/map_mask.h"

#include <gtest/gtest.h>

namespace athanor {
namespace {

// A lane along x from 10 m to 30 m, 4 m wide, and a triangle of a junction beyond it.
RoadNetwork OneRoad() {
  RoadNetwork roads;
  RoadLane lane;
  lane.width_m = 4;
  lane.shape = {{10, 20, 0}, {30, 20, 0}};
  roads.lanes = {lane};
  RoadJunction junction;
  junction.shape = {{30, 18, 0}, {40, 20, 0}, {30, 22, 0}};
  roads.junctions = {junction};
  roads.max_m = {50, 40};
  return roads;
}

TEST(MapMask, TheGroundLiesWhereNuScenesLooksForIt) {
  const Image mask = DrawMapMask(OneRoad(), {1000, 1000});
  ASSERT_EQ(mask.width, 500);
  ASSERT_EQ(mask.height, 400);
  // As the devkit's MapMask: column x / 0.1, row height - y / 0.1, from the upper left corner.
  const auto at = [&](double x, double y) {
    return int{*mask.at(static_cast<int>(x / 0.1), static_cast<int>(mask.height - y / 0.1))};
  };
  EXPECT_EQ(at(20.05, 20.05), 255);
  EXPECT_EQ(at(10.15, 21.85), 255);
  EXPECT_EQ(at(10.15, 22.15), 0);
  EXPECT_EQ(at(9.85, 20.05), 0);
  EXPECT_EQ(at(39.05, 20.05), 255);
  EXPECT_EQ(at(39.05, 21.05), 0);
  int64_t marked = 0;
  for (const uint8_t value : mask.data) marked += value == 255 ? 1 : 0;
  EXPECT_NEAR(static_cast<double>(marked) * 0.01, 20 * 4 + 20, 0.5);
}

TEST(MapMask, WhatIsOutsideIsCutAndTooMuchIsNoMask) {
  EXPECT_EQ(DrawMapMask(OneRoad(), {25, 1000}).width, 250);
  EXPECT_TRUE(DrawMapMask(OneRoad(), {-1, 1000}).data.empty());
  RoadNetwork wide = OneRoad();
  wide.max_m = {1e5, 1e5};
  EXPECT_TRUE(DrawMapMask(wide, {1e5, 1e5}).data.empty());
}

}  // namespace
}  // namespace athanor
