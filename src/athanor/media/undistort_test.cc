#include "athanor/media/undistort.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>

#include "athanor/base/error.h"
#include "athanor/base/parallel.h"
#include "athanor/base/test_util.h"

namespace athanor {
namespace {

using ::testing::Each;
using ::testing::HasSubstr;
using ::testing::Ne;

// A wall at z = 1 with a smooth pattern on it.
double Wall(double x, double y, int channel) {
  return 128 + 90 * std::sin(9 * x + channel) * std::cos(7 * y - 2 * channel);
}

// The photograph that the camera takes of the wall, by its inverse model, pixel for pixel.
Image Photograph(const Camera& camera) {
  Image image(camera.width_px, camera.height_px, 3);
  for (int y = 0; y < camera.height_px; ++y) {
    for (int x = 0; x < camera.width_px; ++x) {
      const auto ray = camera.Unproject({x + 0.5, y + 0.5});
      for (int c = 0; c < 3; ++c) {
        image.at(x, y)[c] = static_cast<uint8_t>(std::lround(Wall(ray->x(), ray->y(), c)));
      }
    }
  }
  return image;
}

const Camera kCameras[] = {
    {CameraModel::kSimpleRadial, 200, 150, {160, 98, 77, -0.2}},
    {CameraModel::kOpenCv, 200, 150, {160, 158, 98, 77, -0.15, 0.06, 0.004, -0.003}},
    {CameraModel::kOpenCvFisheye, 200, 150, {140, 139, 98, 77, 0.03, -0.01, 0.002, 0}},
    {CameraModel::kFullOpenCv,
     200,
     150,
     {160, 158, 98, 77, 0.2, 0.05, 0.001, -0.002, 0.01, 0.4, 0.02, 0.01}},
};

TEST(UndistortTest, ShowsTheWallAsAPinholeCameraDoes) {
  for (const Camera& camera : kCameras) {
    const Camera pinhole = UndistortedCamera(camera);
    const Image image = Undistort(Photograph(camera), camera, pinhole);
    ASSERT_EQ(image.width, pinhole.width_px);
    ASSERT_EQ(image.height, pinhole.height_px);
    double worst = 0, sum = 0;
    for (int y = 0; y < image.height; ++y) {
      for (int x = 0; x < image.width; ++x) {
        const double ray_x = (x + 0.5 - pinhole.cx()) / pinhole.fx();
        const double ray_y = (y + 0.5 - pinhole.cy()) / pinhole.fy();
        for (int c = 0; c < 3; ++c) {
          const double error = std::abs(image.at(x, y)[c] - Wall(ray_x, ray_y, c));
          worst = std::max(worst, error);
          sum += error;
        }
      }
    }
    // Rounding twice; at the border half a pixel of a pattern that changes by 6 per pixel.
    EXPECT_LT(worst, 4.5) << CameraModelName(camera.model);
    EXPECT_LT(sum / (3.0 * image.width * image.height), 0.5) << CameraModelName(camera.model);
  }
}

TEST(UndistortTest, LeavesNoBlankBorder) {
  for (const Camera& camera : kCameras) {
    const Image white(camera.width_px, camera.height_px, 1, 255);
    EXPECT_THAT(Undistort(white, camera, UndistortedCamera(camera)).data, Each(255));
  }
}

TEST(UndistortTest, WhatTheSourceDoesNotSeeIsZero) {
  const Camera& camera = kCameras[0];
  const Camera wide{CameraModel::kPinhole, 400, 300, {100, 100, 200, 150}};
  const Image image = Undistort(Image(200, 150, 1, 255), camera, wide);
  EXPECT_EQ(*image.at(200, 150), 255);
  EXPECT_EQ(*image.at(0, 0), 0);
  EXPECT_EQ(*image.at(399, 150), 0);
}

TEST(UndistortTest, NearestMixesNoValues) {
  const Camera& camera = kCameras[1];
  const Camera pinhole = UndistortedCamera(camera);
  Image mask(200, 150, 1, 3);
  DepthImage depth(200, 150, 1, 3);
  for (int y = 0; y < 150; ++y) {
    for (int x = 0; x < 200; x += 2) {
      *mask.at(x, y) = 200;
      *depth.at(x, y) = 40000;
    }
  }
  const Image mask_seen = Undistort(mask, camera, pinhole, Sampling::kNearest);
  const DepthImage depth_seen = Undistort(depth, camera, pinhole);
  for (int y = 0; y < pinhole.height_px; ++y) {
    for (int x = 0; x < pinhole.width_px; ++x) {
      const auto pixel = camera.Project(*pinhole.Unproject({x + 0.5, y + 0.5}));
      const bool even = static_cast<int>(std::floor(pixel->x())) % 2 == 0;
      ASSERT_EQ(*mask_seen.at(x, y), even ? 200 : 3);
      ASSERT_EQ(*depth_seen.at(x, y), even ? 40000 : 3);
    }
  }
}

TEST(UndistortTest, TheSameCameraChangesNothing) {
  const Camera camera{CameraModel::kPinhole, 20, 10, {15, 15, 10, 5}};
  Image image(20, 10, 3);
  for (size_t i = 0; i < image.data.size(); ++i) image.data[i] = static_cast<uint8_t>(37 * i);
  EXPECT_EQ(Undistort(image, camera, camera).data, image.data);
  const Camera dot{CameraModel::kPinhole, 1, 1, {1, 1, 0.5, 0.5}};
  EXPECT_EQ(Undistort(Image(1, 1, 3, 9), dot, dot).data, Image(1, 1, 3, 9).data);
}

TEST(UndistortTest, SameWhateverTheThreads) {
  const Image image = Photograph(kCameras[2]);
  const Camera pinhole = UndistortedCamera(kCameras[2]);
  SetNumThreads(1);
  const Image one = Undistort(image, kCameras[2], pinhole);
  SetNumThreads(3);
  EXPECT_EQ(Undistort(image, kCameras[2], pinhole).data, one.data);
  SetNumThreads(0);
}

TEST(UndistortTest, RefusesWhatDoesNotFit) {
  const Camera& camera = kCameras[0];
  EXPECT_THAT(ErrorOf([&] { Undistort(Image(100, 75, 3), camera, UndistortedCamera(camera)); }),
              HasSubstr("200x150 pixels, found 100x75"));
  EXPECT_THAT(ErrorOf([&] { Undistort(Image(200, 150, 3), camera, camera); }),
              HasSubstr("without distortion"));
}

}  // namespace
}  // namespace athanor
