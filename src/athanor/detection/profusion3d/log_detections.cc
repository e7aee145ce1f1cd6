#include "athanor/detection/profusion3d/log_detections.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <optional>

#include "athanor/base/error.h"
#include "athanor/base/memory.h"
#include "athanor/base/progress.h"
#include "athanor/detection/evaluation/evaluation_inputs.h"
#include "athanor/detection/profusion3d/loader.h"
#include "athanor/detection/profusion3d/results.h"

namespace athanor {

Logs ReadLogs(const std::vector<std::filesystem::path>& folders) {
  Logs logs;
  for (const std::filesystem::path& folder : folders) {
    const std::unique_ptr<LogDataset> dataset = OpenLogs(folder);
    for (size_t i = 0; i < dataset->names().size(); ++i) {
      logs.push_back(std::make_shared<Log>(dataset->Read(static_cast<int>(i))));
    }
  }
  return logs;
}

FrameSampleOptions SampleOptionsOf(const DetectorOptions& options) {
  FrameSampleOptions sample;
  sample.width_px = options.image_width_px, sample.height_px = options.image_height_px;
  sample.sweeps = options.sweeps;
  sample.range_m = options.Grid().range_m;
  sample.with_points = options.use_lidar, sample.with_pictures = options.use_cameras;
  return sample;
}

std::vector<FrameOfLog> FramesOf(const Logs& logs, int64_t count) {
  std::vector<FrameOfLog> all;
  for (size_t i = 0; i < logs.size(); ++i) {
    for (size_t f = 0; f < logs[i]->frames.size(); ++f) {
      all.push_back({logs[i], static_cast<int>(i), static_cast<int>(f)});
    }
  }
  const auto total = static_cast<int64_t>(all.size());
  if (count <= 0 || count >= total) return all;
  std::vector<FrameOfLog> some;
  for (int64_t i = 0; i < count; ++i) some.push_back(all[(2 * i + 1) * total / (2 * count)]);
  return some;
}

void DropSensors(const Log& log, const std::vector<std::string>& names, DetectionSample* sample) {
  const std::vector<int> cameras = CamerasOf(log);
  const auto take_camera = [&](int64_t camera) {
    if (!sample->images.defined() || sample->images.size(0) <= camera) return;
    sample->images[camera].zero_();
    sample->has_camera[camera].zero_();
  };
  for (const std::string& name : names) {
    if (name == "lidar") {
      sample->points = at::empty({0, kPointColumns}, at::kFloat);
      sample->has_lidar = false;
      continue;
    }
    bool is_known = name == "cameras";
    for (size_t i = 0; i < cameras.size(); ++i) {
      if (name != "cameras" && log.sensors[cameras[i]].channel != name) continue;
      is_known = true;
      take_camera(static_cast<int64_t>(i));
    }
    ATHANOR_CHECK(is_known, log.source, ": log ", log.name,
                  ": expected lidar, cameras or the channel of a camera to drop, found '", name,
                  "'");
  }
}

void DetectFrames(Detector* detector, const std::vector<FrameOfLog>& frames,
                  const LogDetectionOptions& options,
                  const std::function<void(const FrameOfLog&, const DetectionSample&,
                                           const std::vector<Detection>&)>& found) {
  const FrameSampleOptions sample_options = SampleOptionsOf(detector->options());
  SampleLoader loader(
      [&](int64_t i) {
        DetectionSample sample = MakeFrameSample(*frames[i].log, frames[i].frame, sample_options);
        DropSensors(*frames[i].log, options.drop, &sample);
        return sample;
      },
      0, static_cast<int64_t>(frames.size()), {.workers = options.workers});
  std::optional<Progress> progress;
  if (!options.title.empty()) {
    progress.emplace(options.title, static_cast<int64_t>(frames.size()));
  }
  KeepFreedMemory();
  detector->Measure(options.times);
  const std::shared_ptr<Detector> end(detector, [](Detector* d) { d->Measure(nullptr); });
  int64_t done = 0;
  for (const FrameOfLog& frame : frames) {
    const std::optional<DetectionSample> sample = loader.Next();
    found(frame, *sample, detector->Detect(*sample, options.predictions, options.bfloat16));
    if (progress) progress->Update(++done, frame.log->name);
  }
}

ScoredFrames ScoreFrames(Detector* detector, const std::vector<FrameOfLog>& frames,
                         const LogDetectionOptions& options) {
  ScoredFrames scored;
  const auto drops = [&](const char* name) {
    return std::find(options.drop.begin(), options.drop.end(), name) != options.drop.end();
  };
  scored.results.source = "the detector";
  scored.results.meta_json = NuscenesMeta(detector->options().use_cameras && !drops("cameras"),
                                          detector->options().use_lidar && !drops("lidar"));
  DetectFrames(detector, frames, options,
               [&](const FrameOfLog& frame, const DetectionSample&,
                   const std::vector<Detection>& detections) {
                 AddNuscenesResults(*frame.log, frame.frame, detections, &scored.results);
               });
  // Truth of whole logs, of which the frames are kept.
  for (size_t i = 0; i < frames.size();) {
    NuscenesTruth of_log;
    AddNuscenesTruth(*frames[i].log, frames[i].log_index, &of_log);
    const int log = frames[i].log_index;
    for (; i < frames.size() && frames[i].log_index == log; ++i) {
      scored.truth.samples.push_back(of_log.samples.at(frames[i].frame));
    }
  }
  scored.truth.source = "the logs";
  const NuscenesConfig config;
  const NuscenesMatches matches = MatchNuscenes(scored.truth, scored.results, config);
  scored.metrics = SummarizeNuscenes(matches, config);
  scored.present_ap = MeanApOfClassesWithTruth(matches, scored.metrics);
  return scored;
}

}  // namespace athanor
