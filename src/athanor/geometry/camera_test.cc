#include "athanor/geometry/camera.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <numbers>

#include "athanor/base/error.h"
#include "athanor/base/random.h"
#include "athanor/base/test_util.h"
#include "athanor/geometry/rigid3.h"

namespace athanor {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();
constexpr double kInfinity = std::numeric_limits<double>::infinity();

// The camera of a phone, as COLMAP found it.
Camera PhoneCamera() {
  return {CameraModel::kOpenCv,
          1080,
          1920,
          {1375.52, 1374.49, 554.558, 965.268, .0578421, -.0805099, -.000980296, .00015575}};
}

std::vector<Camera> AllModels() {
  return {
      {CameraModel::kSimplePinhole, 640, 480, {500, 321, 239}},
      {CameraModel::kPinhole, 640, 480, {500, 510, 321, 239}},
      {CameraModel::kSimpleRadial, 640, 480, {500, 321, 239, -0.12}},
      {CameraModel::kRadial, 640, 480, {500, 321, 239, -0.2, 0.05}},
      PhoneCamera(),
      {CameraModel::kOpenCvFisheye, 640, 480, {400, 401, 321, 239, 0.02, -0.01, 0.003, -0.0005}},
      {CameraModel::kFullOpenCv,
       640,
       480,
       {500, 505, 321, 239, 0.3, -0.1, 0.001, -0.002, 0.02, 0.4, -0.05, 0.01}},
  };
}

TEST(CameraTest, NamesAndCountsAreColmaps) {
  EXPECT_EQ(CameraModelFromName("FULL_OPENCV"), CameraModel::kFullOpenCv);
  EXPECT_EQ(CameraModelFromName("FOV"), std::nullopt);
  EXPECT_EQ(CameraModelName(CameraModel::kOpenCvFisheye), "OPENCV_FISHEYE");
  constexpr int kCounts[] = {3, 4, 4, 5, 8, 8, 12};
  for (int i = 0; i < kNumCameraModels; ++i) {
    const auto model = static_cast<CameraModel>(i);
    EXPECT_EQ(NumCameraParameters(model), kCounts[i]);
    EXPECT_EQ(CameraModelFromName(CameraModelName(model)), model);
  }
  EXPECT_THAT(ErrorOf([] { CameraModelName(static_cast<CameraModel>(7)); }), HasSubstr("found 7"));
}

TEST(CameraTest, UnprojectThenProjectReturnsToThePixelForAllModels) {
  for (const Camera& camera : AllModels()) {
    camera.Check("test");
    for (int i = 0; i <= 20; ++i) {
      for (int j = 0; j <= 20; ++j) {
        const Eigen::Vector2d pixel(camera.width_px * i / 20.0, camera.height_px * j / 20.0);
        const auto ray = camera.Unproject(pixel);
        ASSERT_TRUE(ray) << CameraModelName(camera.model) << " at " << pixel.transpose();
        EXPECT_EQ(ray->z(), 1);
        const auto back = camera.Project(*ray * 3.7);
        ASSERT_TRUE(back);
        EXPECT_LT((*back - pixel).norm(), 1e-7) << CameraModelName(camera.model);
      }
    }
  }
}

// The formulas of OpenCV's manual, written out once more with plain powers.
TEST(CameraTest, ProjectsAsTheFormulasSay) {
  Random random(3);
  for (const Camera& camera : AllModels()) {
    const auto& p = camera.parameters;
    for (int i = 0; i < 200; ++i) {
      const Eigen::Vector3d point(random.Uniform(-1, 1), random.Uniform(-1, 1),
                                  random.Uniform(2.5f, 4));
      const double x = point.x() / point.z(), y = point.y() / point.z();
      const double r = std::hypot(x, y);
      double xd = x, yd = y;
      const auto tangential = [&](double p1, double p2) {
        xd += 2 * p1 * x * y + p2 * (r * r + 2 * x * x);
        yd += p1 * (r * r + 2 * y * y) + 2 * p2 * x * y;
      };
      const auto scale = [&](double factor) {
        xd *= factor;
        yd *= factor;
      };
      Eigen::Vector2d expected;
      switch (camera.model) {
        case CameraModel::kSimplePinhole:
          expected = {p[0] * x + p[1], p[0] * y + p[2]};
          break;
        case CameraModel::kPinhole:
          expected = {p[0] * x + p[2], p[1] * y + p[3]};
          break;
        case CameraModel::kSimpleRadial:
          scale(1 + p[3] * std::pow(r, 2));
          expected = {p[0] * xd + p[1], p[0] * yd + p[2]};
          break;
        case CameraModel::kRadial:
          scale(1 + p[3] * std::pow(r, 2) + p[4] * std::pow(r, 4));
          expected = {p[0] * xd + p[1], p[0] * yd + p[2]};
          break;
        case CameraModel::kOpenCv:
          scale(1 + p[4] * std::pow(r, 2) + p[5] * std::pow(r, 4));
          tangential(p[6], p[7]);
          expected = {p[0] * xd + p[2], p[1] * yd + p[3]};
          break;
        case CameraModel::kOpenCvFisheye: {
          const double t = std::acos(point.z() / point.norm());
          const double td = t + p[4] * std::pow(t, 3) + p[5] * std::pow(t, 5) +
                            p[6] * std::pow(t, 7) + p[7] * std::pow(t, 9);
          scale(td / r);
          expected = {p[0] * xd + p[2], p[1] * yd + p[3]};
          break;
        }
        case CameraModel::kFullOpenCv:
          scale((1 + p[4] * std::pow(r, 2) + p[5] * std::pow(r, 4) + p[8] * std::pow(r, 6)) /
                (1 + p[9] * std::pow(r, 2) + p[10] * std::pow(r, 4) + p[11] * std::pow(r, 6)));
          tangential(p[6], p[7]);
          expected = {p[0] * xd + p[2], p[1] * yd + p[3]};
          break;
      }
      const auto pixel = camera.Project(point);
      ASSERT_TRUE(pixel);
      EXPECT_LT((*pixel - expected).norm(), 1e-9) << CameraModelName(camera.model);
    }
  }
}

TEST(CameraTest, ThePrincipalPointLooksStraightAhead) {
  for (const Camera& camera : AllModels()) {
    const auto pixel = camera.Project({0, 0, 2});
    ASSERT_TRUE(pixel);
    EXPECT_EQ(*pixel, Eigen::Vector2d(camera.cx(), camera.cy()));
    const auto ray = camera.Unproject(*pixel);
    ASSERT_TRUE(ray);
    EXPECT_EQ(*ray, Eigen::Vector3d(0, 0, 1));
  }
}

TEST(CameraTest, NothingBehindAndNothingUndefinedIsSeen) {
  for (const Camera& camera : AllModels()) {
    const bool fisheye = camera.model == CameraModel::kOpenCvFisheye;
    EXPECT_EQ(camera.Project({1, 0, -0.2}).has_value(), fisheye)
        << "a fisheye sees past 90 degrees";
    EXPECT_FALSE(camera.Project({0, 0, 0}));
    EXPECT_FALSE(camera.Project({kNaN, 0, 1}));
    EXPECT_FALSE(camera.Project({0, 0, kNaN}));
    EXPECT_FALSE(camera.Project({kInfinity, 0, 1}));
    EXPECT_FALSE(camera.Unproject({kNaN, 0}));
    EXPECT_FALSE(camera.Unproject({0, -kInfinity}));
  }
}

// x (1 - 0.5 x^2) grows up to x = sqrt(2/3), where it is 0.5443, and folds back beyond.
TEST(CameraTest, ADistortionThatFoldsBackEndsWhereItFolds) {
  const Camera camera{CameraModel::kSimpleRadial, 200, 200, {100, 100, 100, -0.5}};
  const double fold = std::sqrt(2.0 / 3);
  EXPECT_TRUE(camera.Project({fold - 1e-3, 0, 1}));
  EXPECT_FALSE(camera.Project({fold + 1e-3, 0, 1}));
  EXPECT_FALSE(camera.Project({1.2, 0, 1})) << "would land in the image";
  EXPECT_TRUE(camera.Unproject({100 + 54.4, 100}));
  EXPECT_FALSE(camera.Unproject({100 + 54.5, 100}));

  // Here the profile rises again later, so that a look at the point alone does not do.
  const Camera wave{CameraModel::kRadial, 200, 200, {100, 100, 100, -0.6, 0.12}};
  EXPECT_TRUE(wave.Project({0.7, 0, 1}));
  EXPECT_FALSE(wave.Project({1.6, 0, 1}));

  // A pole of the rational model: 1 - u / 4 is zero at r = 2.
  const Camera pole{
      CameraModel::kFullOpenCv, 200, 200, {100, 100, 100, 100, 0, 0, 0, 0, 0, -0.25, 0, 0}};
  EXPECT_TRUE(pole.Project({1.9, 0, 1}));
  EXPECT_FALSE(pole.Project({2.1, 0, 1}));
}

TEST(CameraTest, ResizedSeesTheSameRays) {
  for (const Camera& camera : AllModels()) {
    for (const auto& [width, height] : {std::pair{320, 240}, std::pair{200, 481}}) {
      const Camera resized = camera.Resized(width, height);
      const Eigen::Vector3d point(0.2, -0.3, 1.4);
      const auto before = camera.Project(point), after = resized.Project(point);
      ASSERT_TRUE(before && after);
      EXPECT_NEAR(after->x(), before->x() * width / camera.width_px, 1e-9);
      EXPECT_NEAR(after->y(), before->y() * height / camera.height_px, 1e-9);
      EXPECT_EQ(resized.width_px, width);
    }
  }
  EXPECT_THAT(ErrorOf([] { PhoneCamera().Resized(0, 5); }), HasSubstr("1080x1920 to 0x5"));
}

TEST(CameraTest, CheckNamesPlaceAndValue) {
  Camera camera = PhoneCamera();
  camera.parameters[5] = kNaN;
  EXPECT_THAT(ErrorOf([&] { camera.Check("cameras.bin: camera 3"); }),
              AllOf(HasSubstr("cameras.bin: camera 3"), HasSubstr("parameter 5 of OPENCV"),
                    HasSubstr("nan")));
  camera = PhoneCamera();
  camera.parameters[1] = -2;
  EXPECT_THAT(ErrorOf([&] { camera.Check("x"); }), HasSubstr("found 1375.52 and -2"));
  camera = PhoneCamera();
  camera.height_px = 0;
  EXPECT_THAT(ErrorOf([&] { camera.Check("x"); }), HasSubstr("1080x0"));
  camera = PhoneCamera();
  camera.model = static_cast<CameraModel>(-1);
  EXPECT_THAT(ErrorOf([&] { camera.Check("x"); }), HasSubstr("found -1"));
}

TEST(CameraTest, OnlyDistortionMakesItNoPinhole) {
  EXPECT_TRUE(Camera({CameraModel::kOpenCv, 4, 4, {2, 2, 2, 2}}).IsPinhole());
  EXPECT_TRUE(Camera({CameraModel::kPinhole, 4, 4, {2, 2, 2, 2}}).IsPinhole());
  EXPECT_FALSE(Camera({CameraModel::kOpenCvFisheye, 4, 4, {2, 2, 2, 2}}).IsPinhole());
  EXPECT_FALSE(PhoneCamera().IsPinhole());
}

// Every pixel of the undistorted camera, corners and edges included, lies inside the source.
void ExpectInside(const Camera& source, const Camera& pinhole) {
  ASSERT_EQ(pinhole.model, CameraModel::kPinhole);
  const double w = pinhole.width_px, h = pinhole.height_px;
  const int steps = 4000;
  for (int i = 0; i <= steps; ++i) {
    const double s = static_cast<double>(i) / steps;
    for (const Eigen::Vector2d& pixel : {Eigen::Vector2d(s * w, 0), Eigen::Vector2d(s * w, h),
                                         Eigen::Vector2d(0, s * h), Eigen::Vector2d(w, s * h)}) {
      const auto ray = pinhole.Unproject(pixel);
      const auto seen = source.Project(*ray);
      ASSERT_TRUE(seen) << CameraModelName(source.model) << " " << pixel.transpose();
      ASSERT_GT(seen->x(), -1e-6) << CameraModelName(source.model) << " " << pixel.transpose();
      ASSERT_LT(seen->x(), source.width_px + 1e-6);
      ASSERT_GT(seen->y(), -1e-6);
      ASSERT_LT(seen->y(), source.height_px + 1e-6);
    }
  }
}

// Growing any one side by two pixels would show what the source does not see.
void ExpectLargest(const Camera& source, const Camera& pinhole) {
  for (int side = 0; side < 4; ++side) {
    const double left = side == 0 ? -2 : 0, right = pinhole.width_px + (side == 1 ? 2 : 0);
    const double top = side == 2 ? -2 : 0, bottom = pinhole.height_px + (side == 3 ? 2 : 0);
    bool outside = false;
    for (int i = 0; i <= 1000 && !outside; ++i) {
      const double x = left + (right - left) * i / 1000, y = top + (bottom - top) * i / 1000;
      for (const Eigen::Vector2d& pixel : {Eigen::Vector2d(x, top), Eigen::Vector2d(x, bottom),
                                           Eigen::Vector2d(left, y), Eigen::Vector2d(right, y)}) {
        const auto seen = source.Project(*pinhole.Unproject(pixel));
        outside |= !seen || seen->x() < 0 || seen->x() > source.width_px || seen->y() < 0 ||
                   seen->y() > source.height_px;
      }
    }
    EXPECT_TRUE(outside) << CameraModelName(source.model) << " side " << side;
  }
}

TEST(UndistortedCameraTest, IsTheLargestWithoutBlankBorder) {
  for (const Camera& camera : AllModels()) {
    const Camera pinhole = UndistortedCamera(camera);
    ExpectInside(camera, pinhole);
    ExpectLargest(camera, pinhole);
    EXPECT_EQ(pinhole.fx(), camera.fx());
    EXPECT_EQ(pinhole.fy(), camera.fy());
  }
}

// At the top, y = 0.702 is distorted by 1 + k1 u + k2 u^2 = 1.009: some 9 pixels are lost there.
TEST(UndistortedCameraTest, PhoneLosesAboutOnePerCent) {
  const Camera pinhole = UndistortedCamera(PhoneCamera());
  EXPECT_NEAR(pinhole.width_px, 1067, 1);
  EXPECT_NEAR(pinhole.height_px, 1902, 1);
}

TEST(UndistortedCameraTest, AWideFisheyeIsCutAt60DegreesOnEachSide) {
  // 200 pixels per radian: the image of 1000 pixels spans 286 degrees.
  const Camera camera{CameraModel::kOpenCvFisheye, 1000, 1000, {200, 200, 500, 500}};
  const Camera pinhole = UndistortedCamera(camera);
  ExpectInside(camera, pinhole);
  EXPECT_NEAR(pinhole.width_px, 2 * 200 * std::sqrt(3.0), 2);
  EXPECT_NEAR(2 * std::atan(0.5 * pinhole.width_px / pinhole.fx()), 120 * std::numbers::pi / 180,
              0.01);
}

TEST(UndistortedCameraTest, RefusesAPrincipalPointOutside) {
  Camera camera = PhoneCamera();
  camera.parameters[2] = -3;
  EXPECT_THAT(ErrorOf([&] { UndistortedCamera(camera); }),
              AllOf(HasSubstr("principal point"), HasSubstr("-3")));
}

TEST(Rigid3Test, ComposesAndInverts) {
  const Rigid3 b_from_a{Eigen::Quaterniond(0.5, -0.5, 0.5, 0.5), {1, 2, 3}};
  const Rigid3 c_from_b{Eigen::Quaterniond(Eigen::AngleAxisd(0.3, Eigen::Vector3d::UnitX())),
                        {-4, 0, 0.5}};
  const Eigen::Vector3d x_in_a(0.3, -2, 7);
  const Eigen::Vector3d x_in_c = c_from_b * (b_from_a * x_in_a);
  EXPECT_LT(((c_from_b * b_from_a) * x_in_a - x_in_c).norm(), 1e-12);
  EXPECT_LT((b_from_a.Inverse() * (b_from_a * x_in_a) - x_in_a).norm(), 1e-12);
  EXPECT_LT((c_from_b.ToMatrix() * (b_from_a * x_in_a).homogeneous() - x_in_c).norm(), 1e-12);
}

}  // namespace
}  // namespace athanor
