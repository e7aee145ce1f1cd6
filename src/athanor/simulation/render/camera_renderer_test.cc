#include "athanor/simulation/render/camera_renderer.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>

#include "athanor/base/parallel.h"
#include "athanor/base/random.h"
#include "athanor/base/test_util.h"
#include "athanor/simulation/mesh_builder.h"
#include "athanor/simulation/render/sensor_effects.h"

namespace athanor {
namespace {

using Eigen::Vector3d;
using Eigen::Vector3f;
using ::testing::HasSubstr;

Camera MakeCamera(CameraModel model = CameraModel::kPinhole) {
  Camera camera;
  camera.model = model;
  camera.width_px = 64;
  camera.height_px = 48;
  switch (model) {
    case CameraModel::kSimplePinhole:
      camera.parameters = {50, 33, 23};
      break;
    case CameraModel::kSimpleRadial:
      camera.parameters = {50, 33, 23, -0.1};
      break;
    case CameraModel::kRadial:
      camera.parameters = {50, 33, 23, -0.1, 0.02};
      break;
    case CameraModel::kPinhole:
      camera.parameters = {50, 52, 33, 23};
      break;
    case CameraModel::kOpenCv:
      camera.parameters = {50, 52, 33, 23, -0.1, 0.02, 0.003, -0.002};
      break;
    case CameraModel::kOpenCvFisheye:
      camera.parameters = {40, 41, 33, 23, 0.02, -0.01, 0.002, 0};
      break;
    case CameraModel::kFullOpenCv:
      camera.parameters = {50, 52, 33, 23, -0.1, 0.02, 0.003, -0.002, 0.01, 0.02, 0.01, 0};
      break;
  }
  return camera;
}

// Looks along +x from (0, 0, height).
Rigid3 LookAlongX(double height) {
  Eigen::Matrix3d world_from_camera;
  world_from_camera << 0, 0, 1, -1, 0, 0, 0, -1, 0;
  return Rigid3{Eigen::Quaterniond(world_from_camera), {0, 0, height}}.Inverse();
}

MeshInstance Instance(int mesh, int object, const Vector3d& at = Vector3d::Zero()) {
  MeshInstance instance;
  instance.mesh = mesh;
  instance.object = object;
  instance.world_from_mesh.translation = at;
  return instance;
}

Lighting FlatLight() {
  Lighting lighting;
  lighting.sun_color = Vector3f::Zero();
  lighting.zenith_color = lighting.horizon_color = lighting.ground_color = Vector3f::Zero();
  lighting.cloud_cover = 0;
  lighting.ambient = Vector3f::Constant(0.5f);
  return lighting;
}

SurfaceMaterial Grey(float value) {
  SurfaceMaterial material;
  material.color = Vector3f::Constant(value);
  material.roughness = 1;
  return material;
}

// A floor at z = 0 and two boxes of two parts on it.
struct SmallWorld {
  RayWorld world;
  SmallWorld() {
    MeshBuilder floor;
    SurfaceMaterial checks = Grey(0.6f);
    checks.pattern = SurfaceMaterial::Pattern::kChecks;
    checks.second_color = Vector3f::Constant(0.2f);
    floor.UseMaterial(checks);
    floor.BeginPart("floor");
    floor.AddPlane({0, 0, 0}, 200, 200, 10);
    MeshBuilder box;
    box.UseMaterial(Grey(0.5f));
    box.BeginPart("lower");
    box.AddBox({0, 0, 0.5f}, {1, 1, 1});
    SurfaceMaterial glossy = Grey(0.4f);
    glossy.mirror = 0.3f;
    glossy.roughness = 0.1f;
    box.UseMaterial(glossy);
    box.BeginPart("upper");
    box.AddBox({0, 0, 1.5f}, {1, 1, 1}, 0.1f);
    const int floor_mesh = world.AddMesh(std::move(floor).Build());
    const int box_mesh = world.AddMesh(std::move(box).Build());
    world.SetInstances({Instance(floor_mesh, 4), Instance(box_mesh, 7, {6, 0.5, 0}),
                        Instance(box_mesh, 9, {8, -1.5, 0})});
  }
};

Lighting Everything() {
  Lighting lighting = DayLighting(2.5f, 0.6f);
  Lamp lamp;
  lamp.position_m = {5, -1, 2.5f};
  lamp.radius_m = 0.2f;
  lamp.strength = 3;
  lighting.lamps = {lamp, lamp};
  lighting.lamps[1].position_m = {4, 2, 3};
  AddRain(&lighting, 5);
  return lighting;
}

TEST(RenderCamera, DepthAndObjectsEqualSingleRaysInEveryCameraModel) {
  const SmallWorld small;
  for (int m = 0; m < kNumCameraModels; ++m) {
    const Camera camera = MakeCamera(static_cast<CameraModel>(m));
    SCOPED_TRACE(CameraModelName(camera.model));
    const Rigid3 camera_from_world = LookAlongX(1.2);
    const RenderedView view = RenderCamera(small.world, FlatLight(), camera, camera_from_world, {});
    int hits = 0;
    for (int y = 0; y < camera.height_px; ++y) {
      for (int x = 0; x < camera.width_px; ++x) {
        const float depth = *view.depth_m.at(x, y);
        const auto direction = camera.Unproject({x + 0.5, y + 0.5});
        ASSERT_TRUE(direction.has_value());
        const Rigid3 world_from_camera = camera_from_world.Inverse();
        const RayHit hit =
            small.world.Cast(world_from_camera.translation.cast<float>(),
                             (world_from_camera.rotation * *direction).cast<float>(), 500);
        ASSERT_EQ(*view.object.at(x, y), hit.object) << x << " " << y;
        if (hit.instance < 0) {
          ASSERT_EQ(depth, 0);
          continue;
        }
        ++hits;
        const double expected = hit.distance / direction->norm();
        ASSERT_NEAR(depth, expected, 1e-4 * expected);
        ASSERT_EQ(*view.part.at(x, y), hit.part);
        ASSERT_EQ(*view.material.at(x, y), hit.material);
        ASSERT_EQ(*view.instance.at(x, y), hit.instance);
        // The point projects back to the pixel.
        const auto pixel = camera.Project(*direction * depth);
        ASSERT_TRUE(pixel.has_value());
        ASSERT_NEAR((*pixel - Eigen::Vector2d(x + 0.5, y + 0.5)).norm(), 0, 1e-3);
        if (hit.object == 4) {
          // A plane, whose depth is known: height / -(direction . up).
          const Vector3d in_world = world_from_camera.rotation * *direction;
          ASSERT_NEAR(depth, 1.2 / -in_world.z(), 1e-4 * depth);
          ASSERT_EQ(view.normal.at(x, y)[2], 127);
        }
      }
    }
    EXPECT_GT(hits, 1000);
  }
}

TEST(RenderCamera, SameBytesForAnyNumberOfThreads) {
  const SmallWorld small;
  CameraRenderOptions options;
  options.noise_dark = options.noise_bright = 2;
  std::vector<RenderedView> views;
  for (const int threads : {1, 2, 5}) {
    SetNumThreads(threads);
    views.push_back(
        RenderCamera(small.world, Everything(), MakeCamera(), LookAlongX(1.2), options));
  }
  SetNumThreads(0);
  for (size_t i = 1; i < views.size(); ++i) {
    EXPECT_EQ(views[i].image.data, views[0].image.data);
    EXPECT_EQ(views[i].depth_m.data, views[0].depth_m.data);
    EXPECT_EQ(views[i].object.data, views[0].object.data);
  }
  options.seed = 1;
  EXPECT_NE(
      RenderCamera(small.world, Everything(), MakeCamera(), LookAlongX(1.2), options).image.data,
      views[0].image.data);
}

// Mean linear value of a pixel that is not clipped.
float LinearAt(const RenderedView& view, int x, int y) {
  return DecodeSrgb(view.image.at(x, y)[1]);
}

TEST(RenderCamera, LightAddsUpAsItShould) {
  MeshBuilder wall;
  wall.UseMaterial(Grey(0.5f));
  wall.AddBox({10.5f, 0, 0}, {1, 100, 100});
  RayWorld world;
  world.SetInstances({Instance(world.AddMesh(std::move(wall).Build()), 0)});
  CameraRenderOptions options;
  // Ambient light alone: albedo times ambient.
  Lighting lighting = FlatLight();
  EXPECT_NEAR(LinearAt(RenderCamera(world, lighting, MakeCamera(), LookAlongX(0), options), 20, 20),
              0.25f, 0.004f);
  // The sun at 60 degrees to the wall's normal.
  lighting.ambient = Vector3f::Zero();
  lighting.to_sun = Vector3f(-0.5f, 0, std::sqrt(0.75f));
  lighting.sun_color = Vector3f::Ones();
  EXPECT_NEAR(LinearAt(RenderCamera(world, lighting, MakeCamera(), LookAlongX(0), options), 20, 20),
              0.25f, 0.004f);
  // A lamp of strength 9 at 3 m: 1 head-on.
  lighting.sun_color = Vector3f::Zero();
  Lamp lamp;
  lamp.position_m = {7, 0, 0};
  lamp.strength = 9;
  lamp.radius_m = 0;
  lamp.range_m = 1000;
  lighting.lamps = {lamp};
  EXPECT_NEAR(LinearAt(RenderCamera(world, lighting, MakeCamera(), LookAlongX(0), options), 33, 23),
              0.5f, 0.008f);
  // A white sky all around in front of the wall is seen by it whole.
  lighting.lamps.clear();
  lighting.zenith_color = lighting.horizon_color = lighting.ground_color = Vector3f::Ones();
  EXPECT_NEAR(LinearAt(RenderCamera(world, lighting, MakeCamera(), LookAlongX(0), options), 20, 20),
              0.5f, 0.01f);
}

TEST(RenderCamera, ShadowsFallWhereTheSunIsHidden) {
  MeshBuilder floor, roof;
  floor.UseMaterial(Grey(0.5f));
  floor.AddPlane({0, 0, 0}, 100, 100);
  roof.AddBox({6, 0, 3}, {2, 2, 0.1f});
  RayWorld world;
  const int floor_mesh = world.AddMesh(std::move(floor).Build());
  const int roof_mesh = world.AddMesh(std::move(roof).Build());
  world.SetInstances({Instance(floor_mesh, 0), Instance(roof_mesh, 1)});
  Lighting lighting = FlatLight();
  lighting.ambient = Vector3f::Constant(0.1f);
  lighting.to_sun = Vector3f(0, 0, 1);
  lighting.sun_color = Vector3f::Ones();
  const Camera camera = MakeCamera();
  const Rigid3 pose = LookAlongX(1.5);
  const RenderedView view = RenderCamera(world, lighting, camera, pose, {});
  const auto value = [&](double x, double y) {
    const auto pixel = camera.Project(pose * Vector3d(x, y, 0));
    return LinearAt(view, static_cast<int>(pixel->x()), static_cast<int>(pixel->y()));
  };
  EXPECT_LT(value(6, 0), 0.12f);
  EXPECT_LT(value(6, 0.7), 0.12f);
  EXPECT_GT(value(6, 1.6), 0.45f);
  EXPECT_GT(value(8, 0), 0.45f);
}

TEST(RenderCamera, FogFollowsKoschmieder) {
  MeshBuilder wall;
  wall.UseMaterial(Grey(0.4f));
  wall.AddBox({40.5f, 0, 0}, {1, 400, 400});
  RayWorld world;
  world.SetInstances({Instance(world.AddMesh(std::move(wall).Build()), 0)});
  Lighting lighting = FlatLight();
  lighting.fog_extinction_per_m = 0.02f;
  lighting.airlight_color = Vector3f::Constant(0.55f);
  CameraRenderOptions options;
  options.indirect = false;
  const RenderedView view = RenderCamera(world, lighting, MakeCamera(), LookAlongX(0), options);
  for (const int x : {2, 33, 60}) {
    const auto direction = MakeCamera().Unproject({x + 0.5, 23.5});
    const double distance = 40 * direction->norm();
    const double left = std::exp(-0.02 * distance);
    EXPECT_NEAR(LinearAt(view, x, 23), left * 0.2 + (1 - left) * 0.55, 0.005) << x;
  }
}

TEST(RenderCamera, MovesWithItsInstancesAndTakesPaint) {
  MeshBuilder box;
  box.UseMaterial(Grey(0.5f));
  box.AddBox({0, 0, 0}, {1, 1, 1});
  RayWorld world;
  const int mesh = world.AddMesh(std::move(box).Build());
  MeshInstance instance = Instance(mesh, 3, {5, 0, 0});
  world.SetInstances({instance});
  const RenderedView before = RenderCamera(world, FlatLight(), MakeCamera(), LookAlongX(0), {});
  EXPECT_NEAR(*before.depth_m.at(33, 23), 4.5, 1e-4);
  instance.world_from_mesh.translation.x() = 9;
  instance.paint = {0, 0, 0.8f};
  world.SetInstances({instance});
  const RenderedView after = RenderCamera(world, FlatLight(), MakeCamera(), LookAlongX(0), {});
  EXPECT_NEAR(*after.depth_m.at(33, 23), 8.5, 1e-4);
  EXPECT_LT(after.image.at(33, 23)[0], 5);
  EXPECT_NEAR(DecodeSrgb(after.image.at(33, 23)[2]), 0.4f, 0.01f);
}

TEST(RenderCamera, EmptyWorldIsSky) {
  RayWorld world;
  const RenderedView view =
      RenderCamera(world, DayLighting(0, 0.7f, 0), MakeCamera(), LookAlongX(0), {});
  for (const float depth : view.depth_m.data) ASSERT_EQ(depth, 0);
  for (const int32_t object : view.object.data) ASSERT_EQ(object, -1);
  EXPECT_GT(view.image.at(10, 2)[2], view.image.at(10, 2)[0]);  // blue above
}

TEST(RenderCamera, ClassesOfObjects) {
  const SmallWorld small;
  const RenderedView view =
      RenderCamera(small.world, FlatLight(), MakeCamera(), LookAlongX(1.2), {});
  std::vector<uint8_t> classes(10, 0);
  classes[4] = 1;
  classes[7] = classes[9] = 2;
  const Image image = ClassImage(view, classes, 255);
  for (size_t i = 0; i < image.data.size(); ++i) {
    const int32_t object = view.object.data[i];
    ASSERT_EQ(image.data[i], object < 0 ? 255 : object == 4 ? 1 : 2);
  }
  classes.resize(8);
  EXPECT_THAT(ErrorOf([&] { ClassImage(view, classes); }), HasSubstr("no class for object 9 of 8"));
}

TEST(RenderCamera, RefusesBadInput) {
  RayWorld world;
  Camera camera = MakeCamera();
  Rigid3 pose;
  CameraRenderOptions options;
  options.gather_rays = 0;
  EXPECT_THAT(ErrorOf([&] { RenderCamera(world, {}, camera, pose, options); }),
              HasSubstr("gathering rays, found 0"));
  pose.translation.x() = std::nan("");
  EXPECT_THAT(ErrorOf([&] { RenderCamera(world, {}, camera, pose, {}); }),
              HasSubstr("not a finite"));
  camera.width_px = 0;
  EXPECT_NE(ErrorOf([&] { RenderCamera(world, {}, camera, {}, {}); }), "");
  Lighting lighting;
  EXPECT_NE(ErrorOf([&] { AddFog(&lighting, 0); }), "");
  EXPECT_NE(ErrorOf([&] { AddRain(&lighting, -1); }), "");
}

TEST(SensorEffects, CurveAndEncodingKeepOrder) {
  EXPECT_EQ(EncodeSrgb(0), 0);
  EXPECT_EQ(EncodeSrgb(1), 255);
  for (int i = 0; i < 256; ++i) {
    EXPECT_EQ(EncodeSrgb(DecodeSrgb(static_cast<uint8_t>(i))), i);
  }
  float last = -1;
  for (float light = 0; light < 20; light += 0.01f) {
    const float value = ToneCurve(Vector3f::Constant(light)).x();
    ASSERT_GE(value, last);
    ASSERT_LE(value, 1);
    last = value;
  }
}

}  // namespace
}  // namespace athanor
