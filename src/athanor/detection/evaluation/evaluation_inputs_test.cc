#include "athanor/detection/evaluation/evaluation_inputs.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <cmath>
#include <cstdlib>

#include "athanor/base/files.h"
#include "athanor/base/test_util.h"

namespace athanor {
namespace {

namespace fs = std::filesystem;
using ::testing::HasSubstr;

Log TwoFrames() {
  Log log;
  log.source = "W";
  log.name = "scene-0001";
  log.tracks = {
      {"t0", "vehicle.bus.bendy"}, {"t1", "animal"}, {"t2", "static_object.bicycle_rack"}};
  for (int i = 0; i < 2; ++i) {
    LogFrame frame;
    frame.id = "sample" + std::to_string(i);
    frame.world_from_ego.translation = {100.0 + i, 50, 0};
    for (int track = 0; track < 3; ++track) {
      LogBox box;
      box.track = track;
      box.box = MakeBox3({110, 50, 1}, {12, 3, 4}, 0.5);
      box.num_lidar_points = 7;
      box.num_radar_points = 2;
      if (track == 0) box.attributes = {"vehicle.moving"};
      frame.boxes.push_back(box);
    }
    log.frames.push_back(frame);
  }
  return log;
}

TEST(EvaluationInputs, TruthOfALog) {
  NuscenesTruth truth;
  AddNuscenesTruth(TwoFrames(), 4, &truth);
  ASSERT_EQ(truth.samples.size(), 2u);
  const NuscenesSample& sample = truth.samples[1];
  EXPECT_EQ(sample.token, "sample1");
  EXPECT_EQ(sample.scene, 4);
  EXPECT_EQ(sample.ego_xy_m, Eigen::Vector2d(101, 50));
  ASSERT_EQ(sample.boxes.size(), 2u);  // an animal is known, and not scored
  EXPECT_EQ(kNuscenesClassNames[sample.boxes[1].class_index], "animal");
  EXPECT_EQ(kNuscenesClassNames[sample.boxes[0].class_index], "bus");
  EXPECT_EQ(sample.boxes[0].size_wlh_m, Eigen::Vector3d(3, 12, 4));
  EXPECT_EQ(sample.boxes[0].num_points, 9);
  EXPECT_EQ(kNuscenesAttributeNames[sample.boxes[0].attribute], "vehicle.moving");
  EXPECT_TRUE(std::isnan(sample.boxes[0].velocity_mps.x()));
  ASSERT_EQ(sample.bike_racks.size(), 1u);

  Log log = TwoFrames();
  log.frames[0].boxes[0].attributes = {"vehicle.moving", "vehicle.parked"};
  EXPECT_EQ(ErrorOf([&] { AddNuscenesTruth(log, 0, &truth); }),
            "W: scene-0001, sample sample0: expected at most one attribute per box, found 2");
  log.frames[0].boxes[0].attributes = {"vehicle.flying"};
  EXPECT_THAT(ErrorOf([&] { AddNuscenesTruth(log, 0, &truth); }), HasSubstr("vehicle.flying"));
}

TEST(EvaluationInputs, OfficialSplits) {
  EXPECT_EQ(NuscenesSplit("val").size(), 150u);
  EXPECT_EQ(NuscenesSplit("val").front(), "scene-0003");
  EXPECT_EQ(NuscenesSplit("val").back(), "scene-1073");
  EXPECT_EQ(NuscenesSplit("mini_val"), (std::vector<std::string>{"scene-0103", "scene-0916"}));
  EXPECT_EQ(NuscenesSplit("mini_train").size(), 8u);
  EXPECT_TRUE(NuscenesSplit("other").empty());
}

TEST(EvaluationInputs, KittiFramesBelongToTheirLabels) {
  const fs::path root = fs::temp_directory_path() / ("athanor_kitti_" + std::to_string(getpid()));
  const std::string car = "Car 0.00 0 0.1 100 100 200 180 1.5 1.6 4.0 1 1.6 20 0.1";
  WriteFile(root / "training/label_2/000001.txt", car + "\n");
  WriteFile(root / "results/data/000001.txt", car + " 0.9\n");
  const auto frames = ReadKittiFrames(root, root / "results", "all");
  ASSERT_EQ(frames.size(), 1u);
  EXPECT_EQ(frames[0].truths.size(), 1u);
  EXPECT_EQ(frames[0].detections[0].score, 0.9);
  WriteFile(root / "results/data/000002.txt", "");
  EXPECT_THAT(ErrorOf([&] { ReadKittiFrames(root, root / "results", ""); }),
              HasSubstr("000002.txt: has no labels: expected "));
  EXPECT_THAT(ErrorOf([&] { ReadKittiFrames(root, root / "training", ""); }),
              HasSubstr("expected a .txt file per frame, found none"));
  fs::remove_all(root);
}

// Truth against itself, on the one real log.
TEST(EvaluationInputs, RealArgoverseLogAgainstItself) {
  ATHANOR_SKIP_WITHOUT("argoverse2/sensor_val_7fab2350");
  const fs::path log = SharedData("argoverse2/sensor_val_7fab2350");
  std::vector<fs::path> files;
  for (const auto& entry : fs::recursive_directory_iterator(log)) {
    if (entry.path().filename() == "annotations.feather") files.push_back(entry.path());
  }
  if (files.empty()) GTEST_SKIP() << "no annotations below " << log;
  const fs::path folder = files[0].parent_path();
  std::vector<Argoverse2Detection> detections;
  const std::string log_id = fs::weakly_canonical(folder).filename().string();
  for (const Argoverse2Cuboid& cuboid : ReadArgoverse2Cuboids(files[0])) {
    // Detections of what does not count would compete for what does.
    if (cuboid.num_interior_pts == 0) continue;
    detections.push_back({log_id, cuboid.timestamp_ns, cuboid.category, cuboid.box_in_ego, 1});
  }
  const ArgoverseConfig config;
  const ArgoverseInput input(folder, "", false, config);
  const auto sweeps = input.WithDetections(detections, "itself");
  const auto matches = MatchArgoverse(sweeps, config, input.Roi());
  const auto metrics = SummarizeArgoverse(matches, config);
  for (size_t c = 0; c < config.categories.size(); ++c) {
    int64_t truths = 0, hits = 0;
    for (const int32_t count : matches.categories[c].truths) truths += count;
    for (const uint8_t hit : matches.categories[c].hits) hits += hit & 1;
    EXPECT_EQ(hits, truths) << config.categories[c];  // every true box that counts is found
    if (truths > 0) {
      EXPECT_NEAR(metrics.categories[c].ate_m, 0, 1e-9) << config.categories[c];
    }
  }
  detections[0].category = "CAR";
  EXPECT_THAT(ErrorOf([&] { input.WithDetections(detections, "R"); }), HasSubstr("found 'CAR'"));
  detections[0].category = "ANIMAL";  // annotated, but not scored
  EXPECT_EQ(ErrorOf([&] { input.WithDetections(detections, "R"); }), "");
  detections[0].log_id = "nowhere";
  EXPECT_THAT(ErrorOf([&] { input.WithDetections(detections, "R"); }),
              HasSubstr("R: holds detections of log nowhere"));
}

TEST(EvaluationInputs, AnExportedKeyFrameHasTruth) {
  ATHANOR_SKIP_WITHOUT("nuscenes_keyframe");
  const NuscenesTruth truth = ReadNuscenesTruth(SharedData("nuscenes_keyframe"), "");
  ASSERT_EQ(truth.samples.size(), 1u);
  EXPECT_GT(truth.samples[0].boxes.size(), 40u);
  EXPECT_EQ(NuscenesClassOfCategory("pedestrian"), FindNuscenesClass("pedestrian"));
  EXPECT_EQ(NuscenesClassOfCategory("animal"), kNuscenesClasses);
  EXPECT_EQ(NuscenesClassOfCategory("movable_object.debris"), -1);
}

}  // namespace
}  // namespace athanor
