#include "athanor/loop/inference/inference_run.h"

#include <signal.h>
#include <sys/prctl.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <thread>

#include "athanor/base/error.h"
#include "athanor/base/files.h"
#include "athanor/base/log.h"
#include "athanor/base/progress.h"
#include "athanor/base/sha256.h"
#include "athanor/loop/inference/inference_worker.h"
#include "athanor/loop/queue/worker_processes.h"

namespace athanor {
namespace {

namespace fs = std::filesystem;
using Clock = std::chrono::steady_clock;
using nlohmann::json;

// Leases that a shard gets. Many: workers may be killed for reasons of their own, and a frame that
// kills them is found out long before.
constexpr int kAttempts = 50;
constexpr int kRounds = 4;          // over damaged cells
constexpr double kGrace_s = 5;      // for workers to see that all is done
constexpr double kSilence_s = 120;  // in which every worker makes a pass, or is stuck

double SecondsSince(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

class Run {
 public:
  Run(fs::path folder, const InferencePlan& plan, const Ensembles& ensembles,
      const InferenceOptions& options)
      : folder_(std::move(folder)),
        plan_(plan),
        ensembles_(ensembles),
        options_(options),
        cells_(plan.cells),
        work_(folder_ / "work"),
        run_(work_ / UniqueRunName()) {
    for (const ModelSpec& model : plan.models) {
      CheckModelName(model.name);
      ATHANOR_CHECK(std::count_if(plan.models.begin(), plan.models.end(),
                                  [&](const ModelSpec& m) { return m.name == model.name; }) == 1,
                    "inference: expected models of different names, found '", model.name,
                    "' twice");
    }
  }

  InferenceReport Do() {
    const auto start = Clock::now();
    MakeFolder(work_);
    const FileLock lock(
        work_ / "lock",
        options_.nats.empty() ? FileLock::Mode::kExclusive : FileLock::Mode::kShared,
        folder_.string() + ": another inference is at work in this folder");
    if (options_.nats.empty()) RemoveOldRuns();
    const std::vector<CellShard> shards = plan_.Shards();
    if (options_.retry_failed) ForgetFailures(shards);
    std::vector<CellShard> missing = MissingOf(shards);
    for (const CellShard& shard : shards) report_.cells += shard.count;
    report_.reused = report_.cells;
    for (const CellShard& shard : missing) {
      report_.reused -= shard.count - std::ssize(cells_.ReadParts(shard));
    }
    const bool was_whole = missing.empty();
    for (int round = 0;; ++round) {
      if (!missing.empty()) Compute(shards, missing);
      missing = MissingOf(shards);
      std::erase_if(missing, [&](const CellShard& shard) { return dead_.contains(shard.Id()); });
      if (missing.empty()) {
        try {
          MakeTable(was_whole && round == 0);
          break;
        } catch (const CellDamage& damage) {
          LogWarning(StrCat(damage.what(), "; it is computed again"));
          cells_.SetAside(damage.shard);
          missing = {damage.shard};
        }
      }
      ATHANOR_CHECK(round + 1 < kRounds, folder_.string(), ": ", missing.size(),
                    " shards are not there although all work is done, the first is ",
                    missing[0].Id());
    }
    std::error_code error;
    fs::remove_all(run_, error);
    for (const auto& [id, reason] : dead_) report_.dead.push_back(StrCat(id, ": ", reason));
    const InferenceTable table(folder_);
    for (const InferredModel& model : table.models()) report_.failed += std::ssize(model.failed);
    report_.wall_s = SecondsSince(start);
    return report_;
  }

 private:
  std::vector<CellShard> MissingOf(const std::vector<CellShard>& shards) const {
    std::vector<CellShard> missing;
    for (const CellShard& shard : shards) {
      if (!cells_.Has(shard)) missing.push_back(shard);
    }
    return missing;
  }

  // What runs that were killed have left. (Their cells are not in there.)
  void RemoveOldRuns() const {
    std::error_code error;
    std::vector<fs::path> old;
    for (fs::directory_iterator entry(work_, error), end; !error && entry != end;
         entry.increment(error)) {
      if (entry->path().filename().string().starts_with("run-")) old.push_back(entry->path());
    }
    for (const fs::path& path : old) fs::remove_all(path, error);
  }

  void ForgetFailures(const std::vector<CellShard>& shards) const {
    for (const CellShard& shard : shards) {
      try {
        cells_.ForgetFailures(shard, run_.filename().string());
      } catch (const CellDamage&) {
        continue;  // found again when the table is made
      }
    }
  }

  void Compute(const std::vector<CellShard>& shards, const std::vector<CellShard>& missing) {
    QueuePlace place;
    place.options.lease_s = options_.lease_s;
    place.options.attempts = kAttempts;
    place.nats = options_.nats;
    // The same for all runs that are to share the work.
    std::string all = fs::weakly_canonical(plan_.cells).string();
    for (const CellShard& shard : shards) all.append("\n").append(shard.Id());
    const std::string name = StrCat("infer-", Sha256Of(all).substr(0, 16), "-");
    MakeFolder(run_);
    std::unique_ptr<WorkQueue> queue;
    // A server remembers what was done: what is missing all the same (damaged, to be tried again)
    // needs a queue that has not done it.
    for (bool is_spent = true; is_spent; ++next_queue_) {
      place.file = run_ / StrCat("queue-", next_queue_, ".sqlite");
      place.name = StrCat(name, next_queue_);
      queue = OpenQueue(place);
      for (const CellShard& shard : missing) {
        if (queue->Publish(shard.Id(), shard.Id())) is_spent = false;
      }
      const WorkQueueCounts counts = queue->Counts();
      is_spent = is_spent && counts.waiting + counts.leased == 0;
    }
    if (options_.workers == 0) {
      WorkerOptions worker;
      worker.queue = place.options;
      worker.name = run_.filename().string();
      worker.passes = run_ / "0.passes";
      RunInferenceWorker(plan_, *queue, options_.open, worker);
    } else {
      WriteFile(run_ / "plan.json", EncodePlan(plan_));
      WriteFile(run_ / "run.json", json{{"file", place.file.string()},
                                        {"nats", place.nats},
                                        {"name", place.name},
                                        {"lease_s", options_.lease_s},
                                        {"parent", ::getpid()}}
                                       .dump(1));
      Watch(*queue);
    }
    CountPasses();
    for (const DeadJob& job : queue->DeadJobs()) dead_[job.id] = "not computed: " + job.reason;
  }

  void Watch(WorkQueue& queue) {
    std::optional<Progress> bar;
    if (options_.show_progress) bar.emplace("inference", report_.cells, report_.reused);
    WorkerProcesses workers(
        {.count = options_.workers, .run = run_, .command = [&](const std::string& name) {
           return options_.worker_command(run_, name);
         }});
    int64_t seen = -1;
    auto last_pass = Clock::now(), last_look = Clock::now();
    std::optional<Clock::time_point> done;
    for (const int64_t before = report_.deaths; workers.Look(report_.passes) > 0;) {
      report_.deaths = before + workers.deaths();
      std::this_thread::sleep_for(std::chrono::milliseconds(20));
      if (SecondsSince(last_look) < 0.25) continue;
      last_look = Clock::now();
      CountPasses();
      if (report_.passes != seen) last_pass = Clock::now();
      seen = report_.passes;
      if (bar) {
        bar->Update(std::min(report_.reused + report_.passes, report_.cells),
                    StrCat(report_.passes, " passes"));
      }
      const WorkQueueCounts counts = queue.Counts();
      if (counts.waiting + counts.leased == 0) {
        // One that was stopped does not see it.
        if (!done) done = Clock::now();
        if (SecondsSince(*done) > kGrace_s) workers.KillAll();
      } else if (counts.waiting > 0 &&
                 SecondsSince(last_pass) > std::max(kSilence_s, 3 * options_.lease_s)) {
        LogWarning(StrCat("no worker has done a pass in ", kSilence_s, " s; they are replaced"));
        workers.KillToReplace();
        last_pass = Clock::now();
      }
    }
  }

  // Of all this run's workers so far.
  void CountPasses() {
    report_.passes = 0;
    report_.read_s = report_.wait_s = report_.forward_s = 0;
    std::error_code error;
    for (fs::directory_iterator entry(run_, error), end; !error && entry != end;
         entry.increment(error)) {
      if (entry->path().extension() != ".passes") continue;
      for (const PassRecord& pass : ReadPasses(entry->path())) {
        ++report_.passes;
        report_.read_s += pass.read_s;
        report_.wait_s += pass.wait_s;
        report_.forward_s += pass.forward_s;
      }
    }
  }

  // `is_known`: all cells were there. Then a table of the same plan is this one.
  void MakeTable(bool is_known) const {
    const FileLock lock(work_ / "table-lock", FileLock::Mode::kWait);
    std::error_code error;
    if (is_known && fs::is_regular_file(folder_ / "table.json", error)) {
      try {
        const InferenceTable table(folder_);
        bool is_same = table.clips() == plan_.clips && table.ensembles() == ensembles_ &&
                       table.models().size() == plan_.models.size();
        for (size_t m = 0; m < plan_.models.size() && is_same; ++m) {
          const InferredModel& model = table.models()[m];
          is_same = model.spec == plan_.models[m];
          for (const fs::path& path : {model.boxes, model.frame_vectors, model.object_vectors}) {
            is_same = is_same && (path.empty() || fs::is_regular_file(path, error));
          }
        }
        if (is_same) return;
      } catch (const Error&) {
        // It is made anew.
      }
    }
    WriteInferenceTable(folder_, plan_, ensembles_, dead_);
  }

  const fs::path folder_;
  const InferencePlan& plan_;
  const Ensembles& ensembles_;
  const InferenceOptions& options_;
  const CellStore cells_;
  const fs::path work_, run_;
  int next_queue_ = 0;
  std::map<std::string, std::string> dead_;  // shards: why nobody could work on them
  InferenceReport report_;
};

}  // namespace

InferenceReport RunInference(const fs::path& folder, const InferencePlan& plan,
                             const Ensembles& ensembles, const InferenceOptions& options) {
  return Run(folder, plan, ensembles, options).Do();
}

int RunWorkerProcess(const fs::path& run, const std::string& worker, const ModelOpener& open) {
  ::prctl(PR_SET_PDEATHSIG, SIGKILL);
  try {
    const json root = json::parse(ReadFile(run / "run.json"));
    if (::getppid() != root.at("parent").get<pid_t>()) return 1;  // it has died already
    const InferencePlan plan =
        DecodePlan(ReadFile(run / "plan.json"), (run / "plan.json").string());
    QueuePlace place;
    place.file = root.at("file").get<std::string>();
    place.nats = root.at("nats").get<std::string>();
    place.name = root.at("name").get<std::string>();
    place.options.lease_s = root.at("lease_s").get<double>();
    place.options.attempts = kAttempts;
    const std::unique_ptr<WorkQueue> queue = OpenQueue(place);
    WorkerOptions options;
    options.queue = place.options;
    options.name = worker;
    options.passes = run / (worker + ".passes");
    options.owns_process = true;
    RunInferenceWorker(plan, *queue, open, options);
    return 0;
  } catch (const std::exception& error) {
    try {
      WriteFile(run / (worker + ".error"), error.what());
    } catch (const std::exception&) {
      return 2;  // a full disk, say: the parent hears of it by this alone
    }
    return 1;
  }
}

}  // namespace athanor
