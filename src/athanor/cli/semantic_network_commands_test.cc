// athanor semantic distill and predict, through the program.
#include <ATen/ATen.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "athanor/base/files.h"
#include "athanor/base/random.h"
#include "athanor/base/test_util.h"
#include "athanor/cli/cli_test_util.h"
#include "athanor/datasets/gaussian_cloud.h"
#include "athanor/scenes/semantics/semantic_field.h"

namespace athanor {
namespace {

namespace fs = std::filesystem;
using ::testing::HasSubstr;

// A red and a blue heap; the feature says which.
fs::path MakeHeaps(const fs::path& file, uint64_t seed, bool with_features) {
  Random random(seed);
  GaussianCloud cloud;
  cloud.Resize(600);
  const at::Tensor rows = at::zeros({cloud.size(), 4}, at::kFloat);
  for (int64_t i = 0; i < cloud.size(); ++i) {
    const auto blue = static_cast<int64_t>(random.Below(2));
    for (int axis = 0; axis < 3; ++axis) {
      cloud.means[3 * i + axis] = random.Uniform(0, 1) + (axis == 0 ? 2.0f * blue : 0.0f);
      cloud.log_scales[3 * i + axis] = -3;
    }
    cloud.quats[4 * i] = 1;
    cloud.sh[3 * i] = blue ? -1.5f : 1.5f, cloud.sh[3 * i + 2] = blue ? 1.5f : -1.5f;
    rows[i][blue] = 1;
  }
  WriteGaussians(file, cloud, GaussianFormat::kPly);
  if (!with_features) return file;
  SemanticField field;
  field.features = FeatureTable::FromRows(rows);
  field.seen = at::ones({cloud.size()}, at::kByte);
  field.agreement = at::ones({cloud.size()}, at::kFloat);
  field.max_weight = at::ones({cloud.size()}, at::kFloat);
  field.lift_mode = "weights", field.teacher_key = "heaps";
  field.scene_hash = SceneFileHash(file);
  WriteSemanticField(SemanticFieldPath(file), field);
  return file;
}

TEST(SemanticNetwork, LearnsFromScenesAndPredictsForAnother) {
  const fs::path folder = TestFolder("network");
  const fs::path a = MakeHeaps(folder / "a.ply", 1, true);
  const fs::path b = MakeHeaps(folder / "b.ply", 2, true);
  const fs::path c = MakeHeaps(folder / "c.ply", 3, false);
  const fs::path run = folder / "run";
  const Outcome distilled = Execute({"semantic", "distill", a, b, "-o", run, "--network", "14A",
                                     "--voxel", "0.1", "--epochs", "8", "--no-elastic"});
  ASSERT_EQ(distilled.status, 0) << distilled.text();
  EXPECT_THAT(distilled.text(), HasSubstr("semantic predict"));
  const Outcome predicted = Execute({"semantic", "predict", c, "--network", run});
  ASSERT_EQ(predicted.status, 0) << predicted.text();
  const SemanticField field = ReadSemanticField(SemanticFieldPath(c, "3d"));
  field.CheckScene(c, 600, "prediction");
  const at::Tensor score = field.features.DecodeAll();
  const GaussianCloud cloud = ReadGaussians(c);
  int right = 0;
  for (int64_t i = 0; i < cloud.size(); ++i) {
    const bool blue = score[i][1].item<float>() > score[i][0].item<float>();
    right += blue == (cloud.means[3 * i] > 1.5f);
  }
  EXPECT_GT(right, 480);  // of 600; guessing gives 300
  // Finished: going on changes nothing.
  const std::string weights = ReadFile(run / "network.safetensors");
  EXPECT_EQ(Execute({"semantic", "distill", "--resume", run}).status, 0);
  EXPECT_EQ(ReadFile(run / "network.safetensors"), weights);
}

TEST(SemanticNetwork, SaysWhatIsWrong) {
  const fs::path folder = TestFolder("network_wrong");
  const fs::path bare = MakeHeaps(folder / "bare.ply", 1, false);
  const Outcome unlifted = Execute({"semantic", "distill", bare, "-o", folder / "run"});
  EXPECT_EQ(unlifted.status, 1);
  EXPECT_THAT(unlifted.text(), HasSubstr("make them with 'athanor semantic lift'"));
  EXPECT_EQ(Execute({"semantic", "distill", bare}).status, 2);
  EXPECT_EQ(Execute({"semantic", "distill", "--resume", folder, "--epochs", "3"}).status, 2);
  const Outcome no_run = Execute({"semantic", "distill", "--resume", folder / "none"});
  EXPECT_EQ(no_run.status, 1);
  EXPECT_THAT(no_run.text(), HasSubstr("expected a run folder with run.json"));
  const Outcome no_network = Execute({"semantic", "predict", bare, "--network", folder});
  EXPECT_EQ(no_network.status, 1);
  EXPECT_THAT(no_network.text(), HasSubstr("expected a finished distillation"));
  EXPECT_FALSE(fs::exists(folder / "run"));
}

}  // namespace
}  // namespace athanor
