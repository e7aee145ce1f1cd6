#include "athanor/loop/vehicle/frame_timer.h"

#include <time.h>

#include <algorithm>

namespace athanor {
namespace {

// A stage took this much at worst: how much it is given.
constexpr double kMargin = 1.5;

double ThreadMilliseconds() {
  timespec time = {};
  ::clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time);
  return 1e3 * static_cast<double>(time.tv_sec) + 1e-6 * static_cast<double>(time.tv_nsec);
}

}  // namespace

FrameTimer::FrameTimer(double budget_ms, std::function<double()> now_ms)
    : budget_ms_(budget_ms), now_ms_(now_ms ? std::move(now_ms) : ThreadMilliseconds) {}

int FrameTimer::AddStage(std::string name, double most_ms) {
  stages_.push_back({std::move(name), most_ms});
  return static_cast<int>(stages_.size()) - 1;
}

void FrameTimer::BeginFrame() { spent_ms_ = 0; }

double FrameTimer::left_ms() const { return std::max(0.0, budget_ms_ - spent_ms_); }

bool FrameTimer::Run(int index, const std::function<void()>& work) {
  StageTimes& stage = stages_[index];
  if (spent_ms_ + stage.most_ms > budget_ms_) {
    ++stage.skipped;
    return false;
  }
  const double begin = now_ms_();
  work();
  const double took = std::max(0.0, now_ms_() - begin);  // a clock may jump
  spent_ms_ += took;
  ++stage.runs;
  stage.total_ms += took;
  stage.worst_ms = std::max(stage.worst_ms, took);
  if (took > stage.most_ms) stage.most_ms = kMargin * took;
  return true;
}

void FrameTimer::EndFrame() {
  total_ms_ += spent_ms_;
  worst_ms_ = std::max(worst_ms_, spent_ms_);
  if (spent_ms_ > budget_ms_) ++overruns_;
}

}  // namespace athanor
