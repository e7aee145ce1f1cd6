#include "athanor/detection/corruption/corrupt_dataset.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>

#include "athanor/base/files.h"
#include "athanor/base/parallel.h"
#include "athanor/base/test_util.h"
#include "athanor/datasets/log_test_util.h"
#include "athanor/datasets/nuscenes_reader.h"

namespace athanor {
namespace {

using ::testing::HasSubstr;
namespace fs = std::filesystem;

class CorruptDatasetTest : public ::testing::Test {
 protected:
  void SetUp() override {
    base_ = fs::path(testing::TempDir()) /
            ("athanor_corrupt_" +
             std::string(testing::UnitTest::GetInstance()->current_test_info()->name()));
    fs::remove_all(base_);
    clean_ = base_ / "clean";
    NuscenesWriter writer(clean_);
    for (const char* name : {"scene-1", "scene-2"}) writer.AddScene(WriteTestLog(clean_, name, 5));
    writer.Finish();
  }
  void TearDown() override { fs::remove_all(base_); }

  static std::map<std::string, std::string> FilesOf(const fs::path& root) {
    std::map<std::string, std::string> files;
    for (const auto& entry : fs::recursive_directory_iterator(root)) {
      if (!entry.is_regular_file()) continue;
      files[entry.path().lexically_relative(root).string()] = ReadFile(entry.path());
    }
    return files;
  }

  fs::path base_, clean_;
};

TEST_F(CorruptDatasetTest, ChangesOnlyWhatTheKindChanges) {
  const auto before = FilesOf(clean_);
  for (int k = 0; k < kNumCorruptions; ++k) {
    const Corruption corruption = {static_cast<CorruptionKind>(k), 3, 7};
    const std::string name(CorruptionName(corruption.kind));
    const CorruptDatasetResult result = CorruptDataset(clean_, base_ / name, corruption);
    auto after = FilesOf(base_ / name);
    EXPECT_EQ(after.erase("corruption.json"), 1u);
    ASSERT_EQ(after.size(), before.size()) << name;
    int64_t changed = 0, tables = 0;
    for (const auto& [path, bytes] : before) {
      ASSERT_TRUE(after.contains(path)) << name << path;
      const bool is_same = after[path] == bytes;
      if (path.ends_with(".json")) {
        tables += !is_same;
      } else {
        changed += !is_same;
      }
      if (is_same && !path.ends_with(".png") && !path.ends_with(".bin")) {
        EXPECT_TRUE(fs::equivalent(clean_ / path, base_ / name / path)) << name << path;
      }
    }
    EXPECT_EQ(tables, corruption.kind == CorruptionKind::kExtrinsics ? 1 : 0) << name;
    EXPECT_LE(changed, result.changed) << name;
    // Every file of the test log is the same, so that a stale one cannot be told; all its points
    // are ahead.
    const bool is_unseen = corruption.kind == CorruptionKind::kFieldLoss ||
                           corruption.kind == CorruptionKind::kTemporalMisalignment ||
                           corruption.kind == CorruptionKind::kStaleLidar ||
                           corruption.kind == CorruptionKind::kStaleCameras;
    if (corruption.kind != CorruptionKind::kExtrinsics) {
      EXPECT_GT(result.changed, 0) << name;
    }
    if (!is_unseen && corruption.kind != CorruptionKind::kExtrinsics) {
      EXPECT_GT(changed, 0) << name;
    }
    EXPECT_EQ(OpenNuscenesLogs(base_ / name)->Read(1).frames.size(), 5u);
  }
  EXPECT_EQ(FilesOf(clean_), before);
}

TEST_F(CorruptDatasetTest, GoesOnAndIsTheSameWhateverTheThreads) {
  const Corruption corruption = {CorruptionKind::kFog, 2};
  SetNumThreads(1);
  const auto first = CorruptDataset(clean_, base_ / "a", corruption);
  SetNumThreads(0);
  CorruptDataset(clean_, base_ / "b", corruption);
  const auto a = FilesOf(base_ / "a");
  EXPECT_EQ(a, FilesOf(base_ / "b"));
  EXPECT_EQ(first.present, 0);
  // As if stopped in between: no scene.json, some files missing.
  fs::remove(base_ / "b" / "v1.0-mini" / "scene.json");
  fs::remove_all(base_ / "b" / "samples" / "LIDAR_TOP");
  const auto again = CorruptDataset(clean_, base_ / "b", corruption);
  EXPECT_EQ(again.present, again.changed - 10);
  EXPECT_EQ(a, FilesOf(base_ / "b"));
  EXPECT_THAT(ErrorOf([&] {
                CorruptDataset(clean_, base_ / "b", {CorruptionKind::kSnow, 2});
              }),
              HasSubstr("expected the same corruption"));
  const Image sheet = DrawBeforeAfter(clean_, base_ / "b", corruption);
  EXPECT_GT(sheet.width, 1400);
}

TEST_F(CorruptDatasetTest, RefusesFoldersThatAreWrong) {
  const Corruption corruption = {CorruptionKind::kFog, 2};
  EXPECT_THAT(ErrorOf([&] { CorruptDataset(base_ / "none", base_ / "x", corruption); }),
              HasSubstr("expected a nuScenes data set"));
  EXPECT_THAT(ErrorOf([&] { CorruptDataset(clean_, clean_ / "inside", corruption); }),
              HasSubstr("expected a folder of its own"));
  EXPECT_THAT(ErrorOf([&] { CorruptDataset(clean_, clean_, corruption); }),
              HasSubstr("expected a folder of its own"));
  WriteFile(base_ / "full" / "notes.txt", "mine");
  EXPECT_THAT(ErrorOf([&] { CorruptDataset(clean_, base_ / "full", corruption); }),
              HasSubstr("expected an empty folder"));
}

TEST_F(CorruptDatasetTest, PlansByFrameAndSensor) {
  const Log log = OpenNuscenesLogs(clean_)->Read(0);
  const int lidar = log.MainLidar(), camera = 1 - lidar;
  // Over many seeds: as often as published, never where there is no frame before.
  int lidar_late = 0, camera_late = 0;
  constexpr int kSeeds = 500;
  for (uint64_t seed = 0; seed < kSeeds; ++seed) {
    const auto plans = PlanCorruption(log, {CorruptionKind::kTemporalMisalignment, 2, seed});
    for (int f = 0; f < 5; ++f) {
      for (const int s : {lidar, camera}) {
        const int key = log.frames[f].readings[s];
        if (plans[key].source == key) continue;
        EXPECT_EQ(plans[key].source, log.frames[f - 1].readings[s]);
        EXPECT_GE(f, s == lidar ? 2 : 1);
        (s == lidar ? lidar_late : camera_late)++;
      }
    }
  }
  EXPECT_NEAR(lidar_late, kSeeds * 3 * 0.4, 5 * std::sqrt(kSeeds * 3 * 0.24));
  EXPECT_NEAR(camera_late, kSeeds * 4 * 0.4, 5 * std::sqrt(kSeeds * 4 * 0.24));

  // 0.2 s late: sweeps come every 0.125 s, so the one 0.25 s before is nearest.
  const auto stale = PlanCorruption(log, {CorruptionKind::kStaleLidar, 2});
  const int key = log.frames[3].readings[lidar];
  EXPECT_EQ(stale[key].source, key - 2);
  const Log late = CorruptLog(log, {CorruptionKind::kStaleLidar, 2});
  EXPECT_EQ(late.readings[key].path, log.readings[key - 2].path);
  EXPECT_EQ(late.readings[key].time_us, log.readings[key].time_us);

  const Log blind = CorruptLog(log, {CorruptionKind::kNoCameras});
  EXPECT_TRUE(blind.readings[log.frames[0].readings[camera]].path.empty());
  EXPECT_FALSE(blind.readings[log.frames[0].readings[lidar]].path.empty());

  for (int severity = 1; severity <= 3; ++severity) {
    const Log moved = CorruptLog(log, {CorruptionKind::kExtrinsics, severity});
    const Rigid3 camera_from_moved =
        log.sensors[camera].ego_from_sensor.Inverse() * moved.sensors[camera].ego_from_sensor;
    EXPECT_NEAR(Eigen::AngleAxisd(camera_from_moved.rotation).angle() * 180 / M_PI,
                2 * severity - 1, 1e-6);
    EXPECT_NEAR(camera_from_moved.translation.norm(), 0.0025 * (severity + 1), 1e-9);
    EXPECT_EQ(moved.sensors[lidar].ego_from_sensor.translation,
              log.sensors[lidar].ego_from_sensor.translation);
  }
}

TEST_F(CorruptDatasetTest, WritesTheMountsThatTheLibraryGives) {
  const Corruption corruption = {CorruptionKind::kExtrinsics, 3};
  CorruptDataset(clean_, base_ / "moved", corruption);
  const Log expected = CorruptLog(OpenNuscenesLogs(clean_)->Read(0), corruption);
  const Log found = OpenNuscenesLogs(base_ / "moved")->Read(0);
  for (size_t s = 0; s < found.sensors.size(); ++s) {
    EXPECT_TRUE(found.sensors[s].ego_from_sensor.ToMatrix().isApprox(
        expected.sensors[s].ego_from_sensor.ToMatrix(), 1e-9));
  }
}

}  // namespace
}  // namespace athanor
