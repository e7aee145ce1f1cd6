// Data sets as miners see them: names, attribute tables that follow the data, boxes compared, hits
// in files and pictures.
#include "athanor/loop/mining/mined_data.h"

#include <gmock/gmock.h>

#include <algorithm>
#include <cmath>
#include <mutex>
#include <thread>

#include "athanor/base/files.h"
#include "athanor/base/test_util.h"
#include "athanor/datasets/log_test_util.h"
#include "athanor/detection/evaluation/nuscenes_files.h"
#include "athanor/lake/lake.h"
#include "athanor/loop/mining/attribute_base.h"
#include "athanor/loop/mining/box_miners.h"
#include "athanor/loop/mining/contact_sheet.h"
#include "athanor/loop/mining/rules.h"
#include "athanor/loop/mining/score_table.h"

namespace athanor {
namespace {

namespace fs = std::filesystem;
using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

// The annotations of the data as a detector's results, each changed by `f` or, if it returns false,
// left out.
template <typename F>
fs::path WriteResultsOf(const MinedData& data, const fs::path& path, F&& f) {
  NuscenesResults results;
  results.meta_json =
      R"({"use_camera": true, "use_lidar": true, "use_radar": false, "use_map": false, )"
      R"("use_external": false})";
  for (int l = 0; l < data.num_logs(); ++l) {
    const std::shared_ptr<const Log> log = data.Read(l);
    for (int i = 0; i < std::ssize(log->frames); ++i) {
      for (const SourcedBox& box : BoxSource::Annotations().Boxes(*log, i)) {
        if (box.class_index < 0) continue;
        NuscenesBox out;
        const Rigid3& pose = box.box.frame_from_box;
        out.translation_m = pose.translation;
        out.rotation_wxyz = {pose.rotation.w(), pose.rotation.x(), pose.rotation.y(),
                             pose.rotation.z()};
        out.size_wlh_m = {box.box.size_m.y(), box.box.size_m.x(), box.box.size_m.z()};
        out.class_index = static_cast<int8_t>(box.class_index);
        out.score = 0.9;
        if (f(FrameRef{l, i, 0}, &out)) results.boxes.push_back(out);
      }
      results.sample_tokens.push_back(log->frames[i].id);
      results.first_box.push_back(std::ssize(results.boxes));
    }
  }
  WriteNuscenesResults(path, results);
  return path;
}

class MinedDataTest : public ::testing::Test {
 protected:
  MinedDataTest() : folder_(TestFolder("mined data")), data_(WriteTestTown(folder_ / "town")) {}

  fs::path folder_;
  MinedData data_;
};

TEST_F(MinedDataTest, NamesAreReadAsTheyAreWritten) {
  ASSERT_EQ(data_.num_logs(), 2);
  for (const FrameRef& ref : {FrameRef{0, 2, -1}, FrameRef{1, 0, 3}}) {
    EXPECT_EQ(data_.Parse(data_.NameOf(ref)), ref);
  }
  EXPECT_EQ(MinedData::FrameOf(MinedData::NumberOf({1, 2, -1})), (FrameRef{1, 2, -1}));
  EXPECT_THAT(ErrorOf([&] { data_.Parse("scene-0001"); }), HasSubstr("LOG/NUMBER"));
  EXPECT_THAT(ErrorOf([&] { data_.Parse("scene-0009/1"); }), HasSubstr("no log is called"));
  EXPECT_THAT(ErrorOf([&] { data_.Parse("scene-0001/3"); }), HasSubstr("has 3 frames"));
  EXPECT_THAT(ErrorOf([&] { data_.Parse("scene-0001/-1"); }), HasSubstr("LOG/NUMBER"));
  EXPECT_THAT(ErrorOf([&] { data_.Parse("scene-0001/1:x"); }), HasSubstr("LOG/NUMBER"));
}

TEST_F(MinedDataTest, ALakeNamesItsLogsAlike) {
  Lake(folder_ / "lake", Lake::Mode::kCreate).IngestSource(folder_ / "town");
  const MinedData lake(folder_ / "lake");
  ASSERT_EQ(lake.num_logs(), 2);
  EXPECT_EQ(lake.Parse("scene-0002/1"), data_.Parse("scene-0002/1"));
  EXPECT_NE(lake.Identity(0), lake.Identity(1));
}

TEST_F(MinedDataTest, AttributesFollowTheData) {
  SqliteDatabase database(folder_ / "attributes.sqlite", SqliteDatabase::Mode::kCreate);
  AttributeBase base(database);
  const BoxSource boxes = BoxSource::Annotations();
  EXPECT_EQ(base.Update(data_, boxes).frames_added, 6);
  AttributeUpdate again = base.Update(data_, boxes);
  EXPECT_EQ(again.logs_kept, 2);
  EXPECT_EQ(again.frames_added, 0);
  RuleEngine engine(database, nullptr);
  const auto cars = [&] {
    return engine.Run({"", 0, "SELECT frame, box FROM boxes WHERE class = 'vehicle.car'"}).hits;
  };
  ASSERT_EQ(cars().size(), 6u);
  const RuleResult car = engine.Run(
      {"", 0, "SELECT frame, x_cm, length_cm, points FROM boxes WHERE box = 0 ORDER BY frame"});
  // The car stands 10 m ahead of where the log begins.
  EXPECT_THAT(car.hits[0].columns, ElementsAre("1000", "450", "12"));
  const RuleResult tagged =
      engine.Run({"", 0, "SELECT frame FROM tags WHERE tag = 'ego.cruise' ORDER BY frame"});
  ASSERT_EQ(tagged.hits.size(), 6u);
  EXPECT_EQ(base.FrameOf(data_, tagged.hits[4].frame), (FrameRef{1, 1, -1}));

  // One log more, one fewer, one changed: only these are touched.
  const int64_t kept = tagged.hits[4].frame;
  {
    NuscenesWriter writer(folder_ / "other");
    writer.AddScene(WriteTestLog(folder_ / "other", "scene-0002"));
    Log changed = WriteTestLog(folder_ / "other", "scene-0003");
    changed.frames[0].boxes[0].box.size_m.x() = 9;
    writer.AddScene(changed);
    writer.Finish();
  }
  const MinedData other(folder_ / "other");
  const AttributeUpdate update = base.Update(other, boxes);
  EXPECT_EQ(update.logs_added, 1);
  EXPECT_EQ(update.logs_removed, 1);
  EXPECT_EQ(update.logs_kept, 1);
  EXPECT_EQ(base.FrameOf(other, kept), (FrameRef{0, 1, -1}));
  EXPECT_EQ(cars().size(), 6u);
  EXPECT_EQ(engine.Run({"", 0, "SELECT frame FROM boxes WHERE length_cm = 900"}).hits.size(), 1u);
  // Boxes of another source take the place of all.
  const fs::path results =
      WriteResultsOf(other, folder_ / "results.json",
                     [](const FrameRef& ref, const NuscenesBox*) { return ref.frame == 0; });
  EXPECT_EQ(base.Update(other, BoxSource::Results(results)).logs_added, 2);
  EXPECT_EQ(engine.Run({"", 0, "SELECT frame FROM boxes WHERE class = 'car' AND score_pct = 90"})
                .hits.size(),
            2u);
}

TEST_F(MinedDataTest, ResultsAreTheAnnotationsThatTheyWereMadeFrom) {
  const BoxSource results = BoxSource::Results(WriteResultsOf(
      data_, folder_ / "results.json", [](const FrameRef&, const NuscenesBox*) { return true; }));
  const BoxSource annotations = BoxSource::Open("annotations");
  const std::shared_ptr<const Log> log = data_.Read(1);
  for (int f = 0; f < 3; ++f) {
    std::vector<SourcedBox> expected = annotations.Boxes(*log, f);
    std::erase_if(expected, [](const SourcedBox& box) { return box.class_index < 0; });
    const std::vector<SourcedBox> found = results.Boxes(*log, f);
    ASSERT_EQ(found.size(), expected.size());
    for (size_t b = 0; b < found.size(); ++b) {
      EXPECT_EQ(found[b].class_index, expected[b].class_index);
      EXPECT_TRUE(found[b].box.size_m.isApprox(expected[b].box.size_m));
      EXPECT_NEAR(found[b].box.yaw_rad(), expected[b].box.yaw_rad(), 1e-9);
    }
  }
}

TEST_F(MinedDataTest, AnEnsembleIsUnsureWhereItsMembersDiffer) {
  const auto member = [&](const char* name, double shift_m) {
    return BoxSource::Results(
        WriteResultsOf(data_, folder_ / name, [&](const FrameRef& ref, NuscenesBox* box) {
          if (ref == FrameRef{1, 2, 0}) box->translation_m.x() += shift_m;
          return true;
        }));
  };
  const std::vector<BoxSource> members = {member("a.json", 0), member("b.json", 1.5)};
  UncertainFound found = MineUncertain(data_, members);
  EXPECT_EQ(found.frames, 6);
  ASSERT_EQ(found.calibration.size(), 2u);
  // All are right, and say 0.9 of it.
  EXPECT_NEAR(found.calibration[0].expected_error, 0.1, 1e-9);
  const std::vector<MinedHit> best = BestHits(std::move(found.hits), 0, 1);
  ASSERT_EQ(best.size(), 1u);
  EXPECT_EQ(best[0].log, "scene-0002");
  EXPECT_EQ(best[0].frame, 2);
  EXPECT_TRUE(best[0].box_in_world.has_value());
  EXPECT_THAT(best[0].why, AllOf(HasSubstr("2 of 2 members"), HasSubstr("centre spread 0.75 m")));
  EXPECT_THAT(ErrorOf([&] { MineUncertain(data_, {members[0]}); }), HasSubstr("two members"));
}

TEST_F(MinedDataTest, WhatTheSmallModelMissesIsFoundUntilItDoesNot) {
  const BoxSource bad = BoxSource::Results(WriteResultsOf(
      data_, folder_ / "bad.json",
      [](const FrameRef& ref, const NuscenesBox*) { return ref.log != 0 || ref.frame != 1; }));
  const BoxSource good = BoxSource::Results(WriteResultsOf(
      data_, folder_ / "good.json", [](const FrameRef&, const NuscenesBox*) { return true; }));
  const BoxSource teacher = BoxSource::Annotations();
  const auto evaluate = [&](const BoxSource& student) {
    DigestBook book(folder_ / "digest.sqlite");
    const UndigestedFound found = MineUndigested(data_, student, teacher, {}, &book);
    book.Commit();
    return found;
  };
  const UndigestedFound found = evaluate(bad);
  EXPECT_EQ(found.frames, 6);
  EXPECT_EQ(found.agreed, 5);
  ASSERT_FALSE(found.hits.empty());
  for (const MinedHit& hit : found.hits) {
    EXPECT_EQ(hit.log, "scene-0001");
    EXPECT_EQ(hit.frame, 1);
    EXPECT_THAT(hit.why, AllOf(HasSubstr("missed: teacher says"), HasSubstr("undigested")));
  }
  const auto count = [&](DigestState state) {
    DigestBook book(folder_ / "digest.sqlite");
    return book.Counts()[static_cast<size_t>(state)];
  };
  EXPECT_EQ(count(DigestState::kUndigested), 1);
  EXPECT_TRUE(evaluate(good).hits.empty());
  EXPECT_EQ(count(DigestState::kDigested), 5);
  EXPECT_TRUE(evaluate(good).hits.empty());
  EXPECT_EQ(count(DigestState::kDigested), 6);
  // A regression opens it again, and weighs more than before.
  const UndigestedFound regressed = evaluate(bad);
  EXPECT_EQ(count(DigestState::kUndigested), 1);
  EXPECT_THAT(regressed.hits[0].why, HasSubstr("a regression"));
  EXPECT_GT(regressed.hits[0].score, found.hits[0].score);
}

TEST(WeighByRarityTest, ByTheRootOfTheFramesThatHaveTheClass) {
  std::vector<MinedHit> hits(7);
  for (int i = 0; i < 5; ++i) {
    hits[i].class_name = "car", hits[i].score = 0.5;
    hits[i].id = "frame " + std::to_string(i % 4);  // two of them in one frame
  }
  hits[5].class_name = "animal", hits[5].score = 0.4, hits[5].id = "frame 0";
  hits[6].score = 0.3, hits[6].id = "frame 1";
  std::vector<MinedHit> same = hits;
  WeighByRarity(0, &same);
  WeighByRarity(0.5, &hits);
  for (int i = 0; i < 5; ++i) EXPECT_DOUBLE_EQ(hits[i].score, 0.5);
  EXPECT_DOUBLE_EQ(hits[5].score, 0.8);
  EXPECT_DOUBLE_EQ(hits[6].score, 0.3);
  EXPECT_DOUBLE_EQ(same[5].score, 0.4);
}

TEST_F(MinedDataTest, HitsComeBackFromTheirFile) {
  MinedHits hits{"rule", "town", {}, {}};
  hits.about.emplace_back("rule", "SELECT");
  MinedHit hit = HitOf(data_, {1, 2, 0});
  hit.score = 0.25;
  hit.why = "because of \"it\"";
  hit.class_name = "vehicle.car";
  hit.box_in_world = data_.Read(1)->frames[2].boxes[0].box;
  hits.hits = {hit, HitOf(data_, {0, 0, -1})};
  hits.hits[1].camera = "CAM_FRONT";
  hits.hits[1].region_px = {1, 2, 30.5, 20};
  const fs::path path = folder_ / "hits.json";
  WriteMinedHits(path, hits);
  const MinedHits back = ReadMinedHits(path);
  EXPECT_EQ(back.miner, "rule");
  EXPECT_EQ(back.about, hits.about);
  ASSERT_EQ(back.hits.size(), 2u);
  EXPECT_EQ(back.hits[0].id, hit.id);
  EXPECT_EQ(back.hits[0].why, hit.why);
  EXPECT_EQ(back.hits[0].box, 0);
  EXPECT_EQ(back.hits[0].boxes_in_frame, 1);
  EXPECT_EQ(back.hits[0].box_in_world->size_m, hit.box_in_world->size_m);
  EXPECT_EQ(back.hits[1].box, -1);
  EXPECT_FALSE(back.hits[1].box_in_world.has_value());
  EXPECT_EQ(back.hits[1].camera, "CAM_FRONT");
  EXPECT_EQ(back.hits[1].region_px, hits.hits[1].region_px);
  for (const char* bad :
       {"", "{}", R"({"miner": "x", "hits": [{"log": 3}]})",
        R"({"miner": "x", "hits": [{"log": "a", "number": 1, "score": null}]})"}) {
    WriteFile(path, bad);
    EXPECT_THAT(ErrorOf([&] { ReadMinedHits(path); }), HasSubstr("hits.json")) << bad;
  }
}

TEST_F(MinedDataTest, APictureForEachHit) {
  MinedHit box = HitOf(data_, {0, 0, 0});
  box.box_in_world = data_.Read(0)->frames[0].boxes[0].box;
  const MinedHit frame = HitOf(data_, {1, 2, -1});
  MinedHit region = frame;
  region.camera = "CAM_FRONT";
  region.region_px = {10, 5, 40, 30};
  ContactSheetOptions options;
  options.columns = 2;
  options.cell_width = 200;
  const Image sheet = DrawMinedHits(data_, {box, frame, region}, options);
  EXPECT_EQ(sheet.width, 8 + 2 * 208);
  // The box's edges stand in the first cell, in their own colour.
  int yellow = 0;
  for (int y = 0; y < 158; ++y) {
    for (int x = 0; x < 208; ++x) {
      const uint8_t* p = sheet.at(x, y);
      yellow += p[0] == 255 && p[1] == 220 && p[2] == 60;
    }
  }
  EXPECT_GT(yellow, 20);
  const BoxView view = BestView(*data_.Read(0), 0, *box.box_in_world);
  EXPECT_EQ(view.sensor, 0);
  // 10 m ahead, at the camera's height and in its middle: 50 px * 1.9 m / 6.25 m at its back.
  EXPECT_NEAR(view.x1 - view.x0, 50 * 1.9 / 6.25, 0.5);
  EXPECT_THAT(ErrorOf([&] { DrawMinedHits(data_, {}); }), HasSubstr("at least one hit"));
}

// A lake of which a clip is damaged: the others are mined, and the sheet shows what it can.
TEST_F(MinedDataTest, DamageStaysWhereItIs) {
  {
    Lake lake(folder_ / "lake", Lake::Mode::kCreate);
    lake.IngestSource(folder_ / "town");
  }
  Lake lake(folder_ / "lake");
  const std::vector<LakeClip> clips = lake.Clips();
  ASSERT_EQ(clips.size(), 2u);
  const fs::path shard = lake.ShardPath(clips[0].place.shard);
  std::string bytes = ReadFile(shard);
  bytes[clips[0].place.offset + 100] ^= 1;
  WriteFile(shard, bytes);
  const MinedData data(folder_ / "lake");
  SqliteDatabase database(folder_ / "attributes.sqlite", SqliteDatabase::Mode::kCreate);
  const AttributeUpdate update = AttributeBase(database).Update(data, BoxSource::Annotations());
  EXPECT_EQ(update.logs_added, 1);
  EXPECT_EQ(update.logs_unreadable, 1);
  const BoxSource truth = BoxSource::Annotations();
  EXPECT_EQ(MineUndigested(data, truth, truth).frames, 3);
  // And a picture.
  const fs::path picture = data_.Read(0)->readings[0].path;
  WriteFile(picture, ReadFile(picture).substr(0, 60));
  MinedHit torn = HitOf(data_, {0, 0, -1}), whole = HitOf(data_, {1, 0, -1});
  EXPECT_GT(DrawMinedHits(data_, {torn, whole}).width, 300);
  // A region that no picture has.
  whole.camera = "CAM_FRONT";
  whole.region_px = {-1e300, 5, 1e300, 1e300};
  EXPECT_GT(DrawMinedHits(data_, {whole}).width, 300);
  whole.region_px = {1e9, 5, 1e10, 10};
  EXPECT_GT(DrawMinedHits(data_, {whole}).width, 300);
}

TEST_F(MinedDataTest, SeveralFillTheSameTables) {
  for (int round = 0; round < 8; ++round) {
    const fs::path path = folder_ / StrCat("shared", round, ".sqlite");
    { SqliteDatabase made(path, SqliteDatabase::Mode::kCreate); }
    int64_t added = 0;
    std::mutex mutex;
    std::vector<std::jthread> threads;
    for (int t = 0; t < 3; ++t) {
      threads.emplace_back([&] {
        const MinedData data(folder_ / "town");
        SqliteDatabase database(path, SqliteDatabase::Mode::kWrite);
        const AttributeUpdate update =
            AttributeBase(database).Update(data, BoxSource::Annotations());
        std::scoped_lock lock(mutex);
        added += update.logs_added;
        EXPECT_EQ(update.logs_added + update.logs_kept, 2);
      });
    }
    threads.clear();
    EXPECT_EQ(added, 2);
  }
}

TEST_F(MinedDataTest, NumbersThatAreNoFramesAreNone) {
  SqliteDatabase database(folder_ / "attributes.sqlite", SqliteDatabase::Mode::kCreate);
  AttributeBase base(database);
  base.Update(data_, BoxSource::Annotations());
  EXPECT_EQ(base.FrameOf(data_, 2), (FrameRef{0, 2, -1}));
  for (const int64_t number : {int64_t{3}, int64_t{-1}, int64_t{1} << 40}) {
    EXPECT_FALSE(base.FrameOf(data_, number).has_value()) << number;
  }
}

TEST_F(MinedDataTest, OneTableOfAllMiners) {
  const auto list = [&](const char* miner, std::vector<std::pair<FrameRef, double>> found) {
    MinedHits hits{miner, "", {}, {}};
    for (const auto& [ref, score] : found) {
      hits.hits.push_back(HitOf(data_, ref));
      hits.hits.back().score = score;
    }
    return hits;
  };
  const MinedHits lists[] = {
      list("similar", {{{0, 0, 0}, 0.1}, {{0, 1, 0}, 0.9}, {{0, 1, 1}, 0.5}, {{0, 2, 0}, 0.2}}),
      list("rule", {{{0, 0, -1}, 1}, {{1, 0, -1}, 1}})};
  const std::vector<MinedHit> merged = MergeHits(lists);
  ASSERT_EQ(merged.size(), 4u);
  EXPECT_EQ(merged[0].frame, 0);  // last of four, and first of two
  EXPECT_NEAR(merged[0].score, 1.25, 1e-12);
  EXPECT_EQ(merged[0].box, -1);
  EXPECT_THAT(merged[0].why, HasSubstr("similar #4, rule #1"));
  EXPECT_EQ(merged[1].frame, 1);
  EXPECT_EQ(merged[1].score, 1);
  // One hit per log and second.
  EXPECT_EQ(BestHits(merged, 60'000'000, 100).size(), 2u);
  EXPECT_EQ(BestHits(merged, 0, 3).size(), 3u);
}

}  // namespace
}  // namespace athanor
