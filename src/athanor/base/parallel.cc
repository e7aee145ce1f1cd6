#include "athanor/base/parallel.h"

#include <omp.h>

#include <algorithm>
#include <exception>
#include <mutex>

#include "athanor/base/error.h"

namespace athanor {
namespace {

int default_threads = 0;

// An exception must not leave an OpenMP region: the first one is kept and rethrown after it.
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

}  // namespace

int NumThreads() { return omp_get_max_threads(); }

void SetNumThreads(int n) {
  ATHANOR_CHECK(n >= 0, "number of threads: expected 0 (all cores) or more, found ", n);
  if (default_threads == 0) default_threads = omp_get_max_threads();
  omp_set_num_threads(n == 0 ? default_threads : n);
}

void ParallelChunks(int64_t chunks, const std::function<void(int64_t)>& body) {
  if (chunks <= 0) return;
  if (chunks == 1 || NumThreads() == 1) {
    for (int64_t chunk = 0; chunk < chunks; ++chunk) body(chunk);
    return;
  }
  FirstException exception;
#pragma omp parallel for schedule(dynamic, 1)
  for (int64_t chunk = 0; chunk < chunks; ++chunk) {
    exception.Run([&] { body(chunk); });
  }
  exception.Rethrow();
}

void ParallelFor(int64_t n, int64_t grain, const std::function<void(int64_t, int64_t)>& body) {
  if (n <= 0) return;
  ParallelChunks((n + grain - 1) / grain,
                 [&](int64_t chunk) { body(chunk * grain, std::min(n, (chunk + 1) * grain)); });
}

void ParallelThreads(const std::function<void(int, int)>& body) {
  FirstException exception;
#pragma omp parallel
  exception.Run([&] { body(omp_get_thread_num(), omp_get_num_threads()); });
  exception.Rethrow();
}

}  // namespace athanor
