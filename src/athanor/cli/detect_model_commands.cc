// athanor detect predict, detect bench
#include <chrono>
#include <iostream>

#include "athanor/base/files.h"
#include "athanor/base/parallel.h"
#include "athanor/cli/commands.h"
#include "athanor/cli/options_cli.h"
#include "athanor/detection/evaluation/nuscenes_files.h"
#include "athanor/detection/profusion3d/log_detections.h"
#include "athanor/detection/profusion3d/results.h"

namespace athanor {
namespace {

namespace fs = std::filesystem;

// "tiny" is the network that comes with the program; anything else is a file.
std::unique_ptr<Detector> OpenDetector(const fs::path& model) {
  const bool is_name = model.filename() == model && model.extension().empty();
  const fs::path path =
      is_name
          ? FindShared(fs::path("models/athanor-detect-" + model.string()) / "detector.safetensors")
          : model;
  return Detector::FromSafeTensors(ReadSafeTensors(path), path.string());
}

}  // namespace

CommandAction SetUpDetectBench(CLI::App& app) {
  struct Arguments {
    fs::path model = "tiny";
    std::vector<fs::path> logs;
    int64_t frames = 20;
    int workers = 0;
    std::vector<std::string> drop;
  };
  auto arguments = std::make_shared<Arguments>();
  app.add_option("LOGS", arguments->logs, "driving logs")->required()->type_name("PATH");
  AddPath(app, "--model", &arguments->model, "weights; tiny: those that come with the program");
  app.add_option("--frames", arguments->frames, "how many (default: 20)")->type_name("N");
  app.add_option("--drop", arguments->drop, "sensors that fail: lidar, cameras, CAM_...");
  return [arguments] {
    const Arguments& a = *arguments;
    const auto detector = OpenDetector(a.model);
    const auto frames = FramesOf(ReadLogs(a.logs), a.frames);
    DetectorTimes times;
    LogDetectionOptions options;
    options.workers = 0, options.drop = a.drop;
    double points = 0;
    const auto count = [&](const FrameOfLog&, const DetectionSample& sample, const auto&) {
      points += static_cast<double>(sample.points.size(0));
    };
    // The first passes find memory and plans.
    DetectFrames(detector.get(), FramesOf(ReadLogs(a.logs), 2), options, count);
    points = 0;
    options.times = &times, options.title = "frames";
    const auto start = std::chrono::steady_clock::now();
    DetectFrames(detector.get(), frames, options, count);
    const double all =
        std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
    const double n = static_cast<double>(frames.size());
    std::vector<std::vector<std::string>> rows = {{"stage", "ms a frame"}};
    const auto add = [&](const char* name, double seconds) {
      rows.push_back({name, Fixed(1000 * seconds / n, 1)});
    };
    add("reading", all - times.total());
    add("voxels", times.voxels);
    add("LiDAR network", times.lidar);
    add("camera network", times.cameras);
    add("mappings between views", times.mappings);
    add("fusion", times.fusion);
    add("heat map", times.heat);
    add("decoder", times.decoder);
    add("boxes", times.boxes);
    add("all but reading", times.total());
    std::cout << Table(rows) << "\n"
              << Grouped(std::lround(n)) << " frames, " << Grouped(std::lround(points / n))
              << " points each, " << NumThreads() << " threads\n";
    return 0;
  };
}

CommandAction SetUpDetectPredict(CLI::App& app) {
  struct Arguments {
    fs::path model = "tiny", out;
    std::vector<fs::path> logs;
    int64_t frames = 0;
    std::vector<std::string> drop;
    PredictionOptions predictions;
  };
  auto arguments = std::make_shared<Arguments>();
  app.add_option("LOGS", arguments->logs, "driving logs")->required()->type_name("PATH");
  AddPath(app, "-o,--out", &arguments->out, "folder of the results")->required();
  AddPath(app, "--model", &arguments->model, "weights; tiny: those that come with the program");
  return [arguments] {
    const Arguments& a = *arguments;
    const auto detector = OpenDetector(a.model);
    const auto frames = FramesOf(ReadLogs(a.logs), a.frames);
    LogDetectionOptions options;
    options.title = "frames", options.drop = a.drop, options.predictions = a.predictions;
    NuscenesResults results;
    DetectFrames(detector.get(), frames, options,
                 [&](const FrameOfLog& frame, const DetectionSample&,
                     const std::vector<Detection>& detections) {
                   AddNuscenesResults(*frame.log, frame.frame, detections, &results);
                 });
    WriteNuscenesResults(a.out / "results_nusc.json", results);
    return 0;
  };
}

}  // namespace athanor
