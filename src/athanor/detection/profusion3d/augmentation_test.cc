#include "athanor/detection/profusion3d/augmentation.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <filesystem>

#include "athanor/base/test_util.h"
#include "athanor/detection/profusion3d/sample_test_util.h"

namespace athanor {
namespace {

namespace fs = std::filesystem;
using ::testing::HasSubstr;

FrameSampleOptions SmallOptions() {
  FrameSampleOptions options;
  options.width_px = 64;
  options.height_px = 24;
  return options;
}

// Where a point went.
Eigen::Vector3d MovePoint(const Augmentation& augmentation, Eigen::Vector3d point) {
  if (augmentation.flips_x) point.x() *= -1;
  if (augmentation.flips_y) point.y() *= -1;
  const double c = std::cos(augmentation.rotation_rad), s = std::sin(augmentation.rotation_rad);
  const Eigen::Vector3d turned(c * point.x() - s * point.y(), s * point.x() + c * point.y(),
                               point.z());
  return augmentation.scale * turned + augmentation.translation_m;
}

// A picture of three channels at a place between pixels.
Eigen::Vector3d ColorAt(const at::Tensor& image, const Eigen::Vector2d& pixel) {
  const double x = pixel.x() - 0.5, y = pixel.y() - 0.5;
  const auto x0 = static_cast<int64_t>(std::floor(x)), y0 = static_cast<int64_t>(std::floor(y));
  Eigen::Vector3d color(0, 0, 0);
  for (int64_t dy = 0; dy < 2; ++dy) {
    for (int64_t dx = 0; dx < 2; ++dx) {
      const double weight = (dx == 1 ? x - x0 : 1 - x + x0) * (dy == 1 ? y - y0 : 1 - y + y0);
      for (int c = 0; c < 3; ++c) {
        color[c] += weight * image[c][y0 + dy][x0 + dx].item<int>();
      }
    }
  }
  return color;
}

TEST(Augmentation, PointsLandOnTheSameSpotOfEachPicture) {
  const fs::path root = TestFolder("spots");
  Log log = OpenTestLog(root);
  // A wavy picture of 16:9, on a camera that looks aside.
  log.sensors[0].camera = {CameraModel::kPinhole, 640, 360, {500, 505, 325, 170}};
  log.sensors[0].ego_from_sensor.rotation =
      Eigen::AngleAxisd(0.3, Eigen::Vector3d::UnitZ()) * log.sensors[0].ego_from_sensor.rotation;
  WriteImage(log.readings[log.frames[1].readings[0]].path, WavyImage(640, 360, 120));
  FrameSampleOptions options;
  options.width_px = 320;
  options.height_px = 120;
  const DetectionSample plain = ReadFrameSample(log, 1, options);
  AugmentationOptions ranges = NoAugmentation();
  const AugmentationOptions full;
  ranges.flip_probability = 0.5;
  ranges.mirror_probability = 0.3;
  ranges.max_rotation_rad = full.max_rotation_rad;
  ranges.min_scale = full.min_scale, ranges.max_scale = full.max_scale;
  ranges.translation_sigma_m = full.translation_sigma_m;
  ranges.min_zoom = full.min_zoom, ranges.max_zoom = full.max_zoom;

  Random random(3);
  int seen = 0, mirrored = 0, reflections = 0;
  for (int round = 0; round < 30; ++round) {
    const Augmentation drawn = DrawAugmentation(log, options, ranges, &random);
    DetectionSample sample = ReadFrameSample(log, 1, options, drawn.Windows());
    TransformWorld(drawn, &sample);
    // A camera is a rotation and a shift, unless its picture alone was mirrored.
    const at::Tensor matrix = sample.camera_from_ego[0].slice(0, 0, 3).slice(1, 0, 3);
    EXPECT_LT((matrix.matmul(matrix.t()) - at::eye(3)).abs().max().item<float>(), 1e-5);
    const bool is_reflection = drawn.pictures[0].window.is_mirrored != drawn.IsMirrored();
    EXPECT_NEAR(matrix.det().item<float>(), is_reflection ? -1 : 1, 1e-4);
    EXPECT_GT(sample.intrinsics[0][0][0].item<float>(), 0);
    mirrored += drawn.IsMirrored();
    reflections += is_reflection;

    ASSERT_EQ(sample.points.size(0), plain.points.size(0));
    const ImageWindow& window = drawn.pictures[0].window;
    for (int64_t i = 0; i < plain.points.size(0); i += 7) {
      const float* p = plain.points.data_ptr<float>() + i * kPointColumns;
      const float* q = sample.points.data_ptr<float>() + i * kPointColumns;
      const Eigen::Vector3d point(p[0], p[1], p[2]), moved(q[0], q[1], q[2]);
      EXPECT_LT((moved - MovePoint(drawn, point)).norm(), 1e-4);
      EXPECT_EQ(p[3], q[3]);
      EXPECT_EQ(p[4], q[4]);
      const auto before = SeePoint(plain, 0, point);
      const auto after = SeePoint(sample, 0, moved);
      ASSERT_EQ(before.has_value(), after.has_value());
      if (!before) continue;
      EXPECT_NEAR(after->depth_m, drawn.scale * before->depth_m, 1e-3);
      // From the network's pixel to the picture's (half of 640x360, its lower 120 rows at most),
      // and through the window.
      const ImageWindow whole = FitWindow(log.sensors[0].camera, options);
      Eigen::Vector2d expected =
          (before->pixel + Eigen::Vector2d(whole.left_px, whole.top_px))
              .cwiseProduct(Eigen::Vector2d(
                  static_cast<double>(window.scaled_width_px) / whole.scaled_width_px,
                  static_cast<double>(window.scaled_height_px) / whole.scaled_height_px)) -
          Eigen::Vector2d(window.left_px, window.top_px);
      if (window.is_mirrored) expected.x() = options.width_px - expected.x();
      EXPECT_LT((after->pixel - expected).norm(), 0.01);
      // And the same is to be seen there.
      const auto is_inside = [&](const Eigen::Vector2d& pixel) {
        return pixel.x() > 2 && pixel.x() < options.width_px - 2 && pixel.y() > 2 &&
               pixel.y() < options.height_px - 2;
      };
      if (!is_inside(before->pixel) || !is_inside(after->pixel)) continue;
      EXPECT_LT((ColorAt(plain.images[0], before->pixel) - ColorAt(sample.images[0], after->pixel))
                    .cwiseAbs()
                    .maxCoeff(),
                4)
          << "round " << round;
      ++seen;
    }
  }
  EXPECT_GT(seen, 100);
  EXPECT_GT(mirrored, 5);
  EXPECT_GT(reflections, 3);
}

TEST(Augmentation, BoxesKeepTheirPointsAndVelocitiesTurnAlong) {
  Log log = OpenTestLog(TestFolder("boxes"));
  log.frames[1].boxes[0].velocity_mps = {3, 1};
  DetectionSample plain = ReadFrameSample(log, 1, SmallOptions());
  Random random(5);
  for (int round = 0; round < 30; ++round) {
    const Augmentation drawn = DrawAugmentation(log, SmallOptions(), {}, &random);
    DetectionSample sample = plain;
    TransformWorld(drawn, &sample);
    // A millimetre for single precision.
    EXPECT_LE(CountPoints(plain, -1e-3)[0], CountPoints(sample)[0]);
    EXPECT_GE(CountPoints(plain, 1e-3)[0], CountPoints(sample)[0]);
    EXPECT_GT(CountPoints(sample)[0], 10);
    // A box drives to where its centre will be.
    const float* before = plain.boxes.data_ptr<float>();
    const float* after = sample.boxes.data_ptr<float>();
    const Eigen::Vector3d now(before[0], before[1], before[2]);
    const Eigen::Vector3d later = now + Eigen::Vector3d(before[7], before[8], 0);
    const Eigen::Vector3d driven = MovePoint(drawn, later) - MovePoint(drawn, now);
    EXPECT_NEAR(after[7], driven.x(), 1e-4);
    EXPECT_NEAR(after[8], driven.y(), 1e-4);
    // Its front is where the front went.
    const Eigen::Vector3d front =
        BoxOfRow(plain.boxes[0]).frame_from_box * Eigen::Vector3d(2, 0, 0);
    const Eigen::Vector3d moved =
        BoxOfRow(sample.boxes[0]).frame_from_box * Eigen::Vector3d(2 * drawn.scale, 0, 0);
    EXPECT_LT((moved - MovePoint(drawn, front)).norm(), 1e-4);
  }
}

TEST(Augmentation, NoAugmentationChangesNothing) {
  const Log log = OpenTestLog(TestFolder("none"));
  const DetectionSample plain = ReadFrameSample(log, 1, SmallOptions());
  Random random(1);
  const Augmentation drawn = DrawAugmentation(log, SmallOptions(), NoAugmentation(), &random);
  DetectionSample sample = ReadFrameSample(log, 1, SmallOptions(), drawn.Windows());
  TransformWorld(drawn, &sample);
  ChangeColors(drawn, &sample);
  DropSensors(drawn, &sample);
  EXPECT_TRUE(sample.points.equal(plain.points));
  EXPECT_TRUE(sample.images.equal(plain.images));
  EXPECT_TRUE(sample.camera_from_ego.equal(plain.camera_from_ego));
  EXPECT_TRUE(sample.intrinsics.equal(plain.intrinsics));
  EXPECT_TRUE(sample.boxes.allclose(plain.boxes, 0, 1e-6, true));
}

TEST(Augmentation, ColorsChangeAsTheirNamesSay) {
  DetectionSample sample;
  sample.images = at::zeros({1, 3, 1, 4}, at::kByte);
  sample.images[0].select(2, 1).fill_(100);  // grey
  sample.images[0][0][0][2] = 200;           // red
  sample.images[0].select(2, 3).fill_(250);
  Augmentation drawn;
  drawn.pictures.resize(1);
  const auto change = [&](float brightness, float contrast, float saturation, float hue) {
    drawn.pictures[0] = {{}, brightness, contrast, saturation, hue};
    DetectionSample changed = sample;
    ChangeColors(drawn, &changed);
    return changed.images[0].to(at::kInt);
  };
  at::Tensor out = change(1.2f, 1, 1, 0);
  EXPECT_EQ(out[0][0][1].item<int>(), 120);
  EXPECT_EQ(out[0][0][3].item<int>(), 255);  // no overflow
  EXPECT_EQ(out[0][0][0].item<int>(), 0);
  out = change(1, 0.5f, 1, 0);
  EXPECT_EQ(out[1][0][1].item<int>(), 114);  // halfway to 127.5
  EXPECT_EQ(out[1][0][0].item<int>(), 0);    // nothing there
  out = change(1, 1, 0, 0);
  EXPECT_EQ(out[0][0][2].item<int>(), 60);  // red's luma everywhere
  EXPECT_EQ(out[2][0][2].item<int>(), 60);
  EXPECT_EQ(out[0][0][1].item<int>(), 100);
  // A third of the circle makes red green.
  out = change(1, 1, 1, static_cast<float>(2 * M_PI / 3));
  EXPECT_EQ(out[0][0][2].item<int>(), 0);
  EXPECT_EQ(out[1][0][2].item<int>(), 200);
}

TEST(Augmentation, SensorsAreDroppedAsOftenAsAsked) {
  const Log log = OpenTestLog(TestFolder("drop"));
  const DetectionSample plain = ReadFrameSample(log, 1, SmallOptions());
  AugmentationOptions options;
  options.drop_camera = 0.2;
  Random random(11);
  int no_points = 0, no_pictures = 0;
  constexpr int kRounds = 2000;
  for (int round = 0; round < kRounds; ++round) {
    const Augmentation drawn = DrawAugmentation(log, SmallOptions(), options, &random);
    DetectionSample sample = plain;
    DropSensors(drawn, &sample);
    EXPECT_FALSE(drawn.drops_points && drawn.drops_pictures);
    EXPECT_EQ(sample.has_lidar, sample.points.size(0) > 0);
    // Depths of pixels are known all the same.
    EXPECT_TRUE((sample.has_lidar ? sample.points : sample.depth_points).equal(plain.points));
    EXPECT_EQ(sample.has_camera[0].item<int>() != 0, sample.images.any().item<bool>());
    no_points += !sample.has_lidar;
    no_pictures += sample.has_camera[0].item<int>() == 0;
  }
  EXPECT_NEAR(no_points, 0.25 * kRounds, 80);
  EXPECT_NEAR(no_pictures, (0.25 + 0.75 * 0.2) * kRounds, 90);
  EXPECT_TRUE(plain.images.any().item<bool>());  // shared by all rounds, and unharmed
}

TEST(Augmentation, RefusesRangesThatAreNone) {
  const Log log = OpenTestLog(TestFolder("bad"));
  Random random(1);
  AugmentationOptions options;
  options.drop_points = 0.8;
  options.drop_pictures = 0.3;
  EXPECT_THAT(ErrorOf([&] { DrawAugmentation(log, SmallOptions(), options, &random); }),
              HasSubstr("at most 1 together"));
  options = {};
  options.min_scale = 1.2;
  EXPECT_THAT(ErrorOf([&] { DrawAugmentation(log, SmallOptions(), options, &random); }),
              HasSubstr("found scale 1.2 to 1.1"));
}

}  // namespace
}  // namespace athanor
