// Detections of a moment in the files of the benchmarks.
#pragma once

#include <span>
#include <string>
#include <vector>

#include "athanor/datasets/argoverse2_files.h"
#include "athanor/datasets/kitti_labels.h"
#include "athanor/datasets/log.h"
#include "athanor/detection/evaluation/nuscenes_eval.h"
#include "athanor/detection/profusion3d/predictions.h"

namespace athanor {

// The attribute that a class most often has at a speed: "vehicle.moving" above 0.2 m/s, as
// CenterPoint and BEVFusion take it; empty for barriers and cones.
std::string_view NuscenesAttributeOf(int detection_class, double speed_mps);

// Appends the moment as a sample: boxes and velocities in the world frame, the best
// `max_boxes` of them. An unknown velocity becomes 0, an unknown attribute NuscenesAttributeOf.
void AddNuscenesResults(const Log& log, int frame, std::span<const Detection> detections,
                        NuscenesResults* results, int max_boxes = 500);
// NuscenesResults::meta_json: which sensors were used.
std::string NuscenesMeta(bool use_camera, bool use_lidar);

// Rows for WriteArgoverse2Detections. Classes that Argoverse 2 does not have are left out.
std::vector<Argoverse2Detection> ArgoverseResults(const Log& log, int frame,
                                                  std::span<const Detection> detections);

// Lines for WriteKittiLabels: what lies in the picture of camera 2, whose calibration is read from
// beside the log. Classes that KITTI does not have are left out.
std::vector<KittiLabel> KittiResults(const Log& log, int frame,
                                     std::span<const Detection> detections);

}  // namespace athanor
