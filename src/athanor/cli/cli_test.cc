// The program from outside: what it prints, what it writes, and how it fails.
#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <filesystem>
#include <functional>
#include <nlohmann/json.hpp>
#include <string>
#include <thread>
#include <vector>

#include "athanor/base/files.h"
#include "athanor/base/options.h"
#include "athanor/datasets/gaussian_cloud.h"
#include "athanor/datasets/nuscenes_points.h"
#include "athanor/datasets/posed_images.h"
#include "athanor/datasets/synthetic_scene.h"
#include "athanor/media/image.h"
#include "athanor/scenes/gaussians/trainer.h"
#include "athanor/simulation/traffic/traffic.h"

extern char** environ;

namespace athanor {
namespace {

namespace fs = std::filesystem;
using ::testing::AllOf;
using ::testing::EndsWith;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;
using ::testing::StartsWith;

// A folder with a name that shells and careless code stumble over; two runs of the tests may share
// a machine.
fs::path TestRoot() {
  return fs::path(testing::TempDir()) / ("athanor cli tests é " + std::to_string(::getpid()));
}

fs::path TestFolder(const std::string& name) {
  const fs::path folder = TestRoot() / name;
  fs::remove_all(folder);
  fs::create_directories(folder);
  return folder;
}

// The program, running.
class Process {
 public:
  explicit Process(const std::vector<std::string>& arguments) {
    static int count = 0;
    fs::create_directories(TestRoot());
    const fs::path base = TestRoot() / ("process_" + std::to_string(++count));
    out_ = base.string() + ".out";
    err_ = base.string() + ".err";
    std::vector<std::string> words = {ATHANOR_PROGRAM};
    words.insert(words.end(), arguments.begin(), arguments.end());
    std::vector<char*> argv;
    for (std::string& word : words) argv.push_back(word.data());
    argv.push_back(nullptr);
    posix_spawn_file_actions_t actions;
    posix_spawn_file_actions_init(&actions);
    const int flags = O_WRONLY | O_CREAT | O_TRUNC;
    posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0);
    posix_spawn_file_actions_addopen(&actions, 1, out_.c_str(), flags, 0666);
    posix_spawn_file_actions_addopen(&actions, 2, err_.c_str(), flags, 0666);
    EXPECT_EQ(posix_spawn(&pid_, ATHANOR_PROGRAM, &actions, nullptr, argv.data(), environ), 0);
    posix_spawn_file_actions_destroy(&actions);
  }

  void Signal(int number) const { ::kill(pid_, number); }
  // Waits for the end. Returns the exit status, or 1000 + the signal that ended it.
  int Wait() {
    int status = 0;
    ::waitpid(pid_, &status, 0);
    out = ReadFile(out_);
    err = ReadFile(err_);
    fs::remove(out_);
    fs::remove(err_);
    return WIFSIGNALED(status) ? 1000 + WTERMSIG(status) : WEXITSTATUS(status);
  }

  std::string out, err;  // after Wait()

 private:
  fs::path out_, err_;
  pid_t pid_ = 0;
};

struct Outcome {
  int status;
  std::string out, err;
};

Outcome Execute(const std::vector<std::string>& arguments) {
  Process process(arguments);
  const int status = process.Wait();
  return {status, process.out, process.err};
}

// Several, two at a time: most of a short command's time is loading its libraries.
std::vector<Outcome> ExecuteAll(const std::vector<std::vector<std::string>>& commands) {
  constexpr size_t kAtATime = 2;
  std::vector<Outcome> outcomes;
  for (size_t i = 0; i < commands.size(); i += kAtATime) {
    std::vector<Process> running;
    for (size_t k = i; k < std::min(i + kAtATime, commands.size()); ++k) {
      running.emplace_back(commands[k]);
    }
    for (Process& process : running) {
      const int status = process.Wait();
      outcomes.push_back({status, process.out, process.err});
    }
  }
  return outcomes;
}

// A command, and what its output is to hold.
struct Case {
  std::vector<std::string> words;
  std::string expected;
};
std::vector<std::vector<std::string>> CommandsOf(const std::vector<Case>& cases) {
  std::vector<std::vector<std::string>> commands;
  for (const Case& one : cases) commands.push_back(one.words);
  return commands;
}

// The last line: log lines may come before the error.
std::string LastLine(std::string text) {
  if (!text.empty() && text.back() == '\n') text.pop_back();
  return text.substr(text.rfind('\n') + 1);
}

// True as soon as `condition` holds; false after a minute.
bool WaitFor(const std::function<bool()>& condition) {
  for (int i = 0; i < 60'000; ++i) {
    if (condition()) return true;
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
  return false;
}

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

TEST(DoctorTest, TellsOfTheMachineAndTestsTheKernels) {
  const Outcome outcome = Execute({"doctor", "--device", "cpu", "--threads", "2"});
  EXPECT_EQ(outcome.status, 0) << outcome.out << outcome.err;
  EXPECT_THAT(outcome.out, AllOf(HasSubstr("BLAS"), HasSubstr("SIMD"), HasSubstr("threads    2"),
                                 HasSubstr(" ok "), Not(HasSubstr("FAILED"))));
}

TEST(DemoTest, MakesPicturesResumesAndStartsAnew) {
  const fs::path out = TestFolder("demo") / "demo";
  const std::vector<std::string> words = {
      "demo", "-o", out.string(), "--iterations", "30", "--images", "8", "--frames", "4"};
  const Outcome first = Execute(words);
  ASSERT_EQ(first.status, 0) << first.err;
  EXPECT_THAT(first.out, AllOf(HasSubstr("PSNR"), HasSubstr("depth error"),
                               HasSubstr((out / "overview.png").string())));
  EXPECT_GT(ReadImage(out / "overview.png").width, 600);
  const std::string scene = ReadFile(out / "run" / "scene.ply");

  // As if it had been stopped before the end: it goes on and gives the same.
  fs::remove(out / "run" / "scene.ply");
  const Outcome second = Execute(words);
  EXPECT_EQ(second.status, 0) << second.err;
  EXPECT_THAT(second.err, HasSubstr("going on"));
  EXPECT_TRUE(ReadFile(out / "run" / "scene.ply") == scene);

  // A folder that is not the demo's is left alone.
  const fs::path other = TestFolder("not a demo");
  fs::create_directories(other / "run");
  WriteFile(other / "run" / "precious", "x");
  EXPECT_EQ(Execute({"demo", "-o", other.string()}).status, 1);
  EXPECT_EQ(ReadFile(other / "run" / "precious"), "x");
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

class RemoveTestFolders : public testing::Environment {
 public:
  void TearDown() override { fs::remove_all(TestRoot()); }
};
[[maybe_unused]] const auto* const kRemoveTestFolders =
    testing::AddGlobalTestEnvironment(new RemoveTestFolders);

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
