// Two detectors on the same samples: is the difference of their scores more than luck? A paired
// bootstrap (Efron 1979) draws the samples anew, with replacement, and scores both detectors on the
// same draw; the middle 95 % of the differences are the interval. Nothing is matched again: the
// metrics are taken from the matches with the draw's counts as weights.
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <vector>

#include "athanor/base/options.h"
#include "athanor/detection/evaluation/argoverse_eval.h"
#include "athanor/detection/evaluation/kitti_eval.h"
#include "athanor/detection/evaluation/nuscenes_eval.h"

namespace athanor {

struct CompareOptions {
  int draws = 1000;
  double confidence = 0.95;
  // What is drawn: whole scenes (logs), as frames of one scene are not independent, or samples.
  // KITTI frames belong to no scene.
  std::string unit = "scene";
  int64_t seed = 0;
};
void Describe(CompareOptions& options, OptionList& list);

struct ComparisonRow {
  std::string name;          // "mAP", "NDS", "AP car"
  double a = 0, b = 0;       // the metric of either
  double low = 0, high = 0;  // of b - a
  // The interval leaves out 0.
  bool is_significant() const { return low > 0 || high < 0; }
};

// `summarize(which, weights)` gives the metrics of detector 0 or 1, as many as `names`, weighted
// per sample (empty: all once); it is called from several threads. `unit_of_sample` [samples] says
// what is drawn together. Values that are NaN in a draw do not count there. Same seed, same rows.
std::vector<ComparisonRow> CompareByBootstrap(
    const std::vector<std::string>& names, std::span<const int32_t> unit_of_sample,
    const CompareOptions& options,
    const std::function<std::vector<double>(int which, std::span<const int32_t> weights)>&
        summarize);

// NDS, mAP, the five errors, and the AP of every class. Both of the same truth.
std::vector<ComparisonRow> CompareNuscenes(const NuscenesTruth& truth, const NuscenesMatches& a,
                                           const NuscenesMatches& b, const NuscenesConfig& config,
                                           const CompareOptions& options);

// CDS, mAP, the three errors, and the AP of every category with truth. Matches of the same sweeps
// in the same order.
std::vector<ComparisonRow> CompareArgoverse(const std::vector<ArgoverseSweep>& sweeps,
                                            const ArgoverseMatches& a, const ArgoverseMatches& b,
                                            const ArgoverseConfig& config,
                                            const CompareOptions& options);

// AP at 40 recalls, of the strict overlap and moderate difficulty, of every class and task that
// both detectors are evaluated in. Frames are drawn one by one: which drive one is from is not in
// the files. Both of the same frames in the same order.
std::vector<ComparisonRow> CompareKitti(const KittiMatches& a, const KittiMatches& b,
                                        const CompareOptions& options);

}  // namespace athanor
