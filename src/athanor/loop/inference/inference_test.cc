#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <map>
#include <sstream>
#include <string>
#include <thread>
#include <vector>

#include "athanor/base/files.h"
#include "athanor/base/random.h"
#include "athanor/datasets/log_test_util.h"
#include "athanor/detection/evaluation/nuscenes_files.h"
#include "athanor/lake/lake.h"
#include "athanor/lake/lake_test_util.h"
#include "athanor/loop/inference/inference_run.h"
#include "athanor/loop/inference/inference_table.h"
#include "athanor/loop/inference/inference_test_util.h"
#include "athanor/loop/mining/vector_table.h"
#include "athanor/loop/queue/queue_test_util.h"

namespace athanor {
namespace {

namespace fs = std::filesystem;
using ::testing::HasSubstr;

// Two scenes of 20 frames: four shards for a model.
constexpr int kFrames = 20;

struct Work {
  explicit Work(const std::string& name) : folder(MemoryFolder(name)) {
    WriteTestTown(folder / "town", kFrames);
    plan.cells = out() / "cells";
    plan.clips = Clips(folder / "town");
  }
  fs::path out() const { return folder / "out"; }
  std::vector<PlannedClip> Clips(const fs::path& data) const {
    return PlanClips(data, folder / "clip-ids",
                     [](const std::string& why) { ADD_FAILURE() << why; });
  }
  InferenceReport Run(const Ensembles& ensembles = {}, const std::string& nats = "") const {
    InferenceOptions options;
    options.nats = nats;
    options.workers = 0;
    options.open = &OpenFakeModel;
    options.retry_failed = retry_failed;
    return RunInference(out(), plan, ensembles, options);
  }
  // In processes of its own.
  std::vector<std::string> Command(int workers, double lease_s, const fs::path& to,
                                   const std::string& nats = "") const {
    InferencePlan there = plan;
    there.cells = to / "cells";
    const fs::path file = folder / (to.filename().string() + ".plan");
    WriteFile(file, EncodePlan(there));
    std::vector<std::string> words = {
        ATHANOR_INFERENCE_TEST_WORKER, "run",          file.string(), to.string(),
        std::to_string(workers),       StrCat(lease_s)};
    if (!nats.empty()) words.push_back(nats);
    return words;
  }
  std::vector<std::string> Calls() const {
    std::error_code error;
    std::vector<std::string> lines;
    if (!fs::is_regular_file(folder / "calls", error)) return lines;
    std::istringstream text(ReadFile(folder / "calls"));
    for (std::string line; std::getline(text, line);) lines.push_back(line);
    return lines;
  }
  std::string CallsWord() const { return StrCat("calls=", (folder / "calls").string()); }

  fs::path folder;
  InferencePlan plan;
  bool retry_failed = false;
};

TEST(InferenceTest, MakesTheTablesThatMinersRead) {
  Work work("tables");
  work.plan.models = {FakeSpec(work.folder, "small", ""), FakeSpec(work.folder, "large", "")};
  const InferenceReport report = work.Run({{"both", {"small", "large"}}});
  EXPECT_EQ(report.cells, 4 * kFrames);
  EXPECT_EQ(report.passes, 4 * kFrames);
  EXPECT_EQ(report.reused, 0);
  EXPECT_EQ(report.failed, 0);

  const InferenceTable table(work.out());
  EXPECT_EQ(table.clips(), work.plan.clips);
  EXPECT_EQ(table.ensembles().at("both"), (std::vector<std::string>{"small", "large"}));
  EXPECT_THAT([&] { table.model("medium"); },
              ::testing::ThrowsMessage<Error>(HasSubstr("(small, large), found 'medium'")));
  const auto logs = OpenLogs(work.folder / "town");
  for (const InferredModel& model : table.models()) {
    FakeModel fake(model.spec);
    const auto frames = VectorTable::Open(model.frame_vectors);
    const auto objects = VectorTable::Open(model.object_vectors);
    const NuscenesResults boxes = ReadNuscenesResults(model.boxes);
    EXPECT_EQ(frames->rows(), 2 * kFrames);
    EXPECT_EQ(frames->spec().model, model.spec.Key());
    ASSERT_EQ(std::ssize(boxes.sample_tokens), 2 * kFrames);
    int64_t row = 0, object_row = 0;
    for (int c = 0; c < 2; ++c) {
      const Log log = logs->Read(c);
      for (int f = 0; f < kFrames; ++f, ++row) {
        const FrameOutput expected = fake.Forward(*fake.Read(log, f));
        EXPECT_EQ(table.Read(model, c, f), expected);
        EXPECT_EQ(FrameRowOrigin(frames->id(row)), (RowOrigin{c, f, -1}));
        std::vector<float> vector(8);
        frames->Read(row, vector.data());
        float length = 0;
        for (const float x : expected.vector) length += x * x;
        EXPECT_NEAR(vector[2], expected.vector[2] / std::sqrt(length), 1e-3);
        EXPECT_EQ(boxes.sample_tokens[row], log.frames[f].id);
        ASSERT_EQ(boxes.first_box[row + 1] - boxes.first_box[row], std::ssize(expected.objects));
        for (size_t k = 0; k < expected.objects.size(); ++k, ++object_row) {
          EXPECT_EQ(ObjectRowOrigin(objects->id(object_row)),
                    (RowOrigin{c, f, static_cast<int>(k)}));
          const NuscenesBox& box = boxes.boxes[boxes.first_box[row] + k];
          const FoundObject& object = expected.objects[k];
          EXPECT_EQ(box.class_index, object.class_index);
          EXPECT_EQ(static_cast<float>(box.score), object.score);
          const Eigen::Vector3d in_world =
              log.frames[f].world_from_ego *
              Eigen::Vector3d(object.box[0], object.box[1], object.box[2]);
          EXPECT_LT((box.translation_m - in_world).norm(), 1e-6);
        }
      }
    }
  }
}

TEST(InferenceTest, NothingIsComputedTwice) {
  Work work("memo");
  work.plan.models = {FakeSpec(work.folder, "small", work.CallsWord())};
  EXPECT_EQ(work.Run().passes, 2 * kFrames);
  EXPECT_EQ(std::ssize(work.Calls()), 2 * kFrames);
  const auto bytes = TableBytes(work.out());
  const InferenceReport again = work.Run();
  EXPECT_EQ(again.passes, 0);
  EXPECT_EQ(again.reused, 2 * kFrames);
  EXPECT_EQ(std::ssize(work.Calls()), 2 * kFrames);
  EXPECT_EQ(TableBytes(work.out()), bytes);

  // Another model, and another name for the first.
  ModelSpec renamed = work.plan.models[0];
  renamed.name = "deployed";
  work.plan.models = {renamed, FakeSpec(work.folder, "large", "")};
  EXPECT_EQ(work.Run().passes, 2 * kFrames);
  EXPECT_EQ(std::ssize(work.Calls()), 2 * kFrames);
  EXPECT_EQ(InferenceTable(work.out()).models()[0].spec.name, "deployed");

  // The same clips out of a lake, and one that is new.
  NuscenesWriter writer(work.folder / "more");
  writer.AddScene(WriteTestLog(work.folder / "more", "scene-0003", 3));
  writer.Finish();
  {
    Lake lake(work.folder / "lake", Lake::Mode::kCreate);
    lake.IngestSource(work.folder / "town", {.settle_s = 0});
    lake.IngestSource(work.folder / "more", {.settle_s = 0});
  }
  work.plan.clips = work.Clips(work.folder / "lake");
  ASSERT_EQ(work.plan.clips.size(), 3u);
  EXPECT_EQ(work.Run().passes, 2 * 3);
  EXPECT_EQ(std::ssize(work.Calls()), 2 * kFrames + 3);
}

TEST(InferenceTest, AChangedFileIsAnotherClip) {
  Work work("changed");
  const std::vector<PlannedClip> before = work.plan.clips;
  EXPECT_EQ(work.Clips(work.folder / "town"), before);
  const auto logs = OpenLogs(work.folder / "town");
  const Log log = logs->Read(1);
  std::string bytes = ReadPayload(log, log.frames[0].readings[1]);
  bytes[20] = static_cast<char>(bytes[20] ^ 1);
  WriteFile(log.readings[log.frames[0].readings[1]].path, bytes);
  const std::vector<PlannedClip> after = work.Clips(work.folder / "town");
  EXPECT_EQ(after[0], before[0]);
  EXPECT_NE(after[1].id, before[1].id);
}

TEST(InferenceTest, AFrameThatFailsIsRecordedAndTheRestGoesOn) {
  Work work("failures");
  work.plan.models = {FakeSpec(work.folder, "small", "throw=3\nnan=5\nread=18")};
  const InferenceReport report = work.Run();
  EXPECT_EQ(report.failed, 6);
  EXPECT_EQ(report.passes, 2 * kFrames);
  {
    const InferenceTable table(work.out());
    const InferredModel& model = table.model("");
    EXPECT_EQ(model.failed[0], (FailedFrame{0, 3, "the model does not like it"}));
    EXPECT_THAT(model.failed[1].reason, HasSubstr("found nan at 3 of the frame's vector"));
    EXPECT_EQ(model.failed[2], (FailedFrame{0, 18, "reading: a torn sweep"}));
    EXPECT_EQ(VectorTable::Open(model.frame_vectors)->rows(), 2 * kFrames - 6);
    EXPECT_EQ(std::ssize(ReadNuscenesResults(model.boxes).sample_tokens), 2 * kFrames - 6);
  }
  // Failures are remembered, until they are to be tried again.
  FakeSpec(work.folder, "small", "");
  EXPECT_EQ(work.Run().passes, 0);
  work.retry_failed = true;
  const InferenceReport retried = work.Run();
  EXPECT_EQ(retried.passes, 6);
  EXPECT_EQ(retried.failed, 0);
  // Those of a run that was killed before it published its shard, too.
  const CellStore cells(work.plan.cells);
  const CellShard shard = work.plan.Shards()[0];
  std::vector<FrameOutput> outputs = cells.Read(shard);
  fs::remove(cells.PathOf(shard));
  outputs[3] = {};
  outputs[3].failure = "no memory";
  for (int f = 0; f < 5; ++f) cells.AppendPart(shard, "killed", f, outputs[f]);
  WriteFile(cells.NotePath(shard, "killed", 3), "signal 9");
  const InferenceReport resumed = work.Run();
  EXPECT_EQ(resumed.passes, shard.count - 4);
  EXPECT_EQ(resumed.failed, 0);
}

TEST(InferenceTest, AReasonMayHoldAnyBytes) {
  Work work("bytes");
  work.plan.models = {FakeSpec(work.folder, "small", "say=\xff\xfe no text\nthrow=3")};
  EXPECT_EQ(work.Run().failed, 2);
  EXPECT_THAT(InferenceTable(work.out()).model("").failed[0].reason, HasSubstr(" no text"));
}

TEST(InferenceTest, DamagedCellsAreComputedAgain) {
  Work work("damage");
  work.plan.models = {FakeSpec(work.folder, "small", "")};
  work.Run();
  const auto bytes = TableBytes(work.out());
  const CellStore cells(work.plan.cells);
  const CellShard shard = work.plan.Shards()[1];
  std::string bad = ReadFile(cells.PathOf(shard));
  bad[bad.size() / 2] ^= 1;
  WriteFile(cells.PathOf(shard), bad);
  fs::remove(work.out() / "table.json");
  EXPECT_EQ(work.Run().passes, kFrames - kShardFrames);
  auto after = TableBytes(work.out());
  std::erase_if(after, [](const auto& file) { return file.first.ends_with(".damaged"); });
  EXPECT_EQ(after, bytes);
}

TEST(InferenceTest, KillsAtRandomPointsChangeNothing) {
  Work work("kills");
  work.plan.models = {FakeSpec(work.folder, "small", work.CallsWord() + "\npause_ms=3"),
                      FakeSpec(work.folder, "large", "pause_ms=2")};
  work.Run();
  const auto expected = TableBytes(work.out());
  EXPECT_EQ(std::ssize(work.Calls()), 2 * kFrames);
  fs::remove(work.folder / "calls");

  const fs::path to = work.folder / "killed";
  const auto command = work.Command(2, 30, to);
  Random random(7);
  int kills = 0;
  while (true) {
    Child run(command);
    ::usleep(20000 + random.Below(80000));
    if (fs::exists(to / "table.json") || kills == 40) {
      EXPECT_EQ(run.End(0), 0);
      break;
    }
    run.End(SIGKILL);  // its workers die with it
    ++kills;
  }
  EXPECT_GT(kills, 2);
  EXPECT_EQ(TableBytes(to), expected);
  // A pass that a kill broke off is done again, no other.
  EXPECT_LE(std::ssize(work.Calls()), 2 * kFrames + 2 * kills);
  EXPECT_GE(std::ssize(work.Calls()), 2 * kFrames);
}

// Pids of the processes that `parent` started.
std::vector<pid_t> ChildrenOf(pid_t parent) {
  std::vector<pid_t> children;
  std::error_code error;
  const fs::path list = StrCat("/proc/", parent, "/task/", parent, "/children");
  std::ifstream file(list);
  for (pid_t pid; file >> pid;) children.push_back(pid);
  return children;
}

TEST(InferenceTest, AKilledOrStoppedWorkerIsReplaced) {
  Work work("worker kills");
  work.plan.models = {FakeSpec(work.folder, "small", work.CallsWord() + "\npause_ms=20")};
  work.Run();
  const auto expected = TableBytes(work.out());
  fs::remove(work.folder / "calls");
  const fs::path to = work.folder / "killed";
  const auto command = work.Command(2, 0.5, to);
  const int out = ::open((work.folder / "said").c_str(), O_WRONLY | O_CREAT | O_TRUNC, 0666);
  ASSERT_GE(out, 0);
  const pid_t run = ::fork();
  if (run == 0) {
    ::dup2(out, STDOUT_FILENO);
    std::vector<char*> words;
    for (const std::string& word : command) words.push_back(const_cast<char*>(word.c_str()));
    words.push_back(nullptr);
    ::execv(words[0], words.data());
    ::_exit(127);
  }
  ::close(out);
  // One is killed, the other stopped for good, in the middle of a shard.
  int signals[] = {SIGKILL, SIGSTOP};
  size_t sent = 0;
  for (int i = 0; i < 2000 && sent < 2; ++i) {
    ::usleep(5000);
    if (work.Calls().size() < 6 * (sent + 1)) continue;
    const auto children = ChildrenOf(run);
    if (children.size() < 2) continue;
    ::kill(children[sent], signals[sent]);
    ++sent;
  }
  EXPECT_EQ(sent, 2u);
  int status = 0;
  ::waitpid(run, &status, 0);
  EXPECT_EQ(status, 0);
  EXPECT_EQ(TableBytes(to), expected);
  EXPECT_THAT(ReadFile(work.folder / "said"), HasSubstr("deaths 1"));
  EXPECT_LE(std::ssize(work.Calls()), 2 * kFrames + 2);
}

TEST(InferenceTest, AFrameThatCrashesOrHangsItsWorkerIsRecordedAsFailed) {
  Work work("crash");
  work.plan.models = {FakeSpec(work.folder, "small", "crash=4\nread_crash=9\nhang=17")};
  const fs::path to = work.folder / "crashed";
  EXPECT_EQ(Child(work.Command(1, 0.5, to)).End(0), 0);
  const InferenceTable table(to);
  EXPECT_THAT(table.model("small").failed,
              ::testing::ElementsAre(FailedFrame{0, 4, "the model crashed with signal 06"},
                                     FailedFrame{0, 9, "the model crashed with signal 06"},
                                     FailedFrame{0, 17, "the model took longer than 0.5 s"}));
  EXPECT_EQ(VectorTable::Open(table.model("small").frame_vectors)->rows(), 2 * kFrames - 3);
}

TEST(InferenceTest, AnErrorThatIsNoFramesEndsTheRunInOneLine) {
  Work work("broken");
  work.plan.models = {FakeSpec(work.folder, "small", "broken=1")};
  EXPECT_THAT([&] { work.Run(); }, ::testing::ThrowsMessage<Error>(HasSubstr("broken weights")));
  EXPECT_EQ(Child(work.Command(2, 30, work.folder / "to")).End(0), 1);
  work.plan.models = {FakeSpec(work.folder, "small", ""), FakeSpec(work.folder, "small", "")};
  EXPECT_THAT([&] { work.Run(); }, ::testing::ThrowsMessage<Error>(HasSubstr("'small' twice")));
  work.plan.models = {FakeSpec(work.folder, "small", "")};
  work.plan.models[0].name = "../small";
  EXPECT_THAT([&] { work.Run(); }, ::testing::ThrowsMessage<Error>(HasSubstr("'../small'")));
}

TEST(InferenceTest, AClipThatIsGoneIsLeftOutAndTheRestGoesOn) {
  Work work("gone");
  work.plan.models = {FakeSpec(work.folder, "small", "")};
  work.plan.clips[1].name = "scene-0009";
  const InferenceReport report = work.Run();
  EXPECT_EQ(report.passes, kFrames);
  EXPECT_EQ(report.dead.size(), 2u);
  EXPECT_THAT(report.dead[0], HasSubstr("the data set has changed"));
  EXPECT_EQ(report.failed, kFrames);
  // It is no failure of the model, and is tried again.
  work.plan.clips[1].name = "scene-0002";
  EXPECT_EQ(work.Run().passes, kFrames);
  EXPECT_EQ(InferenceTable(work.out()).model("").failed.size(), 0u);
}

TEST(InferenceTest, OneRunHoldsAFolder) {
  Work work("held");
  work.plan.models = {FakeSpec(work.folder, "small", "pause_ms=50")};
  Child run(work.Command(1, 30, work.out()));
  for (int i = 0; i < 1000 && !fs::exists(work.out() / "cells"); ++i) ::usleep(5000);
  EXPECT_THAT([&] { work.Run(); },
              ::testing::ThrowsMessage<Error>(HasSubstr("another inference is at work")));
}

#ifdef ATHANOR_WITH_NATS
TEST(InferenceTest, TwoRunsShareAJobOverNatsAndOneIsKilled) {
  if (FindNatsServer().empty()) GTEST_SKIP() << "nats-server is not installed";
  Work work("nats");
  work.plan.models = {FakeSpec(work.folder, "small", work.CallsWord() + "\npause_ms=20")};
  work.Run();
  const auto expected = TableBytes(work.out());
  fs::remove(work.folder / "calls");
  NatsBroker broker(work.folder / "broker");
  const fs::path to = work.folder / "shared";
  const auto command = work.Command(1, 1, to, broker.Url());
  Child first(command), second(command);
  for (int i = 0; i < 2000 && work.Calls().size() < 10; ++i) ::usleep(5000);
  first.End(SIGKILL);
  EXPECT_EQ(second.End(0), 0);
  EXPECT_EQ(TableBytes(to), expected);
  EXPECT_LE(std::ssize(work.Calls()), 2 * kFrames + 1);
}

TEST(InferenceTest, WhatGoesMissingIsComputedAgainOverNatsAsOftenAsItDoes) {
  if (FindNatsServer().empty()) GTEST_SKIP() << "nats-server is not installed";
  Work work("nats again");
  work.plan.models = {FakeSpec(work.folder, "small", "")};
  NatsBroker broker(work.folder / "broker");
  EXPECT_EQ(work.Run({}, broker.Url()).passes, 2 * kFrames);
  const auto expected = TableBytes(work.out());
  const CellStore cells(work.plan.cells);
  for (int i = 0; i < 6; ++i) {
    fs::remove(cells.PathOf(work.plan.Shards()[i % 2]));
    EXPECT_EQ(work.Run({}, broker.Url()).passes,
              i % 2 == 0 ? kShardFrames : kFrames - kShardFrames);
    EXPECT_EQ(TableBytes(work.out()), expected);
  }
}
#endif

// A kill between files of the table leaves none that older particulars tell of.
TEST(InferenceTest, ATableThatIsHalfReplacedIsNoTable) {
  Work work("replaced");
  work.plan.models = {FakeSpec(work.folder, "small", "")};
  work.Run();
  work.plan.models.push_back(FakeSpec(work.folder, "large", ""));
  // What stands in the way of the second model's files stops the making of the table.
  WriteFile(work.out() / "models" / "large" / "frames.vectors" / "x", "");
  EXPECT_THAT([&] { work.Run(); }, ::testing::Throws<Error>());
  EXPECT_THAT([&] { InferenceTable table(work.out()); },
              ::testing::ThrowsMessage<Error>(HasSubstr("found none")));
  fs::remove_all(work.out() / "models" / "large");
  EXPECT_EQ(work.Run().passes, 0);
  EXPECT_EQ(InferenceTable(work.out()).models().size(), 2u);
}

}  // namespace
}  // namespace athanor
