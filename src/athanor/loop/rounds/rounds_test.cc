// The loop's stages with a program that only writes what the real one would: which commands run,
// in which order, and what is done again after a failure or a kill. The real commands are run in
// cli/loop_commands_test.cc.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/stat.h>

#include <fstream>
#include <sstream>

#include "athanor/base/error.h"
#include "athanor/base/files.h"
#include "athanor/base/test_util.h"
#include "athanor/datasets/log_test_util.h"
#include "athanor/loop/registry/model_registry.h"
#include "athanor/loop/rounds/loop_report.h"
#include "athanor/loop/rounds/loop_run.h"
#include "athanor/loop/training/population_options.h"

namespace athanor {
namespace {

namespace fs = std::filesystem;
using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Not;

// A stand-in for the program. AP rises with the number in the weights' path, unless FOLDER/flat
// is there; a command whose two words are in FOLDER/fail fails, one in FOLDER/kill kills the loop.
constexpr const char* kProgram = R"sh(#!/bin/sh
here=$(dirname "$0")
echo "$1 $2" >> "$here/seen"
if grep -qsx "$1 $2" "$here/fail"; then echo "athanor: the disk is full"; exit 1; fi
if grep -qsx "$1 $2" "$here/kill"; then kill -9 $ATHANOR_PARENT; sleep 60; fi
command="$1 $2"
out=
model=
previous=
for word in "$@"; do
  case $previous in
    -o) out=$word ;;
    --model) model=$word ;;
  esac
  previous=$word
done
case $command in
  "lake ingest") mkdir -p "$out"; rm -rf "$out/v1.0-mini" "$out/maps" "$out/samples"; cp -r "$3"/* "$out" ;;
  "mine undigested" | "mine similar" | "mine rule") mkdir -p "$out"; echo '{}' > "$out/hits.json" ;;
  "mine select") mkdir -p "$out"; cp "$here/hits.json" "$out" ;;
  "vehicle run") if [ ! -e "$here/quiet" ]; then mkdir -p "$out/cloud/clips"; cp -r "$3"/* "$out/cloud"; fi ;;
  "label auto" | "label import") mkdir -p "$out"; echo labels > "$out/abc.labels" ;;
  "label export") for word; do last=$word; done; mkdir -p "$last" ;;
  "train population") mkdir -p "$out"; cp "$3" "$here/population.toml"; cp -r "$here/members" "$out/registry" ;;
  "detect train") mkdir -p "$out"; echo "$out" > "$out/detector.safetensors" ;;
  "detect eval")
    mkdir -p "$out"
    round=$(echo "$model" | sed -n 's|.*rounds/0\([0-9]\).*|\1|p')
    if [ -e "$here/flat" ]; then round=; fi
    echo "{\"mean_ap\": 0.4${round:-0}, \"nd_score\": 0.5, \"mean_dist_aps\": {\"car\": 0.6, \"bus\": NaN}}" \
      > "$out/metrics_summary.json"
    echo "{\"animal\": {\"mean_dist_ap\": 0.${round:-0}5}}" > "$out/metrics_unscored.json"
    cp "$here/results.json" "$out/results_nusc.json" ;;
esac
)sh";

class LoopTest : public ::testing::Test {
 protected:
  void SetUp() override {
    folder_ = TestFolder(::testing::UnitTest::GetInstance()->current_test_info()->name());
    WriteFile(folder_ / "athanor", kProgram);
    ::chmod((folder_ / "athanor").c_str(), 0755);
    town_ = WriteTestTown(folder_ / "logs1");
    fs::copy(town_, folder_ / "logs2", fs::copy_options::recursive);
    const Log log = OpenLogs(town_)->Read(0);
    WriteFile(folder_ / "hits.json",
              StrCat(R"({"miner": "select", "data": "lake", "about": {}, "hits": [{"frame": ")",
                     log.name, R"(/0", "log": ")", log.name, R"(", "number": 0, "id": ")",
                     log.frames[0].id, R"(", "time_us": )", log.frames[0].time_us,
                     R"(, "boxes_in_frame": 1, "score": 1, "why": "because"}]})"));
    std::string samples;
    for (int l = 0; l < std::ssize(OpenLogs(town_)->names()); ++l) {
      for (const LogFrame& frame : OpenLogs(town_)->Read(l).frames) {
        samples += StrCat(samples.empty() ? "" : ", ", "\"", frame.id, "\": []");
      }
    }
    WriteFile(folder_ / "results.json", StrCat(R"({"meta": {}, "results": {)", samples, "}}"));
    WriteFile(folder_ / "small.safetensors", "small");
    options_.logs = (folder_ / "logs{round}").string();
    options_.home = options_.test = town_.string();
    options_.small = "small.safetensors";
    options_.rounds = 2;
    options_.start = "deployed";
    options_.ranges = FindShared("configs/detect/near.json").string();
    run_.program = {(folder_ / "athanor").string()};
    run_.small = run_.large = folder_ / "small.safetensors";
  }

  std::vector<std::string> Seen() {
    std::vector<std::string> lines;
    std::istringstream text(fs::exists(folder_ / "seen") ? ReadFile(folder_ / "seen") : "");
    for (std::string line; std::getline(text, line);) lines.push_back(line);
    fs::remove(folder_ / "seen");
    return lines;
  }

  fs::path folder_, town_;
  LoopOptions options_;
  LoopRunOptions run_;
};

TEST_F(LoopTest, RoundsRunTheirCommandsInOrderAndOnce) {
  const fs::path loop = folder_ / "loop";
  EXPECT_TRUE(RunLoop(loop, options_, run_));
  const std::vector<std::string> round = {"lake ingest",     "infer " + (loop / "lake").string(),
                                          "mine undigested", "mine similar",
                                          "mine select",     "label auto",
                                          "label import",    "label export",
                                          "detect train",    "mine digest",
                                          "detect eval"};
  std::vector<std::string> expected = {"detect eval"};
  for (int r = 0; r < 2; ++r) expected.insert(expected.end(), round.begin(), round.end());
  EXPECT_EQ(Seen(), expected);
  const LoopState state = ReadLoopState(loop);
  ASSERT_EQ(state.rounds.size(), 3u);
  EXPECT_EQ(state.rounds[2].scores.at("animal"), 0.25);
  EXPECT_EQ(state.rounds[2].scores.at("mAP"), 0.42);
  EXPECT_TRUE(state.rounds[2].is_promoted);
  EXPECT_EQ(state.Deployed(3), fs::absolute(loop / "rounds/02/train/detector.safetensors"));
  EXPECT_EQ(state.rounds[1].frames, 1);
  EXPECT_EQ(state.rounds[1].lake_frames, 6);
  // The second round learns from the first's model, and from both rounds' frames; what was
  // labelled is not chosen again.
  const std::string commands = ReadFile(loop / "commands.sh");
  const auto quoted = [&](const char* path) {
    return "'" + (loop / "rounds" / path).string() + "'";
  };
  EXPECT_TRUE(commands.find("--start-from " + quoted("01/train/detector.safetensors")) !=
              std::string::npos);
  EXPECT_TRUE(commands.find(quoted("01/data") + " " + quoted("02/data")) != std::string::npos);
  EXPECT_TRUE(commands.find("--labelled " + quoted("01/batch/hits.json")) != std::string::npos);
  // All is done: nothing runs again. A third round goes on.
  EXPECT_TRUE(RunLoop(loop, options_, run_));
  EXPECT_THAT(Seen(), ElementsAre());
  fs::copy(town_, folder_ / "logs3", fs::copy_options::recursive);
  options_.rounds = 3;
  EXPECT_TRUE(RunLoop(loop, options_, run_));
  EXPECT_EQ(Seen(), round);

  const std::string report = MakeLoopReport(loop);
  EXPECT_THAT(report, AllOf(HasSubstr("0.350"), HasSubstr("deployed"), HasSubstr("image/png"),
                            HasSubstr("Round 3"), HasSubstr("label import")));
}

TEST_F(LoopTest, OfAPopulationTheBestOnTheCheckGoesOn) {
  {
    ModelRegistry members(folder_ / "members", ModelRegistry::Mode::kCreate);
    const auto add = [&](const std::string& name, ModelRole role, double rare, double map) {
      WriteFile(folder_ / "weights", name);
      NewModel added;
      added.model.name = name, added.model.kind = "detector", added.model.role = role;
      added.model.metrics["all"] = {{"rare_ap", rare}, {"map", map}};
      added.weights = folder_ / "weights";
      members.Add(added);
    };
    add("general", ModelRole::kCandidate, 0.1, 0.4);
    add("chosen", ModelRole::kCandidate, 0.3, 0.3);
    add("rare", ModelRole::kCandidate, 0.4, 0.1);
    add("past", ModelRole::kIntermediate, 0.9, 0.9);
  }
  options_.rounds = 1, options_.members = 3, options_.steps = 80, options_.seed = 4;
  EXPECT_THAT(ErrorOf([&] { RunLoop(folder_ / "loop", options_, run_); }),
              HasSubstr("members = 3: expected check"));
  options_.check = options_.test;
  EXPECT_THAT(ErrorOf([&] { RunLoop(folder_ / "loop", options_, run_); }),
              HasSubstr("other than test"));
  options_.check = (folder_ / "logs2").string();
  EXPECT_TRUE(RunLoop(folder_ / "loop", options_, run_));
  EXPECT_EQ(ReadFile(folder_ / "loop" / "rounds" / "01" / "train" / "detector.safetensors"),
            "chosen");
  const std::string config = ReadFile(folder_ / "population.toml");
  for (const char* line : {"population = 3\n", "budget = 12\n", "updates = 20\n", "seed = 5\n",
                           "rare = \"animal\"\n", "logs2\"\n"}) {
    EXPECT_THAT(config, HasSubstr(line));
  }
  // As `train population` reads it.
  const PopulationConfig read = ParsePopulationConfig(config, "population.toml");
  EXPECT_EQ(read.options.population, 3);
  EXPECT_THAT(Seen(), ::testing::Contains("train population"));
}

TEST_F(LoopTest, WhatIsNoBetterIsKeptBack) {
  WriteFile(folder_ / "flat", "");
  const fs::path loop = folder_ / "loop";
  EXPECT_TRUE(RunLoop(loop, options_, run_));
  const LoopState state = ReadLoopState(loop);
  EXPECT_FALSE(state.rounds[1].is_promoted);
  EXPECT_EQ(state.rounds[1].decision, "kept back: no better");
  EXPECT_EQ(state.Deployed(3), fs::absolute(run_.small));
}

TEST_F(LoopTest, ACarDecidesWhatComesInAndMaySendNothing) {
  const fs::path loop = folder_ / "loop";
  options_.upload = "10%";
  WriteFile(folder_ / "quiet", "");
  options_.rounds = 1;
  EXPECT_TRUE(RunLoop(loop, options_, run_));
  EXPECT_THAT(Seen(), ElementsAre("detect eval", "vehicle run"));
  EXPECT_EQ(ReadLoopState(loop).rounds[1].decision, "nothing came in");
  EXPECT_THAT(MakeLoopReport(loop), HasSubstr("nothing came in"));
  fs::remove(folder_ / "quiet");
  options_.rounds = 2;
  EXPECT_TRUE(RunLoop(loop, options_, run_));
  const LoopState state = ReadLoopState(loop);
  EXPECT_TRUE(state.rounds[2].is_promoted);
  EXPECT_EQ(state.Deployed(2), fs::absolute(run_.small));
  EXPECT_EQ(Seen()[1], "lake ingest");
}

TEST_F(LoopTest, AFailedCommandIsOneLineAndDoneAgain) {
  const fs::path loop = folder_ / "loop";
  WriteFile(folder_ / "fail", "mine similar\n");
  EXPECT_EQ(ErrorOf([&] { RunLoop(loop, options_, run_); }),
            StrCat("round 1, mine: athanor mine similar: athanor: the disk is full (",
                   (loop / "rounds/01/mine.log").string(), ")"));
  Seen();
  fs::remove(folder_ / "fail");
  EXPECT_TRUE(RunLoop(loop, options_, run_));
  EXPECT_EQ(Seen()[0], "mine undigested");  // the stage from its beginning, none before it
}

TEST_F(LoopTest, AKilledLoopGoesOn) {
  const fs::path loop = folder_ / "loop", whole = folder_ / "whole";
  EXPECT_TRUE(RunLoop(whole, options_, run_));
  for (const char* command :
       {"detect eval", "lake ingest", "mine select", "label export", "detect train"}) {
    WriteFile(folder_ / "kill", StrCat(command, "\n"));
    const pid_t child = ::fork();
    if (child == 0) {
      RunLoop(loop, options_, run_);
      ::_exit(0);
    }
    int status = 0;
    ASSERT_EQ(::waitpid(child, &status, 0), child);
    EXPECT_TRUE(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL) << command;
  }
  fs::remove(folder_ / "kill");
  EXPECT_TRUE(RunLoop(loop, options_, run_));
  const LoopState a = ReadLoopState(whole), b = ReadLoopState(loop);
  ASSERT_EQ(a.rounds.size(), b.rounds.size());
  for (size_t r = 0; r < a.rounds.size(); ++r) {
    EXPECT_EQ(a.rounds[r].scores, b.rounds[r].scores);
    EXPECT_EQ(a.rounds[r].decision, b.rounds[r].decision);
    ASSERT_EQ(a.rounds[r].stages.size(), b.rounds[r].stages.size());
  }
}

TEST_F(LoopTest, StopsBetweenStages) {
  int asked = 0;
  run_.stop = [&] { return ++asked > 3; };
  EXPECT_FALSE(RunLoop(folder_ / "loop", options_, run_));
  run_.stop = {};
  EXPECT_TRUE(RunLoop(folder_ / "loop", options_, run_));
}

TEST_F(LoopTest, RefusesWhatCannotBe) {
  const fs::path loop = folder_ / "loop";
  EXPECT_TRUE(RunLoop(loop, options_, run_));
  LoopOptions other = options_;
  other.batch = 7;
  EXPECT_THAT(ErrorOf([&] { RunLoop(loop, other, run_); }), HasSubstr("a loop of other options"));
  other = options_, other.logs = town_.string();
  EXPECT_THAT(ErrorOf([&] { RunLoop(loop, other, run_); }), HasSubstr("a path with {round}"));
  other = options_, other.test = "nowhere";
  EXPECT_EQ(ErrorOf([&] { RunLoop(loop, other, run_); }), "loop: nowhere: no such file or folder");
  other = options_, other.labels = "large";
  EXPECT_THAT(ErrorOf([&] { RunLoop(loop, other, run_); }), HasSubstr("expected audited"));
  WriteFile(folder_ / "bad.toml", "rounds = 2\nround = 3\n");
  EXPECT_THAT(ErrorOf([&] { ReadLoopOptions(folder_ / "bad.toml"); }),
              AllOf(HasSubstr("bad.toml"), HasSubstr("round")));
  WriteFile(folder_ / "bad.toml", "rare = 'dragon'\n");
  EXPECT_THAT(ErrorOf([&] { ReadLoopOptions(folder_ / "bad.toml"); }), HasSubstr("found 'dragon'"));
  LoopRunOptions without = run_;
  without.large = folder_ / "none.safetensors";
  EXPECT_THAT(ErrorOf([&] { RunLoop(loop, options_, without); }), HasSubstr("no such file"));
  WriteFile(loop / "state.json", "{");
  EXPECT_THAT(ErrorOf([&] { ReadLoopState(loop); }), HasSubstr("expected a loop's state"));
  EXPECT_THAT(ErrorOf([&] { OptionsOfLoop(folder_ / "none"); }), HasSubstr("expected a loop"));
}

TEST(LoopOptionsTest, EveryPresetIsRead) {
  for (const fs::path& path : ListFiles(FindShared("configs/loop"), {".toml"})) {
    if (ReadFile(path).find("rounds =") == std::string::npos) continue;  // of `sim street`
    const LoopOptions options = ReadLoopOptions(path);
    CheckLoopOptions(options);
  }
}

}  // namespace
}  // namespace athanor
