#include "athanor/lake/mirror.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <string>

#include "athanor/base/files.h"
#include "athanor/base/test_util.h"
#include "athanor/datasets/log.h"
#include "athanor/datasets/log_test_util.h"
#include "athanor/lake/disk_slots.h"
#include "athanor/lake/http_server_test_util.h"
#include "athanor/lake/lake.h"
#include "athanor/lake/lake_test_util.h"

namespace athanor {
namespace {

namespace fs = std::filesystem;
using ::testing::AllOf;
using ::testing::HasSubstr;
using Mode = Lake::Mode;

// A lake of a town's two logs, in three shards or more.
fs::path MakeLake(const fs::path& folder) {
  const fs::path town = WriteTestTown(folder / "town");
  Lake lake(folder / "lake", Mode::kCreate, {.shard_bytes = 4096});
  lake.Ingest(OpenLogs(town)->Read(0));
  lake.Ingest(OpenLogs(town)->Read(1));
  return folder / "lake";
}

void ExpectTheSame(const fs::path& lake, const fs::path& mirror) {
  const auto expected = OpenLakeLogs(lake), found = OpenLakeLogs(mirror);
  ASSERT_EQ(found->names(), expected->names());
  for (int i = 0; i < std::ssize(expected->names()); ++i) {
    const Log one = expected->Read(i), other = found->Read(i);
    ASSERT_EQ(other.readings.size(), one.readings.size());
    ASSERT_GT(one.readings.size(), 0u);
    for (size_t k = 0; k < one.readings.size(); ++k) {
      EXPECT_EQ(ReadPayload(other, other.readings[k]), ReadPayload(one, one.readings[k]));
    }
  }
}

TEST(MirrorTest, IsReadLikeTheLakeAndAsksForNothingTwice) {
  const fs::path folder = MemoryFolder("mirror"), lake = MakeLake(folder);
  TestServer server;
  ASSERT_TRUE(server.http.set_mount_point("/L", lake.string()));
  std::atomic<int> payload_requests{0};
  server.http.set_logger([&](const httplib::Request& request, const httplib::Response&) {
    if (request.method == "GET" && request.path.find("/shards/") != std::string::npos) {
      ++payload_requests;
    }
  });
  server.Start();
  const MirrorOptions options{.store = server.Url() + "/L", .disk_mb = 16, .block_kb = 4};
  const fs::path mirror = folder / "mirror";
  MirrorLake(mirror, options);
  EXPECT_TRUE(Lake::IsLake(mirror));
  EXPECT_TRUE(Lake(mirror).is_mirror());
  EXPECT_EQ(payload_requests, 0);
  ExpectTheSame(lake, mirror);
  const int first = payload_requests;
  EXPECT_GT(first, 2);
  // The cache was closed with the last log; another begins with what lies on the disk.
  ExpectTheSame(lake, mirror);
  EXPECT_EQ(payload_requests, first);
  // As do those of other processes, which hold what is on disk: they have folders of their own.
  {
    const DiskSlots of_another(mirror / "cache" / "0", 16 << 20, 4096);
    ExpectTheSame(lake, mirror);
  }
  EXPECT_TRUE(fs::exists(mirror / "cache" / "1"));
  EXPECT_GT(payload_requests, first);
}

TEST(MirrorTest, FollowsItsLakeWhenAsked) {
  const fs::path folder = MemoryFolder("mirror follows");
  const fs::path town = WriteTestTown(folder / "town"), lake = folder / "lake",
                 mirror = folder / "mirror";
  Lake(lake, Mode::kCreate).Ingest(OpenLogs(town)->Read(0));
  const MirrorOptions options{.store = lake.string(), .disk_mb = 0};
  MirrorLake(mirror, options);
  ExpectTheSame(lake, mirror);
  WriteFile(mirror / "attributes.sqlite", "mine");
  const auto held = OpenLakeLogs(mirror);
  Lake(lake, Mode::kWrite).Ingest(OpenLogs(town)->Read(1));
  EXPECT_EQ(held->names().size(), 1u);
  EXPECT_EQ(Lake(mirror).Clips().size(), 1u);
  MirrorLake(mirror, options);
  ExpectTheSame(lake, mirror);
  EXPECT_EQ(Lake(mirror).Clips().size(), 2u);
  EXPECT_EQ(ReadFile(mirror / "attributes.sqlite"), "mine");
}

TEST(MirrorTest, SaysWhatIsWrong) {
  const fs::path folder = MemoryFolder("mirror wrong"), lake = MakeLake(folder),
                 mirror = folder / "mirror";
  const MirrorOptions options{.store = lake.string(), .disk_mb = 0};
  MirrorLake(mirror, options);
  const std::string catalog = ReadFile(mirror / "lake.sqlite");

  EXPECT_THAT(ErrorOf([&] { Lake(mirror, Mode::kWrite); }),
              AllOf(HasSubstr("mirrors " + lake.string()), HasSubstr("only read")));
  EXPECT_THAT(ErrorOf([&] { Lake(mirror).Verify(); }), HasSubstr("is a mirror"));
  EXPECT_THAT(ErrorOf([&] { MirrorLake(lake, options); }), HasSubstr("is a lake of its own"));
  EXPECT_THAT(ErrorOf([&] { MirrorLake(mirror, {.store = (folder / "town").string()}); }),
              HasSubstr("mirrors " + lake.string() + ", not "));
  EXPECT_THAT(ErrorOf([&] { MirrorLake(folder / "m", {.store = (folder / "town").string()}); }),
              HasSubstr("lake.sqlite"));
  EXPECT_THAT(ErrorOf([&] { MirrorLake(folder / "m", {.store = "http://127.0.0.1:1/L"}); }),
              HasSubstr("http://127.0.0.1:1/L"));
  EXPECT_FALSE(Lake::IsLake(folder / "m"));

  WriteFile(lake / "lake.sqlite-wal", "not in the catalog yet");
  EXPECT_THAT(ErrorOf([&] { MirrorLake(mirror, options); }), HasSubstr("is being written to"));
  fs::remove(lake / "lake.sqlite-wal");
  const std::string whole = ReadFile(lake / "lake.sqlite");
  WriteFile(lake / "lake.sqlite", whole.substr(0, whole.size() / 2));
  EXPECT_NE(ErrorOf([&] { MirrorLake(mirror, options); }), "");
  EXPECT_EQ(ReadFile(mirror / "lake.sqlite"), catalog);  // as it was

  // A payload that was damaged on the way or over there, and one that is gone.
  for (const fs::path& shard : ListFiles(lake / "shards", {".shard"})) {
    std::string bytes = ReadFile(shard);
    for (size_t i = 100; i < bytes.size(); i += 50) bytes[i] ^= 1;
    WriteFile(shard, bytes);
  }
  const auto read_all = [&] {
    const Log log = OpenLakeLogs(mirror)->Read(0);
    for (const LogReading& reading : log.readings) ReadPayload(log, reading);
  };
  EXPECT_THAT(ErrorOf(read_all), HasSubstr(".shard: byte"));
  fs::remove_all(lake / "shards");
  EXPECT_THAT(ErrorOf(read_all), HasSubstr(lake.string()));
}

}  // namespace
}  // namespace athanor
