// `train population` from outside.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <string>
#include <vector>

#include "athanor/base/files.h"
#include "athanor/cli/cli_test_util.h"

namespace athanor {
namespace {

namespace fs = std::filesystem;
using ::testing::AllOf;
using ::testing::HasSubstr;

constexpr const char* kConfig = R"(
population = 4
budget = 24
updates = 40
lease = 1
[space]
rate = { low = 0.003, high = 0.3, scale = "log" }
hidden = { low = 2, high = 24, scale = "log", integer = true, fixed = true }
[stream]
samples = 300
tests = 200
)";

TEST(TrainPopulationCommandTest, SlowKilledAndRunAgainEndsInTheSameFront) {
  const fs::path folder = TestFolder("train population");
  WriteFile(folder / "small.toml", kConfig);
  const auto command = [&](const std::string& out) {
    return std::vector<std::string>{
        "train",     "population", (folder / "small.toml").string(), "-o", (folder / out).string(),
        "--workers", "2"};
  };
  const Outcome whole = Execute(command("whole"));
  ASSERT_EQ(whole.status, 0) << whole.text();
  EXPECT_THAT(whole.out, AllOf(HasSubstr("rare_ap"), HasSubstr("hypervolume  0."),
                               HasSubstr("members      24, 0 failed"), HasSubstr("registry")));
  for (const char* file : {"front.json", "front.png", "progress.png", "members.csv"}) {
    EXPECT_TRUE(fs::exists(folder / "whole" / file)) << file;
  }
  const Outcome models =
      Execute({"registry", "list", "--registry", (folder / "whole" / "registry").string()});
  EXPECT_THAT(models.out,
              AllOf(HasSubstr("whole-0000"), HasSubstr("candidate"), HasSubstr("stream")));
  {
    Process process(command("killed"));
    EXPECT_TRUE(WaitFor([&] { return fs::exists(folder / "killed" / "results"); }));
    process.Signal(SIGKILL);
    EXPECT_EQ(process.Wait(), 1000 + SIGKILL);
  }
  EXPECT_FALSE(fs::exists(folder / "killed" / "front.json"));
  const Outcome resumed = Execute(command("killed"));
  ASSERT_EQ(resumed.status, 0) << resumed.text();
  EXPECT_EQ(ReadFile(folder / "killed" / "front.json"), ReadFile(folder / "whole" / "front.json"));
}

TEST(TrainPopulationCommandTest, SaysWhatIsWrong) {
  const fs::path folder = TestFolder("train population wrong");
  const std::string out = (folder / "out").string();
  WriteFile(folder / "unknown.toml", std::string("budgets = 3\n") + kConfig);
  WriteFile(folder / "empty.toml", "[space]\nrate = { low = 0.1, high = 0.1 }\n");
  WriteFile(folder / "fine.toml", kConfig);
  const std::vector<Case> cases = {
      {{"train", "population", (folder / "unknown.toml").string(), "-o", out},
       "unknown.toml: line 1: no option is named 'budgets'"},
      {{"train", "population", (folder / "empty.toml").string(), "-o", out},
       "empty.toml: line 2: search space: 'rate': the range is empty"},
      {{"train", "population", "nothing", "-o", out}, "nothing"},
      {{"train", "population", (folder / "fine.toml").string(), "-o", out, "--start-from",
        folder.string()},
       "expected the training of a population"},
      {{"train", "population", (folder / "fine.toml").string(), "-o", out, "--join"},
       "NATS server to join"},
      {{"train", "population", (folder / "fine.toml").string()}, "is required"},
  };
  const std::vector<Outcome> outcomes = ExecuteAll(CommandsOf(cases));
  for (size_t i = 0; i < cases.size(); ++i) {
    EXPECT_NE(outcomes[i].status, 0) << i;
    EXPECT_THAT(LastLine(outcomes[i].err), HasSubstr(cases[i].expected)) << i;
  }
}

}  // namespace
}  // namespace athanor
