#include "athanor/simulation/street/town.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>

#include "athanor/base/test_util.h"
#include "athanor/simulation/mesh_builder.h"
#include "athanor/simulation/street/scene.h"
#include "athanor/simulation/street/town_parts.h"

namespace athanor {
namespace {

using Eigen::Vector2d;
using Eigen::Vector3d;
using ::testing::HasSubstr;

// A crossroads with sidewalks and a crossing, as netconvert writes such.
RoadNetwork Crossroads() {
  std::string xml =
      "<net>\n"
      "<edge id=\":C_c0\" function=\"crossing\">"
      "<lane id=\":C_c0_0\" index=\"0\" allow=\"pedestrian\" speed=\"1\" length=\"8\" width=\"4\" "
      "shape=\"12,-4 12,4\"/></edge>\n"
      "<edge id=\":C_w0\" function=\"walkingarea\">"
      "<lane id=\":C_w0_0\" index=\"0\" allow=\"pedestrian\" speed=\"1\" length=\"1\" width=\"2\" "
      "shape=\"10,4 14,4 14,6 10,6\"/></edge>\n";
  const struct {
    const char *name, *from, *to, *walk, *drive;
  } edges[] = {{"east_in", "E", "C", "80,5 10,5", "80,2 10,2"},
               {"east_out", "C", "E", "10,-5 80,-5", "10,-2 80,-2"},
               {"north_in", "N", "C", "-5,80 -5,10", "-2,80 -2,10"},
               {"north_out", "C", "N", "5,10 5,80", "2,10 2,80"}};
  for (const auto& edge : edges) {
    xml += StrCat(
        "<edge id=\"", edge.name, "\" from=\"", edge.from, "\" to=\"", edge.to,
        "\" priority=\"1\">", "<lane id=\"", edge.name,
        "_0\" index=\"0\" allow=\"pedestrian\" speed=\"13.9\" length=\"70\" width=\"2\" shape=\"",
        edge.walk, "\"/><lane id=\"", edge.name,
        "_1\" index=\"1\" disallow=\"pedestrian\" speed=\"13.9\" length=\"70\" width=\"4\" "
        "shape=\"",
        edge.drive, "\"/></edge>\n");
  }
  const auto junction = [](const char* id, double x, double y, const char* type,
                           const char* shape) {
    return StrCat("<junction id=\"", id, "\" type=\"", type, "\" x=\"", x, "\" y=\"", y,
                  "\" incLanes=\"\" intLanes=\"\" shape=\"", shape, "\"/>\n");
  };
  xml += junction("C", 0, 0, "priority", "-10,-10 10,-10 10,10 -10,10");
  xml += junction("E", 80, 0, "dead_end", "80,4 80,-4 82,-4 82,4");
  xml += junction("N", 0, 80, "dead_end", "-4,80 4,80 4,82 -4,82");
  return ParseRoadNetwork(xml + "</net>", "crossroads");
}

TownOptions Around(uint64_t seed) {
  TownOptions options;
  options.seed = seed;
  options.around = {{0, 0}, {40, 0}};
  options.radius_m = 100;
  return options;
}

// Distance of a point to a rectangle; 0 inside.
double DistanceTo(const TownBuilding& building, const Vector2d& point) {
  const double c = std::cos(building.yaw_rad), s = std::sin(building.yaw_rad);
  const Vector2d d = point - building.center_m;
  const Vector2d local(c * d.x() + s * d.y(), -s * d.x() + c * d.y());
  return (local.cwiseAbs() - building.half_m).cwiseMax(0).norm();
}

TEST(Town, NoBuildingStandsOnALane) {
  const RoadNetwork roads = Crossroads();
  int buildings = 0;
  for (uint64_t seed = 0; seed < 6; ++seed) {
    const Town town = BuildTown(roads, Around(seed));
    buildings += static_cast<int>(town.buildings.size());
    for (const RoadLane& lane : roads.lanes) {
      if (lane.kind == LaneKind::kWalkingArea) continue;
      const double length = LineLength(lane.shape);
      for (double s = 0; s <= length; s += 0.5) {
        const Vector2d at = PointOnLine(lane.shape, s).position.head<2>();
        for (const TownBuilding& building : town.buildings) {
          ASSERT_GT(DistanceTo(building, at), lane.width_m / 2) << lane.id << " at " << s;
        }
      }
    }
    for (size_t i = 0; i < town.buildings.size(); ++i) {
      for (size_t j = 0; j < i; ++j) {
        EXPECT_GT(DistanceTo(town.buildings[i], town.buildings[j].center_m), 1);
      }
    }
  }
  EXPECT_GT(buildings, 40);
}

TEST(Town, MeshesAreSoundAndFew) {
  const Town town = BuildTown(Crossroads(), Around(3));
  for (const Mesh& mesh : town.meshes) CheckMesh(mesh, "town");
  int64_t triangles = 0;
  for (const MeshInstance& instance : town.instances) {
    ASSERT_LT(instance.mesh, static_cast<int>(town.meshes.size()));
    ASSERT_LT(instance.object, kNumTownParts);
    triangles += static_cast<int64_t>(town.meshes[instance.mesh].triangles.size());
  }
  EXPECT_EQ(triangles, town.num_triangles);
  EXPECT_LT(triangles, 500'000);
}

// What lies under a point, seen from above.
TownPart PartUnder(RayWorld* world, double x, double y) {
  const RayHit hit = world->Cast(Vector3d(x, y, 0.9).cast<float>(), -Eigen::Vector3f::UnitZ(), 3);
  EXPECT_GE(hit.instance, 0);
  return static_cast<TownPart>(hit.object);
}

TEST(Town, RoadsSidewalksAndCrossingsLieWhereTheNetworkHasThem) {
  Town town = BuildTown(Crossroads(), Around(4));
  RayWorld world;
  for (Mesh& mesh : town.meshes) world.AddMesh(std::move(mesh));
  world.SetInstances(town.instances);
  EXPECT_EQ(PartUnder(&world, 40.3, 2.2), TownPart::kRoad);
  EXPECT_EQ(PartUnder(&world, 0, 0), TownPart::kRoad);
  EXPECT_EQ(PartUnder(&world, 40, 5.2), TownPart::kSidewalk);
  EXPECT_EQ(PartUnder(&world, 12, 4.5), TownPart::kSidewalk);
  EXPECT_EQ(PartUnder(&world, 12, -3.5), TownPart::kMarking);  // the first bar of the crossing
  const RayHit kerb = world.Cast({40, 5.2f, 2}, -Eigen::Vector3f::UnitZ(), 3);
  EXPECT_NEAR(2 - kerb.distance, kKerbHeight, 1e-4);
}

TEST(Town, KeepsTheGroundOfActorsFree) {
  TownOptions options = Around(5);
  const Town full = BuildTown(Crossroads(), options);
  ASSERT_FALSE(full.buildings.empty());
  TownBuilding actor;
  actor.center_m = full.buildings.front().center_m;
  options.keep_free.push_back(actor);
  for (const TownBuilding& building : BuildTown(Crossroads(), options).buildings) {
    EXPECT_GT(DistanceTo(building, actor.center_m), 0.9);
  }
}

TEST(Town, TheSameSeedIsTheSameTown) {
  const Town a = BuildTown(Crossroads(), Around(7)), b = BuildTown(Crossroads(), Around(7));
  const Town c = BuildTown(Crossroads(), Around(8));
  ASSERT_EQ(a.instances.size(), b.instances.size());
  EXPECT_EQ(a.num_triangles, b.num_triangles);
  EXPECT_NE(a.num_triangles, c.num_triangles);
  for (size_t i = 0; i < a.instances.size(); ++i) {
    EXPECT_EQ(a.instances[i].world_from_mesh.translation,
              b.instances[i].world_from_mesh.translation);
  }
}

// A network's elevation lifts all of the town.
TEST(Town, StandsAsHighAsItsRoads) {
  RoadNetwork roads = Crossroads();
  roads.roundabouts.push_back({{roads.FindEdge("east_in")}, {}, {40, 40}, 15});
  const Town flat = BuildTown(roads, Around(6));
  for (const double height : {50.0, -20.0}) {
    RoadNetwork high = roads;
    for (RoadLane& lane : high.lanes) {
      for (Vector3d& point : lane.shape) point.z() += height;
    }
    for (RoadJunction& junction : high.junctions) {
      for (Vector3d& point : junction.shape) point.z() += height;
    }
    const Town town = BuildTown(high, Around(6));
    ASSERT_EQ(town.instances.size(), flat.instances.size());
    const auto range = [](const Town& of, size_t i) {
      double low = 1e9, high = -1e9;
      for (const Eigen::Vector3f& vertex : of.meshes[of.instances[i].mesh].vertices) {
        const double z = (of.instances[i].world_from_mesh * vertex.cast<double>()).z();
        low = std::min(low, z);
        high = std::max(high, z);
      }
      return Vector2d(low, high);
    };
    for (size_t i = 0; i < flat.instances.size(); ++i) {
      EXPECT_LT((range(town, i) - range(flat, i) - Vector2d::Constant(height)).norm(), 1e-3)
          << "part " << flat.instances[i].object;
    }
  }
}

// Parked cars stand where the network has no lane, too.
TEST(StreetScene, NoHouseStandsOnAParkedCar) {
  TrafficNetwork network;
  network.roads = Crossroads();
  TrafficLog log;
  log.num_steps = 2;
  log.actors.resize(1);
  log.actors[0].id = "ego";
  log.actors[0].size_m = {4.5, 1.8, 1.5};
  log.actors[0].states.resize(2);
  const auto town_of = [&] {
    return StreetScene(network, log, StreetWeather::kSun, TownOptions(), 3).town().buildings;
  };
  const std::vector<TownBuilding> before = town_of();
  ASSERT_GT(before.size(), 3u);
  for (const TownBuilding& building : before) {
    TrafficActor car;
    car.id = StrCat("car-", log.actors.size());
    car.size_m = {4.5, 1.8, 1.5};
    car.parked = true;
    car.states.resize(1);
    car.states[0].center_m = {building.center_m.x(), building.center_m.y(), 0.75};
    log.actors.push_back(car);
  }
  for (const TownBuilding& building : town_of()) {
    for (const TownBuilding& car : before) EXPECT_GT(DistanceTo(building, car.center_m), 0.9);
  }
}

TEST(Town, NowhereIsAnError) {
  TownOptions options;
  EXPECT_THAT(ErrorOf([&] { BuildTown(Crossroads(), options); }), HasSubstr("at least one point"));
  options.around = {{std::nan(""), 0}};
  EXPECT_THAT(ErrorOf([&] { BuildTown(Crossroads(), options); }), HasSubstr("not finite"));
}

}  // namespace
}  // namespace athanor
