// Progress of long work: a bar with rate, time left and the number that matters on a terminal,
// a plain line every 10 s elsewhere.
#pragma once

#include <chrono>
#include <cstdint>
#include <string>
#include <string_view>

namespace athanor {

// Not thread-safe: report from one thread.
class Progress {
 public:
  // `what` names the work ("training"), `total` is the number of steps, `done` how many were done
  // before (a resumed run).
  Progress(std::string_view what, int64_t total, int64_t done = 0);
  ~Progress();
  Progress(const Progress&) = delete;
  Progress& operator=(const Progress&) = delete;

  // Says that `done` steps are finished; `number` is shown beside the bar ("loss 0.0312").
  void Update(int64_t done, std::string_view number = {});

 private:
  void Print(bool last);

  std::string what_;
  std::string number_;
  int64_t total_;
  int64_t first_;
  int64_t done_;
  bool terminal_;
  std::chrono::steady_clock::time_point start_;
  std::chrono::steady_clock::time_point printed_;
};

namespace internal {
// Erases a progress line that is on the terminal, so that a log line can take its place.
void ClearProgressLine();
}  // namespace internal

}  // namespace athanor
