#include "athanor/datasets/synthetic_scene.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "athanor/base/error.h"
#include "athanor/base/parallel.h"
#include "athanor/datasets/dataset_test_util.h"

namespace athanor {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

SyntheticSceneOptions SmallOptions() {
  SyntheticSceneOptions options;
  options.num_images = 8;
  options.width_px = 160;
  options.height_px = 120;
  options.num_points = 2000;
  options.point_noise = 0;
  return options;
}

const SyntheticScene& SmallScene() {
  static const SyntheticScene scene = RenderSyntheticScene(SmallOptions());
  return scene;
}

bool SamePoint(const ColoredPoint& a, const ColoredPoint& b) {
  return std::equal(a.position, a.position + 3, b.position) &&
         std::equal(a.color, a.color + 3, b.color);
}

// Where a pixel's centre lies in the world, by its depth.
Eigen::Vector3d PointAt(const SyntheticScene& scene, int view, int x, int y) {
  const auto direction = scene.posed.cameras[0].Unproject({x + 0.5, y + 0.5});
  return scene.posed.images[view].camera_from_world.Inverse() *
         (*direction * double{*scene.depths[view].at(x, y)});
}

TEST(SyntheticSceneTest, PointsLieOnTheDepthOfEveryViewThatSeesThem) {
  const SyntheticScene& scene = SmallScene();
  const Camera& camera = scene.posed.cameras[0];
  ASSERT_EQ(scene.posed.points.size(), 2000u);
  int inside = 0, seen = 0, in_front = 0;
  for (const ColoredPoint& point : scene.posed.points) {
    const Eigen::Vector3d in_world(point.position[0], point.position[1], point.position[2]);
    for (size_t view = 0; view < scene.images.size(); ++view) {
      const Eigen::Vector3d in_camera = scene.posed.images[view].camera_from_world * in_world;
      const auto pixel = camera.Project(in_camera);
      if (!pixel) continue;
      const int x = static_cast<int>(std::floor(pixel->x()));
      const int y = static_cast<int>(std::floor(pixel->y()));
      if (x < 1 || y < 1 || x >= camera.width_px - 1 || y >= camera.height_px - 1) continue;
      // The least and largest depth around: the surface leans, and the point is not at a centre.
      float low = 1e9f, high = 0;
      for (int dy = -1; dy <= 1; ++dy) {
        for (int dx = -1; dx <= 1; ++dx) {
          low = std::min(low, *scene.depths[view].at(x + dx, y + dy));
          high = std::max(high, *scene.depths[view].at(x + dx, y + dy));
        }
      }
      ++inside;
      const double slack = 2e-3 * in_camera.z();
      in_front += in_camera.z() < low - slack;
      seen += in_camera.z() >= low - slack && in_camera.z() <= high + slack;
    }
  }
  EXPECT_GT(inside, 8000);
  // A point on a surface may be hidden, but only a part thinner than a pixel hides nothing.
  EXPECT_LT(in_front, inside / 500);
  EXPECT_GT(seen, inside / 2);
}

TEST(SyntheticSceneTest, DepthIsThatOfTheWorldsKnownShapes) {
  const SyntheticScene& scene = SmallScene();
  const Camera& camera = scene.posed.cameras[0];
  const Eigen::Vector3d ball(-0.72, -0.33, 0.5), dome(0, 0.75, 0);
  int on_ball = 0, on_table = 0, on_dome = 0;
  for (int view = 0; view < 8; ++view) {
    const Eigen::Vector3d eye = scene.posed.images[view].camera_from_world.Inverse().translation;
    for (int y = 0; y < camera.height_px; ++y) {
      for (int x = 0; x < camera.width_px; ++x) {
        const Eigen::Vector3d point = PointAt(scene, view, x, y);
        ASSERT_LT((point - dome).norm(), 7 + 1e-4) << "beyond the dome";
        ASSERT_LT(point.y(), 0.75 + 1e-4) << "below the floor";
        on_dome += (point - dome).norm() > 7 - 1e-4;
        on_table += std::abs(point.y()) < 1e-4;
        // Nothing is seen inside the table or the ball.
        EXPECT_FALSE(point.y() > 1e-4 && point.y() < 0.1 - 1e-4 &&
                     std::hypot(point.x(), point.z()) < 1.7 - 1e-4)
            << point.transpose();
        const Eigen::Vector3d direction = (point - eye).normalized();
        const double middle = (ball - eye).dot(direction);
        const double away2 = (ball - eye).squaredNorm() - middle * middle;
        if (away2 > 0.32 * 0.32) continue;
        // Through the ball: it is hit where a sphere of its radius is, or something before it.
        const double expected = middle - std::sqrt(0.33 * 0.33 - away2);
        const double found = (point - eye).norm();
        EXPECT_LT(found, expected + 1e-4);
        on_ball += std::abs(found - expected) < 1e-4;
      }
    }
  }
  EXPECT_GT(on_ball, 2000);
  EXPECT_GT(on_table, 8 * 160 * 120 / 5);
  EXPECT_GT(on_dome, 8 * 160 * 120 / 20);
}

// What one view shows of a place, the next one shows too: images, poses and depth belong together.
TEST(SyntheticSceneTest, NeighbouringViewsShowTheSameColours) {
  SyntheticSceneOptions options = SmallOptions();
  options.num_images = 30;
  const SyntheticScene scene = RenderSyntheticScene(options);
  const Camera& camera = scene.posed.cameras[0];
  const auto difference = [&](int shift_px) {
    double sum = 0;
    int count = 0;
    for (int view = 0; view + 1 < 30; view += 5) {
      for (int y = 2; y < camera.height_px - 2; ++y) {
        for (int x = 2; x < camera.width_px - 2; ++x) {
          const Eigen::Vector3d in_next =
              scene.posed.images[view + 1].camera_from_world * PointAt(scene, view, x, y);
          const auto pixel = camera.Project(in_next);
          if (!pixel) continue;
          const int nx = static_cast<int>(std::floor(pixel->x())) + shift_px;
          const int ny = static_cast<int>(std::floor(pixel->y()));
          if (nx < 0 || ny < 0 || nx >= camera.width_px || ny >= camera.height_px) continue;
          if (std::abs(*scene.depths[view + 1].at(nx, ny) - in_next.z()) > 0.05) continue;
          for (int c = 0; c < 3; ++c) {
            sum += std::abs(int{scene.images[view].at(x, y)[c]} -
                            int{scene.images[view + 1].at(nx, ny)[c]});
          }
          count += 3;
        }
      }
    }
    return sum / count;
  };
  const double aligned = difference(0);
  EXPECT_LT(aligned, 9) << "grey levels";
  EXPECT_GT(difference(3), 1.4 * aligned) << "the measure can tell when they do not";
}

TEST(SyntheticSceneTest, SameSeedSameBytesWithAnyNumberOfThreads) {
  SyntheticSceneOptions options = SmallOptions();
  options.num_images = 2;
  options.pixel_noise = 3;
  options.point_noise = 1e-3;
  const SyntheticScene first = RenderSyntheticScene(options);
  SetNumThreads(1);
  const SyntheticScene second = RenderSyntheticScene(options);
  SetNumThreads(0);
  options.seed = 1;
  const SyntheticScene other = RenderSyntheticScene(options);
  for (int k = 0; k < 2; ++k) {
    EXPECT_EQ(first.images[k].data, second.images[k].data);
    EXPECT_EQ(first.depths[k].data, second.depths[k].data);
    EXPECT_NE(first.images[k].data, other.images[k].data);
  }
  ASSERT_EQ(first.posed.points.size(), second.posed.points.size());
  for (size_t k = 0; k < first.posed.points.size(); ++k) {
    EXPECT_TRUE(SamePoint(first.posed.points[k], second.posed.points[k])) << k;
  }
}

TEST(SyntheticSceneTest, NoiseHasTheDeviationAskedFor) {
  SyntheticSceneOptions options = SmallOptions();
  options.num_images = 1;
  const SyntheticScene clean = RenderSyntheticScene(options);
  options.pixel_noise = 5;
  const SyntheticScene noisy = RenderSyntheticScene(options);
  double sum2 = 0;
  int count = 0;
  for (size_t i = 0; i < clean.images[0].data.size(); ++i) {
    const int value = clean.images[0].data[i];
    if (value < 25 || value > 230) continue;  // where it would be cut off
    sum2 += std::pow(noisy.images[0].data[i] - value, 2);
    ++count;
  }
  EXPECT_NEAR(std::sqrt(sum2 / count), 5, 0.15);
  EXPECT_EQ(clean.depths[0].data, noisy.depths[0].data);
}

TEST(SyntheticSceneTest, TheCaptureReadsBackAsItWasMade) {
  SyntheticSceneOptions options = SmallOptions();
  options.num_images = 3;
  const auto folder = TestFolder("synthetic capture");
  const PosedImages written = WriteSyntheticCapture(folder, options);
  const PosedImages read = ReadPosedImages(folder);
  const SyntheticScene scene = RenderSyntheticScene(options);
  ASSERT_EQ(read.images.size(), 3u);
  ASSERT_EQ(read.cameras.size(), 1u);
  EXPECT_EQ(read.cameras[0].model, CameraModel::kPinhole);
  EXPECT_EQ(read.cameras[0].parameters, scene.posed.cameras[0].parameters);
  EXPECT_EQ(read.depth_unit_m, written.depth_unit_m);
  for (int k = 0; k < 3; ++k) {
    EXPECT_EQ(read.images[k].name, written.images[k].name);
    EXPECT_TRUE(read.images[k].camera_from_world.ToMatrix().isApprox(
        scene.posed.images[k].camera_from_world.ToMatrix(), 1e-14));
    EXPECT_TRUE(
        std::filesystem::equivalent(read.images[k].image_path, written.images[k].image_path));
    EXPECT_EQ(ReadImage(read.images[k].image_path).data, scene.images[k].data);
    const DepthImage depth = ReadDepthPng(read.images[k].depth_path);
    ASSERT_EQ(depth.data.size(), scene.depths[k].data.size());
    for (size_t i = 0; i < depth.data.size(); ++i) {
      ASSERT_NEAR(depth.data[i] * read.depth_unit_m, scene.depths[k].data[i], 0.000501);
    }
  }
  ASSERT_EQ(read.points.size(), scene.posed.points.size());
  for (size_t k = 0; k < read.points.size(); ++k) {
    EXPECT_TRUE(SamePoint(read.points[k], scene.posed.points[k])) << k;
  }
}

TEST(SyntheticSceneTest, RefusesOptionsOutOfRange) {
  SyntheticSceneOptions options;
  options.num_images = 0;
  EXPECT_THAT(ErrorOf([&] { RenderSyntheticScene(options); }),
              AllOf(HasSubstr("num_images"), HasSubstr("found 0")));
  options = {};
  options.width_px = 1 << 20;
  EXPECT_THAT(ErrorOf([&] { RenderSyntheticScene(options); }), HasSubstr("width_px"));
  options = {};
  options.point_noise = std::nan("");
  EXPECT_THAT(ErrorOf([&] { RenderSyntheticScene(options); }), HasSubstr("point_noise"));
}

}  // namespace
}  // namespace athanor
