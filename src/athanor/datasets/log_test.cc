#include "athanor/datasets/log.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>

#include "athanor/datasets/log_check.h"
#include "athanor/datasets/log_scene.h"
#include "athanor/datasets/log_test_util.h"
#include "athanor/datasets/log_view.h"
#include "athanor/datasets/nuscenes_reader.h"

namespace athanor {
namespace {

namespace fs = std::filesystem;
using ::testing::HasSubstr;

// Every file of a log in memory, under names that are no files.
class InMemory : public PayloadSource {
 public:
  explicit InMemory(Log* log) {
    for (LogReading& reading : log->readings) {
      const fs::path name = fs::path("/memory") / reading.path.filename();
      bytes_[name] = ReadFile(reading.path);
      reading.path = name;
    }
  }
  bool Has(const LogReading& reading) const override { return bytes_.contains(reading.path); }
  std::string Read(const LogReading& reading) const override { return bytes_.at(reading.path); }

 private:
  std::map<fs::path, std::string> bytes_;
};

TEST(LogPayloadTest, WhatReadsALogReadsItFromASourceToo) {
  const fs::path folder = TestFolder("payloads");
  const Log files = OpenLogs(WriteTestTown(folder / "town"))->Read(0);
  Log log = files;
  log.payloads = std::make_shared<InMemory>(&log);
  fs::rename(folder / "town", folder / "gone");
  const Log moved = OpenLogs(folder / "gone")->Read(0);

  const int key = log.frames[1].readings[1];
  EXPECT_EQ(ReadSweep(log, key).points, ReadSweep(moved, key).points);
  EXPECT_EQ(MergeSweeps(log, 1, 4).points, MergeSweeps(moved, 1, 4).points);
  EXPECT_EQ(MergeSweeps(log, 1, 4).points.size(), 4 * 200u);
  EXPECT_EQ(DrawFrame(log, 1).data, DrawFrame(moved, 1).data);
  EXPECT_EQ(FrameToShow(log), FrameToShow(moved));
  EXPECT_EQ(CountPointsInBoxes(log, 1), CountPointsInBoxes(moved, 1));
  EXPECT_TRUE(HasPayload(log, log.readings[0]));
  EXPECT_FALSE(HasPayload(files, files.readings[0]));
  EXPECT_EQ(ReadPayload(log, 0), ReadPayload(moved, 0));
  EXPECT_THAT(ErrorOf([&] { ReadPayload(log, 999); }), HasSubstr("found 999"));
  EXPECT_THAT(ErrorOf([&] { ReadPayload(files, 0); }), HasSubstr("No such file"));

  const LogScene scene = MakeLogScene(log, folder / "cache", {});
  const LogScene of_files = MakeLogScene(moved, folder / "cache2", {});
  ASSERT_EQ(scene.posed.images.size(), of_files.posed.images.size());
  EXPECT_EQ(ReadFile(scene.posed.images[0].image_path),
            ReadFile(of_files.posed.images[0].image_path));
}

class OneLog : public LogDataset {
 public:
  const std::string& format() const override { return names_[0]; }
  const std::vector<std::string>& names() const override { return names_; }
  Log Read(int) const override { return {}; }

 private:
  std::vector<std::string> names_ = {"made up"};
};

TEST(LogPayloadTest, OpensWhatWasRegistered) {
  const fs::path folder = TestFolder("formats");
  const LogFormat format = {"a made-up format (made.up)",
                            [](const fs::path& path) { return fs::exists(path / "made.up"); },
                            [](const fs::path&) { return std::make_unique<OneLog>(); }};
  RegisterLogFormat(format);
  RegisterLogFormat(format);
  EXPECT_THAT(ErrorOf([&] { OpenLogs(folder); }),
              HasSubstr("expected a made-up format (made.up), nuScenes"));
  WriteFile(folder / "made.up", "");
  EXPECT_EQ(OpenLogs(folder)->format(), "made up");
}

}  // namespace
}  // namespace athanor
