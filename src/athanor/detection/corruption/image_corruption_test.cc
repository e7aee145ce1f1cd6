#include "athanor/detection/corruption/image_corruption.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>

#include "athanor/base/parallel.h"
#include "athanor/base/random.h"
#include "athanor/base/test_util.h"
#include "athanor/detection/corruption/image_filters.h"
#include "athanor/detection/corruption/view_depth.h"

namespace athanor {
namespace {

using ::testing::HasSubstr;

// Stripes, a ramp and a sky.
Image MakePicture(int width = 96, int height = 64) {
  Image image(width, height, 3);
  for (int y = 0; y < height; ++y) {
    for (int x = 0; x < width; ++x) {
      const int value = y < height / 3 ? 200 : (x / 3 % 2 == 0 ? 30 : 60 + x);
      for (int c = 0; c < 3; ++c)
        image.at(x, y)[c] = static_cast<uint8_t>(std::min(value + 10 * c, 255));
    }
  }
  return image;
}

double Mean(const Image& image) {
  double sum = 0;
  for (const uint8_t value : image.data) sum += value;
  return sum / static_cast<double>(image.data.size());
}

// Mean difference of neighbours along rows.
double Contrast(const Image& image) {
  double sum = 0;
  for (int y = 0; y < image.height; ++y) {
    for (int x = 1; x < image.width; ++x) sum += std::abs(*image.at(x, y) - *image.at(x - 1, y));
  }
  return sum / (image.height * (image.width - 1.0));
}

TEST(CorruptImage, BrightensValueAndKeepsHue) {
  Image image(2, 1, 3);
  image.data = {40, 20, 10, 0, 0, 0};
  const double added[3] = {0.5, 0.6, 0.7};
  for (int severity = 1; severity <= 3; ++severity) {
    const Image bright = CorruptImage(image, {CorruptionKind::kBrightness, severity}, 0);
    const double value = 40 + 255 * added[severity - 1];
    EXPECT_NEAR(bright.data[0], value, 1);
    EXPECT_NEAR(bright.data[1], value / 2, 1);
    EXPECT_NEAR(bright.data[2], value / 4, 1);
    EXPECT_NEAR(bright.data[3], 255 * added[severity - 1], 1);
  }
}

TEST(CorruptImage, DarkHasThePublishedMeanAndNoise) {
  // Three shades: the ends set the range, the middle one is measured.
  Image image(300, 300, 3, 128);
  image.data[0] = 0;
  image.data[1] = 255;
  const double scales[3] = {0.6, 0.4, 0.3}, photons[3] = {250, 120, 50};
  const double sigmas[3] = {0.008, 0.018, 0.026};
  for (int severity = 1; severity <= 3; ++severity) {
    const Image dark = CorruptImage(image, {CorruptionKind::kDark, severity}, 9);
    double sum = 0, squares = 0;
    for (size_t i = 3; i < dark.data.size(); ++i) {
      const double value = (dark.data[i] + 0.5) / 255;  // cut to whole numbers
      sum += value;
      squares += value * value;
    }
    const double n = static_cast<double>(dark.data.size() - 3);
    const double light = scales[severity - 1] * std::pow(128 / 255.0, 2);
    const double variance = light / photons[severity - 1] + std::pow(sigmas[severity - 1], 2);
    EXPECT_NEAR(sum / n, light, 0.005);
    EXPECT_NEAR(std::sqrt(squares / n - std::pow(sum / n, 2)), std::sqrt(variance),
                0.04 * std::sqrt(variance));
  }
}

TEST(CorruptImage, BlursAlongALineAndKeepsTheLight) {
  FloatImage point(101, 101, 1);
  *point.at(50, 50) = 1;
  const FloatImage blurred = BlurAlong(point, 15, 6, 0);
  float sum = 0;
  for (const float value : blurred.data) sum += value;
  EXPECT_NEAR(sum, 1, 1e-5);
  EXPECT_GT(*blurred.at(50, 50), *blurred.at(40, 50));
  EXPECT_NEAR(*blurred.at(44, 50) / *blurred.at(50, 50), std::exp(-0.5), 1e-5);  // one sigma
  EXPECT_EQ(*blurred.at(50, 49), 0);
  double last = Contrast(MakePicture());
  for (int severity = 1; severity <= 3; ++severity) {
    const Image image = CorruptImage(MakePicture(), {CorruptionKind::kMotionBlur, severity}, 4);
    EXPECT_LT(Contrast(image), last);
    EXPECT_NEAR(Mean(image), Mean(MakePicture()), 12);
    last = Contrast(image);
  }
}

TEST(CorruptImage, FogFollowsDepth) {
  const Image image = MakePicture();
  FloatImage depth(2, 1, 1);
  depth.data = {1, 400};  // left near, right far
  for (int severity = 1; severity <= 3; ++severity) {
    const Image fog = CorruptImage(image, {CorruptionKind::kFog, severity}, 2, &depth);
    const int alpha_percent[3] = {2, 3, 6};
    for (const int x : {3, 9, 14}) {  // nothing is stretched near the left border
      const double before = *image.at(x, 60), after = *fog.at(x, 60);
      EXPECT_NEAR(after, before,
                  3 + 200 * (1 - std::exp(-1.25 * 0.01 * alpha_percent[severity - 1])));
    }
    // Far away there is nothing but airlight.
    EXPECT_EQ(*fog.at(95, 60), *fog.at(90, 50));
  }
}

TEST(CorruptImage, WeatherTakesContrastTheMoreTheWorse) {
  const Image image = MakePicture(320, 200);
  const FloatImage depth(1, 1, 1, 20.0f);
  for (const bool with_depth : {true, false}) {
    double last = Contrast(image);
    for (int severity = 1; severity <= 3; ++severity) {
      const Image fog =
          CorruptImage(image, {CorruptionKind::kFog, severity}, 8, with_depth ? &depth : nullptr);
      EXPECT_LT(Contrast(fog), last);
      last = Contrast(fog);
    }
  }
  // Snow is white: it lightens what is dark.
  for (int severity = 1; severity <= 3; ++severity) {
    const Image snow = CorruptImage(image, {CorruptionKind::kSnow, severity}, 8);
    EXPECT_GT(Mean(snow), 0.9 * Mean(image));
    EXPECT_GT(*std::max_element(snow.data.begin(), snow.data.end()), 200);
  }
}

TEST(CorruptImage, MissesCamerasAsOftenAsPublished) {
  const Image image(1, 1, 3, 99);
  for (int severity = 1; severity <= 3; ++severity) {
    int missing = 0;
    for (uint64_t key = 0; key < 3000; ++key) {
      missing +=
          CorruptImage(image, {CorruptionKind::kMissingCamera, severity}, MixBits(key)).data[0] ==
          0;
    }
    const double p = 0.2 * severity;
    EXPECT_NEAR(missing, 3000 * p, 5 * std::sqrt(3000 * p * (1 - p)));
  }
}

TEST(CorruptImage, IsDeterministicWhateverTheThreadsAndTakesAnySize) {
  for (int k = 0; k < kNumCorruptions; ++k) {
    const Corruption corruption = {static_cast<CorruptionKind>(k), 2};
    SetNumThreads(1);
    const Image one = CorruptImage(MakePicture(), corruption, 12);
    SetNumThreads(3);
    EXPECT_EQ(one.data, CorruptImage(MakePicture(), corruption, 12).data);
    SetNumThreads(0);
    EXPECT_EQ(CorruptImage(Image(1, 1, 3, 70), corruption, 12).data.size(), 3u);
    EXPECT_TRUE(CorruptImage(Image(), corruption, 12).data.empty());
  }
  EXPECT_THAT(ErrorOf([] { CorruptImage(Image(2, 2, 1), {CorruptionKind::kDark}, 0); }),
              HasSubstr("expected 3 channels, found 1"));
}

TEST(GuessDepth, FindsGroundWallAndSky) {
  // A wall 20 m ahead on the left half, seen by beams 2 degrees apart from -20 to 10 degrees; flat
  // ground 1.6 m below; nothing on the right.
  LidarSweep sweep;
  for (double elevation = -20; elevation <= 10; elevation += 2) {
    for (double azimuth = -40; azimuth <= 40; azimuth += 0.25) {
      const Eigen::Vector3d ray(std::cos(azimuth * M_PI / 180), std::sin(azimuth * M_PI / 180),
                                std::tan(elevation * M_PI / 180));
      double scale = ray.z() < 0 ? -1.6 / ray.z() : 1e9;
      if (azimuth > 0) scale = std::min(scale, 20 / ray.x());
      if (scale > 100) continue;
      sweep.points.push_back((ray * scale).cast<float>());
      sweep.intensity.push_back(0.2f);
    }
  }
  Camera camera;
  camera.width_px = 640;
  camera.height_px = 480;
  camera.parameters = {400, 400, 320, 240};
  Eigen::Matrix3d ego_from_camera;
  ego_from_camera << 0, 0, 1, -1, 0, 0, 0, -1, 0;
  const Rigid3 mount = {Eigen::Quaterniond(ego_from_camera), {0, 0, 1.6}};
  const Rigid3 ego_from_lidar = {Eigen::Quaterniond::Identity(), {0, 0, 1.6}};
  const FloatImage depth = GuessDepth(sweep, camera, mount.Inverse() * ego_from_lidar, mount);
  ASSERT_EQ(depth.width, 80);
  EXPECT_NEAR(*depth.at(20, 25), 20, 0.5);                            // the wall
  EXPECT_NEAR(*depth.at(20, 2), 20, 0.5);                             // goes on above the beams
  EXPECT_NEAR(*depth.at(60, 40), 1.6 * 400 / (40.5 * 8 - 240), 1.5);  // the ground, 7.6 m
  EXPECT_FLOAT_EQ(*depth.at(60, 2), kSkyDepth_m);
  EXPECT_FLOAT_EQ(*GuessDepth({}, camera, Rigid3(), mount).at(3, 3), kSkyDepth_m);
}

TEST(AlignDepth, MovesEdgesToThoseOfThePicture) {
  Image picture(80, 80, 3, 20);  // black up to column 40, then white
  for (int y = 0; y < 80; ++y) std::fill(picture.at(40, y), picture.at(79, y) + 3, 230);
  FloatImage depth(40, 40, 1, 10.0f);  // but the guess is near up to column 48 of 80
  for (int y = 0; y < 40; ++y) std::fill(depth.at(24, y), depth.at(39, y) + 1, 100.0f);
  AlignDepth(picture, &depth);
  EXPECT_NEAR(*depth.at(18, 20), 10, 0.5);
  EXPECT_GT(*depth.at(21, 20), 15);
  EXPECT_GT(*depth.at(22, 20), *depth.at(20, 20) - 1e-3);
}

}  // namespace
}  // namespace athanor
