// Adds up where time goes. Internal to street/.
#pragma once

#include <chrono>

namespace athanor {

// Adds the seconds from its construction to its destruction to `total`.
class Stopwatch {
 public:
  explicit Stopwatch(double* total) : total_(total), begin_(std::chrono::steady_clock::now()) {}
  ~Stopwatch() {
    *total_ += std::chrono::duration<double>(std::chrono::steady_clock::now() - begin_).count();
  }

 private:
  double* total_;
  std::chrono::steady_clock::time_point begin_;
};

}  // namespace athanor
