#include "athanor/detection/profusion3d/results.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <memory>

#include "athanor/base/random.h"
#include "athanor/base/test_util.h"
#include "athanor/detection/evaluation/argoverse_eval.h"
#include "athanor/detection/evaluation/evaluation_inputs.h"
#include "athanor/detection/evaluation/kitti_eval.h"
#include "athanor/detection/evaluation/nuscenes_files.h"
#include "athanor/detection/profusion3d/class_names.h"
#include "athanor/detection/profusion3d/detection_pictures.h"
#include "athanor/detection/profusion3d/frame_sample.h"
#include "athanor/detection/profusion3d/sample_test_util.h"

namespace athanor {
namespace {

using ::testing::HasSubstr;

// The truth of a frame as if it had been detected.
std::vector<Detection> TruthAsDetected(const Log& log, int frame, bool with_empty_boxes = false) {
  FrameSampleOptions options;
  options.with_empty_boxes = with_empty_boxes;
  FrameBoxes truth = BoxesOfFrame(log, frame, options);
  DetectionSample sample;
  sample.boxes = truth.boxes, sample.labels = truth.labels;
  return TruthAsDetections(sample);
}

TEST(Results, TruthAsNuscenesResultsScoresAllButItsAttributes) {
  Log log = OpenTestLog(TestFolder("nuscenes"), 8);
  // Turned and tilted as a car on a slope, and with every class in it.
  const std::vector<std::string> categories = {"vehicle.car",
                                               "vehicle.truck",
                                               "vehicle.construction",
                                               "vehicle.bus.rigid",
                                               "vehicle.trailer",
                                               "movable_object.barrier",
                                               "vehicle.motorcycle",
                                               "vehicle.bicycle",
                                               "human.pedestrian.adult",
                                               "movable_object.trafficcone",
                                               "animal"};
  log.tracks.clear();
  for (const std::string& category : categories) log.tracks.push_back({"", category});
  Random random(2);
  for (LogFrame& frame : log.frames) {
    frame.world_from_ego.rotation =
        Eigen::AngleAxisd(random.Uniform(-3, 3), Eigen::Vector3d::UnitZ());
    frame.boxes.clear();
    for (size_t k = 0; k < categories.size(); ++k) {
      LogBox box;
      box.track = static_cast<int>(k);
      box.box = MakeBox3(frame.world_from_ego.translation +
                             Eigen::Vector3d(random.Uniform(-18, 18), random.Uniform(-18, 18), 1),
                         {4.0 + k, 2, 1.5}, random.Uniform(-3, 3));
      box.velocity_mps = {random.Uniform(1, 9), random.Uniform(1, 9)};
      box.num_lidar_points = 9;
      const std::string_view attribute = NuscenesAttributeOf(static_cast<int>(k), 5);
      if (!attribute.empty()) box.attributes = {std::string(attribute)};
      frame.boxes.push_back(std::move(box));
    }
  }
  NuscenesTruth truth;
  AddNuscenesTruth(log, 0, &truth);
  NuscenesResults results;
  results.meta_json = NuscenesMeta(true, true);
  for (int f = 0; f < 8; ++f) AddNuscenesResults(log, f, TruthAsDetected(log, f), &results);
  // Through the file, too.
  const auto path = TestFolder("files") / "results.json";
  WriteNuscenesResults(path, results);
  const NuscenesMetrics metrics = EvaluateNuscenes(truth, ReadNuscenesResults(path));
  EXPECT_NEAR(metrics.mean_ap, 1, 1e-6);
  EXPECT_NEAR(metrics.mean_dist_aps[FindNuscenesClass("animal")], 1, 1e-6);
  EXPECT_NEAR(metrics.nd_score, 1, 1e-5);
  for (const double error : metrics.tp_errors) EXPECT_LT(error, 1e-4);
}

TEST(Results, KeepsTheBestBoxesOfNuscenes) {
  const Log log = OpenTestLog(TestFolder("best"));
  std::vector<Detection> detected(4, TruthAsDetected(log, 0).at(0));
  for (int i = 0; i < 4; ++i) detected[i].score = std::array{0.1f, 0.9f, 0.5f, 0.3f}[i];
  detected[1].box[7] = NAN;
  detected[2].attribute = FindNuscenesAttribute("vehicle.stopped");
  NuscenesResults results;
  AddNuscenesResults(log, 0, detected, &results, 3);
  ASSERT_EQ(results.boxes.size(), 3u);
  EXPECT_FLOAT_EQ(results.boxes[0].score, 0.9f);
  EXPECT_FLOAT_EQ(results.boxes[2].score, 0.3f);
  EXPECT_EQ(results.boxes[0].velocity_mps.x(), 0);
  EXPECT_EQ(results.boxes[1].attribute, detected[2].attribute);
  EXPECT_EQ(results.sample_tokens, std::vector<std::string>{log.frames[0].id});
  detected[0].label = kNumDetectionClasses;
  EXPECT_THAT(ErrorOf([&] { AddNuscenesResults(log, 0, detected, &results); }),
              HasSubstr("expected classes of 0 to 10, found 11"));
}

TEST(Results, TruthAsArgoverseResultsIsPerfectWhereTheClassesAgree) {
  ATHANOR_SKIP_WITHOUT("argoverse2");
  const auto folder = SharedData("argoverse2/sensor_val_7fab2350");
  const Log log = OpenLogs(folder)->Read(0);
  std::vector<Argoverse2Detection> rows;
  for (size_t f = 0; f < log.frames.size(); ++f) {
    const auto more =
        ArgoverseResults(log, static_cast<int>(f), TruthAsDetected(log, static_cast<int>(f)));
    rows.insert(rows.end(), more.begin(), more.end());
  }
  ASSERT_GT(rows.size(), 1000u);
  const auto path = TestFolder("files") / "results.feather";
  WriteArgoverse2Detections(path, rows);
  ArgoverseConfig config;
  ArgoverseInput input(folder, "", false, config);
  const std::vector<Argoverse2Detection> read = ReadArgoverse2Detections(path);
  input.AddSweepsOf(read, "results");
  const std::vector<ArgoverseSweep> sweeps = input.WithDetections(read, "results");
  // Every detection of a class of one category stands on a true box of it.
  int64_t tested = 0;
  for (const ArgoverseSweep& sweep : sweeps) {
    for (const ArgoverseBox& box : sweep.detections) {
      const std::string& category = config.categories.at(box.category);
      if (category != "REGULAR_VEHICLE" && category != "MOTORCYCLE" && category != "BICYCLE") {
        continue;
      }
      double nearest = INFINITY;
      for (const ArgoverseBox& truth : sweep.truths) {
        if (truth.category != box.category) continue;
        const Eigen::Vector4d &p = truth.rotation_wxyz, &q = box.rotation_wxyz;
        nearest =
            std::min(nearest, (truth.center_m - box.center_m).norm() +
                                  (truth.size_m - box.size_m).norm() + 1 - std::abs(p.dot(q)));
      }
      EXPECT_LT(nearest, 1e-3);
      ++tested;
    }
  }
  EXPECT_GT(tested, 500);
}

TEST(Results, TruthAsKittiResultsLiesOnItsLabels) {
  ATHANOR_SKIP_WITHOUT("kitti");
  const auto folder = SharedData("kitti/object");
  const std::unique_ptr<LogDataset> logs = OpenLogs(folder);
  int tested = 0;
  for (int i = 0; i < static_cast<int>(logs->names().size()); ++i) {
    const Log log = logs->Read(i);
    if (log.frames[0].boxes.empty()) continue;
    const std::vector<KittiLabel> labels = ParseKittiLabels(
        FormatKittiLabels(KittiResults(log, 0, TruthAsDetected(log, 0, true))), "results");
    const std::vector<KittiLabel> truth = ReadKittiLabels(std::filesystem::path(log.source) /
                                                          "label_2" / (log.frames[0].id + ".txt"));
    for (const KittiLabel& label : labels) {
      double nearest = INFINITY, turned = 0, off_px = 0;
      for (const KittiLabel& other : truth) {
        if (!other.has_box3()) continue;
        const double distance = (other.bottom_in_camera_m - label.bottom_in_camera_m).norm() +
                                std::abs(other.length_m - label.length_m) +
                                std::abs(other.height_m - label.height_m);
        if (distance >= nearest) continue;
        nearest = distance;
        turned = std::abs(std::remainder(other.rotation_y_rad - label.rotation_y_rad, 2 * M_PI));
        off_px = 0;
        for (int k = 0; k < 4; ++k) {
          off_px = std::max(off_px, std::abs(other.box_px[k] - label.box_px[k]));
        }
      }
      // Boxes stand upright in the frame of the LiDAR, which is tilted against the camera's.
      EXPECT_LT(nearest, 0.06);
      EXPECT_LT(turned, 0.02);
      EXPECT_LT(off_px, 20);
      EXPECT_EQ(label.score, 1);
      ++tested;
    }
  }
  EXPECT_GE(tested, 3);
}

}  // namespace
}  // namespace athanor
