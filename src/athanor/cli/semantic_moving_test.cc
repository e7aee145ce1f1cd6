// Words for a scene that moves: lifted time by time, asked and edited at one of them.
#include <ATen/ATen.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "athanor/base/random.h"
#include "athanor/cli/cli_test_util.h"
#include "athanor/datasets/dynamic_gaussians.h"
#include "athanor/media/image.h"
#include "athanor/ops/rasterize.h"
#include "athanor/scenes/gaussians/camera_path.h"
#include "athanor/scenes/gaussians/renderer.h"
#include "athanor/scenes/semantics/semantic_field.h"

namespace athanor {
namespace {

namespace fs = std::filesystem;
using ::testing::HasSubstr;
using Json = nlohmann::json;

constexpr int kTimes = 3, kCameras = 4, kWidth_px = 96, kHeight_px = 72;
constexpr int64_t kPerBall = 150;

// Two balls of Gaussians that change places: the first goes from x = -1 to 1, the second back.
DynamicGaussians TwoBalls() {
  Random random(6);
  DynamicGaussians scene;
  scene.frames = kTimes;
  std::vector<Eigen::Vector3f> offsets;
  for (int64_t i = 0; i < 2 * kPerBall; ++i) {
    Eigen::Vector3f d(random.Normal(), random.Normal(), random.Normal());
    offsets.push_back(0.4f * d.normalized());
    scene.log_scales.insert(scene.log_scales.end(), 3, -2.5f);
    scene.opacity_logits.push_back(3);
    scene.is_foreground.push_back(1);
  }
  for (int t = 0; t < kTimes; ++t) {
    for (int64_t i = 0; i < 2 * kPerBall; ++i) {
      const float x = (i < kPerBall ? 1.0f : -1.0f) * (t - 1), z = i < kPerBall ? 0.6f : -0.6f;
      const Eigen::Vector3f mean = Eigen::Vector3f(x, 0, z) + offsets[i];
      scene.means.insert(scene.means.end(), {mean.x(), mean.y(), mean.z()});
      scene.quats.insert(scene.quats.end(), {1, 0, 0, 0});
      scene.colors.insert(scene.colors.end(), {0.7f, 0.6f, 0.5f});
    }
  }
  return scene;
}

// train_meta.json, photographs, and maps that say 1 where the first ball is seen and 2 for the
// other.
void WriteCapture(const fs::path& folder, const DynamicGaussians& scene) {
  Json meta = {{"w", kWidth_px}, {"h", kHeight_px}, {"k", Json::array()}, {"w2c", Json::array()}};
  meta["fn"] = Json::array();
  at::Tensor is_ball = at::zeros({2 * kPerBall, 2});
  is_ball.narrow(0, 0, kPerBall).select(1, 0).fill_(1);
  is_ball.narrow(0, kPerBall, kPerBall).select(1, 1).fill_(1);
  for (int t = 0; t < kTimes; ++t) {
    const auto model = GaussianModel::FromCloud(scene.At(t), /*with_moments=*/false, at::kCPU);
    Json k = Json::array(), w2c = Json::array(), fn = Json::array();
    for (int c = 0; c < kCameras; ++c) {
      Camera camera;
      camera.width_px = kWidth_px, camera.height_px = kHeight_px;
      camera.parameters = {90, 90, kWidth_px / 2.0, kHeight_px / 2.0};
      const double angle = M_PI / 2 * c + 0.3;
      const Rigid3 pose =
          LookAt({4 * std::sin(angle), -1, 4 * std::cos(angle)}, {0, 0, 0}, {0, -1, 0});
      const at::Tensor seen =
          RenderFeatures({model.means(), model.quats(), model.log_scales(), model.opacity_logits()},
                         is_ball, MakeView(camera, pose), {})
              .image;
      Image map(kWidth_px, kHeight_px, 1);
      for (int y = 0; y < kHeight_px; ++y) {
        for (int x = 0; x < kWidth_px; ++x) {
          const float a = seen[0][y][x].item<float>(), b = seen[1][y][x].item<float>();
          map.data[y * kWidth_px + x] = a + b < 0.5f ? 0 : a > b ? 1 : 2;
        }
      }
      const std::string name = StrCat("c", c, "_", t, ".png");
      WriteImage(folder / "maps" / name, map);
      WriteImage(folder / "ims" / name, Image(kWidth_px, kHeight_px, 3));
      Json rows = Json::array();
      const auto matrix = pose.ToMatrix();
      for (int r = 0; r < 3; ++r) {
        rows.push_back({matrix(r, 0), matrix(r, 1), matrix(r, 2), matrix(r, 3)});
      }
      rows.push_back({0, 0, 0, 1});
      w2c.push_back(rows);
      k.push_back({{90, 0, kWidth_px / 2}, {0, 90, kHeight_px / 2}, {0, 0, 1}});
      fn.push_back(name);
    }
    meta["k"].push_back(k);
    meta["w2c"].push_back(w2c);
    meta["fn"].push_back(fn);
  }
  WriteFile(folder / "train_meta.json", meta.dump());
}

TEST(SemanticMoving, LiftedOverTimeAskedAtOne) {
  const fs::path folder = TestFolder("moving");
  const DynamicGaussians balls = TwoBalls();
  WriteDynamicGaussians(folder / "params.npz", balls);
  WriteCapture(folder / "capture", balls);
  const std::string scene = (folder / "params.npz").string();

  const Outcome bare =
      Execute({"semantic", "lift", scene, "--teacher", (folder / "capture/maps").string()});
  EXPECT_EQ(bare.status, 1);
  EXPECT_THAT(bare.err, HasSubstr("a scene that moves needs its photographs"));

  const Outcome lifted =
      Execute({"semantic", "lift", scene, "--input", (folder / "capture").string(), "--teacher",
               (folder / "capture/maps").string()});
  ASSERT_EQ(lifted.status, 0) << lifted.err;
  const SemanticField field = ReadSemanticField(SemanticFieldPath(scene));
  const at::Tensor label = field.features.DecodeAll().argmax(1);
  int64_t right = 0, seen = 0;
  for (int64_t i = 0; i < 2 * kPerBall; ++i) {
    if (field.seen[i].item<int>() == 0) continue;
    ++seen;
    right += label[i].item<int64_t>() == (i < kPerBall ? 0 : 1);
  }
  EXPECT_GT(seen, 250);
  EXPECT_GE(right, seen * 95 / 100);

  const Outcome asked = Execute({"semantic", "query", scene, "1", "--time", "2", "-o",
                                 (folder / "query").string(), "--view-count", "1"});
  ASSERT_EQ(asked.status, 0) << asked.err;
  const Json objects =
      Json::parse(ReadFile(folder / "query/objects.json"))["prompts"][0]["objects"];
  ASSERT_FALSE(objects.empty());
  EXPECT_NEAR(objects[0]["center"][0].get<double>(), 1, 0.15) << "the first ball, at time 2";
  EXPECT_NEAR(objects[0]["center"][2].get<double>(), 0.6, 0.15);

  const Outcome removed =
      Execute({"edit", "remove", scene, "2", "--time", "0", "-o", (folder / "one.ply").string()});
  ASSERT_EQ(removed.status, 0) << removed.err;
  const GaussianCloud one = ReadGaussians(folder / "one.ply");
  EXPECT_NEAR(static_cast<double>(one.size()), kPerBall, 40);
  EXPECT_EQ(ReadSemanticField(SemanticFieldPath(folder / "one.ply")).size(), one.size());
  const Outcome late =
      Execute({"scene", "render", scene, "--time", "3", "-o", (folder / "late").string()});
  EXPECT_EQ(late.status, 1);
  EXPECT_THAT(late.err, HasSubstr("expected a time from 0 to 2, found 3"));
}

}  // namespace
}  // namespace athanor
