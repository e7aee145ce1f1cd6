#include "athanor/simulation/traffic/road_network.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>

#include "athanor/base/test_util.h"
#include "athanor/simulation/traffic/traffic_test_util.h"

namespace athanor {
namespace {

using ::testing::HasSubstr;

constexpr char kNet[] = R"(<?xml version="1.0"?>
<net>
  <edge id=":b_0" function="internal">
    <lane id=":b_0_0" index="0" speed="8" length="4" shape="100,-1.6 104,-1.6"/>
  </edge>
  <edge id=":b_c0" function="crossing">
    <lane id=":b_c0_0" index="0" allow="pedestrian" speed="1" length="7" width="4" shape="99,-4 99,3"/>
  </edge>
  <edge id="ab" from="a" to="b" priority="3" type="street">
    <lane id="ab_0" index="0" allow="pedestrian" speed="1.4" length="100" width="2" shape="0,-4 100,-4"/>
    <lane id="ab_1" index="1" disallow="pedestrian" speed="13.9" length="100" shape="0,-1.6,2 100,-1.6,2"/>
    <lane id="ab_2" index="2" disallow="all" speed="13.9" length="100" shape="0,1 100,1"/>
    <lane id="ab_3" index="3" allow="bus taxi" speed="13.9" length="100" shape="0,4 100,4"/>
  </edge>
  <edge id="bc" from="b" to="c"><lane id="bc_0" index="0" speed="13.9" length="50" shape="104,-1.6 154,-1.6"/></edge>
  <tlLogic id="light" type="static" programID="0" offset="0"><phase duration="9" state="G"/></tlLogic>
  <junction id="a" type="dead_end" x="0" y="0" incLanes="" intLanes="" shape="0,0"/>
  <junction id="b" type="traffic_light" x="102" y="0" incLanes="" intLanes="" shape="100,3 104,3 104,-5 100,-5"/>
  <junction id="c" type="dead_end" x="154" y="0" incLanes="" intLanes=""/>
  <connection from="ab" to="bc" fromLane="1" toLane="0" via=":b_0_0" tl="light" linkIndex="0" dir="s" state="o"/>
  <roundabout nodes="b" edges="bc"/>
</net>)";

std::string Replaced(std::string text, const std::string& from, const std::string& to) {
  const size_t at = text.find(from);
  EXPECT_NE(at, text.npos) << from;
  return text.replace(at, from.size(), to);
}

TEST(RoadNetwork, ReadsLanesJunctionsConnectionsAndLights) {
  const RoadNetwork net = ParseRoadNetwork(kNet, "test.net.xml");
  ASSERT_EQ(net.edges.size(), 4u);
  const RoadEdge& ab = net.edges[net.FindEdge("ab")];
  ASSERT_EQ(ab.lanes.size(), 4u);
  EXPECT_EQ(ab.type, "street");
  EXPECT_EQ(net.lanes[ab.lanes[0]].kind, LaneKind::kSidewalk);
  EXPECT_EQ(net.lanes[ab.lanes[1]].kind, LaneKind::kDriving);
  EXPECT_EQ(net.lanes[ab.lanes[2]].kind, LaneKind::kForbidden);
  EXPECT_EQ(net.lanes[ab.lanes[3]].kind, LaneKind::kBus);
  EXPECT_DOUBLE_EQ(net.lanes[ab.lanes[0]].width_m, 2);
  EXPECT_DOUBLE_EQ(net.lanes[ab.lanes[1]].width_m, 3.2);
  EXPECT_DOUBLE_EQ(net.lanes[ab.lanes[1]].shape[1].z(), 2);
  EXPECT_EQ(net.junctions[ab.to_junction].id, "b");
  EXPECT_EQ(net.junctions[ab.to_junction].shape.size(), 4u);
  const RoadLane& inside = net.lanes[net.FindLane(":b_0_0")];
  EXPECT_EQ(inside.from_edge, net.FindEdge("ab"));
  EXPECT_EQ(inside.to_edge, net.FindEdge("bc"));
  EXPECT_EQ(inside.direction, TurnDirection::kStraight);
  EXPECT_EQ(net.edges[inside.edge].junction, ab.to_junction);
  EXPECT_EQ(net.lanes[net.FindLane(":b_c0_0")].kind, LaneKind::kCrossing);
  ASSERT_EQ(net.connections.size(), 1u);
  EXPECT_EQ(net.lights[net.connections[0].light], "light");
  ASSERT_EQ(net.roundabouts.size(), 1u);
  EXPECT_EQ(net.CirculatingRoundabout(net.FindLane("bc_0")), 0);
  EXPECT_EQ(net.CirculatingRoundabout(net.FindLane(":b_0_0")), -1);
  EXPECT_EQ(net.CirculatingRoundabout(net.FindLane("ab_1")), -1);
}

TEST(RoadNetwork, RefusesDamagedFilesWithFileAndLine) {
  const auto error = [](const std::string& from, const std::string& to) {
    const std::string text = Replaced(kNet, from, to);
    return ErrorOf([&] { ParseRoadNetwork(text, "bad.net.xml"); });
  };
  EXPECT_THAT(error("</net>", ""), HasSubstr("bad.net.xml: line 22: not XML"));
  EXPECT_THAT(error("0,-1.6,2 100", "0,x 100"),
              HasSubstr("bad.net.xml: line 11: <lane> shape: expected points"));
  EXPECT_THAT(error("shape=\"0,-4 100,-4\"", "shape=\"0,nan 1,1\""), HasSubstr("line 10"));
  EXPECT_THAT(error("length=\"50\"", "length=\"-5\""), HasSubstr("expected a number from 0"));
  EXPECT_THAT(error("to=\"c\"", "to=\"z\""), HasSubstr("names the junction 'z'"));
  EXPECT_THAT(error("fromLane=\"1\"", "fromLane=\"9\""), HasSubstr("names lane 9 of edge 'ab'"));
  EXPECT_THAT(error("via=\":b_0_0\"", "via=\":q\""), HasSubstr("':q', which is not there"));
  EXPECT_THAT(error("tl=\"light\"", "tl=\"dark\""), HasSubstr("names the light 'dark'"));
  EXPECT_THAT(error("edges=\"bc\"", "edges=\"xy\""), HasSubstr("a roundabout names the edge 'xy'"));
  EXPECT_THAT(error("id=\"bc\"", "id=\"ab\""), HasSubstr("'ab' is there twice"));
  EXPECT_THAT(ErrorOf([] { ParseRoadNetwork("<routes/>", "r.xml"); }),
              HasSubstr("expected a road network of SUMO"));
  EXPECT_THAT(ErrorOf([] { ParseRoadNetwork("<net/>", "r.xml"); }), HasSubstr("holds no lanes"));
  EXPECT_THAT(
      ErrorOf([] { ParseRoadNetwork("<!DOCTYPE net [<!ENTITY a \"b\">]><net/>", "r.xml"); }),
      HasSubstr("defines an entity 'a'"));
  std::string deep;
  for (int i = 0; i < 100; ++i) deep += "<net>";
  EXPECT_THAT(ErrorOf([&] { ParseRoadNetwork(deep, "r.xml"); }), HasSubstr("nest deeper than 64"));
}

TEST(RoadNetwork, LinesAnswerWhereAndHowFar) {
  const std::vector<Eigen::Vector3d> line = {{0, 0, 0}, {10, 0, 0}, {10, 10, 5}};
  EXPECT_DOUBLE_EQ(LineLength(line), 20);
  const LinePoint point = PointOnLine(line, 15);
  EXPECT_TRUE(point.position.isApprox(Eigen::Vector3d(10, 5, 2.5)));
  EXPECT_NEAR(point.yaw_rad, 1.5707963, 1e-6);
  EXPECT_TRUE(PointOnLine(line, 99).position.isApprox(line[2]));
  const LineFoot foot = NearestOnLine(line, {4, 3});
  EXPECT_DOUBLE_EQ(foot.s_m, 4);
  EXPECT_DOUBLE_EQ(foot.left_m, 3);
  EXPECT_DOUBLE_EQ(NearestOnLine(line, {12, 5}).left_m, -2);
}

TEST(RoadNetwork, FindsTheRoundaboutOfBologna) {
  const std::filesystem::path folder = SharedData("sumo_bologna_acosta");
  if (folder.empty()) GTEST_SKIP() << "sumo_bologna_acosta is not there";
  const TrafficNetwork network = LoadNetwork(folder / "run.sumocfg");
  EXPECT_EQ(network.route_files.size(), 2u);
  EXPECT_EQ(network.additional_files.size(), 4u);
  ASSERT_EQ(network.roads.roundabouts.size(), 1u);
  const Roundabout& roundabout = network.roads.roundabouts[0];
  EXPECT_EQ(roundabout.junctions.size(), 8u);
  EXPECT_EQ(roundabout.edges.size(), 8u);
  // It is an oval. Mean of its nodes, and the farthest of them:
  Eigen::Vector2d mean = Eigen::Vector2d::Zero();
  for (const int junction : roundabout.junctions) {
    mean += network.roads.junctions[junction].position.head<2>() / 8;
  }
  EXPECT_NEAR(mean.x(), 458.4, 0.1);
  EXPECT_NEAR(mean.y(), 538.0, 0.1);
  double farthest = 0;
  for (const int junction : roundabout.junctions) {
    farthest =
        std::max(farthest, (network.roads.junctions[junction].position.head<2>() - mean).norm());
  }
  EXPECT_NEAR(farthest, 26, 0.5);
  // The circle that fits its lanes, computed apart from this code: 456.83, 541.91, radius 19.13.
  EXPECT_NEAR(roundabout.center_m.x(), 456.83, 1);
  EXPECT_NEAR(roundabout.center_m.y(), 541.91, 1);
  EXPECT_NEAR(roundabout.radius_m, 19.13, 1);
}

}  // namespace
}  // namespace athanor
