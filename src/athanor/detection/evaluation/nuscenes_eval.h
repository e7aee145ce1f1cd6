// The nuScenes detection benchmark: average precision by centre distance, true-positive errors and
// the nuScenes detection score (NDS). Follows nutonomy/nuscenes-devkit, eval/detection, rule by
// rule (sort and tie order, interpolation, NaN, filters), so that numbers agree to rounding.
// Definition: https://www.nuscenes.org/object-detection, Caesar et al., CVPR 2020.
//
// Boxes are in the world ("global") frame, metres, seconds, quaternions wxyz of any length.
#pragma once

#include <Eigen/Core>
#include <array>
#include <cstdint>
#include <limits>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace athanor {

inline constexpr int kNuscenesClasses = 10;  // that make the score
// One more that the data set annotates and the benchmark does not score, "animal": it is matched
// and has a precision and errors of its own, and is left out of all means.
inline constexpr int kNuscenesAllClasses = 11;
inline constexpr int kNuscenesErrors = 5;
inline constexpr int kNuscenesRecalls = 101;
inline constexpr int kMaxMatchDistances = 8;

// In the devkit's order: car, truck, bus, trailer, construction_vehicle, pedestrian, motorcycle,
// bicycle, traffic_cone, barrier; then animal.
extern const std::array<std::string_view, kNuscenesAllClasses> kNuscenesClassNames;
// trans_err (m), scale_err (1 - IoU), orient_err (rad), vel_err (m/s), attr_err (1 - accuracy).
extern const std::array<std::string_view, kNuscenesErrors> kNuscenesErrorNames;
extern const std::array<std::string_view, 8> kNuscenesAttributeNames;

// Index into the names, or -1.
int FindNuscenesClass(std::string_view name);
int FindNuscenesAttribute(std::string_view name);

// A detection or a true box.
struct NuscenesBox {
  Eigen::Vector3d translation_m = Eigen::Vector3d::Zero();
  Eigen::Vector3d size_wlh_m = Eigen::Vector3d::Ones();  // width, length, height
  Eigen::Vector4d rotation_wxyz = {1, 0, 0, 0};
  Eigen::Vector2d velocity_mps = Eigen::Vector2d::Zero();  // NaN: not known
  double score = -1;
  int32_t num_points = -1;  // LiDAR and radar returns inside; boxes with 0 do not count
  int8_t class_index = 0;
  int8_t attribute = -1;  // -1: none
};

struct NuscenesSample {
  std::string token;
  int scene = 0;  // which scene it is part of: the unit of resampling
  Eigen::Vector2d ego_xy_m = Eigen::Vector2d::Zero();  // of the LiDAR's ego pose
  std::vector<NuscenesBox> boxes;
  std::vector<NuscenesBox> bike_racks;  // bicycles and motorcycles inside do not count
};

struct NuscenesTruth {
  std::string source;  // for messages
  std::vector<NuscenesSample> samples;
};

struct NuscenesResults {
  std::string source;                                        // for messages
  std::string meta_json = "{}";                              // the object "meta", as it was written
  std::vector<std::string> sample_tokens;                    // in the file's order
  std::vector<int64_t> first_box = std::vector<int64_t>(1);  // [samples + 1] into boxes
  std::vector<NuscenesBox> boxes;
};

// The devkit's detection_cvpr_2019.
struct NuscenesConfig {
  // A box counts when its centre is nearer to the ego vehicle, in the plane. By class.
  std::array<double, kNuscenesAllClasses> class_range_m = {50, 50, 50, 50, 50, 40,
                                                           40, 40, 30, 30, 40};
  std::vector<double> match_distances_m = {0.5, 1.0, 2.0, 4.0};
  double tp_distance_m = 2.0;  // one of match_distances_m: true-positive errors are taken there
  double min_recall = 0.1;
  double min_precision = 0.1;
  int max_boxes_per_sample = 500;
  double mean_ap_weight = 5;
};

// What a detector got right, class by class: all that the metrics need, so that they can be taken
// over any multiset of samples without matching again.
struct NuscenesMatches {
  struct Class {
    // [D] detections that count, best first.
    std::vector<double> score;
    std::vector<int32_t> sample;  // index into NuscenesTruth::samples
    std::vector<uint8_t> hits;    // bit t: a true positive at match_distances_m[t]
    // Per distance, for the hits in their order: index into errors.
    std::vector<std::vector<int32_t>> hit_errors;
    std::vector<std::array<double, kNuscenesErrors>> errors;  // NaN: does not count
    std::vector<int32_t> truths;                              // [samples] true boxes that count
  };
  std::array<Class, kNuscenesAllClasses> classes;
  int64_t num_samples = 0;
};

// Throws Error when results and truth are not of the same samples, a sample has more boxes than
// allowed, or a box has a size that is not positive or coordinates that are not finite. Runs on
// several cores; the same result whatever their number.
NuscenesMatches MatchNuscenes(const NuscenesTruth& truth, const NuscenesResults& results,
                              const NuscenesConfig& config);

// One class at one match distance, sampled at recalls 0, 0.01, ..., 1.
struct NuscenesCurve {
  using Samples = std::array<double, kNuscenesRecalls>;
  Samples recall, precision, confidence;
  std::array<Samples, kNuscenesErrors> errors;
};

struct NuscenesMetrics {
  static constexpr double kNone = std::numeric_limits<double>::quiet_NaN();
  using Errors = std::array<double, kNuscenesErrors>;
  std::array<std::vector<double>, kNuscenesAllClasses> label_aps;  // [match distances]
  std::array<double, kNuscenesAllClasses> mean_dist_aps = {};
  double mean_ap = 0;
  std::array<Errors, kNuscenesAllClasses> label_tp_errors = {};  // NaN: not defined for the class
  Errors tp_errors = {};  // means over the classes that make the score
  Errors tp_scores = {};
  double nd_score = 0;
  double eval_time_s = 0;
};

// The metrics of all samples, or with `weights` ([samples] >= 0) as if sample i had come weights[i]
// times. `curves`, when given, gets one curve per class and distance: [all classes * distances].
NuscenesMetrics SummarizeNuscenes(const NuscenesMatches& matches, const NuscenesConfig& config,
                                  std::span<const int32_t> weights = {},
                                  std::vector<NuscenesCurve>* curves = nullptr);

// The mean of mean_dist_aps over the scored classes that have a true box. A class without any has
// AP 0, which says little about a detector where only some classes occur. 0 when there is none.
double MeanApOfClassesWithTruth(const NuscenesMatches& matches, const NuscenesMetrics& metrics,
                                int* classes = nullptr);

// Match and summarise.
NuscenesMetrics EvaluateNuscenes(const NuscenesTruth& truth, const NuscenesResults& results,
                                 const NuscenesConfig& config = {},
                                 std::vector<NuscenesCurve>* curves = nullptr);

}  // namespace athanor
