// `vehicle` and `label`, from outside.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "athanor/cli/cli_test_util.h"
#include "athanor/datasets/log_test_util.h"
#include "athanor/detection/evaluation/nuscenes_files.h"

namespace athanor {
namespace {

namespace fs = std::filesystem;
using ::testing::AllOf;
using ::testing::HasSubstr;

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
                             HasSubstr("bundle     3"), HasSubstr("faults     0")));
  const auto outcomes = ExecuteAll(
      {{"lake", "ingest", car + "/cloud", "-o", (folder / "lake").string(), "--settle", "0"},
       {"log", "info", car + "/cloud"},
       {"vehicle", "bundle"},
       {"vehicle", "bundle", spec, "--ask", "car-1", "--cloud", car + "/cloud"},
       {"vehicle", "bundle", spec},
       {"vehicle", "run", town, "-o", car, "--budget", "1 percent"},
       {"vehicle", "receive", "-o", car}});
  EXPECT_THAT(outcomes[0].out, AllOf(HasSubstr("added      2 clips"), HasSubstr("refused    0")));
  EXPECT_THAT(outcomes[1].out, HasSubstr("frames     6"));
  EXPECT_THAT(outcomes[2].out, HasSubstr("\"bytes_per_day\""));
  EXPECT_THAT(outcomes[3].out, AllOf(HasSubstr("bundle     3"), HasSubstr("asked for  car-1")));
  for (int i = 4; i < 7; ++i) EXPECT_EQ(outcomes[i].status, 2) << i << outcomes[i].err;
  EXPECT_THAT(outcomes[5].err, HasSubstr("found '1 percent'"));
}

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
