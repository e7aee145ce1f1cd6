// athanor scene ..., from outside: what it prints, what it writes, and how it fails.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "athanor/cli/cli_test_util.h"
#include "athanor/datasets/gaussian_cloud.h"
#include "athanor/datasets/posed_images.h"
#include "athanor/datasets/synthetic_scene.h"
#include "athanor/media/image.h"
#include "athanor/scenes/gaussians/reconstruct_run.h"
#include "athanor/scenes/gaussians/trainer.h"

namespace athanor {
namespace {

namespace fs = std::filesystem;
using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;
using ::testing::StartsWith;

// A tiny capture with depth, made once. Copied by tests that damage it.
const fs::path& Capture() {
  static const fs::path folder = [] {
    const fs::path path = TestFolder("capture");
    SyntheticSceneOptions options;
    options.num_images = 12;
    options.width_px = 64;
    options.height_px = 48;
    options.num_points = 400;
    WriteSyntheticCapture(path, options);
    return path;
  }();
  return folder;
}

fs::path CopyOfCapture(const std::string& name) {
  const fs::path copy = TestFolder(name);
  fs::copy(Capture(), copy, fs::copy_options::recursive | fs::copy_options::overwrite_existing);
  return copy;
}

// Flags of a short training that still grows and prunes.
std::vector<std::string> Training(int iterations, const fs::path& input, const fs::path& run) {
  return {"scene",
          "reconstruct",
          input.string(),
          "-o",
          run.string(),
          "--threads",
          "2",
          "--iterations",
          std::to_string(iterations),
          "--coarse-levels",
          "1",
          "--coarse-iterations",
          "20",
          "--sh-interval",
          "20",
          "--densify-from",
          "20",
          "--densify-every",
          "20",
          "--densify-gradient",
          "0.0001",
          "--test-every",
          "4",
          "--max-gaussians",
          "1500"};
}

// A finished run, made once.
const fs::path& FinishedRun() {
  static const fs::path folder = [] {
    const fs::path run = TestFolder("finished") / "run";
    const Outcome outcome = Execute(Training(60, Capture(), run));
    EXPECT_EQ(outcome.status, 0) << outcome.err;
    EXPECT_THAT(outcome.out,
                AllOf(HasSubstr("scene.ply"), HasSubstr("PSNR"), HasSubstr("athanor scene eval")));
    return run;
  }();
  return folder;
}

TEST(UsageTest, WrongUsageIsStatusTwoAndOneLine) {
  const std::string run = FinishedRun().string();
  const std::vector<Case> cases = {
      {{"scenes"}, "scenes"},
      {{"--threads", "many", "doctor"}, "--threads"},
      {{"--log-level", "loud", "doctor"}, "loud"},
      {{"scene"}, "athanor scene --help"},
      {{"--threads", "2"}, "command"},
      {{"scene", "fly"}, "fly"},
      {{"scene", "reconstruct"}, "INPUT"},
      {{"scene", "reconstruct", "a", "-o", "b", "--iteration", "5"}, "--iteration"},
      {{"scene", "reconstruct", "a", "-o", "b", "--iterations", "5.5"}, "'5.5'"},
      {{"scene", "reconstruct", "a", "-o", "b", "--iterations", "0"}, "at least 1"},
      {{"scene", "reconstruct", "a", "-o", "b", "--strategy", "magic"}, "default|mcmc"},
      {{"scene", "reconstruct", "--resume", run, "--iterations", "5"}, "--iterations"},
      {{"scene", "eval"}, "RUN"},
      {{"scene", "eval", run, "--scene", "a.ply"}, "RUN"},
      {{"scene", "render", "scene.ply"}, "-o"},
      {{"scene", "render", run, "-o", "x", "--cameras", "moon"}, "orbit|train|test|all"},
      {{"scene", "render", run, "-o", "x", "--frames", "-3"}, "-3"},
      {{"scene", "export", run, "-o", "a.ply", "--format", "obj"}, "obj"},
      {{"scene", "import", "-o", "x"}, "--images"},
      {{"scene", "import", "x", "--images", "y", "-o", "x"}, "--images"},
  };
  const std::vector<Outcome> outcomes = ExecuteAll(CommandsOf(cases));
  for (size_t i = 0; i < cases.size(); ++i) {
    const auto& [status, out, err] = outcomes[i];
    EXPECT_EQ(status, 2) << testing::PrintToString(cases[i].words) << err;
    EXPECT_THAT(err, AllOf(StartsWith("athanor: "), HasSubstr(cases[i].expected)));
    EXPECT_EQ(std::count(err.begin(), err.end(), '\n'), 1) << err;
    EXPECT_THAT(out, IsEmpty());
  }
}

TEST(FailureTest, IsStatusOneAndOneLineThatNamesTheCulprit) {
  const fs::path folder = TestFolder("failures");
  const std::string finished = FinishedRun().string();
  int runs = 0;
  const auto new_run = [&] { return (folder / ("run" + std::to_string(++runs))).string(); };

  const fs::path no_image = CopyOfCapture("missing image");
  fs::remove(no_image / "images" / "0003.png");
  const fs::path short_points = CopyOfCapture("short points");
  fs::resize_file(short_points / "sparse" / "0" / "points3D.bin", 1001);
  const fs::path bad_image = CopyOfCapture("bad image");
  fs::resize_file(bad_image / "images" / "0002.png", 300);
  WriteFile(folder / "bad.toml", "iterations = 5\nspeed = 3\n");
  WriteFile(folder / "bad.ply", "not a scene");
  fs::create_directories(folder / "empty");
  WriteFile(folder / "file", "");

  const auto reconstruct = [&](const fs::path& input, std::vector<std::string> more = {}) {
    std::vector<std::string> words = {"scene", "reconstruct", input.string(), "-o", new_run()};
    words.insert(words.end(), more.begin(), more.end());
    return words;
  };
  const std::vector<Case> cases = {
      {reconstruct(folder / "nowhere"), "nowhere"},
      {reconstruct(folder / "empty"), "empty"},
      {reconstruct(no_image), "0003.png"},
      {reconstruct(short_points), "points3D.bin"},
      {reconstruct(bad_image, {"--iterations", "30"}), "0002.png"},
      {reconstruct(Capture(), {"--device", "gpu"}), "'gpu'"},
      {reconstruct(Capture(), {"--preset", (folder / "bad.toml").string()}), "bad.toml: line 2"},
      {reconstruct(Capture(), {"--preset", (folder / "no.toml").string()}), "no.toml"},
      {reconstruct(Capture(), {"--test-list", (folder / "no.txt").string()}), "no.txt"},
      {{"scene", "reconstruct", Capture().string(), "-o", finished}, finished},
      {{"scene", "reconstruct", Capture().string(), "-o", (folder / "file" / "run").string()},
       "file"},
      {{"scene", "reconstruct", Capture().string(), "-o", "/proc/run"}, "/proc/run"},
      {{"scene", "reconstruct", "--resume", (folder / "empty").string()}, "empty"},
      {{"scene", "eval", (folder / "empty").string()}, "empty"},
      {{"scene", "eval", finished, "--device", "cuda:99"}, "cuda:99"},
      {{"scene", "eval", finished, "--json", "/proc/eval.json"}, "/proc/eval.json"},
      {{"scene", "info", (folder / "bad.ply").string()}, "bad.ply"},
      {{"scene", "info", (folder / "no.ply").string()}, "no.ply"},
      {{"scene", "export", finished, "-o", "/proc/scene.ply"}, "/proc/scene.ply"},
      {{"scene", "export", finished, "-o", (folder / "scene.obj").string()}, "scene.obj"},
      {{"scene", "render", finished, "-o", "/proc/pictures"}, "/proc/pictures"},
      {{"scene", "render", (finished + "/scene.ply"), "-o", new_run(), "--cameras", "test"},
       "scene.ply"},
      {{"scene", "import", "--images", (folder / "empty").string(), "-o", new_run()}, "empty"},
      {{"scene", "import", Capture().string(), "-o", new_run(), "--colmap", "no-such-program"},
       "no-such-program"},
  };
  std::vector<std::vector<std::string>> commands = CommandsOf(cases);
  for (auto& words : commands) words.insert(words.end(), {"--log-level", "error"});
  const std::vector<Outcome> outcomes = ExecuteAll(commands);
  for (size_t i = 0; i < cases.size(); ++i) {
    const auto& [status, out, err] = outcomes[i];
    EXPECT_EQ(status, 1) << testing::PrintToString(cases[i].words) << err;
    EXPECT_THAT(LastLine(err), AllOf(StartsWith("athanor: "), HasSubstr(cases[i].expected)));
    EXPECT_THAT(err, Not(HasSubstr("terminate called")));
  }
}

TEST(SceneTest, AFailedStartLeavesTheFolderFree) {
  const fs::path folder = TestFolder("failed start");
  const std::string run = (folder / "run").string();
  EXPECT_EQ(Execute({"scene", "reconstruct", (folder / "no").string(), "-o", run}).status, 1);
  EXPECT_EQ(Execute(Training(2, Capture(), run)).status, 0) << "the second try is not refused";
}

TEST(SceneTest, EvaluateRenderInfoAndExport) {
  const fs::path folder = TestFolder("chain");
  const std::string run = FinishedRun().string();

  const Outcome eval = Execute({"scene", "eval", run, "-o", (folder / "sheets").string(), "--json",
                                (folder / "eval.json").string()});
  ASSERT_EQ(eval.status, 0) << eval.err;
  const auto scores = nlohmann::json::parse(ReadFile(folder / "eval.json"));
  ASSERT_EQ(scores["views"].size(), 3u) << "of 12 images every 4th";
  EXPECT_GT(scores["psnr_db"].get<double>(), 12);
  EXPECT_GT(scores["depth_mae"].get<double>(), 0);
  double sum = 0;
  for (const auto& view : scores["views"]) sum += view["psnr_db"].get<double>();
  EXPECT_NEAR(scores["psnr_db"].get<double>(), sum / 3, 1e-9);
  EXPECT_THAT(eval.out, AllOf(HasSubstr("0001.png"), HasSubstr("mean")));
  EXPECT_EQ(ListFiles(folder / "sheets", {".png"}).size(), 3u);
  // Reconstructing wrote the same scores.
  EXPECT_EQ(nlohmann::json::parse(ReadFile(fs::path(run) / "eval.json"))["psnr_db"],
            scores["psnr_db"]);

  const Outcome render = Execute({"scene", "render", run, "-o", (folder / "orbit").string(),
                                  "--frames", "5", "--width", "40", "--channel", "depth"});
  ASSERT_EQ(render.status, 0) << render.err;
  EXPECT_EQ(ReadImage(folder / "orbit" / "frame_0004.png").width, 40);
  EXPECT_EQ(ListFiles(folder / "orbit").size(), 6u) << "5 frames and overview.png";
  EXPECT_EQ(Execute({"scene", "render", run, "--cameras", "test", "--channel", "alpha"}).status, 0);
  EXPECT_EQ(ReadImage(fs::path(run) / "test_alpha" / "frame_0002.png").width, 64);

  const GaussianCloud cloud = ReadGaussians(fs::path(run) / "scene.ply");
  for (const std::string format : {"ply", "splat", "spz"}) {
    const fs::path file = folder / ("scene." + format);
    const Outcome written = Execute({"scene", "export", run, "-o", file.string()});
    ASSERT_EQ(written.status, 0) << written.err;
    EXPECT_EQ(ReadGaussians(file).size(), cloud.size()) << format;
    const Outcome info = Execute({"scene", "info", file.string()});
    EXPECT_EQ(info.status, 0) << info.err;
    EXPECT_THAT(info.out, AllOf(HasSubstr("gaussians"), HasSubstr("per Gaussian")));
    const Outcome bare = Execute({"scene", "render", file.string(), "-o",
                                  (folder / format).string(), "--frames", "2", "--width", "64"});
    EXPECT_EQ(bare.status, 0) << bare.err;
    EXPECT_EQ(ReadImage(folder / format / "frame_0001.png").width, 64);
  }
  EXPECT_EQ(ReadFile(folder / "scene.ply"), ReadFile(fs::path(run) / "scene.ply"));
  EXPECT_EQ(
      Execute({"scene", "export", run, "--format", "splat", "-o", (folder / "x").string()}).status,
      0);
  EXPECT_EQ(ReadFile(folder / "x"), ReadFile(folder / "scene.splat"));

  // The exported scene scores as the run does, by itself.
  const Outcome again =
      Execute({"scene", "eval", "--scene", (folder / "scene.ply").string(), "--input",
               Capture().string(), "--json", (folder / "again.json").string()});
  ASSERT_EQ(again.status, 0) << again.err;
  const auto by_itself = nlohmann::json::parse(ReadFile(folder / "again.json"));
  ASSERT_EQ(by_itself["views"].size(), 2u) << "every 8th, by default";
  EXPECT_EQ(by_itself["views"][0], scores["views"][0]);
}

TEST(SceneTest, FlagsOverrideThePreset) {
  const fs::path folder = TestFolder("preset");
  WriteFile(folder / "preset.toml", "iterations = 3\nsh-degree = 1\nmasks = false\n");
  const Outcome outcome = Execute({"scene", "reconstruct", "--sh-degree", "0", "--preset",
                                   (folder / "preset.toml").string(), Capture().string(), "-o",
                                   (folder / "run").string()});
  ASSERT_EQ(outcome.status, 0) << outcome.err;
  const RunInfo info = ReadRun(folder / "run");
  EXPECT_EQ(info.options.iterations, 3);
  EXPECT_EQ(info.options.sh_degree, 0);
  EXPECT_FALSE(info.options.use_masks);
  EXPECT_EQ(ReadGaussians(info.scene).sh_degree, 0);
}

TEST(SceneTest, ImportWithRandomPointsMakesACapture) {
  const fs::path folder = TestFolder("import");
  const Outcome outcome = Execute({"scene", "import", Capture().string(), "-o",
                                   (folder / "capture").string(), "--random-points", "250"});
  ASSERT_EQ(outcome.status, 0) << outcome.err;
  const PosedImages before = ReadPosedImages(Capture());
  const PosedImages after = ReadPosedImages(folder / "capture");
  EXPECT_EQ(after.points.size(), 250u);
  ASSERT_EQ(after.images.size(), before.images.size());
  EXPECT_EQ(after.images[5].name, before.images[5].name);
  EXPECT_TRUE(after.images[5].camera_from_world.ToMatrix().isApprox(
      before.images[5].camera_from_world.ToMatrix()));
  EXPECT_FALSE(after.images[5].depth_path.empty());
  EXPECT_EQ(ReadFile(after.images[5].depth_path), ReadFile(before.images[5].depth_path));
  // Doing it again replaces the links.
  EXPECT_EQ(Execute({"scene", "import", Capture().string(), "-o", (folder / "capture").string(),
                     "--random-points", "250"})
                .status,
            0);
  EXPECT_EQ(Execute(Training(2, folder / "capture", folder / "run")).status, 0);
}

TEST(SceneTest, KilledAndResumedGivesTheSameBytes) {
  const fs::path folder = TestFolder("killed");
  constexpr int kIterations = 500;
  const auto training = [&](const char* name) {
    auto words = Training(kIterations, Capture(), folder / name);
    words.insert(words.end(), {"--checkpoint-every", "50"});
    return words;
  };
  ASSERT_EQ(Execute(training("unbroken")).status, 0);

  Process process(training("killed"));
  const fs::path run = folder / "killed";
  ASSERT_TRUE(
      WaitFor([&] { return fs::exists(run / "checkpoints" / "step_00000100.safetensors"); }));
  process.Signal(SIGKILL);
  ASSERT_EQ(process.Wait(), 1000 + SIGKILL) << "it was to be killed before it finished";
  ASSERT_FALSE(fs::exists(run / "scene.ply"));
  EXPECT_THAT(Execute({"scene", "info", run.string()}).err, HasSubstr("--resume"));

  const Outcome resumed =
      Execute({"scene", "reconstruct", "--resume", run.string(), "--threads", "2"});
  ASSERT_EQ(resumed.status, 0) << resumed.err;
  EXPECT_THAT(resumed.err, HasSubstr("resumed from"));
  EXPECT_TRUE(ReadFile(run / "scene.ply") == ReadFile(folder / "unbroken" / "scene.ply"))
      << "same seed, same threads, same bytes";
  EXPECT_EQ(ReadFile(run / "metrics.jsonl"), ReadFile(folder / "unbroken" / "metrics.jsonl"));
}

TEST(SceneTest, AnInterruptSavesAndStops) {
  const fs::path run = TestFolder("interrupted") / "run";
  Process process(Training(1'000'000, Capture(), run));
  ASSERT_TRUE(WaitFor([&] { return fs::exists(run / "metrics.jsonl"); }));
  process.Signal(SIGINT);
  EXPECT_EQ(process.Wait(), 128 + SIGINT);
  EXPECT_THAT(process.out, AllOf(HasSubstr("stopped at step"), HasSubstr("--resume '")));
  EXPECT_EQ(ListFiles(run / "checkpoints", {".safetensors"}).size(), 1u);
  EXPECT_GE(ReadRun(run).step, 50) << "metrics are written every 50 steps";
  EXPECT_FALSE(fs::exists(run / "scene.ply"));
}

}  // namespace
}  // namespace athanor
