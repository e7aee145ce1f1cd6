#include "athanor/base/parallel.h"

#include <algorithm>
#include <atomic>
#include <cstdlib>
#include <exception>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

#include "athanor/base/error.h"

namespace athanor {
namespace {

int DefaultThreads() {
  static const int threads = [] {
    // The variable that OpenMP programs, libtorch among them, go by.
    const char* wanted = std::getenv("OMP_NUM_THREADS");
    const int parsed = wanted != nullptr ? std::atoi(wanted) : 0;
    return parsed > 0 ? parsed : std::max(1, static_cast<int>(std::thread::hardware_concurrency()));
  }();
  return threads;
}

thread_local int threads_of_caller = 0;  // 0: the default
thread_local bool inside_loop = false;

// An exception must not leave a worker: the first one is kept and rethrown by the caller.
class FirstException {
 public:
  template <typename F>
  void Run(F&& f) noexcept {
    try {
      f();
    } catch (...) {
      const std::lock_guard lock(mutex_);
      if (!first_) first_ = std::current_exception();
    }
  }
  void Rethrow() const {
    if (first_) std::rethrow_exception(first_);
  }

 private:
  std::mutex mutex_;
  std::exception_ptr first_;
};

// Threads that wait for work asleep. OpenMP's spin: where another job has the cores, a spinning
// thread takes them from the very work it waits for (measured: 4 times slower on 2 shared cores).
class Pool {
 public:
  explicit Pool(int workers) {
    for (int i = 0; i < workers; ++i) {
      workers_.emplace_back([this, i] { Work(i + 1); });
    }
  }
  ~Pool() {
    stop_ = true;
    Wake();
    for (std::thread& worker : workers_) worker.join();
  }

  int threads() const { return static_cast<int>(workers_.size()) + 1; }

  // Calls body(thread) for every thread in [0, threads()); the caller is thread 0.
  void Run(const std::function<void(int)>& body) {
    body_ = &body;
    running_ = static_cast<int>(workers_.size());
    Wake();
    body(0);
    for (int left = running_; left != 0; left = running_) running_.wait(left);
    body_ = nullptr;
  }

 private:
  void Wake() {
    ++generation_;
    generation_.notify_all();
  }
  void Work(int thread) {
    inside_loop = true;
    for (uint32_t seen = 0;;) {
      generation_.wait(seen);
      seen = generation_;
      if (stop_) return;
      (*body_)(thread);
      if (--running_ == 0) running_.notify_one();
    }
  }

  std::vector<std::thread> workers_;
  std::atomic<uint32_t> generation_{0};
  std::atomic<int> running_{0};
  std::atomic<bool> stop_{false};
  const std::function<void(int)>* body_ = nullptr;
};

// One pool for the process. A loop inside a loop, or beside the loop of another thread, runs on its
// own thread alone.
void RunOnPool(const std::function<void(int thread, int threads)>& body) {
  static std::mutex mutex;
  static std::unique_ptr<Pool> pool;
  const int threads = NumThreads();
  std::unique_lock lock(mutex, std::defer_lock);
  if (threads == 1 || inside_loop || !lock.try_lock()) {
    body(0, 1);
    return;
  }
  if (pool == nullptr || pool->threads() != threads) {
    pool.reset();
    pool = std::make_unique<Pool>(threads - 1);
  }
  FirstException exception;
  inside_loop = true;
  pool->Run([&](int thread) { exception.Run([&] { body(thread, threads); }); });
  inside_loop = false;
  exception.Rethrow();
}

}  // namespace

int NumThreads() { return threads_of_caller > 0 ? threads_of_caller : DefaultThreads(); }

void SetNumThreads(int n) {
  ATHANOR_CHECK(n >= 0, "number of threads: expected 0 (all cores) or more, found ", n);
  threads_of_caller = n;
}

void ParallelChunks(int64_t chunks, const std::function<void(int64_t)>& body) {
  if (chunks <= 1) {
    if (chunks == 1) body(0);
    return;
  }
  std::atomic<int64_t> next{0};
  RunOnPool([&](int, int) {
    for (int64_t chunk = next++; chunk < chunks; chunk = next++) body(chunk);
  });
}

void ParallelFor(int64_t n, int64_t grain, const std::function<void(int64_t, int64_t)>& body) {
  if (n <= 0) return;
  ParallelChunks((n + grain - 1) / grain,
                 [&](int64_t chunk) { body(chunk * grain, std::min(n, (chunk + 1) * grain)); });
}

}  // namespace athanor
