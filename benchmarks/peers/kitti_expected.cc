// Runs the KITTI development kit on the random cases of kitti_cases.h and writes its numbers as
// text, for kitti_expected.sh, which builds and runs this.
//
// KITTI_DEVKIT names its evaluate_object_3d_offline.cpp (https://github.com/prclibo/kitti_eval),
// unmodified; with LOOSE its overlaps are those that stand there as a comment.
#include KITTI_DEVKIT

#undef main

#include <cstdio>

#include "athanor/detection/evaluation/kitti_cases.h"

namespace {

tBox ToBox(const athanor::KittiLabel& label) {
  return {label.type,      label.box_px[0], label.box_px[1],
          label.box_px[2], label.box_px[3], label.alpha_rad};
}

template <typename T>
void Set3d(const athanor::KittiLabel& label, T* out) {
  out->ry = label.rotation_y_rad;
  out->t1 = label.bottom_in_camera_m[0];
  out->t2 = label.bottom_in_camera_m[1];
  out->t3 = label.bottom_in_camera_m[2];
  out->h = label.height_m;
  out->w = label.width_m;
  out->l = label.length_m;
}

// Averages over 11 and 40 of 41 recalls, or NaN when there is nothing.
void Print(const std::vector<double>& values) {
  double sum11 = 0, sum40 = 0;
  for (size_t i = 0; i < values.size(); ++i) {
    if (i % 4 == 0) sum11 += values[i];
    if (i > 0) sum40 += values[i];
  }
  if (values.empty()) {
    std::printf(" nan nan");
  } else {
    std::printf(" %.17g %.17g", sum11 / 11, sum40 / 40);
  }
}

}  // namespace

int main() {
  initGlobals();
  double (*const overlaps[])(tDetection, tGroundtruth, int32_t) = {imageBoxOverlap,
                                                                   groundBoxOverlap, box3DOverlap};
  for (int seed = 0; seed < athanor::kEvaluationCases; ++seed) {
    std::vector<std::vector<tGroundtruth>> truths;
    std::vector<std::vector<tDetection>> detections;
    const int c = seed % 3;
    bool with_aos = true, named[3] = {};
    for (const athanor::KittiFrame& frame : athanor::MakeKittiCase(seed)) {
      truths.emplace_back();
      for (const athanor::KittiLabel& label : frame.truths) {
        tGroundtruth truth(ToBox(label), label.truncated, label.occluded);
        Set3d(label, &truth);
        truths.back().push_back(truth);
      }
      detections.emplace_back();
      for (const athanor::KittiLabel& label : frame.detections) {
        tDetection detection(ToBox(label), *label.score);
        Set3d(label, &detection);
        detections.back().push_back(detection);
        // As its loadDetections does.
        if (label.alpha_rad == -10) with_aos = false;
        if (strcasecmp(label.type.c_str(), CLASS_NAMES[c].c_str()) != 0) continue;
        named[0] |= detection.box.x1 >= 0;
        named[1] |= detection.t1 != -1000;
        named[2] |= detection.t2 != -1000;
      }
    }
    for (int metric = 0; metric < 3; ++metric) {
      for (int difficulty = 0; difficulty < 3; ++difficulty) {
        std::vector<double> precision, aos;
        if (named[metric]) {
          // It prints what it finds to files, which nobody reads.
          FILE* nowhere = std::fopen("/dev/null", "w");
          eval_class(nowhere, nowhere, static_cast<CLASSES>(c), truths, detections,
                     with_aos && metric == 0, overlaps[metric], precision, aos,
                     static_cast<DIFFICULTY>(difficulty), static_cast<METRIC>(metric));
          std::fclose(nowhere);
        }
        Print(precision);
        if (metric == 0) Print(aos);
      }
    }
    std::printf("\n");
  }
  return 0;
}
