#include "athanor/detection/evaluation/nuscenes_files.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <cmath>
#include <limits>
#include <nlohmann/json.hpp>

#include "athanor/base/files.h"
#include "athanor/base/test_util.h"
#include "athanor/detection/evaluation/evaluation_cases.h"

namespace athanor {
namespace {

namespace fs = std::filesystem;
using ::testing::AllOf;
using ::testing::HasSubstr;

const char* const kBox =
    R"({"sample_token": "a", "translation": [1, 2, 3], "size": [2, 4, 1.5],
        "rotation": [1, 0, 0, 0], "velocity": [NaN, 0.5], "detection_name": "car",
        "detection_score": 0.25, "attribute_name": "vehicle.parked"})";

std::string File(const std::string& boxes) {
  return R"({"meta": {"use_lidar": true}, "results": {"a": [)" + boxes + "]}}";
}

// kBox with something else in place of `what`.
std::string With(const std::string& what, const std::string& other) {
  std::string box = kBox;
  const size_t at = box.find(what);
  EXPECT_NE(at, std::string::npos) << what;
  return File(box.replace(at, what.size(), other));
}

std::string ParseError(const std::string& text, int most = 500) {
  return ErrorOf([&] { ParseNuscenesResults(text, "R.json", most); });
}

TEST(NuscenesFiles, ReadsABox) {
  const NuscenesResults results = ParseNuscenesResults(File(kBox), "R.json");
  ASSERT_EQ(results.boxes.size(), 1u);
  const NuscenesBox& box = results.boxes[0];
  EXPECT_EQ(box.translation_m, Eigen::Vector3d(1, 2, 3));
  EXPECT_EQ(box.size_wlh_m, Eigen::Vector3d(2, 4, 1.5));
  EXPECT_TRUE(std::isnan(box.velocity_mps.x()));
  EXPECT_EQ(box.score, 0.25);
  EXPECT_EQ(kNuscenesAttributeNames[box.attribute], "vehicle.parked");
  EXPECT_EQ(box.num_points, -1);
  EXPECT_EQ(results.meta_json, R"({"use_lidar": true})");
  // Other fields are stepped over; the order does not matter.
  const std::string more = With("\"sample_token\": \"a\"",
                                R"("x": [{"y": "]}\""}], "num_pts": 7, "sample_token": "\u0061")");
  EXPECT_EQ(ParseNuscenesResults(more, "R.json").boxes[0].num_points, 7);
}

TEST(NuscenesFiles, WhatIsWrittenReadsBackTheSame) {
  const fs::path folder = fs::temp_directory_path() / ("athanor_eval_" + std::to_string(getpid()));
  for (int seed = 0; seed < 32; ++seed) {
    const NuscenesCase random = MakeNuscenesCase(seed);
    WriteNuscenesResults(folder / "R.json", random.results);
    const NuscenesResults read = ReadNuscenesResults(folder / "R.json");
    EXPECT_EQ(read.sample_tokens, random.results.sample_tokens);
    EXPECT_EQ(read.first_box, random.results.first_box);
    ASSERT_EQ(read.boxes.size(), random.results.boxes.size());
    for (size_t i = 0; i < read.boxes.size(); ++i) {
      const NuscenesBox &a = read.boxes[i], &b = random.results.boxes[i];
      EXPECT_EQ(a.translation_m, b.translation_m);
      EXPECT_EQ(a.size_wlh_m, b.size_wlh_m);
      EXPECT_EQ(a.rotation_wxyz, b.rotation_wxyz);
      EXPECT_TRUE(a.velocity_mps == b.velocity_mps || b.velocity_mps.hasNaN());
      EXPECT_EQ(a.score, b.score);
      EXPECT_EQ(a.class_index, b.class_index);
      EXPECT_EQ(a.attribute, b.attribute);
    }
  }
  fs::remove_all(folder);
}

// The official tool reads "results" alone and refuses classes other than its ten.
TEST(NuscenesFiles, WhatIsNotScoredStandsApart) {
  const fs::path folder = fs::temp_directory_path() / ("athanor_eval_" + std::to_string(getpid()));
  NuscenesResults results = ParseNuscenesResults(File(kBox), "R.json");
  results.boxes[0].velocity_mps = {1, 0};  // NaN is no JSON
  NuscenesBox dog = results.boxes[0];
  dog.class_index = static_cast<int8_t>(FindNuscenesClass("animal"));
  dog.attribute = -1;
  results.boxes.insert(results.boxes.begin(), dog);
  results.first_box.back() = 2;
  WriteNuscenesResults(folder / "R.json", results);
  const nlohmann::json json = nlohmann::json::parse(ReadFile(folder / "R.json"));
  fs::remove_all(folder);
  ASSERT_EQ(json["results"]["a"].size(), 1u);
  EXPECT_NE(json["results"]["a"][0]["detection_name"], "animal");
  ASSERT_EQ(json["unscored"]["a"].size(), 1u);
  EXPECT_EQ(json["unscored"]["a"][0]["detection_name"], "animal");
  const NuscenesResults read = ParseNuscenesResults(json.dump(), "R.json");
  ASSERT_EQ(read.boxes.size(), 2u);
  EXPECT_EQ(read.boxes[1].class_index, dog.class_index);

  nlohmann::json bad = json;
  bad["results"]["a"].push_back(json["unscored"]["a"][0]);
  EXPECT_THAT(ParseError(bad.dump()), HasSubstr("one of the ten class names before this"));
  bad = json;
  bad["unscored"]["a"].push_back(json["results"]["a"][0]);
  EXPECT_THAT(ParseError(bad.dump()), HasSubstr("\"animal\" before this, not"));
  bad = json;
  bad["unscored"]["b"] = nlohmann::json::array();
  EXPECT_EQ(ParseError(bad.dump()), "R.json: sample b is in \"unscored\" and not in \"results\"");
}

TEST(NuscenesFiles, BadResultsAreOneClearLine) {
  EXPECT_THAT(ParseError(""), HasSubstr("R.json: byte 0: expected an object with"));
  EXPECT_EQ(ParseError("{}"), "R.json: expected a field \"results\", found none");
  EXPECT_EQ(ParseError(R"({"results": {}})"), "R.json: expected a field \"meta\", found none");
  EXPECT_THAT(ParseError(R"({"meta": {}, "results": []})"), HasSubstr("results as an object"));
  EXPECT_THAT(ParseError(R"({"meta": {}, "results": {"a": {}}})"), HasSubstr("a list of boxes"));
  EXPECT_THAT(ParseError(R"({"meta": {}, "results": {"a": [], "a": []}})"),
              HasSubstr("sample a comes twice"));
  EXPECT_THAT(ParseError(R"({"meta": {,}, "results": {}})"), HasSubstr("valid JSON"));
  EXPECT_THAT(ParseError(File(kBox) + "x"), HasSubstr("expected the end of the file, found 'x'"));
  EXPECT_THAT(ParseError(File("7")), HasSubstr("expected a box, as an object, found '7"));
  EXPECT_THAT(ParseError(With("[1, 2, 3]", "[1, 2]")),
              HasSubstr("expected translation as 3 numbers, found ']"));
  EXPECT_THAT(ParseError(With("[1, 2, 3]", "[1, 2, NaN]")),
              HasSubstr("finite numbers before this, in translation"));
  EXPECT_THAT(ParseError(With("[1, 2, 3]", "[1, 2, 1e999]")), HasSubstr("finite numbers"));
  EXPECT_THAT(ParseError(With("[1, 2, 3]", "[1, 2, \"3\"]")), HasSubstr("found '\"3\"]"));
  EXPECT_THAT(ParseError(With("[2, 4, 1.5]", "[2, 0, 1.5]")), HasSubstr("sizes > 0"));
  EXPECT_THAT(ParseError(With("[2, 4, 1.5]", "[2, -4, 1.5]")), HasSubstr("sizes > 0"));
  EXPECT_THAT(ParseError(With("0.25", "NaN")), HasSubstr("detection_score"));
  EXPECT_THAT(ParseError(With("0.25", "\"high\"")), HasSubstr("detection_score as a number"));
  EXPECT_THAT(ParseError(With("\"car\"", "\"cat\"")),
              HasSubstr("one of the ten class names before this, not 'cat'"));
  EXPECT_THAT(ParseError(With("vehicle.parked", "vehicle.flying")), HasSubstr("vehicle.flying"));
  EXPECT_THAT(ParseError(With("\"a\"", "\"b\"")), HasSubstr("under which the box is listed"));
  EXPECT_THAT(ParseError(With("\"detection_score\": 0.25,", "")),
              HasSubstr("a box with detection_score"));
  EXPECT_EQ(ParseError(File(kBox + std::string(",") + kBox), 1),
            "R.json: sample a: expected at most 1 boxes, found 2");
  EXPECT_THAT(ErrorOf([] { ReadNuscenesResults("/nonexistent/R.json"); }),
              HasSubstr("/nonexistent/R.json: cannot be read"));
  EXPECT_THAT(ErrorOf([] { ReadNuscenesResults("/tmp"); }), HasSubstr("/tmp"));
}

TEST(NuscenesFiles, EveryTruncationIsAnError) {
  const std::string whole = File(kBox);
  for (size_t size = 0; size < whole.size(); ++size) {
    EXPECT_THAT(ParseError(whole.substr(0, size)), HasSubstr("R.json: ")) << size;
  }
  EXPECT_EQ(ParseError(whole), "");
}

TEST(NuscenesFiles, NumbersAsPythonWritesThem) {
  EXPECT_EQ(PythonNumber(0.1), "0.1");
  EXPECT_EQ(PythonNumber(1), "1.0");
  EXPECT_EQ(PythonNumber(-0.0), "-0.0");
  EXPECT_EQ(PythonNumber(1e-4), "0.0001");
  EXPECT_EQ(PythonNumber(1e-5), "1e-05");
  EXPECT_EQ(PythonNumber(1.5e-7), "1.5e-07");
  EXPECT_EQ(PythonNumber(100000), "100000.0");
  EXPECT_EQ(PythonNumber(1e15), "1000000000000000.0");
  EXPECT_EQ(PythonNumber(1e16), "1e+16");
  EXPECT_EQ(PythonNumber(1.0 / 3), "0.3333333333333333");
  EXPECT_EQ(PythonNumber(std::nan("")), "NaN");
  EXPECT_EQ(PythonNumber(-std::numeric_limits<double>::infinity()), "-Infinity");
}

TEST(NuscenesFiles, WritesMetricsAsTheDevkit) {
  const fs::path folder = fs::temp_directory_path() / ("athanor_eval_" + std::to_string(getpid()));
  const NuscenesCase random = MakeNuscenesCase(3);
  const NuscenesConfig config;
  std::vector<NuscenesCurve> curves;
  NuscenesMetrics metrics = EvaluateNuscenes(random.truth, random.results, config, &curves);
  metrics.eval_time_s = 0.5;
  WriteNuscenesMetrics(folder, metrics, curves, config, R"({"use_lidar": true, "use_map": false})");
  const std::string summary = ReadFile(folder / "metrics_summary.json");
  EXPECT_THAT(summary, AllOf(HasSubstr("{\n  \"label_aps\": {\n    \"car\": {\n      \"0.5\": "),
                             HasSubstr("    \"dist_ths\": [\n      0.5,\n      1.0,\n"),
                             HasSubstr("      \"car\": 50,\n"),
                             HasSubstr("\n    \"mean_ap_weight\": 5\n  },\n  \"meta\": {\n    "
                                       "\"use_lidar\": true,\n    \"use_map\": false\n  }\n}")));
  // NaN stands for what is not defined, and is no JSON to strict readers.
  EXPECT_THAT(summary, HasSubstr("\"orient_err\": NaN"));
  const auto details = nlohmann::json::parse(ReadFile(folder / "metrics_details.json"));
  EXPECT_EQ(details.size(), 40u);
  EXPECT_EQ(details.at("car:0.5").at("precision").size(), 101u);
  fs::remove_all(folder);
}

TEST(NuscenesFiles, ReadsADevkitConfiguration) {
  const fs::path path =
      fs::temp_directory_path() / ("athanor_eval_" + std::to_string(getpid()) + ".json");
  WriteFile(path, R"({"class_range": {"car": 60, "truck": 50, "bus": 50, "trailer": 50,
      "construction_vehicle": 50, "pedestrian": 40, "motorcycle": 40, "bicycle": 40,
      "traffic_cone": 30, "barrier": 30}, "dist_fcn": "center_distance",
      "dist_ths": [1.0, 2.0], "dist_th_tp": 1.0, "min_recall": 0.2, "min_precision": 0.05,
      "max_boxes_per_sample": 300, "mean_ap_weight": 3})");
  const NuscenesConfig config = ReadNuscenesConfig(path);
  EXPECT_EQ(config.class_range_m[0], 60);
  EXPECT_EQ(config.match_distances_m, (std::vector<double>{1, 2}));
  EXPECT_EQ(config.tp_distance_m, 1);
  EXPECT_EQ(config.max_boxes_per_sample, 300);
  // The one that comes with the presets.
  const NuscenesConfig near = ReadNuscenesConfig(FindShared("configs/detect/near.json"));
  for (const double range_m : near.class_range_m) EXPECT_EQ(range_m, 25);
  WriteFile(path, "{}");
  EXPECT_THAT(ErrorOf([&] { ReadNuscenesConfig(path); }),
              HasSubstr("expected a nuScenes detection configuration"));
  fs::remove(path);
}

}  // namespace
}  // namespace athanor
