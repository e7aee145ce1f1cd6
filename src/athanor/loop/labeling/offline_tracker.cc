#include "athanor/loop/labeling/offline_tracker.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <map>
#include <optional>

#include "athanor/base/error.h"
#include "athanor/geometry/box3.h"

namespace athanor {
namespace internal {
namespace {

constexpr double kFirstSpeed_mps = 15;  // of what is seen for the first time, one sigma

Eigen::Matrix2d Step(double dt) {
  Eigen::Matrix2d step;
  step << 1, dt, 0, 1;
  return step;
}

// White acceleration that holds for the whole step.
Eigen::Matrix2d StepNoise(double dt, double acceleration) {
  const Eigen::Vector2d gain(0.5 * dt * dt, dt);
  // A little for its own sake: a step of constant acceleration has rank one.
  return acceleration * acceleration * gain * gain.transpose() + 1e-6 * Eigen::Matrix2d::Identity();
}

}  // namespace

std::vector<MotionState> SmoothMotion(std::span<const double> times_s,
                                      std::span<const double> measured_m, double measured_sigma_m,
                                      double acceleration_mps2) {
  const size_t n = times_s.size();
  std::vector<MotionState> predicted(n), filtered(n), smoothed(n);
  const double variance = measured_sigma_m * measured_sigma_m;
  size_t first = 0;
  while (first < n && std::isnan(measured_m[first])) ++first;
  ATHANOR_CHECK(first == 0 && n > 0, "smoothing: expected a measurement at the first time");
  for (size_t i = 0; i < n; ++i) {
    if (i == 0) {
      predicted[0].mean = {measured_m[0], 0};
      predicted[0].covariance.diagonal() << 1e6, kFirstSpeed_mps * kFirstSpeed_mps;
    } else {
      const double dt = times_s[i] - times_s[i - 1];
      const Eigen::Matrix2d step = Step(dt);
      predicted[i].mean = step * filtered[i - 1].mean;
      predicted[i].covariance =
          step * filtered[i - 1].covariance * step.transpose() + StepNoise(dt, acceleration_mps2);
    }
    filtered[i] = predicted[i];
    if (std::isnan(measured_m[i])) continue;
    const double innovation = measured_m[i] - predicted[i].mean[0];
    const Eigen::Vector2d gain =
        predicted[i].covariance.col(0) / (predicted[i].covariance(0, 0) + variance);
    filtered[i].mean += gain * innovation;
    filtered[i].covariance -= gain * predicted[i].covariance.row(0);
  }
  smoothed[n - 1] = filtered[n - 1];
  for (size_t i = n - 1; i-- > 0;) {
    const Eigen::Matrix2d step = Step(times_s[i + 1] - times_s[i]);
    const Eigen::Matrix2d gain =
        filtered[i].covariance * step.transpose() * predicted[i + 1].covariance.inverse();
    smoothed[i].mean = filtered[i].mean + gain * (smoothed[i + 1].mean - predicted[i + 1].mean);
    smoothed[i].covariance =
        filtered[i].covariance +
        gain * (smoothed[i + 1].covariance - predicted[i + 1].covariance) * gain.transpose();
  }
  return smoothed;
}

}  // namespace internal

namespace {

// A box of the detector: which frame, which of its boxes.
struct Seen {
  int frame = 0, box = 0;
};

struct Track {
  int class_index = 0;
  std::vector<Seen> seen;  // by frame, rising
  Eigen::Vector2d position_m, velocity_mps = Eigen::Vector2d::Zero();
  int64_t time_us = 0;  // of position_m
  bool is_open = true;
};

class Tracker {
 public:
  Tracker(std::span<const std::vector<NuscenesBox>> frames, std::span<const int64_t> times_us,
          const TrackerOptions& options)
      : frames_(frames), times_us_(times_us), options_(options) {
    for (const auto& frame : frames) is_taken_.emplace_back(frame.size(), 0);
    FindDuplicates();
  }

  std::vector<std::vector<TrackedBox>> Run() {
    for (int f = 0; f < std::ssize(frames_); ++f) GoForward(f);
    for (Track& track : tracks_) track.is_open = true, TurnAround(&track);
    for (int f = static_cast<int>(std::ssize(frames_)) - 1; f >= 0; --f) GoBackward(f);
    std::vector<std::vector<TrackedBox>> tracked(frames_.size());
    int number = 0;
    for (const Track& track : tracks_) {
      if (std::ssize(track.seen) < options_.boxes) continue;
      Smooth(track, number++, &tracked);
    }
    return tracked;
  }

 private:
  const NuscenesBox& BoxOf(const Seen& seen) const { return frames_[seen.frame][seen.box]; }
  double GateOf(int class_index) const {
    const std::string_view name = kNuscenesClassNames[class_index];
    const bool is_small = name == "pedestrian" || name == "traffic_cone" || name == "barrier" ||
                          name == "animal" || name == "bicycle";
    return is_small ? options_.person_gate_m : options_.vehicle_gate_m;
  }

  // Weaker boxes on top of a stronger one of their class are taken by nobody.
  void FindDuplicates() {
    for (size_t f = 0; f < frames_.size(); ++f) {
      std::vector<int> order(frames_[f].size());
      for (size_t i = 0; i < order.size(); ++i) order[i] = static_cast<int>(i);
      std::stable_sort(order.begin(), order.end(),
                       [&](int a, int b) { return frames_[f][a].score > frames_[f][b].score; });
      for (size_t i = 0; i < order.size(); ++i) {
        const NuscenesBox& strong = frames_[f][order[i]];
        if (is_taken_[f][order[i]]) continue;
        for (size_t j = i + 1; j < order.size(); ++j) {
          const NuscenesBox& weak = frames_[f][order[j]];
          const double distance_m = (strong.translation_m - weak.translation_m).head<2>().norm();
          if (weak.class_index == strong.class_index && distance_m < options_.duplicate_m) {
            is_taken_[f][order[j]] = 1;
          }
        }
      }
    }
  }

  // Pairs of open tracks and free boxes with scores in [low, high), nearest first.
  void Associate(int f, double low, double high, bool backward) {
    struct Pair {
      double distance_m;
      int track, box;
    };
    std::vector<Pair> pairs;
    for (int t = 0; t < std::ssize(tracks_); ++t) {
      Track& track = tracks_[t];
      if (!track.is_open || track.time_us == times_us_[f]) continue;
      const double dt = 1e-6 * static_cast<double>(times_us_[f] - track.time_us);
      const Eigen::Vector2d expected = track.position_m + dt * track.velocity_mps;
      for (int b = 0; b < std::ssize(frames_[f]); ++b) {
        const NuscenesBox& box = frames_[f][b];
        if (is_taken_[f][b] || box.class_index != track.class_index || box.score < low ||
            box.score >= high) {
          continue;
        }
        const double distance_m = (box.translation_m.head<2>() - expected).norm();
        if (distance_m < GateOf(track.class_index)) pairs.push_back({distance_m, t, b});
      }
    }
    std::sort(pairs.begin(), pairs.end(), [](const Pair& a, const Pair& b) {
      return std::tie(a.distance_m, a.track, a.box) < std::tie(b.distance_m, b.track, b.box);
    });
    for (const Pair& pair : pairs) {
      Track& track = tracks_[pair.track];
      if (is_taken_[f][pair.box] || track.time_us == times_us_[f]) continue;
      Continue(&track, {f, pair.box}, backward);
    }
  }

  void Continue(Track* track, Seen seen, bool backward) {
    is_taken_[seen.frame][seen.box] = 1;
    const Eigen::Vector2d measured = BoxOf(seen).translation_m.head<2>();
    const double dt = 1e-6 * static_cast<double>(times_us_[seen.frame] - track->time_us);
    // An alpha-beta filter: the smoother below makes up for what it lacks.
    constexpr double kAlpha = 0.8, kBeta = 0.5;
    const Eigen::Vector2d expected = track->position_m + dt * track->velocity_mps;
    const Eigen::Vector2d error = measured - expected;
    track->position_m = expected + kAlpha * error;
    track->velocity_mps += (track->seen.size() == 1 ? 1.0 : kBeta) / dt * error;
    track->time_us = times_us_[seen.frame];
    track->seen.insert(backward ? track->seen.begin() : track->seen.end(), seen);
  }

  void CloseOld(int f) {
    for (Track& track : tracks_) {
      const double gap_s = 1e-6 * static_cast<double>(std::abs(times_us_[f] - track.time_us));
      if (gap_s > options_.gap_s) track.is_open = false;
    }
  }

  void GoForward(int f) {
    CloseOld(f);
    Associate(f, options_.sure, 2, false);
    Associate(f, options_.least, options_.sure, false);
    for (int b = 0; b < std::ssize(frames_[f]); ++b) {
      const NuscenesBox& box = frames_[f][b];
      if (is_taken_[f][b] || box.score < options_.sure) continue;
      is_taken_[f][b] = 1;
      Track& track = tracks_.emplace_back();
      track.class_index = box.class_index;
      track.seen = {{f, b}};
      track.position_m = box.translation_m.head<2>();
      if (box.velocity_mps.allFinite()) track.velocity_mps = box.velocity_mps;
      track.time_us = times_us_[f];
    }
  }

  // Where a track began, and how it moved there.
  void TurnAround(Track* track) {
    const Seen& first = track->seen.front();
    track->position_m = BoxOf(first).translation_m.head<2>();
    track->time_us = times_us_[first.frame];
    const Eigen::Vector2d& said = BoxOf(first).velocity_mps;
    track->velocity_mps = said.allFinite() ? said : Eigen::Vector2d::Zero();
    const size_t later = std::min<size_t>(2, track->seen.size() - 1);
    if (later == 0) return;
    const Seen& next = track->seen[later];
    const double dt = 1e-6 * static_cast<double>(times_us_[next.frame] - track->time_us);
    track->velocity_mps = (BoxOf(next).translation_m.head<2>() - track->position_m) / dt;
  }

  void GoBackward(int f) {
    // A track waits until time has come back to its beginning.
    std::vector<uint8_t> waits(tracks_.size());
    for (size_t t = 0; t < tracks_.size(); ++t) {
      waits[t] = tracks_[t].is_open && tracks_[t].time_us <= times_us_[f];
      if (waits[t]) tracks_[t].is_open = false;
    }
    CloseOld(f);
    Associate(f, options_.least, 2, true);
    for (size_t t = 0; t < tracks_.size(); ++t) {
      if (waits[t]) tracks_[t].is_open = true;
    }
  }

  static double Median(std::vector<double> values) {
    std::nth_element(values.begin(), values.begin() + static_cast<int64_t>(values.size() / 2),
                     values.end());
    return values[values.size() / 2];
  }

  void Smooth(const Track& track, int number, std::vector<std::vector<TrackedBox>>* out) const {
    const int first = track.seen.front().frame, last = track.seen.back().frame;
    const int n = last - first + 1;
    std::vector<double> times_s, axes[3];
    std::vector<const NuscenesBox*> boxes(n);
    for (const Seen& seen : track.seen) boxes[seen.frame - first] = &BoxOf(seen);
    std::vector<double> sizes[3], scores;
    std::map<int, int> attributes;
    for (int i = 0; i < n; ++i) {
      times_s.push_back(1e-6 * static_cast<double>(times_us_[first + i] - times_us_[first]));
      for (int axis = 0; axis < 3; ++axis) {
        axes[axis].push_back(boxes[i] ? boxes[i]->translation_m[axis]
                                      : std::numeric_limits<double>::quiet_NaN());
        if (boxes[i]) sizes[axis].push_back(boxes[i]->size_wlh_m[axis]);
      }
      if (!boxes[i]) continue;
      scores.push_back(boxes[i]->score);
      ++attributes[boxes[i]->attribute];
    }
    std::vector<internal::MotionState> motion[3];
    for (int axis = 0; axis < 3; ++axis) {
      motion[axis] = internal::SmoothMotion(times_s, axes[axis], options_.position_m,
                                            axis < 2 ? options_.acceleration_mps2 : 0.1);
    }
    std::sort(scores.begin(), scores.end(), std::greater<>());
    const size_t better = (scores.size() + 1) / 2;
    double mean = 0;
    for (size_t i = 0; i < better; ++i) mean += scores[i] / static_cast<double>(better);
    const auto attribute = std::max_element(attributes.begin(), attributes.end(),
                                            [](auto& a, auto& b) { return a.second < b.second; });
    const std::vector<double> yaws = Headings(boxes, motion[0], motion[1]);
    for (int i = 0; i < n; ++i) {
      TrackedBox& tracked = (*out)[first + i].emplace_back();
      tracked.track = number;
      tracked.is_filled = boxes[i] == nullptr;
      NuscenesBox& box = tracked.box;
      box.class_index = static_cast<int8_t>(track.class_index);
      box.attribute = static_cast<int8_t>(attribute->first);
      for (int axis = 0; axis < 3; ++axis) {
        box.translation_m[axis] = motion[axis][i].mean[0];
        box.size_wlh_m[axis] = Median(sizes[axis]);
      }
      box.velocity_mps = {motion[0][i].mean[1], motion[1][i].mean[1]};
      box.rotation_wxyz = {std::cos(yaws[i] / 2), 0, 0, std::sin(yaws[i] / 2)};
      const double own = boxes[i] ? boxes[i]->score : 0.5 * mean;
      box.score = 0.5 * (own + mean);
    }
  }

  // Fast objects point where they go; others where most of their boxes say, front and back told
  // apart by vote. Frames without a box take their neighbours'.
  static std::vector<double> Headings(const std::vector<const NuscenesBox*>& boxes,
                                      const std::vector<internal::MotionState>& x,
                                      const std::vector<internal::MotionState>& y) {
    constexpr double kFast_mps = 2;
    const size_t n = boxes.size();
    std::vector<std::optional<double>> seen(n);
    for (size_t i = 0; i < n; ++i) {
      if (boxes[i] == nullptr) continue;
      const Eigen::Vector4d& q = boxes[i]->rotation_wxyz;
      seen[i] = Box3{{Eigen::Quaterniond(q[0], q[1], q[2], q[3]).normalized(), {}}, {}}.yaw_rad();
    }
    const auto speed = [&](size_t i) { return std::hypot(x[i].mean[1], y[i].mean[1]); };
    // Which end is the front: each box votes against the axis of the track so far.
    std::vector<double> headings(n);
    double vote = 0, axis = 0;
    bool has_axis = false;
    for (size_t i = 0; i < n; ++i) {
      double line = axis;
      if (speed(i) > kFast_mps) {
        line = std::atan2(y[i].mean[1], x[i].mean[1]);
      } else if (seen[i]) {
        // The nearer of its two ends to the last axis, half way.
        double turn = std::remainder(*seen[i] - axis, M_PI);
        line = has_axis ? axis + 0.5 * turn : *seen[i];
      }
      if (has_axis) line = axis + std::remainder(line - axis, M_PI);
      axis = line;
      has_axis = true;
      headings[i] = axis;
      if (speed(i) > kFast_mps) {
        vote += 4 * std::cos(std::atan2(y[i].mean[1], x[i].mean[1]) - axis);
      } else if (seen[i]) {
        vote += boxes[i]->score * std::cos(*seen[i] - axis);
      }
    }
    for (double& heading : headings) {
      heading = std::remainder(vote < 0 ? heading + M_PI : heading, 2 * M_PI);
    }
    return headings;
  }

  std::span<const std::vector<NuscenesBox>> frames_;
  std::span<const int64_t> times_us_;
  const TrackerOptions& options_;
  std::vector<std::vector<uint8_t>> is_taken_;
  std::vector<Track> tracks_;
};

}  // namespace

std::vector<std::vector<TrackedBox>> TrackWithHindsight(
    std::span<const std::vector<NuscenesBox>> frames, std::span<const int64_t> times_us,
    const TrackerOptions& options) {
  ATHANOR_CHECK(frames.size() == times_us.size(), "tracking: expected ", frames.size(),
                " times, found ", times_us.size());
  for (size_t f = 0; f < frames.size(); ++f) {
    ATHANOR_CHECK(f == 0 || times_us[f] > times_us[f - 1], "tracking: frame ", f,
                  ": expected a time after ", times_us[f - 1], " us, found ", times_us[f]);
    for (const NuscenesBox& box : frames[f]) {
      ATHANOR_CHECK(box.translation_m.allFinite() && box.size_wlh_m.allFinite() &&
                        box.rotation_wxyz.allFinite() && std::isfinite(box.score),
                    "tracking: frame ", f, ": expected finite boxes, found NaN");
    }
  }
  return Tracker(frames, times_us, options).Run();
}

}  // namespace athanor
