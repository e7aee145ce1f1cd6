// The KITTI object benchmark: average precision of boxes in the image, on the ground and in 3D, and
// average orientation similarity (AOS), at 11 and at 40 recalls. Follows the C++ development kit
// (evaluate_object_3d_offline.cpp), whose numbers the leaderboard shows; the Python copies in use
// differ from it in how they treat box heights at the limit.
// Geiger, Lenz, Urtasun, CVPR 2012; 40 recalls: Simonelli et al., ICCV 2019.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "athanor/datasets/kitti_labels.h"

namespace athanor {

inline constexpr int kKittiClasses = 3, kKittiDifficulties = 3, kKittiTasks = 4;
inline constexpr int kKittiRecalls = 41;

extern const std::array<std::string_view, kKittiClasses> kKittiClassNames;  // Car, Pedestrian, ...
extern const std::array<std::string_view, kKittiDifficulties> kKittiDifficultyNames;
enum class KittiTask { kImage, kGround, kBox3d, kOrientation };
extern const std::array<std::string_view, kKittiTasks> kKittiTaskNames;  // bbox, bev, 3d, aos

// How much a box on the ground or in 3D must overlap: 0.7, 0.5, 0.5 (Car, Pedestrian, Cyclist), or
// 0.5, 0.25, 0.25. In the image 0.7, 0.5, 0.5 always.
enum class KittiOverlap { kStrict, kLoose };

struct KittiFrame {
  std::string name;                    // for messages
  std::vector<KittiLabel> truths;      // with the DontCare regions
  std::vector<KittiLabel> detections;  // each with a score
};

// Precision (or orientation similarity) at recalls 0, 1/40, ..., 1, after the envelope.
struct KittiCurve {
  // False when the detector never named the class in this task, or gave no angles (alpha = -10):
  // the development kit then shows nothing, and the numbers are NaN.
  bool is_evaluated = false;
  std::array<double, kKittiRecalls> values = {};

  double Average11() const;  // mean at 0, 0.1, ..., 1; in [0, 1]
  double Average40() const;  // mean at 1/40, ..., 1
};

struct KittiMetrics {
  // [class][task][overlap][difficulty]. bbox and aos are the same for both overlaps.
  std::array<std::array<std::array<std::array<KittiCurve, kKittiDifficulties>, 2>, kKittiTasks>,
             kKittiClasses>
      curves;

  const KittiCurve& At(int class_index, KittiTask task, KittiOverlap overlap,
                       int difficulty) const {
    return curves[class_index][static_cast<int>(task)][static_cast<int>(overlap)][difficulty];
  }
};

// What is left of the frames once boxes are matched: enough to give every frame a weight and take
// the metrics without matching again. Per class, task (image, ground, 3D), overlap and difficulty.
struct KittiMatches {
  struct Hit {  // of the first pass: a true box, and the score of the detection that finds it
    double score = 0;
    int32_t frame = 0;
  };
  struct Change {  // of the second pass: what a frame adds when the threshold falls to this score
    double score = 0;
    int32_t frame = 0, true_positives = 0, false_positives = 0;
    double similarity = 0;
  };
  struct Run {
    bool is_evaluated = false;
    std::vector<int32_t> truths;  // [frames] that count
    std::vector<Hit> hits;        // by score, descending
    std::vector<Change> changes;  // by score, descending
  };
  int64_t num_frames = 0;
  bool with_orientation = false;
  std::array<std::array<std::array<std::array<Run, kKittiDifficulties>, 2>, 3>, kKittiClasses> runs;
};

// Throws Error (frame, expectation) for a detection without a score or a number that is not finite.
// Both run on several cores; the same result whatever their number.
KittiMatches MatchKitti(const std::vector<KittiFrame>& frames);
// `weights` [frames]: how often each counts; empty: all once. Thread-safe.
KittiMetrics SummarizeKitti(const KittiMatches& matches, const std::vector<int32_t>& weights = {});
// One after the other.
KittiMetrics EvaluateKitti(const std::vector<KittiFrame>& frames);

// Intersection over union of two boxes seen from above and in 3D: rectangles (length, width) turned
// about the camera's y axis, standing on bottom_in_camera_m.
double KittiGroundOverlap(const KittiLabel& a, const KittiLabel& b);
double KittiBox3Overlap(const KittiLabel& a, const KittiLabel& b);

}  // namespace athanor
