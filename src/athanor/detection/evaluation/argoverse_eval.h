// The Argoverse 2 3D detection benchmark: average precision (AP), translation, scale and
// orientation errors (ATE, ASE, AOE) and the composite detection score (CDS). Follows
// argoverse/av2-api, evaluation/detection, rule by rule; it is not nuScenes' benchmark with other
// classes: distances are in 3D, a detection looks at its nearest true box only, and precision gets
// an envelope.
//
// Boxes are in the ego frame of their sweep, metres, quaternions wxyz.
#pragma once

#include <Eigen/Core>
#include <array>
#include <cstdint>
#include <functional>
#include <numbers>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace athanor {

// The 26 classes of the detection leaderboard.
std::vector<std::string> ArgoverseCategories();

struct ArgoverseBox {
  Eigen::Vector3d center_m = Eigen::Vector3d::Zero();
  Eigen::Vector3d size_m = Eigen::Vector3d::Ones();  // length, width, height
  Eigen::Vector4d rotation_wxyz = {1, 0, 0, 0};
  double score = 0;        // of a detection
  int64_t num_points = 0;  // of a true box: LiDAR points inside; it counts when there are any
  int category = 0;        // index into the configuration's categories; -1: none of them
};

struct ArgoverseSweep {
  std::string log_id;
  int64_t timestamp_ns = 0;
  std::vector<ArgoverseBox> truths, detections;
};

// Whether a box counts: any of its corners is in the region of interest of its log's map. Called
// from several threads at once.
using ArgoverseRoi = std::function<bool(const ArgoverseSweep& sweep, const ArgoverseBox& box)>;

struct ArgoverseConfig {
  std::vector<std::string> categories = ArgoverseCategories();
  std::vector<double> match_distances_m = {0.5, 1.0, 2.0, 4.0};
  double tp_distance_m = 2.0;             // the middle one of match_distances_m
  double max_range_m = 150;               // from the ego vehicle, in 3D
  int max_detections_per_category = 100;  // per sweep; the best ones in range
  int recall_samples = 101;
};

// What a detector got right, by category; see NuscenesMatches.
struct ArgoverseMatches {
  struct Category {
    // [D] detections that count, best first.
    std::vector<double> score;
    std::vector<int32_t> sweep;  // index into the sweeps that were given
    std::vector<uint8_t> hits;   // bit t: a true positive at match_distances_m[t]
    // Of the hits at tp_distance_m, in their order: metres, 1 - IoU, radians.
    std::vector<std::array<double, 3>> errors;
    std::vector<int32_t> truths;  // [sweeps]
  };
  std::vector<Category> categories;
  int64_t num_sweeps = 0;
};

// One row of the table.
struct ArgoverseScores {
  double ap = 0, ate_m = 2, ase = 1, aoe_rad = std::numbers::pi, cds = 0;
};

struct ArgoverseMetrics {
  std::vector<ArgoverseScores> categories;  // in the configuration's order
  ArgoverseScores average;                  // AVERAGE_METRICS: over all categories, also empty ones
};

// Sweeps may come in any order, each once (Error otherwise). Equal scores: the earlier detection
// first (numpy, whose sort the official tool uses, promises no order for more than 16). Throws
// Error for boxes that are not finite or sizes that are not positive. `roi` null: everything is
// inside.
ArgoverseMatches MatchArgoverse(const std::vector<ArgoverseSweep>& sweeps,
                                const ArgoverseConfig& config, const ArgoverseRoi& roi = {});

// Not rounded. `weights` as in SummarizeNuscenes, per sweep.
ArgoverseMetrics SummarizeArgoverse(const ArgoverseMatches& matches, const ArgoverseConfig& config,
                                    std::span<const int32_t> weights = {});

// As the official table: three decimals.
ArgoverseScores Rounded(const ArgoverseScores& scores);

}  // namespace athanor
