// `vehicle`, `label` and `loop`, from outside.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>

#include "athanor/cli/cli_test_util.h"
#include "athanor/datasets/log_test_util.h"
#include "athanor/detection/evaluation/nuscenes_files.h"
#include "athanor/loop/queue/queue_test_util.h"
#include "athanor/media/image.h"
#include "athanor/simulation/traffic/traffic.h"

namespace athanor {
namespace {

namespace fs = std::filesystem;
using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;

// What a detector would say of the town: its cars, and a dog in one frame.
fs::path WritePredictions(const fs::path& town, const fs::path& path) {
  NuscenesResults results;
  const auto logs = OpenLogs(town);
  for (int l = 0; l < std::ssize(logs->names()); ++l) {
    const Log log = logs->Read(l);
    for (size_t f = 0; f < log.frames.size(); ++f) {
      NuscenesBox box;
      box.translation_m = log.frames[f].boxes[0].box.frame_from_box.translation;
      box.size_wlh_m = {1.9, 4.5, 1.6};
      box.velocity_mps = {8, 0};
      box.score = 0.9;
      results.boxes.push_back(box);
      if (f == 8) {
        box.class_index = static_cast<int8_t>(FindNuscenesClass("animal"));
        box.translation_m.y() += 5;
        results.boxes.push_back(box);
      }
      results.sample_tokens.push_back(log.frames[f].id);
      results.first_box.push_back(std::ssize(results.boxes));
    }
  }
  WriteNuscenesResults(path, results);
  return path;
}

TEST(VehicleCommandsTest, ADriveUnderABudget) {
  const fs::path folder = TestFolder("vehicle");
  const std::string town = WriteTestTown(folder / "town", 20).string();
  const std::string found = WritePredictions(town, folder / "found.json").string();
  const std::string spec = (folder / "spec.json").string(), car = (folder / "car").string();
  WriteFile(spec, R"({"version": 3, "rarity": 0, "scenario": 0, "margin": 0, "tracks": 0,
    "rules": [{"name": "dogs", "sql": "SELECT frame FROM boxes WHERE class = 'animal'"}]})");
  const Outcome run = Execute({"vehicle", "run", town, "-o", car, "--predictions", found,
                               "--bundle", spec, "--budget", "50%"});
  EXPECT_EQ(run.status, 0) << run.err;
  EXPECT_THAT(run.out, AllOf(HasSubstr("rule.dogs"), HasSubstr("dropped: unremarkable"),
                             HasSubstr("bundle     3"), HasSubstr("faults     0"),
                             HasSubstr("pictures   " + car + "/sheet.jpg")));
  // Two snippets in a row of six, each with the reason.
  EXPECT_GT(ReadImage(folder / "car" / "sheet.jpg").width, 600);
  WriteFile(folder / "old.json", "{}");
  const auto outcomes = ExecuteAll(
      {{"lake", "ingest", car + "/cloud", "-o", (folder / "lake").string(), "--settle", "0"},
       {"log", "info", car + "/cloud"},
       {"vehicle", "bundle"},
       {"vehicle", "bundle", spec, "--ask", "car-1", "--cloud", car + "/cloud"},
       {"vehicle", "bundle", spec},
       {"vehicle", "run", town, "-o", car, "--budget", "1 percent"},
       {"vehicle", "receive", "-o", car},
       {"vehicle", "bundle", "--prototype", "dog=features.json"},
       {"vehicle", "bundle", (folder / "old.json").string(), "--cloud", car + "/cloud"},
       {"vehicle", "run", town, "-o", car + "2", "--predictions", found, "--name", "a/b"}});
  EXPECT_THAT(outcomes[0].out, AllOf(HasSubstr("added      2 clips"), HasSubstr("refused    0")));
  EXPECT_THAT(outcomes[1].out, HasSubstr("frames     6"));
  EXPECT_THAT(outcomes[2].out, HasSubstr("\"bytes_per_day\""));
  EXPECT_THAT(outcomes[3].out, AllOf(HasSubstr("bundle     3"), HasSubstr("asked for  car-1")));
  for (int i = 4; i < 7; ++i) EXPECT_EQ(outcomes[i].status, 2) << i << outcomes[i].err;
  EXPECT_THAT(outcomes[5].err, HasSubstr("found '1 percent'"));
  EXPECT_EQ(outcomes[7].status, 2);
  EXPECT_THAT(outcomes[7].err, HasSubstr("expected SPEC"));
  EXPECT_THAT(LastLine(outcomes[8].err), HasSubstr("expected a version of 1 or more"));
  EXPECT_THAT(LastLine(outcomes[9].err), HasSubstr("found \"a/b\""));
}

#ifdef ATHANOR_WITH_NATS
// All files below a folder, by their names.
std::map<std::string, std::string> FilesOf(const fs::path& folder) {
  std::map<std::string, std::string> files;
  for (const fs::path& path : ListFiles(folder)) files[path.filename().string()] = ReadFile(path);
  return files;
}

// The same drive over a folder and over a broker that is killed and comes back in between.
TEST(VehicleCommandsTest, SlowADriveOverABrokerThatRestarts) {
  if (FindNatsServer().empty()) GTEST_SKIP() << "needs the program nats-server";
  const fs::path folder = TestFolder("vehicle over nats");
  const std::string town = WriteTestTown(folder / "town", 20).string();
  const std::string found = WritePredictions(town, folder / "found.json").string();
  const std::string spec = (folder / "spec.json").string();
  WriteFile(spec, R"({"version": 3, "rarity": 0, "scenario": 0, "margin": 0, "tracks": 0,
    "rules": [{"name": "dogs", "sql": "SELECT frame FROM boxes WHERE class = 'animal'"}]})");
  NatsBroker broker(folder / "broker");
  const auto run = [&](const char* car, std::vector<std::string> more) {
    std::vector<std::string> words = {
        "vehicle",       "run", town,      "-o", (folder / car).string(),
        "--predictions", found, "--drawn", "0"};
    words.insert(words.end(), more.begin(), more.end());
    const Outcome outcome = Execute(words);
    EXPECT_EQ(outcome.status, 0) << outcome.text();
    return outcome.out;
  };
  const auto receive = [&] {
    return Execute({"vehicle", "receive", "--nats", broker.Url(), "-o", (folder / "in").string()});
  };
  run("by folder", {"--bundle", spec});
  // The bundle waits at the broker, which dies and comes back before the car hears of it.
  EXPECT_EQ(Execute({"vehicle", "bundle", spec, "--nats", broker.Url()}).status, 0);
  broker.Stop(SIGKILL);
  broker.Start();
  EXPECT_THAT(run("by nats", {"--nats", broker.Url()}), HasSubstr("bundle     3"));
  // And again with all that the car sent. What cannot be stored is not lost.
  broker.Stop(SIGTERM);
  broker.Start();
  WriteFile(folder / "in" / "clips", "in the way");
  EXPECT_NE(receive().status, 0);
  fs::remove(folder / "in" / "clips");
  MakeFolder(folder / "in" / "clips");
  EXPECT_TRUE(WaitFor([&] {
    receive();
    return FilesOf(folder / "in" / "clips").size() == 2;
  }));
  EXPECT_EQ(FilesOf(folder / "in" / "clips"), FilesOf(folder / "by folder" / "cloud" / "clips"));
  EXPECT_EQ(FilesOf(folder / "in" / "features"),
            FilesOf(folder / "by folder" / "cloud" / "features"));
}
#endif

TEST(LabelCommandsTest, FromPredictionsToADataSetToTrainOn) {
  const fs::path folder = TestFolder("label");
  const std::string town = WriteTestTown(folder / "town", 60).string();
  const std::string found = WritePredictions(town, folder / "found.json").string();
  const std::string labels = (folder / "labels").string();
  const Outcome made = Execute({"label", "auto", town, "-o", labels, "--predictions", found});
  EXPECT_EQ(made.status, 0) << made.err;
  EXPECT_THAT(made.out,
              AllOf(HasSubstr("frames     120"), HasSubstr("boxes      120, 0 accepted")));
  const std::string version = made.out.substr(11, made.out.find('\n') - 11);
  const Outcome audit = Execute({"label", "audit", version, "--truth", town});
  EXPECT_EQ(audit.status, 0) << audit.err;
  EXPECT_THAT(audit.out, HasSubstr("boxes      120, 120 accepted"));
  const size_t at = audit.out.find("labels     /") + 11;
  const std::string audited = audit.out.substr(at, audit.out.find('\n', at) - at);
  const std::string out = (folder / "out").string(), queue = (folder / "queue.json").string();
  std::vector<Outcome> outcomes;
  for (const std::vector<std::string>& arguments : std::vector<std::vector<std::string>>{
           {"label", "export", audited.substr(0, audited.size() - 60), town, "-o", out},
           {"log", "check", out},
           {"label", "queue", version, "-o", queue, "--count", "3"},
           {"label", "import", version, queue},
           {"label", "queue", version, "-o", queue + ".coco", "--format", "coco", "--logs", town},
           {"label", "import", version, queue + ".coco", "--logs", town},
           {"label", "auto", town, "-o", labels, "--predictions", found, "--audited", audited},
           {"label", "queue", version, "-o", queue, "--format", "coco"},
           {"label", "audit", labels + "/zz", "--truth", town}}) {
    outcomes.push_back(Execute(arguments));  // one after another: they read what the last one wrote
  }
  for (int i = 0; i < 7; ++i) EXPECT_EQ(outcomes[i].status, 0) << i << outcomes[i].err;
  EXPECT_THAT(outcomes[0].out, HasSubstr("boxes      120"));
  EXPECT_THAT(outcomes[1].out, HasSubstr("faults     0"));
  EXPECT_THAT(outcomes[2].out, HasSubstr("frames     "));
  EXPECT_THAT(outcomes[3].out, HasSubstr("0 changed, 0 removed, 0 added"));
  EXPECT_THAT(outcomes[6].out, HasSubstr("120 accepted"));
  EXPECT_EQ(outcomes[7].status, 2);
  EXPECT_THAT(outcomes[8].err, HasSubstr("no such version"));
}

// A whole loop, small: simulated streets, the large model's and people's labels, a training of two
// steps, killed on the way.
TEST(SlowLoopCommandsTest, ALoopIsKilledAndGoesOn) {
  if (const std::string why = WhyNoSumo(); !why.empty()) GTEST_SKIP() << why;
  const fs::path folder = TestFolder("loop");
  const auto streets = [&](const char* name, int seed) {
    WriteFile(folder / name,
              StrCat("scenes = 1\nseconds = 2\nseed = ", seed, "\nwidth = 96\nheight = 64\n"));
    return (folder / name).string();
  };
  WriteFile(folder / "loop.toml",
            StrCat("rounds = 1\nhome = '", streets("home.toml", 1), "'\nlogs = '",
                   streets("fleet.toml", 2), "'\ntest = '", streets("test.toml", 3),
                   "'\nsmall = 'micro'\nlarge = 'micro'\nwords = 'car'\nrare = 'car'\n",
                   "batch = 2\nsteps = 2\nworkers = 1\n"));
  const std::vector<std::string> words = {"loop", "run", (folder / "loop.toml").string(), "-o",
                                          (folder / "run").string()};
  Process killed(words);
  ASSERT_TRUE(WaitFor([&] { return fs::exists(folder / "run/rounds/00/test.log"); }));
  killed.Signal(SIGKILL);
  EXPECT_EQ(killed.Wait(), 1000 + SIGKILL);
  const Outcome run = Execute(words);
  EXPECT_EQ(run.status, 0) << run.err;
  EXPECT_THAT(run.err, Not(HasSubstr("round 0 of 1: home")));  // it went on behind it
  EXPECT_THAT(run.out, AllOf(HasSubstr("report.html"), HasSubstr("the first model")));
  const Outcome again = Execute(words);
  EXPECT_EQ(again.status, 0) << again.err;
  EXPECT_THAT(again.err, Not(HasSubstr("round 1 of 1")));
  const std::string report = ReadFile(folder / "run/report.html");
  EXPECT_TRUE(report.find("data:image/jpeg") != std::string::npos);
  const auto outcomes =
      ExecuteAll({{"loop", "status", (folder / "run").string()},
                  {"registry", "show", "round-1", "--registry", (folder / "run/registry").string()},
                  {"loop", "status", (folder / "home.toml").string()},
                  {"loop", "run", (folder / "home.toml").string()}});
  EXPECT_THAT(outcomes[0].out, HasSubstr("car AP"));
  EXPECT_THAT(outcomes[1].out, HasSubstr("round-0"));
  EXPECT_EQ(outcomes[2].status, 1);
  EXPECT_THAT(outcomes[2].err, HasSubstr("expected a loop"));
  EXPECT_THAT(LastLine(outcomes[3].err), HasSubstr("home.toml"));
}

// With the teacher that comes with the program; what it finds is measured in docs/labels.md.
TEST(LabelCommandsTest, WordsMakeAVersionThatCanBeAudited) {
  const fs::path folder = TestFolder("label words");
  const std::string town = WriteTestTown(folder / "town").string();
  const std::string labels = (folder / "labels").string();
  const Outcome made = Execute({"label", "words", town, "--text", "car", "--text", "puppy=animal",
                                "-o", labels, "--boxes", "1", "--threshold", "0"});
  ASSERT_EQ(made.status, 0) << made.err;
  EXPECT_THAT(made.out, HasSubstr("frames     6"));
  const std::string version =
      labels + "/" + made.out.substr(made.out.find(".labels") - 64, 64);  // its id
  const std::string head = ReadFile(version + ".labels");
  EXPECT_THAT(head, AllOf(HasSubstr("\"kind\":\"words\""), HasSubstr("'car' is car, against"),
                          HasSubstr("is animal, against"), HasSubstr("threshold 0,")));
  const Outcome audit =
      Execute({"label", "audit", version, "--truth", town, "--range", "40", "--least-points", "1"});
  EXPECT_EQ(audit.status, 0) << audit.err;
  EXPECT_THAT(audit.out, HasSubstr("recall"));
  const Outcome no_clip =
      Execute({"label", "words", town, "--text", "car", "--clip", "nowhere", "-o", labels});
  EXPECT_THAT(no_clip.err, HasSubstr("no log is called 'nowhere'"));
  const Outcome no_class = Execute({"label", "words", town, "--text", "car=ship", "-o", labels});
  EXPECT_THAT(no_class.err, HasSubstr("there is no class \"ship\""));
  const Outcome no_word = Execute({"label", "words", town, "--text", "sky", "-o", labels});
  EXPECT_THAT(no_word.err, HasSubstr("fits no class of labels"));
}

}  // namespace
}  // namespace athanor
