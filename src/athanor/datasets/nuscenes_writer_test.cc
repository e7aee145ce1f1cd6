#include "athanor/datasets/nuscenes_writer.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>
#include <nlohmann/json.hpp>

#include "athanor/datasets/log_test_util.h"

namespace athanor {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::json;
using testing::HasSubstr;

constexpr const char* kTables[] = {"attribute",
                                   "calibrated_sensor",
                                   "category",
                                   "ego_pose",
                                   "instance",
                                   "log",
                                   "map",
                                   "sample",
                                   "sample_annotation",
                                   "sample_data",
                                   "scene",
                                   "sensor",
                                   "visibility",
                                   "scenario_tag"};

std::map<std::string, Json> ReadTables(const fs::path& root) {
  std::map<std::string, Json> tables;
  for (const char* name : kTables) {
    tables[name] = Json::parse(ReadFile(root / "v1.0-mini" / (std::string(name) + ".json")));
  }
  return tables;
}

TEST(NuscenesWriter, WritesTablesWhoseReferencesHold) {
  const fs::path root = TestFolder("nuscenes writer");
  NuscenesWriter writer(root);
  for (const char* name : {"scene-0002", "scene-0001"}) {
    EXPECT_FALSE(writer.Has(name));
    writer.AddScene(WriteTestLog(root, name));
    EXPECT_TRUE(writer.Has(name));
  }
  writer.Finish();
  auto tables = ReadTables(root);
  std::map<std::string, std::map<std::string, Json>> rows;
  for (const auto& [name, table] : tables) {
    for (const Json& row : table) {
      EXPECT_TRUE(rows[name].emplace(row.at("token").get<std::string>(), row).second);
    }
  }
  EXPECT_EQ(tables["scene"][0]["name"], "scene-0001");
  EXPECT_EQ(tables["sample"].size(), 6u);
  EXPECT_EQ(tables["sample_data"].size(), 2 * (5 + 9));
  EXPECT_EQ(tables["instance"].size(), 6u);  // the third is named by a tag only
  EXPECT_EQ(tables["category"].size(), 24u);
  EXPECT_EQ(tables["category"][23]["name"], "animal.dog");
  const auto check = [&](const char* table, const char* key, const char* other) {
    for (const Json& row : tables[table]) {
      EXPECT_EQ(rows[other].count(row.at(key).get<std::string>()), 1u) << table << " " << key;
    }
  };
  check("calibrated_sensor", "sensor_token", "sensor");
  check("scene", "log_token", "log");
  check("scene", "first_sample_token", "sample");
  check("scene", "last_sample_token", "sample");
  check("sample", "scene_token", "scene");
  check("sample_data", "sample_token", "sample");
  check("sample_data", "ego_pose_token", "ego_pose");
  check("sample_data", "calibrated_sensor_token", "calibrated_sensor");
  check("instance", "category_token", "category");
  check("sample_annotation", "instance_token", "instance");
  check("sample_annotation", "sample_token", "sample");
  for (const char* table : {"sample", "sample_data", "sample_annotation"}) {
    for (const Json& row : tables[table]) {
      const std::string next = row.at("next");
      if (next.empty()) continue;
      EXPECT_EQ(rows[table].at(next).at("prev"), row.at("token"));
    }
  }
  for (const Json& row : tables["sample_data"]) {
    EXPECT_TRUE(fs::is_regular_file(root / row.at("filename").get<std::string>()));
  }
  for (const Json& row : tables["map"]) {
    EXPECT_EQ(ReadImage(root / row.at("filename").get<std::string>(), 1).width, 64);
    EXPECT_EQ(row.at("log_tokens").size(), 2u);
  }
  const Json& box = tables["sample_annotation"][0];
  EXPECT_EQ(box.at("size"), Json({1.9, 4.5, 1.6}));  // width, length, height
  EXPECT_EQ(tables["log"][0]["date_captured"], "2023-11-14");
}

TEST(NuscenesWriter, GivesTheSameBytesAgainAndGoesOnWithAnOldFolder) {
  const fs::path root = TestFolder("nuscenes resume"), other = TestFolder("nuscenes again");
  {
    NuscenesWriter writer(root);
    writer.AddScene(WriteTestLog(root, "scene-0001"));
    writer.Finish();
  }
  NuscenesWriter writer(root);  // a second run
  EXPECT_TRUE(writer.Has("scene-0001"));
  writer.AddScene(WriteTestLog(root, "scene-0002"));
  writer.Finish();
  NuscenesWriter at_once(other);
  at_once.AddScene(WriteTestLog(other, "scene-0002"));
  at_once.AddScene(WriteTestLog(other, "scene-0001"));
  at_once.Finish();
  for (const char* table : kTables) {
    const std::string file = std::string("v1.0-mini/") + table + ".json";
    EXPECT_EQ(ReadFile(root / file), ReadFile(other / file)) << table;
  }
}

TEST(NuscenesWriter, KeepsTokensThatAreOnes) {
  const fs::path root = TestFolder("nuscenes ids");
  Log log = WriteTestLog(root, "scene-0001", 1);
  log.frames[0].id = "00112233445566778899aabbccddeeff";
  NuscenesWriter writer(root);
  writer.AddScene(log);
  log.name = "scene-0002";
  writer.AddScene(log);
  EXPECT_THAT(ErrorOf([&] { writer.Finish(); }),
              HasSubstr("two rows have the token '00112233445566778899aabbccddeeff'"));
  EXPECT_FALSE(fs::exists(root / "v1.0-mini" / "scene.json"));
}

TEST(NuscenesWriter, RefusesWhatTheFormatCannotHold) {
  const fs::path root = TestFolder("nuscenes refuses");
  const Log good = WriteTestLog(root, "scene-0001");
  NuscenesWriter writer(root);
  const auto error = [&](auto change) {
    Log log = good;
    change(log);
    return ErrorOf([&] { writer.AddScene(log); });
  };
  EXPECT_THAT(error([](Log& l) { l.name = "../x"; }), HasSubstr("expected a name"));
  EXPECT_THAT(error([](Log& l) { l.frames.clear(); }), HasSubstr("at least one frame"));
  EXPECT_THAT(error([](Log& l) { l.readings[0].path = "/etc/passwd"; }), HasSubstr("inside"));
  EXPECT_THAT(error([](Log& l) { l.readings[0].path = "samples/none.png"; }),
              HasSubstr("no such file"));
  EXPECT_THAT(error([](Log& l) { l.frames[1].boxes[1].track = 0; }), HasSubstr("two boxes"));
  EXPECT_THAT(error([](Log& l) { l.frames[0].boxes[0].box.size_m.z() = 0; }),
              HasSubstr("size above 0"));
  EXPECT_THAT(error([](Log& l) { l.frames[0].boxes[0].box.frame_from_box.translation.x() = NAN; }),
              HasSubstr("finite"));
  EXPECT_THAT(error([](Log& l) { l.sensors[0].camera.model = CameraModel::kOpenCvFisheye; }),
              HasSubstr("without distortion"));
  EXPECT_THAT(error([](Log& l) { std::swap(l.frames[0].time_us, l.frames[1].time_us); }),
              HasSubstr("expected a time after"));
  EXPECT_FALSE(writer.Has("scene-0001"));
  EXPECT_THAT(ErrorOf([&] { writer.Finish(); }), HasSubstr("at least one scene"));
  WriteFile(root / "v1.0-trainval" / "scene.json", "[]");
  EXPECT_THAT(ErrorOf([&] { NuscenesWriter(root, {.version = "v1.0-trainval"}); }),
              HasSubstr("did not write"));
}

}  // namespace
}  // namespace athanor
