// Training on a small made-up log: it learns, and goes on after a stop as if there had been none.
#include "athanor/detection/profusion3d/detector_trainer.h"

#include <ATen/ATen.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <set>

#include "athanor/base/files.h"
#include "athanor/base/test_util.h"
#include "athanor/datasets/log_test_util.h"
#include "athanor/detection/profusion3d/detector.h"
#include "athanor/detection/profusion3d/log_detections.h"
#include "athanor/detection/profusion3d/training_samples.h"

namespace athanor {
namespace {

namespace fs = std::filesystem;
using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;

// Two scenes of three frames, each with one car.
const fs::path& Town() {
  static const fs::path folder = WriteTestTown(TestFolder("training town"));
  return folder;
}

DetectTrainOptions SmallTraining() {
  DetectTrainOptions options;
  DetectorOptions& model = options.model;
  model.image_width_px = 96, model.image_height_px = 64;
  model.range_m = 25.6f, model.voxel_m = 0.4f;
  model.width = 16, model.lift_width = 8, model.heads = 2, model.window = 4;
  model.lidar_channels = "8,8,16", model.bev_layers = 1;
  model.camera_channels = "8,8,16", model.camera_blocks = "0,1,1", model.camera_stride = 8;
  model.depth_high_m = 33, model.depths = 8;
  model.queries = model.proposals = 12, model.decoder_hidden = 32;
  options.steps = 6, options.batch = 1;
  options.average = 0.5;
  options.paste = false;
  options.metrics_every = 1, options.checkpoint_every = 2;
  return options;
}

TEST(DetectorTrainer, AStoppedRunEndsInTheSameBytes) {
  DetectTrainOptions options = SmallTraining();
  options.dropout = true;
  const fs::path folder = TestFolder("resume");
  const auto whole = TrainDetector({Town()}, {}, folder / "whole", options, false);
  ASSERT_FALSE(whole.interrupted);
  EXPECT_EQ(whole.frames, 6);
  int asked = 0;
  const auto part =
      TrainDetector({Town()}, {}, folder / "part", options, false, [&] { return ++asked == 3; });
  EXPECT_TRUE(part.interrupted);
  EXPECT_EQ(part.step, 3);
  const auto rest = TrainDetector({Town()}, {}, folder / "part", options, true);
  EXPECT_EQ(ReadFile(rest.weights), ReadFile(whole.weights));
  for (const char* file : {"config.toml", "run.json", "metrics.jsonl", "curves.png", "log.txt"}) {
    EXPECT_TRUE(fs::exists(folder / "part" / file)) << file;
  }
  // A run goes on with its own options and data.
  options.rate = 0.5;
  EXPECT_THAT(ErrorOf([&] { TrainDetector({Town()}, {}, folder / "part", options, true); }),
              HasSubstr("this run has other options"));
  options = SmallTraining(), options.dropout = true;
  EXPECT_THAT(ErrorOf([&] {
                TrainDetector({Town(), Town()}, {}, folder / "part", options, true);
              }),
              HasSubstr("\"datasets\""));
  EXPECT_THAT(ErrorOf([&] { TrainDetector({Town()}, {}, folder / "part", options, false); }),
              HasSubstr("already holds a run"));
}

#ifdef ATHANOR_TRAINING_FOLLOWER

std::unique_ptr<ProcessGroup> Processes(int count, const fs::path& log) {
  return ProcessGroup::Lead(
      {.processes = count,
       .follower =
           [](const std::string& address) {
             return std::vector<std::string>{ATHANOR_TRAINING_FOLLOWER, address};
           },
       .log = log});
}

TEST(DetectorTrainer, TwoProcessesLearnWhatOneLearns) {
  DetectTrainOptions options = SmallTraining();
  options.batch = 4, options.steps = 3, options.average = 0, options.bfloat16 = false;
  // Some samples have no pictures: then one process has no gradients of the camera encoder.
  options.augmentation.drop_pictures = 0.5, options.augmentation.drop_points = 0;
  const fs::path folder = TestFolder("processes");
  const auto alone = TrainDetector({Town()}, {}, folder / "alone", options, false);
  DetectTrainResult pair;
  {
    const auto group = Processes(2, folder / "processes.txt");
    pair = TrainDetector({Town()}, {}, folder / "pair", options, false, {}, group.get());
  }
  EXPECT_EQ(pair.step, 3);
  EXPECT_NEAR(pair.loss, alone.loss, 1e-3 * alone.loss);
  const SafeTensors one = ReadSafeTensors(alone.weights), two = ReadSafeTensors(pair.weights);
  const Detector start(options.model, 0);
  double apart = 0, moved = 0;
  for (const auto& [name, tensor] : start.parameters().trained()) {
    apart += (two.Get(name, "") - one.Get(name, "")).square().sum().item<double>();
    moved += (one.Get(name, "") - tensor).square().sum().item<double>();
  }
  EXPECT_GT(moved, 0);
  EXPECT_LT(std::sqrt(apart / moved), 0.02);

  // Stopped, and gone on with.
  {
    const auto group = Processes(2, folder / "processes.txt");
    int asked = 0;
    const auto part = TrainDetector(
        {Town()}, {}, folder / "part", options, false, [&] { return ++asked == 2; }, group.get());
    EXPECT_TRUE(part.interrupted);
  }
  const auto group = Processes(2, folder / "processes.txt");
  const auto rest = TrainDetector({Town()}, {}, folder / "part", options, true, {}, group.get());
  EXPECT_EQ(ReadFile(rest.weights), ReadFile(pair.weights));
}

TEST(DetectorTrainer, AllProcessesSayWhatIsWrongInOne) {
  DetectTrainOptions options = SmallTraining();
  options.batch = 3;
  const fs::path folder = TestFolder("processes wrong");
  {
    const auto group = Processes(2, folder / "processes.txt");
    EXPECT_THAT(ErrorOf([&] {
                  TrainDetector({Town()}, {}, folder / "odd", options, false, {}, group.get());
                }),
                HasSubstr("expected a batch that 2 processes can share evenly, found --batch 3"));
  }
  // Two frames, one for each process: whichever picture is damaged, the leader hears of it.
  const fs::path town = WriteTestTown(folder / "town", 1);
  options.batch = 2, options.augmentation.drop_pictures = 0;
  options.balanced = false;
  std::vector<fs::path> pictures;
  for (const auto& entry : fs::recursive_directory_iterator(town / "samples")) {
    if (entry.path().extension() == ".png") pictures.push_back(entry.path());
  }
  ASSERT_EQ(pictures.size(), 2u);
  for (const fs::path& picture : pictures) {
    const std::string whole = ReadFile(picture);
    WriteFile(picture, "no picture");
    const auto group = Processes(2, folder / "processes.txt");
    const fs::path out = folder / picture.stem();
    EXPECT_THAT(ErrorOf([&] { TrainDetector({town}, {}, out, options, false, {}, group.get()); }),
                AllOf(HasSubstr(picture.filename().string()), Not(HasSubstr("group"))));
    WriteFile(picture, whole);
  }
}

#endif

TEST(DetectorTrainer, FindsWhatItWasTrainedOn) {
  DetectTrainOptions options = SmallTraining();
  options.steps = 150, options.batch = 2, options.rate = 4e-3;
  options.denoising_groups = 0;
  options.average = 0.9;
  options.augment = false;
  options.augmentation.drop_points = options.augmentation.drop_pictures = 0.2;
  options.metrics_every = 50;
  options.checkpoint_every = 0;
  options.score_every = 100, options.score_frames = 1;
  const fs::path folder = TestFolder("overfit");
  // One moment: in later ones the car would be elsewhere, but look the same.
  const fs::path town = WriteTestTown(folder / "town", 1);
  const auto result = TrainDetector({town}, {town}, folder / "run", options, false);
  // One class of ten: 0.1 at best.
  EXPECT_GT(result.mean_ap, 0.09);
  EXPECT_THAT(ReadFile(folder / "run" / "metrics.jsonl"), HasSubstr("\"mAP\""));

  // Each sensor alone finds it, too; the other is what was dropped.
  const auto detector =
      Detector::FromSafeTensors(ReadSafeTensors(result.weights), result.weights.string());
  const auto frames = FramesOf(ReadLogs({town}));
  ASSERT_EQ(frames.size(), 2u);
  for (const char* lost : {"lidar", "cameras"}) {
    LogDetectionOptions detect;
    detect.drop = {lost};
    const ScoredFrames scored = ScoreFrames(detector.get(), frames, detect);
    EXPECT_GT(scored.metrics.mean_ap, 0.06) << lost;
    EXPECT_THAT(
        scored.results.meta_json,
        HasSubstr(std::string(lost) == "lidar" ? "\"use_lidar\": false" : "\"use_camera\": false"));
  }
  LogDetectionOptions detect;
  detect.drop = {"CAM_NOWHERE"};
  EXPECT_THAT(ErrorOf([&] { ScoreFrames(detector.get(), frames, detect); }),
              HasSubstr("found 'CAM_NOWHERE'"));

  // Another run begins with these weights; other files are refused.
  options.steps = 1, options.start_from = result.weights.string();
  const auto second = TrainDetector({town}, {town}, folder / "second", options, false);
  EXPECT_GT(second.mean_ap, 0.09);
  options.start_from = (folder / "none.safetensors").string();
  WriteSafeTensors(options.start_from, {.tensors = {{"other", at::zeros({1})}}});
  EXPECT_THAT(ErrorOf([&] { TrainDetector({town}, {}, folder / "third", options, false); }),
              HasSubstr("expected weights of a detector"));
}

TEST(DetectorTrainer, PastesForANetworkOfOneSensor) {
  DetectTrainOptions options = SmallTraining();
  options.steps = 2, options.paste = true;
  const fs::path folder = TestFolder("one sensor");
  for (bool* sensor : {&options.model.use_lidar, &options.model.use_cameras}) {
    *sensor = false;
    const auto result =
        TrainDetector({Town()}, {}, folder / StrCat(options.model.use_cameras), options, false);
    EXPECT_EQ(result.step, 2);
    EXPECT_GT(fs::file_size(result.weights.parent_path() / "objects.bank"), 1000u);
    *sensor = true;
  }
}

TEST(DetectorTrainer, TeachesCamerasAlone) {
  DetectTrainOptions options = SmallTraining();
  options.cameras_alone = true;
  options.average = 0;
  const fs::path folder = TestFolder("cameras");
  const auto result = TrainDetector({Town()}, {}, folder / "run", options, false);
  const SafeTensors trained = ReadSafeTensors(result.weights);
  const Detector before(options.model, 0);
  int changed = 0, kept = 0;
  for (const auto& [name, tensor] : before.parameters().trained()) {
    const bool is_of_cameras = name.starts_with("camera") || name.starts_with("pixel") ||
                               name.starts_with("depth") || name.starts_with("context") ||
                               name.starts_with("fold");
    const bool same = trained.Get(name, "trained").equal(tensor);
    EXPECT_NE(same, is_of_cameras) << name;
    ++(same ? kept : changed);
  }
  EXPECT_GT(changed, 20);
  EXPECT_GT(kept, 20);
  options.camera_weight = 0;
  EXPECT_THAT(ErrorOf([&] { TrainDetector({Town()}, {}, folder / "none", options, false); }),
              HasSubstr("to teach cameras alone"));
}

TEST(DetectorTrainer, PresetsLoad) {
  std::set<std::string> seen;
  for (const char* name : {"micro", "nano", "tiny", "small", "paper"}) {
    DetectTrainOptions options = DetectTrainPreset(name);
    EXPECT_TRUE(seen.insert(Describe(options).ToToml()).second);
    // The small ones see half as far.
    const bool is_near = options.model.Grid().range_m[3] < 30;
    EXPECT_EQ(is_near, std::string_view(name) == "nano" || std::string_view(name) == "micro");
    EXPECT_GT(options.model.Grid().rows(), is_near ? 63 : 99) << name;
  }
  EXPECT_THAT(ErrorOf([] { DetectTrainPreset("huge"); }), HasSubstr("configs/detect/huge.toml"));
}

TEST(TrainingShare, IsEvenAndExact) {
  for (const double share : {0.2, 0.4, 0.6, 0.8, 1.0}) {
    int count = 0;
    for (int i = 0; i < 100; ++i) count += IsOfShare(i, share);
    EXPECT_NEAR(count, 100 * share, 1e-9);
  }
}

TEST(LogDetections, FramesAreSpreadEvenly) {
  const Logs logs = ReadLogs({Town()});
  const auto frames = FramesOf(logs, 3);
  ASSERT_EQ(frames.size(), 3u);
  EXPECT_EQ(frames[0].log_index, 0);
  EXPECT_EQ(frames[2].log_index, 1);
  EXPECT_EQ(FramesOf(logs, 60).size(), 6u);
}

}  // namespace
}  // namespace athanor
