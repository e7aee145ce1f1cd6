// Pastes objects of a bank into a training sample: their points and, far to near, their patches.
// (Papers: object_bank.h.)
#pragma once

#include <array>

#include "athanor/base/random.h"
#include "athanor/detection/profusion3d/object_bank.h"
#include "athanor/detection/profusion3d/sample.h"

namespace athanor {

struct PasteOptions {
  // By class, in the order of kDetectionClasses: objects are pasted until the sample has so many.
  std::array<int, kNumDetectionClasses> counts = {2, 3, 7, 4, 6, 2, 6, 6, 2, 2, 4};
  // No object is pasted that would hide, or have hidden, more than this share of an object's
  // rectangle in a picture.
  double max_hidden = 0.6;
};

// True when the boxes' rectangles on the ground, turned by their yaw, have an area in common.
bool OverlapOnGround(const std::array<float, kBoxColumns>& a,
                     const std::array<float, kBoxColumns>& b);

// Objects keep the place that they had about their own car. One is left out when it would stand in
// another, when max_hidden says so, or when a picture would have to show it and the bank has no
// patch from about the same direction. The sample's points inside of pasted boxes go. In pictures
// with pasted objects, those of the sample that are nearer are put back over them.
//
// To be called on a sample that was read, with any windows, before TransformWorld. Draws depend on
// `random` alone. Returns how many were pasted.
int PasteObjects(const ObjectBank& bank, const PasteOptions& options, Random* random,
                 DetectionSample* sample);

}  // namespace athanor
