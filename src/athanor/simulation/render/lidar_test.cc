#include "athanor/simulation/render/lidar.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <set>

#include "athanor/base/parallel.h"
#include "athanor/base/test_util.h"
#include "athanor/simulation/mesh_builder.h"

namespace athanor {
namespace {

using Eigen::Vector3d;
using Eigen::Vector3f;
using ::testing::HasSubstr;

constexpr double kHeight = 1.84;

int AddPlane(RayWorld* world, float reflectance = 0.3f) {
  MeshBuilder builder;
  SurfaceMaterial material;
  material.lidar_reflectance = reflectance;
  builder.UseMaterial(material);
  builder.AddPlane({0, 0, 0}, 1000, 1000);
  return world->AddMesh(std::move(builder).Build());
}

int AddBox(RayWorld* world, const Vector3f& size, const SurfaceMaterial& material = {}) {
  MeshBuilder builder;
  builder.UseMaterial(material);
  builder.AddBox({0, 0, 0}, size);
  return world->AddMesh(std::move(builder).Build());
}

MeshInstance Instance(int mesh, int object, const Vector3d& at = Vector3d::Zero()) {
  MeshInstance instance;
  instance.mesh = mesh;
  instance.object = object;
  instance.world_from_mesh.translation = at;
  return instance;
}

LidarModel Exact() {
  LidarModel model = NuScenesLidar();
  model.noise = false;
  return model;
}

LidarMotion Still() {
  LidarMotion motion;
  motion.world_from_sensor = [](double) {
    return Rigid3{Eigen::Quaterniond::Identity(), {0, 0, kHeight}};
  };
  return motion;
}

TEST(Lidar, RangesOnAPlaneAreExact) {
  RayWorld world;
  world.SetInstances({Instance(AddPlane(&world), 5)});
  const LidarModel model = Exact();
  const SimulatedSweep result = SimulateLidar(&world, {}, model, Still(), 1);
  int64_t expected = 0;
  for (const float elevation : model.elevations_rad) {
    if (elevation < 0 && kHeight / std::sin(-elevation) < model.max_range_m) {
      expected += model.azimuth_steps;
    }
  }
  ASSERT_EQ(result.sweep.size(), expected);
  for (int64_t i = 0; i < result.sweep.size(); ++i) {
    const Vector3f& point = result.sweep.points[i];
    const float elevation = model.elevations_rad[result.sweep.ring[i]];
    const double range = kHeight / std::sin(-elevation);
    ASSERT_NEAR(point.z(), -kHeight, 1e-3);
    ASSERT_NEAR(point.norm(), range, 1e-4 * range);
    ASSERT_EQ(result.object[i], 5);
    const double cosine = kHeight / range;
    ASSERT_NEAR(result.sweep.intensity[i], 0.3 * cosine / (1 + range * range / 2500), 1e-4);
    ASSERT_LT(result.sweep.time_s[i], 0);
    ASSERT_GT(result.sweep.time_s[i], -0.05);
  }
}

TEST(Lidar, TurnsClockwiseFromBehind) {
  RayWorld world;
  world.SetInstances({Instance(AddPlane(&world), 0)});
  const SimulatedSweep result = SimulateLidar(&world, {}, Exact(), Still(), 1);
  // Behind (-y of nuScenes' frame) first, then the left (-x).
  EXPECT_LT(result.sweep.points.front().y(), 0);
  const Vector3f quarter = result.sweep.points[result.sweep.size() / 4];
  EXPECT_LT(quarter.x(), 0);
  EXPECT_LT(std::abs(quarter.y()), 0.05f * std::abs(quarter.x()));
}

TEST(Lidar, MotionOfTheSensorIsCompensated) {
  RayWorld world;
  SurfaceMaterial material;
  world.SetInstances({Instance(AddBox(&world, {1, 100, 20}, material), 2, {10.5, 0, 0})});
  LidarMotion motion;
  motion.world_from_sensor = [](double time_s) {
    return Rigid3{Eigen::Quaterniond(Eigen::AngleAxisd(0.5 * time_s, Vector3d::UnitZ())),
                  {20 * time_s, 3 * time_s, 0}};
  };
  const SimulatedSweep result = SimulateLidar(&world, {}, Exact(), motion, 1);
  ASSERT_GT(result.sweep.size(), 1000);
  // However fast it moves, the wall stands 10 m ahead of the last pose.
  for (const Vector3f& point : result.sweep.points) ASSERT_NEAR(point.x(), 10, 2e-3);
}

TEST(Lidar, MovingObjectsAreSeenWhereTheyWereThen) {
  RayWorld world;
  const int box = AddBox(&world, {1, 100, 20});
  LidarMotion motion = Still();
  motion.instances = [&](double time_s) {
    return std::vector<MeshInstance>{Instance(box, 2, {10.5 + 20 * time_s, 0, 0})};
  };
  motion.instance_steps = 25;
  const SimulatedSweep result = SimulateLidar(&world, {}, Exact(), motion, 1);
  ASSERT_GT(result.sweep.size(), 1000);
  for (int64_t i = 0; i < result.sweep.size(); ++i) {
    ASSERT_NEAR(result.sweep.points[i].x(), 10 + 20 * result.sweep.time_s[i],
                20 * 0.05 / 25 + 1e-3);
  }
  EXPECT_NEAR(world.Cast({0, 0, 0}, {1, 0, 0}, 50).distance, 10, 1e-4);  // left as at the end
}

TEST(Lidar, NoiseIsTheSameForTheSameSeedAndAnyThreads) {
  RayWorld world;
  world.SetInstances({Instance(AddPlane(&world), 0)});
  std::vector<SimulatedSweep> results;
  for (const int threads : {1, 4}) {
    SetNumThreads(threads);
    results.push_back(SimulateLidar(&world, {}, NuScenesLidar(), Still(), 7));
  }
  SetNumThreads(0);
  EXPECT_EQ(results[0].sweep.points, results[1].sweep.points);
  EXPECT_EQ(results[0].sweep.intensity, results[1].sweep.intensity);
  EXPECT_NE(SimulateLidar(&world, {}, NuScenesLidar(), Still(), 8).sweep.points,
            results[0].sweep.points);
  // Noise has the deviation that was asked for.
  double square = 0;
  int64_t count = 0;
  LidarModel model = NuScenesLidar();
  model.direction_noise_rad = 0;
  const SimulatedSweep noisy = SimulateLidar(&world, {}, model, Still(), 7);
  for (int64_t i = 0; i < noisy.sweep.size(); ++i) {
    const float elevation = model.elevations_rad[noisy.sweep.ring[i]];
    const double error = noisy.sweep.points[i].norm() - kHeight / std::sin(-elevation);
    square += error * error;
    ++count;
  }
  EXPECT_NEAR(std::sqrt(square / static_cast<double>(count)), model.range_noise_m, 0.001);
}

TEST(Lidar, DarkAndFarSurfacesAreLostAndRetroreflectorsAreNot) {
  const auto returns = [](float reflectance, float retroreflection, double distance) {
    RayWorld world;
    SurfaceMaterial material;
    material.lidar_reflectance = reflectance;
    material.retroreflection = retroreflection;
    const int box = AddBox(&world, {1, 4, 4}, material);
    world.SetInstances({Instance(box, 0, {distance, 0, kHeight})});
    return SimulateLidar(&world, {}, NuScenesLidar(), Still(), 1).sweep.size();
  };
  EXPECT_GT(returns(0.3f, 0, 50), 10);
  EXPECT_EQ(returns(0.002f, 0, 50), 0);
  EXPECT_GT(returns(0.002f, 0.8f, 50), 10);
}

TEST(Lidar, BeamsPassThroughGlass) {
  RayWorld world;
  SurfaceMaterial glass;
  glass.mirror = 0.25f;
  glass.lidar_reflectance = 0.02f;
  const int pane = AddBox(&world, {0.01f, 4, 4}, glass);
  const int wall = AddBox(&world, {1, 40, 40});
  world.SetInstances({Instance(pane, 1, {5, 0, kHeight}), Instance(wall, 2, {9, 0, kHeight})});
  const SimulatedSweep result = SimulateLidar(&world, {}, Exact(), Still(), 1);
  EXPECT_EQ(std::count(result.object.begin(), result.object.end(), 1), 0);
  EXPECT_GT(std::count(result.object.begin(), result.object.end(), 2), 100);
}

TEST(Lidar, FogShortensSightAndSendsBackItself) {
  RayWorld world;
  world.SetInstances({Instance(AddPlane(&world), 0)});
  Lighting fog;
  AddFog(&fog, 40);
  const SimulatedSweep clear = SimulateLidar(&world, {}, NuScenesLidar(), Still(), 1);
  const SimulatedSweep foggy = SimulateLidar(&world, fog, NuScenesLidar(), Still(), 1);
  const auto farthest = [](const SimulatedSweep& sweep) {
    float range = 0;
    for (size_t i = 0; i < sweep.object.size(); ++i) {
      if (sweep.object[i] >= 0) range = std::max(range, sweep.sweep.points[i].norm());
    }
    return range;
  };
  EXPECT_LT(farthest(foggy), 0.7f * farthest(clear));
  EXPECT_EQ(std::count(clear.object.begin(), clear.object.end(), -1), 0);
  EXPECT_GT(std::count(foggy.object.begin(), foggy.object.end(), -1), 1000);
}

TEST(Lidar, EmptyWorldAndBadInput) {
  RayWorld world;
  EXPECT_EQ(SimulateLidar(&world, {}, NuScenesLidar(), Still(), 1).sweep.size(), 0);
  EXPECT_THAT(ErrorOf([&] { SimulateLidar(&world, {}, LidarModel{}, Still(), 1); }),
              HasSubstr("beams, found 0"));
  EXPECT_THAT(ErrorOf([&] { SimulateLidar(&world, {}, NuScenesLidar(), {}, 1); }),
              HasSubstr("no pose"));
  LidarMotion motion;
  motion.world_from_sensor = [](double) {
    return Rigid3{Eigen::Quaterniond::Identity(), {std::nan(""), 0, 0}};
  };
  EXPECT_THAT(ErrorOf([&] { SimulateLidar(&world, {}, NuScenesLidar(), motion, 1); }),
              HasSubstr("not finite"));
}

}  // namespace
}  // namespace athanor
