#include "athanor/scenes/gaussians/transform.h"

#include <ATen/ATen.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <numeric>

#include "athanor/base/random.h"
#include "athanor/base/test_util.h"
#include "athanor/scenes/gaussians/renderer.h"

namespace athanor {
namespace {

using ::testing::HasSubstr;

GaussianCloud RandomCloud(int sh_degree) {
  Random random(3);
  GaussianCloud cloud;
  cloud.sh_degree = sh_degree;
  cloud.Resize(200);
  for (float& v : cloud.means) v = random.Uniform(-1, 1);
  for (int64_t i = 0; i < cloud.size(); ++i) cloud.means[3 * i + 2] += 4;
  for (float& v : cloud.quats) v = random.Normal();
  for (float& v : cloud.log_scales) v = random.Uniform(-4, -1.5f);
  for (float& v : cloud.opacity_logits) v = random.Uniform(-2, 2);
  for (float& v : cloud.sh) v = random.Uniform(-0.4f, 0.4f);
  return cloud;
}

Camera TestCamera() {
  Camera camera;
  camera.width_px = 96, camera.height_px = 72;
  camera.parameters = {100, 100, 48, 36};
  return camera;
}

at::Tensor RenderedFrom(const GaussianCloud& cloud, const Rigid3& camera_from_world) {
  GaussianRenderer renderer;
  renderer.Render(GaussianModel::FromCloud(cloud, /*with_moments=*/false, c10::kCPU),
                  MakeView(TestCamera(), camera_from_world), {});
  return renderer.image.clone();
}

// Moving the scene and the camera together changes nothing that is seen: positions, shapes and
// view-dependent colours turn as one.
TEST(TransformGaussians, SceneAndCameraMovedTogetherShowTheSame) {
  for (int degree = 0; degree <= 3; ++degree) {
    const GaussianCloud cloud = RandomCloud(degree);
    Similarity3 move;
    move.scale = 1.7;
    move.rotation = Eigen::Quaterniond(0.4, -0.3, 0.8, 0.2).normalized();
    move.translation = {3, -2, 5};
    GaussianCloud moved = cloud;
    std::vector<int64_t> rows(cloud.size());
    std::iota(rows.begin(), rows.end(), 0);
    TransformGaussians(move, rows, &moved);

    const Rigid3 camera_from_old{Eigen::Quaterniond(1, 0.05, -0.02, 0.1).normalized(),
                                 {0.1, 0.2, 0.3}};
    Rigid3 camera_from_new;
    camera_from_new.rotation =
        camera_from_old.rotation * Eigen::Quaterniond(move.rotation.transpose());
    camera_from_new.translation =
        move.scale * camera_from_old.translation - camera_from_new.rotation * move.translation;
    const at::Tensor before = RenderedFrom(cloud, camera_from_old);
    const at::Tensor after = RenderedFrom(moved, camera_from_new);
    EXPECT_LT((before - after).abs().max().item<float>(), 2e-3) << "degree " << degree;
    // The test sees it when the colours stay behind.
    if (degree > 0) {
      moved.sh = cloud.sh;
      EXPECT_GT((before - RenderedFrom(moved, camera_from_new)).abs().max().item<float>(), 0.05);
    }
  }
}

TEST(TransformGaussians, OnlyTheGivenRowsMove) {
  const GaussianCloud cloud = RandomCloud(1);
  GaussianCloud moved = cloud;
  Similarity3 up;
  up.translation = {0, 0, 1};
  TransformGaussians(up, std::vector<int64_t>{7}, &moved);
  EXPECT_FLOAT_EQ(moved.means[3 * 7 + 2], cloud.means[3 * 7 + 2] + 1);
  moved.means[3 * 7 + 2] = cloud.means[3 * 7 + 2];
  EXPECT_EQ(moved.means, cloud.means);
}

TEST(TransformGaussians, RefusesWhatIsNotThere) {
  GaussianCloud cloud = RandomCloud(0);
  EXPECT_THAT(ErrorOf([&] { TransformGaussians({}, std::vector<int64_t>{200}, &cloud); }),
              HasSubstr("Gaussian 200 of a scene of 200"));
  Similarity3 flat;
  flat.scale = 0;
  EXPECT_THAT(ErrorOf([&] { TransformGaussians(flat, std::vector<int64_t>{}, &cloud); }),
              HasSubstr("expected a positive number, found 0"));
}

}  // namespace
}  // namespace athanor
