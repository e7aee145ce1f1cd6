// athanor edit ..., from outside.
#include <ATen/ATen.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "athanor/base/random.h"
#include "athanor/cli/cli_test_util.h"
#include "athanor/datasets/gaussian_cloud.h"
#include "athanor/media/image.h"
#include "athanor/scenes/semantics/semantic_field.h"

namespace athanor {
namespace {

namespace fs = std::filesystem;
using ::testing::HasSubstr;

// 300 Gaussians in a cube of side 2; those of x > 0.5 are red, the others grey.
fs::path WriteScene(const fs::path& folder) {
  Random random(8);
  GaussianCloud cloud;
  cloud.sh_degree = 1;
  cloud.Resize(300);
  for (float& v : cloud.means) v = random.Uniform(-1, 1);
  for (float& v : cloud.quats) v = random.Normal();
  for (float& v : cloud.log_scales) v = random.Uniform(-3, -2);
  for (float& v : cloud.opacity_logits) v = 2;
  for (int64_t i = 0; i < cloud.size(); ++i) {
    if (cloud.means[3 * i] > 0.5f) cloud.sh[(3 * i) * 4] = 1.5f;
  }
  WriteGaussians(folder / "scene.ply", cloud, GaussianFormat::kPly);
  return folder / "scene.ply";
}

int64_t CountRight(const GaussianCloud& cloud, float x) {
  int64_t count = 0;
  for (int64_t i = 0; i < cloud.size(); ++i) count += cloud.means[3 * i] > x;
  return count;
}

TEST(EditTest, RemovesKeepsMovesAndInserts) {
  const fs::path folder = TestFolder("edit"), path = WriteScene(folder);
  const std::string scene = path.string(), box = "0.5,-1,-1,1,1,1";
  const auto out = [&](const char* name) { return (folder / name).string(); };
  SemanticField features;
  features.features = FeatureTable::FromRows(at::randn({300, 8}));
  features.seen = at::ones({300}, at::kByte);
  features.agreement = at::ones({300});
  features.max_weight = at::ones({300});
  features.text_space = "test", features.teacher_key = "test", features.lift_mode = "weights";
  features.scene_hash = SceneFileHash(path);
  WriteSemanticField(SemanticFieldPath(path), features);
  const std::vector<Outcome> outcomes = ExecuteAll({
      {"edit", "remove", scene, "--box", box, "-o", out("removed.ply")},
      {"edit", "isolate", scene, "--box", box, "-o", out("isolated.spz")},
      {"edit", "recolor", scene, "--box", box, "--color", "#0000ff", "-o", out("blue.ply")},
      {"edit", "transform", scene, "--box", box, "--copy", "--by", "10,0,0", "--degrees", "90",
       "--axis", "1,0,0", "--scale", "2", "-o", out("copied.ply")},
  });
  for (const Outcome& outcome : outcomes) ASSERT_EQ(outcome.status, 0) << outcome.err;

  const GaussianCloud whole = ReadGaussians(path);
  const int64_t right = CountRight(whole, 0.5f);
  ASSERT_GT(right, 30);
  EXPECT_THAT(outcomes[0].out, HasSubstr("removed    " + std::to_string(right) + " of 300"));
  const GaussianCloud removed = ReadGaussians(out("removed.ply"));
  EXPECT_EQ(removed.size(), 300 - right);
  EXPECT_EQ(CountRight(removed, 0.5f), 0);
  EXPECT_EQ(ReadGaussians(out("isolated.spz")).size(), right);
  const GaussianCloud copied = ReadGaussians(out("copied.ply"));
  EXPECT_EQ(copied.size(), 300 + right);
  EXPECT_EQ(CountRight(copied, 5), right);
  const GaussianCloud blue = ReadGaussians(out("blue.ply"));
  for (int64_t i = 0; i < 300; ++i) {
    const float red = blue.sh[3 * i * 4];
    EXPECT_EQ(red<-0.5f, whole.means[3 * i]> 0.5f) << i;
  }
  for (const char* name : {"removed.png", "isolated.png", "blue.png", "copied.png"}) {
    EXPECT_GT(ReadImage(out(name)).width, 1600) << name;
  }

  const Outcome inserted = Execute(
      {"edit", "insert", scene, out("isolated.spz"), "--at", "0,5,0", "-o", out("inserted.ply")});
  ASSERT_EQ(inserted.status, 0) << inserted.err;
  EXPECT_EQ(ReadGaussians(out("inserted.ply")).size(), 300 + right);
  // What was inserted brings its features along: words find it too.
  const SemanticField field = ReadSemanticField(SemanticFieldPath(out("inserted.ply")));
  ASSERT_EQ(field.size(), 300 + right);
  EXPECT_EQ(field.num_seen(), 300 + right);
  // A scene that has none gets places that were never seen.
  const fs::path bare = WriteScene(TestFolder("edit bare"));
  ASSERT_EQ(Execute({"edit", "insert", scene, bare.string(), "-o", out("more.ply")}).status, 0);
  EXPECT_EQ(ReadSemanticField(SemanticFieldPath(out("more.ply"))).num_seen(), 300);
  // And the other way round: words find what was inserted.
  ASSERT_EQ(Execute({"edit", "insert", bare.string(), scene, "-o", out("found.ply")}).status, 0);
  const SemanticField found = ReadSemanticField(SemanticFieldPath(out("found.ply")));
  EXPECT_EQ(found.size(), 600);
  EXPECT_EQ(found.num_seen(), 300);
  EXPECT_TRUE(at::allclose(found.features.DecodeAll().narrow(0, 300, 300),
                           features.features.DecodeAll(), 0, 2e-3));
  // Rows of features go with their Gaussians.
  const auto kept_rows = ReadSemanticField(SemanticFieldPath(out("removed.ply")));
  int64_t k = 0;
  for (int64_t i = 0; i < 300; ++i) {
    if (whole.means[3 * i] > 0.5f) continue;
    const at::Tensor was = features.features.Decode(at::tensor({i}, at::kLong));
    EXPECT_TRUE(at::equal(was, kept_rows.features.Decode(at::tensor({k++}, at::kLong)))) << i;
  }

  // The original stays as it is, with its features.
  const Outcome beside = Execute({"edit", "remove", scene, "--box", box, "-o", out("scene.spz")});
  EXPECT_NE(beside.status, 0);
  EXPECT_THAT(beside.err, HasSubstr("would replace the original, or its features"));
  EXPECT_FALSE(fs::exists(out("scene.spz")));
  // Where rows would belong to other Gaussians there are none: .splat has an order of its own, and
  // these features were made for another scene.
  const Outcome splat = Execute({"edit", "remove", scene, "--box", box, "-o", out("cut.splat")});
  EXPECT_EQ(splat.status, 0) << splat.err;
  EXPECT_THAT(splat.err, HasSubstr("reorders Gaussians and gets no features"));
  EXPECT_FALSE(fs::exists(SemanticFieldPath(out("cut.splat"))));
  WriteGaussians(path, blue, GaussianFormat::kPly);
  const Outcome stale = Execute({"edit", "remove", scene, "--box", box, "-o", out("removed.ply")});
  EXPECT_EQ(stale.status, 0) << stale.err;
  EXPECT_THAT(stale.err, HasSubstr("the edited scene gets no features"));
  EXPECT_FALSE(fs::exists(SemanticFieldPath(out("removed.ply"))));
}

TEST(EditTest, FaultsAreOneLineAndLeaveNothing) {
  const fs::path folder = TestFolder("edit_faults"), path = WriteScene(folder);
  const std::string scene = path.string(), out = (folder / "out.ply").string();
  WriteFile(folder / "rows.txt", "5\n300\n");
  const std::vector<Case> cases = {
      {{"edit", "remove", scene, "-o", out}, "expected one of WHAT, --box and --rows"},
      {{"edit", "remove", scene, "the mug", "-o", out}, "there is none; make it with: athanor"},
      {{"edit", "remove", scene, "--box", "0,0,0,1,1", "-o", out}, "--box: expected 6 numbers"},
      {{"edit", "remove", scene, "--box", "5,5,5,6,6,6", "-o", out},
       "no Gaussian lies in 5,5,5,6,6,6"},
      {{"edit", "remove", scene, "--box", "-9,-9,-9,9,9,9", "-o", out},
       "nothing would be left of the scene"},
      {{"edit", "remove", scene, "--rows", (folder / "rows.txt").string(), "-o", out},
       "rows.txt:2: expected a row from 0 to 299, found '300'"},
      {{"edit", "recolor", scene, "--box", "-9,-9,-9,9,9,9", "--color", "blurple", "-o", out},
       "or #rrggbb, found 'blurple'"},
      {{"edit", "transform", scene, "--box", "-9,-9,-9,9,9,9", "--axis", "0,0,0", "-o", out},
       "--axis: expected a direction"},
      {{"edit", "remove", scene, "--box", "0,0,0,1,1,1", "-o", out + ".obj"}, ".obj"},
  };
  const std::vector<Outcome> outcomes = ExecuteAll(CommandsOf(cases));
  for (size_t i = 0; i < cases.size(); ++i) {
    EXPECT_NE(outcomes[i].status, 0) << i;
    EXPECT_THAT(LastLine(outcomes[i].err), HasSubstr(cases[i].expected)) << i;
  }
  EXPECT_FALSE(fs::exists(out));
}

}  // namespace
}  // namespace athanor
