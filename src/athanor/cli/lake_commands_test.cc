// The lake's commands, from outside.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <sstream>

#include "athanor/cli/cli_test_util.h"
#include "athanor/datasets/log_test_util.h"

namespace athanor {
namespace {

namespace fs = std::filesystem;
using ::testing::AllOf;
using ::testing::HasSubstr;

TEST(LakeCommandsTest, FromALogToALakeAndBack) {
  const fs::path folder = TestFolder("lake");
  const std::string town = WriteTestTown(folder / "town").string();
  const std::string lake = (folder / "lake").string();
  const Outcome first = Execute({"lake", "ingest", town, "-o", lake});
  EXPECT_EQ(first.status, 0) << first.err;
  EXPECT_THAT(first.out, AllOf(HasSubstr("added      2 clips"), HasSubstr("MB/s")));
  const Outcome second = Execute({"lake", "ingest", town, "-o", lake});
  EXPECT_THAT(second.out,
              AllOf(HasSubstr("added      0 clips, 0.0 MB"), HasSubstr("present    2 clips")));
  const auto outcomes = ExecuteAll({{"lake", "info", lake},
                                    {"lake", "verify", lake},
                                    {"log", "info", lake},
                                    {"log", "check", lake},
                                    {"log", "view", lake, "-o", (folder / "lake.png").string()},
                                    {"log", "view", town, "-o", (folder / "town.png").string()},
                                    {"lake", "export", lake, (folder / "out").string()},
                                    {"lake", "info", town},
                                    {"lake", "remove", lake, "xyz"}});
  // The check finds in the lake what it finds in the town: its boxes do not hold the points that
  // they are said to, and nothing else.
  const Outcome check = Execute({"log", "check", town});
  const auto counts = [](const Outcome& of) { return of.out.substr(of.out.find("checked    ")); };
  const auto faults = [](const Outcome& of) {
    std::vector<std::string> lines;
    std::istringstream text(of.out.substr(0, of.out.find("checked    ")));
    for (std::string line; std::getline(text, line);) lines.push_back(line.substr(line.find(": ")));
    return lines;
  };
  EXPECT_EQ(outcomes[3].status, check.status);
  EXPECT_EQ(counts(outcomes[3]), counts(check));
  EXPECT_EQ(faults(outcomes[3]), faults(check));
  for (const int i : {0, 1, 2, 4, 5, 6}) {
    EXPECT_EQ(outcomes[i].status, 0) << i << outcomes[i].err;
  }
  EXPECT_THAT(outcomes[0].out, AllOf(HasSubstr("clips      2"), HasSubstr("scene-0002")));
  EXPECT_THAT(outcomes[1].out, HasSubstr("faults     0"));
  EXPECT_THAT(outcomes[2].out,
              AllOf(HasSubstr("(lake)"), HasSubstr("frames     6"), HasSubstr("vehicle.car")));
  EXPECT_THAT(outcomes[3].out, HasSubstr("checked    2 logs, 6 frames"));
  EXPECT_EQ(ReadFile(folder / "lake.png"), ReadFile(folder / "town.png"));
  EXPECT_THAT(Execute({"lake", "ingest", (folder / "out").string(), "-o", lake}).out,
              HasSubstr("added      0 clips"));
  EXPECT_EQ(outcomes[7].status, 1);
  EXPECT_THAT(outcomes[7].err, HasSubstr("expected a lake"));
  EXPECT_EQ(outcomes[8].status, 1);
  EXPECT_THAT(outcomes[8].err, HasSubstr("no clip's id begins with 'xyz'"));

  const std::string mirror = (folder / "mirror").string();
  const Outcome mirrored = Execute({"lake", "mirror", lake, "-o", mirror, "--disk", "16"});
  ASSERT_EQ(mirrored.status, 0) << mirrored.err;
  EXPECT_THAT(mirrored.out, HasSubstr("clips      2"));
  const auto through = ExecuteAll(
      {{"lake", "info", mirror},
       {"log", "view", mirror, "-o", (folder / "mirror.png").string()},
       {"lake", "ingest", town, "-o", mirror},
       {"lake", "gc", mirror},
       {"mine", "rule", mirror, "SELECT frame FROM frames", "-o", (folder / "found").string()}});
  EXPECT_THAT(through[0].out, HasSubstr("a mirror of " + lake));
  EXPECT_EQ(ReadFile(folder / "mirror.png"), ReadFile(folder / "town.png"));
  EXPECT_THAT(through[2].err, HasSubstr("a mirror is only read"));
  EXPECT_THAT(through[3].err, HasSubstr("a mirror is only read"));
  EXPECT_EQ(through[4].status, 0) << through[4].err;

  const std::string id = outcomes[0].out.substr(outcomes[0].out.find("\n\n") + 2);
  const std::string row = id.substr(id.find('\n') + 1);
  EXPECT_EQ(Execute({"lake", "remove", lake, row.substr(0, 12)}).status, 0) << row;
  EXPECT_THAT(Execute({"lake", "gc", lake}).out, HasSubstr("shards     1 removed"));
  EXPECT_THAT(Execute({"lake", "verify", lake}).out,
              AllOf(HasSubstr("verified   1 clips"), HasSubstr("faults     0")));

  // Damage is one line, and exit status 1.
  fs::path shard;
  for (const fs::path& path : ListFiles(folder / "lake" / "shards")) shard = path;
  std::string bytes = ReadFile(shard);
  bytes[200] ^= 1;
  WriteFile(shard, bytes);
  const Outcome damaged = Execute({"lake", "verify", lake});
  EXPECT_EQ(damaged.status, 1);
  EXPECT_THAT(damaged.out, AllOf(HasSubstr("expected CRC32C"), HasSubstr("faults     1")));
}

}  // namespace
}  // namespace athanor
