#include "athanor/detection/profusion3d/frame_sample.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <filesystem>
#include <memory>
#include <numeric>

#include "athanor/base/test_util.h"
#include "athanor/detection/evaluation/nuscenes_eval.h"
#include "athanor/detection/profusion3d/class_names.h"
#include "athanor/detection/profusion3d/sample_test_util.h"

namespace athanor {
namespace {

namespace fs = std::filesystem;
using ::testing::AllOf;
using ::testing::HasSubstr;

FrameSampleOptions SmallOptions() {
  FrameSampleOptions options;
  options.width_px = 64;
  options.height_px = 24;
  return options;
}

TEST(FrameSample, MovesPointsAndBoxesToTheEgoFrame) {
  Log log = OpenTestLog(TestFolder("moves"));
  log.frames[1].world_from_ego = TestPose(105, -20, 0.5);
  const int sweep = log.frames[1].readings[1];
  log.readings[sweep].world_from_ego = log.frames[1].world_from_ego;
  log.frames[1].boxes[0].velocity_mps = {3, 4};
  FrameSampleOptions options = SmallOptions();
  options.sweeps = 1;
  const DetectionSample sample = MakeFrameSample(log, 1, options);
  // The sweep less the return from the car itself, 1.5 m up.
  const LidarSweep expected = TestSweep();
  ASSERT_EQ(sample.points.size(0), expected.size() - 1);
  for (int64_t i = 0; i < sample.points.size(0); ++i) {
    EXPECT_NEAR(sample.points[i][0].item<float>(), expected.points[i].x(), 1e-5);
    EXPECT_NEAR(sample.points[i][2].item<float>(), expected.points[i].z() + 1.5f, 1e-5);
    EXPECT_NEAR(sample.points[i][3].item<float>(), expected.intensity[i], 1e-6);
    EXPECT_EQ(sample.points[i][4].item<float>(), 0);
  }
  // The dog is no class of the benchmark.
  ASSERT_EQ(sample.boxes.size(0), 1);
  EXPECT_EQ(sample.labels[0].item<int64_t>(), 0);
  const Eigen::Rotation2Dd ego_from_world(-0.5);
  const Eigen::Vector2d center = ego_from_world * Eigen::Vector2d(114 - 105, 0);
  const Eigen::Vector2d velocity = ego_from_world * Eigen::Vector2d(3, 4);
  const double rows[9] = {center.x(), center.y(), 1.6,          4.5,         1.9,
                          1.6,        0.1 - 0.5,  velocity.x(), velocity.y()};
  for (int i = 0; i < 9; ++i) EXPECT_NEAR(sample.boxes[0][i].item<float>(), rows[i], 1e-4) << i;
}

TEST(FrameSample, AttributesStayWithTheirBoxes) {
  Log log = OpenTestLog(TestFolder("attributes"));
  const LogBox car = log.frames[0].boxes[0];
  log.frames[0].boxes.clear();
  const auto add = [&](double x, int track, std::vector<std::string> attributes) {
    LogBox box = car;
    box.track = track;
    box.box.frame_from_box.translation.x() = 100 + x;
    box.attributes = std::move(attributes);
    log.frames[0].boxes.push_back(box);
  };
  add(90, 0, {"vehicle.stopped"});  // out of range
  add(20, 2, {"pedestrian.standing"});
  add(12, 0, {"vehicle.flying"});
  add(15, 1, {"pedestrian.moving"});  // a dog, which is no class
  add(25, 0, {});
  add(30, 0, {"vehicle.parked", "vehicle.moving"});
  add(35, 0, {"vehicle.parked"});
  const DetectionSample whole = ReadFrameSample(log, 0, SmallOptions());
  ASSERT_EQ(whole.attributes.size(0), 6);
  EXPECT_EQ(kNuscenesAttributeNames[whole.attributes[0].item<int64_t>()], "vehicle.stopped");
  const DetectionSample sample = MakeFrameSample(log, 0, SmallOptions());
  ASSERT_EQ(sample.attributes.size(0), 5);
  for (const auto& [x, name] : std::vector<std::pair<double, std::string>>{
           {20, "pedestrian.standing"}, {12, ""}, {25, ""}, {30, ""}, {35, "vehicle.parked"}}) {
    const at::Tensor row = (sample.boxes.select(1, 0) - x).abs().argmin();
    const auto attribute = sample.attributes[row.item<int64_t>()].item<int64_t>();
    EXPECT_EQ(attribute, FindNuscenesAttribute(name)) << x;
  }
}

TEST(FrameSample, EarlierSweepsFollowTheMotionOfTheCar) {
  const Log log = OpenTestLog(TestFolder("sweeps"));
  FrameSampleOptions options = SmallOptions();
  options.sweeps = 3;
  const DetectionSample sample = MakeFrameSample(log, 2, options);
  const int64_t each = TestSweep().size() - 1;
  ASSERT_EQ(sample.points.size(0), 3 * each);
  for (int k = 0; k < 3; ++k) {
    // 10 m/s: a sweep 0.125 s earlier was taken 1.25 m further back.
    EXPECT_NEAR(sample.points[k * each][0].item<float>(), 5 - 1.25 * k, 1e-4);
    EXPECT_NEAR(sample.points[k * each][4].item<float>(), -0.125 * k, 1e-6);
  }
  options.max_age_s = 0.2;
  EXPECT_EQ(MakeFrameSample(log, 2, options).points.size(0), 2 * each);
}

TEST(FrameSample, ThePixelOfAPointIsWhereThePictureShowsIt) {
  const fs::path root = TestFolder("pixels");
  Log log = OpenTestLog(root);
  LogSensor& sensor = log.sensors[0];
  sensor.camera = {CameraModel::kPinhole, 1600, 900, {1260, 1265, 810.5, 480.25}};
  // The car moved and turned between the picture and the sweep.
  LogReading& picture = log.readings[log.frames[1].readings[0]];
  picture.world_from_ego = TestPose(105.7, -20.1, 0.03);
  const Rigid3 camera_from_world = (picture.world_from_ego * sensor.ego_from_sensor).Inverse();
  for (const Eigen::Vector3d& point :
       {Eigen::Vector3d(20, 1, 1), Eigen::Vector3d(12, -2, 0.5), Eigen::Vector3d(30, 6, 2)}) {
    const auto pixel =
        sensor.camera.Project(camera_from_world * (log.frames[1].world_from_ego * point));
    ASSERT_TRUE(pixel);
    // A dot of 24 x 24 pixels there.
    Image image(1600, 900, 3);
    const Eigen::Vector2d corner = (*pixel - Eigen::Vector2d(12, 12)).array().round();
    for (int y = 0; y < 24; ++y) {
      for (int x = 0; x < 24; ++x) {
        for (int c = 0; c < 3; ++c) image.at(int(corner.x()) + x, int(corner.y()) + y)[c] = 200;
      }
    }
    const Eigen::Vector2d rounding = *pixel - corner - Eigen::Vector2d(12, 12);
    WriteImage(picture.path, image);
    for (const bool is_mirrored : {false, true}) {
      const FrameSampleOptions options;
      ImageWindow window = FitWindow(sensor.camera, options, 1.15);
      window.is_mirrored = is_mirrored;
      const DetectionSample sample = ReadFrameSample(log, 1, options, {&window, 1});
      Eigen::Vector2d sum(0, 0);
      double weight = 0;
      const at::Tensor red = sample.images[0][0].to(at::kDouble);
      for (int y = 0; y < options.height_px; ++y) {
        for (int x = 0; x < options.width_px; ++x) {
          const double value = red.data_ptr<double>()[y * options.width_px + x];
          sum += value * Eigen::Vector2d(x + 0.5, y + 0.5);
          weight += value;
        }
      }
      ASSERT_GT(weight, 0);
      const auto seen = SeePoint(sample, 0, point);
      ASSERT_TRUE(seen);
      const double scale = window.scaled_width_px / 1600.0;
      const Eigen::Vector2d off(scale * rounding.x() * (is_mirrored ? -1 : 1),
                                scale * rounding.y());
      EXPECT_LT((seen->pixel - off - sum / weight).norm(), 0.03) << is_mirrored;
    }
  }
}

TEST(FrameSample, FitsPicturesAsTheHeaderSays) {
  const FrameSampleOptions options;
  const Camera nuscenes = {CameraModel::kPinhole, 1600, 900, {1266, 1266, 816, 491}};
  ImageWindow window = FitWindow(nuscenes, options);
  EXPECT_EQ(window.scaled_width_px, 704);
  EXPECT_EQ(window.scaled_height_px, 396);
  EXPECT_EQ(window.left_px, 0);
  EXPECT_EQ(window.top_px, 140);
  // Upright as Argoverse 2's front camera: the horizon stays in.
  const Camera upright = {CameraModel::kPinhole, 1550, 2048, {1686, 1686, 775, 1024}};
  window = FitWindow(upright, options);
  EXPECT_EQ(window.scaled_width_px, 704);
  EXPECT_NEAR(1024 * 704 / 1550.0 - window.top_px, 64, 1);
  // Wider than the network's: cut on both sides.
  window = FitWindow({CameraModel::kPinhole, 1242, 375, {721, 721, 610, 173}}, options);
  EXPECT_EQ(window.scaled_height_px, 256);
  EXPECT_EQ(window.left_px, 72);
  EXPECT_EQ(window.top_px, 0);
}

TEST(FrameSample, TakesTheLensOut) {
  Log log = OpenTestLog(TestFolder("lens"));
  log.sensors[0].camera.model = CameraModel::kOpenCv;
  log.sensors[0].camera.parameters = {50, 50, 32, 18, -0.1, 0.01, 0, 0};
  const Camera pinhole = PinholeOf(log.sensors[0].camera);
  const DetectionSample sample = MakeFrameSample(log, 1, SmallOptions());
  EXPECT_TRUE(pinhole.IsPinhole());
  EXPECT_NEAR(sample.intrinsics[0][0][0].item<double>(), 50.0 * 64 / pinhole.width_px, 0.5);
  EXPECT_EQ(sample.has_camera[0].item<int>(), 1);
}

TEST(FrameSample, WhatIsMissingIsBlackOrEmpty) {
  const fs::path root = TestFolder("missing");
  Log log = OpenTestLog(root);
  fs::remove(log.readings[log.frames[1].readings[0]].path);
  fs::remove(log.readings[log.frames[1].readings[1]].path);
  DetectionSample sample = MakeFrameSample(log, 1, SmallOptions());
  EXPECT_FALSE(sample.has_lidar);
  EXPECT_EQ(sample.points.sizes(), (std::vector<int64_t>{0, 5}));
  EXPECT_EQ(sample.has_camera[0].item<int>(), 0);
  EXPECT_EQ(sample.images.sum().item<int64_t>(), 0);
  EXPECT_EQ(sample.boxes.size(0), 1);
  // Its place is known all the same.
  EXPECT_NEAR(sample.camera_from_ego[0].det().item<double>(), 1, 1e-5);
  // Sensors without a reading, as in a set without pictures, and a car without sensors.
  log.frames[2].readings = {-1, -1};
  sample = MakeFrameSample(log, 2, SmallOptions());
  EXPECT_FALSE(sample.has_lidar);
  EXPECT_EQ(sample.has_camera[0].item<int>(), 0);
  log.sensors.clear();
  sample = MakeFrameSample(log, 0, SmallOptions());
  EXPECT_EQ(sample.images.sizes(), (std::vector<int64_t>{0, 3, 24, 64}));
}

TEST(FrameSample, BoxesWithoutPointsOrOutOfRangeAreLeftOut) {
  Log log = OpenTestLog(TestFolder("boxes"));
  log.frames[0].boxes.resize(3, log.frames[0].boxes[0]);
  log.frames[0].boxes[1].num_lidar_points = 0;
  log.frames[0].boxes[2].box.frame_from_box.translation.x() += 50;  // at 60 m
  FrameSampleOptions options = SmallOptions();
  EXPECT_EQ(MakeFrameSample(log, 0, options).boxes.size(0), 1);
  options.with_empty_boxes = true;
  EXPECT_EQ(MakeFrameSample(log, 0, options).boxes.size(0), 2);
  options.range_m = {-100, -54, -5, 8, 54, 3};
  options.margin_m = 1;
  const DetectionSample sample = MakeFrameSample(log, 0, options);
  EXPECT_EQ(sample.boxes.size(0), 0);
  EXPECT_LT(sample.points.select(1, 0).max().item<float>(), 9);
  EXPECT_GT(sample.points.select(1, 0).max().item<float>(), 8.9);
}

TEST(FrameSample, RefusesWhatCannotBe) {
  const fs::path root = TestFolder("refuses");
  const Log good = OpenTestLog(root);
  const auto error = [](const Log& log, int frame) {
    return ErrorOf([&] { MakeFrameSample(log, frame, SmallOptions()); });
  };
  EXPECT_THAT(error(good, 3), HasSubstr("expected a frame of 0 to 3 (excluded), found 3"));
  Log log = good;
  log.sensors[0].ego_from_sensor.rotation.coeffs() *= 1.5;
  EXPECT_THAT(error(log, 1), AllOf(HasSubstr("test-logs: log scene-1: CAM_FRONT: expected a"),
                                   HasSubstr("rotation"), HasSubstr("found one of length 1.5")));
  log = good;
  log.readings[log.frames[1].readings[1]].world_from_ego.translation.x() = NAN;
  EXPECT_THAT(error(log, 1), AllOf(HasSubstr("pose of reading"), HasSubstr("finite position")));
  log = good;
  log.sensors[0].camera.width_px = 65;
  EXPECT_THAT(error(log, 1), AllOf(HasSubstr(".png: expected 65x36 pixels as its camera CAM_FRONT"),
                                   HasSubstr("found 64x36")));
  WriteFile(good.readings[good.frames[1].readings[1]].path, "short");
  EXPECT_THAT(error(good, 1), HasSubstr(".pcd.bin"));
}

TEST(FrameSample, BoxesOfARealKeyFrameHoldTheirPoints) {
  ATHANOR_SKIP_WITHOUT("nuscenes_keyframe");
  const Log log = OpenLogs(SharedData("nuscenes_keyframe"))->Read(0);
  FrameSampleOptions options;
  const DetectionSample sample = ReadFrameSample(log, 0, options);
  const FrameBoxes boxes = BoxesOfFrame(log, 0, options);
  const std::vector<int> counts = CountPoints(sample);
  ASSERT_GT(counts.size(), 40u);
  int counted = 0, annotated = 0;
  for (size_t i = 0; i < counts.size(); ++i) {
    const int expected = log.frames[0].boxes[boxes.index[i]].num_lidar_points;
    // Sample boxes stand upright in the ego frame, the annotated ones in the world.
    EXPECT_LE(std::abs(counts[i] - expected), 3 + expected / 10) << i;
    counted += counts[i];
    annotated += expected;
  }
  EXPECT_NEAR(counted, annotated, 0.03 * annotated);

  // Points and boxes appear where the whole chain of the log puts them.
  ASSERT_EQ(sample.images.sizes(), (std::vector<int64_t>{6, 3, 256, 704}));
  const std::vector<int> cameras = CamerasOf(log);
  int seen = 0;
  for (int64_t i = 0; i < sample.points.size(0); i += 97) {
    const float* p = sample.points.data_ptr<float>() + i * kPointColumns;
    const Eigen::Vector3d point(p[0], p[1], p[2]);
    for (int c = 0; c < 6; ++c) {
      const LogSensor& sensor = log.sensors[cameras[c]];
      const LogReading& picture = log.readings[log.frames[0].readings[cameras[c]]];
      const auto pixel =
          sensor.camera.Project((picture.world_from_ego * sensor.ego_from_sensor).Inverse() *
                                (log.frames[0].world_from_ego * point));
      const auto found = SeePoint(sample, c, point);
      if (!pixel || !found || found->depth_m < 1) continue;
      const Eigen::Vector2d expected(pixel->x() * 0.44, pixel->y() * 0.44 - 140);
      if (expected.cwiseAbs().maxCoeff() > 1000) continue;
      EXPECT_LT((found->pixel - expected).norm(), 0.01);
      ++seen;
    }
  }
  EXPECT_GT(seen, 200);
}

TEST(FrameSample, BoxesOfArgoverseHoldTheirPoints) {
  ATHANOR_SKIP_WITHOUT("argoverse2");
  const Log log = OpenLogs(SharedData("argoverse2/sensor_val_7fab2350"))->Read(0);
  int tested = 0;
  for (size_t f = 0; f < log.frames.size(); ++f) {
    const int reading = log.frames[f].readings[log.MainLidar()];
    if (reading < 0 || !fs::exists(log.readings[reading].path) || log.frames[f].boxes.empty()) {
      continue;
    }
    FrameSampleOptions options;
    options.sweeps = 1;
    const DetectionSample sample = ReadFrameSample(log, static_cast<int>(f), options);
    const FrameBoxes boxes = BoxesOfFrame(log, static_cast<int>(f), options);
    const std::vector<int> counts = CountPoints(sample);
    int counted = 0, annotated = 0;
    for (size_t i = 0; i < counts.size(); ++i) {
      counted += counts[i];
      annotated += log.frames[f].boxes[boxes.index[i]].num_lidar_points;
    }
    EXPECT_GT(annotated, 1000);
    EXPECT_NEAR(counted, annotated, 0.02 * annotated);
    EXPECT_EQ(sample.has_camera.sum().item<int64_t>(), 0);
    ++tested;
  }
  EXPECT_GE(tested, 1);
}

TEST(FrameSample, KittiBoxesHoldPointsAndLieInTheirPictures) {
  ATHANOR_SKIP_WITHOUT("kitti");
  const std::unique_ptr<LogDataset> logs = OpenLogs(SharedData("kitti/object"));
  int cars = 0;
  for (int i = 0; i < static_cast<int>(logs->names().size()); ++i) {
    const Log log = logs->Read(i);
    const DetectionSample sample = MakeFrameSample(log, 0, {});
    const std::vector<int> counts = CountPoints(sample, 0.1);
    for (int64_t b = 0; b < sample.boxes.size(0); ++b) {
      const Eigen::Vector3d center = BoxOfRow(sample.boxes[b]).frame_from_box.translation;
      if (sample.labels[b].item<int64_t>() != 0 || center.x() > 40) continue;
      EXPECT_GT(counts[b], 20) << log.name << " " << b;
      const auto seen = SeePoint(sample, 0, center);
      ASSERT_TRUE(seen);
      EXPECT_GT(seen->pixel.y(), 0);
      EXPECT_LT(seen->pixel.y(), 256);
      ++cars;
    }
  }
  EXPECT_GE(cars, 1);
}

TEST(ClassNames, KnowTheWordsOfEachSet) {
  EXPECT_EQ(DetectionClassOf("nuscenes", "vehicle.bus.bendy"), FindDetectionClass("bus"));
  EXPECT_EQ(DetectionClassOf("nuscenes_keyframe", "vehicle.car"), 0);
  EXPECT_EQ(DetectionClassOf("nuscenes", "animal"), FindDetectionClass("animal"));
  EXPECT_EQ(DetectionClassOf("nuscenes", "movable_object.debris"), -1);
  EXPECT_EQ(DetectionClassOf("argoverse2", "SCHOOL_BUS"), FindDetectionClass("bus"));
  EXPECT_EQ(DetectionClassOf("argoverse2", "BICYCLIST"), -1);
  EXPECT_EQ(DetectionClassOf("kitti", "Van"), 0);
  EXPECT_EQ(DetectionClassOf("kitti", "Tram"), -1);
  // What stands for a class in results is of that class.
  for (int i = 0; i < kNumDetectionClasses; ++i) {
    for (const auto& [dataset, name] :
         {std::pair("argoverse2", ArgoverseCategoryOf(i)), std::pair("kitti", KittiTypeOf(i))}) {
      if (!name.empty()) {
        EXPECT_EQ(DetectionClassOf(dataset, name), i);
      }
    }
  }
}

}  // namespace
}  // namespace athanor
