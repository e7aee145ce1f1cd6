#include "athanor/loop/training/training_worker.h"

#include <unistd.h>

#include <chrono>
#include <condition_variable>
#include <fstream>
#include <mutex>
#include <nlohmann/json.hpp>
#include <thread>
#include <vector>

#include "athanor/base/error.h"
#include "athanor/base/files.h"
#include "athanor/base/sha256.h"
#include "athanor/loop/queue/worker_processes.h"
#include "athanor/loop/training/population_store.h"

namespace athanor {
namespace {

namespace fs = std::filesystem;
using Clock = std::chrono::steady_clock;
using nlohmann::json;

double SecondsSince(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

fs::path ResultPath(const fs::path& run, const std::string& job) {
  return run / "results" / (job + ".json");
}

// Why others died at a job.
std::vector<std::string> NotesOf(const fs::path& run, const std::string& job) {
  std::vector<std::string> notes;
  std::error_code error;
  for (fs::directory_iterator entry(run / "notes", error), end; !error && entry != end;
       entry.increment(error)) {
    if (entry->path().filename().string().starts_with(job + ".")) {
      notes.push_back(ReadFile(entry->path()));
    }
  }
  return notes;
}

// Ends the process when a job takes too long: it may never return.
class Watchdog {
 public:
  explicit Watchdog(const TrainingWorkerOptions& options) {
    if (!options.owns_process) return;
    thread_ = std::thread([this, limit_s = options.limit_s] {
      std::unique_lock lock(mutex_);
      if (!done_.wait_for(lock, std::chrono::duration<double>(limit_s), [this] { return stop_; })) {
        ::_exit(kHungExit);
      }
    });
  }
  ~Watchdog() {
    {
      const std::lock_guard lock(mutex_);
      stop_ = true;
    }
    done_.notify_all();
    if (thread_.joinable()) thread_.join();
  }

 private:
  std::mutex mutex_;
  std::condition_variable done_;
  bool stop_ = false;
  std::thread thread_;
};

TrainingResult Do(const fs::path& run, const TrainingJob& job, Trainable& trainable) {
  TrainingResult result;
  const fs::path checkpoint = PopulationStore::CheckpointPath(run, job.member);
  const auto start = Clock::now();
  try {
    if (job.kind == TrainingJob::Kind::kTrain) {
      TrainRequest request;
      if (job.parent >= 0) request.from = PopulationStore::CheckpointPath(run, job.parent);
      request.hyper = job.hyper, request.mutation = job.mutation;
      request.updates = job.updates, request.updates_before = job.updates_before;
      request.seed = job.seed;
      result.report = trainable.Train(request, checkpoint);
      result.checkpoint_sha256 = Sha256OfFile(checkpoint);
    } else {
      result.objectives = trainable.Evaluate(checkpoint, job.hyper);
    }
  } catch (const MemberFailure& failure) {
    result.failure = failure.what();
  }
  result.seconds = SecondsSince(start);
  return result;
}

// Whole, but not flushed: what a loss of power takes is done again, and a checkpoint was flushed
// before.
void WriteResult(const fs::path& run, const std::string& job, const std::string& worker,
                 const TrainingResult& result) {
  MakeFolder(run / "results");
  const fs::path aside = run / "results" / StrCat(job, ".", worker);
  std::ofstream file(aside, std::ios::binary);
  file << json{{"failure", result.failure},       {"monitors", result.report.monitors},
               {"work", result.report.work},      {"sha256", result.checkpoint_sha256},
               {"objectives", result.objectives}, {"seconds", result.seconds}}
              .dump(1);
  file.close();
  std::error_code error;
  if (file) fs::rename(aside, ResultPath(run, job), error);
  ATHANOR_CHECK(file && !error, aside.string(),
                ": cannot write: ", error ? error.message() : std::string("the disk may be full"));
}

}  // namespace

std::string TrainingJob::Id() const {
  return StrCat(kind == Kind::kTrain ? "train-" : "evaluate-", member);
}

std::string TrainingJob::Encode() const {
  return json{{"kind", kind == Kind::kTrain ? "train" : "evaluate"},
              {"member", member},
              {"parent", parent},
              {"hyper", hyper},
              {"shrink", mutation.shrink},
              {"perturb", mutation.perturb},
              {"replace", mutation.replace},
              {"updates", updates},
              {"updates_before", updates_before},
              {"seed", std::to_string(seed)}}
      .dump();
}

TrainingJob TrainingJob::Decode(const std::string& text) {
  try {
    const json root = json::parse(text);
    TrainingJob job;
    job.kind = root.at("kind") == "train" ? Kind::kTrain : Kind::kEvaluate;
    job.member = root.at("member"), job.parent = root.at("parent");
    job.hyper = root.at("hyper").get<HyperParameters>();
    job.mutation = {root.at("shrink"), root.at("perturb"), root.at("replace")};
    job.updates = root.at("updates"), job.updates_before = root.at("updates_before");
    job.seed = std::stoull(root.at("seed").get<std::string>());
    return job;
  } catch (const std::exception& error) {
    throw Error(StrCat("expected a job of a training: ", error.what()));
  }
}

std::optional<TrainingResult> ReadResult(const fs::path& run, const std::string& job) {
  const fs::path path = ResultPath(run, job);
  std::error_code error;
  if (!fs::is_regular_file(path, error)) return std::nullopt;
  try {
    const json root = json::parse(ReadFile(path));
    TrainingResult result;
    result.failure = root.at("failure");
    result.report.monitors = root.at("monitors").get<std::map<std::string, double>>();
    result.report.work = root.at("work");
    result.checkpoint_sha256 = root.at("sha256");
    result.objectives = root.at("objectives").get<std::map<std::string, double>>();
    result.seconds = root.at("seconds");
    return result;
  } catch (const json::exception&) {
    // A loss of power came before it was on the disk.
    fs::remove(path, error);
    return std::nullopt;
  }
}

void NoteDeath(const fs::path& run, const std::string& job, const std::string& worker,
               const std::string& how) {
  WriteFile(run / "notes" / StrCat(job, ".", worker), how);
}

void RunTrainingWorker(const fs::path& run, Trainable& trainable, WorkQueue& queue,
                       const TrainingWorkerOptions& options) {
  while (!options.stop || !options.stop()) {
    const auto leased = queue.Pull(options.stop ? 0.2 : 0);
    if (!leased) {
      if (!options.stop) return;
      continue;
    }
    const TrainingJob job = TrainingJob::Decode(leased->bytes);
    if (ReadResult(run, leased->id)) {
      queue.Ack(*leased);  // by one that died before it could say so
      continue;
    }
    if (!options.current.empty()) std::ofstream(options.current) << leased->id;
    const std::vector<std::string> notes = NotesOf(run, leased->id);
    TrainingResult result;
    if (std::ssize(notes) >= kDeathsOfJob) {
      result.failure = StrCat(notes.size(), " workers died at it: ", notes.back());
    } else {
      const LeaseKeeper keeper(queue, *leased, options.queue);
      const Watchdog watchdog(options);
      try {
        result = Do(run, job, trainable);
      } catch (const Error&) {
        // Another has done it, and what it needed may be gone.
        if (ReadResult(run, leased->id)) continue;
        throw;
      }
    }
    WriteResult(run, leased->id, options.name, result);
    // How often each was done is what tests count.
    AppendFile(run / "done.txt", leased->id + "\n");
    queue.Ack(*leased);
  }
}

}  // namespace athanor
