// Stores, strategies, and whole runs: killed, broken, taken up again.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <filesystem>
#include <fstream>
#include <map>
#include <nlohmann/json.hpp>
#include <set>
#include <thread>

#include "athanor/base/files.h"
#include "athanor/base/sha256.h"
#include "athanor/base/test_util.h"
#include "athanor/loop/queue/queue_test_util.h"
#include "athanor/loop/registry/model_registry.h"
#include "athanor/loop/training/front_report.h"
#include "athanor/loop/training/pareto.h"
#include "athanor/loop/training/population_run.h"
#include "athanor/loop/training/strategy.h"
#include "athanor/loop/training/training_test_util.h"

namespace athanor {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;
using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

PopulationConfig SmallConfig(const std::string& root) {
  return ParsePopulationConfig(SmallPopulation(root), "small.toml");
}

// A run in this process.
PopulationReport RunHere(const fs::path& run, const PopulationConfig& config,
                         std::function<bool()> stop = {}) {
  PopulationRunOptions options;
  options.workers = 0, options.open = &OpenUnreliable, options.stop = std::move(stop);
  return RunPopulation(run, config, options);
}

std::vector<std::string> LinesOf(const fs::path& path) {
  std::vector<std::string> lines;
  std::ifstream file(path);
  for (std::string line; std::getline(file, line);) lines.push_back(line);
  return lines;
}

// What every finished run keeps to, whatever happened to it.
void CheckFinished(const fs::path& run, const PopulationConfig& config) {
  const PopulationStore store(run);
  std::vector<std::string> done = LinesOf(run / "done.txt");
  std::sort(done.begin(), done.end());
  EXPECT_EQ(std::adjacent_find(done.begin(), done.end()), done.end()) << "a job was done twice";
  int64_t begun = 0;
  for (const Member& member : store.members()) {
    begun += member.state != MemberState::kImported;
    EXPECT_FALSE(member.is_open()) << member.id;
    config.space.Check(member.hyper, "a member");
    if (!member.has_checkpoint) continue;
    EXPECT_EQ(Sha256OfFile(store.CheckpointOf(member.id)), member.checkpoint_sha256) << member.id;
    for (const int64_t parent : member.parents) {
      EXPECT_TRUE(store.members()[parent].has_checkpoint) << "a parent was lost";
    }
  }
  EXPECT_EQ(begun, config.options.budget);
  const json front = json::parse(ReadFile(run / "front.json"));
  std::vector<ParetoPoint> points;
  const auto objectives = StreamProblem({}).objectives();
  for (const json& model : front["front"]) {
    const Member& member = store.members().at(model["member"].get<int64_t>());
    EXPECT_TRUE(member.has_checkpoint);
    points.push_back(ScaledPoint(objectives, member.objectives));
    EXPECT_EQ(std::ssize(model["schedule"]), member.steps);
    EXPECT_EQ(model["schedule"].back()["member"], member.id);
  }
  EXPECT_FALSE(points.empty());
  for (const int rank : NonDominatedRanks(points)) EXPECT_EQ(rank, 0);
  for (const Member& member : store.members()) {
    if (member.state != MemberState::kEvaluated) continue;
    const ParetoPoint point = ScaledPoint(objectives, member.objectives);
    EXPECT_TRUE(std::any_of(
        points.begin(), points.end(),
        [&](const ParetoPoint& other) { return other == point || Dominates(other, point); }))
        << "member " << member.id << " is missing from the front";
  }
}

Member Fresh() {
  Member member;
  member.hyper = {{"rate", "0.1"}};
  member.seed = 0xffffffffffffffff;
  member.steps = 1;
  return member;
}

TEST(PopulationStoreTest, KeepsAllAndNeverTakesAParentAway) {
  const fs::path folder = TestFolder("store");
  {
    PopulationStore store(folder);
    store.Plan({Fresh(), Fresh(), Fresh()});
    for (int64_t id = 0; id < 3; ++id) {
      WriteFile(store.CheckpointOf(id), "weights");
      store.SetTrained(id, {{{"loss", 0.1 + 0.2}}, 3}, "abc", 1);
      store.SetEvaluated(id, {{"map", 1 / 3.0}}, 2);
    }
    Member child = Fresh();
    child.parents = {0, 1}, child.mutation = {0.7, 0.1, 0.2};
    store.Plan({child});
    // 0 and 1 are parents of a member at work, 2 is nobody's.
    EXPECT_EQ(store.DropCheckpoints({}), 1);
    EXPECT_FALSE(fs::exists(store.CheckpointOf(2)));
    WriteFile(store.CheckpointOf(3), "weights");
    store.SetTrained(3, {}, "def", 1);
    store.SetFailed(3, "one line\nand more");
    Member orphan = Fresh();
    orphan.parents = {2};
    EXPECT_THAT(ErrorOf([&] { store.Plan({orphan}); }), HasSubstr("expected a parent with a"));
    EXPECT_THAT(ErrorOf([&] { store.SetTrained(0, {}, "", 0); }), HasSubstr("to be planned"));
  }
  WriteFile(PopulationStore::CheckpointPath(folder, 2), "a kill came before it went");
  PopulationStore store(folder);
  EXPECT_FALSE(fs::exists(store.CheckpointOf(2)));
  ASSERT_EQ(store.members().size(), 4u);
  const Member& child = store.members()[3];
  EXPECT_THAT(child.parents, ElementsAre(0, 1));
  EXPECT_EQ(child.mutation, (ParameterMutation{0.7, 0.1, 0.2}));
  EXPECT_EQ(child.seed, 0xffffffffffffffff);
  EXPECT_EQ(child.failure, "one line");
  EXPECT_EQ(child.order, 3);
  EXPECT_EQ(store.members()[0].objectives.at("map"), 1 / 3.0);
  EXPECT_EQ(store.members()[0].report.monitors.at("loss"), 0.1 + 0.2);
  // Needed for a child that is needed.
  EXPECT_EQ(store.DropCheckpoints({3}), 0);
  EXPECT_THAT(store.AncestorsOf(3), ElementsAre(0, 1));
  EXPECT_THAT(store.AncestorsOf(3, true), ElementsAre(0));
  EXPECT_EQ(store.DropCheckpoints({}), 3);
}

TEST(PopulationStoreTest, RefusesAStoreOfANewerProgram) {
  const fs::path folder = TestFolder("newer store");
  { PopulationStore store(folder); }
  {
    SqliteDatabase database(folder / "population.sqlite", SqliteDatabase::Mode::kWrite);
    database.Execute("PRAGMA user_version = 99");
  }
  EXPECT_THAT(ErrorOf([&] { PopulationStore store(folder); }), HasSubstr("population.sqlite"));
}

TEST(PopulationRunTest, EveryStrategySpendsItsBudgetAndRunsAgainAreTheSame) {
  for (const char* strategy : {"pareto", "pbt", "asha", "random"}) {
    const fs::path folder = TestFolder(std::string("strategy ") + strategy);
    const PopulationConfig config =
        SmallConfig(StrCat("strategy = \"", strategy, "\"\nbudget = 22\n"));
    const PopulationReport report = RunHere(folder / "a", config);
    EXPECT_EQ(report.steps, 22);
    EXPECT_EQ(report.members, 22);
    CheckFinished(folder / "a", config);
    RunHere(folder / "b", config);
    EXPECT_EQ(ReadFile(folder / "a" / "front.json"), ReadFile(folder / "b" / "front.json"))
        << strategy;
    for (const char* file : {"front.png", "progress.png", "members.csv"}) {
      EXPECT_TRUE(fs::exists(folder / "a" / file)) << file;
    }
    // The same call again: all is done.
    EXPECT_EQ(RunHere(folder / "a", config).steps, 0);
    EXPECT_EQ(LinesOf(folder / "a" / "members.csv").size(), 23u);
  }
}

// What strategies make of members whose objectives we make up.
class MadeUp {
 public:
  explicit MadeUp(const std::string& root)
      : config_(SmallConfig(root)),
        strategy_(MakeStrategy({config_.options, config_.space, {{"map", 0, 1}, {"cost", 9, 0}}})) {
  }

  // The members of a run in which the value of a member is what `value` says.
  const std::vector<Member>& Play(int64_t budget,
                                  const std::function<double(const Member&)>& value) {
    while (std::ssize(members_) < budget) {
      Member member = *strategy_->Next(members_);
      member.order = member.id;
      const double map = value(member);
      member.state = map >= 0 ? MemberState::kEvaluated : MemberState::kFailed;
      member.objectives = {{"map", map}, {"cost", 5}};
      members_.push_back(member);
      strategy_->See(member);
    }
    return members_;
  }
  const Strategy& strategy() const { return *strategy_; }

 private:
  const PopulationConfig config_;
  const std::unique_ptr<Strategy> strategy_;
  std::vector<Member> members_;
};

TEST(StrategyTest, HalvingPromotesTheBestThird) {
  MadeUp run("strategy = \"asha\"\nbudget = 40\neta = 3\n");
  // Trials have a worth for life; a step adds nothing. Rungs: 1, 3, 9, 10.
  std::map<int64_t, double> worth;
  const auto& members = run.Play(120, [&](const Member& member) {
    Random random(static_cast<uint64_t>(member.trial));
    return worth[member.trial] = 0.1 + 0.8 * random.Uniform();
  });
  std::map<int64_t, int64_t> steps;
  for (const Member& member : members) {
    steps[member.trial] = std::max(steps[member.trial], member.steps);
  }
  std::map<int64_t, std::vector<double>> by_steps;
  for (const auto& [trial, count] : steps) by_steps[count].push_back(worth[trial]);
  const auto mean = [](const std::vector<double>& values) {
    double sum = 0;
    for (const double value : values) sum += value;
    return sum / static_cast<double>(values.size());
  };
  ASSERT_GT(by_steps[1].size(), by_steps[3].size());
  ASSERT_FALSE(by_steps[3].empty());
  EXPECT_GT(mean(by_steps[3]), mean(by_steps[1]) + 0.1);
  // The best trial of all went the whole way.
  const auto best = std::max_element(
      worth.begin(), worth.end(), [](const auto& a, const auto& b) { return a.second < b.second; });
  EXPECT_GE(steps[best->first], 9);
  EXPECT_LE(by_steps.rbegin()->first, 10);
}

TEST(StrategyTest, PlacesInTheLowestQuarterCopyTheHighest) {
  MadeUp run("strategy = \"pbt\"\nbudget = 80\n");
  const auto& members = run.Play(80, [](const Member& member) {
    return member.steps == 1 ? 0.1 + 0.2 * static_cast<double>(member.trial) : 0.9;
  });
  for (const Member& member : members) {
    if (member.steps == 1) continue;
    const Member& parent = members[member.parents[0]];
    if (parent.trial == member.trial) {
      EXPECT_EQ(parent.hyper, member.hyper);
    }
  }
  // The first to be trained on is the worst place, which copies the best.
  EXPECT_EQ(members[4].trial, 0);
  EXPECT_EQ(members[members[4].parents[0]].trial, 3);
  EXPECT_NE(members[4].hyper, members[3].hyper);
  EXPECT_EQ(members[4].hyper.at("hidden"), members[3].hyper.at("hidden"));
}

TEST(StrategyTest, RandomSearchNeverCopiesAndReplacesWhatFailed) {
  MadeUp run("strategy = \"random\"\nbudget = 80\n");
  const auto& members =
      run.Play(40, [](const Member& member) { return member.id == 5 ? -1.0 : 0.5; });
  int fresh = 0;
  for (const Member& member : members) {
    fresh += member.parents.empty();
    if (!member.parents.empty()) {
      EXPECT_EQ(members[member.parents[0]].trial, member.trial);
      EXPECT_EQ(members[member.parents[0]].hyper, member.hyper);
      EXPECT_NE(member.parents[0], 5);
    }
  }
  EXPECT_EQ(fresh, 5);
}

TEST(StrategyTest, ParetoBreedsFromWhatIsGoodAndNeverFromWhatFailed) {
  MadeUp run("strategy = \"pareto\"\nbudget = 80\nnewborn = 0\n");
  const auto& members = run.Play(60, [](const Member& member) {
    return member.id % 7 == 3 ? -1.0 : 0.01 * static_cast<double>(member.id);
  });
  bool has_mutation = false, has_two_parents = false;
  for (const Member& member : members) {
    has_mutation |= !member.mutation.IsNone();
    has_two_parents |= member.parents.size() > 1;
    for (const int64_t parent : member.parents) EXPECT_NE(parent % 7, 3);
    if (member.id > 20) {
      EXPECT_GT(member.parents.at(0), member.id / 2) << "the old are not bred from";
    }
  }
  EXPECT_TRUE(has_mutation);
  EXPECT_TRUE(has_two_parents);
  EXPECT_LE(run.strategy().Live().size(), 4u);
}

TEST(PopulationRunTest, GoesOnAfterAStopAsIfThereHadBeenNone) {
  const fs::path folder = TestFolder("stop");
  const PopulationConfig config = SmallConfig("budget = 20\n");
  RunHere(folder / "whole", config);
  int asked = 0, rounds = 0;
  while (RunHere(folder / "part", config, [&] { return ++asked % 4 == 0; }).interrupted) {
    ++rounds;
    EXPECT_FALSE(fs::exists(folder / "part" / "front.json"));
  }
  EXPECT_GT(rounds, 2);
  EXPECT_EQ(ReadFile(folder / "part" / "front.json"), ReadFile(folder / "whole" / "front.json"));
  CheckFinished(folder / "part", config);
  // A run goes on with its own configuration.
  EXPECT_THAT(ErrorOf([&] { RunHere(folder / "part", SmallConfig("budget = 21\n")); }),
              HasSubstr("config.toml: this run has another configuration"));
}

TEST(PopulationRunTest, AFullDiskEndsTheRunWithALineAndItGoesOn) {
  const fs::path folder = TestFolder("full");
  const PopulationConfig config = SmallConfig("budget = 16\n");
  RunHere(folder / "whole", config);
  int fulls = 0;
  for (const rlim_t most : {400, 4000, 9000, 30000}) {
    rlimit before, small;
    ::getrlimit(RLIMIT_FSIZE, &before);
    const auto old = ::signal(SIGXFSZ, SIG_IGN);
    small = {most, before.rlim_max};
    ::setrlimit(RLIMIT_FSIZE, &small);
    const std::string error = ErrorOf([&] { RunHere(folder / "full", config); });
    ::setrlimit(RLIMIT_FSIZE, &before);
    ::signal(SIGXFSZ, old);
    fulls += !error.empty();
    EXPECT_EQ(error.find('\n'), std::string::npos) << error;
    // Each time it comes a little further.
    int asked = 0;
    RunHere(folder / "full", config, [&] { return ++asked % 4 == 0; });
  }
  EXPECT_GE(fulls, 2);
  RunHere(folder / "full", config);
  EXPECT_EQ(ReadFile(folder / "full" / "front.json"), ReadFile(folder / "whole" / "front.json"));
}

TEST(PopulationRunTest, TheFrontIsRegisteredWithAllThatItDescendsFrom) {
  const fs::path folder = TestFolder("register");
  const PopulationConfig config = SmallConfig("budget = 20\n");
  PopulationRunOptions options;
  options.workers = 0, options.open = &OpenUnreliable;
  options.registry = folder / "registry", options.name = "small";
  const PopulationReport report = RunPopulation(folder / "run", config, options);
  ASSERT_EQ(report.models.size(), report.front.size());
  {
    ModelRegistry registry(folder / "registry");
    const PopulationStore store(folder / "run");
    for (size_t i = 0; i < report.front.size(); ++i) {
      const RegisteredModel model = registry.Get(report.models[i]);
      const Member& member = store.members()[report.front[i]];
      EXPECT_EQ(model.role, ModelRole::kCandidate);
      EXPECT_EQ(model.hyper, member.hyper);
      EXPECT_EQ(model.metrics.at("all").at("map"), member.objectives.at("map"));
      EXPECT_EQ(registry.Ancestors(model.name).size(), store.AncestorsOf(member.id).size());
      EXPECT_EQ(model.optimizer, member.checkpoint_sha256);
    }
  }
  // Once more does no harm.
  EXPECT_EQ(RunPopulation(folder / "run", config, options).models, report.models);

  // Another run begins with this front.
  options.start_from = folder / "run", options.name = "next";
  const PopulationConfig next = SmallConfig("budget = 12\nseed = 1\n");
  const PopulationReport second = RunPopulation(folder / "next", next, options);
  const PopulationStore store(folder / "next");
  EXPECT_EQ(second.members, 12);
  EXPECT_EQ(store.members()[0].state, MemberState::kImported);
  EXPECT_EQ(store.members()[0].checkpoint_sha256,
            PopulationStore(folder / "run").members()[report.front[0]].checkpoint_sha256);
  EXPECT_TRUE(std::any_of(store.members().begin(), store.members().end(), [](const Member& m) {
    return m.parents == std::vector<int64_t>{0} && m.mutation.shrink < 1;
  }));
  EXPECT_TRUE(fs::exists(folder / "next" / "front.json"));
}

// A run in a process of its own, killed and begun again until it is done.
class Siege {
 public:
  Siege(const fs::path& folder, const PopulationConfig& config, uint64_t seed)
      : folder_(folder), random_(seed) {
    WriteFile(folder / "config.toml", config.toml);
  }

  // Kills the coordinator, or one of its workers, `count` times, and then lets it end.
  void Run(int count, int most_ms) {
    for (int kills = 0;;) {
      Child child({ATHANOR_TRAINING_TEST_WORKER, "run", (folder_ / "config.toml").string(),
                   (folder_ / "run").string(), "2"});
      bool is_alive = true;
      while (is_alive && kills < count) {
        ::usleep(1000 * (1 + random_.Below(most_ms)));
        if (fs::exists(folder_ / "run" / "front.json")) break;
        ++kills;
        if (random_.Below(2) == 0) {
          child.End(SIGKILL);
          is_alive = false;
        } else {
          KillOneOf(child.pid());
        }
      }
      if (!is_alive) continue;
      ASSERT_EQ(child.End(0), 0);
      kills_ = kills;
      return;
    }
  }
  int kills() const { return kills_; }

 private:
  void KillOneOf(pid_t parent) {
    std::vector<pid_t> children;
    std::ifstream list(StrCat("/proc/", parent, "/task/", parent, "/children"));
    for (pid_t pid; list >> pid;) children.push_back(pid);
    if (!children.empty()) {
      ::kill(children[random_.Below(static_cast<uint32_t>(children.size()))], SIGKILL);
    }
  }

  const fs::path folder_;
  Random random_;
  int kills_ = 0;
};

void KilledRunsEndInTheSameFront(int kills) {
  const fs::path folder = TestFolder("siege");
  ::setenv("ATHANOR_TRAINING_TEST", "pause_ms=20", 1);
  const PopulationConfig config = SmallConfig(StrCat("budget = ", 16 + 2 * kills, "\n"));
  RunHere(folder / "whole", config);
  Siege siege(folder, config, 5);
  siege.Run(kills, 150);
  ::unsetenv("ATHANOR_TRAINING_TEST");
  EXPECT_EQ(siege.kills(), kills);
  EXPECT_EQ(ReadFile(folder / "run" / "front.json"), ReadFile(folder / "whole" / "front.json"));
  CheckFinished(folder / "run", config);
}

TEST(PopulationRunTest, KilledAtRandomMomentsItEndsInTheSameFront) {
  KilledRunsEndInTheSameFront(6);
}
TEST(PopulationRunTest, SlowKilledFiftyTimesItEndsInTheSameFront) {
  KilledRunsEndInTheSameFront(50);
}

TEST(PopulationRunTest, KilledAtRandomMomentsAnAsynchronousRunEndsInAFront) {
  const fs::path folder = TestFolder("siege async");
  ::setenv("ATHANOR_TRAINING_TEST", "pause_ms=20", 1);
  const PopulationConfig config = SmallConfig("budget = 28\nsynchronous = false\n");
  Siege siege(folder, config, 6);
  siege.Run(5, 150);
  ::unsetenv("ATHANOR_TRAINING_TEST");
  CheckFinished(folder / "run", config);
}

TEST(PopulationRunTest, MembersThatDivergeCrashOrHangAreContained) {
  const fs::path folder = TestFolder("faults");
  ::setenv("ATHANOR_TRAINING_TEST", "nan=1 crash=6 hang=9", 1);
  const PopulationConfig config = SmallConfig("budget = 16\nlimit = 1\n");
  Siege siege(folder, config, 7);
  siege.Run(0, 1);
  ::unsetenv("ATHANOR_TRAINING_TEST");
  CheckFinished(folder / "run", config);
  const PopulationStore store(folder / "run");
  EXPECT_EQ(store.members()[1].failure, "the loss is not finite");
  EXPECT_EQ(store.members()[6].failure, "2 workers died at it: it crashed with signal 6");
  EXPECT_EQ(store.members()[9].failure, "2 workers died at it: it took too long");
  for (const Member& member : store.members()) {
    EXPECT_EQ(member.state == MemberState::kFailed,
              member.id == 1 || member.id == 6 || member.id == 9);
  }
}

#ifdef ATHANOR_WITH_NATS
TEST(PopulationRunTest, WorkersTakeTheirWorkFromAServer) {
  if (FindNatsServer().empty()) GTEST_SKIP() << "needs nats-server";
  const fs::path folder = TestFolder("nats");
  NatsBroker broker(folder / "broker");
  const PopulationConfig config = SmallConfig("budget = 12\n");
  RunHere(folder / "whole", config);
  WriteFile(folder / "config.toml", config.toml);
  Child child({ATHANOR_TRAINING_TEST_WORKER, "run", (folder / "config.toml").string(),
               (folder / "run").string(), "2", broker.Url()});
  EXPECT_EQ(child.End(0), 0);
  EXPECT_EQ(ReadFile(folder / "run" / "front.json"), ReadFile(folder / "whole" / "front.json"));
  CheckFinished(folder / "run", config);
}
#endif

TEST(PopulationRunTest, SaysWhatIsWrong) {
  const fs::path folder = TestFolder("wrong");
  const auto error = [&](const std::string& root) {
    return ErrorOf([&] { RunHere(folder / "run", SmallConfig(root)); });
  };
  EXPECT_THAT(error("budgets = 3\n"),
              AllOf(HasSubstr("small.toml: line 1"), HasSubstr("'budgets'")));
  EXPECT_THAT(error("strategy = \"luck\"\n"), HasSubstr("pareto|pbt|asha|random"));
  EXPECT_THAT(error("objectives = \"map,speed\"\n"), HasSubstr("there is no 'speed'"));
  EXPECT_THAT(error("strategy = \"pbt\"\nweights = \"1,2\"\n"), HasSubstr("expected 3"));
  EXPECT_THAT(error("[spaces]\n"), HasSubstr("'spaces'"));
  EXPECT_THAT(
      ErrorOf([&] { ParsePopulationConfig("[space]\nrate = { low = 1, high = 1 }\n", "c.toml"); }),
      AllOf(HasSubstr("c.toml: line 2"), HasSubstr("range is empty")));
  // Nothing was begun.
  EXPECT_FALSE(fs::exists(folder / "run"));
  WriteFile(folder / "other" / "run.json", "{}");
  WriteFile(folder / "other" / "config.toml", SmallPopulation(""));
  EXPECT_THAT(ErrorOf([&] { RunHere(folder / "other", SmallConfig("")); }),
              HasSubstr("expected the training of a population"));
}

TEST(PopulationConfigTest, ThePresetLoads) {
  const fs::path path = FindShared("configs/population/stream.toml");
  const PopulationConfig config = ParsePopulationConfig(ReadFile(path), path.string());
  EXPECT_EQ(config.options.trainable, "stream");
  StreamProblem::FromToml(config.toml, config.name)->CheckSpace(config.space);
}

}  // namespace
}  // namespace athanor
