// The miners' commands, from outside.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "athanor/cli/cli_test_util.h"
#include "athanor/datasets/log_test_util.h"
#include "athanor/media/image.h"

namespace athanor {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;
using ::testing::AllOf;
using ::testing::ContainsRegex;
using ::testing::HasSubstr;

// Annotations of `town` as results; `keep` of the boxes by their numbers.
template <typename F>
std::string WriteResults(const fs::path& town, const fs::path& path, F&& keep) {
  const std::unique_ptr<LogDataset> logs = OpenLogs(town);
  json results = {{"meta",
                   {{"use_camera", true},
                    {"use_lidar", true},
                    {"use_radar", false},
                    {"use_map", false},
                    {"use_external", false}}},
                  {"results", json::object()}};
  int number = 0;
  for (int l = 0; l < std::ssize(logs->names()); ++l) {
    const Log log = logs->Read(l);
    for (const LogFrame& frame : log.frames) {
      json list = json::array();
      for (const LogBox& box : frame.boxes) {
        if (log.tracks[box.track].category != "vehicle.car" || !keep(number++)) continue;
        const Eigen::Vector3d& t = box.box.frame_from_box.translation;
        const Eigen::Quaterniond& q = box.box.frame_from_box.rotation;
        const Eigen::Vector3d& s = box.box.size_m;
        list.push_back({{"sample_token", frame.id},
                        {"translation", {t.x(), t.y(), t.z()}},
                        {"size", {s.y(), s.x(), s.z()}},
                        {"rotation", {q.w(), q.x(), q.y(), q.z()}},
                        {"velocity", {0, 0}},
                        {"detection_name", "car"},
                        {"detection_score", 0.8},
                        {"attribute_name", "vehicle.moving"}});
      }
      results["results"][frame.id] = list;
    }
  }
  WriteFile(path, results.dump());
  return path.string();
}

// Vectors of `athanor infer` in place of a teacher's, and sets for similarity() in rules.
TEST(MineCommandsTest, SlowVectorsOfATable) {
  const fs::path folder = TestFolder("mine features");
  const std::string town = WriteTestTown(folder / "town", 6).string();
  const std::string table = (folder / "table").string();
  const auto out = [&](const char* name) { return (folder / name).string(); };
  ASSERT_EQ(Execute({"infer", town, "--model", "words", "--regions", "3", "-o", table}).status, 0);
  const auto found = ExecuteAll(
      {{"mine", "similar", town, "--features", table, "--example", "scene-0001/2", "--level",
        "frame", "--window", "0", "-o", out("frames")},
       {"mine", "similar", town, "--features", table, "--text", "dog", "-o", out("regions")},
       {"mine", "rule", town,
        "SELECT frame FROM frames WHERE similarity('this', frame) > 0.9999 AND "
        "similarity('words', frame) < 2",
        "--features", table, "--level", "frame", "--like", "this=scene-0002/4", "--like-text",
        "words=a dog", "-o", out("like")},
       {"mine", "rule", town,
        "SELECT frame, box, similarity('cars', frame * 4096 + box) AS score FROM boxes WHERE "
        "similarity('cars', frame * 4096 + box) > 0.5 AND class = 'vehicle.car'",
        "--like", "cars=scene-0001/0:0", "-o", out("boxes")},
       {"mine", "rule", town, "SELECT frame FROM frames WHERE similarity('x', frame) > 0",
        "--features", table, "--like", "x=scene-0001/0:0", "-o", out("bad")},
       {"mine", "rule", town, "SELECT frame FROM frames", "--like", "x", "-o", out("bad")}});
  for (int i = 0; i < 4; ++i) EXPECT_EQ(found[i].status, 0) << i << found[i].text();
  const auto hits = [&](const char* name) {
    return json::parse(ReadFile(folder / name / "hits.json"))["hits"];
  };
  const auto has = [](const json& found, const char* frame) {
    return std::any_of(found.begin(), found.end(), [&](const json& hit) {
      return hit["frame"] == frame && hit["score"].get<double>() > 0.999;
    });
  };
  EXPECT_TRUE(has(hits("frames"), "scene-0001/2")) << found[0].text();
  EXPECT_EQ(hits("regions")[0]["camera"], "CAM_FRONT");
  bool is_itself = false;
  for (const json& hit : hits("like")) is_itself |= hit["frame"] == "scene-0002/4";
  EXPECT_TRUE(is_itself) << found[2].text();
  EXPECT_EQ(hits("boxes")[0]["frame"], "scene-0001/0");
  EXPECT_NEAR(hits("boxes")[0]["score"].get<double>(), 1, 1e-3);
  EXPECT_EQ(found[4].status, 2);
  EXPECT_THAT(found[4].err, HasSubstr("expected --level frame"));
  EXPECT_EQ(found[5].status, 2);
  EXPECT_THAT(found[5].err, HasSubstr("expected NAME=BOX"));
}

TEST(MineCommandsTest, FindTheFewFrames) {
  const fs::path folder = TestFolder("mine");
  const std::string town = WriteTestTown(folder / "town").string();
  const auto out = [&](const char* name) { return (folder / name).string(); };
  const std::string all = WriteResults(town, folder / "all.json", [](int) { return true; });
  const std::string some = WriteResults(town, folder / "some.json", [](int i) { return i != 4; });
  const std::string lake = out("lake");
  ASSERT_EQ(Execute({"lake", "ingest", town, "-o", lake}).status, 0);

  const std::string dogs = "SELECT frame, box FROM boxes WHERE class = 'animal.dog'";
  const auto found =
      ExecuteAll({{"mine", "rule", lake, dogs, "-o", out("dogs"), "--save", "dogs"},
                  {"mine", "uncertain", town, "--predictions", all, some, "-o", out("unsure")},
                  {"mine", "undigested", town, "--student", some, "--teacher", all, "-o",
                   out("undigested"), "--digest", out("digest.sqlite")},
                  {"mine", "similar", town, "--example", "scene-0001/1:0", "-o", out("similar")}});
  for (const Outcome& outcome : found) EXPECT_EQ(outcome.status, 0) << outcome.text();
  EXPECT_THAT(found[0].out, AllOf(HasSubstr("2 hits in"), HasSubstr("class = 'animal.dog'"),
                                  HasSubstr("2 logs added"), HasSubstr("dogs@1")));
  EXPECT_THAT(found[1].out, AllOf(HasSubstr("scene-0002/1"), HasSubstr("1 of 2 members"),
                                  HasSubstr("calibration error")));
  EXPECT_THAT(found[2].out, AllOf(HasSubstr("missed: teacher says car"), HasSubstr("5 agreed"),
                                  HasSubstr("5 new, 1 undigested")));
  EXPECT_THAT(found[3].out, HasSubstr("scene-0001/1:0"));
  for (const char* name : {"dogs", "unsure", "undigested", "similar"}) {
    EXPECT_GT(ReadImage(folder / name / "sheet.jpg").width, 300) << name;
    EXPECT_FALSE(json::parse(ReadFile(folder / name / "hits.json"))["hits"].empty()) << name;
  }

  // Of the two frames that were found one was shown: it counts neither there nor in all.
  const std::string dog = json::parse(ReadFile(folder / "dogs" / "hits.json"))["hits"][0]["frame"];
  const std::vector<std::string> purity = {
      "mine",    "purity", town,      "--hits", out("dogs/hits.json"), "--class", "car",
      "--range", "1000",   "--count", "10"};
  std::vector<std::string> without = purity;
  without.insert(without.end(), {"--without", dog});
  const auto pure = ExecuteAll({purity, without});
  EXPECT_THAT(pure[0].out, ContainsRegex("all +6 +6 +1.0000"));
  EXPECT_THAT(pure[0].out, ContainsRegex("dogs +2 +2 +1.0000"));
  EXPECT_THAT(pure[1].out, ContainsRegex("all +5 +5 +1.0000"));
  EXPECT_THAT(pure[1].out, ContainsRegex("dogs +1 +1 +1.0000"));

  const auto more = ExecuteAll(
      {{"mine", "rule", lake, "--saved", "dogs", "-o", out("dogs2")},
       {"mine", "rule", lake, "--list", "-o", out("dogs2")},
       {"mine", "select", town, "--hits", out("unsure/hits.json"), out("undigested/hits.json"),
        "--budget", "3", "--window", "0", "-o", out("selected"), "--digest", out("digest.sqlite")},
       {"mine", "similar", town, "--text", "automobile", "--boxes", all, "-o", out("words")},
       {"mine", "rule", lake, "SELECT frame FRM boxes", "-o", out("bad")},
       {"mine", "rule", lake, "DELETE FROM names", "-o", out("bad")},
       {"mine", "similar", town, "-o", out("bad")},
       {"mine", "similar", town, "--example", "scene-0001/7", "-o", out("bad")}});
  EXPECT_THAT(more[0].out, AllOf(HasSubstr("2 hits in"), HasSubstr("0 logs added, 2 kept")));
  EXPECT_THAT(more[1].out, HasSubstr(dogs));
  EXPECT_EQ(more[2].status, 0) << more[2].text();
  EXPECT_THAT(more[2].out, AllOf(HasSubstr("random"), HasSubstr("score"),
                                 HasSubstr("1 undigested frames are queued now")));
  // Which the next evaluation knows.
  EXPECT_THAT(Execute({"mine", "undigested", town, "--student", some, "--teacher", all, "-o",
                       out("again"), "--digest", out("digest.sqlite")})
                  .out,
              HasSubstr("1 queued"));
  // Learned from, once.
  const std::vector<std::string> trained = {"mine", "digest", out("digest.sqlite"), "--trained",
                                            out("selected/hits.json")};
  const Outcome learned = Execute(trained);
  EXPECT_THAT(learned.out, AllOf(HasSubstr("trained    1 now"), HasSubstr("1 trained")));
  EXPECT_THAT(Execute(trained).out, AllOf(HasSubstr("trained    0 now"), HasSubstr("1 trained")));
  EXPECT_THAT(Execute({"mine", "digest", out("none.sqlite")}).err,
              HasSubstr("expected a file of `mine undigested --digest`"));
  // A file of hits may say anything.
  json wild = json::parse(ReadFile(folder / "unsure" / "hits.json"));
  wild["hits"][0]["number"] = 70000;
  WriteFile(folder / "wild.json", wild.dump());
  EXPECT_THAT(LastLine(Execute({"mine", "select", town, "--hits", out("wild.json"), "--teacher",
                                "embedded", "-o", out("bad")})
                           .err),
              HasSubstr("has 3 frames, found 70000"));
  EXPECT_THAT(LastLine(Execute({"mine", "select", town, "--hits", out("unsure/hits.json"), "-o",
                                out("bad"), "--digest", out("none.sqlite")})
                           .err),
              HasSubstr("none.sqlite: expected a file"));
  EXPECT_FALSE(fs::exists(folder / "none.sqlite"));
  EXPECT_TRUE(fs::exists(folder / "selected" / "random.json"));
  EXPECT_THAT(more[3].out, HasSubstr("automobile is car (1.00), the detector says 0.80"));
  EXPECT_THAT(LastLine(more[4].err), HasSubstr("line 1, column"));
  EXPECT_THAT(LastLine(more[5].err), HasSubstr("only reads"));
  EXPECT_EQ(more[6].status, 2);
  EXPECT_THAT(LastLine(more[7].err), HasSubstr("has 3 frames"));
  for (int i = 4; i < 8; ++i) EXPECT_NE(more[i].status, 0) << i;
}

}  // namespace
}  // namespace athanor
