#include "athanor/cli/detect_results.h"

#include <algorithm>
#include <cstdio>
#include <set>

#include "athanor/base/error.h"
#include "athanor/base/files.h"
#include "athanor/datasets/argoverse2_files.h"
#include "athanor/datasets/kitti_labels.h"
#include "athanor/detection/evaluation/evaluation_inputs.h"
#include "athanor/detection/evaluation/nuscenes_files.h"
#include "athanor/detection/profusion3d/detection_pictures.h"
#include "athanor/detection/profusion3d/results.h"
#include "athanor/ops/device.h"

namespace athanor {
namespace {

namespace fs = std::filesystem;

constexpr float kCounted = 0.1f;

void DrawFrame(const FrameOfLog& frame, const DetectionSample& sample,
               const std::vector<Detection>& detections, const fs::path& folder) {
  std::vector<std::string> names;
  for (const int sensor : CamerasOf(*frame.log)) {
    names.push_back(frame.log->sensors[sensor].channel);
  }
  if (!sample.images.defined() || sample.images.size(0) != std::ssize(names)) names.clear();
  char number[16];
  std::snprintf(number, sizeof number, "_%04d.png", frame.frame);
  WriteImage(folder / (frame.log->name + number), DrawDetections(sample, detections, names));
}

}  // namespace

fs::path DetectorFile(const std::string& model) {
  const bool is_name = !fs::is_regular_file(model) && !fs::path(model).has_extension() &&
                       !fs::path(model).has_parent_path();
  return is_name ? FindShared("models/athanor-detect-" + model + "/detector.safetensors")
                 : fs::path(model);
}

std::unique_ptr<Detector> OpenDetector(const std::string& model, const std::string& device) {
  const fs::path file = DetectorFile(model);
  return Detector::FromSafeTensors(ReadSafeTensors(file), file.string(), ParseDevice(device));
}

Logs LogsOfSplit(const fs::path& folder, const std::string& split) {
  // Argoverse 2 has a folder for each.
  if (!split.empty() && fs::is_directory(folder / split)) return ReadLogs({folder / split});
  Logs logs = ReadLogs({folder});
  std::vector<std::string> names;
  for (const auto& log : logs) names.push_back(log->name);
  const std::set<std::string> kept = NamesOfSplit(names, split, folder.string());
  std::erase_if(logs, [&](const auto& log) { return !kept.contains(log->name); });
  return logs;
}

DetectedFiles DetectToFiles(Detector* detector, const std::vector<FrameOfLog>& frames,
                            const fs::path& out, const DetectToFilesOptions& options) {
  ATHANOR_CHECK(!frames.empty(), "detection: expected at least one frame, found none");
  DetectedFiles files;
  const std::string dataset = frames.front().log->dataset;
  files.format = dataset == "argoverse2" || dataset == "kitti" ? dataset : "nuscenes";
  files.counts.assign(kNumDetectionClasses, 0);
  MakeFolder(out);
  NuscenesResults nuscenes;
  const auto drops = [&](const char* name) {
    const auto& list = options.detection.drop;
    return std::find(list.begin(), list.end(), name) != list.end();
  };
  nuscenes.meta_json = NuscenesMeta(detector->options().use_cameras && !drops("cameras"),
                                    detector->options().use_lidar && !drops("lidar"));
  std::vector<Argoverse2Detection> argoverse;
  const int64_t total = std::ssize(frames);
  const auto is_drawn = [&](int64_t i) {
    const int64_t n = std::min(options.pictures, total);
    return (i + 1) * n / total > i * n / total;
  };
  DetectFrames(detector, frames, options.detection,
               [&](const FrameOfLog& frame, const DetectionSample& sample,
                   const std::vector<Detection>& detections) {
                 ATHANOR_CHECK(frame.log->dataset == dataset, frame.log->source,
                               ": expected logs of one ", "format, found ", dataset, " and ",
                               frame.log->dataset);
                 for (const Detection& detection : detections) {
                   files.counts[detection.label] += detection.score >= kCounted;
                 }
                 if (files.format == "argoverse2") {
                   const auto rows = ArgoverseResults(*frame.log, frame.frame, detections);
                   argoverse.insert(argoverse.end(), rows.begin(), rows.end());
                 } else if (files.format == "kitti") {
                   WriteKittiLabels(out / "data" / (frame.log->frames[frame.frame].id + ".txt"),
                                    KittiResults(*frame.log, frame.frame, detections));
                 } else {
                   AddNuscenesResults(*frame.log, frame.frame, detections, &nuscenes);
                 }
                 if (is_drawn(files.frames++))
                   DrawFrame(frame, sample, detections, out / "pictures");
               });
  if (files.format == "argoverse2") {
    files.results = out / "detections.feather";
    WriteArgoverse2Detections(files.results, argoverse);
  } else if (files.format == "kitti") {
    files.results = out / "data";
  } else {
    files.results = out / "results_nusc.json";
    WriteNuscenesResults(files.results, nuscenes);
  }
  return files;
}

}  // namespace athanor
