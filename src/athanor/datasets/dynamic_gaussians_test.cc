#include "athanor/datasets/dynamic_gaussians.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "athanor/base/files.h"
#include "athanor/base/random.h"
#include "athanor/base/test_util.h"
#include "athanor/datasets/numpy_files.h"

namespace athanor {
namespace {

using ::testing::HasSubstr;

DynamicGaussians RandomScene(int64_t frames, int64_t n) {
  Random random(4);
  DynamicGaussians scene;
  scene.frames = frames;
  const auto fill = [&](int64_t count) {
    std::vector<float> values(count);
    for (float& v : values) v = random.Uniform(0.1f, 0.9f);
    return values;
  };
  scene.means = fill(frames * n * 3);
  scene.quats = fill(frames * n * 4);
  scene.colors = fill(frames * n * 3);
  scene.log_scales = fill(n * 3);
  scene.opacity_logits = fill(n);
  for (int64_t i = 0; i < n; ++i) scene.is_foreground.push_back(i % 3 == 0);
  return scene;
}

TEST(DynamicGaussians, ComeBackFromTheFile) {
  const DynamicGaussians scene = RandomScene(4, 10);
  const std::filesystem::path path = TestFolder("dynamic") / "params.npz";
  WriteDynamicGaussians(path, scene);
  EXPECT_TRUE(IsDynamicGaussians(path));
  const DynamicGaussians read = ReadDynamicGaussians(path);
  EXPECT_EQ(read.frames, 4);
  EXPECT_EQ(read.means, scene.means);
  EXPECT_EQ(read.quats, scene.quats);
  EXPECT_EQ(read.colors, scene.colors);
  EXPECT_EQ(read.log_scales, scene.log_scales);
  EXPECT_EQ(read.opacity_logits, scene.opacity_logits);
  EXPECT_EQ(read.is_foreground, scene.is_foreground);
}

TEST(DynamicGaussians, AFrameIsAScene) {
  const DynamicGaussians scene = RandomScene(3, 5);
  const GaussianCloud cloud = scene.At(2);
  cloud.Check("frame 2");
  EXPECT_EQ(cloud.size(), 5);
  EXPECT_EQ(cloud.means[3 * 4 + 1], scene.means[(2 * 5 + 4) * 3 + 1]);
  EXPECT_EQ(cloud.quats[4 * 3], scene.quats[(2 * 5 + 3) * 4]);
  EXPECT_NEAR(0.5f + 0.28209479f * cloud.sh[3 * 4 + 2], scene.colors[(2 * 5 + 4) * 3 + 2], 1e-6);
  EXPECT_THAT(ErrorOf([&] { scene.At(3); }), HasSubstr("frame 3 of a scene of 3"));
}

TEST(DynamicGaussians, FaultsAreNamed) {
  const std::filesystem::path folder = TestFolder("dynamic_faults");
  DynamicGaussians scene = RandomScene(2, 3);
  scene.means[7] = NAN;
  WriteDynamicGaussians(folder / "nan.npz", scene);
  EXPECT_THAT(ErrorOf([&] { ReadDynamicGaussians(folder / "nan.npz"); }),
              HasSubstr("nan.npz: means3D.npy: value 7: expected a finite number"));
  scene = RandomScene(2, 3);
  std::fill_n(&scene.quats[4 * 4], 4, 0.0f);
  WriteDynamicGaussians(folder / "quat.npz", scene);
  EXPECT_THAT(ErrorOf([&] { ReadDynamicGaussians(folder / "quat.npz"); }),
              HasSubstr("time 1, Gaussian 1: a rotation of length 0"));
  NpzBuilder archive;
  archive.Add("means3D", "<f4", {2, 3, 3}, scene.means.data());
  archive.Add("unnorm_rotations", "<f4", {2, 4, 3}, scene.quats.data());
  WriteFile(folder / "shape.npz", archive.Finish());
  EXPECT_THAT(ErrorOf([&] { ReadDynamicGaussians(folder / "shape.npz"); }),
              HasSubstr("unnorm_rotations.npy: shape (2, 4, 3) is not as expected: (2, 3, 4)"));
  WriteFile(folder / "cut.npz", ReadFile(folder / "quat.npz").substr(0, 500));
  EXPECT_THAT(ErrorOf([&] { ReadDynamicGaussians(folder / "cut.npz"); }), HasSubstr("cut off"));
}

}  // namespace
}  // namespace athanor
