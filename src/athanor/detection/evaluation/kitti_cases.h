// Random frames for the KITTI evaluator, for tests only; see evaluation_cases.h. C++17, for the
// development kit to be built with it.
#pragma once

#include <string>
#include <vector>

#include "athanor/base/random.h"
#include "athanor/detection/evaluation/kitti_eval.h"

namespace athanor {

inline constexpr int kEvaluationCases = 1024;

// Draws in the order in which they are written, which C++ leaves open for function arguments.
class CaseRandom {
 public:
  explicit CaseRandom(uint64_t seed) : random_(seed) {}
  int Below(int n) { return static_cast<int>(random_.Below(static_cast<uint32_t>(n))); }
  bool OneIn(int n) { return Below(n) == 0; }
  // A multiple of 1/unit in [-limit, limit].
  double Around(int limit, int unit) {
    return static_cast<double>(Below(2 * limit * unit + 1) - limit * unit) / unit;
  }

 private:
  Random random_;
};

inline KittiLabel RandomKittiLabel(CaseRandom& r) {
  static const char* kTypes[] = {
      "Car",     "Car",     "car",   "Van",     "Pedestrian", "Pedestrian", "Person_sitting",
      "Cyclist", "Cyclist", "Truck", "DontCare"};
  KittiLabel label;
  label.type = kTypes[r.Below(11)];
  label.truncated = r.Below(100) / 100.0 * (r.OneIn(3) ? 1 : 0);
  label.occluded = r.OneIn(2) ? 0 : r.Below(4);
  label.alpha_rad = (r.Below(6284) - 3142) / 1000.0;
  label.box_px[0] = r.Below(1600) / 4.0;
  label.box_px[1] = r.Below(400) / 4.0;
  label.box_px[2] = label.box_px[0] + (60 + r.Below(300)) / 4.0;
  label.box_px[3] = label.box_px[1] + (90 + r.Below(160)) / 4.0;
  label.height_m = (1000 + r.Below(1500)) / 1000.0;
  label.width_m = (500 + r.Below(1700)) / 1000.0;
  label.length_m = (800 + r.Below(4000)) / 1000.0;
  label.bottom_in_camera_m[0] = (r.Below(20000) - 10000) / 1000.0;
  label.bottom_in_camera_m[1] = (1000 + r.Below(1000)) / 1000.0;
  label.bottom_in_camera_m[2] = (5000 + r.Below(15000)) / 1000.0;
  label.rotation_y_rad = (r.Below(6284) - 3142) / 1000.0;
  return label;
}

inline void Remove3d(KittiLabel* label) {
  label->height_m = label->width_m = label->length_m = -1;
  label->bottom_in_camera_m.setConstant(-1000);
  label->rotation_y_rad = -10;
}

inline std::vector<KittiFrame> MakeKittiCase(uint64_t seed) {
  CaseRandom r(seed);
  const int frames = (1 + r.Below(8)) << (2 * r.Below(2));
  const int levels = 8 << (5 * r.Below(3));
  const bool some_flat = r.OneIn(16), no_angles = r.OneIn(24);
  std::vector<KittiFrame> out(frames);
  for (int f = 0; f < frames; ++f) {
    KittiFrame& frame = out[f];
    frame.name = std::to_string(f);
    const int truths = r.OneIn(8) ? 0 : r.Below(10);
    for (int k = 0; k < truths; ++k) {
      KittiLabel label = RandomKittiLabel(r);
      if (label.type == "DontCare") {
        Remove3d(&label);
        label.truncated = label.occluded = -1;
        label.alpha_rad = -10;
      }
      frame.truths.push_back(label);
    }
    const int detections = r.OneIn(8) ? 0 : r.Below(24);
    for (int k = 0; k < detections; ++k) {
      KittiLabel label = RandomKittiLabel(r);
      if (truths > 0 && !r.OneIn(4)) {
        const KittiLabel& near = frame.truths[r.Below(truths)];
        const int noise = 1 << r.Below(5);
        for (int i = 0; i < 4; ++i) label.box_px[i] = near.box_px[i] + r.Around(noise, 4);
        if (near.type != "DontCare") {
          label.type = near.type;
          label.height_m = near.height_m + r.Around(noise, 1000) / 40;
          label.width_m = near.width_m + r.Around(noise, 1000) / 60;
          label.length_m = near.length_m + r.Around(noise, 1000) / 30;
          for (int i = 0; i < 3; ++i) {
            label.bottom_in_camera_m[i] = near.bottom_in_camera_m[i] + r.Around(noise, 1000) / 30;
          }
          label.rotation_y_rad = near.rotation_y_rad + r.Around(noise, 1000) / 40;
        } else if (r.OneIn(2)) {
          label.type = "Car";
        }
        if (r.OneIn(6)) label.type = "Car";
      }
      if (label.type == "DontCare") label.type = "Pedestrian";
      if (some_flat && r.OneIn(4)) Remove3d(&label);
      if (no_angles && r.OneIn(4)) label.alpha_rad = -10;
      label.score = static_cast<double>(r.Below(levels)) / levels;
      if (r.OneIn(10) && k > 0) label = frame.detections.back();
      frame.detections.push_back(label);
    }
  }
  return out;
}

}  // namespace athanor
