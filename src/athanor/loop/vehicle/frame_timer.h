// Milliseconds per frame, kept: a stage begins only when what it takes at worst fits in what is
// left of the frame's budget, and is counted as skipped otherwise.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

namespace athanor {

struct StageTimes {
  std::string name;
  double most_ms = 0;   // what it is taken to need: what it took at worst, and half as much again
  double worst_ms = 0;  // seen in frames
  double total_ms = 0;
  int64_t runs = 0, skipped = 0;
};

class FrameTimer {
 public:
  // `now_ms` defaults to the processor's time of this thread: other programs on the machine do not
  // count.
  explicit FrameTimer(double budget_ms, std::function<double()> now_ms = nullptr);

  // A stage that takes `most_ms` at worst. Returns its number.
  int AddStage(std::string name, double most_ms);
  void set_budget(double budget_ms) { budget_ms_ = budget_ms; }
  double budget_ms() const { return budget_ms_; }

  void BeginFrame();
  // False when there is no time for it. A stage that took longer than it was said to is taken to
  // need that much from now on.
  bool Run(int stage, const std::function<void()>& work);
  double left_ms() const;
  // Closes the frame's account.
  void EndFrame();

  const std::vector<StageTimes>& stages() const { return stages_; }
  double worst_ms() const { return worst_ms_; }
  double total_ms() const { return total_ms_; }
  int64_t overruns() const { return overruns_; }  // frames that took more than the budget

 private:
  double budget_ms_;
  std::function<double()> now_ms_;
  std::vector<StageTimes> stages_;
  double spent_ms_ = 0, worst_ms_ = 0, total_ms_ = 0;
  int64_t overruns_ = 0;
};

}  // namespace athanor
