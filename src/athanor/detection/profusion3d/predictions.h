// From what the decoder's last layer says to detections.
#pragma once

#include <array>
#include <string_view>
#include <vector>

#include "athanor/detection/profusion3d/decoder_layer.h"
#include "athanor/detection/profusion3d/sample.h"

namespace athanor {

struct Detection {
  // The columns of DetectionSample::boxes: ego frame, metres, radians, metres per second.
  std::array<float, kBoxColumns> box = {};
  float score = 0;     // 0..1
  int label = 0;       // into kDetectionClasses
  int attribute = -1;  // into kNuscenesAttributeNames; -1 for a class without attributes
  // "vehicle.moving"; empty for a class without attributes, as nuScenes' results have it.
  std::string_view AttributeName() const;
};

struct PredictionOptions {
  int max_boxes = 300;  // nuScenes takes 500 a sample
  float min_score = 0;
};

// The best pairs of query and class, best first, without suppression: a query answers for one
// object, but may be listed under several classes. Equal scores in the order of queries, then of
// classes. The attribute is the likeliest of those that the class may have. Throws Error (query)
// when an output is not finite.
std::vector<Detection> ReadDetections(const HeadOutputs& outputs, const PredictionOptions& options);

}  // namespace athanor
