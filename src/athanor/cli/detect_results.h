// The detector on driving logs, for the commands that run it: what it finds as files of the
// benchmarks.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "athanor/detection/profusion3d/log_detections.h"

namespace athanor {

inline constexpr const char* kDetectorModelHelp =
    "tiny, which comes with the program, or a file of `detect train` or `detect export` (default: "
    "tiny)";

// The file of weights that OpenDetector reads.
std::filesystem::path DetectorFile(const std::string& model);
// Weights by the name of models/athanor-detect-NAME or by their file, on a device ("cpu", "cuda",
// "cuda:1"). Throws Error.
std::unique_ptr<Detector> OpenDetector(const std::string& model, const std::string& device);

// The logs of a split, as `detect eval` names splits (evaluation_inputs.h). Throws Error when none
// is left.
Logs LogsOfSplit(const std::filesystem::path& folder, const std::string& split);

struct DetectToFilesOptions {
  LogDetectionOptions detection;
  int64_t pictures = 0;  // evenly spread over the frames
};

// What was found, and where it was written.
struct DetectedFiles {
  std::filesystem::path results;  // as the benchmark of the logs takes it
  std::string format;             // "nuscenes", "argoverse2", "kitti"
  int64_t frames = 0;
  std::vector<int64_t> counts;  // by class, with a score of a tenth or more
};

// Writes `out`/results_nusc.json, detections.feather or data/*.txt, and pictures/*.png. Throws
// Error for logs of several formats.
DetectedFiles DetectToFiles(Detector* detector, const std::vector<FrameOfLog>& frames,
                            const std::filesystem::path& out, const DetectToFilesOptions& options);

}  // namespace athanor
