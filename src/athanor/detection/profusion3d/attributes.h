// What a detection is doing, as nuScenes names it: which attributes a class may have. Indices are
// those of kNuscenesAttributeNames (detection/evaluation/nuscenes_eval.h), -1 where there is none.
#pragma once

#include <array>

#include "athanor/detection/profusion3d/sample.h"

namespace athanor {

inline constexpr int kNumAttributes = 8;

// Of each of kDetectionClasses, the first of its attributes and one past the last.
struct AttributeRange {
  int begin, end;
};
inline constexpr AttributeRange kPedestrianAttributes = {0, 3}, kCycleAttributes = {3, 5},
                                kVehicleAttributes = {5, 8}, kNoAttributes = {0, 0};
inline constexpr std::array<AttributeRange, kNumDetectionClasses> kClassAttributes = {
    kVehicleAttributes,    kVehicleAttributes, kVehicleAttributes, kVehicleAttributes,
    kVehicleAttributes,    kNoAttributes,      kCycleAttributes,   kCycleAttributes,
    kPedestrianAttributes, kNoAttributes,      kNoAttributes};

}  // namespace athanor
