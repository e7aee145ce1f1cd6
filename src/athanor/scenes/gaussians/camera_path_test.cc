#include "athanor/scenes/gaussians/camera_path.h"

#include <gtest/gtest.h>

#include <cmath>

#include "athanor/base/error.h"
#include "athanor/base/random.h"

namespace athanor {
namespace {

using Eigen::Vector3d;

constexpr double kPi = 3.14159265358979323846;
const Vector3d kTarget(3, -1, 2);

PosedImages EmptyCapture() {
  PosedImages posed;
  posed.source = "made";
  Camera camera;
  camera.width_px = 64, camera.height_px = 48;
  camera.parameters = {60, 60, 32, 24};
  posed.cameras.push_back(camera);
  return posed;
}

void AddCamera(PosedImages* posed, const Vector3d& position, const Vector3d& target,
               const Vector3d& up) {
  PosedImage image;
  image.name = std::to_string(posed->images.size());
  image.camera_from_world = LookAt(position, target, up);
  posed->images.push_back(image);
}

// Cameras on an arc about +z around kTarget, 2 away on the ground and 1 up.
PosedImages Arc(int count, double from_rad, double to_rad) {
  PosedImages posed = EmptyCapture();
  for (int i = 0; i < count; ++i) {
    const double a = from_rad + (to_rad - from_rad) * i / (count - 1);
    AddCamera(&posed, kTarget + Vector3d(2 * std::cos(a), 2 * std::sin(a), 1), kTarget,
              Vector3d::UnitZ());
  }
  return posed;
}

Vector3d Position(const PathView& view) { return view.camera_from_world.Inverse().translation; }

TEST(LookAtTest, TargetIsAheadAndUpIsUp) {
  const Vector3d position(1, 2, 3), up(0, 0, 1);
  const Rigid3 pose = LookAt(position, kTarget, up);
  const Vector3d target = pose * kTarget;
  EXPECT_NEAR(target.x(), 0, 1e-12);
  EXPECT_NEAR(target.y(), 0, 1e-12);
  EXPECT_NEAR(target.z(), (kTarget - position).norm(), 1e-12);
  EXPECT_LT((pose * (kTarget + up)).y(), 0) << "y points down in the picture";
  EXPECT_NEAR((pose * (kTarget + up)).x(), 0, 1e-12) << "no roll";
  EXPECT_NEAR((pose * position).norm(), 0, 1e-12);
  EXPECT_THROW(LookAt(position, position, up), Error);
  EXPECT_THROW(LookAt(position, position + up, up), Error);
}

TEST(FindLayoutTest, RingOfCameras) {
  const CaptureLayout layout = FindLayout(Arc(12, 0, 2 * kPi * 11 / 12));
  EXPECT_LT((layout.center - kTarget).norm(), 1e-9);
  EXPECT_LT((layout.up - Vector3d::UnitZ()).norm(), 1e-6);
  EXPECT_NEAR(layout.distance, std::sqrt(5.0), 1e-9);
  EXPECT_TRUE(layout.all_around);
}

TEST(FindLayoutTest, OneShakyOutlierMovesLittle) {
  PosedImages posed = Arc(30, 0, 2 * kPi * 29 / 30);
  Random random(1);
  for (PosedImage& image : posed.images) {
    const Vector3d shake(random.Normal(), random.Normal(), random.Normal());
    const Vector3d position = image.camera_from_world.Inverse().translation;
    image.camera_from_world = LookAt(position, kTarget + 0.1 * shake, Vector3d::UnitZ());
  }
  const CaptureLayout layout = FindLayout(posed);
  EXPECT_LT((layout.center - kTarget).norm(), 0.15);
  EXPECT_GT(layout.up.z(), 0.99);
}

TEST(FindLayoutTest, ParallelCamerasLookAtTheMiddleOfThePoints) {
  PosedImages posed = EmptyCapture();
  for (int i = 0; i < 5; ++i) {
    AddCamera(&posed, Vector3d(i, 0, 0), Vector3d(i, 100, 0), Vector3d::UnitZ());
  }
  for (const float y : {-5.0f, 4.0f, 7.0f, 9.0f}) posed.points.push_back({{2, y, 0}, {0, 0, 0}});
  const CaptureLayout layout = FindLayout(posed);
  EXPECT_LT((layout.center - Vector3d(2, 7, 0)).norm(), 1e-9) << layout.center.transpose();
  EXPECT_LT((layout.up - Vector3d::UnitZ()).norm(), 1e-6);
  EXPECT_FALSE(layout.all_around);
}

TEST(OrbitPathTest, CircleAroundARing) {
  const auto path = OrbitPath(Arc(12, 0, 2 * kPi * 11 / 12), 40);
  ASSERT_EQ(path.size(), 40u);
  Vector3d mean = Vector3d::Zero();
  for (size_t i = 0; i < path.size(); ++i) {
    const Vector3d offset = Position(path[i]) - kTarget;
    EXPECT_NEAR(offset.z(), 1, 1e-6);
    EXPECT_NEAR(std::hypot(offset.x(), offset.y()), 2, 1e-6);
    EXPECT_NEAR((path[i].camera_from_world * kTarget).head<2>().norm(), 0, 1e-6);
    // Evenly spaced, the last beside the first.
    const Vector3d next = Position(path[(i + 1) % path.size()]);
    EXPECT_NEAR((next - Position(path[i])).norm(), 4 * std::sin(kPi / 40), 1e-6);
    mean += offset / 40;
  }
  EXPECT_LT(mean.head<2>().norm(), 1e-6);
}

TEST(OrbitPathTest, StaysWhereThePhotographsWereTaken) {
  // Across the azimuth of pi, where angles wrap.
  const double from = kPi - 0.6, to = kPi + 0.6;
  const PosedImages posed = Arc(20, from, to);
  EXPECT_FALSE(FindLayout(posed).all_around);
  double low = 10, high = -10;
  for (const PathView& view : OrbitPath(posed, 50)) {
    const Vector3d offset = Position(view) - kTarget;
    double azimuth = std::atan2(offset.y(), offset.x());
    if (azimuth < 0) azimuth += 2 * kPi;
    low = std::min(low, azimuth), high = std::max(high, azimuth);
    EXPECT_NEAR(offset.norm(), std::sqrt(5.0), 1e-6);
    EXPECT_NEAR((view.camera_from_world * kTarget).head<2>().norm(), 0, 1e-6);
  }
  EXPECT_GT(low, from - 1e-6);
  EXPECT_LT(high, to + 1e-6);
  EXPECT_GT(high - low, 0.7 * (to - from)) << "it uses most of the arc";
}

TEST(OrbitPathTest, OnePhotographIsEnough) {
  PosedImages posed = EmptyCapture();
  AddCamera(&posed, Vector3d::Zero(), Vector3d(0, 1, 0), Vector3d::UnitZ());
  posed.points.push_back({{0, 4, 0}, {0, 0, 0}});
  for (const PathView& view : OrbitPath(posed, 8)) {
    EXPECT_NEAR((view.camera_from_world * Vector3d(0, 4, 0)).z(), 4, 1e-6);
  }
  EXPECT_THROW(OrbitPath(posed, 0), Error);
  EXPECT_THROW(OrbitPath(EmptyCapture(), 8), Error);
}

TEST(CapturePathTest, KeepsTheViewsAndGoesBetween) {
  const PosedImages posed = Arc(5, 0, 1);
  const auto path = CapturePath(posed, {3, 1}, 1);
  ASSERT_EQ(path.size(), 3u);
  const auto pose_of = [&](int i) { return posed.images[i].camera_from_world; };
  EXPECT_TRUE(path[0].camera_from_world.ToMatrix().isApprox(pose_of(3).ToMatrix()));
  EXPECT_TRUE(path[2].camera_from_world.ToMatrix().isApprox(pose_of(1).ToMatrix()));
  const Vector3d middle = 0.5 * (Position(path[0]) + Position(path[2]));
  EXPECT_LT((Position(path[1]) - middle).norm(), 1e-12);
  const double whole =
      path[0].camera_from_world.rotation.angularDistance(path[2].camera_from_world.rotation);
  EXPECT_NEAR(
      path[0].camera_from_world.rotation.angularDistance(path[1].camera_from_world.rotation),
      whole / 2, 1e-9);
  EXPECT_THROW(CapturePath(posed, {5}), Error);
}

TEST(OrbitBoxTest, ShowsAllOfTheBox) {
  const SceneBox box = {{-1, 0, 2}, {3, 0.5, 4}};
  for (const PathView& view : OrbitBox(box, -Vector3d::UnitY(), 200, 100, 16)) {
    for (int corner = 0; corner < 8; ++corner) {
      const Vector3d point(corner & 1 ? box.low.x() : box.high.x(),
                           corner & 2 ? box.low.y() : box.high.y(),
                           corner & 4 ? box.low.z() : box.high.z());
      const auto pixel = view.camera.Project(view.camera_from_world * point);
      ASSERT_TRUE(pixel.has_value());
      EXPECT_TRUE(pixel->x() > 0 && pixel->x() < 200 && pixel->y() > 0 && pixel->y() < 100)
          << pixel->transpose();
    }
  }
}

TEST(FindSceneBoxTest, LeavesOutFloatersAndFog) {
  GaussianCloud cloud;
  constexpr int64_t kSolid = 1000;
  cloud.Resize(kSolid + 501);
  for (int64_t i = 0; i < cloud.size(); ++i) {
    const bool solid = i < kSolid;
    for (int axis = 0; axis < 3; ++axis) {
      cloud.means[3 * i + axis] = solid ? static_cast<float>(i) / kSolid : 100.0f;
    }
    cloud.opacity_logits[i] = solid ? 3.0f : -5.0f;
  }
  cloud.opacity_logits[kSolid] = 3.0f;  // one solid Gaussian far away
  const SceneBox box = FindSceneBox(cloud);
  EXPECT_NEAR(box.low.x(), 0.02, 0.01);
  EXPECT_NEAR(box.high.x(), 0.98, 0.01);
  EXPECT_THROW(FindSceneBox(GaussianCloud()), Error);
}

}  // namespace
}  // namespace athanor
