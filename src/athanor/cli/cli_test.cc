// The program from outside: help, presets, doctor, demo, simulated worlds and driving logs.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "athanor/base/options.h"
#include "athanor/cli/cli_test_util.h"
#include "athanor/datasets/nuscenes_points.h"
#include "athanor/datasets/posed_images.h"
#include "athanor/media/image.h"
#include "athanor/scenes/gaussians/trainer.h"
#include "athanor/simulation/traffic/traffic.h"

namespace athanor {
namespace {

namespace fs = std::filesystem;
using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;
using ::testing::StartsWith;

TEST(HelpTest, EverywhereOnStandardOutput) {
  const std::vector<Case> cases = {
      {{}, "scene"},
      {{"--help"}, "doctor"},
      {{"scene", "--help"}, "reconstruct"},
      {{"scene", "import", "--help"}, "--[no-]single-camera"},
      {{"scene", "reconstruct", "--help"}, "--iterations N"},
      {{"scene", "eval", "--help"}, "--json"},
      {{"scene", "render", "--help"}, "orbit|train|test|all"},
      {{"scene", "info", "--help"}, "SCENE"},
      {{"scene", "export", "--help"}, "ply|splat|spz"},
      {{"demo", "--help"}, "runs/demo"},
      {{"doctor", "--help"}, "--device"},
  };
  const std::vector<Outcome> outcomes = ExecuteAll(CommandsOf(cases));
  for (size_t i = 0; i < cases.size(); ++i) {
    EXPECT_EQ(outcomes[i].status, 0);
    EXPECT_THAT(outcomes[i].out, HasSubstr(cases[i].expected));
    EXPECT_THAT(outcomes[i].err, IsEmpty());
  }
  const Outcome version = Execute({"--version"});
  EXPECT_EQ(version.status, 0);
  EXPECT_THAT(version.out, StartsWith("athanor 0."));
  // Every field of the options, with its help and its default.
  ReconstructOptions options;
  const std::string help = Execute({"scene", "reconstruct", "--help"}).out;
  const OptionList list = Describe(options);
  for (const Option& option : list.options()) {
    EXPECT_THAT(help, HasSubstr(option.help));
    EXPECT_THAT(help, HasSubstr((option.TypeName() == "flag" ? "--[no-]" : "--") + option.name));
  }
  EXPECT_THAT(help, HasSubstr("default: 7000"));
}

TEST(HelpTest, TheCommittedReferenceIsUpToDate) {
  EXPECT_EQ(ReadFile(fs::path(ATHANOR_SOURCE_DIR) / "docs" / "cli.md"), Execute({"docs"}).out)
      << "make it anew: athanor docs > docs/cli.md";
}

TEST(PresetsTest, EachLoadsIntoTheOptions) {
  const auto presets = ListFiles(fs::path(ATHANOR_SOURCE_DIR) / "configs", {".toml"});
  ASSERT_FALSE(presets.empty());
  ReconstructOptions defaults;
  const std::string unchanged = Describe(defaults).ToToml();
  for (const fs::path& preset : presets) {
    if (!preset.filename().string().starts_with("scene_")) continue;
    ReconstructOptions options;
    Describe(options).ReadToml(preset);
    EXPECT_NE(Describe(options).ToToml(), unchanged) << preset;
  }
}

TEST(DoctorTest, TellsOfTheMachineAndTestsTheKernels) {
  const Outcome outcome = Execute({"doctor", "--device", "cpu", "--threads", "2"});
  EXPECT_EQ(outcome.status, 0) << outcome.out << outcome.err;
  EXPECT_THAT(outcome.out, AllOf(HasSubstr("BLAS"), HasSubstr("SIMD"), HasSubstr("threads    2"),
                                 HasSubstr(" ok "), Not(HasSubstr("FAILED"))));
  // Every kernel has its line.
  for (const char* kernel :
       {"project", "harmonics", "binning", "rasterize", "image loss", "gaussian step", "lift",
        "lift rows", "feature scores", "coded scores", "product scores", "sparse convolution",
        "window attention", "bev pool", "bev spread"}) {
    EXPECT_THAT(outcome.out, HasSubstr(kernel));
  }
}

// An OpenBLAS that is older than the processor takes kernels without AVX for it.
TEST(DoctorTest, MatrixProductsUseWhatTheProcessorHas) {
#ifdef __x86_64__
  if (!__builtin_cpu_supports("avx2") || !__builtin_cpu_supports("fma")) {
    GTEST_SKIP() << "a processor without AVX2";
  }
  const std::vector<std::string> words = {"doctor", "--device", "cpu"};
  ::unsetenv("OPENBLAS_CORETYPE");
  const Outcome outcome = Execute(words);
  EXPECT_THAT(outcome.out, Not(HasSubstr("(Prescott)")));
  if (outcome.out.find("openblas") == std::string::npos) GTEST_SKIP() << "another BLAS";
  // What somebody asked for stands.
  ::setenv("OPENBLAS_CORETYPE", "Prescott", 1);
  const Outcome asked = Execute(words);
  ::unsetenv("OPENBLAS_CORETYPE");
  EXPECT_THAT(asked.out, HasSubstr("(Prescott)"));
#else
  GTEST_SKIP() << "not an x86 processor";
#endif
}

TEST(DemoTest, MakesPicturesResumesAndStartsAnew) {
  const fs::path out = TestFolder("demo") / "demo";
  const std::vector<std::string> words = {
      "demo", "-o", out.string(), "--iterations", "30", "--images", "8", "--frames", "4"};
  const Outcome first = Execute(words);
  ASSERT_EQ(first.status, 0) << first.err;
  EXPECT_THAT(first.out, AllOf(HasSubstr("PSNR"), HasSubstr("depth error"),
                               HasSubstr((out / "overview.png").string())));
  EXPECT_TRUE(fs::exists(out / "pictures" / "asked_0.png"));
  EXPECT_GT(ReadImage(out / "overview.png").width, 600);
  const std::string scene = ReadFile(out / "run" / "scene.ply");

  // As if it had been stopped before the end: it goes on and gives the same.
  fs::remove(out / "run" / "scene.ply");
  const Outcome second = Execute(words);
  EXPECT_EQ(second.status, 0) << second.err;
  EXPECT_THAT(second.err, HasSubstr("going on"));
  EXPECT_TRUE(ReadFile(out / "run" / "scene.ply") == scene);

  // As if it had been stopped after the reconstruction: that is not made again.
  fs::remove(out / "overview.png");
  const auto written = fs::last_write_time(out / "run" / "scene.ply");
  const Outcome pictures = Execute(words);
  EXPECT_EQ(pictures.status, 0) << pictures.err;
  EXPECT_THAT(pictures.err, AllOf(HasSubstr("going on"), Not(HasSubstr("2/5"))));
  EXPECT_TRUE(fs::exists(out / "overview.png"));
  EXPECT_EQ(fs::last_write_time(out / "run" / "scene.ply"), written);

  // Another room takes the place of one that was asked for with other options, finished or not.
  fs::remove(out / "run" / "scene.ply");
  const Outcome third =
      Execute({"demo", "-o", out.string(), "--iterations", "20", "--images", "9", "--frames", "4"});
  EXPECT_EQ(third.status, 0) << third.err;
  EXPECT_THAT(third.err, HasSubstr("had other options: it is made anew"));
  EXPECT_TRUE(fs::exists(out / "capture" / "images" / "00009.jpg"));

  // A folder that is not the demo's is left alone.
  const fs::path other = TestFolder("not a demo");
  fs::create_directories(other / "run");
  WriteFile(other / "run" / "precious", "x");
  EXPECT_EQ(Execute({"demo", "-o", other.string()}).status, 1);
  EXPECT_EQ(ReadFile(other / "run" / "precious"), "x");
  fs::rename(other / "run", other / "capture");
  EXPECT_EQ(Execute({"demo", "-o", other.string()}).status, 1);
  EXPECT_EQ(ReadFile(other / "capture" / "precious"), "x");
  EXPECT_FALSE(fs::exists(other / "demo.toml"));
}

TEST(Cli, SimRoomMakesACaptureAndGoesOn) {
  const fs::path out = TestFolder("room") / "W";
  const std::vector<std::string> words = {
      "sim", "room",   "--images", "2",        "--width", "128", "--height",
      "96",  "--seed", "7",        "--points", "200",     "-o",  out.string()};
  const Outcome first = Execute(words);
  ASSERT_EQ(first.status, 0) << first.err;
  EXPECT_THAT(first.out, AllOf(HasSubstr("2 images written"), HasSubstr("scene reconstruct")));
  const PosedImages posed = ReadPosedImages(out);
  EXPECT_EQ(posed.images.size(), 2u);
  EXPECT_GT(posed.points.size(), 150u);
  const auto objects = nlohmann::json::parse(ReadFile(out / "objects.json"));
  EXPECT_GT(objects["objects"].size(), 20u);

  // One image is missing: only that one is made, and it is the same.
  const std::string image = ReadFile(out / "images" / "00002.jpg");
  fs::remove(out / "images" / "00002.jpg");
  const Outcome second = Execute(words);
  EXPECT_EQ(second.status, 0) << second.err;
  EXPECT_THAT(second.out, HasSubstr("1 images written, 1 kept"));
  EXPECT_TRUE(ReadFile(out / "images" / "00002.jpg") == image);

  const auto failed = ExecuteAll({{"sim", "room", "-o", out.string(), "--seed", "8"},
                                  {"sim", "room", "-o", out.string(), "--clutter", "3"},
                                  {"sim", "room"}});
  EXPECT_EQ(failed[0].status, 1);
  EXPECT_THAT(LastLine(failed[0].err), HasSubstr("other options"));
  EXPECT_EQ(failed[1].status, 2);
  EXPECT_THAT(LastLine(failed[1].err), HasSubstr("clutter"));
  EXPECT_EQ(failed[2].status, 2);
}

// One frame of a car 10 m ahead of a camera and a LiDAR.
fs::path WriteKeyframe(const fs::path& folder) {
  WriteFile(folder / "sample.json", R"({"dataset": "d", "scene": "street", "token": "t",
    "timestamp": 1.5, "lidar": "l.bin",
    "T_global_ego": [[1,0,0,5],[0,1,0,0],[0,0,1,0],[0,0,0,1]],
    "T_ego_lidar": [[1,0,0,0],[0,1,0,0],[0,0,1,2],[0,0,0,1]],
    "cameras": [{"name": "CAM", "file": "c.png", "width": 64, "height": 36, "timestamp": 1.4,
      "K": [[50,0,32],[0,50,18],[0,0,1]],
      "T_cam_lidar": [[0,-1,0,0],[0,0,-1,0],[1,0,0,0],[0,0,0,1]]}],
    "boxes": [{"cls": "car", "center": [10,0,-1], "lwh": [4,2,1.5], "yaw": 0,
      "velocity": [0, 0], "num_lidar_pts": 30}]})");
  LidarSweep sweep;
  for (int i = 0; i < 30; ++i) {
    sweep.points.emplace_back(9.0f, 0.05f * static_cast<float>(i) - 0.7f, -1.0f);
    sweep.intensity.push_back(0.5f);
  }
  WriteFile(folder / "l.bin", EncodePcdBin(sweep));
  WriteImage(folder / "c.png", Image(64, 36, 3, 90));
  return folder;
}

TEST(Cli, SimStreetMakesALogThatPassesTheCheck) {
  if (const std::string why = WhyNoSumo(); !why.empty()) GTEST_SKIP() << why;
  const fs::path folder = TestFolder("street");
  const std::vector<std::string> command = {
      "sim",          "street",   "--scenes",  "1",      "--seconds", "1",         "--width",
      "96",           "--height", "54",        "--seed", "3",         "--network", "roundabout",
      "--weather",    "sun",      "--warm-up", "20",     "--search",  "20",        "-o",
      folder.string()};
  const Outcome made = Execute(command);
  ASSERT_EQ(made.status, 0) << made.err;
  EXPECT_THAT(made.out, HasSubstr(": 1 scenes"));
  const Outcome checked = Execute({"log", "check", folder.string()});
  EXPECT_EQ(checked.status, 0) << checked.out << checked.err;
  EXPECT_THAT(checked.out, HasSubstr("counted in boxes"));
  const Outcome again = Execute(command);
  EXPECT_EQ(again.status, 0) << again.err;
  EXPECT_THAT(again.out, HasSubstr("1 kept"));

  // The log as a capture: movers masked, LiDAR depth, and so a depth error beside the PSNR.
  const fs::path run = TestFolder("street run");
  const Outcome trained = Execute({"scene", "reconstruct", folder.string(), "--clip", "0", "-o",
                                   run.string(), "--iterations", "4", "--coarse-levels", "0"});
  ASSERT_EQ(trained.status, 0) << trained.err;
  EXPECT_THAT(ReadFile(run / "metrics.jsonl"), HasSubstr("depth_loss"));
  EXPECT_FALSE(ListFiles(run / "clip" / "depth" / "CAM_FRONT", {".png"}).empty());
  ASSERT_EQ(Execute({"scene", "eval", run.string()}).status, 0);
  const auto scores = nlohmann::json::parse(ReadFile(run / "eval.json"));
  EXPECT_GT(scores["depth_mae"].get<double>(), 0);
  const Outcome missing = Execute(
      {"scene", "reconstruct", folder.string(), "--clip", "none", "-o", (run / "other").string()});
  EXPECT_EQ(missing.status, 1);
  EXPECT_THAT(missing.err, HasSubstr("no log is called 'none'"));
  EXPECT_FALSE(fs::exists(run / "other"));

  // Corrupted, it keeps its tables and loses the points it should: 70 % of them.
  const fs::path worse = TestFolder("street corrupted") / "W";
  const Outcome corrupted = Execute({"log", "corrupt", folder.string(), "--kind", "pointsreducing",
                                     "--severity", "1", "-o", worse.string()});
  ASSERT_EQ(corrupted.status, 0) << corrupted.err;
  const auto sweeps = ListFiles(folder / "samples" / "LIDAR_TOP");
  ASSERT_FALSE(sweeps.empty());
  const auto left =
      static_cast<double>(fs::file_size(worse / "samples" / "LIDAR_TOP" / sweeps[0].filename()));
  EXPECT_NEAR(left / static_cast<double>(fs::file_size(sweeps[0])), 0.3, 0.02);
  EXPECT_EQ(ReadFile(worse / "v1.0-mini" / "sample_annotation.json"),
            ReadFile(folder / "v1.0-mini" / "sample_annotation.json"));
}

TEST(LogTest, FramesAreToldCheckedAndShown) {
  const fs::path folder = WriteKeyframe(TestFolder("log"));
  const fs::path picture = folder / "view.png";
  const auto outcomes = ExecuteAll(
      {{"log", "info", folder.string()},
       {"log", "check", folder.string()},
       {"log", "view", folder.string(), "--frame", "0", "0", "-o", picture.string()},
       {"log", "view", folder.string(), "--log", "none", "-o", (folder / "x.png").string()},
       {"log", "info", (folder / "nothing").string()},
       {"log", "view", folder.string()}});
  EXPECT_EQ(outcomes[0].status, 0) << outcomes[0].err;
  EXPECT_THAT(outcomes[0].out, AllOf(HasSubstr("nuscenes_keyframe"), HasSubstr("street"),
                                     HasSubstr("64x36"), HasSubstr("car")));
  EXPECT_EQ(outcomes[1].status, 0) << outcomes[1].out;
  EXPECT_THAT(outcomes[1].out, HasSubstr("30 counted in boxes, 30 annotated"));
  EXPECT_EQ(outcomes[2].status, 0) << outcomes[2].err;
  EXPECT_GT(ReadImageSize(picture).height, 800);  // two frames
  EXPECT_EQ(outcomes[3].status, 1);
  EXPECT_THAT(outcomes[3].err, HasSubstr("no log is called 'none'"));
  EXPECT_FALSE(fs::exists(folder / "x.png"));
  EXPECT_EQ(outcomes[4].status, 1);
  EXPECT_EQ(outcomes[5].status, 2);

  fs::remove(folder / "c.png");
  WriteFile(folder / "l.bin", "");
  const Outcome broken = Execute({"log", "check", folder.string()});
  EXPECT_EQ(broken.status, 1);
  EXPECT_THAT(broken.out,
              AllOf(HasSubstr("c.png: no such file"),
                    HasSubstr("l.bin: expected points, found none"), HasSubstr("faults     2")));
}

// What is said of real data is what is annotated (SOURCES.md of the data).
TEST(LogTest, RealDataSetsAreToldAndChecked) {
  const std::vector<std::pair<std::string, std::vector<std::string>>> sets = {
      {"nuscenes_keyframe",
       {"boxes      69", "pedestrian               30", "994 counted in boxes, 1,009 annotated"}},
      {"argoverse2/sensor_val_7fab2350",
       {"boxes      11,364", "frames     156", "18,688 counted in boxes, 18,688 annotated"}},
      {"kitti/object", {"logs       3", "boxes      6", "0 counted in boxes, 0 annotated"}}};
  int found = 0;
  for (const auto& [name, expected] : sets) {
    const fs::path path = SharedData(name);
    if (path.empty()) continue;
    ++found;
    const fs::path picture = TestFolder("view") / "view.png";
    const auto outcomes = ExecuteAll({{"log", "info", path.string()},
                                      {"log", "check", path.string()},
                                      {"log", "view", path.string(), "-o", picture.string()}});
    for (const Outcome& outcome : outcomes) EXPECT_EQ(outcome.status, 0) << name << outcome.err;
    for (const std::string& text : expected) {
      EXPECT_THAT(outcomes[0].out + outcomes[1].out, HasSubstr(text)) << name;
    }
    EXPECT_THAT(outcomes[1].out, HasSubstr("faults     0"));
    EXPECT_GT(ReadImageSize(picture).width, 1000) << name;
  }
  if (found == 0) GTEST_SKIP() << "needs real logs in ../shared/data";
}

TEST(ModelsTest, ListsAndFetchesFromAFolder) {
  const fs::path folder = TestFolder("models");
  ::setenv("ATHANOR_MODELS", (folder / "store").c_str(), 1);
  WriteFile(folder / "disk/deep/net.onnx", "a network");
  WriteFile(folder / "card.toml",
            "kind = \"pixel\"\nsummary = \"one of mine\"\nlicense = \"mine\"\n"
            "[[file]]\nrole = \"network\"\nname = \"net.onnx\"\n");
  const std::string card = (folder / "card.toml").string();
  const Outcome list = Execute({"models", "list"});
  EXPECT_EQ(list.status, 0) << list.err;
  EXPECT_THAT(list.out, AllOf(HasSubstr("clip-vit-b-32"), HasSubstr("deeplab-cityscapes"),
                              HasSubstr((folder / "store").string())));
  const Outcome lost = Execute({"models", "fetch", card, "--from", (folder / "store").string()});
  EXPECT_EQ(lost.status, 1);
  EXPECT_THAT(lost.err, HasSubstr("no such folder"));
  const Outcome fetched = Execute({"models", "fetch", card, "--from", (folder / "disk").string()});
  EXPECT_EQ(fetched.status, 0) << fetched.err;
  EXPECT_EQ(ReadFile(folder / "store/net.onnx"), "a network");
  EXPECT_THAT(Execute({"models", "list", card}).out,
              AllOf(HasSubstr("one of mine"), HasSubstr((folder / "store/net.onnx").string())));
  const Outcome unknown = Execute({"models", "fetch", "no-such-model"});
  EXPECT_EQ(unknown.status, 1);
  EXPECT_THAT(unknown.err, HasSubstr("there is no model card 'no-such-model'"));
  EXPECT_EQ(Execute({"models", "fetch"}).status, 2);
  ::unsetenv("ATHANOR_MODELS");
}

}  // namespace
}  // namespace athanor
