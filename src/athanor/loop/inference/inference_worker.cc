#include "athanor/loop/inference/inference_worker.h"

#include <fcntl.h>
#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdlib>
#include <cstring>
#include <deque>
#include <future>
#include <mutex>
#include <optional>
#include <thread>

#include "athanor/base/error.h"
#include "athanor/base/files.h"
#include "athanor/base/parallel.h"
#include "athanor/loop/queue/worker_processes.h"

namespace athanor {
namespace {

namespace fs = std::filesystem;
using Clock = std::chrono::steady_clock;

double SecondsSince(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

std::string OneLine(std::string_view text) { return std::string(text.substr(0, text.find('\n'))); }

// What the handler of crashes needs, ready before anything crashes. A process has one worker.
struct CrashNote {
  std::atomic<bool> is_armed = false;
  char path[4096] = {};
};
CrashNote crash_note;

constexpr int kCrashSignals[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT};

// Only what POSIX allows in a signal handler.
void NoteCrash(int number) {
  if (crash_note.is_armed) {
    const int file = ::open(crash_note.path, O_WRONLY | O_CREAT | O_TRUNC, 0666);
    if (file >= 0) {
      char text[] = "crashed with signal 00";
      text[sizeof text - 3] = static_cast<char>('0' + number / 10 % 10);
      text[sizeof text - 2] = static_cast<char>('0' + number % 10);
      [[maybe_unused]] const ssize_t written = ::write(file, text, sizeof text - 1);
      ::close(file);
    }
  }
  ::signal(number, SIG_DFL);
  ::raise(number);
}

// Ends the process when a frame takes too long: its lease is lost, and the model may never return.
class Watchdog {
 public:
  Watchdog(const CellStore& cells, const WorkerOptions& options)
      : cells_(cells), options_(options) {
    if (!options.owns_process) return;
    for (const int number : kCrashSignals) ::signal(number, &NoteCrash);
    thread_ = std::thread([this] { Watch(); });
  }
  ~Watchdog() {
    if (!thread_.joinable()) return;
    {
      const std::lock_guard lock(mutex_);
      stop_ = true;
    }
    changed_.notify_all();
    thread_.join();
    for (const int number : kCrashSignals) ::signal(number, SIG_DFL);
  }

  void Begin(const CellShard& shard, int frame) {
    if (!options_.owns_process) return;
    const std::string path = cells_.NotePath(shard, options_.name, frame).string();
    MakeFolder(fs::path(path).parent_path());
    const std::lock_guard lock(mutex_);
    path_ = path;
    begin_ = Clock::now();
    if (path.size() < sizeof crash_note.path) {
      std::memcpy(crash_note.path, path.c_str(), path.size() + 1);
      crash_note.is_armed = true;
    }
  }
  void End() {
    if (!options_.owns_process) return;
    crash_note.is_armed = false;
    const std::lock_guard lock(mutex_);
    begin_.reset();
  }

 private:
  void Watch() {
    std::unique_lock lock(mutex_);
    while (!stop_) {
      changed_.wait_for(lock, std::chrono::duration<double>(options_.queue.lease_s / 10));
      if (stop_ || !begin_ || SecondsSince(*begin_) < options_.queue.lease_s) continue;
      try {
        WriteFile(path_, StrCat("took longer than ", options_.queue.lease_s, " s"));
      } catch (const Error&) {
        // The lease is lost all the same.
      }
      ::_exit(kHungExit);
    }
  }

  const CellStore& cells_;
  const WorkerOptions& options_;
  std::mutex mutex_;
  std::condition_variable changed_;
  bool stop_ = false;
  std::string path_;
  std::optional<Clock::time_point> begin_;
  std::thread thread_;
};

struct ReadFrame {
  std::unique_ptr<FrameInput> input;
  std::string failure;
  double read_s = 0;
};

ReadFrame ReadOf(const FrameModel& model, const Log& log, int frame) {
  ReadFrame read;
  const auto start = Clock::now();
  try {
    read.input = model.Read(log, frame);
  } catch (const std::exception& error) {
    read.failure = StrCat("reading: ", OneLine(error.what()));
  }
  read.read_s = SecondsSince(start);
  return read;
}

// Reads frames in their order, a few ahead.
class FrameReader {
 public:
  FrameReader(const FrameModel& model, std::shared_ptr<const Log> log, std::vector<int> frames,
              int ahead)
      : model_(model), log_(std::move(log)), frames_(std::move(frames)), ahead_(ahead) {}

  // Of the next frame, and how long that took.
  ReadFrame Next(double* wait_s) {
    if (ahead_ == 0) {
      ReadFrame read = ReadOf(model_, *log_, frames_[next_++]);
      *wait_s = read.read_s;
      return read;
    }
    while (std::ssize(reading_) < ahead_ && next_ < frames_.size()) Start(frames_[next_++]);
    const auto start = Clock::now();
    ReadFrame read = reading_.front().get();
    reading_.pop_front();
    *wait_s = SecondsSince(start);
    if (next_ < frames_.size()) Start(frames_[next_++]);
    return read;
  }

 private:
  void Start(int frame) {
    reading_.push_back(std::async(std::launch::async, [this, frame] {
      SetNumThreads(1);  // the cores are the network's
      return ReadOf(model_, *log_, frame);
    }));
  }

  const FrameModel& model_;
  const std::shared_ptr<const Log> log_;
  const std::vector<int> frames_;
  const int ahead_;
  size_t next_ = 0;
  std::deque<std::future<ReadFrame>> reading_;
};

FrameOutput Failed(std::string reason) {
  FrameOutput output;
  output.failure = std::move(reason);
  return output;
}

class Worker {
 public:
  Worker(const InferencePlan& plan, WorkQueue& queue, const ModelOpener& open,
         const WorkerOptions& options)
      : plan_(plan),
        queue_(queue),
        open_(open),
        options_(options),
        cells_(plan.cells),
        models_(plan.models.size()),
        watchdog_(cells_, options_) {}

  void Run() {
    while (true) {
      const auto job = queue_.Pull(0.2);
      if (!job) {
        const WorkQueueCounts counts = queue_.Counts();
        if (counts.waiting + counts.leased == 0) return;
        continue;
      }
      const CellShard shard = ShardOf(job->bytes);
      std::shared_ptr<const Log> log;
      if (!cells_.Has(shard)) {
        try {
          log = reader_.Read(plan_.clips[plan_.FindClip(shard.clip)]);
        } catch (const Error& error) {
          queue_.Nack(*job, OneLine(error.what()));  // the data's fault, which may pass
          continue;
        }
        if (!Fill(*job, shard, log)) continue;
      }
      queue_.Ack(*job);
    }
  }

 private:
  // By its id, "MODEL.CLIP.FIRST".
  CellShard ShardOf(const std::string& id) const {
    const size_t clip = id.find('.') + 1, first = id.rfind('.');
    const int index = plan_.FindClip(id.substr(clip, first - clip));
    const std::string model = id.substr(0, clip - 1);
    if (index >= 0 && plan_.FindModel(model) >= 0) {
      for (CellShard& shard : ShardsOf(model, plan_.clips[index].id, plan_.clips[index].frames)) {
        if (shard.Id() == id) return std::move(shard);
      }
    }
    throw Error(StrCat("inference: job ", id, " is none of the plan"));
  }

  // False: the lease was lost.
  bool Fill(const LeasedJob& job, const CellShard& shard, const std::shared_ptr<const Log>& log) {
    const int clip = plan_.FindClip(shard.clip), model_index = plan_.FindModel(shard.model);
    std::map<int, FrameOutput> outputs = cells_.ReadParts(shard);
    const std::map<int, std::vector<std::string>> notes = cells_.ReadNotes(shard);
    for (const auto& [frame, reasons] : notes) {
      if (outputs.contains(frame) || std::ssize(reasons) < kDeathsOfFrame) continue;
      outputs[frame] = Failed("the model " + reasons[0]);
    }
    std::vector<int> missing;
    for (int f = shard.first; f < shard.first + shard.count; ++f) {
      if (!outputs.contains(f)) missing.push_back(f);
    }
    if (!missing.empty()) {
      const std::unique_ptr<FrameModel>& model = models_[model_index];
      if (model == nullptr) models_[model_index] = open_(plan_.models[model_index]);
      if (!queue_.Extend(job)) return false;
      // Where a worker died, frames are read one by one: the next death is of the right frame.
      FrameReader reader(*model, log, missing, notes.empty() ? options_.read_ahead : 0);
      auto extended = Clock::now();
      for (const int frame : missing) {
        watchdog_.Begin(shard, frame);
        PassRecord pass{model_index, clip, frame};
        FrameOutput output = Pass(*model, reader, &pass);
        watchdog_.End();
        cells_.AppendPart(shard, options_.name, frame, output);
        if (!options_.passes.empty()) {
          AppendFile(options_.passes, {reinterpret_cast<const char*>(&pass), sizeof pass});
        }
        outputs[frame] = std::move(output);
        if (SecondsSince(extended) < options_.queue.lease_s / 4) continue;
        if (!queue_.Extend(job)) return false;
        extended = Clock::now();
      }
    }
    std::vector<FrameOutput> all;
    for (auto& [frame, output] : outputs) all.push_back(std::move(output));
    cells_.Write(shard, all);
    return true;
  }

  FrameOutput Pass(FrameModel& model, FrameReader& reader, PassRecord* pass) {
    double wait_s = 0;
    const ReadFrame read = reader.Next(&wait_s);
    pass->read_s = static_cast<float>(read.read_s), pass->wait_s = static_cast<float>(wait_s);
    if (!read.failure.empty()) return Failed(read.failure);
    const auto start = Clock::now();
    try {
      FrameOutput output = model.Forward(*read.input);
      pass->forward_s = static_cast<float>(SecondsSince(start));
      std::string fault = output.failure.empty() ? FaultOf(output, model) : output.failure;
      return fault.empty() ? output : Failed(std::move(fault));
    } catch (const std::exception& error) {
      pass->forward_s = static_cast<float>(SecondsSince(start));
      return Failed(OneLine(error.what()));
    }
  }

  const InferencePlan& plan_;
  WorkQueue& queue_;
  const ModelOpener& open_;
  const WorkerOptions& options_;
  const CellStore cells_;
  ClipReader reader_;
  std::vector<std::unique_ptr<FrameModel>> models_;
  Watchdog watchdog_;
};

}  // namespace

std::vector<PassRecord> ReadPasses(const fs::path& path) {
  std::error_code error;
  if (!fs::is_regular_file(path, error)) return {};
  const std::string bytes = ReadFile(path);
  std::vector<PassRecord> passes(bytes.size() / sizeof(PassRecord));
  if (!passes.empty()) std::memcpy(passes.data(), bytes.data(), passes.size() * sizeof passes[0]);
  return passes;
}

void RunInferenceWorker(const InferencePlan& plan, WorkQueue& queue, const ModelOpener& open,
                        const WorkerOptions& options) {
  Worker(plan, queue, open, options).Run();
}

}  // namespace athanor
