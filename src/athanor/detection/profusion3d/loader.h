// Makes samples ahead of the network that learns from them, on threads of its own.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <deque>
#include <exception>
#include <functional>
#include <mutex>
#include <optional>
#include <thread>
#include <vector>

#include "athanor/detection/profusion3d/sample.h"

namespace athanor {

struct LoaderOptions {
  int workers = 1;  // threads; 0: samples are made by Next()
  int ahead = 4;    // samples that may wait, or be in the making: bounds the memory
};

// Samples come in the order of their steps, the same whatever the number of workers as long as
// `make` depends on the step alone.
class SampleLoader {
 public:
  // Called from several threads at once, each of which runs the loops of base/parallel.h by itself.
  // ATen's loops would use all cores: large tensors are better copied by hand (plain_tensor.h).
  using MakeSample = std::function<DetectionSample(int64_t step)>;

  // Steps [first, end).
  SampleLoader(MakeSample make, int64_t first, int64_t end, const LoaderOptions& options = {});
  // Waits for the samples in the making, and drops them.
  ~SampleLoader();
  SampleLoader(const SampleLoader&) = delete;
  SampleLoader& operator=(const SampleLoader&) = delete;

  // The sample of the next step; none at the end. Rethrows what `make` threw for it, and nothing
  // comes after that. To be called from one thread.
  std::optional<DetectionSample> Next();

 private:
  struct Slot {
    bool is_done = false;
    DetectionSample sample;
    std::exception_ptr error;
  };
  void Work();

  const MakeSample make_;
  const int64_t end_;
  const LoaderOptions options_;
  std::mutex mutex_;
  std::condition_variable made_, taken_;
  int64_t next_;            // step that Next() gives
  int64_t to_make_;         // step that the next free worker takes
  std::deque<Slot> slots_;  // of steps [next_, to_make_)
  bool is_stopped_ = false;
  std::vector<std::thread> threads_;
};

}  // namespace athanor
