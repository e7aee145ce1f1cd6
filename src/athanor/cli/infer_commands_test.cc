// infer and registry through the command line.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <string>
#include <vector>

#include "athanor/base/files.h"
#include "athanor/base/test_util.h"
#include "athanor/cli/cli_test_util.h"
#include "athanor/datasets/log_test_util.h"
#include "athanor/loop/inference/inference_test_util.h"
#include "athanor/loop/queue/queue_test_util.h"

namespace athanor {
namespace {

namespace fs = std::filesystem;
using ::testing::AllOf;
using ::testing::HasSubstr;

TEST(InferCommandTest, SlowKilledAndRunAgainGivesTheSameTableAndThenDoesNothing) {
  const fs::path folder = TestFolder("infer");
  const std::string town = WriteTestTown(folder / "town", 20).string();
  const std::string registry = (folder / "registry").string();
  const std::string tiny = FindShared("models/athanor-detect-tiny/detector.safetensors").string();
  EXPECT_THAT(Execute({"registry", "add", tiny, "--name", "small", "--role", "vehicle_small",
                       "--registry", registry, "--metric", "all:mAP=0.442"})
                  .out,
              AllOf(HasSubstr("added      small (detector, vehicle_small)")));
  const auto command = [&](const std::string& out) {
    return std::vector<std::string>{"infer",     town,    "--model",    "small",
                                    "--model",   "words", "-o",         (folder / out).string(),
                                    "--workers", "2",     "--registry", registry};
  };
  const Outcome whole = Execute(command("whole"));
  ASSERT_EQ(whole.status, 0) << whole.text();
  EXPECT_THAT(whole.out, AllOf(HasSubstr("cells      80, 0 of them from before"),
                               HasSubstr("passes     80 in")));
  const auto expected = TableBytes(folder / "whole");
  EXPECT_TRUE(expected.contains("models/small/boxes.json"));
  EXPECT_TRUE(expected.contains("models/small/objects.vectors"));
  EXPECT_TRUE(expected.contains("models/words/frames.vectors"));

  {
    Process process(command("killed"));
    const fs::path cells = folder / "killed" / "cells";
    EXPECT_TRUE(WaitFor([&] {
      std::error_code error;
      if (!fs::is_directory(cells, error)) return false;
      for (const auto& entry : fs::recursive_directory_iterator(cells, error)) {
        if (entry.path().extension() == ".part" && fs::file_size(entry.path(), error) > 0) {
          return true;
        }
      }
      return false;
    }));
    process.Signal(SIGKILL);
    EXPECT_EQ(process.Wait(), 1000 + SIGKILL);
  }
  EXPECT_FALSE(fs::exists(folder / "killed" / "table.json"));
  const Outcome resumed = Execute(command("killed"));
  ASSERT_EQ(resumed.status, 0) << resumed.text();
  EXPECT_THAT(resumed.out, ::testing::Not(HasSubstr("cells      80, 0 of them from before")));
  EXPECT_EQ(TableBytes(folder / "killed"), expected);
  const Outcome again = Execute(command("killed"));
  EXPECT_THAT(again.out, AllOf(HasSubstr("80 of them from before"), HasSubstr("passes     0 in")));
  EXPECT_EQ(TableBytes(folder / "killed"), expected);
}

#ifdef ATHANOR_WITH_NATS
// Two runs share the work over a broker that is killed in the middle of it and comes back.
TEST(InferCommandTest, SlowTwoRunsOverABrokerThatRestartsMakeTheSameTable) {
  if (FindNatsServer().empty()) GTEST_SKIP() << "needs the program nats-server";
  const fs::path folder = TestFolder("infer over nats");
  const std::string town = WriteTestTown(folder / "town", 40).string();
  NatsBroker broker(folder / "broker");
  const auto command = [&](const std::string& out, std::vector<std::string> more) {
    std::vector<std::string> words = {"infer", town, "--model",
                                      "words", "-o", (folder / out).string()};
    words.insert(words.end(), more.begin(), more.end());
    return words;
  };
  ASSERT_EQ(Execute(command("alone", {})).status, 0);
  const auto shared = command("shared", {"--nats", broker.Url(), "--lease", "3"});
  Process first(shared), second(shared);
  const auto cells = [&] {
    int64_t count = 0;
    std::error_code error;
    for (fs::recursive_directory_iterator entry(folder / "shared" / "cells", error), end;
         !error && entry != end; entry.increment(error)) {
      count += entry->path().extension() == ".part" || entry->path().extension() == ".cells";
    }
    return count;
  };
  EXPECT_TRUE(WaitFor([&] { return cells() > 0; }));
  broker.Stop(SIGKILL);
  std::this_thread::sleep_for(std::chrono::milliseconds(500));
  broker.Start();
  EXPECT_EQ(first.Wait(), 0) << first.err;
  EXPECT_EQ(second.Wait(), 0) << second.err;
  EXPECT_EQ(TableBytes(folder / "shared"), TableBytes(folder / "alone"));
  EXPECT_THAT(Execute(shared).out, HasSubstr("passes     0 in"));
}
#endif

TEST(InferCommandTest, ScenesOfGaussiansAreAskedForWords) {
  const fs::path folder = TestFolder("infer gaussians");
  const std::string town = WriteTestTown(folder / "town", 1).string();
  const Outcome found = Execute({"infer", town, "--gaussians", "scenes=embedded", "--text", "car",
                                 "--text", "cow=animal", "-o", (folder / "table").string()});
  ASSERT_EQ(found.status, 0) << found.text();
  EXPECT_THAT(found.out, AllOf(HasSubstr("scenes"), HasSubstr("gaussians"),
                               HasSubstr("cells      2, 0 of them from before")));
  EXPECT_TRUE(fs::exists(folder / "table" / "models" / "scenes" / "boxes.json"));
  const Outcome alike =
      Execute({"mine", "similar", town, "--text", "car", "--features", (folder / "table").string(),
               "--model", "scenes", "--level", "frame", "-o", (folder / "alike").string()});
  EXPECT_EQ(alike.status, 0) << alike.text();
  EXPECT_THAT(
      Execute({"infer", town, "--gaussians", "embedded", "-o", (folder / "none").string()}).err,
      HasSubstr("expected words to ask for, --text WORDS"));
}

TEST(InferCommandTest, SaysWhatIsWrong) {
  const fs::path folder = TestFolder("infer wrong");
  const std::string town = WriteTestTown(folder / "town").string();
  WriteFile(folder / "text.safetensors", "no weights");
  const std::string out = (folder / "out").string();
  const std::vector<Case> cases = {
      {{"infer", town, "--model", "huge", "-o", out},
       "model 'huge': expected a name in the registry"},
      {{"infer", town, "--model", (folder / "text.safetensors").string(), "-o", out},
       "text.safetensors: "},
      {{"infer", (folder / "nothing").string(), "-o", out}, "nothing"},
      {{"infer", town, "--ensemble", "a,b", "-o", out}, "expected NAME=MODEL,MODEL"},
      {{"infer", town, "--model", "a=tiny", "--model", "a=words", "-o", out},
       "two models are called 'a'"},
      {{"registry", "list", "--registry", out}, "expected a registry of models"},
      {{"registry", "add", (folder / "text.safetensors").string(), "--metric", "all:mAP",
        "--registry", out},
       "expected SCENARIO:METRIC=NUMBER"},
  };
  const auto outcomes = ExecuteAll(CommandsOf(cases));
  for (size_t i = 0; i < cases.size(); ++i) {
    EXPECT_NE(outcomes[i].status, 0);
    EXPECT_THAT(LastLine(outcomes[i].err), HasSubstr(cases[i].expected));
  }
}

TEST(RegistryCommandTest, KeepsWhatIsNeeded) {
  const fs::path folder = TestFolder("registry commands");
  const std::string registry = (folder / "r").string();
  const std::string tiny = FindShared("models/athanor-detect-tiny/detector.safetensors").string();
  const std::string words = FindShared("models/athanor-words/teacher.safetensors").string();
  const auto run = [&](std::vector<std::string> command) {
    command.push_back("--registry");
    command.push_back(registry);
    const Outcome outcome = Execute(command);
    EXPECT_EQ(outcome.status, 0) << outcome.text();
    return outcome.out;
  };
  run({"registry", "add", words, "--name", "parent", "--role", "intermediate"});
  run({"registry", "add", tiny, "--name", "child", "--parent", "parent", "--hyper", "rate=0.001"});
  run({"registry", "set", "child", "--role", "cloud_large", "--metric", "rain:mAP=0.25"});
  EXPECT_THAT(run({"registry", "show", "child"}),
              AllOf(HasSubstr("cloud_large"), HasSubstr("descent    parent"),
                    HasSubstr("rate = 0.001"), HasSubstr("0.2500")));
  run({"registry", "remove", "parent"});
  EXPECT_THAT(run({"registry", "gc", "--intermediates"}), HasSubstr("models     0 gone"));
  EXPECT_THAT(run({"registry", "list"}), HasSubstr("removed, still needed"));
  run({"registry", "remove", "child"});
  EXPECT_THAT(run({"registry", "gc"}),
              AllOf(HasSubstr("models     2 gone"), HasSubstr("files      2 gone")));
}

}  // namespace
}  // namespace athanor
