// Pictures of what the detector found, for people: from above, and in the cameras.
#pragma once

#include <span>
#include <string>
#include <vector>

#include "athanor/base/options.h"
#include "athanor/detection/profusion3d/predictions.h"
#include "athanor/detection/profusion3d/sample.h"
#include "athanor/media/color_map.h"
#include "athanor/media/image.h"

namespace athanor {

struct DetectionPictureOptions {
  int camera_width_px = 480;  // of each camera's picture; twice that for a single one
  int above_px = 720;         // side of the view from above
  float range_m = 55;         // from the car to its edge
  float min_score = 0.1f;     // detections below are left out
  bool truth = true;          // draw the sample's boxes, too
};
OptionList Describe(DetectionPictureOptions& options);

// One for each of kDetectionClasses; true boxes have a colour of their own, whatever the class.
Color DetectionColor(int label);
extern const Color kTruthColor;

// The car in the middle, driving up; points by height, rings every 10 m. Detections have the colour
// of their class, the brighter the higher their score, and a line towards their heading; true boxes
// are thin.
Image DrawDetectionsFromAbove(const DetectionSample& sample, std::span<const Detection> detections,
                              const DetectionPictureOptions& options = {});

// The picture of a camera (an index into the sample's), with the same boxes, and the names of
// classes where there is room. Dark where the camera is missing.
Image DrawDetectionsInCamera(const DetectionSample& sample, int camera,
                             std::span<const Detection> detections,
                             const DetectionPictureOptions& options = {});

// All of it on one sheet: cameras that look ahead in the upper row and those that look back in the
// lower, from left to right; below, the view from above, what the colours stand for, and a table of
// the best detections. `camera_names` ("CAM_FRONT"), one for each camera, or none, stand below the
// pictures. Sensors that are missing are marked so. Throws Error for another number of names.
Image DrawDetections(const DetectionSample& sample, std::span<const Detection> detections,
                     const std::vector<std::string>& camera_names = {},
                     const DetectionPictureOptions& options = {});

// The sample's true boxes as if they had been found, with score 1.
std::vector<Detection> TruthAsDetections(const DetectionSample& sample);

}  // namespace athanor
