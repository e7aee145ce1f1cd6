// The detector's classes in the words of each data set, both ways.
#pragma once

#include <string_view>

#include "athanor/detection/profusion3d/sample.h"

namespace athanor {

// Index into kDetectionClasses, or -1.
int FindDetectionClass(std::string_view name);

// Which class a category of a data set (Log::dataset: "nuscenes", "argoverse2", "kitti") is, or -1.
// nuScenes' as its benchmark has them, and the names of the classes themselves. Of Argoverse 2,
// riders are none, for nuScenes' bicycles and motorcycles include theirs, and neither is what
// nuScenes has no word for (signs, bollards). KITTI's Cyclist is a bicycle, its Van a car;
// Tram and Misc are none.
int DetectionClassOf(std::string_view dataset, std::string_view category);

// The category that stands for a class in results, or empty where the data set has none: a barrier
// in Argoverse 2, a bus in KITTI. Of several, the most common one.
std::string_view ArgoverseCategoryOf(int detection_class);
std::string_view KittiTypeOf(int detection_class);

}  // namespace athanor
