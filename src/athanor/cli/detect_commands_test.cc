// athanor detect eval, athanor eval ..., from outside: scores worked out by hand, the real map of
// an Argoverse 2 log, and how they fail.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>
#include <sstream>
#include <string>
#include <vector>

#include "athanor/base/random.h"
#include "athanor/cli/cli_test_util.h"
#include "athanor/datasets/argoverse2_files.h"
#include "athanor/datasets/log_test_util.h"
#include "athanor/detection/evaluation/evaluation_inputs.h"
#include "athanor/detection/evaluation/nuscenes_files.h"
#include "athanor/simulation/traffic/traffic.h"

namespace athanor {
namespace {

namespace fs = std::filesystem;
using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;
using ::testing::StartsWith;

// Two scenes of three samples, with one car in each sample that counts.
const fs::path& Town() {
  static const fs::path folder = WriteTestTown(TestFolder("town"));
  return folder;
}

// The cars of the town, moved by 0.3 m; those of the first `missed` samples are not found.
NuscenesResults FoundCars(int missed = 0) {
  const NuscenesTruth truth = ReadNuscenesTruth(Town(), "");
  NuscenesResults results;
  for (size_t i = 0; i < truth.samples.size(); ++i) {
    results.sample_tokens.push_back(truth.samples[i].token);
    for (NuscenesBox box : truth.samples[i].boxes) {
      if (static_cast<int>(i) < missed) continue;
      box.translation_m.x() += 0.3;
      box.score = 0.9 - 0.1 * static_cast<double>(i);
      box.num_points = -1;
      results.boxes.push_back(box);
    }
    results.first_box.push_back(static_cast<int64_t>(results.boxes.size()));
  }
  return results;
}

std::vector<std::string> Eval(const fs::path& truth, const fs::path& results,
                              const fs::path& out = {}) {
  std::vector<std::string> words = {"detect",       "eval",      "--truth",
                                    truth.string(), "--results", results.string()};
  if (!out.empty()) words.insert(words.end(), {"-o", out.string()});
  return words;
}

TEST(DetectEval, NuscenesScoresAreThoseWorkedOutByHand) {
  const fs::path folder = TestFolder("nuscenes eval");
  WriteNuscenesResults(folder / "R.json", FoundCars());
  const Outcome outcome = Execute(Eval(Town(), folder / "R.json", folder / "out"));
  ASSERT_EQ(outcome.status, 0) << outcome.err;
  EXPECT_THAT(outcome.out, HasSubstr("samples 6   detections 6"));
  // One class of ten is found, whole, 0.3 m off; the others have no truth: AP 0 and errors 1. Nine
  // classes have an orientation, eight a velocity and attributes.
  const double scores = (1 - (9 + 0.3) / 10) + (1 - 9.0 / 10) + (1 - 8.0 / 9) + 2 * (1 - 7.0 / 8);
  // strict parsers refuse the NaN of what is not defined
  const std::string summary = ReadFile(folder / "out" / "metrics_summary.json");
  EXPECT_THAT(summary, HasSubstr("\"mean_ap\": 0.1"));
  const size_t at = summary.find("\"nd_score\": ") + 12;
  EXPECT_NEAR(std::stod(summary.substr(at)), (5 * 0.1 + scores) / 10, 1e-9);
  EXPECT_TRUE(fs::exists(folder / "out" / "metrics_details.json"));
  EXPECT_EQ(nlohmann::json::parse(ReadFile(folder / "out" / "metrics_details.json")).size(), 40u);

  // A split of one scene, by a file of names: half of the samples are not expected any more.
  WriteFile(folder / "split.txt", "scene-0002\n");
  auto words = Eval(Town(), folder / "R.json");
  words.insert(words.end(), {"--split", (folder / "split.txt").string()});
  const Outcome half = Execute(words);
  EXPECT_EQ(half.status, 1);
  EXPECT_THAT(half.err, HasSubstr("(and 2 more)"));
  WriteFile(folder / "split.txt", "scene-0002 scene-0003\n");
  EXPECT_THAT(Execute(words).err, HasSubstr("names the scene scene-0003"));
}

constexpr const char* kSmallDetector =
    "image-width = 96\nimage-height = 64\nrange = 25.6\nvoxel = 0.4\nwidth = 16\n"
    "lift-width = 8\nheads = 2\nwindow = 4\nlidar-channels = \"8,8,16\"\nbev-layers = 1\n"
    "camera-channels = \"8,8,16\"\ncamera-blocks = \"0,1,1\"\ncamera-stride = 8\n"
    "depth-high = 33\ndepths = 8\nqueries = 12\nproposals = 12\ndecoder-hidden = 32\n"
    "steps = 4\nbatch = 1\naverage = 0.5\npaste = false\nmetrics-every = 1\n";

// From pre-training to scores, as a person would do it.
TEST(Detect, LearnsPredictsAndIsScored) {
  const fs::path folder = TestFolder("detect");
  const std::string town = Town().string();
  const auto path = [&](const char* name) { return (folder / name).string(); };
  WriteFile(folder / "small.toml", kSmallDetector);
  const Outcome pretrained = Execute({"detect", "pretrain", town, "-o", path("p"), "--preset",
                                      path("small.toml"), "--steps", "2", "--warmup", "1"});
  ASSERT_EQ(pretrained.status, 0) << pretrained.err;
  EXPECT_TRUE(fs::exists(folder / "p" / "pretrained.png"));
  const Outcome trained =
      Execute({"detect", "train", town, "-o", path("d"), "--preset", path("small.toml"), "--score",
               town, "--start-from", path("p/pretrained.safetensors")});
  ASSERT_EQ(trained.status, 0) << trained.err;
  EXPECT_THAT(trained.out, AllOf(HasSubstr("4 steps on 6 frames"), HasSubstr("scored     mAP")));
  EXPECT_THAT(Execute({"detect", "train", town, "-o", path("d")}).err,
              HasSubstr("already holds a run"));

  const Outcome exported = Execute({"detect", "export", path("d"), "-o", path("half.safetensors")});
  ASSERT_EQ(exported.status, 0) << exported.err;
  EXPECT_LT(fs::file_size(folder / "half.safetensors"),
            0.6 * static_cast<double>(fs::file_size(folder / "d" / "detector.safetensors")));

  for (const char* model : {"d/detector.safetensors", "half.safetensors"}) {
    const Outcome found = Execute({"detect", "predict", town, "--model", path(model), "-o",
                                   path("found"), "--pictures", "2", "--min-score", "0"});
    ASSERT_EQ(found.status, 0) << found.err;
    EXPECT_EQ(ListFiles(folder / "found" / "pictures", {".png"}).size(), 2u);
    EXPECT_EQ(Execute(Eval(Town(), folder / "found" / "results_nusc.json")).status, 0);
  }
  const Outcome lost = Execute({"detect", "eval", "--truth", town, "--model",
                                path("half.safetensors"), "--drop", "lidar", "-o", path("lost")});
  ASSERT_EQ(lost.status, 0) << lost.err;
  EXPECT_THAT(lost.out, AllOf(HasSubstr("samples 6"), HasSubstr("classes that occur")));
  EXPECT_THAT(ReadFile(folder / "lost" / "results_nusc.json"), HasSubstr("\"use_lidar\": false"));
  const Outcome by_name = Execute({"detect", "predict", town, "--frames", "1", "-o", path("tiny")});
  ASSERT_EQ(by_name.status, 0) << by_name.err;
  EXPECT_TRUE(fs::exists(folder / "tiny" / "results_nusc.json"));
  const Outcome timed = Execute({"detect", "bench", town, "--model", path("half.safetensors"),
                                 "--frames", "2", "--drop", "cameras"});
  ASSERT_EQ(timed.status, 0) << timed.err;
  EXPECT_THAT(timed.out, AllOf(HasSubstr("LiDAR network"), HasSubstr("2 frames of ")));
}

// The weights that come with the program, on streets that they have not seen.
TEST(Detect, SlowFindsWithTheWeightsThatComeAlong) {
  if (const std::string why = WhyNoSumo(); !why.empty()) GTEST_SKIP() << why;
  const fs::path folder = TestFolder("detect tiny");
  const auto path = [&](const char* name) { return (folder / name).string(); };
  const Outcome made = Execute({"sim", "street", "--scenes", "2", "--seconds", "2", "--seed",
                                "9102", "--weather", "sun", "-o", path("streets")});
  ASSERT_EQ(made.status, 0) << made.err;
  const auto map = [&](const std::vector<std::string>& more) {
    std::vector<std::string> words = {"detect",  "eval", "--truth", path("streets"),
                                      "--model", "tiny", "-o",      path("found")};
    words.insert(words.end(), more.begin(), more.end());
    const Outcome scored = Execute(words);
    EXPECT_EQ(scored.status, 0) << scored.err;
    const std::string head = "classes that occur ";
    const size_t at = scored.out.find(head);
    return at == std::string::npos ? 0 : std::stod(scored.out.substr(at + head.size()));
  };
  EXPECT_GT(map({}), 0.3);
  EXPECT_GT(map({"--drop", "cameras"}), 0.15);
}

TEST(Detect, SaysWhatIsWrong) {
  const fs::path folder = TestFolder("detect wrong");
  const std::string town = Town().string();
  WriteFile(folder / "torn.safetensors", "torn");
  const auto predict = [&](const std::vector<std::string>& more) {
    std::vector<std::string> words = {"detect", "predict", town, "-o", (folder / "out").string()};
    words.insert(words.end(), more.begin(), more.end());
    return Execute(words);
  };
  EXPECT_THAT(predict({"--model", (folder / "torn.safetensors").string()}).err,
              HasSubstr("torn.safetensors"));
  EXPECT_THAT(predict({"--model", "huge"}).err,
              HasSubstr("models/athanor-detect-huge/detector.safetensors"));
  EXPECT_THAT(predict({"--device", "gpu"}).err, HasSubstr("device 'gpu'"));
  EXPECT_THAT(
      Execute({"detect", "train", town, "-o", (folder / "d").string(), "--preset", "huge"}).err,
      HasSubstr("configs/detect/huge.toml"));
  EXPECT_EQ(Execute({"detect", "eval", "--truth", town}).status, 2);
  EXPECT_EQ(Execute({"detect", "eval", "--truth", town, "--model", "tiny"}).status, 2);
  EXPECT_THAT(Execute({"detect", "export", folder.string(), "-o", "x"}).err,
              HasSubstr("expected a training with a checkpoint"));
}

#ifdef ATHANOR_HAS_GLOO

TEST(Detect, ProcessesShareATrainingAndGoOnAfterTheDeathOfOne) {
  const fs::path folder = TestFolder("detect processes");
  WriteFile(folder / "small.toml", kSmallDetector);
  const auto words = [&](const char* out, const std::vector<std::string>& more) {
    std::vector<std::string> all = {"--threads",
                                    "1",
                                    "detect",
                                    "train",
                                    Town().string(),
                                    "-o",
                                    (folder / out).string(),
                                    "--preset",
                                    (folder / "small.toml").string(),
                                    "--batch",
                                    "2",
                                    "--processes",
                                    "2",
                                    "--checkpoint-every",
                                    "1",
                                    "--steps",
                                    "12"};
    all.insert(all.end(), more.begin(), more.end());
    return all;
  };
  const Outcome whole = Execute(words("whole", {}));
  ASSERT_EQ(whole.status, 0) << whole.err;
  EXPECT_THAT(whole.out, HasSubstr("12 steps on 6 frames"));

  Process leader(words("broken", {}));
  ASSERT_TRUE(WaitFor([&] { return fs::exists(folder / "broken" / "metrics.jsonl"); }));
  const std::string children =
      ReadFile(StrCat("/proc/", leader.pid(), "/task/", leader.pid(), "/children"));
  ASSERT_EQ(::kill(std::stoi(children), SIGKILL), 0) << children;
  EXPECT_EQ(leader.Wait(), 1);
  EXPECT_THAT(LastLine(leader.err), HasSubstr("one of them was ended by signal 9"));
  const Outcome rest = Execute(words("broken", {"--resume"}));
  ASSERT_EQ(rest.status, 0) << rest.err;
  EXPECT_EQ(ReadFile(folder / "broken" / "detector.safetensors"),
            ReadFile(folder / "whole" / "detector.safetensors"));
}

int FreePort() {
  const int socket = ::socket(AF_INET, SOCK_STREAM, 0);
  sockaddr_in address = {};
  address.sin_family = AF_INET;
  socklen_t size = sizeof address;
  EXPECT_EQ(::bind(socket, reinterpret_cast<sockaddr*>(&address), size), 0);
  EXPECT_EQ(::getsockname(socket, reinterpret_cast<sockaddr*>(&address), &size), 0);
  ::close(socket);
  return ntohs(address.sin_port);
}

// As on two machines: the second process is started by somebody else.
TEST(Detect, AProcessFromElsewhereTakesPart) {
  const fs::path folder = TestFolder("detect follow");
  WriteFile(folder / "small.toml", kSmallDetector);
  ::setenv("GLOO_SOCKET_IFNAME", "lo", 1);
  const std::string port = std::to_string(FreePort());
  Process leader({"detect", "train", Town().string(), "-o", (folder / "d").string(), "--preset",
                  (folder / "small.toml").string(), "--batch", "2", "--processes", "2", "--port",
                  port});
  const Outcome follower = Execute({"detect", "follow", "localhost:" + port});
  ::unsetenv("GLOO_SOCKET_IFNAME");
  EXPECT_EQ(follower.status, 0) << follower.err;
  EXPECT_EQ(leader.Wait(), 0) << leader.err;
  EXPECT_THAT(leader.err, HasSubstr("waiting for 1 processes at"));
  EXPECT_TRUE(fs::exists(folder / "d" / "detector.safetensors"));
}

#endif

TEST(EvalCompare, TellsADifferenceFromLuck) {
  const fs::path folder = TestFolder("compare");
  WriteNuscenesResults(folder / "A.json", FoundCars());
  WriteNuscenesResults(folder / "B.json", FoundCars(3));
  const auto compare = [&](const char* a, const char* b) {
    return Execute({"eval", "compare", (folder / a).string(), (folder / b).string(), "--truth",
                    Town().string(), "--unit", "sample", "--draws", "200"});
  };
  const Outcome same = compare("A.json", "A.json"), worse = compare("A.json", "B.json");
  ASSERT_EQ(same.status, 0) << same.err;
  ASSERT_EQ(worse.status, 0) << worse.err;
  EXPECT_THAT(same.out, AllOf(HasSubstr("200 draws of samples"), Not(HasSubstr("yes"))));
  // Half of the cars are missed: recall ends at one half.
  EXPECT_THAT(worse.out, HasSubstr("yes"));
}

TEST(EvalRobustness, TakesWhatDetectEvalWrites) {
  const fs::path folder = TestFolder("robustness");
  for (int missed : {0, 1, 2, 3}) {
    const fs::path results = folder / StrCat("R", missed, ".json");
    WriteNuscenesResults(results, FoundCars(missed));
    const fs::path out = missed == 0 ? folder / "clean" : folder / "fog" / std::to_string(missed);
    ASSERT_EQ(Execute(Eval(Town(), results, out)).status, 0);
  }
  const Outcome outcome =
      Execute({"eval", "robustness", (folder / "clean").string(), folder.string(), "--baseline",
               folder.string(), "--baseline-clean", (folder / "clean").string()});
  ASSERT_EQ(outcome.status, 0) << outcome.err;
  const auto score = [&](const fs::path& of) {
    const std::string summary = ReadFile(of / "metrics_summary.json");
    return std::stod(summary.substr(summary.find("\"nd_score\": ") + 12));
  };
  double sum = 0;
  for (int missed : {1, 2, 3}) sum += score(folder / "fog" / std::to_string(missed));
  char ra[16];
  std::snprintf(ra, sizeof ra, "%.3f", sum / 3 / score(folder / "clean"));
  EXPECT_THAT(outcome.out, AllOf(HasSubstr("fog"), HasSubstr(ra), HasSubstr("0.000")));
}

constexpr const char* kCar = "Car 0.00 0 0.1 100 100 200 180 1.5 1.6 4.0 1 1.6 20 0.1";

// A car in each of 60 frames: 41 recalls need as many. A finds all of them, B every other one.
fs::path WriteKittiTown(const fs::path& root) {
  for (int i = 0; i < 60; ++i) {
    const std::string name = StrCat(i < 10 ? "00000" : "0000", i, ".txt");
    const std::string found = StrCat(kCar, " 0.", 99 - i, "\n");
    WriteFile(root / "label_2" / name, StrCat(kCar, "\n"));
    WriteFile(root / "A" / name, found);
    WriteFile(root / "B" / name, i % 2 == 0 ? "" : found);
  }
  return root;
}

TEST(DetectEval, KittiByFoldersOfText) {
  const fs::path root = WriteKittiTown(TestFolder("kitti"));
  const auto outcomes =
      ExecuteAll({Eval(root, root / "A", root / "out"),
                  {"eval", "compare", (root / "A").string(), (root / "B").string(), "--truth",
                   root.string(), "--draws", "200"}});
  ASSERT_EQ(outcomes[0].status, 0) << outcomes[0].err;
  EXPECT_THAT(outcomes[0].out, HasSubstr("60 frames"));
  const auto metrics = nlohmann::json::parse(ReadFile(root / "out" / "metrics.json"));
  EXPECT_DOUBLE_EQ(metrics["Car"]["3d"]["strict"]["R11"]["easy"].get<double>(), 1);
  EXPECT_TRUE(metrics["Cyclist"]["3d"]["strict"]["R40"]["hard"].is_null());
  ASSERT_EQ(outcomes[1].status, 0) << outcomes[1].err;
  EXPECT_THAT(outcomes[1].out, AllOf(HasSubstr("Car 3d"), HasSubstr("Car aos"), HasSubstr("yes"),
                                     HasSubstr("200 draws of frames"), Not(HasSubstr("Cyclist"))));
}

TEST(DetectEval, BadInputIsOneLineAndNothingIsWritten) {
  const fs::path folder = TestFolder("detect failures");
  const fs::path out = folder / "out";
  const fs::path good = folder / "good.json";
  WriteNuscenesResults(good, FoundCars());
  const std::string text = ReadFile(good);
  const auto with = [&](const char* name, const std::string& what, const std::string& other) {
    std::string changed = text;
    const size_t at = changed.find(what);
    EXPECT_NE(at, std::string::npos) << what;
    WriteFile(folder / name, changed.replace(at, what.size(), other));
    return folder / name;
  };
  WriteFile(folder / "cut.json", text.substr(0, text.size() / 2));
  NuscenesResults lacking = FoundCars();
  lacking.sample_tokens.pop_back();
  lacking.first_box.pop_back();
  lacking.boxes.pop_back();
  WriteNuscenesResults(folder / "lacking.json", lacking);
  const std::string size = "\"size\": [1.9, 4.5, 1.6]";
  const std::string& token = lacking.sample_tokens[0];

  const auto without = [&](const char* table) {
    const fs::path copy = TestFolder(StrCat("town without ", table));
    fs::copy(Town(), copy, fs::copy_options::recursive);
    fs::remove(copy / "v1.0-mini" / table);
    return copy;
  };
  const fs::path kitti = WriteKittiTown(folder / "kitti");
  fs::remove(kitti / "label_2" / "000003.txt");
  WriteFile(kitti / "flat" / "000000.txt", "Car 0 0 0 1 1 50 50 0 1.6 4 1 1.6 20 0.1 0.9\n");
  WriteFile(kitti / "no score" / "000000.txt", StrCat(kCar, "\n"));
  WriteFile(kitti / "fewer" / "000000.txt", StrCat(kCar, " 0.5\n"));
  WriteFile(kitti / "nan" / "000000.txt", "Car 0 0 0 1 1 50 50 nan 1.6 4 1 1.6 20 0.1 0.9\n");
  WriteFile(folder / "R.feather", "ARROW1 and then nothing");
  WriteFile(folder / "R.txt", "");
  WriteFile(folder / "metrics" / "fog" / "1" / "metrics_summary.json", "{\"nd_score\": 0.4");
  WriteFile(folder / "clean" / "metrics_summary.json", "{\"nd_score\": 0.5, \"tp\": NaN}");

  const std::vector<Case> cases = {
      {Eval(Town(),
            with("unknown.json", '"' + token + "\": [", "\"feed\": [], \"" + token + "\": [")),
       "holds sample feed"},
      {Eval(Town(), folder / "lacking.json"), "lacks sample"},
      {Eval(Town(), folder / "cut.json"), "cut.json: byte "},
      {Eval(Town(), with("zero.json", size, "\"size\": [1.9, 0.0, 1.6]")), "sizes > 0"},
      {Eval(Town(), with("nan.json", size, "\"size\": [1.9, NaN, 1.6]")), "in size"},
      {Eval(Town(), with("name.json", "\"car\"", "\"cat\"")), "not 'cat'"},
      {Eval(Town(), folder / "none.json"), "none.json: no such file"},
      {Eval(folder / "nowhere", good), "nowhere: expected nuScenes tables"},
      {Eval(without("sample_annotation.json"), good), "sample_annotation.json: no such file"},
      {Eval(without("ego_pose.json"), good), "ego_pose.json: no such file"},
      {Eval(Town(), folder / "R.feather"), "no Argoverse 2 log found"},
      {Eval(Town(), folder / "R.txt"), "--format says which"},
      {Eval(kitti, kitti / "A"), "000003.txt: has no labels"},
      {Eval(kitti, kitti / "flat"), "000000.txt: line 1: expected height (column 9)"},
      {Eval(kitti, kitti / "nan"), "expected a finite number as height"},
      {Eval(kitti, kitti / "no score"), "000000.txt: expected a score"},
      {{"eval", "compare", (kitti / "fewer").string(), (kitti / "B").string(), "--truth",
        kitti.string()},
       "has no labels"},
      {{"eval", "robustness", (folder / "no").string(), (folder / "metrics").string()},
       "no/metrics_summary.json"},
      {{"eval", "robustness", (folder / "clean").string(), (folder / "metrics").string()},
       "fog/1/metrics_summary.json: byte "},
      {{"eval", "robustness", (folder / "clean").string(), kitti.string()},
       "KIND/SEVERITY/metrics_summary.json, found none"},
  };
  std::vector<std::vector<std::string>> commands = CommandsOf(cases);
  for (auto& words : commands) {
    if (words[0] == "detect") words.insert(words.end(), {"-o", out.string()});
  }
  const std::vector<Outcome> outcomes = ExecuteAll(commands);
  for (size_t i = 0; i < cases.size(); ++i) {
    const auto& [status, printed, err] = outcomes[i];
    EXPECT_EQ(status, 1) << testing::PrintToString(cases[i].words) << err;
    EXPECT_THAT(LastLine(err), AllOf(StartsWith("athanor: "), HasSubstr(cases[i].expected)));
    EXPECT_THAT(printed, IsEmpty());
    EXPECT_FALSE(fs::exists(out)) << testing::PrintToString(cases[i].words);
  }

  const auto usage = ExecuteAll(
      {{"detect", "eval", "--results", good.string()},
       {"detect", "eval", "--truth", Town().string(), "--results", good.string(), "--format", "x"},
       {"eval", "compare", good.string(), "--truth", Town().string()},
       {"eval", "robustness", "a", "b", "--baseline", "c"}});
  for (const Outcome& outcome : usage) {
    EXPECT_EQ(outcome.status, 2) << outcome.err;
    EXPECT_THAT(outcome.err, StartsWith("athanor: "));
  }
}

// --- The region of interest on a real map, by geometry instead of rasters ---

using Ring = std::vector<Eigen::Vector2d>;

std::vector<Ring> DrivableAreas(const fs::path& log) {
  std::vector<Ring> rings;
  for (const fs::path& file : ListFiles(log / "map", {".json"})) {
    const auto json = nlohmann::json::parse(ReadFile(file));
    if (!json.contains("drivable_areas")) continue;
    for (const auto& [id, area] : json["drivable_areas"].items()) {
      Ring& ring = rings.emplace_back();
      for (const auto& p : area["area_boundary"]) {
        ring.emplace_back(p["x"].get<double>(), p["y"].get<double>());
      }
    }
  }
  return rings;
}

// 0 inside.
double DistanceTo(const std::vector<Ring>& rings, const Eigen::Vector2d& p) {
  double least = INFINITY;
  for (const Ring& ring : rings) {
    bool inside = false;
    for (size_t i = 0; i < ring.size(); ++i) {
      const Eigen::Vector2d &a = ring[i], &b = ring[(i + 1) % ring.size()], edge = b - a;
      if ((a.y() > p.y()) != (b.y() > p.y()) &&
          p.x() < a.x() + edge.x() * (p.y() - a.y()) / edge.y()) {
        inside = !inside;
      }
      const double t =
          std::clamp((p - a).dot(edge) / std::max(edge.squaredNorm(), 1e-12), 0.0, 1.0);
      least = std::min(least, (p - a - t * edge).norm());
    }
    if (inside) return 0;
  }
  return least;
}

double CornerDistance(const std::vector<Ring>& rings, const Box3& box_in_city) {
  double least = INFINITY;
  for (const Eigen::Vector3d& corner : box_in_city.Corners()) {
    least = std::min(least, DistanceTo(rings, corner.head<2>()));
  }
  return least;
}

// The number at the end of the line that begins with `name`.
int64_t LastNumber(const std::string& text, const std::string& name) {
  std::istringstream lines(text);
  for (std::string line; std::getline(lines, line);) {
    if (!line.starts_with(name)) continue;
    while (!line.empty() && line.back() == ' ') line.pop_back();
    std::string number = line.substr(line.rfind(' ') + 1);
    number.erase(std::remove(number.begin(), number.end(), ','), number.end());
    return std::stoll(number);
  }
  return -1;
}

TEST(DetectEval, ArgoverseOnTheRealMap) {
  ATHANOR_SKIP_WITHOUT("argoverse2/sensor_val_7fab2350");
  const fs::path log = SharedData("argoverse2/sensor_val_7fab2350");
  const std::vector<Ring> rings = DrivableAreas(log);
  ASSERT_FALSE(rings.empty());
  const Argoverse2Poses poses = ReadArgoverse2Poses(log / "city_SE3_egovehicle.feather");
  const auto cuboids = ReadArgoverse2Cuboids(log / "annotations.feather");
  EXPECT_EQ(cuboids.size(), 11364u);

  // Every box that counts, moved by some 0.1 m. The rasters have cells of 0.1 m: what lies within
  // two of them of the border may be judged either way.
  Random random(5);
  std::vector<Argoverse2Detection> detections;
  int64_t inside = 0, doubtful = 0, all = 0;
  const auto categories = ArgoverseConfig().categories;
  for (const Argoverse2Cuboid& cuboid : cuboids) {
    const Box3& box = cuboid.box_in_ego;
    if (cuboid.num_interior_pts == 0 || box.frame_from_box.translation.norm() > 150 ||
        std::find(categories.begin(), categories.end(), cuboid.category) == categories.end()) {
      continue;
    }
    const double away = CornerDistance(rings, poses.At(cuboid.timestamp_ns) * box);
    ++all;
    inside += away < 5;
    doubtful += std::abs(away - 5) < 0.2;
    Argoverse2Detection found = {log.filename().string(), cuboid.timestamp_ns, cuboid.category, box,
                                 random.Uniform(0.3f, 0.9f)};
    for (int axis = 0; axis < 2; ++axis) {
      found.box_in_ego.frame_from_box.translation[axis] += 0.1 * random.Normal();
    }
    detections.push_back(found);
  }
  EXPECT_LT(inside, all) << "some boxes stand off the roads";
  EXPECT_GT(inside, all / 2);

  const fs::path folder = TestFolder("argoverse");
  WriteArgoverse2Detections(folder / "A.feather", detections);
  // Sure of themselves, and far from any road.
  const size_t before = detections.size();
  for (size_t i = 0; i < before; i += 40) {
    Argoverse2Detection stray = detections[i];
    stray.category = "REGULAR_VEHICLE";
    stray.score = 0.99;
    for (int trial = 0; trial < 50; ++trial) {
      stray.box_in_ego.frame_from_box.translation = {random.Uniform(-100, 100),
                                                     random.Uniform(-100, 100), 0.5};
      if (CornerDistance(rings, poses.At(stray.timestamp_ns) * stray.box_in_ego) < 8) continue;
      detections.push_back(stray);
      break;
    }
  }
  ASSERT_GT(detections.size(), before + 50);
  WriteArgoverse2Detections(folder / "B.feather", detections);
  auto everywhere = Eval(log, folder / "B.feather", folder / "everywhere");
  everywhere.emplace_back("--no-roi");
  const auto outcomes = ExecuteAll({Eval(log, folder / "A.feather", folder / "a"),
                                    Eval(log, folder / "B.feather", folder / "b"), everywhere});
  for (const Outcome& outcome : outcomes) ASSERT_EQ(outcome.status, 0) << outcome.err;
  EXPECT_NEAR(static_cast<double>(LastNumber(outcomes[0].out, "AVERAGE_METRICS")),
              static_cast<double>(inside), static_cast<double>(doubtful));
  EXPECT_EQ(LastNumber(outcomes[2].out, "AVERAGE_METRICS"), all);
  const auto metrics = [&](const char* name) {
    return nlohmann::json::parse(ReadFile(folder / name / "metrics.json"));
  };
  // What is off the road does not count against anyone: only with --no-roi it does.
  EXPECT_EQ(metrics("a"), metrics("b"));
  const double on_roads = metrics("b")["REGULAR_VEHICLE"]["AP"].get<double>();
  EXPECT_GT(on_roads, 0.97);
  EXPECT_LT(metrics("everywhere")["REGULAR_VEHICLE"]["AP"].get<double>(), on_roads - 0.01);
}

}  // namespace
}  // namespace athanor
