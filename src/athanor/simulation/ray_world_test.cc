#include "athanor/simulation/ray_world.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>

#include "athanor/base/random.h"
#include "athanor/base/test_util.h"
#include "athanor/simulation/mesh_builder.h"

namespace athanor {
namespace {

using Eigen::Vector3f;
using ::testing::HasSubstr;

Mesh BoxMesh(const Vector3f& size) {
  MeshBuilder builder;
  builder.BeginPart("side");
  builder.AddBox({0, 0, 0}, size);
  return std::move(builder).Build();
}

MeshInstance At(int mesh, const Eigen::Vector3d& translation, int object, double yaw_rad = 0) {
  MeshInstance instance;
  instance.mesh = mesh;
  instance.object = object;
  instance.world_from_mesh.translation = translation;
  instance.world_from_mesh.rotation =
      Eigen::Quaterniond(Eigen::AngleAxisd(yaw_rad, Eigen::Vector3d::UnitZ()));
  return instance;
}

TEST(RayWorld, PatternsLieOnMeshesWithoutCoordinatesOfTheirOwn) {
  Mesh mesh = BoxMesh({2, 2, 2});
  mesh.uv.clear();
  RayWorld world;
  world.AddMesh(std::move(mesh));
  world.SetInstances({At(0, {0, 0, 0}, 1)});
  const RayHit hit = world.Cast({-5, 0.3f, 0.6f}, {1, 0, 0}, 100);
  ASSERT_EQ(hit.instance, 0);
  // On a side across x, the coordinates are y and z.
  EXPECT_NEAR(hit.uv[0], 0.3f, 1e-5f);
  EXPECT_NEAR(hit.uv[1], 0.6f, 1e-5f);
}

TEST(RayWorld, EmptyWorldIsHitByNothing) {
  RayWorld world;
  const RayHit hit = world.Cast({0, 0, 0}, {1, 0, 0}, 100);
  EXPECT_EQ(hit.instance, -1);
  EXPECT_TRUE(std::isinf(hit.distance));
  EXPECT_FALSE(world.Occluded({0, 0, 0}, {1, 0, 0}, 100));
  const int empty = world.AddMesh(Mesh{});
  world.SetInstances({At(empty, {0, 0, 0}, 1)});
  EXPECT_EQ(world.Cast({0, 0, 0}, {1, 0, 0}, 100).instance, -1);
}

TEST(RayWorld, HitsBoxesWhereTheyAre) {
  RayWorld world;
  const int box = world.AddMesh(BoxMesh({2, 2, 2}));
  world.SetInstances({At(box, {10, 0, 0}, 7), At(box, {0, 20, 0}, 9, 0.25 * M_PI)});
  const RayHit hit = world.Cast({0, 0.5f, 0.25f}, {3, 0, 0}, 100);
  EXPECT_NEAR(hit.distance, 9, 1e-5);
  EXPECT_EQ(hit.object, 7);
  EXPECT_EQ(hit.instance, 0);
  EXPECT_TRUE(hit.normal.isApprox(Vector3f(-1, 0, 0), 1e-5f));
  EXPECT_TRUE(hit.position.isApprox(Vector3f(-1, 0.5f, 0.25f), 1e-5f));
  // The turned box shows its edge.
  const RayHit edge = world.Cast({0.1f, 0, 0}, {0, 1, 0}, 100);
  EXPECT_NEAR(edge.distance, 20 - std::sqrt(2) + 0.1, 1e-4);
  EXPECT_EQ(edge.object, 9);
  EXPECT_NEAR(edge.normal.x(), std::sqrt(0.5), 1e-5);
  EXPECT_NEAR(edge.normal.y(), -std::sqrt(0.5), 1e-5);
  EXPECT_EQ(world.Cast({0, 0, 0}, {1, 0, 0}, 8.9f).instance, -1);
  EXPECT_TRUE(world.Occluded({0, 0, 0}, {1, 0, 0}, 9.1f));
  EXPECT_FALSE(world.Occluded({0, 0, 0}, {1, 0, 0}, 8.9f));
  // From the inside the normal still faces the ray.
  EXPECT_TRUE(world.Cast({10, 0, 0}, {1, 0, 0}, 9).normal.isApprox(Vector3f(-1, 0, 0), 1e-5f));
}

TEST(RayWorld, InstancesMoveAndChange) {
  RayWorld world;
  const int small = world.AddMesh(BoxMesh({1, 1, 1}));
  const int large = world.AddMesh(BoxMesh({4, 4, 4}));
  world.SetInstances({At(small, {5, 0, 0}, 1), At(large, {50, 0, 0}, 2)});
  EXPECT_NEAR(world.Cast({0, 0, 0}, {1, 0, 0}, 100).distance, 4.5, 1e-5);
  world.SetInstances({At(small, {5, 10, 0}, 1), At(large, {50, 0, 0}, 2)});
  EXPECT_NEAR(world.Cast({0, 0, 0}, {1, 0, 0}, 100).distance, 48, 1e-4);
  EXPECT_NEAR(world.Cast({5, 0, 0}, {0, 1, 0}, 100).distance, 9.5, 1e-5);
  world.SetInstances({At(large, {30, 0, 0}, 3)});
  const RayHit hit = world.Cast({0, 0, 0}, {1, 0, 0}, 100);
  EXPECT_NEAR(hit.distance, 28, 1e-4);
  EXPECT_EQ(hit.object, 3);
  world.SetInstances({});
  EXPECT_EQ(world.Cast({0, 0, 0}, {1, 0, 0}, 100).instance, -1);
}

// What was there before leaves no trace: instances come, go, move and change their mesh.
TEST(RayWorld, AChangedWorldEqualsANewOne) {
  Random random(11);
  const auto fill = [](RayWorld* world) {
    for (int i = 1; i <= 4; ++i) {
      world->AddMesh(BoxMesh(Vector3f(0.5f, 1, 0.3f) * static_cast<float>(i)));
    }
  };
  RayWorld changed;
  fill(&changed);
  std::vector<MeshInstance> instances;
  int hits = 0;
  for (int round = 0; round < 30; ++round) {
    instances.resize(random.Below(12));
    for (MeshInstance& instance : instances) {
      if (random.Uniform() < 0.5f) instance.mesh = static_cast<int>(random.Below(4));
      if (random.Uniform() < 0.5f) {
        instance.world_from_mesh.translation.x() = random.Uniform(-4, 4);
        instance.world_from_mesh.translation.y() = random.Uniform(-4, 4);
      }
    }
    changed.SetInstances(instances);
    RayWorld fresh;
    fill(&fresh);
    fresh.SetInstances(instances);
    for (int i = 0; i < 50; ++i) {
      const Vector3f from(-20, random.Uniform(-3, 3), random.Uniform(-2, 2));
      const Vector3f way(1, random.Uniform(-0.2f, 0.2f), random.Uniform(-0.1f, 0.1f));
      const RayHit a = changed.Cast(from, way, 100), b = fresh.Cast(from, way, 100);
      ASSERT_EQ(a.instance, b.instance) << "round " << round;
      EXPECT_EQ(a.distance, b.distance);
      hits += a.instance >= 0 ? 1 : 0;
    }
  }
  EXPECT_GT(hits, 150);
}

TEST(RayWorld, SphereHitsEqualAnalyticOnes) {
  MeshBuilder builder;
  builder.AddSphere({0, 0, 0}, 1, 400);
  RayWorld world;
  const int sphere = world.AddMesh(std::move(builder).Build());
  world.SetInstances({At(sphere, {0, 0, 5}, 0)});
  Random random(3);
  for (int i = 0; i < 500; ++i) {
    const Vector3f direction =
        Vector3f(random.Uniform(-0.15f, 0.15f), random.Uniform(-0.15f, 0.15f), 1).normalized();
    const float b = direction.z() * 5;
    const float expected = b - std::sqrt(b * b - 24);
    const RayHit hit = world.Cast({0, 0, 0}, direction, 100);
    ASSERT_NEAR(hit.distance, expected, 1e-3);
    const Vector3f normal = (expected * direction - Vector3f(0, 0, 5)).normalized();
    ASSERT_GT(hit.normal.dot(normal), 0.9999f);
  }
}

TEST(RayWorld, PacketsEqualSingleRays) {
  RayWorld world;
  const int box = world.AddMesh(BoxMesh({1, 2, 3}));
  std::vector<MeshInstance> instances;
  Random random(5);
  for (int i = 0; i < 60; ++i) {
    instances.push_back(At(box,
                           {random.Uniform(-9, 9), random.Uniform(-9, 9), random.Uniform(-9, 9)}, i,
                           random.Uniform(-3, 3)));
  }
  world.SetInstances(instances);
  for (int round = 0; round < 20; ++round) {
    RayHitPacket packet;
    Vector3f directions[16];
    const Vector3f origin(random.Uniform(-9, 9), random.Uniform(-9, 9), 12);
    for (int i = 0; i < 16; ++i) {
      directions[i] = Vector3f(random.Normal(), random.Normal(), random.Normal()).normalized();
      packet.ray.Set(i, origin.data(), directions[i].data(), 0, 30);
    }
    packet.ray.Disable(3);
    RayPacket shadow = packet.ray;
    world.Cast16(&packet);
    world.Occlude16(&shadow);
    for (int i = 0; i < 16; ++i) {
      const RayHit hit = world.Cast(origin, directions[i], 30);
      ASSERT_EQ(packet.hit.IsHit(i), i != 3 && hit.instance >= 0);
      if (i == 3) continue;
      ASSERT_EQ(shadow.far[i] < 0, hit.instance >= 0);
      if (hit.instance < 0) continue;
      const RayHit described =
          world.Describe(packet.hit.instance[i], packet.hit.triangle[i], packet.hit.u[i],
                         packet.hit.v[i], packet.ray.far[i], directions[i]);
      ASSERT_EQ(described.object, hit.object);
      ASSERT_NEAR(described.distance, hit.distance, 1e-4);
      ASSERT_TRUE(described.normal.isApprox(hit.normal, 1e-3f));
    }
  }
}

TEST(RayWorld, RefusesBadInput) {
  RayWorld world;
  Mesh mesh = BoxMesh({1, 1, 1});
  mesh.vertices[0].x() = std::nanf("");
  EXPECT_THAT(ErrorOf([&] { world.AddMesh(mesh); }), HasSubstr("mesh 0: vertex 0 is not finite"));
  const int box = world.AddMesh(BoxMesh({1, 1, 1}));
  EXPECT_THAT(ErrorOf([&] {
                world.SetInstances({At(box + 1, {0, 0, 0}, 0)});
              }),
              HasSubstr("mesh 1 of 1"));
  EXPECT_THAT(ErrorOf([&] {
                world.SetInstances({At(box, {0, 0, 0}, -2)});
              }),
              HasSubstr("object -2"));
  EXPECT_THAT(ErrorOf([&] {
                world.SetInstances({At(box, {NAN, 0, 0}, 0)});
              }),
              HasSubstr("pose is not a finite"));
  EXPECT_THAT(ErrorOf([&] { world.mesh(4); }), HasSubstr("mesh 4 of 1"));
}

}  // namespace
}  // namespace athanor
