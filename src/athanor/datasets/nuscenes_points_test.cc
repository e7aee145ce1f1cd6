#include "athanor/datasets/nuscenes_points.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "athanor/datasets/log_test_util.h"

namespace athanor {
namespace {

using testing::HasSubstr;

std::string Floats(const std::vector<float>& values) {
  return {reinterpret_cast<const char*>(values.data()), values.size() * sizeof(float)};
}

TEST(PcdBin, WhatIsWrittenIsRead) {
  const LidarSweep sweep = TestSweep();
  const std::string bytes = EncodePcdBin(sweep);
  EXPECT_EQ(bytes.size(), sweep.points.size() * 20);
  const LidarSweep read = DecodePcdBin(bytes, "x.pcd.bin");
  EXPECT_EQ(read.points, sweep.points);
  EXPECT_EQ(read.ring, sweep.ring);
  for (size_t i = 0; i < sweep.intensity.size(); ++i) {
    EXPECT_NEAR(read.intensity[i], sweep.intensity[i], 1e-6);
  }
  EXPECT_EQ(DecodePcdBin("", "x").size(), 0);
}

TEST(PcdBin, RefusesWhatItIsNot) {
  const auto error = [](const std::vector<float>& values) {
    return ErrorOf([&] { DecodePcdBin(Floats(values), "x.pcd.bin"); });
  };
  EXPECT_THAT(error({1, 2, 3}), HasSubstr("3 floats a point"));
  EXPECT_THAT(error({1, 2, 3, 4}), HasSubstr("4 floats a point"));
  EXPECT_THAT(error({1, 2, NAN, 3, 4}), HasSubstr("point 0: expected finite"));
  EXPECT_THAT(error({1, 2, 3, 3, 4, 1, 2, 3, 256, 0}), HasSubstr("point 1: expected an intensity"));
  // 15 floats: three points of 5, in truth five of 3.
  EXPECT_THAT(error({1, 2, 3, 1.5, 2.5, 3.5, 4, 5, 6, 7, 8, 9, 1, 2, 3}), HasSubstr("as ring"));
}

std::string RadarFile(int points, const std::string& data) {
  return "# .PCD v0.7 - Point Cloud Data file format\nVERSION 0.7\n"
         "FIELDS x y z dyn_prop id rcs vx vy vx_comp vy_comp is_quality_valid ambig_state x_rms "
         "y_rms invalid_state pdh0 vx_rms vy_rms\n"
         "SIZE 4 4 4 1 2 4 4 4 4 4 1 1 1 1 1 1 1 1\n"
         "TYPE F F F I I F F F F F I I I I I I I I\n"
         "COUNT 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1\n"
         "WIDTH " +
         std::to_string(points) + "\nHEIGHT 1\nVIEWPOINT 0 0 0 1 0 0 0\nPOINTS " +
         std::to_string(points) + "\nDATA binary\n" + data;
}

std::string RadarRecord(float x) {
  std::string record = Floats({x, 2, 0});
  record += std::string("\x01", 1) + Bytes<int16_t>(7) + Floats({-5.5f, 1, 2, 3, 4});
  record += std::string("\x01\x03\x13\x13\x00\x01\x10\x03", 8);
  return record;
}

TEST(RadarPcd, ReadsTheFieldsThatMatter) {
  const auto points = DecodeRadarPcd(RadarFile(2, RadarRecord(10) + RadarRecord(20)), "r.pcd");
  ASSERT_EQ(points.size(), 2u);
  EXPECT_EQ(points[1].position_m, Eigen::Vector3f(20, 2, 0));
  EXPECT_EQ(points[0].velocity_mps, Eigen::Vector2f(1, 2));
  EXPECT_EQ(points[0].compensated_velocity_mps, Eigen::Vector2f(3, 4));
  EXPECT_EQ(points[0].cross_section_dbsm, -5.5f);
  EXPECT_EQ(points[0].dynamic_property, 1);
  EXPECT_EQ(points[0].ambiguity_state, 3);
  EXPECT_TRUE(points[0].IsReliable());
  EXPECT_TRUE(DecodeRadarPcd(RadarFile(1, RadarRecord(NAN)), "r.pcd").empty());
}

TEST(RadarPcd, RefusesDamage) {
  const auto error = [](const std::string& bytes) {
    return ErrorOf([&] { DecodeRadarPcd(bytes, "r.pcd"); });
  };
  EXPECT_THAT(error(""), HasSubstr("before its line DATA"));
  EXPECT_THAT(error(RadarFile(1000000, RadarRecord(1))), HasSubstr("r.pcd"));
  EXPECT_THAT(error("FIELDS x y\nSIZE 4\nTYPE F F\nPOINTS 1\nDATA binary\n"),
              HasSubstr("of one length"));
  EXPECT_THAT(error("FIELDS x\nSIZE 4\nTYPE F\nPOINTS 1\nDATA binary\n1234"),
              HasSubstr("expected a field y"));
  EXPECT_THAT(error("FIELDS x\nSIZE 4\nTYPE F\nPOINTS 1\nDATA ascii\n1\n"),
              HasSubstr("expected DATA binary"));
}

}  // namespace
}  // namespace athanor
