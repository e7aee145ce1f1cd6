#include "athanor/loop/training/population_run.h"

#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <thread>

#include "athanor/base/error.h"
#include "athanor/base/files.h"
#include "athanor/base/log.h"
#include "athanor/base/progress.h"
#include "athanor/loop/queue/worker_processes.h"
#include "athanor/loop/training/front_report.h"
#include "athanor/loop/training/pareto.h"
#include "athanor/loop/training/strategy.h"
#include "athanor/loop/training/training_worker.h"

namespace athanor {
namespace {

namespace fs = std::filesystem;
using Clock = std::chrono::steady_clock;
using nlohmann::json;

// Leases that a job gets. Many: workers may be killed for reasons of their own, and a job that
// kills them is found out long before (kDeathsOfJob).
constexpr int kAttempts = 1000;
constexpr double kSilence_s = 60;  // beyond the limit of a job; then workers are stuck

double SecondsSince(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

// Members in the order in which they were evaluated or failed.
std::vector<const Member*> ByOrder(const std::vector<Member>& members) {
  std::vector<const Member*> done;
  for (const Member& member : members) {
    if (member.order >= 0) done.push_back(&member);
  }
  std::sort(done.begin(), done.end(),
            [](const Member* a, const Member* b) { return a->order < b->order; });
  return done;
}

std::string RunIdOf(const fs::path& run) {
  const fs::path path = run / "run.json";
  std::error_code error;
  ATHANOR_CHECK(fs::is_regular_file(path, error), run.string(),
                ": expected the training of a population (run.json), found none");
  const json root = json::parse(ReadFile(path), nullptr, /*allow_exceptions=*/false);
  ATHANOR_CHECK(root.is_object() && root.value("kind", "") == "train population", path.string(),
                ": expected the training of a population, found something else");
  return root.value("id", "");
}

QueuePlace PlaceOf(const fs::path& run, const fs::path& session, const std::string& nats,
                   double lease_s) {
  QueuePlace place;
  place.options = {.lease_s = lease_s, .attempts = kAttempts, .is_flushed = false};
  place.nats = nats;
  if (nats.empty()) {
    place.file = session / "queue.sqlite";
  } else {
    place.name = "population-" + RunIdOf(run);
  }
  return place;
}

// What a worker process finds in its session.
void WriteSession(const fs::path& session, const fs::path& run, const QueuePlace& place,
                  const PopulationOptions& options) {
  WriteFile(session / "session.json", json{{"run", fs::absolute(run).string()},
                                           {"file", place.file.string()},
                                           {"nats", place.nats},
                                           {"name", place.name},
                                           {"lease_s", place.options.lease_s},
                                           {"limit_s", options.limit_s},
                                           {"parent", ::getpid()}}
                                          .dump(1));
}

std::unique_ptr<WorkerProcesses> StartWorkers(const fs::path& session, const fs::path& run,
                                              const PopulationRunOptions& options) {
  WorkerProcessOptions processes;
  processes.count = options.workers, processes.run = session;
  processes.command = [&options, session](const std::string& name) {
    return options.worker_command(session, name);
  };
  // A worker that was killed from outside is nobody's fault.
  processes.died = [session, run](const std::string& name, int status) {
    const bool is_hung = WIFEXITED(status) && WEXITSTATUS(status) == kHungExit;
    const int number = WIFSIGNALED(status) ? WTERMSIG(status) : 0;
    const bool is_crash = number == SIGSEGV || number == SIGBUS || number == SIGFPE ||
                          number == SIGILL || number == SIGABRT;
    std::error_code error;
    const fs::path current = session / (name + ".job");
    if ((!is_hung && !is_crash) || !fs::is_regular_file(current, error)) return;
    NoteDeath(
        run, ReadFile(current), name,
        is_hung ? std::string("it took too long") : StrCat("it crashed with signal ", number));
  };
  return std::make_unique<WorkerProcesses>(std::move(processes));
}

void RemoveOldSessions(const fs::path& work) {
  std::error_code error;
  std::vector<fs::path> old;
  for (fs::directory_iterator entry(work, error), end; !error && entry != end;
       entry.increment(error)) {
    if (entry->path().filename().string().starts_with("run-")) old.push_back(entry->path());
  }
  for (const fs::path& path : old) fs::remove_all(path, error);
}

class Run {
 public:
  Run(fs::path run, const PopulationConfig& config, const PopulationRunOptions& options)
      : run_(std::move(run)), config_(config), options_(options) {
    // All that may be wrong with a configuration is found before anything is written.
    trainable_ = options.open(config.options.trainable, config.toml, config.name);
    trainable_->CheckSpace(config.space);
    objectives_ = ChooseObjectives(trainable_->objectives(), config.options.objectives);
    strategy_ = MakeStrategy({config.options, config.space, objectives_});
    archive_.emplace(std::vector<double>(objectives_.size(), config.options.epsilon));
  }

  PopulationReport Do() {
    const auto start = Clock::now();
    MakeFolder(run_ / "work");
    const FileLock lock(run_ / "work" / "lock", FileLock::Mode::kExclusive,
                        run_.string() + ": another training is at work in this folder");
    Begin();
    RemoveOldSessions(run_ / "work");
    session_ = run_ / "work" / UniqueRunName();
    MakeFolder(session_);
    const QueuePlace place = PlaceOf(run_, session_, options_.nats, config_.options.lease_s);
    queue_ = OpenQueue(place);
    for (const Member* member : ByOrder(store_->members())) Close(*member);
    for (const Member& member : store_->members()) {
      if (member.is_open()) Publish(member);
    }
    if (!IsDone() && options_.workers > 0) {
      WriteSession(session_, run_, place, config_.options);
      workers_ = StartWorkers(session_, run_, options_);
    }
    report_.interrupted = !Work(place.options);
    if (workers_) report_.deaths = workers_->deaths();
    workers_.reset();
    queue_.reset();
    for (const Member& member : store_->members()) {
      report_.failed += member.state == MemberState::kFailed;
      report_.members += member.state != MemberState::kImported;
      report_.work += member.report.work;
    }
    for (const auto& [id, point] : archive_->points()) report_.front.push_back(id);
    report_.hypervolume = HypervolumeOf();
    if (!report_.interrupted) {
      WriteFrontReport(run_, *store_, config_.options, objectives_, report_.front,
                       trainable_->work_unit());
      if (!options_.registry.empty()) {
        report_.models = RegisterFront(run_, *store_, options_.name, objectives_, report_.front,
                                       *trainable_, options_.registry);
      }
    }
    std::error_code error;
    fs::remove_all(session_, error);
    report_.wall_s = SecondsSince(start);
    return report_;
  }

 private:
  // A new run, or the one that is there when it is the same.
  void Begin() {
    std::error_code error;
    const fs::path path = run_ / "config.toml";
    if (fs::is_regular_file(path, error)) {
      ATHANOR_CHECK(ReadFile(path) == config_.toml, path.string(),
                    ": this run has another configuration; a run goes on with its own");
      RunIdOf(run_);
    } else {
      WriteFile(run_ / "run.json",
                json{{"kind", "train population"}, {"id", UniqueRunName()}}.dump(1) + "\n");
      WriteFile(path, config_.toml);
    }
    store_.emplace(run_);
    if (store_->members().empty() && !options_.start_from.empty()) Import();
  }

  // Copies first, then one transaction.
  void Import() {
    RunIdOf(options_.start_from);
    const PopulationStore earlier(options_.start_from);
    const std::vector<int64_t> front =
        FrontOf(earlier.members(), objectives_, config_.options.epsilon);
    ATHANOR_CHECK(!front.empty(), options_.start_from.string(),
                  ": expected a front to start from, found none");
    std::vector<Member> imported;
    for (const int64_t id : front) {
      const Member& there = earlier.members()[id];
      config_.space.Check(there.hyper, StrCat(options_.start_from.string(), ": member ", id));
      WriteFile(store_->CheckpointOf(std::ssize(imported)), ReadFile(earlier.CheckpointOf(id)));
      Member& member = imported.emplace_back();
      member.state = MemberState::kImported;
      member.trial = std::ssize(imported) - 1;
      member.hyper = there.hyper;
      member.checkpoint_sha256 = there.checkpoint_sha256;
      member.has_checkpoint = true;
    }
    store_->Plan(std::move(imported));
  }

  int64_t Begun() const {
    return std::count_if(store_->members().begin(), store_->members().end(),
                         [](const Member& m) { return m.state != MemberState::kImported; });
  }
  int64_t Open() const {
    return std::count_if(store_->members().begin(), store_->members().end(),
                         [](const Member& m) { return m.is_open(); });
  }
  bool IsDone() const { return Open() == 0 && Begun() >= config_.options.budget; }

  // False: told to stop.
  bool Work(const WorkQueueOptions& queue_options) {
    std::optional<Progress> bar;
    if (options_.show_progress) {
      bar.emplace("population", config_.options.budget, Begun() - Open());
    }
    auto last_change = Clock::now(), last_look = Clock::now();
    int lost = 0;
    while (!IsDone()) {
      if (options_.stop && options_.stop()) return false;
      bool is_changed = PlanMore();
      if (options_.workers == 0) {
        RunTrainingWorker(run_, *trainable_, *queue_,
                          {.queue = queue_options, .name = session_.filename().string()});
      }
      is_changed |= Collect();
      if (is_changed) {
        last_change = Clock::now(), lost = 0;
        if (bar) bar->Update(Begun() - Open(), Note());
        continue;
      }
      if (workers_) {
        workers_->Look(report_.steps);
        std::this_thread::sleep_for(std::chrono::milliseconds(2));
      }
      if (SecondsSince(last_look) < 1) continue;
      last_look = Clock::now();
      const WorkQueueCounts counts = queue_->Counts();
      // Results come before jobs are done: what is missing now will not come.
      lost = counts.waiting + counts.leased == 0 ? lost + 1 : 0;
      ATHANOR_CHECK(lost < 3, run_.string(), ": all jobs are done, and results of ", Open(),
                    " members are missing; the same command begins them again");
      if (workers_ && SecondsSince(last_change) >
                          config_.options.limit_s + config_.options.lease_s + kSilence_s) {
        LogWarning("workers do not do anything; they are replaced");
        workers_->KillToReplace();
        last_change = Clock::now();
      }
    }
    return true;
  }

  std::string Note() const {
    char text[64];
    std::snprintf(text, sizeof text, "hypervolume %.4f, %d on the front", HypervolumeOf(),
                  static_cast<int>(archive_->points().size()));
    return text;
  }

  double HypervolumeOf() const {
    std::vector<ParetoPoint> points;
    for (const auto& [id, point] : archive_->points()) points.push_back(point);
    return Hypervolume(points, ParetoPoint(objectives_.size(), 0.0));
  }

  // Synchronous: a whole generation, when the one before is done, in one transaction.
  bool PlanMore() {
    const PopulationOptions& o = config_.options;
    const int64_t left = o.budget - Begun(), open = Open();
    int64_t room = 0;
    if (o.synchronous) {
      room = open == 0 ? o.population : 0;
    } else {
      // One beyond the workers' hands, so that none waits for us; others may have joined.
      room = (options_.nats.empty() ? std::max(options_.workers, 1) + 1 : o.population) - open;
    }
    room = std::min(room, left);
    if (room <= 0) return false;
    std::vector<Member> members = store_->members(), planned;
    while (std::ssize(planned) < room) {
      std::optional<Member> next = strategy_->Next(members);
      if (!next) break;
      config_.space.Check(next->hyper, StrCat("member ", members.size()));
      members.push_back(*next);
      planned.push_back(std::move(*next));
    }
    if (planned.empty()) return false;
    const int64_t first = std::ssize(store_->members());
    store_->Plan(std::move(planned));
    for (int64_t id = first; id < std::ssize(store_->members()); ++id) {
      Publish(store_->members()[id]);
    }
    return true;
  }

  void Publish(const Member& member) {
    TrainingJob job;
    job.member = member.id, job.hyper = member.hyper;
    if (member.state == MemberState::kPlanned) {
      if (!member.parents.empty()) job.parent = member.parents[0];
      job.mutation = member.mutation, job.seed = member.seed;
      job.updates = config_.options.updates;
      job.updates_before = (member.steps - 1) * config_.options.updates;
    } else {
      job.kind = TrainingJob::Kind::kEvaluate;
    }
    queue_->Publish(job.Id(), job.Encode());
  }

  // Takes over what workers have done.
  bool Collect() {
    bool is_changed = false;
    // In synchronous runs members are closed in the order of their ids.
    bool may_close = true;
    for (int64_t id = first_open_; id < std::ssize(store_->members()); ++id) {
      const Member& member = store_->members()[id];
      if (!member.is_open()) {
        if (id == first_open_) ++first_open_;
        continue;
      }
      const bool is_training = member.state == MemberState::kPlanned;
      const auto result = ReadResult(run_, StrCat(is_training ? "train-" : "evaluate-", id));
      const bool is_closing = result && (!is_training || !result->failure.empty());
      if (result && !is_closing) {
        store_->SetTrained(id, result->report, result->checkpoint_sha256, result->seconds);
        Publish(member);
        report_.busy_s += result->seconds;
        ++report_.steps;
        is_changed = true;
      } else if (is_closing && may_close) {
        if (result->failure.empty()) {
          store_->SetEvaluated(id, result->objectives, result->seconds);
        } else {
          store_->SetFailed(id, result->failure);
          LogWarning(StrCat("member ", id, " has failed: ", result->failure));
        }
        report_.busy_s += result->seconds;
        Close(member);
        is_changed = true;
      }
      if (member.is_open() && config_.options.synchronous) may_close = false;
    }
    if (is_changed && (!config_.options.synchronous || Open() == 0)) Drop();
    return is_changed;
  }

  void Close(const Member& member) {
    strategy_->See(member);
    if (member.state == MemberState::kEvaluated) {
      archive_->Insert(member.id, ScaledPoint(objectives_, member.objectives));
    }
  }

  void Drop() {
    if (config_.options.keep_all) return;
    std::set<int64_t> needed = strategy_->Live();
    for (const auto& [id, point] : archive_->points()) needed.insert(id);
    for (const Member& member : store_->members()) {
      if (member.state == MemberState::kImported) needed.insert(member.id);
    }
    store_->DropCheckpoints(needed);
  }

  const fs::path run_;
  const PopulationConfig& config_;
  const PopulationRunOptions& options_;
  std::unique_ptr<Trainable> trainable_;
  std::vector<Objective> objectives_;
  std::unique_ptr<Strategy> strategy_;
  std::optional<EpsilonArchive> archive_;
  std::optional<PopulationStore> store_;
  fs::path session_;
  std::unique_ptr<WorkQueue> queue_;
  std::unique_ptr<WorkerProcesses> workers_;
  int64_t first_open_ = 0;
  PopulationReport report_;
};

}  // namespace

std::vector<int64_t> FrontOf(const std::vector<Member>& members,
                             const std::vector<Objective>& objectives, double epsilon) {
  EpsilonArchive archive(std::vector<double>(objectives.size(), epsilon));
  for (const Member* member : ByOrder(members)) {
    if (member->state == MemberState::kEvaluated) {
      archive.Insert(member->id, ScaledPoint(objectives, member->objectives));
    }
  }
  std::vector<int64_t> front;
  for (const auto& [id, point] : archive.points()) front.push_back(id);
  return front;
}

PopulationReport RunPopulation(const fs::path& run, const PopulationConfig& config,
                               const PopulationRunOptions& options) {
  return Run(run, config, options).Do();
}

void JoinPopulation(const fs::path& run, const PopulationRunOptions& options) {
  ATHANOR_CHECK(!options.nats.empty(), "expected the URL of a NATS server to join a run over");
  RunIdOf(run);
  const fs::path path = run / "config.toml";
  const PopulationConfig config = ParsePopulationConfig(ReadFile(path), path.string());
  const fs::path session = run / "joined" / UniqueRunName();
  MakeFolder(session);
  const QueuePlace place = PlaceOf(run, session, options.nats, config.options.lease_s);
  OpenQueue(place);  // fails here when there is no server
  WriteSession(session, run, place, config.options);
  const auto workers = StartWorkers(session, run, options);
  std::error_code error;
  const auto count = [&] {
    std::error_code none;
    return std::distance(fs::directory_iterator(run / "results", none), fs::directory_iterator());
  };
  while (!fs::is_regular_file(run / "front.json", error) && !(options.stop && options.stop())) {
    workers->Look(fs::is_directory(run / "results", error) ? count() : 0);
    std::this_thread::sleep_for(std::chrono::milliseconds(100));
  }
  workers->KillAll();
  fs::remove_all(session, error);
}

int RunPopulationWorker(const fs::path& session, const std::string& worker,
                        const TrainableOpener& open) {
  ::prctl(PR_SET_PDEATHSIG, SIGKILL);
  try {
    const json root = json::parse(ReadFile(session / "session.json"));
    if (::getppid() != root.at("parent").get<pid_t>()) return 1;  // it has died already
    const fs::path run = root.at("run").get<std::string>();
    const fs::path path = run / "config.toml";
    const PopulationConfig config = ParsePopulationConfig(ReadFile(path), path.string());
    const auto trainable = open(config.options.trainable, config.toml, config.name);
    QueuePlace place;
    place.file = root.at("file").get<std::string>();
    place.nats = root.at("nats").get<std::string>();
    place.name = root.at("name").get<std::string>();
    place.options = {
        .lease_s = root.at("lease_s").get<double>(), .attempts = kAttempts, .is_flushed = false};
    const std::unique_ptr<WorkQueue> queue = OpenQueue(place);
    TrainingWorkerOptions options;
    options.queue = place.options, options.name = worker;
    options.limit_s = root.at("limit_s").get<double>();
    options.owns_process = true;
    options.current = session / (worker + ".job");
    options.stop = [] { return false; };  // whoever started it ends it
    RunTrainingWorker(run, *trainable, *queue, options);
    return 0;
  } catch (const std::exception& error) {
    try {
      WriteFile(session / (worker + ".error"), error.what());
    } catch (const std::exception&) {
      return 2;  // a full disk, say: the parent hears of it by this alone
    }
    return 1;
  }
}

}  // namespace athanor
