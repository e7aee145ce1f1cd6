#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <Eigen/Dense>
#include <cmath>
#include <nlohmann/json.hpp>

#include "athanor/base/files.h"
#include "athanor/base/random.h"
#include "athanor/base/test_util.h"
#include "athanor/datasets/log_test_util.h"
#include "athanor/loop/labeling/label_set.h"
#include "athanor/loop/labeling/offline_tracker.h"
#include "athanor/loop/labeling/people_queue.h"
#include "athanor/loop/labeling/precision.h"

namespace athanor {
namespace {

namespace fs = std::filesystem;
using ::testing::HasSubstr;

// The likeliest path by solving for all positions and velocities at once.
TEST(SmoothMotion, IsWeightedLeastSquares) {
  Random random(1);
  const int n = 12;
  const double sigma = 0.4, acceleration = 2;
  std::vector<double> times, measured;
  for (int i = 0; i < n; ++i) {
    times.push_back((i == 0 ? 0 : times.back()) + random.Uniform(0.3f, 0.7f));
    const bool is_gap = i == 4 || i == 5;
    measured.push_back(is_gap ? std::nan("") : 3 * times[i] + 0.5 * random.Normal());
  }
  Eigen::MatrixXd information = Eigen::MatrixXd::Zero(2 * n, 2 * n);
  Eigen::VectorXd right = Eigen::VectorXd::Zero(2 * n);
  // The prior of the first: where it was measured, 1 km or so, and 15 m/s.
  information(0, 0) += 1e-6;
  right(0) += 1e-6 * measured[0];
  information(1, 1) += 1 / 225.0;
  for (int i = 0; i < n; ++i) {
    if (!std::isnan(measured[i])) {
      information(2 * i, 2 * i) += 1 / (sigma * sigma);
      right(2 * i) += measured[i] / (sigma * sigma);
    }
    if (i == 0) continue;
    const double dt = times[i] - times[i - 1];
    Eigen::Matrix<double, 2, 4> step;  // next - F * this
    step << -1, -dt, 1, 0, 0, -1, 0, 1;
    const Eigen::Vector2d gain(0.5 * dt * dt, dt);
    const Eigen::Matrix2d noise =
        acceleration * acceleration * gain * gain.transpose() + 1e-6 * Eigen::Matrix2d::Identity();
    information.block(2 * i - 2, 2 * i - 2, 4, 4) += step.transpose() * noise.inverse() * step;
  }
  const Eigen::VectorXd best = information.ldlt().solve(right);
  const auto smoothed = internal::SmoothMotion(times, measured, sigma, acceleration);
  for (int i = 0; i < n; ++i) {
    EXPECT_NEAR(smoothed[i].mean[0], best[2 * i], 1e-3) << i;
    EXPECT_NEAR(smoothed[i].mean[1], best[2 * i + 1], 1e-3) << i;
  }
}

NuscenesBox CarAt(double x, double y, double score) {
  NuscenesBox box;
  box.translation_m = {x, y, 1};
  box.size_wlh_m = {2, 4, 1.5};
  box.score = score;
  box.velocity_mps.setConstant(std::nan(""));
  return box;
}

TEST(TrackWithHindsight, PastAndFutureDecide) {
  // A car at 10 m/s along x with noise: unsure at first, missing in the middle; and a ghost.
  Random random(2);
  std::vector<std::vector<NuscenesBox>> frames(20);
  std::vector<int64_t> times_us;
  for (int f = 0; f < 20; ++f) {
    times_us.push_back(500'000 * f);
    if (f == 9 || f == 10) continue;
    NuscenesBox car =
        CarAt(5 * f + 0.4 * random.Normal(), 0.4 * random.Normal(), f < 4 ? 0.1 : 0.8);
    car.velocity_mps = {10 + random.Normal(), random.Normal()};
    const bool is_flipped = f % 5 == 4;
    car.rotation_wxyz = is_flipped ? Eigen::Vector4d(0, 0, 0, 1) : Eigen::Vector4d(1, 0, 0, 0);
    frames[f].push_back(car);
    NuscenesBox twin = car;
    twin.translation_m.x() += 0.2;
    twin.score *= 0.5;
    frames[f].push_back(twin);
  }
  frames[3].push_back(CarAt(50, 30, 0.9));
  const auto tracked = TrackWithHindsight(frames, times_us);
  double raw = 0, smooth = 0;
  for (int f = 0; f < 20; ++f) {
    ASSERT_EQ(tracked[f].size(), 1u) << f;  // from the first box on, through the gap, no ghost
    const TrackedBox& box = tracked[f][0];
    EXPECT_EQ(box.is_filled, f == 9 || f == 10);
    EXPECT_NEAR(box.box.velocity_mps.x(), 10, 2);
    const double yaw = 2 * std::atan2(box.box.rotation_wxyz[3], box.box.rotation_wxyz[0]);
    EXPECT_NEAR(std::remainder(yaw, 2 * M_PI), 0, 0.2) << f;
    smooth += std::pow(box.box.translation_m.x() - 5 * f, 2);
    if (!frames[f].empty()) raw += std::pow(frames[f][0].translation_m.x() - 5 * f, 2) * 20 / 18;
  }
  EXPECT_LT(smooth, raw);
  EXPECT_GT(tracked[0][0].box.score, 0.4);  // what comes later vouches for it
  EXPECT_LT(tracked[0][0].box.score, tracked[8][0].box.score);
}

TEST(TrackWithHindsight, RefusesBadInput) {
  const std::vector<std::vector<NuscenesBox>> frames = {{CarAt(0, 0, 1)}, {CarAt(0, 0, 1)}};
  const std::vector<int64_t> back = {5, 5}, good = {5, 6};
  EXPECT_THAT(ErrorOf([&] { TrackWithHindsight(frames, back); }),
              HasSubstr("frame 1: expected a time after 5 us, found 5"));
  auto bad = frames;
  bad[1][0].score = std::nan("");
  EXPECT_THAT(ErrorOf([&] { TrackWithHindsight(bad, good); }), HasSubstr("frame 1"));
}

TEST(LowerBound, IsExact) {
  // Published: Clopper-Pearson by quantiles of the beta distribution.
  EXPECT_NEAR(LowerBound(10, 10, 0.95), std::pow(0.05, 0.1), 1e-9);  // closed form
  EXPECT_NEAR(LowerBound(1, 20, 0.95), 1 - std::pow(0.95, 1 / 20.0), 1e-9);
  EXPECT_EQ(LowerBound(0, 5, 0.95), 0);
  // By the sum of the binomial distribution.
  for (const auto& [hits, trials] : {std::pair(45, 50), {180, 200}, {7, 30}}) {
    const double p = LowerBound(hits, trials, 0.9);
    double tail = 0;
    for (int k = hits; k <= trials; ++k) {
      tail += std::exp(std::lgamma(trials + 1) - std::lgamma(k + 1) - std::lgamma(trials - k + 1) +
                       k * std::log(p) + (trials - k) * std::log1p(-p));
    }
    EXPECT_NEAR(tail, 0.1, 1e-6);
  }
}

TEST(ChooseThresholds, HoldsItsPromise) {
  // Labels that are right with probability 1 - (1 - c)^2 at confidence c: how often is the
  // precision beyond the chosen threshold below what was promised?
  int broken = 0, chosen = 0;
  for (uint64_t seed = 0; seed < 400; ++seed) {
    Random random(seed);
    std::vector<AuditedLabel> labels;
    for (int i = 0; i < 400; ++i) {
      const double confidence = std::sqrt(random.Uniform());
      labels.push_back({0, confidence, random.Uniform() < 1 - std::pow(1 - confidence, 2)});
    }
    const ClassThreshold threshold = ChooseThresholds(labels, 0.9, 0.95)[0];
    if (threshold.threshold > 1) continue;
    ++chosen;
    // The mean of 1 - (1 - c)^2 under the density 2c on [t, 1].
    const double t = threshold.threshold;
    const double integral = 4.0 / 3 * (1 - t * t * t) - 0.5 * (1 - t * t * t * t);
    broken += integral / (1 - t * t) < 0.9;
    EXPECT_GE(threshold.lower_bound, 0.9);
  }
  EXPECT_GT(chosen, 100);
  EXPECT_LE(broken, 20);  // 5 %
  EXPECT_EQ(ChooseThresholds({}, 0.9, 0.95)[3].threshold, ClassThreshold::kNever);
}

LabelSet SomeLabels(const Log& log) {
  std::vector<std::vector<NuscenesBox>> boxes;
  for (const LogFrame& frame : log.frames) {
    const Eigen::Vector3d& at = frame.boxes[0].box.frame_from_box.translation;
    boxes.push_back({CarAt(at.x(), at.y(), 0.9)});
    boxes.back()[0].translation_m.z() = at.z();
    boxes.back()[0].velocity_mps = {8, 0};
    boxes.back()[0].attribute = static_cast<int8_t>(FindNuscenesAttribute("vehicle.moving"));
    NuscenesBox person = CarAt(at.x() + 6, at.y() + 1, 0.4);
    person.class_index = static_cast<int8_t>(FindNuscenesClass("pedestrian"));
    person.size_wlh_m = {0.7, 0.7, 1.7};
    person.velocity_mps = {8, 0};
    boxes.back().push_back(person);
  }
  LabelSet labels;
  labels.frames = LabelLog(log, boxes, {});
  labels.provenance = {"auto", "test", "00", NameFrames(labels.frames), "", "", {}};
  return labels;
}

TEST(LabelSet, VersionsAreTheirContent) {
  const fs::path folder = TestFolder("labels");
  const Log log = OpenLogs(WriteTestTown(folder / "town", 6))->Read(0);
  const LabelSet labels = SomeLabels(log);
  const std::string id = StoreLabels(folder / "labels", labels);
  EXPECT_EQ(StoreLabels(folder / "labels", labels), id);
  const fs::path path = folder / "labels" / (id + ".labels");
  const LabelSet read = ReadLabels(path);
  EXPECT_EQ(EncodeLabels(read), EncodeLabels(labels));
  std::string bytes = ReadFile(path);
  bytes[bytes.size() / 2] ^= 1;
  WriteFile(path, bytes);
  EXPECT_THAT(ErrorOf([&] { ReadLabels(path); }), HasSubstr("damaged"));
  EXPECT_THAT(ErrorOf([] { DecodeLabels("{}", "x"); }), HasSubstr("x:1: "));
  EXPECT_THAT(ErrorOf([] { DecodeLabels("", "x"); }), HasSubstr("x: "));
}

TEST(LabelSet, AuditAcceptsWhatIsRight) {
  const fs::path folder = TestFolder("audit");
  const Log log = OpenLogs(WriteTestTown(folder / "town", 80))->Read(0);
  const LabelSet labels = SomeLabels(log);
  const LabelAudit audit = AuditLabels(labels, {&log}, 0.9, 0.95);
  const int car = FindNuscenesClass("car"), person = FindNuscenesClass("pedestrian");
  EXPECT_LE(audit.thresholds[car].threshold, 0.9);
  EXPECT_EQ(audit.thresholds[car].right, 80);
  EXPECT_EQ(audit.thresholds[person].threshold, ClassThreshold::kNever);  // there is none
  const LabelSet accepted = AcceptLabels(labels, "id", audit.thresholds);
  EXPECT_EQ(accepted.CountAccepted(), 80);
  EXPECT_EQ(accepted.provenance.parent, "id");
  const LabelScore score = ScoreLabels(accepted, {&log});
  EXPECT_EQ(score.right[car], 80);
  EXPECT_EQ(score.accepted[person], 0);
  EXPECT_EQ(audit.found[car], 80);
  // What counts: what is near, and no box has a million points.
  const LabelAudit near = AuditLabels(labels, {&log}, 0.9, 0.95, {.range_m = 1});
  EXPECT_GT(near.truths[car], 0);
  EXPECT_LT(near.truths[car], 80);
  EXPECT_LT(near.thresholds[car].audited, 80);
  const LabelAudit dense = AuditLabels(labels, {&log}, 0.9, 0.95, {.least_points = 1000000});
  EXPECT_EQ(dense.truths[car], 0);
  EXPECT_EQ(dense.right[car], 80);  // what needs no label may have one

  // A data set that a detector can be trained on.
  Log trained = WithLabels(log, accepted);
  for (LogReading& reading : trained.readings) {
    reading.path = fs::relative(reading.path, folder / "town");
  }
  fs::copy(folder / "town", folder / "out", fs::copy_options::recursive);
  fs::remove_all(folder / "out" / "v1.0-mini");
  NuscenesWriter writer(folder / "out");
  writer.AddScene(trained);
  writer.Finish();
  const Log read = OpenLogs(folder / "out")->Read(0);
  ASSERT_EQ(read.frames.size(), 80u);
  for (size_t f = 0; f < 80; ++f) {
    ASSERT_EQ(read.frames[f].boxes.size(), 1u);
    const LogBox& box = read.frames[f].boxes[0];
    EXPECT_EQ(read.tracks[box.track].category, "vehicle.car");
    EXPECT_GE(box.num_lidar_points, 0);
    const Eigen::Vector3d truth = log.frames[f].boxes[0].box.frame_from_box.translation;
    EXPECT_LT((box.box.frame_from_box.translation - truth).norm(), 0.3);
  }
}

TEST(PeopleQueue, RareAndDoubtfulFirstAndEachTrackOnce) {
  LabelSet labels;
  for (int f = 0; f < 10; ++f) {
    FrameLabels& frame = labels.frames.emplace_back();
    frame.log = "a";
    frame.frame = std::to_string(f);
    Label label;
    label.box = CarAt(0, 0, f < 5 ? 0.5 : 0.95);
    label.track = f < 4 ? "1" : std::to_string(f);
    frame.labels = {label};
    if (f == 9) {
      label.box.class_index = static_cast<int8_t>(FindNuscenesClass("animal"));
      label.box.score = 0.6;
      frame.labels.push_back(label);
    }
  }
  const auto queue = QueueForPeople(labels, 10);
  EXPECT_EQ(queue.at(0).index, 9u);
  EXPECT_EQ(queue.at(1).index, 0u);
  EXPECT_EQ(queue.at(2).index, 4u);  // not 1: the same track as 0
  for (size_t i = 1; i < queue.size(); ++i) EXPECT_LE(queue[i].gain, queue[i - 1].gain);
}

TEST(PeopleQueue, GoesOutAndComesBackAsJson) {
  const fs::path folder = TestFolder("json");
  const Log log = OpenLogs(WriteTestTown(folder / "town", 6))->Read(0);
  const LabelSet labels = SomeLabels(log);
  const auto queue = QueueForPeople(labels, 2);
  ASSERT_EQ(queue.size(), 2u);
  auto json = nlohmann::json::parse(EncodeQueueJson(labels, queue));
  json["frames"][0]["labels"].erase(1);               // no such person
  json["frames"][1]["labels"][0]["class"] = "truck";  // no car
  const ImportedLabels imported = ImportQueueJson(labels, "parent", json.dump(), "queue.json");
  EXPECT_EQ(imported.frames, 2);
  EXPECT_EQ(imported.removed, 1);
  EXPECT_EQ(imported.changed, 1);
  EXPECT_EQ(imported.kept, 2);
  EXPECT_EQ(imported.labels.provenance.parent, "parent");
  EXPECT_EQ(imported.labels.CountAccepted(), 3);
  EXPECT_TRUE(imported.labels.frames[queue[0].index].is_complete);
  EXPECT_THAT(ErrorOf([&] { ImportQueueJson(labels, "", "{\"frames\": 3", "queue.json"); }),
              HasSubstr("queue.json: "));
  json["frames"][0]["time_us"] = 5;
  EXPECT_THAT(ErrorOf([&] { ImportQueueJson(labels, "", json.dump(), "queue.json"); }),
              HasSubstr("us, found scene-0001 and 5"));
  json["frames"][0]["frame"] = "elsewhere";
  EXPECT_THAT(ErrorOf([&] { ImportQueueJson(labels, "", json.dump(), "queue.json"); }),
              HasSubstr("elsewhere"));
}

TEST(PeopleQueue, GoesOutAndComesBackAsCocoAndNuscenes) {
  const fs::path folder = TestFolder("coco");
  const Log log = OpenLogs(WriteTestTown(folder / "town", 6))->Read(0);
  const LabelSet labels = SomeLabels(log);
  const auto queue = QueueForPeople(labels, 6);
  auto json = nlohmann::json::parse(EncodeQueueCoco(labels, queue, {&log}));
  ASSERT_EQ(json["images"].size(), 6u);
  ASSERT_GE(json["annotations"].size(), 6u);
  int64_t cars = 0;
  nlohmann::json kept = nlohmann::json::array();
  for (auto annotation : json["annotations"]) {
    const bool is_car = annotation["category_id"] == 1;
    cars += is_car;
    annotation["id"] = 1000 - annotation["id"].get<int>();  // tools number anew
    if (is_car) kept.push_back(annotation);
  }
  kept.push_back({{"id", 5}, {"image_id", 1}, {"category_id", 1}, {"bbox", {0, 0, 3, 3}}});
  json["annotations"] = kept;
  const ImportedLabels imported =
      ImportQueueCoco(labels, "parent", json.dump(), "coco.json", {&log});
  EXPECT_EQ(imported.frames, 6);
  EXPECT_EQ(imported.kept, cars);
  EXPECT_EQ(imported.flat, 1);
  EXPECT_GT(imported.removed, 0);
  EXPECT_EQ(imported.labels.CountAccepted(), cars);

  // Only the pictures of a camera that looks back come back: what the other one shows is nobody's
  // opinion yet.
  Log two = log;
  two.sensors.push_back(log.sensors[0]);
  two.sensors[2].channel = "CAM_BACK";
  two.sensors[2].ego_from_sensor.rotation =
      Eigen::AngleAxisd(M_PI, Eigen::Vector3d::UnitZ()) * log.sensors[0].ego_from_sensor.rotation;
  for (LogFrame& frame : two.frames) {
    LogReading reading = two.readings[frame.readings[0]];
    reading.sensor = 2;
    frame.readings.push_back(static_cast<int>(two.readings.size()));
    two.readings.push_back(reading);
  }
  json = nlohmann::json::parse(EncodeQueueCoco(labels, queue, {&two}));
  ASSERT_EQ(json["images"].size(), 12u);
  std::erase_if(json["images"].get_ref<nlohmann::json::array_t&>(), [](const auto& image) {
    return image["file_name"].template get<std::string>().find("/CAM_BACK/") == std::string::npos;
  });
  json["annotations"] = nlohmann::json::array();
  const ImportedLabels unseen = ImportQueueCoco(labels, "parent", json.dump(), "c.json", {&two});
  EXPECT_EQ(unseen.frames, 6);
  EXPECT_EQ(unseen.removed, 0);
  for (size_t f = 0; f < labels.frames.size(); ++f) {
    EXPECT_EQ(unseen.labels.frames[f].labels.size(), labels.frames[f].labels.size());
  }

  const ImportedLabels drawn = ImportLogs(labels, "parent", {&log});
  EXPECT_EQ(drawn.frames, 6);
  EXPECT_EQ(drawn.labels.frames[0].labels.size(), 1u);
  EXPECT_EQ(drawn.removed, 6);  // the persons that are not there
  EXPECT_EQ(drawn.labels.CountAccepted(), 6);

  // A batch alone.
  const std::set<std::string> batch = {log.frames[1].id, log.frames[4].id};
  const ImportedLabels some = ImportLogs(labels, "parent", {&log}, &batch);
  EXPECT_EQ(some.frames, 2);
  for (const FrameLabels& frame : some.labels.frames) {
    EXPECT_EQ(frame.is_complete, batch.contains(frame.frame));
  }
}

TEST(KeepFrames, AndTheSweepsBeforeThem) {
  const Log whole = OpenLogs(WriteTestTown(TestFolder("keep"), 8))->Read(0);
  Log log = whole;
  KeepFrames({whole.frames[2].id, whole.frames[6].id, "nobody"}, &log);
  ASSERT_EQ(log.frames.size(), 2u);
  std::set<std::string> kept;
  for (int f = 0; f < 2; ++f) {
    const LogFrame& before = whole.frames[f == 0 ? 2 : 6];
    EXPECT_EQ(log.frames[f].id, before.id);
    EXPECT_EQ(log.frames[f].boxes.size(), before.boxes.size());
    ASSERT_EQ(log.frames[f].readings.size(), before.readings.size());
    for (size_t s = 0; s < before.readings.size(); ++s) {
      EXPECT_EQ(log.readings.at(log.frames[f].readings[s]).path,
                whole.readings[before.readings[s]].path);
      EXPECT_EQ(log.readings[log.frames[f].readings[s]].frame, f);
    }
  }
  for (const LogReading& reading : log.readings) kept.insert(reading.path.string());
  for (const LogReading& reading : whole.readings) {
    const bool is_of_frame = reading.frame == 2 || reading.frame == 6;
    bool is_before = false;
    for (const int f : {2, 6}) {
      const int64_t age_us = whole.frames[f].time_us - reading.time_us;
      is_before |= age_us >= 0 && age_us <= 500'000;
    }
    EXPECT_EQ(kept.contains(reading.path.string()), is_of_frame || is_before) << reading.path;
  }
}

}  // namespace
}  // namespace athanor
