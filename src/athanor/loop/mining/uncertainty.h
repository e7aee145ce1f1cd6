// What an ensemble does not know. Entropies in nats.
//
//   total       H(mean p)          predictive entropy
//   aleatoric   mean H(p_m)        expected entropy: what every member finds hard
//   epistemic   their difference   mutual information (BALD, Houlsby et al. 2011): what members
//                                  disagree on, and more data would settle
//   variation ratio                share of members that do not vote with the majority
//   margin      mean p of the first class less that of the second: small is uncertain
// As in Beluch et al., CVPR 2018. A detector's boxes are matched over members as the nuScenes
// evaluation matches them to truth: by class, best score first, nearest centre in the plane.
// Scores without calibration mislead: the calibration error stands beside them.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "athanor/loop/mining/mined_box.h"

namespace athanor {

struct ClassUncertainty {
  double predictive_entropy = 0, expected_entropy = 0, mutual_information = 0;
  double variation_ratio = 0, margin = 1;
};

// `probabilities`: [M,C] of M members. Throws Error for NaN, negative ones, and sums that are not 1
// within 1e-3.
ClassUncertainty MeasureClassUncertainty(std::span<const double> probabilities, int classes);

struct EnsembleMatching {
  double distance_m = 2;    // of centres in the plane
  double min_score = 0.05;  // boxes below are noise
};

// What members say about one object.
struct BoxCluster {
  int class_index = 0;
  Eigen::Vector3d center_m;  // mean of those members that have it
  int members = 0;           // that have it, 1 .. M
  double mean_score = 0;     // over all M: a member without it scores it 0
  // Of "there is a box": members' scores as probabilities.
  double predictive_entropy = 0, mutual_information = 0;
  double center_variance_m2 = 0;  // mean squared distance in the plane to the mean centre
  double size_variance_m2 = 0;
  double yaw_variance = 0;  // 1 - length of the mean direction, 0 .. 1
  // mutual information / ln 2 + mean score * ((1 - e^(-centre variance / 1 m^2)) / 2
  //   + (1 - e^(-size variance / 1 m^2)) / 4 + yaw variance / 4): 0 .. 2. Where a box lies is to be
  // unsure of as far as there is one.
  double uncertainty = 0;
};

// `members`: M lists of boxes of one frame. Sorted by uncertainty, highest first. Throws Error for
// boxes with NaN or scores outside 0 .. 1, naming member and box.
std::vector<BoxCluster> MatchMembers(std::span<const std::vector<MinedBox>> members,
                                     const EnsembleMatching& matching = {});

enum class FrameAggregate { kMax, kMean, kSum };
// 0 for a frame without boxes.
double AggregateFrame(std::span<const BoxCluster> clusters, FrameAggregate aggregate);

struct CalibrationBin {
  double low = 0, high = 0;                  // of the confidence
  double mean_confidence = 0, accuracy = 0;  // 0 where empty
  int64_t count = 0;
};

struct Calibration {
  double expected_error = 0;  // ECE: mean |accuracy - confidence| over bins, by their counts
  double largest_error = 0;   // MCE
  std::vector<CalibrationBin> bins;
};

// Bins of equal width over (0, 1], the first closed at 0 as well (Guo et al., ICML 2017: 15).
// `correct` [N] is 0 or 1. Throws Error for confidences outside 0 .. 1.
Calibration MeasureCalibration(std::span<const double> confidences,
                               std::span<const uint8_t> correct, int bins = 15);

}  // namespace athanor
