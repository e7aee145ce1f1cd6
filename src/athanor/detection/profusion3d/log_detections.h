// The detector over driving logs: what it finds in every frame, with any sensors taken away, and
// how that scores.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "athanor/datasets/log.h"
#include "athanor/detection/evaluation/nuscenes_eval.h"
#include "athanor/detection/profusion3d/detector.h"
#include "athanor/detection/profusion3d/frame_sample.h"

namespace athanor {

using Logs = std::vector<std::shared_ptr<const Log>>;

// All logs of data sets (OpenLogs), in their order.
Logs ReadLogs(const std::vector<std::filesystem::path>& folders);

// Samples as a network of these options takes them.
FrameSampleOptions SampleOptionsOf(const DetectorOptions& options);

struct FrameOfLog {
  std::shared_ptr<const Log> log;
  int log_index = 0, frame = 0;
};

// Every `every`-th frame of the logs, at most `count`, evenly spread; 0: all.
std::vector<FrameOfLog> FramesOf(const Logs& logs, int64_t count = 0);

struct LogDetectionOptions {
  PredictionOptions predictions;
  // Sensors that are taken away: "lidar", "cameras", or a camera's channel ("CAM_FRONT").
  std::vector<std::string> drop;
  bool bfloat16 = true;
  int workers = 1;                 // threads that read ahead
  std::string title;               // of the progress bar; empty: none
  DetectorTimes* times = nullptr;  // gets those of the passes
};

// Takes sensors out of a sample, as if they had failed. Throws Error for a name that is none.
void DropSensors(const Log& log, const std::vector<std::string>& names, DetectionSample* sample);

// Calls `found` for each frame, in their order. Rethrows what it throws.
void DetectFrames(Detector* detector, const std::vector<FrameOfLog>& frames,
                  const LogDetectionOptions& options,
                  const std::function<void(const FrameOfLog&, const DetectionSample&,
                                           const std::vector<Detection>&)>& found);

// Results and truth of frames in the classes of nuScenes.
struct ScoredFrames {
  NuscenesResults results;
  NuscenesTruth truth;
  NuscenesMetrics metrics;
};
ScoredFrames ScoreFrames(Detector* detector, const std::vector<FrameOfLog>& frames,
                         const LogDetectionOptions& options);

}  // namespace athanor
