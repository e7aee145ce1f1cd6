// `train population` from outside.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <string>
#include <vector>

#include "athanor/base/files.h"
#include "athanor/cli/cli_test_util.h"
#include "athanor/loop/queue/queue_test_util.h"

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

#ifdef ATHANOR_WITH_NATS
// Workers of two commands share the steps over a broker. Those of one are killed, then the broker
// itself, then the command that plans: the front is that of a run that nothing happened to.
TEST(TrainPopulationCommandTest, SlowOverABrokerWhateverIsKilledTheFrontIsTheSame) {
  if (FindNatsServer().empty()) GTEST_SKIP() << "needs the program nats-server";
  const fs::path folder = TestFolder("train population over nats");
  std::string config = kConfig;
  config.replace(config.find("budget = 24"), 11, "budget = 60");
  WriteFile(folder / "small.toml", config);
  const std::string toml = (folder / "small.toml").string();
  const std::string whole = (folder / "whole").string(), out = (folder / "shared").string();
  ASSERT_EQ(Execute({"train", "population", toml, "-o", whole, "--workers", "2"}).status, 0);

  NatsBroker broker(folder / "broker");
  const std::vector<std::string> lead = {"train",  "population", toml,        "-o", out,
                                         "--nats", broker.Url(), "--workers", "1"};
  std::vector<std::string> join = lead;
  join.emplace_back("--join");
  const auto done = [&] {
    const std::string lines =
        fs::exists(folder / "shared" / "done.txt") ? ReadFile(folder / "shared" / "done.txt") : "";
    return std::count(lines.begin(), lines.end(), '\n');
  };
  Process leader(lead);
  ASSERT_TRUE(WaitFor([&] { return done() > 4; }));
  Process helper(join);
  const auto before = done();
  ASSERT_TRUE(WaitFor([&] { return done() > before + 8; }));
  helper.Signal(SIGKILL);
  EXPECT_EQ(helper.Wait(), 1000 + SIGKILL);
  broker.Stop(SIGKILL);
  broker.Start();
  const auto after = done();
  ASSERT_TRUE(WaitFor([&] { return done() > after + 4; }));
  leader.Signal(SIGKILL);
  EXPECT_EQ(leader.Wait(), 1000 + SIGKILL);
  EXPECT_FALSE(fs::exists(folder / "shared" / "front.json"));
  Process second_helper(join);
  const Outcome rest = Execute(lead);
  EXPECT_EQ(rest.status, 0) << rest.text();
  EXPECT_EQ(second_helper.Wait(), 0) << second_helper.err;
  EXPECT_EQ(ReadFile(folder / "shared" / "front.json"), ReadFile(folder / "whole" / "front.json"));
}
#endif

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
