// athanor detect predict, detect bench, detect export
#include <chrono>
#include <cmath>
#include <iostream>

#include "athanor/base/error.h"
#include "athanor/base/files.h"
#include "athanor/base/parallel.h"
#include "athanor/cli/commands.h"
#include "athanor/cli/detect_results.h"
#include "athanor/cli/options_cli.h"
#include "athanor/nn/training_run.h"

namespace athanor {
namespace {

namespace fs = std::filesystem;

// What the commands that run the detector share.
struct DetectorInput {
  std::string model = "tiny", device = "cpu";
  std::vector<fs::path> logs;
  int64_t frames = 0;
  std::vector<std::string> drop;
  bool bfloat16 = true;

  void AddTo(CLI::App& app, int64_t default_frames) {
    frames = default_frames;
    app.add_option("LOGS", logs, "driving logs, any that `log info` opens")
        ->required()
        ->type_name("PATH");
    app.add_option("--model", model, kDetectorModelHelp)->type_name("NAME|FILE");
    app.add_option("--device", device, "cpu, cuda or cuda:N (default: cpu)")->type_name("DEVICE");
    app.add_option("--frames", frames,
                   default_frames > 0
                       ? StrCat("how many, evenly spread (default: ", default_frames, ")")
                       : std::string("how many, evenly spread (default: all)"))
        ->check(CLI::Range(int64_t{1}, int64_t{1000000000}).description(""))
        ->type_name("N");
    app.add_option("--drop", drop, "sensors that fail: lidar, cameras, or the name of a camera")
        ->type_name("SENSOR");
    app.add_flag("--bfloat16,!--no-bfloat16", bfloat16,
                 "convolutions compute in bfloat16, where the processor has AVX-512 (default: on)");
  }
  LogDetectionOptions Options() const {
    LogDetectionOptions options;
    options.drop = drop, options.bfloat16 = bfloat16, options.title = "frames";
    return options;
  }
};

}  // namespace

CommandAction SetUpDetectPredict(CLI::App& app) {
  struct Arguments {
    DetectorInput input;
    fs::path out;
    int64_t pictures = 8;
    double min_score = 0.02;
  };
  auto arguments = std::make_shared<Arguments>();
  arguments->input.AddTo(app, 0);
  AddPath(app, "-o,--out", &arguments->out, "folder of the results")->required();
  app.add_option("--pictures", arguments->pictures,
                 "frames to draw, evenly spread, with what was found and what is true (default: 8)")
      ->check(CLI::Range(int64_t{0}, int64_t{1000000000}).description(""))
      ->type_name("N");
  app.add_option("--min-score", arguments->min_score,
                 "detections below are not written (default: 0.02)")
      ->check(CLI::Range(0.0, 1.0).description(""))
      ->type_name("X");
  app.footer(
      "Writes what the benchmark of the logs takes: results_nusc.json, detections.feather, or "
      "data/*.txt of KITTI.");
  return [arguments] {
    const Arguments& a = *arguments;
    const auto detector = OpenDetector(a.input.model, a.input.device);
    DetectToFilesOptions options;
    options.detection = a.input.Options();
    options.detection.predictions.min_score = static_cast<float>(a.min_score);
    options.pictures = a.pictures;
    const DetectedFiles files = DetectToFiles(
        detector.get(), FramesOf(ReadLogs(a.input.logs), a.input.frames), a.out, options);
    std::vector<std::vector<std::string>> rows = {{"class", "found"}};
    for (int k = 0; k < kNumDetectionClasses; ++k) {
      if (files.counts[k] == 0) continue;
      rows.push_back({std::string(kDetectionClasses[k]), Grouped(files.counts[k])});
    }
    std::cout << Table(rows) << "\nresults    " << files.results.string() << ": "
              << Grouped(files.frames) << " frames; the table counts scores from 0.1 on\n";
    if (a.pictures > 0) std::cout << "pictures   " << (a.out / "pictures").string() << "\n";
    return 0;
  };
}

CommandAction SetUpDetectBench(CLI::App& app) {
  auto input = std::make_shared<DetectorInput>();
  input->AddTo(app, 20);
  return [input] {
    const auto detector = OpenDetector(input->model, input->device);
    const auto frames = FramesOf(ReadLogs(input->logs), input->frames);
    ATHANOR_CHECK(!frames.empty(), "bench: expected at least one frame, found none");
    DetectorTimes times;
    double points = 0;
    const auto count = [&](const FrameOfLog&, const DetectionSample& sample, const auto&) {
      points += static_cast<double>(sample.points.size(0));
    };
    LogDetectionOptions options = input->Options();
    options.workers = 0, options.title = "";
    // The first passes find memory.
    const std::vector<FrameOfLog> first(frames.begin(), frames.begin() + 1);
    for (int i = 0; i < 2; ++i) DetectFrames(detector.get(), first, options, count);
    points = 0;
    options.times = &times, options.title = "frames";
    const auto start = std::chrono::steady_clock::now();
    DetectFrames(detector.get(), frames, options, count);
    const std::chrono::duration<double> all = std::chrono::steady_clock::now() - start;
    const auto n = static_cast<double>(frames.size());
    std::vector<std::vector<std::string>> rows = {{"stage", "ms a frame"}};
    for (const auto& [stage, seconds] : std::initializer_list<std::pair<const char*, double>>{
             {"reading files", all.count() - times.total()},
             {"voxels", times.voxels},
             {"LiDAR network", times.lidar},
             {"camera network", times.cameras},
             {"mappings between views", times.mappings},
             {"fusion", times.fusion},
             {"heat map", times.heat},
             {"decoder", times.decoder},
             {"boxes", times.boxes},
             {"all but reading", times.total()}}) {
      rows.push_back({stage, Fixed(1000 * seconds / n, 1)});
    }
    std::cout << Table(rows) << "\n"
              << Grouped(std::ssize(frames)) << " frames of " << Grouped(std::lround(points / n))
              << " points, " << NumThreads() << " threads\n";
    return 0;
  };
}

CommandAction SetUpDetectExport(CLI::App& app) {
  struct Arguments {
    fs::path run, out;
    std::string precision = "float16";
  };
  auto arguments = std::make_shared<Arguments>();
  AddPath(app, "RUN", &arguments->run, "folder of a training, finished or not, or weights")
      ->required();
  AddPath(app, "-o,--out", &arguments->out, "weights to write, .safetensors")->required();
  app.add_option("--precision", arguments->precision, "of the numbers (default: float16)")
      ->check(CLI::IsMember({"float32", "float16", "bfloat16"}).description(""))
      ->type_name("float32|float16|bfloat16");
  return [arguments] {
    const Arguments& a = *arguments;
    fs::path path = a.run;
    if (fs::is_directory(a.run)) {
      const auto checkpoint = TrainingRun(a.run).NewestCheckpoint();
      ATHANOR_CHECK(checkpoint, a.run.string(), ": expected a training with a checkpoint, found ",
                    "none");
      path = *checkpoint;
    }
    const SafeTensors file = Detector::ExportOf(ReadSafeTensors(path), path.string(), a.precision);
    WriteSafeTensors(a.out, file);
    int64_t numbers = 0;
    for (const auto& [name, tensor] : file.tensors) numbers += tensor.numel();
    std::cout << "weights    " << a.out.string() << ": " << Grouped(numbers) << " numbers, "
              << a.precision << ", " << Grouped(static_cast<int64_t>(fs::file_size(a.out)))
              << " bytes, from " << path.string() << "\n";
    return 0;
  };
}

}  // namespace athanor
