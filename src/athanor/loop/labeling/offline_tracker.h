// Tracks through boxes of a detector, with hindsight: what a moment shows is decided by what came
// before and by what came after.
//
// Forward in time: a constant-velocity Kalman filter per track; sure boxes are associated first,
// then unsure ones continue what they left (Zhang et al., "ByteTrack", ECCV 2022), by distance of
// centres in the plane, nearest pairs first. Then backward: each track is continued before its
// first box, by boxes that no track has. Then smoothed: positions by Rauch, Tung and Striebel
// (AIAA J. 1965), size by the median, heading by the likelier of its two ends. Gaps between two
// boxes of a track are filled; tracks of few boxes are dropped.
#pragma once

#include <Eigen/Core>
#include <cstdint>
#include <span>
#include <vector>

#include "athanor/detection/evaluation/nuscenes_eval.h"

namespace athanor {

struct TrackerOptions {
  double sure = 0.3;         // scores from here on begin tracks
  double least = 0.05;       // scores below are noise
  int boxes = 3;             // tracks with fewer are dropped
  double gap_s = 1.6;        // longer gaps end a track
  double person_gate_m = 2;  // how far from where it is expected a person, cone or animal may be
  double vehicle_gate_m = 4;
  double acceleration_mps2 = 2;
  double position_m = 0.4;  // how wrong a box's centre usually is
  // Boxes of one class with centres nearer than this are the same object, the best score of them.
  double duplicate_m = 0.7;
};

struct TrackedBox {
  NuscenesBox box;  // smoothed; `score` is the label's confidence, 0 .. 1
  int track = 0;
  bool is_filled = false;  // no box of the detector: between two of them
};

// `frames`: boxes of one log, frame by frame, world frame; `times_us` of each, rising. Returns the
// tracked boxes of each frame. A label's confidence is the detector's own score there (half of the
// track's where it is filled), raised or lowered half way to the mean of the track's better half.
// Throws Error for times that do not rise, or boxes that are not finite, naming the frame.
std::vector<std::vector<TrackedBox>> TrackWithHindsight(
    std::span<const std::vector<NuscenesBox>> frames, std::span<const int64_t> times_us,
    const TrackerOptions& options = {});

namespace internal {
// One coordinate: position and velocity, as a Kalman filter has them.
struct MotionState {
  Eigen::Vector2d mean = Eigen::Vector2d::Zero();  // m, m/s
  Eigen::Matrix2d covariance = Eigen::Matrix2d::Zero();
};
// Smooths measurements (NaN: none) at rising times. Positions of the line that is likeliest under
// white acceleration; the tests compare with weighted least squares.
std::vector<MotionState> SmoothMotion(std::span<const double> times_s,
                                      std::span<const double> measured_m, double measured_sigma_m,
                                      double acceleration_mps2);
}  // namespace internal

}  // namespace athanor
