#include "athanor/datasets/nuscenes_reader.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <map>
#include <nlohmann/json.hpp>
#include <sstream>

#include "athanor/datasets/log_test_util.h"
#include "athanor/datasets/nuscenes_tables.h"

namespace athanor {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::json;
using testing::ElementsAre;
using testing::HasSubstr;

void ExpectSamePose(const Rigid3& a, const Rigid3& b) {
  EXPECT_EQ(a.translation, b.translation);
  EXPECT_TRUE(a.rotation.coeffs().isApprox(b.rotation.coeffs(), 1e-14));
}

TEST(NuscenesReader, ReadsWhatTheWriterWrote) {
  const fs::path root = TestFolder("nuscenes round trip");
  NuscenesWriter writer(root);
  writer.AddScene(WriteTestLog(root, "scene-0002"));
  const Log log = WriteTestLog(root, "scene-0001");
  writer.AddScene(log);
  writer.Finish();

  for (const fs::path& path : {root, root / "v1.0-mini", root / "v1.0-mini" / ""}) {
    const auto logs = OpenLogs(path);
    EXPECT_EQ(logs->format(), "nuscenes");
    EXPECT_THAT(logs->names(), ElementsAre("scene-0001", "scene-0002"));
    const Log read = logs->Read(0);
    EXPECT_EQ(read.name, log.name);
    EXPECT_EQ(read.location, log.location);
    EXPECT_EQ(read.description, log.description);
    EXPECT_EQ(read.vehicle, log.vehicle);
    ASSERT_EQ(read.sensors.size(), log.sensors.size());
    for (size_t i = 0; i < log.sensors.size(); ++i) {
      EXPECT_EQ(read.sensors[i].channel, log.sensors[i].channel);
      EXPECT_EQ(read.sensors[i].kind, log.sensors[i].kind);
      EXPECT_EQ(read.sensors[i].camera.parameters, log.sensors[i].camera.parameters);
      EXPECT_EQ(read.sensors[i].camera.width_px, log.sensors[i].camera.width_px);
      ExpectSamePose(read.sensors[i].ego_from_sensor, log.sensors[i].ego_from_sensor);
    }
    ASSERT_EQ(read.readings.size(), log.readings.size());
    for (size_t i = 0; i < log.readings.size(); ++i) {
      EXPECT_EQ(read.readings[i].sensor, log.readings[i].sensor);
      EXPECT_EQ(read.readings[i].time_us, log.readings[i].time_us);
      EXPECT_EQ(read.readings[i].frame, log.readings[i].frame);
      EXPECT_EQ(read.readings[i].id.size(), 32u);
      EXPECT_TRUE(fs::equivalent(read.readings[i].path, root / log.readings[i].path));
      ExpectSamePose(read.readings[i].world_from_ego, log.readings[i].world_from_ego);
    }
    ASSERT_EQ(read.tracks.size(), log.tracks.size());
    for (size_t i = 0; i < log.tracks.size(); ++i) {
      EXPECT_EQ(read.tracks[i].category, log.tracks[i].category);
    }
    ASSERT_EQ(read.frames.size(), log.frames.size());
    for (size_t f = 0; f < log.frames.size(); ++f) {
      EXPECT_EQ(read.frames[f].time_us, log.frames[f].time_us);
      EXPECT_EQ(read.frames[f].readings, log.frames[f].readings);
      ExpectSamePose(read.frames[f].world_from_ego, log.frames[f].world_from_ego);
      ASSERT_EQ(read.frames[f].boxes.size(), log.frames[f].boxes.size());
      for (size_t b = 0; b < log.frames[f].boxes.size(); ++b) {
        const LogBox& x = read.frames[f].boxes[b];
        const LogBox& y = log.frames[f].boxes[b];
        EXPECT_EQ(x.track, y.track);
        EXPECT_EQ(x.attributes, y.attributes);
        EXPECT_EQ(x.visibility, y.visibility);
        EXPECT_EQ(x.num_lidar_points, y.num_lidar_points);
        EXPECT_EQ(x.box.size_m, y.box.size_m);
        ExpectSamePose(x.box.frame_from_box, y.box.frame_from_box);
      }
    }
    // The car does 4 m every half second; one-sided at the ends. The dog was seen once.
    for (const LogFrame& frame : read.frames) {
      EXPECT_NEAR(frame.boxes[0].velocity_mps.x(), 8, 1e-6);
      EXPECT_NEAR(frame.boxes[0].velocity_mps.y(), 0, 1e-6);
    }
    EXPECT_TRUE(std::isnan(read.frames[1].boxes[1].velocity_mps.x()));
    ASSERT_EQ(read.tags.size(), 3u);
    EXPECT_EQ(read.tags[0].track, -1);
    EXPECT_EQ(read.tags[1].name, "actor.drives_ahead");
    EXPECT_EQ(read.tags[1].track, 0);
    EXPECT_EQ(read.tags[2].track, 2);
    EXPECT_EQ(read.tags[0].end_us, log.tags[0].end_us);
  }
}

TEST(NuscenesReader, MergesSweepsAsTheDevkitDoes) {
  const fs::path root = TestFolder("nuscenes sweeps");
  NuscenesWriter writer(root);
  writer.AddScene(WriteTestLog(root, "scene-0001"));
  writer.Finish();
  const Log log = OpenLogs(root)->Read(0);
  const LidarSweep one = ReadSweep(log, log.frames[1].readings[1]);
  EXPECT_EQ(one.size(), 201);
  const LidarSweep merged = MergeSweeps(log, 1, 3);
  ASSERT_EQ(merged.size(), 600);  // without the returns from the car
  ASSERT_EQ(merged.time_s.size(), 600u);
  EXPECT_EQ(merged.time_s[0], 0);
  EXPECT_NEAR(merged.time_s[599], -0.25, 1e-6);
  // 0.25 s ago the car was 2.5 m behind.
  EXPECT_NEAR(merged.points[400].x(), one.points[0].x() - 2.5f, 1e-4);
  EXPECT_NEAR(merged.points[400].y(), one.points[0].y(), 1e-4);
  EXPECT_EQ(merged.ring.size(), 600u);
  EXPECT_EQ(MergeSweeps(log, 0, 10).size(), 200);  // nothing before it
  fs::remove(log.readings[log.frames[1].readings[1] - 1].path);
  EXPECT_EQ(MergeSweeps(log, 1, 3).size(), 400);
  EXPECT_THAT(ErrorOf([&] { ReadSweep(log, 0); }), HasSubstr("no LiDAR"));
}

// The tables of a small data set as JSON, to be damaged.
class NuscenesDamage : public testing::Test {
 protected:
  void SetUp() override {
    const fs::path root = TestFolder("nuscenes damage");
    NuscenesWriter writer(root);
    writer.AddScene(WriteTestLog(root, "scene-0001"));
    writer.Finish();
    for (const fs::path& file : ListFiles(root / "v1.0-mini", {".json"})) {
      tables_[file.stem().string()] = Json::parse(ReadFile(file));
    }
  }
  static std::unique_ptr<LogDataset> Open(const std::map<std::string, Json>& tables,
                                          const FaultSink& faults = {}) {
    return OpenNuscenesTables(
        "T", "/none",
        [&](const std::string& table) -> std::unique_ptr<std::istream> {
          const auto found = tables.find(table);
          if (found == tables.end()) return nullptr;
          return std::make_unique<std::istringstream>(found->second.dump());
        },
        faults);
  }
  template <typename Change>
  std::string Error(Change change) const {
    auto tables = tables_;
    change(tables);
    return ErrorOf([&] { Open(tables)->Read(0); });
  }
  std::map<std::string, Json> tables_;
};

TEST_F(NuscenesDamage, EachHasItsLine) {
  using Tables = std::map<std::string, Json>;
  EXPECT_EQ(Error([](Tables&) {}), "");
  EXPECT_THAT(Error([](Tables& t) { t.erase("sample"); }),
              HasSubstr("T/sample.json: no such file"));
  EXPECT_THAT(Error([](Tables& t) { t["sample"] = Json::object(); }), HasSubstr("list of records"));
  EXPECT_THAT(Error([](Tables& t) { t["sample"] = {1, 2}; }), HasSubstr("list of records"));
  EXPECT_THAT(Error([](Tables& t) { t["sample"] = Json::array({Json::array()}); }),
              HasSubstr("list of records"));
  EXPECT_THAT(Error([](Tables& t) { t["sample"][1]["scene_token"] = "nowhere"; }),
              HasSubstr("T/sample.json: record 1"));
  EXPECT_THAT(Error([](Tables& t) { t["sample"][1].erase("timestamp"); }),
              HasSubstr("timestamp: expected a whole number, found nothing"));
  EXPECT_THAT(Error([](Tables& t) { t["sample"][1]["timestamp"] = "noon"; }),
              HasSubstr("found 'noon'"));
  EXPECT_THAT(Error([](Tables& t) { t["sample"][2]["next"] = t["sample"][0]["token"]; }),
              HasSubstr("which names '' in turn"));
  EXPECT_THAT(Error([](Tables& t) {
                t["sample"][2]["next"] = t["sample"][0]["token"];
                t["sample"][0]["prev"] = t["sample"][2]["token"];
              }),
              HasSubstr("a ring"));
  EXPECT_THAT(Error([](Tables& t) { t["sample_annotation"][0]["next"] = "nothing"; }),
              HasSubstr("no sample_annotation has the token 'nothing'"));
  EXPECT_THAT(Error([](Tables& t) {
                t["sample_annotation"][0]["size"] = {1, 0, 1};
              }),
              HasSubstr("above 0"));
  EXPECT_THAT(Error([](Tables& t) {
                t["sample_annotation"][0]["size"] = {1, nullptr, 1};
              }),
              HasSubstr("size: expected a list of numbers"));
  EXPECT_THAT(Error([](Tables& t) {
                t["sample_annotation"][0]["rotation"] = {0, 0, 0, 0};
              }),
              HasSubstr("quaternion"));
  EXPECT_THAT(Error([](Tables& t) { t["sample_annotation"][0]["visibility_token"] = "5"; }),
              HasSubstr("visibility_token"));
  EXPECT_THAT(Error([](Tables& t) { t["sample_data"][0]["is_key_frame"] = 1; }),
              HasSubstr("true or false"));
  EXPECT_THAT(Error([](Tables& t) { t["sample_data"][1]["token"] = t["sample_data"][0]["token"]; }),
              HasSubstr("a token of its own"));
  EXPECT_THAT(Error([](Tables& t) {
                t["calibrated_sensor"][0]["camera_intrinsic"] = {{1, 2}, {3}};
              }),
              HasSubstr("camera_intrinsic"));
  EXPECT_EQ(Error([](Tables& t) {
              t.erase("map");
              t.erase("visibility");
              t.erase("scenario_tag");
            }),
            "");
}

TEST_F(NuscenesDamage, AllFaultsAreFoundAtOnce) {
  tables_["sample_annotation"][0]["size"] = {1, 0, 1};
  tables_["sample_data"][3]["timestamp"] = "noon";
  std::vector<std::string> faults;
  const auto logs = Open(tables_, [&](const std::string& fault) { faults.push_back(fault); });
  EXPECT_THAT(faults, testing::Contains(HasSubstr("above 0")));
  EXPECT_THAT(faults, testing::Contains(HasSubstr("'noon'")));
  EXPECT_THAT(faults, testing::Contains(HasSubstr("nbr_annotations is 3, but there are 2")));
  EXPECT_EQ(logs->Read(0).frames[0].boxes.size(), 0u);
}

TEST_F(NuscenesDamage, AnyTextMayBeAToken) {
  std::string text = Json(tables_).dump();
  const std::string token = tables_["sample"][1]["token"];
  for (const std::string& name : {std::string("frame one"), std::string(32, 'f')}) {
    std::string changed = text;
    for (size_t at; (at = changed.find(token)) != std::string::npos;) {
      changed.replace(at, token.size(), name);
    }
    EXPECT_EQ(Open(Json::parse(changed).get<std::map<std::string, Json>>())->Read(0).frames[1].id,
              name);
  }
}

TEST_F(NuscenesDamage, VelocityOfBoxesFarApartIsUnknown) {
  for (Json& sample : tables_["sample"]) {
    sample["timestamp"] =
        sample["timestamp"].get<int64_t>() * 4 - 3 * 1700000000000000;  // 2 s steps
  }
  const Log log = Open(tables_)->Read(0);
  for (const LogFrame& frame : log.frames) {
    EXPECT_TRUE(std::isnan(frame.boxes[0].velocity_mps.x()));  // 2 s > 1.5 s, 4 s > 3 s
  }
}

TEST(NuscenesReader, SaysWhatIsMissing) {
  const fs::path root = TestFolder("nuscenes nothing");
  EXPECT_THAT(ErrorOf([&] { OpenLogs(root); }), HasSubstr("no driving log found"));
  EXPECT_THAT(ErrorOf([&] { OpenLogs(root / "none"); }), HasSubstr("no such file or folder"));
  for (const char* version : {"v1.0-mini", "v1.0-test"}) {
    WriteFile(root / version / "scene.json", "[]");
    WriteFile(root / version / "sample_data.json", "[");
  }
  EXPECT_THAT(ErrorOf([&] { OpenLogs(root); }), HasSubstr("2 sets of tables"));
  EXPECT_THAT(ErrorOf([&] { OpenLogs(root / "v1.0-mini"); }),
              HasSubstr("sensor.json: no such file"));
}

TEST(TokenPool, KeepsEveryText) {
  TokenPool pool;
  for (const std::string text :
       {"", "1", "ca9a282c9e77460f8360f564131a8af5", "CA9A282C9E77460F8360F564131A8AF5",
        "ffffffffffffffff0000000000000001", "ca9a282c9e77460f8360f564131a8af", "\xff\n"}) {
    EXPECT_EQ(pool.TextOf(pool.Of(text)), text);
    EXPECT_EQ(pool.Of(text), pool.Of(text));
  }
  EXPECT_EQ(pool.Of(""), Token());
}

}  // namespace
}  // namespace athanor
