#include "athanor/lake/lake.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <cmath>
#include <set>
#include <thread>
#include <utility>

#include "athanor/base/files.h"
#include "athanor/base/sha256.h"
#include "athanor/datasets/log_check.h"
#include "athanor/datasets/log_test_util.h"
#include "athanor/lake/lake_test_util.h"

namespace athanor {
namespace {

namespace fs = std::filesystem;
using ::testing::AllOf;
using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::SizeIs;
using Mode = Lake::Mode;

// A town's two logs of one camera and one LiDAR.
const fs::path& Town() {
  static const fs::path town = WriteTestTown(MemoryFolder("town"));
  return town;
}

Log TownLog(int index) { return OpenLogs(Town())->Read(index); }

// A log whose payloads are made up: unlike those of all other seeds.
class MadeUp : public PayloadSource {
 public:
  explicit MadeUp(size_t bytes) : bytes_(bytes) {}
  bool Has(const LogReading&) const override { return true; }
  std::string Read(const LogReading& reading) const override {
    return RandomBytes(bytes_, static_cast<uint64_t>(reading.time_us));
  }

 private:
  const size_t bytes_;
};

Log MadeUpLog(int seed, int readings = 6, size_t bytes = 300) {
  Log log;
  log.source = "made up";
  log.dataset = "nuscenes";
  log.name = StrCat("clip-", seed);
  log.sensors = {{"LIDAR_TOP", SensorKind::kLidar, {}, {}}};
  log.tracks = {{"", "vehicle.car"}};
  for (int i = 0; i < readings; ++i) {
    LogReading reading;
    reading.time_us = 1'000'000LL * seed + i;
    reading.path = StrCat(i, ".dat");
    reading.frame = i;
    log.readings.push_back(reading);
    LogFrame frame;
    frame.time_us = reading.time_us;
    frame.readings = {i};
    LogBox box;
    box.box = MakeBox3({10.0 + i, 0, 0}, {4, 2, 1.5}, 0);
    frame.boxes = {box};
    log.frames.push_back(frame);
  }
  log.payloads = std::make_shared<MadeUp>(bytes);
  return log;
}

void ExpectSame(const Log& a, const Log& b) {
  Clip left, right;
  left.log = a;
  right.log = b;
  left.payloads.resize(a.readings.size());
  right.payloads.resize(b.readings.size());
  EXPECT_EQ(EncodeClip(left), EncodeClip(right));
  for (size_t i = 0; i < a.readings.size(); ++i) {
    EXPECT_EQ(ReadPayload(a, a.readings[i]), ReadPayload(b, b.readings[i])) << i;
    EXPECT_EQ(PayloadExtension(a.readings[i].path), PayloadExtension(b.readings[i].path));
  }
}

TEST(ClipTest, ComesBackAndIsNamedByItsContent) {
  Clip clip;
  clip.log = TownLog(0);
  clip.payloads.resize(clip.log.readings.size());
  clip.payloads[1] = {Sha256Of("x"), ".jpg", 1};
  const std::string bytes = EncodeClip(clip);
  const Clip back = DecodeClip(bytes, "clip");
  EXPECT_EQ(EncodeClip(back), bytes);
  EXPECT_EQ(back.log.frames[1].boxes[1].box.size_m, clip.log.frames[1].boxes[1].box.size_m);
  EXPECT_EQ(back.payloads[1].sha256, Sha256Of("x"));
  EXPECT_EQ(back.log.tags.size(), clip.log.tags.size());

  const std::string id = ClipId(bytes);
  clip.log.source = "elsewhere";
  clip.log.readings[0].path = "other.png";
  EXPECT_EQ(ClipId(EncodeClip(clip)), id);
  clip.payloads[0].sha256 = Sha256Of("other bytes");
  EXPECT_NE(ClipId(EncodeClip(clip)), id);
  for (size_t size = 0; size < bytes.size(); size += 37) {
    EXPECT_NE(ErrorOf([&] { DecodeClip(bytes.substr(0, size), "clip"); }), "") << size;
  }
}

TEST(ClipTest, RefusesClocksThatJump) {
  Log log = TownLog(0);
  std::swap(log.readings[1].time_us, log.readings[2].time_us);
  EXPECT_THAT(ErrorOf([&] { CheckClip(log); }),
              AllOf(HasSubstr("CAM_FRONT, reading 2: expected a time after"),
                    HasSubstr("the clock jumped back by 0.25 s")));
  log = TownLog(0);
  log.frames[2].time_us = log.frames[1].time_us;
  EXPECT_THAT(ErrorOf([&] { CheckClip(log); }), HasSubstr("frame 2: expected a time after"));
}

TEST(ClipTest, RefusesWhatIsNowhere) {
  Log log = TownLog(0);
  log.frames[1].world_from_ego.translation.y() = std::nan("");
  EXPECT_THAT(ErrorOf([&] { CheckClip(log); }), HasSubstr("frame 1: expected a finite pose"));
  log = TownLog(0);
  log.frames[2].boxes[0].box.size_m.x() = std::nan("");
  EXPECT_THAT(ErrorOf([&] { CheckClip(log); }), HasSubstr("frame 2: box of track 0: expected a"));
  // Its own fault, not the lake's: the next one is taken.
  Lake lake(MemoryFolder("lake") / "l", Mode::kCreate);
  EXPECT_THAT(ErrorOf([&] {
                try {
                  lake.Ingest(log);
                } catch (const LakeError&) {
                  ADD_FAILURE() << "the lake is not to blame";
                  throw;
                }
              }),
              HasSubstr("finite"));
  EXPECT_TRUE(lake.Ingest(TownLog(1)).added);
}

// Names are names of files in an export: none leads out of its folder.
TEST(LakeTest, AnExportStaysInItsFolder) {
  const fs::path folder = MemoryFolder("lake");
  Log log = MadeUpLog(1);
  for (const bool by_channel : {false, true}) {
    Log bad = log;
    (by_channel ? bad.sensors[0].channel : bad.name) = "../../evil";
    EXPECT_THAT(ErrorOf([&] { StoreReadings(folder / "a" / "b", &bad); }), HasSubstr("../../evil"));
  }
  EXPECT_TRUE(fs::is_empty(folder));
}

TEST(LakeTest, TheSecondIngestAddsNothing) {
  const fs::path folder = MemoryFolder("lake");
  RegisterLakes();
  std::string first_id;
  {
    Lake lake(folder / "l", Mode::kCreate);
    const IngestReport report = lake.IngestSource(Town());
    EXPECT_EQ(report.added, 2);
    EXPECT_EQ(report.present, 0);
    EXPECT_GT(report.stored_bytes, 0);
    EXPECT_LT(report.stored_bytes, report.bytes) << "equal sweeps are kept once";
    const auto size = fs::file_size(lake.ShardPath(1));
    const IngestReport again = lake.IngestSource(Town());
    EXPECT_EQ(again.added, 0);
    EXPECT_EQ(again.present, 2);
    EXPECT_EQ(again.stored_bytes, 0);
    EXPECT_EQ(fs::file_size(lake.ShardPath(1)), size);
    EXPECT_THAT(lake.Verify().faults, IsEmpty());
    ASSERT_THAT(lake.Clips(), SizeIs(2));
    first_id = lake.Clips()[0].id;
    EXPECT_EQ(lake.FindId(first_id.substr(0, 8)), first_id);
    EXPECT_THAT(ErrorOf([&] { lake.FindId("zz"); }), HasSubstr("no clip's id begins with 'zz'"));
    ExpectSame(lake.Read(first_id), TownLog(0));
  }
  // As a driving log like any other.
  const auto logs = OpenLogs(folder / "l");
  EXPECT_EQ(logs->format(), "lake");
  EXPECT_THAT(logs->names(), ElementsAre("scene-0001", "scene-0002"));
  ExpectSame(logs->Read(1), TownLog(1));
  int64_t faults = 0;
  const LogCheckResult of_lake = CheckLogs(
      folder / "l", [&](const std::string&) { ++faults; }, [](int64_t, int64_t) {});
  const LogCheckResult of_town = CheckLogs(
      Town(), [](const std::string&) {}, [](int64_t, int64_t) {});
  EXPECT_EQ(faults, of_town.faults);
  EXPECT_EQ(of_lake.points_counted, of_town.points_counted);
  EXPECT_EQ(of_lake.files, of_town.files);
}

TEST(LakeTest, TheCatalogKnowsWhatWasSeen) {
  Lake lake(MemoryFolder("lake") / "l", Mode::kCreate);
  const Log log = TownLog(0);
  lake.Ingest(log);
  SqliteDatabase& database = lake.catalog().database();
  EXPECT_EQ(database.QueryInteger("SELECT count(*) FROM payloads"), std::ssize(log.readings));
  SqliteStatement dog(database,
                      "SELECT frame_number, forward_m, left_m, distance_m, ego_speed_mps FROM "
                      "objects WHERE category = 'animal.dog'");
  dog.Bind();
  ASSERT_TRUE(dog.Step());
  EXPECT_EQ(dog.Integer(0), 1);
  const Eigen::Vector3d seen =
      log.frames[1].world_from_ego.Inverse() * Eigen::Vector3d(107, -17, 0.8);
  EXPECT_NEAR(dog.Real(1), seen.x(), 1e-9);
  EXPECT_NEAR(dog.Real(2), seen.y(), 1e-9);
  EXPECT_NEAR(dog.Real(3), seen.head<2>().norm(), 1e-9);
  EXPECT_NEAR(dog.Real(4), 10, 1e-6);
  EXPECT_FALSE(dog.Step());
  EXPECT_EQ(database.QueryInteger("SELECT count(*) FROM tags WHERE name = 'ego.cruise'"), 1);
}

TEST(LakeTest, ExportedAndIngestedAgainItIsTheSameClip) {
  const fs::path folder = MemoryFolder("lake");
  Lake lake(folder / "l", Mode::kCreate);
  lake.IngestSource(Town());
  std::vector<std::string> ids;
  for (const LakeClip& clip : lake.Clips()) ids.push_back(clip.id);
  lake.ExportNuscenes(folder / "out", ids);
  const IngestReport report = lake.IngestSource(folder / "out");
  EXPECT_EQ(report.present, 2);
  EXPECT_EQ(report.added, 0);
}

LakeOptions TwoClipsAShard() {
  LakeOptions options;
  options.shard_bytes = 6000;
  return options;
}

// The ids of made-up logs 1 to 7.
std::vector<std::string> IngestSeven(Lake* lake) {
  std::vector<std::string> ids;
  for (int seed = 1; seed <= 7; ++seed) ids.push_back(lake->Ingest(MadeUpLog(seed)).id);
  return ids;
}

TEST(LakeTest, RemovedClipsGoWithTheGarbageAndTheOthersStay) {
  const fs::path folder = MemoryFolder("lake");
  Lake lake(folder / "l", Mode::kCreate, TwoClipsAShard());
  const std::vector<std::string> ids = IngestSeven(&lake);
  EXPECT_GT(lake.catalog().Shards().size(), 3u);
  const Log held = lake.Read(ids[1]);  // shares its shard with the first
  lake.Remove(ids[0]);
  lake.Remove(ids[4]);
  EXPECT_THAT(lake.Clips(), SizeIs(5));
  EXPECT_THAT(ErrorOf([&] { lake.Read(ids[0]); }), HasSubstr("there is no clip"));
  EXPECT_THAT(ErrorOf([&] { lake.Remove(ids[0]); }), HasSubstr("there is no clip"));
  EXPECT_THAT(lake.Verify().faults, IsEmpty());
  const GarbageReport report = lake.CollectGarbage();
  EXPECT_GE(report.shards_removed, 2);
  EXPECT_GT(report.bytes_freed, 2 * 6 * 300);
  EXPECT_THAT(report.faults, IsEmpty());
  EXPECT_THAT(lake.Verify().faults, IsEmpty());
  ExpectSame(held, MadeUpLog(2));  // read from a file that is gone
  for (const int seed : {2, 3, 4, 6, 7}) ExpectSame(lake.Read(ids[seed - 1]), MadeUpLog(seed));
  EXPECT_EQ(lake.CollectGarbage().shards_removed, 0);
  EXPECT_TRUE(lake.Ingest(MadeUpLog(1)).added);
  ExpectSame(lake.Read(ids[0]), MadeUpLog(1));
  EXPECT_THAT(lake.Verify().faults, IsEmpty());
}

TEST(LakeTest, VerifiesBesideACollectionOfGarbage) {
  const fs::path folder = MemoryFolder("lake");
  Lake lake(folder / "l", Mode::kCreate, TwoClipsAShard());
  const std::vector<std::string> ids = IngestSeven(&lake);
  lake.Remove(ids[4]);
  lake.Remove(ids[6]);
  Lake reader(folder / "l");
  int64_t moved = 0;
  const auto verify = [&](bool is_damaged) {
    return reader.Verify([&, collected = false](int64_t, int64_t) mutable {
      if (std::exchange(collected, true)) return;
      // Shards that are still to be read are gone now, what lives in them lies in a new one.
      moved = lake.CollectGarbage().shards_removed;
      if (!is_damaged) return;
      const LakePlace place = lake.catalog().FindClip(ids[3])->place;
      std::string bytes = ReadFile(lake.ShardPath(place.shard));
      bytes[place.offset + kShardHeaderBytes + 10] ^= 1;
      WriteFile(lake.ShardPath(place.shard), bytes);
    });
  };
  const LakeReport report = verify(false);
  EXPECT_GE(moved, 2);
  EXPECT_THAT(report.faults, IsEmpty());
  EXPECT_EQ(report.clips, 5);
  EXPECT_GE(report.blocks, 5 + 3);  // nothing was left out
  // The new ones are read, too.
  lake.Remove(ids[2]);
  EXPECT_THAT(verify(true).faults, ElementsAre(HasSubstr(ids[3].substr(0, 12))));
  EXPECT_GE(moved, 1);
  // A shard that is gone and that the catalog has is missed all the same.
  fs::remove(lake.ShardPath(lake.catalog().FindClip(ids[0])->place.shard));
  EXPECT_THAT(reader.Verify().faults, Contains(HasSubstr("no such file")));
}

// A shard that cannot be compacted keeps what was removed: so does the word that it was.
TEST(LakeTest, WhatWasRemovedStaysRemovedBesideADamagedShard) {
  const fs::path folder = MemoryFolder("lake");
  const LakeOptions options = TwoClipsAShard();
  std::string first, second, third;
  {
    Lake lake(folder / "l", Mode::kCreate, options);
    first = lake.Ingest(MadeUpLog(1)).id, second = lake.Ingest(MadeUpLog(2)).id;
    third = lake.Ingest(MadeUpLog(3)).id;
    ASSERT_TRUE(lake.catalog().Shards()[0].sealed);
    lake.Remove(first);
    const LakePlace damaged = lake.catalog().FindClip(second)->place;
    ASSERT_EQ(damaged.shard, lake.catalog().Shards()[0].number);
    std::string bytes = ReadFile(lake.ShardPath(damaged.shard));
    bytes[damaged.offset + kShardHeaderBytes + 10] ^= 1;
    WriteFile(lake.ShardPath(damaged.shard), bytes);
    for (int i = 0; i < 2; ++i) EXPECT_THAT(lake.CollectGarbage().faults, SizeIs(1));
  }
  fs::remove(folder / "l" / "lake.sqlite");
  {
    Lake lake(folder / "l", Mode::kWrite, options);
    std::vector<std::string> ids;
    for (const LakeClip& clip : lake.Clips()) ids.push_back(clip.id);
    EXPECT_THAT(ids, ElementsAre(third));
    // One that comes back after all is not taken away by the old word.
    EXPECT_TRUE(lake.Ingest(MadeUpLog(1)).added);
    for (int i = 0; i < 2; ++i) lake.CollectGarbage();
  }
  fs::remove(folder / "l" / "lake.sqlite");
  Lake lake(folder / "l", Mode::kWrite, options);
  ExpectSame(lake.Read(first), MadeUpLog(1));
}

// A shard that was begun and holds nothing is not in the catalog: its number is free, its file is
// not to be written to any more.
TEST(LakeTest, WhatIsIngestedAfterACollectionIsThere) {
  const fs::path folder = MemoryFolder("lake");
  LakeOptions options;
  options.shard_bytes = 12'000;
  std::vector<std::string> ids;
  {
    Lake lake(folder / "l", Mode::kCreate, options);
    for (int seed = 1; seed <= 3; ++seed) ids.push_back(lake.Ingest(MadeUpLog(seed)).id);
    lake.Remove(ids[0]);
    for (int seed = 4; !lake.catalog().Shards().back().sealed; ++seed) {
      ids.push_back(lake.Ingest(MadeUpLog(seed)).id);
    }
  }
  Lake lake(folder / "l", Mode::kWrite, options);
  EXPECT_FALSE(lake.Ingest(MadeUpLog(2)).added);  // begins a shard for nothing
  EXPECT_GE(lake.CollectGarbage().shards_removed, 1);
  const std::string last = lake.Ingest(MadeUpLog(100)).id;
  EXPECT_THAT(lake.Verify().faults, IsEmpty());
  ExpectSame(lake.Read(ids[1]), MadeUpLog(2));
  ExpectSame(lake.Read(last), MadeUpLog(100));
}

// A payload that clips share may lie in another shard than the clip, and be moved alone.
TEST(LakeTest, ReadersFollowPayloadsThatMove) {
  const fs::path folder = MemoryFolder("lake");
  LakeOptions options;
  options.shard_bytes = 3000;  // one clip with its payloads a shard
  Lake lake(folder / "l", Mode::kCreate, options);
  constexpr int kPairs = 40;
  std::vector<std::string> first, second;
  for (int seed = 0; seed < kPairs; ++seed) first.push_back(lake.Ingest(MadeUpLog(seed)).id);
  for (int seed = 0; seed < kPairs; ++seed) {
    Log log = MadeUpLog(seed);
    log.name += "-again";
    second.push_back(lake.Ingest(log).id);
  }
  for (const std::string& id : first) lake.Remove(id);
  std::atomic<bool> stop{false};
  std::atomic<int> reads{0}, wrong{0};
  std::thread reading([&] {
    Lake reader(folder / "l");
    for (int i = 0; !stop || i < kPairs; ++i) {
      const int seed = i % kPairs;
      const std::string fault = ErrorOf([&] {
        const Log log = reader.Read(second[seed]), truth = MadeUpLog(seed);
        wrong += ReadPayload(log, 3) != truth.payloads->Read(truth.readings[3]);
      });
      if (!fault.empty()) ADD_FAILURE() << fault;
      ++reads;
    }
  });
  while (reads == 0) std::this_thread::yield();
  EXPECT_GE(lake.CollectGarbage().shards_removed, kPairs);
  stop = true;
  reading.join();
  EXPECT_EQ(wrong, 0);
}

// What cannot be sealed is gone on with where its last clip ends, not behind half a seal.
TEST(LakeTest, AFullDiskWhileSealingLosesNothing) {
  const fs::path folder = MemoryFolder("lake");
  LakeOptions options;
  options.shard_bytes = 3000;
  Lake lake(folder / "l", Mode::kCreate, options);
  const Log log = MadeUpLog(1, 60, 10'000);  // more than the catalog's own files
  const int64_t size = [&] {
    Lake other(folder / "large", Mode::kCreate);
    other.Ingest(log);
    return static_cast<int64_t>(fs::file_size(other.ShardPath(1)));
  }();
  ::signal(SIGXFSZ, SIG_IGN);
  rlimit before = {};
  ::getrlimit(RLIMIT_FSIZE, &before);
  rlimit small = before;
  small.rlim_cur = static_cast<rlim_t>(size) + 10;
  ::setrlimit(RLIMIT_FSIZE, &small);
  const std::string error = ErrorOf([&] { lake.Ingest(log); });
  ::setrlimit(RLIMIT_FSIZE, &before);
  ::signal(SIGXFSZ, SIG_DFL);
  EXPECT_THAT(error, HasSubstr("cannot write"));
  EXPECT_THAT(lake.Clips(), SizeIs(1)) << "it was stored; only its shard is not closed";
  EXPECT_FALSE(lake.Ingest(log).added);
  EXPECT_TRUE(lake.Ingest(MadeUpLog(2)).added);
  EXPECT_THAT(lake.Verify().faults, IsEmpty());
  for (const LakeClip& clip : lake.Clips()) lake.Read(clip.id);
}

TEST(LakeTest, ALostCatalogIsMadeAgain) {
  const fs::path folder = MemoryFolder("lake");
  LakeOptions options;
  options.shard_bytes = 6000;
  std::vector<std::string> ids;
  {
    Lake lake(folder / "l", Mode::kCreate, options);
    for (int seed = 1; seed <= 5; ++seed) ids.push_back(lake.Ingest(MadeUpLog(seed)).id);
    lake.Remove(ids[2]);
  }
  for (const char* name : {"lake.sqlite", "lake.sqlite-wal", "lake.sqlite-shm"}) {
    fs::remove(folder / "l" / name);
  }
  EXPECT_THAT(ErrorOf([&] { Lake(folder / "l"); }), HasSubstr("expected a lake"));
  Lake lake(folder / "l", Mode::kWrite);
  EXPECT_THAT(lake.Clips(), SizeIs(4));
  for (const int seed : {1, 2, 4, 5}) ExpectSame(lake.Read(ids[seed - 1]), MadeUpLog(seed));
  EXPECT_THAT(lake.Verify().faults, IsEmpty());
}

TEST(LakeTest, OneWritesManyRead) {
  const fs::path folder = MemoryFolder("lake");
  Lake lake(folder / "l", Mode::kCreate);
  Lake reader(folder / "l");
  EXPECT_THAT(reader.Clips(), IsEmpty());
  lake.Ingest(MadeUpLog(1));
  EXPECT_THAT(reader.Clips(), SizeIs(1));
  EXPECT_THAT(ErrorOf([&] { Lake(folder / "l", Mode::kWrite); }),
              HasSubstr("another process is writing"));
  EXPECT_THAT(ErrorOf([&] { reader.Ingest(MadeUpLog(2)); }), HasSubstr("opened for reading"));
}

// Every byte of a shard: one line that names the file, and what it held.
TEST(LakeTest, AnyFlippedByteIsFoundByVerify) {
  const fs::path folder = MemoryFolder("lake");
  fs::path path;
  {
    Lake lake(folder / "l", Mode::kCreate);
    lake.Ingest(MadeUpLog(1, 2, 40));
    path = lake.ShardPath(1);
  }
  const std::string bytes = ReadFile(path);
  Lake lake(folder / "l");
  for (size_t i = 0; i < bytes.size(); ++i) {
    std::string flipped = bytes;
    flipped[i] = static_cast<char>(flipped[i] ^ (1 << (i % 8)));
    WriteFile(path, flipped);
    const LakeReport report = lake.Verify();
    ASSERT_THAT(report.faults, SizeIs(1)) << i;
    ASSERT_THAT(report.faults[0], HasSubstr(path.string() + ": byte "));
    if (i >= static_cast<size_t>(kShardStart)) {
      ASSERT_THAT(report.faults[0], HasSubstr("; it holds ")) << i;
    }
  }
  WriteFile(path, bytes);
  EXPECT_THAT(lake.Verify().faults, IsEmpty());
}

// A shard cut off at every byte behind the first clip loses no more than what is cut.
TEST(LakeTest, AShardThatLostItsEndKeepsTheRest) {
  const fs::path folder = MemoryFolder("lake");
  std::string first, second;
  fs::path path;
  int64_t first_end = 0;
  {
    Lake lake(folder / "l", Mode::kCreate);
    first = lake.Ingest(MadeUpLog(1, 2, 40)).id;
    path = lake.ShardPath(1);
    first_end = static_cast<int64_t>(fs::file_size(path));
    second = lake.Ingest(MadeUpLog(2, 2, 40)).id;
  }
  const std::string bytes = ReadFile(path);
  for (auto size = static_cast<size_t>(first_end); size < bytes.size(); size += 3) {
    // The catalog is lost as well: what the shard has is all there is.
    for (const char* name : {"lake.sqlite", "lake.sqlite-wal", "lake.sqlite-shm"}) {
      fs::remove(folder / "l" / name);
    }
    WriteFile(path, bytes.substr(0, size));
    Lake lake(folder / "l", Mode::kWrite);
    ASSERT_THAT(lake.Clips(), SizeIs(1)) << size;
    ASSERT_EQ(lake.Clips()[0].id, first);
    ASSERT_THAT(lake.Verify().faults, IsEmpty());
    ASSERT_EQ(static_cast<int64_t>(fs::file_size(path)), first_end);
  }
  // With its catalog, the lake says what is missing and goes on in a new shard.
  WriteFile(path, bytes);
  Lake(folder / "l", Mode::kWrite).Ingest(MadeUpLog(2, 2, 40));
  WriteFile(path, bytes.substr(0, bytes.size() - 5));
  Lake lake(folder / "l", Mode::kWrite);
  EXPECT_THAT(lake.Verify().faults, ::testing::Not(IsEmpty()));
  ExpectSame(lake.Read(first), MadeUpLog(1, 2, 40));
  const std::string third = lake.Ingest(MadeUpLog(3)).id;
  ExpectSame(lake.Read(third), MadeUpLog(3));
}

TEST(LakeTest, TakesWhatIsWholeAndSaysWhyNotTheRest) {
  const fs::path inbox = MemoryFolder("inbox");
  fs::copy(Town(), inbox / "whole", fs::copy_options::recursive);
  fs::copy(Town(), inbox / "torn", fs::copy_options::recursive);
  fs::copy(Town(), inbox / "missing", fs::copy_options::recursive);
  fs::create_directories(inbox / "begun" / "samples");
  const Log torn = OpenLogs(inbox / "torn")->Read(0);
  const std::string picture = ReadFile(torn.readings[1].path);
  WriteFile(torn.readings[1].path, picture.substr(0, picture.size() - 20));
  fs::remove(OpenLogs(inbox / "missing")->Read(1).readings[0].path);

  Lake lake(MemoryFolder("lake") / "l", Mode::kCreate);
  IngestOptions options;
  const IngestReport young = lake.IngestSource(inbox, options);
  EXPECT_EQ(young.added, 2);
  EXPECT_EQ(young.present, 2);  // the whole logs of the other two are the same ones
  EXPECT_THAT(young.dead, IsEmpty());
  EXPECT_THAT(young.waiting, SizeIs(3));
  options.settle_s = 0;
  const IngestReport old = lake.IngestSource(inbox, options);
  EXPECT_EQ(old.added, 0);
  ASSERT_THAT(old.dead, SizeIs(2));
  EXPECT_THAT(old.dead[0], AllOf(HasSubstr("begun"), HasSubstr("no driving log found")));
  EXPECT_THAT(old.dead[1], AllOf(HasSubstr("torn: log scene-0001 cannot be taken"),
                                 HasSubstr("expected a PNG with its end")));
  ASSERT_THAT(old.waiting, SizeIs(1));
  EXPECT_THAT(old.waiting[0], HasSubstr("missing: log scene-0002 waits for files"));
  EXPECT_THAT(lake.catalog().DeadLetters(), SizeIs(2));
  // Once it is whole, it is taken and its letter goes.
  WriteFile(torn.readings[1].path, picture);
  EXPECT_EQ(lake.IngestSource(inbox, options).present, 5);
  EXPECT_THAT(lake.catalog().DeadLetters(), SizeIs(1));
  options.partial = true;
  EXPECT_EQ(lake.IngestSource(inbox, options).added, 1);
  EXPECT_THAT(lake.Verify().faults, IsEmpty());
}

TEST(LakeTest, AFullDiskLeavesTheLakeAsItWas) {
  const fs::path folder = MemoryFolder("lake");
  Lake lake(folder / "l", Mode::kCreate);
  const std::string first = lake.Ingest(MadeUpLog(1)).id;
  const auto size = fs::file_size(lake.ShardPath(1));
  ::signal(SIGXFSZ, SIG_IGN);
  rlimit before = {};
  ::getrlimit(RLIMIT_FSIZE, &before);
  rlimit small = before;
  small.rlim_cur = size + 200'000;
  ::setrlimit(RLIMIT_FSIZE, &small);
  const std::string error = ErrorOf([&] { lake.Ingest(MadeUpLog(2, 4, 100'000)); });
  ::setrlimit(RLIMIT_FSIZE, &before);
  ::signal(SIGXFSZ, SIG_DFL);
  EXPECT_THAT(error, AllOf(HasSubstr("00000001.shard: byte "), HasSubstr("cannot write")));
  EXPECT_EQ(fs::file_size(lake.ShardPath(1)), size);
  EXPECT_THAT(lake.Verify().faults, IsEmpty());
  EXPECT_TRUE(lake.Ingest(MadeUpLog(2, 4, 100'000)).added);
  EXPECT_THAT(lake.Clips(), SizeIs(2));
  EXPECT_THAT(lake.Verify().faults, IsEmpty());
}

// A child ingests clips (and at times removes and collects) until it is killed at a random moment.
// What it had said to be stored must be there, once.
void KillAtRandom(int rounds, uint64_t seed) {
  const fs::path folder = MemoryFolder("kill");
  LakeOptions options;
  options.shard_bytes = 40'000;
  Random random(seed);
  std::set<std::string> sealed;
  int next = 1;
  uint32_t most_us = 25'000;
  for (int round = 0; round < rounds; ++round) {
    int ends[2];
    ASSERT_EQ(::pipe(ends), 0);
    const bool collects = round % 5 == 4;
    const pid_t child = ::fork();
    if (child == 0) {
      ::close(ends[0]);
      try {
        Lake lake(folder / "l", Mode::kCreate, options);
        if (collects) lake.CollectGarbage();
        for (int i = next; i < next + 1000; ++i) {
          const std::string id = lake.Ingest(MadeUpLog(i, 4, 1000)).id;
          if (::write(ends[1], id.data(), id.size()) != 64) break;
          lake.Ingest(MadeUpLog(i, 4, 1000));
          if (i % 3 == 0) {  // one that comes and goes leaves garbage
            lake.Remove(lake.Ingest(MadeUpLog(1'000'000 + i, 2, 500)).id);
          }
        }
      } catch (const std::exception& error) {
        const std::string line = StrCat("error: ", error.what(), "\n");
        if (::write(2, line.data(), line.size()) < 0) ::_exit(4);
        ::_exit(3);
      }
      ::_exit(0);
    }
    ::close(ends[1]);
    // Some die while they open and recover, some in the midst of ingesting.
    ::usleep(random.Below(round % 3 == 0 ? most_us / 8 : most_us));
    ::kill(child, SIGKILL);
    int status = 0;
    ::waitpid(child, &status, 0);
    ASSERT_TRUE(WIFSIGNALED(status) || WEXITSTATUS(status) == 0) << round;
    char id[64];
    const int before = next;
    while (::read(ends[0], id, sizeof id) == sizeof id) {
      sealed.emplace(id, sizeof id);
      ++next;
    }
    ::close(ends[0]);
    // A machine that is slow today: so that most rounds get to ingest, and few get far.
    if (next == before) most_us += most_us / 4;
    if (next > before + 8) most_us -= most_us / 4;

    Lake lake(folder / "l", Mode::kCreate, options);
    std::multiset<std::string> ids;
    for (const LakeClip& clip : lake.Clips()) ids.insert(clip.id);
    for (const std::string& one : sealed) ASSERT_EQ(ids.count(one), 1u) << round;
    ASSERT_EQ(ids.size(), std::set<std::string>(ids.begin(), ids.end()).size());
    // The one that was under way, and one that was about to be removed, may be there too.
    ASSERT_LE(ids.size(), sealed.size() + 1 + rounds);
    if (round % 8 == 7 || round + 1 == rounds) {
      ASSERT_THAT(lake.Verify().faults, IsEmpty()) << round;
      // Every payload's blob is in the shards once.
      std::set<std::string> seen;
      for (const LakeShard& shard : lake.catalog().Shards()) {
        ScanShard(lake.ShardPath(shard.number), kShardStart, shard.bytes,
                  [&](const ShardBlock& block, std::string_view payload) {
                    if (block.kind != kClipBlock) return;
                    const std::string clip = ClipId(payload);
                    if (sealed.contains(clip)) {
                      ASSERT_TRUE(seen.insert(clip).second) << clip;
                    }
                  });
      }
      ASSERT_EQ(seen.size(), sealed.size());
    }
  }
  EXPECT_FALSE(sealed.empty());
}

TEST(LakeKillTest, NoSealedClipIsLostAndNoneIsTwice) { KillAtRandom(30, 1); }

TEST(LakeKillTest, SlowAThousandKills) { KillAtRandom(1000, 2); }

}  // namespace
}  // namespace athanor
