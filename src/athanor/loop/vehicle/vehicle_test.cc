#include "athanor/loop/vehicle/vehicle.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <limits>
#include <nlohmann/json.hpp>
#include <set>
#include <utility>

#include "athanor/base/files.h"
#include "athanor/base/random.h"
#include "athanor/base/test_util.h"
#include "athanor/datasets/log_test_util.h"
#include "athanor/lake/lake.h"
#include "athanor/loop/queue/queue_test_util.h"
#include "athanor/loop/vehicle/upload.h"

namespace athanor {
namespace {

namespace fs = std::filesystem;
using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

// Sees a dog in one frame of each log, and stumbles where it is told to.
class FakeModel : public SmallModel {
 public:
  SmallModelSight Look(const Log& log, int frame) override {
    ATHANOR_CHECK(frame != blind_at, "frame ", frame, ": expected an output, found NaN");
    SmallModelSight sight;
    Random random(frame + 7);
    for (int i = 0; i < 8; ++i) sight.feature.push_back(random.Normal());
    if (frame == dog_at) sight.feature = {9, -9, 9, -9, 9, -9, 9, -9};
    MinedBox box;
    box.class_index = FindNuscenesClass(frame == dog_at ? "animal" : "car");
    box.center_m = log.frames[frame].world_from_ego * Eigen::Vector3d(8, 0, 0);
    box.score = 0.9;
    sight.boxes.push_back(box);
    if (frame == nan_at) sight.boxes[0].score = std::nan("");
    return sight;
  }
  int dog_at = 11, blind_at = -1, nan_at = -1;
};

VehicleBundle DogBundle(int64_t version) {
  VehicleBundle bundle = DefaultBundle();
  bundle.version = version;
  bundle.prototypes = {{"dog", 5, 0.7, {9, -9, 9, -9, 9, -9, 9, -9}}};
  bundle.rarity = bundle.scenario = bundle.margin = bundle.tracks = 0;
  return bundle;
}

TEST(Bundle, RoundTrips) {
  VehicleBundle bundle = DogBundle(12);
  bundle.budgets = {1 << 20, 1 << 19, 0.01, 2.5, {{"prototype.dog", 1000}}};
  bundle.rules = {{"near", "SELECT frame FROM boxes", 2}};
  bundle.pixels_on_demand = true;
  const std::string bytes = EncodeBundle(bundle);
  const VehicleBundle read = DecodeBundle(bytes, "x");
  EXPECT_EQ(EncodeBundle(read), bytes);
  EXPECT_EQ(read.budgets, bundle.budgets);
  EXPECT_EQ(read.prototypes.at(0).vector, bundle.prototypes[0].vector);
}

TEST(Bundle, IsTakenWholeOrNotAndNeverOverANewerOne) {
  const fs::path path = TestFolder("bundle") / "bundle";
  BundleSlot slot(path, DefaultBundle());
  EXPECT_TRUE(slot.Take(EncodeBundle(DogBundle(5)), "five"));
  EXPECT_FALSE(slot.Take(EncodeBundle(DogBundle(4)), "four"));
  EXPECT_FALSE(slot.Take(EncodeBundle(DogBundle(5)), "five"));
  const std::string good = EncodeBundle(DogBundle(6));
  Random random(1);
  for (int i = 0; i < 300; ++i) {
    std::string bad = good;
    if (random.Below(2) == 0) {
      bad.resize(random.Below(static_cast<uint32_t>(bad.size())));
    } else {
      bad[random.Below(static_cast<uint32_t>(bad.size()))] ^= 1 << random.Below(8);
    }
    EXPECT_THAT(ErrorOf([&] { slot.Take(bad, "bundle six"); }), HasSubstr("bundle six: "));
    EXPECT_EQ(slot.bundle().version, 5);
  }
  EXPECT_EQ(BundleSlot(path, DefaultBundle()).bundle().version, 5);
  EXPECT_TRUE(slot.Take(good, "six"));
  // A file that was damaged on the car's own disk.
  WriteFile(path, good.substr(0, 100));
  EXPECT_EQ(BundleSlot(path, DogBundle(1)).bundle().version, 1);
}

TEST(Bundle, BadFieldsAreNamed) {
  const auto error = [](const std::string& json) {
    return ErrorOf([&] { ParseBundle(json, "spec.json"); });
  };
  EXPECT_THAT(error("{"), HasSubstr("damaged JSON"));
  EXPECT_THAT(error("[]"), HasSubstr("expected a JSON object"));
  EXPECT_THAT(error(R"({"share": 2})"), HasSubstr("share: expected 0 to 1, found 2"));
  EXPECT_THAT(error(R"({"bytes_per_dya": 5})"), HasSubstr("no such field: \"bytes_per_dya\""));
  EXPECT_THAT(error(R"({"version": 1.5})"), HasSubstr("whole number"));
  EXPECT_THAT(error(R"({"prototypes": [{"name": "a"}]})"), HasSubstr("prototypes 0: expected"));
  EXPECT_THAT(error(R"({"events": {"x": -1}})"), HasSubstr("events: x"));
}

TEST(Upload, ALogCutAndSentReadsTheSame) {
  const fs::path folder = TestFolder("upload");
  const auto logs = OpenLogs(WriteTestTown(folder / "town", 8));
  const Log log = logs->Read(0);
  const Log cut = CutLog(log, 2, 4);
  EXPECT_EQ(cut.frames.size(), 3u);
  for (const LogReading& reading : cut.readings) {
    EXPECT_GT(reading.time_us, log.frames[1].time_us);
    EXPECT_LE(reading.time_us, log.frames[4].time_us + 1000);
  }
  const std::string bytes = EncodeUpload(cut);
  WriteFile(folder / "sent" / "clips" / "a.clip", bytes);
  const auto uploads = OpenUploads(folder / "sent");
  const Log read = uploads->Read(0);
  ASSERT_EQ(read.readings.size(), cut.readings.size());
  for (size_t i = 0; i < read.readings.size(); ++i) {
    EXPECT_EQ(ReadPayload(read, read.readings[i]), ReadPayload(cut, cut.readings[i]));
  }
  for (const LogFrame& frame : read.frames) EXPECT_THAT(frame.boxes, IsEmpty());
  Random random(1);
  for (int i = 0; i < 200; ++i) {
    std::string bad = bytes;
    if (i % 2 == 0) {
      bad.resize(random.Below(static_cast<uint32_t>(bad.size())));
    } else {
      bad[random.Below(static_cast<uint32_t>(bad.size()))] ^= 1 << random.Below(8);
    }
    EXPECT_THAT(ErrorOf([&] { DecodeUpload(bad, "a.clip"); }), HasSubstr("a.clip: "));
  }
}

// A log, a lake, and a question from the cloud.
TEST(Vehicle, KeepsTheDogAndTheLakeTakesIt) {
  const fs::path folder = TestFolder("drive");
  const auto logs = OpenLogs(WriteTestTown(folder / "town", 20));
  FakeModel model;
  FolderTransport transport(folder / "cloud", folder / "inbox");
  const VehicleReport report = DriveLogs(*logs, &model, DogBundle(1), &transport, folder / "car");
  EXPECT_EQ(report.selection.recorded.frames, 40);
  ASSERT_EQ(report.sent.size(), 2u);  // one in each log
  EXPECT_EQ(report.sent[0].snippet.main_reason(), "prototype.dog");
  EXPECT_EQ(report.selection.uploaded.frames, 6);  // with the frames before and after
  EXPECT_EQ(report.selection.dropped.at("unremarkable").frames, 34);
  EXPECT_EQ(report.faults, 0);
  const auto json = nlohmann::json::parse(ReadFile(folder / "car" / "report.json"));
  EXPECT_EQ(json.at("uploaded").at("frames"), 6);
  const auto features = ListFiles(folder / "cloud" / "features");
  ASSERT_EQ(features.size(), 2u);
  const FeatureRecord record = DecodeFeatures(ReadFile(features[0]), "features");
  EXPECT_NEAR(record.feature.at(0), 9, 0.1);
  EXPECT_THAT(record.seen.at(0), HasSubstr("animal 0.90 at 8 m"));

  RegisterUploads();
  Lake lake(folder / "lake", Lake::Mode::kCreate);
  const IngestReport ingest = lake.IngestSource(folder / "cloud", {.settle_s = 0});
  EXPECT_EQ(ingest.added, 2);
  EXPECT_THAT(ingest.dead, IsEmpty());
  EXPECT_EQ(lake.IngestSource(folder / "cloud", {.settle_s = 0}).added, 0);
  EXPECT_EQ(lake.Read(lake.Clips()[0].id).frames.size(), 3u);
}

TEST(Vehicle, PixelsComeWhenTheCloudAsks) {
  const fs::path folder = TestFolder("demand");
  const auto logs = OpenLogs(WriteTestTown(folder / "town", 20));
  FakeModel model;
  VehicleBundle bundle = DogBundle(1);
  bundle.pixels_on_demand = true;
  FolderTransport transport(folder / "cloud", folder / "inbox");
  VehicleReport report = DriveLogs(*logs, &model, bundle, &transport, folder / "car");
  EXPECT_THAT(report.sent, IsEmpty());
  EXPECT_EQ(report.waiting.at("not asked for").frames, 6);
  const auto features = ListFiles(folder / "cloud" / "features");
  ASSERT_EQ(features.size(), 2u);
  // The next time it is switched on.
  WriteFile(folder / "inbox" / "request" / features[1].stem(), "");
  report = DriveLogs(*logs, &model, bundle, &transport, folder / "car");
  ASSERT_EQ(report.sent.size(), 1u);
  EXPECT_EQ(report.sent[0].id, features[1].stem().string());
}

TEST(Vehicle, TakesBundlesOnTheWayAndRefusesDamagedOnes) {
  const fs::path folder = TestFolder("bundles");
  const auto logs = OpenLogs(WriteTestTown(folder / "town", 20));
  FakeModel model;
  FolderTransport transport(folder / "cloud", folder / "inbox");
  WriteFile(folder / "inbox" / "bundle" / "7", EncodeBundle(DogBundle(7)));
  WriteFile(folder / "inbox" / "bundle" / "6", EncodeBundle(DogBundle(6)));
  WriteFile(folder / "inbox" / "bundle" / "8", EncodeBundle(DogBundle(8)).substr(0, 300));
  VehicleBundle wrong = DogBundle(9);
  wrong.rules = {{"wrong", "SELEKT", 1}};
  WriteFile(folder / "inbox" / "bundle" / "9", EncodeBundle(wrong));
  VehicleBundle first = DefaultBundle();
  first.rarity = first.scenario = first.margin = first.tracks = 0;
  const VehicleReport report = DriveLogs(*logs, &model, first, &transport, folder / "car");
  EXPECT_EQ(report.bundle, 7);
  EXPECT_EQ(report.sent.size(), 2u);
  EXPECT_EQ(report.faults, 1);  // one line for what came together
}

TEST(Vehicle, ABlindModelAndAJumpingClockCostOnlyWhatTheyTouch) {
  const fs::path folder = TestFolder("blind");
  class Jumping : public LogDataset {
   public:
    explicit Jumping(std::unique_ptr<LogDataset> logs) : logs_(std::move(logs)) {}
    const std::string& format() const override { return logs_->format(); }
    const std::vector<std::string>& names() const override { return logs_->names(); }
    Log Read(int index) const override {
      Log log = logs_->Read(index);
      for (size_t f = 6; f < log.frames.size(); ++f) log.frames[f].time_us -= 400'000'000'000;
      for (LogReading& reading : log.readings) {
        if (reading.time_us >= log.frames[6].time_us + 400'000'000'000) {
          reading.time_us -= 400'000'000'000;
        }
      }
      return log;
    }

   private:
    std::unique_ptr<LogDataset> logs_;
  };
  const Jumping logs(OpenLogs(WriteTestTown(folder / "town", 20)));
  FakeModel model;
  model.blind_at = 3;
  model.nan_at = 4;
  FolderTransport transport(folder / "cloud", folder / "inbox");
  const VehicleReport report = DriveLogs(logs, &model, DogBundle(1), &transport, folder / "car");
  EXPECT_EQ(report.selection.recorded.frames, 40);
  EXPECT_GE(report.clock_jumps, 2);
  EXPECT_EQ(report.faults, 4);
  EXPECT_EQ(report.sent.size(), 2u);
}

// A link that breaks off: the car goes on, and nothing is lost or sent twice.
TEST(Vehicle, WhatCouldNotBeSentIsSentLater) {
  class Broken : public FolderTransport {
   public:
    using FolderTransport::FolderTransport;
    void Send(const std::string& kind, const std::string& name, std::string_view bytes) override {
      ATHANOR_CHECK(works, name, ": cannot write: No space left on device");
      EXPECT_TRUE(sent.insert(kind + name).second) << name << " was sent twice";
      FolderTransport::Send(kind, name, bytes);
    }
    bool works = false;
    std::set<std::string> sent;
  };
  const fs::path folder = TestFolder("broken");
  const auto logs = OpenLogs(WriteTestTown(folder / "town", 20));
  FakeModel model;
  Broken transport(folder / "cloud", folder / "inbox");
  VehicleReport report = DriveLogs(*logs, &model, DogBundle(1), &transport, folder / "car");
  EXPECT_THAT(report.sent, IsEmpty());
  EXPECT_EQ(report.waiting.at("no bytes left").frames, 6);
  EXPECT_EQ(ListFiles(folder / "car" / "spool", {".clip"}).size(), 2u);
  transport.works = true;
  report = DriveLogs(*logs, &model, DogBundle(1), &transport, folder / "car");
  EXPECT_EQ(report.selection.recorded.frames, 0) << "they are behind us";
  EXPECT_EQ(report.sent.size(), 2u);
  EXPECT_THAT(ListFiles(folder / "car" / "spool"), IsEmpty());
}

// Sends nothing, hears what it is told to.
class OneWay : public Transport {
 public:
  void Send(const std::string& kind, const std::string& name, std::string_view) override {
    ATHANOR_CHECK(works, name, ": no link");
    EXPECT_TRUE(sent.insert(kind + "/" + name).second) << name << " was sent twice";
  }
  void Receive(const Handler& handle) override {
    for (const auto& [kind, name] : std::exchange(messages, {})) handle(kind, name, "");
  }
  bool works = true;
  std::set<std::string> sent;
  std::vector<std::pair<std::string, std::string>> messages;
};

struct Killed {};

// Drives until a frame, and is gone: nothing is tidied up.
void DriveAndDie(const LogDataset& logs, SmallModel* model, const VehicleBundle& bundle,
                 Transport* transport, const fs::path& car, int64_t frames) {
  VehicleOptions options;
  options.progress = [&](int64_t driven, const Selector&) {
    if (driven == frames) throw Killed();
  };
  EXPECT_THROW(DriveLogs(logs, model, bundle, transport, car, options), Killed);
}

TEST(Vehicle, AfterAKillNothingIsKeptTwice) {
  for (const bool before_the_ledger : {false, true}) {
    const fs::path folder = TestFolder("killed");
    const auto logs = OpenLogs(WriteTestTown(folder / "town", 20));
    FakeModel model;
    OneWay transport;
    VehicleBundle bundle = DogBundle(1);
    bundle.budgets.share = 0;  // nothing goes yet, not even features
    DriveAndDie(*logs, &model, bundle, &transport, folder / "car", 15);
    EXPECT_EQ(ListFiles(folder / "car" / "spool", {".clip"}).size(), 1u);
    if (before_the_ledger) fs::remove(folder / "car" / "ledger.json");
    bundle.budgets.share = 1;
    const VehicleReport report = DriveLogs(*logs, &model, bundle, &transport, folder / "car");
    EXPECT_EQ(report.sent.size(), 2u);
    EXPECT_EQ(report.selection.recorded.frames, before_the_ledger ? 40 : 26);
    EXPECT_EQ(report.faults, before_the_ledger ? 1 : 0);  // says that its frames are driven again
    EXPECT_EQ(transport.sent.size(), 4u);                 // features and pixels of each
    EXPECT_THAT(ListFiles(folder / "car" / "spool"), IsEmpty());
  }
}

TEST(Vehicle, WhatIsDamagedInTheStoreKeepsNothingElseBack) {
  const fs::path folder = TestFolder("store");
  const auto logs = OpenLogs(WriteTestTown(folder / "town", 20));
  FakeModel model;
  OneWay transport;
  transport.works = false;
  DriveLogs(*logs, &model, DogBundle(1), &transport, folder / "car");
  const auto clips = ListFiles(folder / "car" / "spool", {".clip"});
  ASSERT_EQ(clips.size(), 2u);
  for (const fs::path& clip : clips) {
    // One of them, then also the other: whichever is worth more.
    std::string bytes = ReadFile(clip);
    bytes[bytes.size() / 2] ^= 1;
    fs::copy(folder / "car", folder / clip.stem(), fs::copy_options::recursive);
    WriteFile(folder / clip.stem() / "spool" / clip.filename(), bytes);
    OneWay again;
    const VehicleReport report =
        DriveLogs(*logs, &model, DogBundle(1), &again, folder / clip.stem());
    ASSERT_EQ(report.sent.size(), 1u);
    EXPECT_NE(report.sent[0].id, clip.stem().string());
    EXPECT_EQ(report.selection.dropped.at("damaged").frames, 3);
    EXPECT_THAT(ListFiles(folder / clip.stem() / "spool"), IsEmpty());
  }
}

TEST(Vehicle, WhatWasAskedForIsNotForgotten) {
  const fs::path folder = TestFolder("asked");
  const auto logs = OpenLogs(WriteTestTown(folder / "town", 20));
  FakeModel model;
  VehicleBundle bundle = DogBundle(1);
  bundle.pixels_on_demand = true;
  OneWay transport;
  DriveLogs(*logs, &model, bundle, &transport, folder / "car");
  const std::string id = ListFiles(folder / "car" / "spool", {".clip"}).at(1).stem().string();
  transport.messages = {{"request", id}};
  transport.works = false;
  EXPECT_THAT(DriveLogs(*logs, &model, bundle, &transport, folder / "car").sent, IsEmpty());
  OneWay later;
  const VehicleReport report = DriveLogs(*logs, &model, bundle, &later, folder / "car");
  ASSERT_EQ(report.sent.size(), 1u);
  EXPECT_EQ(report.sent[0].id, id);
}

TEST(Vehicle, WhatCannotBeWrittenDownIsNotSent) {
  const fs::path folder = TestFolder("unwritten");
  const auto logs = OpenLogs(WriteTestTown(folder / "town", 20));
  FakeModel model;
  OneWay transport;
  WriteFile(folder / "car" / "ledger.json" / "in the way", "");
  const VehicleReport report = DriveLogs(*logs, &model, DogBundle(1), &transport, folder / "car");
  EXPECT_THAT(transport.sent, IsEmpty());
  EXPECT_GT(report.faults, 0);
  EXPECT_EQ(report.waiting.at("no bytes left").frames, 6);
}

TEST(Vehicle, DamagedLogsAndFeaturesThatAreNoNumbersCostOnlyThemselves) {
  const fs::path folder = TestFolder("torn log");
  class OneTorn : public LogDataset {
   public:
    explicit OneTorn(std::unique_ptr<LogDataset> logs) : logs_(std::move(logs)) {}
    const std::string& format() const override { return logs_->format(); }
    const std::vector<std::string>& names() const override { return logs_->names(); }
    Log Read(int index) const override {
      ATHANOR_CHECK(index == 1, "log 0: byte 5: damaged");
      return logs_->Read(index);
    }

   private:
    std::unique_ptr<LogDataset> logs_;
  };
  class Dizzy : public FakeModel {
   public:
    SmallModelSight Look(const Log& log, int frame) override {
      SmallModelSight sight = FakeModel::Look(log, frame);
      if (frame == 5) sight.feature[2] = std::numeric_limits<float>::infinity();
      return sight;
    }
  };
  const OneTorn logs(OpenLogs(WriteTestTown(folder / "town", 20)));
  Dizzy model;
  OneWay transport;
  const VehicleReport report = DriveLogs(logs, &model, DogBundle(1), &transport, folder / "car");
  EXPECT_EQ(report.faults, 2);
  EXPECT_EQ(report.sent.size(), 1u);
  EXPECT_EQ(report.selection.recorded.frames, 20);
  VehicleOptions options;
  options.name = "a/b";
  EXPECT_THAT(ErrorOf([&] {
                DriveLogs(logs, &model, DogBundle(1), &transport, folder / "other", options);
              }),
              HasSubstr("found \"a/b\""));
  EXPECT_THAT(ErrorOf([&] { FolderTransport(folder / "a", folder / "b").Send("..", "x", ""); }),
              HasSubstr("found \"..\""));
}

// Leases so short that what could not be handled comes again while the test waits.
WorkQueueOptions ShortLeases() { return {1.5, QueueTransport::kAttempts}; }

void ExchangeOver(const std::string& up, const std::string& down) {
  const auto queue_up = OpenTestQueue(up, ShortLeases());
  const auto queue_down = OpenTestQueue(down, ShortLeases());
  QueueTransport car(queue_up.get(), queue_down.get()), cloud(queue_down.get(), queue_up.get());
  std::string big(3 * QueueTransport::kPartBytes + 17, 'x');
  for (size_t i = 0; i < big.size(); ++i) big[i] = static_cast<char>(i * 31 % 251);
  car.Send("clips", "a.clip", big);
  car.Send("features", "a.json", "{}");
  car.Send("clips", "a.clip", big);  // again, after a kill
  std::map<std::string, std::string> got;
  bool fails = true;
  const auto take = [&](const std::string& kind, const std::string& name, std::string_view bytes) {
    ATHANOR_CHECK(!fails || kind != "clips", "disk full");
    EXPECT_TRUE(got.emplace(kind + "/" + name, bytes).second);
  };
  EXPECT_THAT(ErrorOf([&] {
                cloud.Receive([&](const auto& kind, const auto& name, std::string_view bytes) {
                  const bool fails_now = std::exchange(fails, kind != "clips" && fails);
                  if (fails_now && kind == "clips") throw Error("disk full");
                  take(kind, name, bytes);
                });
              }),
              HasSubstr("disk full"));
  for (int i = 0; i < 300 && got.size() < 2; ++i) cloud.Receive(take);
  EXPECT_EQ(got.size(), 2u);
  EXPECT_TRUE(got["clips/a.clip"] == big);
  cloud.Send("bundle", "3", "three");
  std::string bundle;
  car.Receive([&](const auto&, const auto&, std::string_view bytes) { bundle = bytes; });
  EXPECT_EQ(bundle, "three");
  EXPECT_THAT(ErrorOf([&] { car.Send("clips", "../a", ""); }), HasSubstr("../a"));
}

TEST(QueueTransport, CarriesFilesInParts) {
  const fs::path folder = TestFolder("queue");
  ExchangeOver("sqlite:" + (folder / "up.sqlite").string(),
               "sqlite:" + (folder / "down.sqlite").string());
}

// A disk that is full for longer than a queue has patience with its workers by default.
TEST(QueueTransport, WhatCannotBeTakenIsNeverGivenUp) {
  const fs::path folder = TestFolder("patience");
  SqliteQueue up(folder / "up.sqlite", {0.05, QueueTransport::kAttempts});
  SqliteQueue down(folder / "down.sqlite");
  QueueTransport car(&up, &down), cloud(&down, &up, 0.1);
  car.Send("clips", "a.clip", "pixels");
  int failures = 0;
  std::string got;
  for (int i = 0; i < 600 && got.empty(); ++i) {
    ErrorOf([&] {
      cloud.Receive([&](const auto&, const auto&, std::string_view bytes) {
        ATHANOR_CHECK(++failures > 12, "disk full");
        got = bytes;
      });
    });
  }
  EXPECT_EQ(got, "pixels");
  EXPECT_THAT(up.DeadJobs(), IsEmpty());
}

// Cut short after its first part, then trimmed: the parts of two contents never mix.
TEST(QueueTransport, WhatChangedBetweenTwoAttemptsIsAnotherMessage) {
  class Breaking : public SqliteQueue {
   public:
    using SqliteQueue::SqliteQueue;
    bool Publish(const std::string& id, std::string_view bytes) override {
      ATHANOR_CHECK(--left >= 0, "the link breaks");
      return SqliteQueue::Publish(id, bytes);
    }
    int left = 1;
  };
  const fs::path folder = TestFolder("changed");
  Breaking up(folder / "up.sqlite", WorkQueueOptions{5, QueueTransport::kAttempts});
  SqliteQueue down(folder / "down.sqlite");
  QueueTransport car(&up, &down), cloud(&down, &up);
  const std::string first(2 * QueueTransport::kPartBytes, 'a');
  const std::string second(2 * QueueTransport::kPartBytes - 7, 'b');
  EXPECT_THAT(ErrorOf([&] { car.Send("clips", "a.clip", first); }), HasSubstr("breaks"));
  up.left = 100;
  car.Send("clips", "a.clip", second);
  std::string got;
  cloud.Receive([&](const auto&, const auto&, std::string_view bytes) { got = bytes; });
  EXPECT_TRUE(got == second);
}

#ifdef ATHANOR_WITH_NATS
TEST(QueueTransport, CarriesFilesOverNats) {
  if (FindNatsServer().empty()) GTEST_SKIP() << "needs nats-server";
  NatsBroker broker(TestFolder("nats"));
  NatsQueue up(broker.Url(), "car-up"), down(broker.Url(), "car-down");
  QueueTransport car(&up, &down), cloud(&down, &up);
  const std::string big(2 * QueueTransport::kPartBytes + 5, 'y');
  car.Send("clips", "a.clip", big);
  cloud.Send("bundle", "3", "three");
  std::string clip, bundle;
  cloud.Receive([&](const auto&, const auto&, std::string_view bytes) { clip = bytes; });
  car.Receive([&](const auto&, const auto&, std::string_view bytes) { bundle = bytes; });
  EXPECT_TRUE(clip == big);
  EXPECT_EQ(bundle, "three");
}
#endif

}  // namespace
}  // namespace athanor
