// From the ranked detections of a class to precision, confidence and errors at 101 recalls, and to
// the numbers that are taken from those. Internal to the nuScenes evaluator.
#pragma once

#include <cstdint>
#include <span>

#include "athanor/detection/evaluation/nuscenes_eval.h"

namespace athanor {

// At one match distance. `weights` [samples]: how often each counts; empty: all once. A class
// without truth or without a match has precision 0 and errors 1, as the devkit records it.
NuscenesCurve MakeNuscenesCurve(const NuscenesMatches::Class& matches, int distance,
                                std::span<const int32_t> weights, bool with_errors);

// Mean above the least recall of the precision above the least precision, in [0, 1].
double NuscenesAveragePrecision(const NuscenesCurve& curve, const NuscenesConfig& config);

// Mean of one error from the least recall to the largest reached; 1 when that is not reached.
double NuscenesMeanError(const NuscenesCurve& curve, int error, const NuscenesConfig& config);

}  // namespace athanor
