#include "athanor/scenes/gaussians/evaluate.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <cmath>
#include <filesystem>
#include <limits>

#include "athanor/base/error.h"
#include "athanor/base/files.h"
#include "athanor/base/test_util.h"
#include "athanor/scenes/gaussians/show.h"

namespace athanor {
namespace {

namespace fs = std::filesystem;

constexpr int kWidth = 48, kHeight = 32;
constexpr float kSh0 = 0.28209479177387814f;

// A wall of one grey, at z = 2 in front of a camera at the origin, that fills the view: one wide
// Gaussian, thin along z. Its alpha is 0.99 at the middle and hardly less elsewhere.
GaussianModel Wall(float grey) {
  GaussianCloud cloud;
  cloud.Resize(1);
  cloud.means = {0, 0, 2};
  cloud.quats = {1, 0, 0, 0};
  cloud.log_scales = {std::log(100.0f), std::log(100.0f), std::log(1e-3f)};
  cloud.opacity_logits = {10};
  for (float& dc : cloud.sh) dc = (grey - 0.5f) / kSh0;
  return GaussianModel::FromCloud(cloud, /*with_moments=*/false, c10::kCPU);
}

struct Capture {
  PosedImages posed;
  Image truth;
};

// One photograph of grey level `left` on its left half and `right` on its right half.
Capture MakeCapture(const fs::path& folder, uint8_t left, uint8_t right) {
  Capture capture;
  capture.truth = Image(kWidth, kHeight, 3);
  for (int y = 0; y < kHeight; ++y) {
    for (int x = 0; x < kWidth; ++x) {
      for (int c = 0; c < 3; ++c) capture.truth.at(x, y)[c] = x < kWidth / 2 ? left : right;
    }
  }
  PosedImages& posed = capture.posed;
  posed.source = folder.string();
  Camera camera;
  camera.width_px = kWidth, camera.height_px = kHeight;
  camera.parameters = {50, 50, kWidth / 2.0, kHeight / 2.0};
  posed.cameras = {camera};
  PosedImage image;
  image.name = "left/0001.png";
  image.image_path = folder / "0001.png";
  WriteImage(image.image_path, capture.truth);
  posed.images = {image};
  return capture;
}

double PsnrOf(double difference) { return -20 * std::log10(difference); }

TEST(EvaluateTest, PsnrAgreesWithTheDefinition) {
  const Capture capture = MakeCapture(TestFolder("psnr"), 102, 153);  // 0.4 and 0.6
  ViewCache views(capture.posed, {});
  const SceneScore score = Evaluate(Wall(0.5f), capture.posed, &views, {0}, {});
  ASSERT_EQ(score.views.size(), 1u);
  // The wall lets 1% of the black behind through: 0.495.
  const double mean_square = (0.095 * 0.095 + 0.105 * 0.105) / 2;
  EXPECT_NEAR(score.psnr_db, PsnrOf(std::sqrt(mean_square)), 0.05);
  EXPECT_EQ(score.views[0].name, "left/0001.png");
  EXPECT_GT(score.ssim, 0);
  EXPECT_LT(score.ssim, 1);
  EXPECT_EQ(score.depth_mae, -1) << "no depth is known";
}

TEST(EvaluateTest, MaskedPixelsDoNotCount) {
  const fs::path folder = TestFolder("mask");
  Capture capture = MakeCapture(folder, 102, 255);
  Image mask(kWidth, kHeight, 1);
  for (int y = 0; y < kHeight; ++y) {
    for (int x = 0; x < kWidth / 2; ++x) *mask.at(x, y) = 255;
  }
  WriteImage(folder / "mask.png", mask);
  capture.posed.images[0].mask_path = folder / "mask.png";
  ViewCache views(capture.posed, {});
  const SceneScore score = Evaluate(Wall(0.5f), capture.posed, &views, {0}, {});
  EXPECT_NEAR(score.psnr_db, PsnrOf(0.095), 0.1);
}

TEST(EvaluateTest, DepthErrorIsMeasuredWhereTheTruthIsKnown) {
  const fs::path folder = TestFolder("depth");
  Capture capture = MakeCapture(folder, 128, 128);
  DepthImage depth(kWidth, kHeight, 1);
  for (int y = 0; y < kHeight; ++y) {
    for (int x = 0; x < kWidth; ++x) *depth.at(x, y) = x < kWidth / 4 ? 0 : x % 2 ? 2500 : 1900;
  }
  WriteDepthPng(folder / "depth.png", depth);
  capture.posed.images[0].depth_path = folder / "depth.png";
  ViewCache views(capture.posed, {});
  const SceneScore score = Evaluate(Wall(0.5f), capture.posed, &views, {0}, {});
  EXPECT_NEAR(score.depth_mae, (0.5 + 0.1) / 2, 1e-3);
  EXPECT_NEAR(score.views[0].depth_mae, score.depth_mae, 1e-12);
  EXPECT_NEAR(score.views[0].depth_median_error, 0.5, 1e-3);
}

TEST(EvaluateTest, WritesASheetPerImageAndRefusesABadIndex) {
  const fs::path folder = TestFolder("sheets");
  const Capture capture = MakeCapture(folder, 100, 200);
  ViewCache views(capture.posed, {});
  Evaluate(Wall(0.5f), capture.posed, &views, {0}, {}, folder / "sheets");
  const Image sheet = ReadImage(folder / "sheets" / "left_0001.png");
  EXPECT_GT(sheet.width, 3 * 100) << "three pictures side by side";
  EXPECT_THROW(Evaluate(Wall(0.5f), capture.posed, &views, {1}, {}), Error);
  EXPECT_TRUE(Evaluate(Wall(0.5f), capture.posed, &views, {}, {}).views.empty());
}

TEST(ToImageTest, ClipsAndRounds) {
  const float nan = std::numeric_limits<float>::quiet_NaN();
  const at::Tensor planar =
      at::tensor({-1.0f, 0.5f, 0.0f, 1.0f, 2.0f, nan}).reshape({3, 1, 2}).contiguous();
  const Image image = ToImage(planar);
  ASSERT_EQ(image.width, 2);
  ASSERT_EQ(image.height, 1);
  EXPECT_EQ(image.data, (std::vector<uint8_t>{0, 0, 255, 128, 255, 0}));
  EXPECT_THROW(ToImage(at::zeros({1, 2, 2})), Error);
}

TEST(RenderPathTest, WritesEveryFrameOfEveryChannel) {
  const fs::path folder = TestFolder("path");
  const Capture capture = MakeCapture(folder, 0, 0);
  std::vector<PathView> path(3, {capture.posed.cameras[0], Rigid3()});
  path[1].camera_from_world.translation.z() = 1;  // one step back: the wall is at 3
  path = ResizePath(path, 24, 0);
  EXPECT_EQ(path[0].camera.height_px, 16);
  EXPECT_EQ(ResizePath(path, 0, 12)[0].camera.width_px, 12);
  EXPECT_EQ(ResizePath(path, 0, 100)[0].camera.width_px, 24) << "never enlarged";
  const GaussianModel wall = Wall(0.6f);
  for (const char* name : {"rgb", "alpha", "depth", "median_depth"}) {
    const fs::path out = folder / name;
    const fs::path overview = RenderPath(wall, path, {}, ChannelFromName(name), out);
    EXPECT_GT(ReadImage(overview).width, 3 * 24);
    for (int i = 0; i < 3; ++i) {
      EXPECT_EQ(ReadImage(out / ("frame_000" + std::to_string(i) + ".png")).width, 24);
    }
  }
  const auto middle = [&](const char* channel, int frame) {
    const Image image =
        ReadImage(folder / channel / ("frame_000" + std::to_string(frame) + ".png"));
    const uint8_t* p = image.at(12, 8);
    return std::array<int, 3>{p[0], p[1], p[2]};
  };
  EXPECT_NEAR(middle("rgb", 0)[1], 0.99 * 0.6 * 255, 1.5);
  EXPECT_NEAR(middle("alpha", 0)[0], 0.99 * 255, 1.5);
  for (const char* channel : {"depth", "median_depth"}) {
    EXPECT_EQ(middle(channel, 0), middle(channel, 2));
    EXPECT_NE(middle(channel, 0), middle(channel, 1)) << "one scale for all frames";
    EXPECT_GT(middle(channel, 0)[0], middle(channel, 0)[2]) << "near is warm";
    EXPECT_LT(middle(channel, 1)[0], middle(channel, 0)[0] / 2) << "far is cold and dark";
  }
  EXPECT_THROW(RenderPath(wall, {}, {}, Channel::kRgb, folder), Error);
  EXPECT_THROW(ChannelFromName("heat"), Error);
}

}  // namespace
}  // namespace athanor
