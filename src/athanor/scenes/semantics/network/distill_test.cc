// Distillation: what a network learns, that it goes on exactly, and what it refuses.
#include "athanor/scenes/semantics/network/distill.h"

#include <ATen/ATen.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "athanor/base/files.h"
#include "athanor/base/parallel.h"
#include "athanor/base/random.h"
#include "athanor/base/test_util.h"
#include "athanor/datasets/gaussian_cloud.h"
#include "athanor/nn/safetensors.h"

namespace athanor {
namespace {

namespace fs = std::filesystem;
using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;

// Boxes of three colours on a floor of a fourth. The feature of a Gaussian is the unit vector of
// its colour; one in five was never seen.
DistillScene MakeScene(const fs::path& folder, const std::string& name, uint64_t seed) {
  Random random(seed);
  GaussianCloud cloud;
  cloud.Resize(1500);
  const at::Tensor rows = at::zeros({cloud.size(), 8}, at::kFloat);
  SemanticField field;
  field.seen = at::zeros({cloud.size()}, at::kByte);
  const float centers[3][2] = {{random.Uniform(0.2f, 0.8f), 0.5f}, {1.5f, 0.5f}, {1.0f, 1.5f}};
  for (int64_t i = 0; i < cloud.size(); ++i) {
    const auto kind = static_cast<int>(random.Below(4));
    float* mean = cloud.means.data() + 3 * i;
    mean[0] = kind < 3 ? centers[kind][0] + random.Uniform(-0.2f, 0.2f) : random.Uniform(0, 2);
    mean[1] = kind < 3 ? centers[kind][1] + random.Uniform(-0.2f, 0.2f) : random.Uniform(0, 2);
    mean[2] = kind < 3 ? random.Uniform(0.05f, 0.45f) : 0.0f;
    cloud.quats[4 * i] = 1;
    for (int c = 0; c < 3; ++c) {
      cloud.log_scales[3 * i + c] = -4;
      cloud.sh[3 * i + c] = (c == kind ? 1.5f : -0.5f) + 0.1f * random.Normal();
    }
    if (random.Below(5) == 0) continue;
    field.seen.data_ptr<uint8_t>()[i] = 1;
    rows[i][2 * kind] = 1;
  }
  const DistillScene scene = {folder / (name + ".ply"),
                              SemanticFieldPath(folder / (name + ".ply"))};
  WriteGaussians(scene.scene_file, cloud, GaussianFormat::kPly);
  field.features = FeatureTable::FromRows(rows);
  field.agreement = field.seen.to(at::kFloat);
  field.max_weight = field.agreement.clone();
  field.text_space = "test", field.teacher_key = "colours", field.lift_mode = "weights";
  field.classes = {"red", "green"};
  field.scene_hash = SceneFileHash(scene.scene_file);
  WriteSemanticField(scene.field_file, field);
  return scene;
}

DistillOptions Quick() {
  DistillOptions options;
  options.network = "14A";
  options.voxel_size = 0.1;
  options.epochs = 12;
  options.subset = 1000;
  options.elastic = false;
  options.lr = 3e-3;
  return options;
}

TEST(Distill, ReadsFeaturesOffASceneItNeverSaw) {
  const fs::path folder = TestFolder("distill");
  const std::vector<DistillScene> scenes = {MakeScene(folder, "a", 1), MakeScene(folder, "b", 2)};
  const DistillResult result = Distill(scenes, folder / "run", Quick(), false);
  EXPECT_EQ(result.step, 24);
  const DistillScene other = MakeScene(folder, "c", 3);
  const SemanticField truth = ReadSemanticField(other.field_file);
  for (const char* precision : {"float32", "bfloat16"}) {
    const SemanticField field = PredictField(other.scene_file, folder / "run", precision);
    field.Check("prediction");
    EXPECT_EQ(field.num_seen(), field.size());
    EXPECT_EQ(field.text_space, "test");
    EXPECT_EQ(field.classes, truth.classes);
    const at::Tensor cosine = (field.features.DecodeAll() * truth.features.DecodeAll()).sum(1);
    const at::Tensor seen = truth.seen.to(at::kFloat);
    EXPECT_GT(((cosine * seen).sum() / seen.sum()).item<float>(), 0.8f) << precision;
  }
}

TEST(Distill, GoesOnExactlyWhereItWasKilled) {
  const fs::path folder = TestFolder("resume");
  const std::vector<DistillScene> scenes = {MakeScene(folder, "a", 1), MakeScene(folder, "b", 2)};
  DistillOptions options = Quick();
  options.epochs = 3;
  options.elastic = true;
  Distill(scenes, folder / "unbroken", options, false);
  int steps = 0;
  const DistillResult broken =
      Distill(scenes, folder / "broken", options, false, [&] { return ++steps == 3; });
  EXPECT_TRUE(broken.interrupted);
  EXPECT_EQ(broken.step, 3);
  EXPECT_THAT(ErrorOf([&] { PredictField(scenes[0].scene_file, folder / "broken", "float32"); }),
              HasSubstr("go on with --resume"));
  Distill({}, folder / "broken", {}, true);
  for (const char* name : {"network.safetensors", "metrics.jsonl"}) {
    EXPECT_EQ(ReadFile(folder / "broken" / name), ReadFile(folder / "unbroken" / name)) << name;
  }
  EXPECT_THAT(ErrorOf([&] { Distill(scenes, folder / "broken", options, false); }),
              HasSubstr("already holds a run"));
}

TEST(Distill, SaysThatItGoesOnWithOtherThreads) {
  const fs::path folder = TestFolder("threads");
  const std::vector<DistillScene> scenes = {MakeScene(folder, "a", 1)};
  DistillOptions options = Quick();
  options.epochs = 2;
  SetNumThreads(1);
  Distill(scenes, folder / "run", options, false, [] { return true; });
  EXPECT_THAT(ReadFile(folder / "run" / "log.txt"), Not(HasSubstr("began with")));
  SetNumThreads(2);
  Distill({}, folder / "run", {}, true);
  SetNumThreads(0);
  EXPECT_THAT(ReadFile(folder / "run" / "log.txt"),
              HasSubstr("began with 1 thread, goes on with 2"));
}

// A few Gaussians that a reconstruction threw far away, some of them seen.
DistillScene Strayed(const DistillScene& scene, int64_t every) {
  GaussianCloud cloud = ReadGaussians(scene.scene_file);
  for (int64_t i = 0; i < cloud.size(); i += every) cloud.means[3 * i + 1] = 1e6f;
  WriteGaussians(scene.scene_file, cloud, GaussianFormat::kPly);
  SemanticField field = ReadSemanticField(scene.field_file);
  field.scene_hash = SceneFileHash(scene.scene_file);
  WriteSemanticField(scene.field_file, field);
  return scene;
}

TEST(Distill, LeavesOutStrays) {
  const fs::path folder = TestFolder("strays");
  const DistillScene scene = Strayed(MakeScene(folder, "a", 1), 100);
  DistillOptions options = Quick();
  options.epochs = 2;
  EXPECT_EQ(Distill({scene}, folder / "run", options, false).step, 2);
  const SemanticField field = PredictField(scene.scene_file, folder / "run", "float32");
  field.Check("prediction");
  EXPECT_EQ(field.num_seen(), field.size() - 15);
  EXPECT_EQ(field.seen[300].item<int>(), 0);
  EXPECT_EQ(field.features.DecodeAll()[300].abs().max().item<float>(), 0);
  // Nothing but strays: said before anything is written.
  const DistillScene lost = Strayed(MakeScene(folder, "b", 2), 1);
  EXPECT_THAT(ErrorOf([&] {
                Distill({scene, lost}, folder / "other", Quick(), false);
              }),
              AllOf(HasSubstr("b.ply: expected Gaussians that some view saw within 26211"),
                    HasSubstr("--voxel")));
  EXPECT_FALSE(fs::exists(folder / "other"));
  EXPECT_THAT(ErrorOf([&] { PredictField(lost.scene_file, folder / "run", "float32"); }),
              HasSubstr("b.ply: expected Gaussians within"));
}

TEST(Distill, RefusesScenesThatDoNotFit) {
  const fs::path folder = TestFolder("refuse");
  const DistillScene a = MakeScene(folder, "a", 1), b = MakeScene(folder, "b", 2);
  SemanticField other = ReadSemanticField(b.field_file);
  other.teacher_key = "words";
  WriteSemanticField(b.field_file, other);
  EXPECT_THAT(ErrorOf([&] {
                Distill({a, b}, folder / "run", Quick(), false);
              }),
              HasSubstr("b.semantics.safetensors: expected features like those of"));
  EXPECT_THAT(ErrorOf([&] {
                Distill({{a.scene_file, b.field_file}}, folder / "run", Quick(), false);
              }),
              HasSubstr("made for a scene whose file has the hash"));
  EXPECT_THAT(ErrorOf([&] { Distill({}, folder / "run", Quick(), false); }),
              HasSubstr("at least one scene"));
  EXPECT_FALSE(fs::exists(folder / "run"));
  EXPECT_THAT(ErrorOf([&] { PredictField(a.scene_file, folder, "float32"); }),
              HasSubstr("expected a finished distillation"));
}

}  // namespace
}  // namespace athanor
