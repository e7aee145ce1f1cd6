// Random inputs for the evaluators, for tests only: small, and full of what goes wrong (ties,
// copies, boxes at limits, missing values). The programs in benchmarks/peers make the same cases
// from the same seeds and feed them to the official tools; all coordinates are multiples of powers
// of two, so that sums are exact and ties are ties everywhere.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "athanor/detection/evaluation/argoverse_eval.h"
#include "athanor/detection/evaluation/kitti_cases.h"
#include "athanor/detection/evaluation/nuscenes_eval.h"

namespace athanor {

struct NuscenesCase {
  NuscenesTruth truth;
  NuscenesResults results;
};

inline NuscenesBox RandomNuscenesBox(CaseRandom& r, const std::vector<int>& classes,
                                     const Eigen::Vector2d& ego, int extent) {
  NuscenesBox box;
  box.class_index = static_cast<int8_t>(classes[r.Below(static_cast<int>(classes.size()))]);
  for (int i = 0; i < 2; ++i) box.translation_m[i] = ego[i] + r.Around(extent, 64);
  box.translation_m[2] = r.Around(2, 64);
  for (int i = 0; i < 3; ++i) box.size_wlh_m[i] = (1 + r.Below(512)) / 64.0;
  const bool tilted = r.OneIn(4);
  for (int i = 0; i < 4; ++i) {
    box.rotation_wxyz[i] = i == 0 || i == 3 || tilted ? r.Around(1, 16) : 0;
  }
  // A box that looks straight up has no yaw, only rounding.
  const Eigen::Vector4d& q = box.rotation_wxyz;
  if (q[0] * q[0] + q[1] * q[1] == q[2] * q[2] + q[3] * q[3] && q[1] * q[2] + q[0] * q[3] == 0) {
    box.rotation_wxyz = {1, 0, 0, 0};
  }
  for (int i = 0; i < 2; ++i) box.velocity_mps[i] = r.Around(8, 16);
  if (r.OneIn(6)) box.velocity_mps.setConstant(std::nan(""));
  box.attribute = static_cast<int8_t>(r.Below(9) - 1);
  return box;
}

inline NuscenesCase MakeNuscenesCase(uint64_t seed) {
  CaseRandom r(seed);
  NuscenesCase out;
  out.truth.source = "truth";
  out.results.source = "results";
  const int samples = 1 + r.Below(4);
  std::vector<int> classes;
  if (r.OneIn(4)) {
    for (int c = 0; c < kNuscenesClasses; ++c) classes.push_back(c);
  } else {
    const int count = 1 + r.Below(3);
    for (int i = 0; i < count; ++i) classes.push_back(r.Below(kNuscenesClasses));
  }
  const int levels = 4 << (5 * r.Below(3));
  const int extent = 4 << (2 * r.Below(3));
  std::vector<std::vector<NuscenesBox>> found(samples);
  for (int s = 0; s < samples; ++s) {
    NuscenesSample sample;
    sample.token = "sample_" + std::to_string(s);
    sample.scene = s / 2;
    for (int i = 0; i < 2; ++i) sample.ego_xy_m[i] = r.Around(250, 8);
    const int truths = r.OneIn(8) ? 0 : r.Below(16);
    for (int k = 0; k < truths; ++k) {
      NuscenesBox box = RandomNuscenesBox(r, classes, sample.ego_xy_m, extent);
      box.num_points = r.OneIn(8) ? 0 : 1 + r.Below(100);
      if (r.OneIn(16)) {  // right at the limit of its class
        box.translation_m[0] = sample.ego_xy_m[0] + NuscenesConfig().class_range_m[box.class_index];
        box.translation_m[1] = sample.ego_xy_m[1];
      }
      if (r.OneIn(10) && k > 0) box.translation_m = sample.boxes.back().translation_m;
      sample.boxes.push_back(box);
    }
    if (r.OneIn(3)) {
      NuscenesBox rack = RandomNuscenesBox(r, classes, sample.ego_xy_m, extent);
      if (truths > 0) rack.translation_m = sample.boxes[r.Below(truths)].translation_m;
      sample.bike_racks.push_back(rack);
    }
    const int detections = r.OneIn(8) ? 0 : r.Below(40);
    for (int k = 0; k < detections; ++k) {
      NuscenesBox box = RandomNuscenesBox(r, classes, sample.ego_xy_m, extent);
      if (truths > 0 && !r.OneIn(3)) {
        const NuscenesBox& near = sample.boxes[r.Below(truths)];
        box.translation_m = near.translation_m;
        if (r.OneIn(4)) {  // right at a match distance
          const int axis = r.Below(2);
          box.translation_m[axis] += r.OneIn(2) ? 0.5 * (1 << r.Below(4)) : 0;
        } else {
          const int offset = 1 << r.Below(3);
          for (int i = 0; i < 2; ++i) box.translation_m[i] += r.Around(offset, 64);
        }
        if (!r.OneIn(8)) box.class_index = near.class_index;
        if (r.OneIn(2)) box.size_wlh_m = near.size_wlh_m;
        if (r.OneIn(2)) box.attribute = near.attribute;
      }
      box.score = static_cast<double>(r.Below(levels)) / levels;
      if (r.OneIn(8) && k > 0) box = found[s].back();
      found[s].push_back(box);
    }
    out.truth.samples.push_back(sample);
  }
  const bool reversed = r.OneIn(2);  // samples may come in any order
  for (int i = 0; i < samples; ++i) {
    const int s = reversed ? samples - 1 - i : i;
    out.results.sample_tokens.push_back(out.truth.samples[s].token);
    out.results.boxes.insert(out.results.boxes.end(), found[s].begin(), found[s].end());
    out.results.first_box.push_back(static_cast<int64_t>(out.results.boxes.size()));
  }
  return out;
}

struct ArgoverseCase {
  ArgoverseConfig config;  // four categories, of which some come
  std::vector<ArgoverseSweep> sweeps;
  bool with_roi = false;
  double roi_x_m = 0;  // inside: any corner with x > this
};

inline ArgoverseBox RandomArgoverseBox(CaseRandom& r, int used, int extent) {
  ArgoverseBox box;
  box.category = r.Below(used);
  for (int i = 0; i < 2; ++i) box.center_m[i] = r.Around(extent, 64);
  box.center_m[2] = r.Around(2, 64);
  for (int i = 0; i < 3; ++i) box.size_m[i] = (1 + r.Below(512)) / 64.0;
  // w > 0 keeps clear of the jump of the angle at pi.
  box.rotation_wxyz[0] = (1 + r.Below(16)) / 16.0;
  box.rotation_wxyz[3] = r.Around(1, 16);
  return box;
}

inline ArgoverseCase MakeArgoverseCase(uint64_t seed) {
  CaseRandom r(seed);
  ArgoverseCase out;
  const std::vector<std::string> all = ArgoverseCategories();
  const int first = r.Below(static_cast<int>(all.size()));
  out.config.categories.clear();
  for (int i = 0; i < 4; ++i) out.config.categories.push_back(all[(first + 7 * i) % all.size()]);
  const int used = 1 + r.Below(3);
  const int sweeps = 1 + r.Below(4);
  const int levels = 4 << (5 * r.Below(3));
  const int extent = 4 << (3 * r.Below(3));
  const bool crowded = r.OneIn(24);
  out.with_roi = r.OneIn(3);
  out.roi_x_m = r.Around(extent, 8) / 2;
  for (int s = 0; s < sweeps; ++s) {
    ArgoverseSweep sweep;
    sweep.log_id = "log_" + std::to_string((s + 1) % 2);
    sweep.timestamp_ns = 1000 - 100 * s;
    const int truths = r.Below(12);
    for (int k = 0; k < truths; ++k) {
      ArgoverseBox box = RandomArgoverseBox(r, used, extent);
      box.num_points = r.Below(8);
      if (r.OneIn(10) && k > 0) box.center_m = sweep.truths.back().center_m;
      if (r.OneIn(16)) box.center_m = {150, 0, 0};  // right at the limit
      sweep.truths.push_back(box);
    }
    // No ties among more than 16: their order is the sort's own affair.
    const int detections = crowded && s == 0 ? 120 : r.Below(17);
    for (int k = 0; k < detections; ++k) {
      ArgoverseBox box = RandomArgoverseBox(r, used, extent);
      if (truths > 0 && !r.OneIn(3)) {
        const ArgoverseBox& near = sweep.truths[r.Below(truths)];
        box.center_m = near.center_m;
        if (r.OneIn(4)) {
          const int axis = r.Below(3);
          box.center_m[axis] += r.OneIn(2) ? 0.5 * (1 << r.Below(4)) : 0;
        } else {
          const int offset = 1 << r.Below(3);
          for (int i = 0; i < 3; ++i) box.center_m[i] += r.Around(offset, 64);
        }
        if (!r.OneIn(8)) box.category = near.category;
        if (r.OneIn(2)) box.size_m = near.size_m;
      }
      box.score = static_cast<double>(r.Below(levels)) / levels;
      if (detections > 16) {
        box.category = 0;
        box.score = (k * 37 % 128) / 128.0;
      } else if (r.OneIn(8) && k > 0) {
        box = sweep.detections.back();
      }
      sweep.detections.push_back(box);
    }
    out.sweeps.push_back(sweep);
  }
  // The official tool wants at least one row of each kind.
  ArgoverseBox last = RandomArgoverseBox(r, used, extent);
  last.num_points = 1;
  out.sweeps[0].truths.push_back(last);
  last.score = 0.5;
  if (out.sweeps[0].detections.size() < 16) out.sweeps[0].detections.push_back(last);
  return out;
}

}  // namespace athanor
