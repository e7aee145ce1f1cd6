#include "benchmarks/simulation/made_up_worlds.h"

#include <cmath>
#include <utility>

#include "athanor/base/random.h"
#include "athanor/simulation/mesh_builder.h"

namespace athanor {
namespace {

using Eigen::Vector2f;
using Eigen::Vector3d;
using Eigen::Vector3f;
using Pattern = SurfaceMaterial::Pattern;

SurfaceMaterial Paint(const Vector3f& color, float roughness = 0.8f, float mirror = 0) {
  SurfaceMaterial material;
  material.color = color;
  material.roughness = roughness;
  material.mirror = mirror;
  return material;
}

SurfaceMaterial Patterned(Pattern pattern, const Vector3f& color, const Vector3f& second,
                          float scale, float roughness = 0.8f, float mirror = 0) {
  SurfaceMaterial material = Paint(color, roughness, mirror);
  material.pattern = pattern;
  material.second_color = second;
  material.pattern_scale = scale;
  return material;
}

Rigid3 LookAt(const Vector3d& eye, const Vector3d& target) {
  const Vector3d z = (target - eye).normalized();
  const Vector3d x = z.cross(Vector3d::UnitZ()).normalized();
  Eigen::Matrix3d world_from_camera;
  world_from_camera << x, z.cross(x), z;
  return Rigid3{Eigen::Quaterniond(world_from_camera), eye}.Inverse();
}

Camera Pinhole(int width, int height, double focal) {
  Camera camera;
  camera.width_px = width;
  camera.height_px = height;
  camera.parameters = {focal, focal, 0.5 * width, 0.5 * height};
  return camera;
}

void Place(MadeUpWorld* made, std::vector<MeshInstance>* instances, int mesh, const Vector3d& at,
           double yaw_rad = 0, const Vector3f& paint = Vector3f::Constant(-1)) {
  MeshInstance instance;
  instance.mesh = mesh;
  instance.object = static_cast<int32_t>(instances->size());
  instance.paint = paint;
  instance.world_from_mesh = {Eigen::Quaterniond(Eigen::AngleAxisd(yaw_rad, Vector3d::UnitZ())),
                              at};
  made->triangles += static_cast<int64_t>(made->world.mesh(mesh).triangles.size());
  instances->push_back(instance);
}

Mesh Chair() {
  MeshBuilder b;
  b.UseMaterial(Patterned(Pattern::kWood, {0.45f, 0.26f, 0.12f}, {0.30f, 0.15f, 0.06f}, 1, 0.5f));
  b.BeginPart("leg");
  for (const float x : {-0.2f, 0.2f}) {
    for (const float y : {-0.2f, 0.2f}) {
      b.AddCone({x * 1.1f, y * 1.1f, 0}, {x, y, 0.45f}, 0.015f, 0.022f, 16);
    }
  }
  b.BeginPart("seat");
  b.AddBox({0, 0, 0.46f}, {0.46f, 0.46f, 0.03f}, 0.01f);
  b.UseMaterial(Patterned(Pattern::kFabric, {0.1f, 0.22f, 0.4f}, {0.2f, 0.35f, 0.55f}, 2, 0.9f));
  b.AddBox({0, 0, 0.495f}, {0.42f, 0.42f, 0.05f}, 0.02f);
  b.UseMaterial(0);
  b.BeginPart("back");
  for (int i = -2; i <= 2; ++i) {
    const float y = 0.09f * static_cast<float>(i);
    b.AddTube({{-0.2f, y, 0.46f}, {-0.24f, y, 0.7f}, {-0.27f, y, 0.92f}}, {0.012f}, 10);
  }
  b.AddBox({-0.275f, 0, 0.95f}, {0.03f, 0.48f, 0.1f}, 0.012f);
  return std::move(b).Build();
}

Mesh Mug() {
  MeshBuilder b;
  b.UseMaterial(Paint({0.75f, 0.06f, 0.05f}, 0.15f, 0.05f));
  b.BeginPart("cup");
  b.AddLathe({0, 0, 0},
             {{0, 0},
              {0.036f, 0},
              {0.04f, 0.004f},
              {0.042f, 0.095f},
              {0.038f, 0.095f},
              {0.036f, 0.01f},
              {0, 0.008f}},
             48);
  b.BeginPart("handle");
  std::vector<Vector3f> curve;
  for (int i = 0; i <= 12; ++i) {
    const float angle = -1.4f + 2.8f * static_cast<float>(i) / 12;
    curve.push_back({0.038f + 0.028f * std::cos(angle), 0, 0.05f + 0.03f * std::sin(angle)});
  }
  b.AddTube(curve, {0.005f}, 12);
  return std::move(b).Build();
}

Mesh Table() {
  MeshBuilder b;
  b.UseMaterial(
      Patterned(Pattern::kWood, {0.50f, 0.32f, 0.16f}, {0.33f, 0.18f, 0.08f}, 1, 0.35f, 0.03f));
  b.BeginPart("top");
  b.AddBox({0, 0, 0.73f}, {1.6f, 0.9f, 0.04f}, 0.01f);
  b.BeginPart("leg");
  for (const float x : {-0.72f, 0.72f}) {
    for (const float y : {-0.38f, 0.38f}) b.AddBox({x, y, 0.355f}, {0.07f, 0.07f, 0.71f}, 0.008f);
  }
  return std::move(b).Build();
}

Mesh Walls() {
  MeshBuilder b;
  b.UseMaterial(
      Patterned(Pattern::kWood, {0.42f, 0.27f, 0.15f}, {0.30f, 0.18f, 0.09f}, 1, 0.45f, 0.04f));
  b.BeginPart("floor");
  for (int i = 0; i < 30; ++i) {
    for (int k = 0; k < 6; ++k) {
      const float x = -3 + static_cast<float>(k) + 0.5f * static_cast<float>(i % 2);
      const float y = -2.5f + (static_cast<float>(i) + 0.5f) * 5 / 30;
      b.AddBox({x + 0.25f, y, -0.01f}, {0.997f, 0.1645f, 0.02f}, 0.001f);
    }
  }
  b.UseMaterial(Patterned(Pattern::kNoise, {0.74f, 0.70f, 0.60f}, {0.70f, 0.66f, 0.57f}, 3, 0.95f));
  b.BeginPart("wall");
  b.AddBox({3.3f, 0, 1.3f}, {0.2f, 5.4f, 2.6f});
  b.AddBox({-3.1f, 0, 1.3f}, {0.2f, 5.4f, 2.6f});
  b.AddBox({0, -2.6f, 1.3f}, {6.6f, 0.2f, 2.6f});
  // The wall with the window.
  b.AddBox({0, 2.6f, 0.45f}, {6.6f, 0.2f, 0.9f});
  b.AddBox({0, 2.6f, 2.4f}, {6.6f, 0.2f, 0.4f});
  b.AddBox({-2.1f, 2.6f, 1.55f}, {2.4f, 0.2f, 1.3f});
  b.AddBox({2.3f, 2.6f, 1.55f}, {2.0f, 0.2f, 1.3f});
  b.UseMaterial(Paint({0.85f, 0.85f, 0.83f}, 0.95f));
  b.BeginPart("ceiling");
  b.AddBox({0, 0, 2.65f}, {6.6f, 5.4f, 0.1f});
  b.UseMaterial(Paint({0.8f, 0.8f, 0.78f}, 0.4f));
  b.BeginPart("frame");
  b.AddBox({0.2f, 2.6f, 1.55f}, {0.05f, 0.08f, 1.3f}, 0.01f);
  b.AddBox({0.2f, 2.6f, 1.55f}, {2.2f, 0.08f, 0.05f}, 0.01f);
  b.BeginPart("skirting");
  b.AddBox({0, -2.49f, 0.05f}, {6.4f, 0.02f, 0.1f}, 0.004f);
  b.AddBox({3.19f, 0, 0.05f}, {0.02f, 5.2f, 0.1f}, 0.004f);
  return std::move(b).Build();
}

Mesh Ball(Random* random, Pattern pattern) {
  MeshBuilder b;
  b.UseMaterial(Patterned(
      pattern,
      {random->Uniform(0.1f, 0.8f), random->Uniform(0.1f, 0.8f), random->Uniform(0.1f, 0.8f)},
      {random->Uniform(0.1f, 0.8f), random->Uniform(0.1f, 0.8f), random->Uniform(0.1f, 0.8f)}, 12,
      0.3f, 0.05f));
  b.AddSphere({0, 0, 0.11f}, 0.11f, 64);
  return std::move(b).Build();
}

Mesh Shelf(Random* random) {
  MeshBuilder b;
  b.UseMaterial(Patterned(Pattern::kWood, {0.62f, 0.52f, 0.38f}, {0.50f, 0.40f, 0.28f}, 1, 0.6f));
  b.BeginPart("board");
  for (int i = 0; i < 5; ++i) {
    b.AddBox({0, 0, 0.02f + 0.42f * static_cast<float>(i)}, {0.3f, 1.2f, 0.025f}, 0.003f);
  }
  for (const float y : {-0.6f, 0.6f}) b.AddBox({0, y, 0.86f}, {0.3f, 0.025f, 1.72f}, 0.003f);
  b.AddBox({-0.145f, 0, 0.86f}, {0.01f, 1.2f, 1.72f});
  b.BeginPart("book");
  for (int i = 0; i < 4; ++i) {
    float y = -0.57f;
    while (y < 0.5f) {
      const float thick = random->Uniform(0.012f, 0.05f), high = random->Uniform(0.2f, 0.36f);
      b.UseMaterial(Paint({random->Uniform(0.05f, 0.6f), random->Uniform(0.05f, 0.45f),
                           random->Uniform(0.05f, 0.4f)},
                          0.6f));
      if (random->Uniform() < 0.85f) {
        b.AddBox({0, y + 0.5f * thick, 0.035f + 0.42f * static_cast<float>(i) + 0.5f * high},
                 {0.2f, thick * 0.96f, high}, 0.002f);
      }
      y += thick;
    }
  }
  return std::move(b).Build();
}

Mesh FloorLamp() {
  MeshBuilder b;
  b.UseMaterial(Paint({0.1f, 0.1f, 0.1f}, 0.3f, 0.1f));
  b.BeginPart("stand");
  b.AddCylinder({0, 0, 0}, {0, 0, 0.02f}, 0.14f, 40);
  b.AddCylinder({0, 0, 0}, {0, 0, 1.5f}, 0.012f, 16);
  SurfaceMaterial shade = Paint({0.95f, 0.85f, 0.65f}, 0.9f);
  shade.emission = 0.9f;
  b.UseMaterial(shade);
  b.BeginPart("shade");
  b.AddCone({0, 0, 1.4f}, {0, 0, 1.7f}, 0.2f, 0.12f, 40, false);
  return std::move(b).Build();
}

Mesh Car(Random* random) {
  MeshBuilder b;
  b.UseMaterial(Paint({0.5f, 0.05f, 0.05f}, 0.25f, 0.06f));
  b.BeginPart("body");
  const float length = random->Uniform(4.0f, 4.8f), width = 0.9f;
  const float profile[][4] = {// share of the length, bottom, top, half width
                              {-0.5f, 0.35f, 0.70f, 0.80f}, {-0.47f, 0.25f, 0.85f, 0.95f},
                              {-0.40f, 0.22f, 0.92f, 1},    {-0.2f, 0.2f, 0.95f, 1},
                              {0.15f, 0.2f, 0.95f, 1},      {0.35f, 0.2f, 0.85f, 1},
                              {0.46f, 0.25f, 0.72f, 0.93f}, {0.5f, 0.35f, 0.6f, 0.8f}};
  const auto ring = [&](float x, float low, float high, float half) {
    std::vector<Vector3f> points;
    for (int i = 0; i < 24; ++i) {
      const float a = 6.2831853f * static_cast<float>(i) / 24;
      const float c = std::cos(a), s = std::sin(a);
      points.push_back({x, half * std::copysign(std::pow(std::abs(c), 0.4f), c),
                        0.5f * (low + high) +
                            0.5f * (high - low) * std::copysign(std::pow(std::abs(s), 0.5f), s)});
    }
    return points;
  };
  std::vector<std::vector<Vector3f>> rings;
  for (const auto& p : profile) rings.push_back(ring(p[0] * length, p[1], p[2], p[3] * width));
  b.AddLoft(rings, true, true, 0.8f);
  b.UseMaterial(Paint({0.02f, 0.025f, 0.03f}, 0.05f, 0.25f));
  b.BeginPart("window");
  b.AddLoft({ring(-0.42f * length, 0.85f, 0.97f, 0.75f), ring(-0.3f * length, 0.85f, 1.38f, 0.72f),
             ring(0.02f * length, 0.85f, 1.44f, 0.72f), ring(0.24f * length, 0.85f, 0.95f, 0.75f)});
  b.UseMaterial(0);
  b.BeginPart("roof");
  b.AddLoft(
      {ring(-0.31f * length, 1.36f, 1.42f, 0.68f), ring(0.03f * length, 1.40f, 1.47f, 0.68f)});
  b.UseMaterial(Paint({0.02f, 0.02f, 0.02f}, 0.9f));
  b.BeginPart("wheel");
  for (const float x : {-0.31f, 0.31f}) {
    for (const float side : {-1.f, 1.f}) {
      b.AddTorus({x * length, side * 0.82f, 0.32f}, {0, 1, 0}, 0.24f, 0.09f, 32, 12);
      b.AddCylinder({x * length, side * 0.78f, 0.32f}, {x * length, side * 0.88f, 0.32f}, 0.18f,
                    24);
    }
  }
  SurfaceMaterial lamp = Paint({1, 0.1f, 0.05f}, 0.3f);
  lamp.emission = 0.4f;
  b.UseMaterial(lamp);
  b.BeginPart("tail light");
  for (const float side : {-1.f, 1.f}) {
    b.AddBox({-0.485f * length, side * 0.66f, 0.68f}, {0.06f, 0.3f, 0.1f}, 0.02f);
  }
  return std::move(b).Build();
}

Mesh Tree(Random* random) {
  MeshBuilder b;
  b.UseMaterial(Patterned(Pattern::kNoise, {0.16f, 0.11f, 0.07f}, {0.08f, 0.05f, 0.03f}, 4));
  b.BeginPart("trunk");
  b.AddCone({0, 0, 0}, {0, 0, 3}, 0.16f, 0.09f, 12);
  b.UseMaterial(Patterned(Pattern::kLeaves, {0.06f, 0.15f, 0.03f}, {0.15f, 0.27f, 0.06f}, 2));
  b.BeginPart("crown");
  for (int i = 0; i < 1500; ++i) {
    const Vector3f away = Vector3f(random->Normal(), random->Normal(), random->Normal());
    const Vector3f at =
        Vector3f(0, 0, 4.2f) + 1.5f * away.normalized() * std::pow(random->Uniform(), 0.4f);
    const Vector3f u = Vector3f(random->Normal(), random->Normal(), random->Normal()) * 0.10f;
    const Vector3f v = Vector3f(random->Normal(), random->Normal(), random->Normal()) * 0.10f;
    b.AddQuad(at - u, at - v, at + u, at + v);
  }
  return std::move(b).Build();
}

Mesh StreetLamp() {
  MeshBuilder b;
  b.UseMaterial(Paint({0.2f, 0.22f, 0.22f}, 0.5f));
  b.BeginPart("pole");
  b.AddTube({{0, 0, 0}, {0, 0, 5.5f}, {0, 0.4f, 6.2f}, {0, 1.4f, 6.4f}},
            {0.09f, 0.06f, 0.05f, 0.05f}, 12);
  b.AddBox({0, 1.6f, 6.4f}, {0.25f, 0.7f, 0.12f}, 0.03f);
  return std::move(b).Build();
}

Mesh StreetGround() {
  MeshBuilder b;
  b.UseMaterial(Patterned(Pattern::kAsphalt, {0.08f, 0.08f, 0.085f}, {0.13f, 0.13f, 0.125f}, 1));
  b.BeginPart("road");
  b.AddPlane({0, 0, 0}, 400, 8, 4);
  b.AddPlane({0, 0, -0.01f}, 8, 400, 4);
  b.UseMaterial(Paint({0.75f, 0.75f, 0.72f}, 0.7f));
  b.BeginPart("marking");
  for (int i = -40; i < 40; ++i) {
    b.AddBox({5.0f * static_cast<float>(i), 0, 0.003f}, {2, 0.13f, 0.004f});
  }
  b.UseMaterial(Patterned(Pattern::kTiles, {0.34f, 0.33f, 0.31f}, {0.2f, 0.2f, 0.19f}, 1.6f));
  b.BeginPart("sidewalk");
  for (const float x : {-102.f, 102.f}) {
    for (const float y : {-5.5f, 5.5f}) b.AddBox({x, y, 0.06f}, {196, 3, 0.14f}, 0.02f);
  }
  b.UseMaterial(Patterned(Pattern::kGrass, {0.07f, 0.13f, 0.03f}, {0.13f, 0.19f, 0.06f}, 1));
  b.BeginPart("grass");
  b.AddPlane({0, 0, -0.05f}, 600, 600, 20);
  return std::move(b).Build();
}

Mesh House(Random* random) {
  MeshBuilder b;
  const float width = random->Uniform(9, 14), depth = random->Uniform(8, 12);
  const float height = 3 * static_cast<float>(2 + random->Below(4));
  const Vector3f wall(random->Uniform(0.35f, 0.65f), random->Uniform(0.3f, 0.5f),
                      random->Uniform(0.25f, 0.42f));
  const bool bricks = random->Uniform() < 0.4f;
  b.UseMaterial(Patterned(Pattern::kWindows, wall, {0.06f, 0.08f, 0.1f}, 1 / 3.0f));
  b.BeginPart("facade");
  b.AddExtrusion({{-width / 2, -depth / 2},
                  {width / 2, -depth / 2},
                  {width / 2, depth / 2},
                  {-width / 2, depth / 2}},
                 0, height);
  if (bricks) {
    b.UseMaterial(Patterned(Pattern::kBricks, {0.38f, 0.15f, 0.1f}, {0.4f, 0.38f, 0.35f}, 4));
    b.BeginPart("base");
    b.AddExtrusion({{-width / 2 - 0.06f, -depth / 2 - 0.06f},
                    {width / 2 + 0.06f, -depth / 2 - 0.06f},
                    {width / 2 + 0.06f, depth / 2 + 0.06f},
                    {-width / 2 - 0.06f, depth / 2 + 0.06f}},
                   0, 0.9f);
  }
  b.UseMaterial(Patterned(Pattern::kBricks, {0.30f, 0.12f, 0.08f}, {0.18f, 0.08f, 0.06f}, 3));
  b.BeginPart("roof");
  b.AddQuad({-width / 2 - 0.3f, -depth / 2 - 0.3f, height},
            {width / 2 + 0.3f, -depth / 2 - 0.3f, height}, {width / 2 + 0.3f, 0, height + 2.5f},
            {-width / 2 - 0.3f, 0, height + 2.5f});
  b.AddQuad({width / 2 + 0.3f, depth / 2 + 0.3f, height},
            {-width / 2 - 0.3f, depth / 2 + 0.3f, height}, {-width / 2 - 0.3f, 0, height + 2.5f},
            {width / 2 + 0.3f, 0, height + 2.5f});
  for (const float x : {-width / 2, width / 2}) {
    const float o = x > 0 ? 1.f : -1.f;
    b.AddTriangle({x, -o * depth / 2, height}, {x, o * depth / 2, height}, {x, 0, height + 2.5f});
  }
  return std::move(b).Build();
}

}  // namespace

MadeUpWorld MakeRoom() {
  MadeUpWorld made;
  Random random(11);
  std::vector<MeshInstance> instances;
  RayWorld& world = made.world;
  Place(&made, &instances, world.AddMesh(Walls()), {0, 0, 0});
  Place(&made, &instances, world.AddMesh(Table()), {0.3, 0.2, 0}, 0.1);
  const int chair = world.AddMesh(Chair());
  Place(&made, &instances, chair, {0.5, -0.75, 0}, 1.5);
  Place(&made, &instances, chair, {-0.2, 1.05, 0}, -1.7);
  Place(&made, &instances, chair, {-1.2, 0.3, 0}, 0.3);
  const int mug = world.AddMesh(Mug());
  Place(&made, &instances, mug, {0.1, 0, 0.75}, 0.5);
  Place(&made, &instances, mug, {0.55, 0.35, 0.75}, 2.5, {0.1f, 0.3f, 0.6f});
  Place(&made, &instances, world.AddMesh(Shelf(&random)), {3.0, -0.6, 0}, 3.14159);
  Place(&made, &instances, world.AddMesh(FloorLamp()), {2.6, 1.9, 0});
  const Pattern patterns[] = {Pattern::kChecks, Pattern::kStripes, Pattern::kMarble,
                              Pattern::kNoise,  Pattern::kFabric,  Pattern::kTiles};
  for (int i = 0; i < 6; ++i) {
    Place(&made, &instances, world.AddMesh(Ball(&random, patterns[i])),
          {1.6 + 0.3 * i - (i > 2 ? 1.2 : 0), -1.9 + 0.5 * (i % 3), 0});
  }
  for (int i = 0; i < 40; ++i) {
    Place(&made, &instances, mug, {random.Uniform(-2.8f, 2.8f), random.Uniform(-2.3f, 2.3f), 0},
          random.Uniform(-3, 3), {random.Uniform(), random.Uniform(), random.Uniform()});
  }
  world.SetInstances(instances);
  Lighting& light = made.lighting;
  light = IndoorLighting();
  light.to_sun = Vector3f(0.25f, 0.75f, 0.6f).normalized();
  light.sun_color = {1.6f, 1.5f, 1.25f};
  Lamp lamp;
  lamp.position_m = {0.3f, 0.2f, 2.3f};
  lamp.color = {1, 0.9f, 0.75f};
  lamp.strength = 1.6f;
  lamp.radius_m = 0.12f;
  light.lamps.push_back(lamp);
  lamp.position_m = {2.6f, 1.9f, 1.55f};
  lamp.color = {1, 0.75f, 0.45f};
  lamp.strength = 0.7f;
  lamp.clearance_m = 0.25f;
  light.lamps.push_back(lamp);
  made.cameras = {Pinhole(640, 480, 420), Pinhole(640, 480, 420)};
  made.camera_from_world = {LookAt({-2.6, -2.1, 1.6}, {0.8, 0.1, 0.7}),
                            LookAt({-0.6, -1.0, 1.35}, {0.4, 0.3, 0.75})};
  return made;
}

MadeUpWorld MakeStreet() {
  MadeUpWorld made;
  Random random(7);
  std::vector<MeshInstance> instances;
  RayWorld& world = made.world;
  Place(&made, &instances, world.AddMesh(StreetGround()), {0, 0, 0});
  std::vector<int> houses, cars, trees;
  for (int i = 0; i < 8; ++i) houses.push_back(world.AddMesh(House(&random)));
  for (int i = 0; i < 6; ++i) cars.push_back(world.AddMesh(Car(&random)));
  for (int i = 0; i < 5; ++i) trees.push_back(world.AddMesh(Tree(&random)));
  for (int i = -12; i <= 12; ++i) {
    if (i == 0) continue;
    for (const double side : {-1.0, 1.0}) {
      Place(&made, &instances, houses[random.Below(8)], {14.0 * i, side * 15, 0},
            side > 0 ? 0 : 3.14159265);
    }
  }
  const int street_lamp = world.AddMesh(StreetLamp());
  for (int i = -8; i <= 8; ++i) {
    for (const double side : {-1.0, 1.0}) {
      Place(&made, &instances, street_lamp, {22.0 * i + 7, side * 4.4, 0.1},
            side > 0 ? 3.14159265 : 0);
      Lamp lamp;
      lamp.position_m = {22.0f * static_cast<float>(i) + 7, static_cast<float>(side) * 2.8f, 6.2f};
      lamp.color = {1, 0.75f, 0.45f};
      lamp.strength = 9;
      lamp.range_m = 22;
      lamp.radius_m = 0.15f;
      lamp.inner_angle_rad = 0.9f;
      lamp.outer_angle_rad = 1.35f;
      lamp.clearance_m = 0.3f;
      made.lighting.lamps.push_back(lamp);
      Place(&made, &instances, trees[random.Below(5)],
            {22.0 * i + random.Uniform(-3, 3), side * 6.3, 0.1}, random.Uniform(-3, 3));
    }
  }
  for (int i = 0; i < 36; ++i) {
    const double side = i % 2 == 0 ? 1 : -1;
    const bool parked = i % 3 == 0;
    if (!parked) made.driving.push_back(static_cast<int>(instances.size()));
    Place(&made, &instances, cars[random.Below(6)],
          {(i - 18) * 7.0 + random.Uniform(-1, 1) + (std::abs(i - 18) < 1 ? 8 : 0),
           side * (parked ? 3.2 : 1.9), 0},
          side < 0 ? 0 : 3.14159265,
          {random.Uniform(0.02f, 0.7f), random.Uniform(0.02f, 0.5f), random.Uniform(0.02f, 0.6f)});
  }
  world.SetInstances(instances);
  std::vector<Lamp> lamps = std::move(made.lighting.lamps);
  made.lighting = DayLighting(0.9f, 0.75f);
  made.lighting.lamps = std::move(lamps);  // used at night only: see the benchmark
  const double yaws_deg[6] = {0, 55, -55, 180, 110, -110};
  for (int i = 0; i < 6; ++i) {
    const double yaw = yaws_deg[i] * 3.14159265 / 180;
    made.cameras.push_back(Pinhole(704, 256, i == 3 ? 355 : 557));
    made.camera_from_world.push_back(LookAt({0.8 * std::cos(yaw), -1.9 + 0.8 * std::sin(yaw), 1.55},
                                            {10 * std::cos(yaw), -1.9 + 10 * std::sin(yaw), 1.5}));
  }
  return made;
}

}  // namespace athanor
