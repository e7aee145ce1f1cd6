#include "athanor/base/progress.h"

#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cmath>
#include <cstdio>

namespace athanor {
namespace {

std::atomic<bool> line_on_terminal{false};

std::string Duration(double seconds) {
  const auto total = static_cast<int64_t>(std::lround(std::max(0.0, seconds)));
  char text[32];
  if (total >= 3600) {
    std::snprintf(text, sizeof text, "%ldh%02ldm", static_cast<long>(total / 3600),
                  static_cast<long>(total / 60 % 60));
  } else {
    std::snprintf(text, sizeof text, "%ldm%02lds", static_cast<long>(total / 60),
                  static_cast<long>(total % 60));
  }
  return text;
}

}  // namespace

namespace internal {

void ClearProgressLine() {
  if (line_on_terminal.exchange(false)) std::fputs("\r\033[K", stderr);
}

}  // namespace internal

Progress::Progress(std::string_view what, int64_t total, int64_t done)
    : what_(what),
      total_(std::max<int64_t>(total, 1)),
      first_(done),
      done_(done),
      terminal_(isatty(STDERR_FILENO) != 0),
      start_(std::chrono::steady_clock::now()),
      printed_(start_) {}

Progress::~Progress() {
  if (done_ > first_) Print(true);
}

void Progress::Update(int64_t done, std::string_view number) {
  done_ = done;
  number_ = number;
  const auto now = std::chrono::steady_clock::now();
  const auto interval =
      terminal_ ? std::chrono::milliseconds(100) : std::chrono::milliseconds(10'000);
  if (now - printed_ < interval) return;
  printed_ = now;
  Print(false);
}

void Progress::Print(bool last) {
  const std::chrono::duration<double> elapsed = std::chrono::steady_clock::now() - start_;
  const double rate = static_cast<double>(done_ - first_) / std::max(elapsed.count(), 1e-9);
  const double fraction =
      std::clamp(static_cast<double>(done_) / static_cast<double>(total_), 0.0, 1.0);
  std::string bar;
  if (terminal_) {
    constexpr int kWidth = 24;
    const int filled = static_cast<int>(fraction * kWidth);
    bar = " [" + std::string(filled, '=') + std::string(kWidth - filled, ' ') + "]";
  }
  std::string time;
  if (last) {
    time = Duration(elapsed.count());
  } else if (rate > 0) {  // else nobody knows yet
    time = Duration(static_cast<double>(total_ - done_) / rate) + " left";
  }
  std::fprintf(stderr, "%s%s%s %3.0f%% %ld/%ld  %.1f/s  %s  %s%s", terminal_ ? "\r\033[K" : "",
               what_.c_str(), bar.c_str(), 100 * fraction, static_cast<long>(done_),
               static_cast<long>(total_), rate, time.c_str(), number_.c_str(),
               terminal_ && !last ? "" : "\n");
  std::fflush(stderr);
  line_on_terminal = terminal_ && !last;
}

}  // namespace athanor
