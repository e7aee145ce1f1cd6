#include <ATen/ATen.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>

#include "athanor/base/error.h"
#include "athanor/base/files.h"
#include "athanor/base/log.h"
#include "athanor/base/random.h"
#include "athanor/base/test_util.h"
#include "athanor/datasets/synthetic_scene.h"
#include "athanor/datasets/view_cache.h"
#include "athanor/scenes/gaussians/densify.h"
#include "athanor/scenes/gaussians/evaluate.h"
#include "athanor/scenes/gaussians/exposure.h"
#include "athanor/scenes/gaussians/reconstruct_run.h"

namespace athanor {
namespace {

using ::testing::HasSubstr;

GaussianModel RandomModel(int64_t n, uint64_t seed = 1) {
  Random random(seed);
  GaussianCloud cloud;
  cloud.sh_degree = 1;
  cloud.Resize(n);
  for (float& v : cloud.means) v = random.Uniform(-1, 1);
  for (int64_t i = 0; i < n; ++i) cloud.means[3 * i + 2] += 4;
  for (float& v : cloud.quats) v = random.Normal();
  for (float& v : cloud.log_scales) v = random.Uniform(-3, -2);
  for (float& v : cloud.opacity_logits) v = random.Uniform(-2, 2);
  for (float& v : cloud.sh) v = random.Uniform(-0.5f, 0.5f);
  return GaussianModel::FromCloud(cloud, /*with_moments=*/true, c10::kCPU);
}

PinholeView TestView() { return {{1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1, 0}, 100, 100, 48, 36, 96, 72}; }

at::Tensor RenderedImage(const GaussianModel& model) {
  GaussianRenderer renderer;
  renderer.Render(model, TestView(), {});
  return renderer.image.clone();
}

TEST(GaussianModelTest, StartsFromPointsWithTheirColourAndSpacing) {
  std::vector<ColoredPoint> points;
  for (int x = 0; x < 4; ++x) {
    for (int y = 0; y < 4; ++y) {
      for (int z = 0; z < 4; ++z) {
        points.push_back({{0.5f * x, 0.5f * y, 0.5f * z}, {255, 128, 0}});
      }
    }
  }
  const GaussianModel model = GaussianModel::FromPoints(points, 3, 0.1f, 1.0f, c10::kCPU);
  ASSERT_EQ(model.size(), 64);
  // The three nearest neighbours of every grid point are 0.5 away.
  EXPECT_TRUE(at::allclose(model.log_scales(), at::full({64, 3}, std::log(0.5))));
  EXPECT_TRUE(at::allclose(at::sigmoid(model.opacity_logits()), at::full({64}, 0.1)));
  // Rendered from any side, the colour is the point's.
  const at::Tensor dc = model.sh().select(2, 0) * 0.28209479 + 0.5;
  EXPECT_TRUE(at::allclose(dc[7], at::tensor({1.0f, 128 / 255.0f, 0.0f}), 1e-5, 1e-6));
  EXPECT_THROW(GaussianModel::FromPoints({}, 3, 0.1f, 1.0f, c10::kCPU), Error);
}

TEST(GaussianModelTest, AppendAndKeepMoveWholeRows) {
  GaussianModel model = RandomModel(100);
  model.State()[5].second.fill_(3);  // first_moments
  const at::Tensor means = model.means().clone(), sh = model.sh().clone();
  model.Append(at::tensor({5L, 99L, 5L}));
  ASSERT_EQ(model.size(), 103);
  EXPECT_TRUE(at::equal(model.sh()[102], sh[5]));
  EXPECT_EQ(model.State()[5].second[101].abs().sum().item<float>(), 0) << "moments begin at 0";
  const at::Tensor rows = at::tensor({0L, 2L, 50L, 101L});
  model.Keep(rows);
  ASSERT_EQ(model.size(), 4);
  EXPECT_TRUE(at::equal(model.means(), means.index_select(0, at::tensor({0L, 2L, 50L, 99L}))));
  EXPECT_EQ(model.State()[5].second[2][0].item<float>(), 3);

  GaussianModel copy(1, true, c10::kCPU);
  copy.SetState(model.State());
  EXPECT_TRUE(at::equal(copy.sh(), model.sh()));
  auto missing = model.State();
  missing.pop_back();
  EXPECT_THROW(copy.SetState(missing), Error);
}

TEST(DensifyTest, ClonesSmallSplitsLargeAndPrunesTransparent) {
  GaussianModel model = RandomModel(10);
  model.log_scales().fill_(std::log(0.001f));
  model.opacity_logits().fill_(0);
  model.log_scales()[3].fill_(std::log(0.2f));  // large
  model.opacity_logits()[7].fill_(-8);          // transparent
  const at::Tensor means = model.means().clone();
  GradientStatistics statistics;
  statistics.Reset(model);
  statistics.count.fill_(2);
  statistics.sum[1].fill_(1);  // small, wants more
  statistics.sum[3].fill_(1);  // large, wants more
  ReconstructOptions options;
  const DensifyCounts counts = DensifyByGradient(options, 1.0f, false, 5, statistics, &model);
  EXPECT_EQ(counts.cloned, 1);
  EXPECT_EQ(counts.split, 1);
  EXPECT_EQ(counts.pruned, 1);
  // 10, one clone, one split into two, one pruned.
  ASSERT_EQ(model.size(), 11);
  // Order: those kept, the clone, the two halves.
  EXPECT_TRUE(at::equal(model.means()[8], means[1]));
  for (int half : {9, 10}) {
    EXPECT_NEAR(model.log_scales()[half][0].item<float>(), std::log(0.2f / 1.6f), 1e-5);
    const float moved = (model.means()[half] - means[3]).norm().item<float>();
    EXPECT_GT(moved, 0);
    EXPECT_LT(moved, 1);
  }
  // A cap is a cap.
  options.max_gaussians = 11;
  statistics.Reset(model);
  statistics.count.fill_(1);
  statistics.sum.fill_(1);
  DensifyByGradient(options, 1.0f, false, 5, statistics, &model);
  EXPECT_LE(model.size(), 11);
}

TEST(DensifyTest, StatisticsAreNormsInHalfImagesOverVisibleViews) {
  const GaussianModel model = RandomModel(2);
  GradientStatistics statistics;
  statistics.Reset(model);
  at::Tensor splats = at::zeros({2, 8}), gradients = at::zeros({2, 9});
  splats[0][7] = 5;        // visible
  gradients[0][0] = 3e-3;  // x
  gradients[0][1] = 4e-3;  // y
  gradients[0][7] = 6e-3;  // |x|
  gradients[1][0] = 1;
  statistics.Add(splats, gradients, 200, 200, false);
  statistics.Add(splats, gradients, 200, 200, false);
  EXPECT_NEAR(statistics.sum[0].item<float>(), 2 * 0.5f, 1e-5);
  EXPECT_EQ(statistics.count[0].item<float>(), 2);
  EXPECT_EQ(statistics.sum[1].item<float>(), 0);
  statistics.Reset(model);
  statistics.Add(splats, gradients, 200, 200, true);
  EXPECT_NEAR(statistics.sum[0].item<float>(), 0.6f, 1e-5);
}

TEST(McmcTest, GrowingLeavesTheImageAlone) {
  GaussianModel model = RandomModel(200);
  const at::Tensor before = RenderedImage(model);
  const DensifyCounts counts = RelocateAndGrow(0.005f, 1000, 3, &model);
  EXPECT_EQ(counts.cloned, 10);
  EXPECT_EQ(model.size(), 210);
  const at::Tensor difference = (RenderedImage(model) - before).abs();
  EXPECT_LT(difference.mean().item<float>(), 2e-3);
  // Without sharing opacity and scale, ten copies would show.
  GaussianModel doubled = RandomModel(200);
  doubled.Append(at::arange(200).index_select(0, at::arange(0, 200, 20)));
  EXPECT_GT((RenderedImage(doubled) - before).abs().mean().item<float>(),
            2 * difference.mean().item<float>());
  // The cap holds.
  RelocateAndGrow(0.005f, 212, 4, &model);
  EXPECT_EQ(model.size(), 212);
}

TEST(McmcTest, DeadGaussiansMoveOntoLiveOnes) {
  GaussianModel model = RandomModel(50);
  model.opacity_logits().narrow(0, 0, 5).fill_(-9);
  const at::Tensor live = model.means().narrow(0, 5, 45).clone();
  const DensifyCounts counts = RelocateAndGrow(0.005f, 50, 3, &model);
  EXPECT_EQ(counts.pruned, 5);
  EXPECT_EQ(model.size(), 50);
  for (int i = 0; i < 5; ++i) {
    EXPECT_EQ((live - model.means()[i]).norm(2, {1}).min().item<float>(), 0) << i;
  }
  EXPECT_GT(at::sigmoid(model.opacity_logits()).min().item<float>(), 0.0049f);
}

TEST(McmcTest, NoiseMovesTransparentGaussiansAlongTheirShape) {
  GaussianModel model = RandomModel(4000);
  model.means().zero_();
  model.quats().zero_().select(1, 0).fill_(1);
  model.log_scales().zero_().select(1, 0).fill_(std::log(2.0f));
  model.opacity_logits().fill_(-9);
  model.opacity_logits().narrow(0, 0, 2000).fill_(2);
  AddPositionNoise(0.1f, 5, &model);
  EXPECT_EQ(model.means().narrow(0, 0, 2000).abs().max().item<float>(), 0) << "opaque ones stay";
  const at::Tensor deviation = model.means().narrow(0, 2000, 2000).std(0);
  // sigma(100 (0.005 - opacity)) = 0.62; variance 4 along x, 1 along y.
  EXPECT_NEAR(deviation[0].item<float>(), 0.1 * 4 * 0.62, 0.02);
  EXPECT_NEAR(deviation[1].item<float>(), 0.1 * 1 * 0.62, 0.006);
}

TEST(ExposureTest, LearnsAnAffineCorrection) {
  at::manual_seed(1);
  ExposureModel exposure(2, c10::kCPU);
  const at::Tensor rendered = at::rand({3, 20, 30});
  EXPECT_TRUE(at::allclose(exposure.Apply(1, rendered), rendered)) << "identity at first";
  const at::Tensor truth = rendered * 0.7 + 0.1;
  double first = 0, last = 0;
  for (int step = 1; step <= 400; ++step) {
    const at::Tensor difference = exposure.Apply(1, rendered) - truth;
    last = difference.pow(2).mean().item<double>();
    if (step == 1) first = last;
    exposure.Backward(1, rendered, 2 * difference / difference.numel(), step, step / 400.0);
  }
  EXPECT_LT(last, 1e-3 * first);
  EXPECT_TRUE(at::allclose(exposure.Apply(0, rendered), rendered))
      << "the other image's is its own";
}

// --- Training on a world whose truth is known
// -----------------------------------------------------

class ReconstructTest : public testing::Test {
 protected:
  static void SetUpTestSuite() {
    SetLogLevel(LogLevel::kWarning);
    capture_ = new std::filesystem::path(TestFolder("capture"));
    SyntheticSceneOptions scene;
    scene.num_images = 17;
    scene.width_px = 96, scene.height_px = 72;
    scene.num_points = 1500;
    WriteSyntheticCapture(*capture_, scene);
  }
  static void TearDownTestSuite() { delete capture_; }

  static ReconstructOptions ShortRun() {
    ReconstructOptions options;
    options.iterations = 240;
    options.coarse_iterations = 40;
    options.sh_interval = 60;
    options.densify_from = 60, options.densify_every = 30, options.densify_until = 180;
    options.opacity_reset_every = 100;
    options.checkpoint_every = 100;
    return options;
  }
  static SceneScore ScoreOf(const std::filesystem::path& run) {
    const RunInfo info = ReadRun(run);
    const PosedImages posed = ReadPosedImages(info.input);
    ViewOptions view_options;
    view_options.max_side_px = info.options.max_side_px;
    ViewCache views(posed, view_options);
    const GaussianModel model =
        GaussianModel::FromCloud(ReadGaussians(info.scene), false, c10::kCPU);
    return Evaluate(model, posed, &views, MakeSplit(posed, info.options).test, {});
  }
  static std::filesystem::path* capture_;
};

std::filesystem::path* ReconstructTest::capture_ = nullptr;

TEST_F(ReconstructTest, HeldOutViewsComeOutRight) {
  const auto run = TestFolder("plain");
  ReconstructOptions options = ShortRun();
  options.iterations = 600;
  options.opacity_reset_every = 0;
  const ReconstructResult result = Reconstruct(*capture_, run, options, false);
  EXPECT_EQ(result.step, 600);
  EXPECT_GT(result.gaussians, 1500) << "it was densified";
  const SceneScore score = ScoreOf(run);
  // Fifteen small pictures of a whole turn leave gaps; what counts is how far training brings it.
  const auto start = TestFolder("start");
  options.iterations = 1;
  Reconstruct(*capture_, start, options, false);
  const SceneScore untrained = ScoreOf(start);
  EXPECT_GT(score.psnr_db, 17);
  EXPECT_GT(score.psnr_db, untrained.psnr_db + 5);
  EXPECT_GT(score.ssim, untrained.ssim + 0.2);
  EXPECT_GE(score.depth_mae, 0) << "the capture has true depth";
}

TEST_F(ReconstructTest, ResumedRunGivesTheSameBytes) {
  const auto whole = TestFolder("whole"), broken = TestFolder("broken");
  ReconstructOptions options = ShortRun();
  options.exposure = true;
  Reconstruct(*capture_, whole, options, false);
  // Stopped between two checkpoints: the checkpoint written then is taken up.
  int steps = 0;
  const auto first = Reconstruct(*capture_, broken, options, false, [&] { return ++steps == 137; });
  EXPECT_TRUE(first.interrupted);
  EXPECT_FALSE(std::filesystem::exists(broken / "scene.ply"));
  Reconstruct(*capture_, broken, options, true);
  EXPECT_EQ(ReadFile(whole / "scene.ply"), ReadFile(broken / "scene.ply"));
  EXPECT_EQ(ReadFile(whole / "metrics.jsonl"), ReadFile(broken / "metrics.jsonl"));

  // A run that was killed after a checkpoint goes on from it.
  for (const auto& file : ListFiles(broken / "checkpoints")) {
    if (file.filename() != "step_00000200.safetensors") std::filesystem::remove(file);
  }
  std::filesystem::remove(broken / "scene.ply");
  Reconstruct(*capture_, broken, options, true);
  EXPECT_EQ(ReadFile(whole / "scene.ply"), ReadFile(broken / "scene.ply"));

  EXPECT_THROW(Reconstruct(*capture_, whole, options, false), Error) << "never over an older run";
  const auto checkpoint = *TrainingRun(broken).NewestCheckpoint();
  WriteFile(checkpoint, ReadFile(checkpoint).substr(0, 1000));
  try {
    Reconstruct(*capture_, broken, options, true);
    ADD_FAILURE() << "a damaged checkpoint was taken";
  } catch (const Error& error) {
    EXPECT_THAT(error.what(), HasSubstr(checkpoint.filename().string()));
  }
}

TEST_F(ReconstructTest, McmcKeepsToItsCap) {
  const auto run = TestFolder("mcmc");
  ReconstructOptions options = ShortRun();
  options.iterations = 1500;
  options.strategy = "mcmc";
  options.max_gaussians = 3000;
  options.densify_until = 1300;
  const ReconstructResult result = Reconstruct(*capture_, run, options, false);
  EXPECT_EQ(result.gaussians, 3000);
  EXPECT_GT(ScoreOf(run).psnr_db, 17);
}

TEST_F(ReconstructTest, DepthSupervisionHelpsDepth) {
  const auto without = TestFolder("without"), with = TestFolder("with");
  ReconstructOptions options = ShortRun();
  options.iterations = 400;
  options.opacity_reset_every = 0;
  Reconstruct(*capture_, without, options, false);
  options.depth_weight = 1;
  Reconstruct(*capture_, with, options, false);
  EXPECT_LT(ScoreOf(with).depth_mae, 0.8 * ScoreOf(without).depth_mae);
}

TEST_F(ReconstructTest, RefusesWhatCannotBeTrained) {
  ReconstructOptions options = ShortRun();
  options.device = "cuda:77";
  EXPECT_THROW(Reconstruct(*capture_, TestFolder("device"), options, false), Error);
  EXPECT_THROW(Reconstruct(TestFolder("nothing"), TestFolder("run"), ShortRun(), false), Error);
  EXPECT_THROW(Reconstruct(*capture_, "/proc/no/run", ShortRun(), false), Error);
  EXPECT_THROW(ReadRun(*capture_), Error);
}

}  // namespace
}  // namespace athanor
