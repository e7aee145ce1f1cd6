// The detector in short steps.
#include <ATen/ATen.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>

#include "athanor/base/files.h"
#include "athanor/base/test_util.h"
#include "athanor/datasets/log_test_util.h"
#include "athanor/detection/profusion3d/detector.h"
#include "athanor/loop/training/population_options.h"
#include "athanor/loop/training/population_run.h"
#include "athanor/loop/training/trainables/open_trainable.h"
#include "athanor/nn/safetensors.h"

namespace athanor {
namespace {

namespace fs = std::filesystem;
using ::testing::AllOf;
using ::testing::HasSubstr;

std::string SmallDetector(const fs::path& town, const std::string& space) {
  return StrCat(R"(
trainable = "detector"
objectives = "rare_ap,map,cost"
population = 2
budget = 4
updates = 2
mutate = 1
[space]
)",
                space, "\n[detector]\ndata = \"", town.string(), "\"\nscore-on = \"", town.string(),
                R"("
rare = "car"
image-width = 96
image-height = 64
range = 25.6
voxel = 0.4
width = 16
lift-width = 8
heads = 2
window = 4
lidar-channels = "8,8,16"
bev-layers = 1
camera-channels = "8,8,16"
camera-blocks = "0,1,1"
camera-stride = 8
depth-high = 33
depths = 8
queries = 12
proposals = 12
decoder-hidden = 32
batch = 1
average = 0.5
)");
}

constexpr const char* kRate = "rate = { low = 1e-4, high = 1e-2, scale = \"log\" }\n";

TEST(DetectorTrainableTest, ShortStepsAreTheSameAgainAndTakeTheirHyperParameters) {
  const fs::path folder = TestFolder("detector steps");
  const fs::path town = WriteTestTown(folder / "town", 2);
  const auto trainable = OpenTrainable("detector", SmallDetector(town, kRate), "c.toml");
  TrainRequest request{.hyper = {{"rate", "0.004"}}, .updates = 3, .seed = 7};
  const TrainReport report = trainable->Train(request, folder / "a");
  EXPECT_GT(report.monitors.at("loss"), 0);
  EXPECT_GT(report.monitors.at("weight_norm"), 1);
  EXPECT_GE(report.monitors.at("dormant"), 0);
  EXPECT_LT(report.monitors.at("dormant"), 1);
  EXPECT_EQ(report.work, 3);
  request.from = folder / "a", request.updates_before = 3, request.seed = 8;
  trainable->Train(request, folder / "b");
  const auto again = OpenTrainable("detector", SmallDetector(town, kRate), "c.toml");
  again->Train(request, folder / "c");
  EXPECT_EQ(ReadFile(folder / "b"), ReadFile(folder / "c"));
  request.hyper["rate"] = "0.001";
  again->Train(request, folder / "d");
  EXPECT_NE(ReadFile(folder / "b"), ReadFile(folder / "d"));
  // At a rate of next to nothing it stays what it was.
  const auto distance = [&](const fs::path& one, const fs::path& other) {
    const SafeTensors a = ReadSafeTensors(one), b = ReadSafeTensors(other);
    double sum = 0;
    for (const auto& [name, tensor] : a.tensors) {
      if (name.starts_with("adamw.") || name.starts_with("average.")) continue;
      sum += (tensor - b.Get(name, "b")).abs().sum().item<double>();
    }
    return sum;
  };
  // Shrinking to nothing and adding all of a new network: nothing of the old is left.
  request.mutation = {0, 1, 0};
  request.updates = 0, request.seed = 9;
  again->Train(request, folder / "new");
  request.mutation = {1, 0, 0};
  again->Train(request, folder / "same");
  EXPECT_EQ(distance(folder / "same", folder / "a"), 0);
  EXPECT_GT(distance(folder / "new", folder / "a"), 1);

  // All hidden units begin anew: what they said is gone, other layers stay.
  request.mutation = {1, 0, 1};
  again->Train(request, folder / "renewed");
  const SafeTensors old = ReadSafeTensors(folder / "a"),
                    renewed = ReadSafeTensors(folder / "renewed");
  const auto at = [](const SafeTensors& file, const char* name) { return file.Get(name, "file"); };
  for (const char* in : {"decoder.joint.0.expand.weight", "average.decoder.joint.0.expand.weight",
                         "camera.stage2.block0.first.weight"}) {
    EXPECT_FALSE(at(renewed, in).equal(at(old, in))) << in;
  }
  for (const char* out :
       {"decoder.joint.0.shrink.weight", "average.decoder.joint.0.shrink.weight",
        "adamw.second.decoder.joint.0.shrink.weight", "camera.stage2.block0.second.weight"}) {
    EXPECT_EQ(at(renewed, out).abs().sum().item<double>(), 0) << out;
    EXPECT_GT(at(old, out).abs().sum().item<double>(), 0) << out;
  }
  for (const char* other : {"decoder.joint.0.among.query.weight", "camera.stage2.down.weight"}) {
    EXPECT_TRUE(at(renewed, other).equal(at(old, other))) << other;
  }

  const auto objectives = trainable->Evaluate(folder / "b", request.hyper);
  EXPECT_GE(objectives.at("map"), 0);
  EXPECT_GT(objectives.at("latency_ms"), 0);
  // At least the camera's stem, on one picture of 96 x 64: 8 x 3 x 3 x 3 on half the resolution.
  EXPECT_GT(objectives.at("cost"), 1e-9 * 48 * 32 * 8 * 27);
  EXPECT_LT(objectives.at("cost"), 1);
  EXPECT_EQ(trainable->Evaluate(folder / "b", request.hyper).at("cost"), objectives.at("cost"));
  trainable->Export(folder / "b", folder / "weights.safetensors");
  EXPECT_NE(Detector::FromSafeTensors(ReadSafeTensors(folder / "weights.safetensors"), "w"),
            nullptr);
}

#ifdef ATHANOR_TRAINING_FOLLOWER

TEST(DetectorTrainableTest, AStepOfTwoProcessesOutlivesTheDeathOfOne) {
  const fs::path folder = TestFolder("detector processes");
  const fs::path town = WriteTestTown(folder / "town", 2);
  std::string toml = SmallDetector(town, kRate);
  toml.replace(toml.find("batch = 1"), 9, "batch = 2\nprocesses = 2");
  const TrainRequest request{.hyper = {{"rate", "0.004"}}, .updates = 2, .seed = 7};
  const auto step = [&](const std::string& name, const fs::path& dies_unless) {
    const auto trainable =
        OpenTrainable("detector", toml, "c.toml", [dies_unless](const std::string& address) {
          std::vector<std::string> words = {ATHANOR_TRAINING_FOLLOWER, address};
          if (!dies_unless.empty()) words.push_back(dies_unless.string());
          return words;
        });
    const TrainReport report = trainable->Train(request, folder / name);
    EXPECT_EQ(report.work, 4);
  };
  step("whole", "");
  step("broken", folder / "has died");
  EXPECT_TRUE(fs::exists(folder / "has died"));
  EXPECT_EQ(ReadFile(folder / "broken"), ReadFile(folder / "whole"));
}

#endif

TEST(DetectorTrainableTest, APopulationOfDetectorsEndsInAFront) {
  const fs::path folder = TestFolder("detector population");
  const fs::path town = WriteTestTown(folder / "town", 2);
  const std::string space =
      std::string(kRate) + "queries = { choices = [\"12\", \"16\"], fixed = true }\n";
  const PopulationConfig config = ParsePopulationConfig(SmallDetector(town, space), "c.toml");
  PopulationRunOptions options;
  options.workers = 0;
  options.open = [](const auto&... what) { return OpenTrainable(what...); };
  options.registry = folder / "registry", options.name = "small";
  const PopulationReport report = RunPopulation(folder / "run", config, options);
  EXPECT_EQ(report.steps, 4);
  EXPECT_EQ(report.failed, 0);
  EXPECT_FALSE(report.models.empty());
  EXPECT_TRUE(fs::exists(folder / "run" / "front.png"));
}

TEST(DetectorTrainableTest, OlderLogsAreReplayed) {
  const fs::path folder = TestFolder("detector replay");
  const fs::path town = WriteTestTown(folder / "town", 2), older = folder / "older";
  WriteTestTown(older, 2);
  const std::string toml = StrCat(SmallDetector(town, kRate), "older = \"", older.string(), "\"\n");
  const auto trainable = OpenTrainable("detector", toml, "c.toml");
  TrainRequest request{.hyper = {{"rate", "0.004"}, {"replay", "0.5"}}, .updates = 1, .seed = 7};
  trainable->Train(request, folder / "a");
  // Of two steps one is of the older logs, whose files are damaged.
  for (const auto& entry : fs::recursive_directory_iterator(older / "samples")) {
    if (entry.is_regular_file()) WriteFile(entry.path(), "damaged");
  }
  request.updates = 2;
  EXPECT_THAT(ErrorOf([&] { trainable->Train(request, folder / "b"); }),
              AllOf(HasSubstr("training sample 1"), HasSubstr("older")));
  request.hyper["replay"] = "0";
  trainable->Train(request, folder / "b");
}

TEST(DetectorTrainableTest, AnAbsurdRateFailsTheMemberAlone) {
  const fs::path folder = TestFolder("detector diverges");
  const fs::path town = WriteTestTown(folder / "town", 2);
  std::string toml = SmallDetector(town, kRate);
  const auto trainable = OpenTrainable("detector", toml, "c.toml");
  const fs::path checkpoint = folder / "a";
  TrainRequest request{.hyper = {{"rate", "0.01"}}, .updates = 1, .seed = 7};
  trainable->Train(request, checkpoint);
  SafeTensors broken = ReadSafeTensors(checkpoint);
  for (auto& [name, tensor] : broken.tensors) {
    if (!name.starts_with("adamw.")) tensor = tensor.clone().fill_(NAN);
  }
  WriteSafeTensors(folder / "broken", broken);
  request.from = folder / "broken";
  EXPECT_THROW(trainable->Train(request, folder / "b"), MemberFailure);
  EXPECT_FALSE(fs::exists(folder / "b"));
}

TEST(DetectorTrainableTest, SaysWhatIsWrong) {
  const auto check = [](const std::string& space, const std::string& more = "") {
    const std::string toml = SmallDetector("/town", space) + more;
    return ErrorOf([&] {
      OpenTrainable("detector", toml, "c.toml")->CheckSpace(SearchSpace::FromToml(toml, "c.toml"));
    });
  };
  EXPECT_EQ(check(kRate), "");
  EXPECT_THAT(check("speed = { low = 0, high = 1 }"), HasSubstr("has no option 'speed'"));
  EXPECT_THAT(check("batch = { low = 1, high = 4, integer = true }"),
              HasSubstr("'batch' is no hyper-parameter"));
  EXPECT_THAT(check("width = { choices = [\"16\", \"32\"] }"), HasSubstr("fixed = true"));
  const std::string replay = StrCat(kRate, "replay = { low = 0, high = 0.9 }");
  EXPECT_THAT(check(replay), HasSubstr("replay: expected older logs"));
  EXPECT_EQ(check(replay, "older = \"/village\"\n"), "");
  EXPECT_THAT(check("older = { choices = [\"/a\", \"/b\"] }"), HasSubstr("no hyper-parameter"));
  EXPECT_THAT(check("rate = { low = 0, high = 7 }"), AllOf(HasSubstr("rate"), HasSubstr("7")));
  EXPECT_THAT(ErrorOf([] { OpenTrainable("detector", "[detector]\n", "c.toml"); }),
              HasSubstr("expected data and score-on"));
  EXPECT_THAT(ErrorOf([] { OpenTrainable("detector", "[detector]\nwheels = 4\n", "c.toml"); }),
              AllOf(HasSubstr("c.toml: line 2"), HasSubstr("'wheels'")));
}

TEST(DetectorTrainableTest, PresetsLoad) {
  for (const char* name : {"tiny", "stream"}) {
    const fs::path path = FindShared(StrCat("configs/population/", name, ".toml"));
    const PopulationConfig config = ParsePopulationConfig(ReadFile(path), path.string());
    const auto trainable = OpenTrainable(config.options.trainable, config.toml, config.name);
    trainable->CheckSpace(config.space);
    EXPECT_EQ(ChooseObjectives(trainable->objectives(), config.options.objectives).size(), 3u);
    if (config.options.trainable != "detector") continue;
    // Every shape of the space is that of a network.
    Random random(1);
    for (int i = 0; i < 4; ++i) {
      DetectorTrainableOptions options = ParseDetectorTrainable(config.toml, config.name);
      OptionList list = Describe(options.training);
      for (const auto& [hyper, text] : config.space.Sample(&random)) list.Find(hyper)->Set(text);
      EXPECT_GT(Detector(options.training.model, 0).parameters().CountTrained(), 10000);
    }
  }
}

}  // namespace
}  // namespace athanor
