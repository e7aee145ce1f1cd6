#include "athanor/detection/profusion3d/detection_pictures.h"

#include <ATen/ATen.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <cstdlib>

#include "athanor/base/test_util.h"
#include "athanor/detection/profusion3d/sample_test_util.h"

namespace athanor {
namespace {

using ::testing::HasSubstr;

// Cameras that look ahead, to the left, back and to the right, at 1.5 m; grey pictures. A LiDAR
// with a point each metre of the ground.
DetectionSample GreySample() {
  DetectionSample sample;
  sample.id = "sample-7";
  sample.images = at::full({4, 3, 96, 160}, 90, at::kByte);
  sample.has_camera = at::ones({4}, at::kByte);
  sample.camera_from_ego = at::zeros({4, 4, 4});
  sample.intrinsics = at::zeros({4, 3, 3});
  for (int64_t c = 0; c < 4; ++c) {
    float* e = sample.camera_from_ego.data_ptr<float>() + c * 16;
    const float x = std::round(std::cos(M_PI_2 * c)), y = std::round(std::sin(M_PI_2 * c));
    e[0] = y, e[1] = -x;
    e[6] = -1, e[7] = 1.5f;
    e[8] = x, e[9] = y;
    e[15] = 1;
    float* k = sample.intrinsics.data_ptr<float>() + c * 9;
    k[0] = k[4] = 80, k[2] = 80, k[5] = 48, k[8] = 1;
  }
  sample.points = at::zeros({81 * 81, kPointColumns});
  for (int i = 0; i < 81 * 81; ++i) {
    sample.points[i][0] = i % 81 - 40;
    sample.points[i][1] = i / 81 - 40;
  }
  sample.boxes = at::tensor({20.f, 8.f, 1.f, 4.f, 2.f, 2.f, 0.f, 3.f, 0.f}).view({1, kBoxColumns});
  sample.labels = at::tensor({1}, at::kLong);
  sample.attributes = at::tensor({5}, at::kLong);
  return sample;
}

Detection At(float x, float y, int label, float score) {
  Detection detection;
  detection.box = {x, y, 1, 4, 2, 2, 0, 0, 0};
  detection.label = label;
  detection.score = score;
  return detection;
}

// Pixels of this colour, within `within` of each channel.
int Count(const Image& image, Color color, int within = 0) {
  int count = 0;
  for (int y = 0; y < image.height; ++y) {
    for (int x = 0; x < image.width; ++x) {
      const uint8_t* p = image.at(x, y);
      count += std::abs(p[0] - color.r) <= within && std::abs(p[1] - color.g) <= within &&
               std::abs(p[2] - color.b) <= within;
    }
  }
  return count;
}

Color ColorAt(const Image& image, double x, double y) {
  const uint8_t* p = image.at(static_cast<int>(x), static_cast<int>(y));
  return {p[0], p[1], p[2]};
}

TEST(DetectionPictures, FromAboveBoxesStandWhereTheyAre) {
  const DetectionSample sample = GreySample();
  DetectionPictureOptions options;
  options.above_px = 400, options.range_m = 40;  // 5 pixels a metre
  const std::vector<Detection> found = {At(-12, -6, 6, 1), At(-12, 10, 8, 0.5f),
                                        At(-20, 10, 9, 0.05f)};
  const Image image = DrawDetectionsFromAbove(sample, found, options);
  const Color motorcycle = DetectionColor(6), pedestrian = DetectionColor(8);
  // Its edges, and the line from its middle to its front, not to its back. Up is ahead, left left.
  const double column = 200 + 6 * 5, front = 200 + 10 * 5, back = 200 + 14 * 5;
  EXPECT_EQ(ColorAt(image, column + 2, front), motorcycle);
  EXPECT_EQ(ColorAt(image, column + 2, back), motorcycle);
  EXPECT_EQ(ColorAt(image, column - 5, front + 10), motorcycle);
  EXPECT_EQ(ColorAt(image, column, front + 5), motorcycle);
  EXPECT_NE(ColorAt(image, column, back - 5), motorcycle);
  // An unsure one is darker, one below the least score is not drawn.
  const Color unsure = ColorAt(image, 200 - 10 * 5 + 2, front);
  EXPECT_NEAR(unsure.b, 0.7 * pedestrian.b, 2);
  EXPECT_EQ(Count(image, pedestrian), 0);
  EXPECT_EQ(Count(image, DetectionColor(9)), 0);
  // The true truck is thin, and in the colour of truth.
  EXPECT_EQ(Count(image, DetectionColor(1)), 0);
  EXPECT_GT(Count(image, kTruthColor, 8), 10);
  options.truth = false;
  EXPECT_EQ(Count(DrawDetectionsFromAbove(sample, found, options), kTruthColor, 8), 0);
}

TEST(DetectionPictures, CamerasShowBoxesBeforeThem) {
  const DetectionSample sample = GreySample();
  DetectionPictureOptions options;
  options.camera_width_px = 320, options.truth = false;
  const std::vector<Detection> found = {At(10, 1, 0, 1)};
  const Image front = DrawDetectionsInCamera(sample, 0, found, options);
  ASSERT_EQ(front.width, 320);
  ASSERT_EQ(front.height, 192);
  const Color car = DetectionColor(0);
  EXPECT_GT(Count(front, car), 60);
  // A vertical edge of the nearer side: x = 8 m, y = 0 m is the middle of the picture.
  const auto corner = SeePoint(sample, 0, {8, 0, 0.6});
  ASSERT_TRUE(corner);
  EXPECT_EQ(ColorAt(front, 2 * corner->pixel.x() - 1, 2 * corner->pixel.y()).r > 150, true);
  // Its front, which lies farther, has the full colour.
  const auto far = SeePoint(sample, 0, {12, 2, 0.6});
  EXPECT_EQ(ColorAt(front, 2 * far->pixel.x(), 2 * far->pixel.y()), car);
  // No other camera has it, and none what lies behind it.
  for (const int camera : {1, 2, 3}) {
    const Image other = DrawDetectionsInCamera(sample, camera, found, options);
    EXPECT_EQ(Count(other, {90, 90, 90}), 320 * 192) << camera;
  }
  // A box around the camera is cut off, not turned inside out.
  Detection around = At(0, 0, 0, 1);
  around.box[3] = 30;
  const Image inside = DrawDetectionsInCamera(sample, 0, {{around}}, options);
  EXPECT_GT(Count(inside, car), 60);
}

TEST(DetectionPictures, MirroredCamerasShowMirroredBoxes) {
  DetectionSample sample = GreySample();
  DetectionPictureOptions options;
  options.camera_width_px = 160, options.truth = false;
  std::vector<Detection> found = {At(14, 4, 0, 1)};
  found[0].box[6] = 0.4f;
  const Image plain = DrawDetectionsInCamera(sample, 0, found, options);
  sample.camera_from_ego[0][0] *= -1;
  const Image mirrored = DrawDetectionsInCamera(sample, 0, found, options);
  int same = 0, differs = 0;
  for (int y = 46; y < 96; ++y) {  // below the name, which is not mirrored
    for (int x = 0; x < 160; ++x) {
      const int change = std::abs(plain.at(x, y)[0] - mirrored.at(159 - x, y)[0]);
      (change <= 3 ? same : differs) += 1;
    }
  }
  EXPECT_EQ(differs, 0) << same;
}

TEST(DetectionPictures, SheetsShowAllCamerasAndMarkThoseMissing) {
  DetectionSample sample = GreySample();
  const std::vector<std::string> names = {"CAM_A", "CAM_B", "CAM_C", "CAM_D"};
  DetectionPictureOptions options;
  options.camera_width_px = 200;
  const std::vector<Detection> found = {At(10, 1, 0, 0.9f), At(-15, 2, 3, 0.8f)};
  const Image sheet = DrawDetections(sample, found, names, options);
  // The legend has a patch of each class that occurs, and no other.
  for (int label = 0; label < kNumDetectionClasses; ++label) {
    const bool occurs = label == 0 || label == 1 || label == 3;  // a truck is true
    EXPECT_EQ(Count(sheet, DetectionColor(label)) >= 256, occurs) << label;
  }
  sample.has_camera[1] = 0;
  const Image without = DrawDetections(sample, found, names, options);
  EXPECT_EQ(without.width, sheet.width);
  EXPECT_EQ(without.height, sheet.height);
  EXPECT_LT(Count(without, {90, 90, 90}), Count(sheet, {90, 90, 90}) - 200 * 100);
  EXPECT_THAT(ErrorOf([&] { DrawDetections(sample, found, {"CAM_A"}, options); }),
              HasSubstr("sample-7: expected a name for each of 4 cameras, found 1"));
}

TEST(DetectionPictures, SheetsDoWithoutSensors) {
  DetectionSample sample = GreySample();
  sample.has_camera.zero_();
  sample.has_lidar = false;
  sample.points = at::empty({0, kPointColumns});
  EXPECT_GT(DrawDetections(sample, {}).width, 0);
  sample.images = at::empty({0, 3, 96, 160}, at::kByte);
  sample.has_camera = at::empty({0}, at::kByte);
  sample.camera_from_ego = at::empty({0, 4, 4});
  EXPECT_GT(DrawDetections(sample, TruthAsDetections(sample)).width, 0);
  DetectionSample nothing;
  nothing.has_lidar = false;
  EXPECT_GT(DrawDetections(nothing, {}).width, 0);
}

}  // namespace
}  // namespace athanor
