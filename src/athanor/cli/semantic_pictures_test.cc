// Words over real photographs and over real LiDAR points, through the program.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <nlohmann/json.hpp>

#include "athanor/cli/cli_test_util.h"
#include "athanor/media/image.h"
#include "athanor/nn/foreign_model.h"

namespace athanor {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;
using ::testing::HasSubstr;

TEST(SemanticPictures, SaysWhatItNeeds) {
  const fs::path folder = TestFolder("semantic pictures bad");
  WriteImage(folder / "a.png", Image(32, 32, 3));
  const std::string picture = (folder / "a.png").string();
  Outcome outcome = Execute({"semantic", "query", picture, "car", "--teacher", "embedded"});
  EXPECT_NE(outcome.status, 0);
  EXPECT_THAT(outcome.err, HasSubstr("expected -o FOLDER"));
  WriteFile(folder / "scene.ply", "ply");
  outcome = Execute({"semantic", "query", (folder / "scene.ply").string(), "car", "--teacher",
                     "deeplab-cityscapes", "-o", (folder / "out").string()});
  EXPECT_NE(outcome.status, 0);
  EXPECT_THAT(outcome.err, HasSubstr("expected a photograph"));
  outcome = Execute({"semantic", "query", picture, "car", "--teacher", "no-such-teacher", "-o",
                     (folder / "out").string()});
  EXPECT_NE(outcome.status, 0);
  EXPECT_THAT(outcome.err, HasSubstr("no-such-teacher"));
  EXPECT_FALSE(fs::exists(folder / "out"));
}

TEST(SemanticPictures, PhotographsOfOneStemGetPicturesOfTheirOwn) {
  const fs::path folder = TestFolder("semantic pictures stems");
  for (const char* name : {"in/a.png", "in/a.jpg"}) WriteImage(folder / name, Image(64, 64, 3, 90));
  const Outcome outcome = Execute({"semantic", "query", (folder / "in").string(), "chair",
                                   "--teacher", "embedded", "-o", (folder / "out").string()});
  ASSERT_EQ(outcome.status, 0) << outcome.err;
  EXPECT_TRUE(fs::exists(folder / "out" / "00_chair_a.png.png"));
  EXPECT_TRUE(fs::exists(folder / "out" / "00_chair_a.jpg.png"));
}

// The models of the closed-vocabulary teacher, in a store of the tests' own.
bool FetchConseModels() {
  const fs::path store = TestFolder("conse models");
  ::setenv("ATHANOR_MODELS", store.c_str(), 1);
  const std::pair<const char*, const char*> wanted[] = {{"deeplab-cityscapes", "models_vision"},
                                                        {"clip-vit-b-32-names", "clip_text_space"}};
  for (const auto& [name, from] : wanted) {
    const Outcome outcome = Execute({"models", "fetch", name, "--from", SharedData(from).string()});
    if (outcome.status != 0) {
      ADD_FAILURE() << outcome.err;
      return false;
    }
  }
  return true;
}

TEST(SemanticPictures, SlowCarsGlowInPhotographsAndOnLidarPoints) {
  ATHANOR_SKIP_WITHOUT("models_vision");
  ATHANOR_SKIP_WITHOUT("clip_text_space");
  ATHANOR_SKIP_WITHOUT("waymo_panoptic_frame");
  ATHANOR_SKIP_WITHOUT("nuscenes_keyframe");
  if (OnnxRuntimeInfo().empty()) GTEST_SKIP() << "needs ONNX Runtime";
  ASSERT_TRUE(FetchConseModels());

  const fs::path out = TestFolder("semantic pictures");
  const fs::path frame = SharedData("waymo_panoptic_frame");
  const Outcome asked =
      Execute({"semantic", "query", (frame / "FRONT_RIGHT.jpg").string(), "car", "a person",
               "something to walk on", "--teacher", "deeplab-cityscapes", "-o", out.string()});
  ASSERT_EQ(asked.status, 0) << asked.err;
  EXPECT_THAT(asked.out, HasSubstr("'something to walk on' as "));
  for (const char* name :
       {"00_car_FRONT_RIGHT.png", "01_a-person_FRONT_RIGHT.png", "overview.png"}) {
    EXPECT_TRUE(fs::exists(out / name)) << name;
  }
  // As many pixels of cars as there are, about.
  const DepthImage truth = ReadDepthPng(frame / "FRONT_RIGHT_panoptic.png");
  constexpr int kCar = 2;  // of Waymo's classes
  const auto cars = std::count_if(truth.data.begin(), truth.data.end(),
                                  [](uint16_t value) { return value / 1000 == kCar; });
  const double share = static_cast<double>(cars) / static_cast<double>(truth.data.size());
  const json report = json::parse(ReadFile(out / "pictures.json"));
  const double found = report["pictures"][0]["prompts"][0]["share"];
  EXPECT_GT(found, 0.7 * share);
  EXPECT_LT(found, 1.5 * share);

  const std::string run = (TestFolder("semantic key frame") / "run").string();
  for (const std::vector<std::string>& command :
       {std::vector<std::string>{"scene", "reconstruct", SharedData("nuscenes_keyframe").string(),
                                 "--clip", "0", "--iterations", "1", "--test-every", "0", "-o",
                                 run},
        {"semantic", "lift", run, "--teacher", "deeplab-cityscapes"},
        {"semantic", "query", run, "vehicle", "vegetation", "--backdrop", "photographs",
         "--view-count", "6"}}) {
    const Outcome outcome = Execute(command);
    ASSERT_EQ(outcome.status, 0) << outcome.err;
  }
  // Edits mean by words what queries do.
  const fs::path isolated = fs::path(run) / "vehicle.ply";
  const Outcome edit = Execute({"edit", "isolate", run, "vehicle", "-o", isolated.string()});
  EXPECT_EQ(edit.status, 0) << edit.err;
  EXPECT_TRUE(fs::exists(isolated));
  // The lorry ahead is the best vehicle: some 10 m in front of the car that is the origin.
  const json objects = json::parse(ReadFile(fs::path(run) / "query" / "objects.json"));
  const json& vehicle = objects["prompts"][0];
  EXPECT_GT(vehicle["best_score"], 0.6);
  ASSERT_FALSE(vehicle["objects"].empty());
  const json& first = vehicle["objects"][0];
  const double distance_m =
      std::hypot(first["center"][0].get<double>(), first["center"][1].get<double>());
  EXPECT_GT(distance_m, 4);
  EXPECT_LT(distance_m, 25);
  EXPECT_GT(objects["prompts"][1]["gaussians"], 1000);
}

}  // namespace
}  // namespace athanor
