#include "athanor/detection/profusion3d/detector_trainer.h"

#include <ATen/ATen.h>
#include <c10/core/impl/VirtualGuardImpl.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <nlohmann/json.hpp>
#include <optional>
#include <sstream>

#include "athanor/base/error.h"
#include "athanor/base/files.h"
#include "athanor/base/log.h"
#include "athanor/base/memory.h"
#include "athanor/base/parallel.h"
#include "athanor/base/progress.h"
#include "athanor/base/random.h"
#include "athanor/detection/profusion3d/detector.h"
#include "athanor/detection/profusion3d/detector_learner.h"
#include "athanor/detection/profusion3d/loader.h"
#include "athanor/detection/profusion3d/log_detections.h"
#include "athanor/detection/profusion3d/training_samples.h"
#include "athanor/media/plot.h"
#include "athanor/nn/training_run.h"
#include "athanor/ops/device.h"

namespace athanor {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::ordered_json;

constexpr const char *kKind = "detect train", *kBank = "objects.bank",
                     *kWeights = "detector.safetensors";

TrainingSampleOptions SamplesOf(const DetectTrainOptions& o, int older_logs) {
  TrainingSampleOptions samples;
  samples.frame = SampleOptionsOf(o.model);
  samples.frame.with_points |= o.camera_weight > 0;  // they say what pixels show
  samples.sampler = {.seed = static_cast<uint64_t>(o.seed), .is_balanced = o.balanced};
  samples.augmentation = o.augmentation;
  if (!o.augment) {
    const AugmentationOptions given = o.augmentation;
    samples.augmentation = NoAugmentation();
    samples.augmentation.drop_pictures = given.drop_pictures;
    samples.augmentation.drop_points = given.drop_points;
    samples.augmentation.drop_camera = given.drop_camera;
  }
  if (o.cameras_alone) samples.augmentation.drop_pictures = samples.augmentation.drop_points = 0;
  // A network of one sensor never sees an empty sample.
  if (!o.model.use_cameras) samples.augmentation.drop_points = 0;
  if (!o.model.use_lidar) samples.augmentation.drop_pictures = 0;
  samples.paste_steps =
      static_cast<int64_t>(o.paste_until * static_cast<double>(o.steps) * o.batch);
  samples.share = o.share;
  samples.older_logs = older_logs, samples.replay = o.replay;
  return samples;
}

// Cuts the objects out of all frames, unless an earlier part of the run has done so.
std::shared_ptr<const ObjectBank> BankOf(const Logs& logs, const DetectTrainOptions& options,
                                         const fs::path& path) {
  if (!fs::exists(path)) {
    const std::vector<FrameOfLog> frames = FramesOf(logs);
    FrameSampleOptions samples = SampleOptionsOf(options.model);
    samples.with_points = true;  // of cameras alone, too: they say which objects are to be seen
    ObjectBankWriter writer(path);
    Progress progress("objects", static_cast<int64_t>(frames.size()));
    SampleLoader loader(
        [&](int64_t i) {
          return IsOfShare(i, options.share)
                     ? MakeFrameSample(*frames[i].log, frames[i].frame, samples)
                     : DetectionSample();
        },
        0, static_cast<int64_t>(frames.size()), {.workers = NumThreads()});
    for (int64_t i = 0; i < std::ssize(frames); ++i) {
      const std::optional<DetectionSample> sample = loader.Next();
      if (sample->boxes.defined()) writer.AddFrame(*sample);
      progress.Update(i + 1, frames[i].log->name);
    }
    writer.Finish();
  }
  return std::make_shared<const ObjectBank>(path);
}

Json AboutRun(const std::vector<fs::path>& datasets, const std::vector<fs::path>& scored_on,
              int processes) {
  const auto paths = [](const std::vector<fs::path>& list) {
    Json array = Json::array();
    for (const fs::path& path : list) array.push_back(fs::absolute(path).string());
    return array;
  };
  return {{"kind", kKind},
          {"datasets", paths(datasets)},
          {"scored_on", paths(scored_on)},
          {"threads", NumThreads()},
          {"processes", processes}};
}

// What the leader of a group tells the others before steps that they take together.
void TellSteps(ProcessGroup* group, const std::vector<fs::path>& datasets, const fs::path& bank,
               const DetectTrainOptions& options, int64_t steps, bool keeps_rate) {
  Json paths = Json::array();
  for (const fs::path& path : datasets) paths.push_back(fs::absolute(path).string());
  DetectTrainOptions copy = options;
  copy.older.clear();
  for (const fs::path& path : SplitPaths(options.older)) {
    copy.older += (copy.older.empty() ? "" : ",") + fs::absolute(path).string();
  }
  group->Tell(Json{{"datasets", paths},
                   {"bank", bank.empty() ? "" : fs::absolute(bank).string()},
                   {"options", Describe(copy).ToToml()},
                   {"steps", steps},
                   {"keeps_rate", keeps_rate}}
                  .dump());
}

// A run goes on as it began.
void CheckSameRun(const TrainingRun& run, const Json& about, DetectTrainOptions options) {
  const fs::path path = run.path() / "run.json";
  ATHANOR_CHECK(fs::exists(run.config()) && fs::exists(path), run.path().string(),
                ": expected a training of a detector to go on with, found no config.toml and "
                "run.json");
  const Json before = Json::parse(ReadFile(path), nullptr, /*allow_exceptions=*/false);
  for (const char* key : {"kind", "datasets"}) {
    ATHANOR_CHECK(before.is_object() && before.contains(key) && before[key] == about[key],
                  path.string(), ": expected \"", key, "\": ", about[key].dump(),
                  " to go on with, found ",
                  before.is_object() && before.contains(key) ? before[key].dump() : "none");
  }
  DetectTrainOptions old;
  Describe(old).ReadToml(run.config());
  ATHANOR_CHECK(Describe(old).ToToml() == Describe(options).ToToml(), run.config().string(),
                ": this run has other options; a run goes on with its own");
  run.CompareThreads(about["processes"].get<int>());
}

void PlotMetrics(const fs::path& out) {
  PlotSeries loss{"loss / 10"}, map{"mAP"}, nds{"NDS"};
  std::istringstream lines(ReadFile(out / "metrics.jsonl"));
  double sum = 0;
  int count = 0;
  for (std::string line; std::getline(lines, line);) {
    const Json json = Json::parse(line, nullptr, /*allow_exceptions=*/false);
    if (!json.is_object()) continue;
    const double step = json.value("step", 0.0);
    if (json.contains("mAP")) {
      map.x.push_back(step), nds.x.push_back(step);
      map.y.push_back(json.value("mAP", 0.0)), nds.y.push_back(json.value("NDS", 0.0));
    } else if (json.contains("loss")) {
      // Samples differ much: means of five lines.
      sum += json.value("loss", 0.0);
      if (++count % 5 != 0) continue;
      loss.x.push_back(step), loss.y.push_back(sum / 5 / 10);
      sum = 0;
    }
  }
  WriteImage(out / "curves.png", PlotLines({loss, map, nds}, {.title = "training of the detector",
                                                              .x_label = "step",
                                                              .y_label = "loss / 10, mAP, NDS"}));
}

}  // namespace

TrainingLogs ReadTrainingLogs(const std::vector<fs::path>& datasets,
                              const DetectTrainOptions& options) {
  TrainingLogs logs{ReadLogs(datasets)};
  for (auto& log : ReadLogs(SplitPaths(options.older))) {
    logs.logs.push_back(std::move(log));
    ++logs.older;
  }
  return logs;
}

DetectTrainResult TrainDetector(const std::vector<fs::path>& datasets,
                                const std::vector<fs::path>& scored_on, const fs::path& out,
                                const DetectTrainOptions& options, bool resume,
                                const std::function<bool()>& stop, ProcessGroup* group) {
  ATHANOR_CHECK(!options.cameras_alone || (options.model.use_cameras && options.camera_weight > 0),
                "training: expected cameras, and a camera-weight above 0, to teach cameras alone");
  const TrainingRun run(out);
  const Json about = AboutRun(datasets, scored_on, group == nullptr ? 1 : group->size());
  if (resume) {
    CheckSameRun(run, about, options);
  } else {
    run.CheckFree();
  }
  const auto [logs, older] = ReadTrainingLogs(datasets, options);
  const Logs scored_logs = ReadLogs(scored_on);
  if (!resume) {
    DetectTrainOptions copy = options;
    run.Create(Describe(copy).ToToml(), about.dump(2) + "\n");
  }
  const LogFile log(out / "log.txt");
  std::shared_ptr<const ObjectBank> bank;
  if (options.paste) bank = BankOf(logs, options, out / kBank);
  const auto samples =
      std::make_shared<const TrainingSamples>(logs, bank, SamplesOf(options, older));
  DetectorLearner learner(options, samples, group);
  const auto checkpoint = run.NewestCheckpoint();
  if (resume && checkpoint) {
    learner.Restore(*checkpoint);
    LogInfo(StrCat("resumed from ", checkpoint->string(), " at step ", learner.step()));
  } else if (!options.start_from.empty()) {
    learner.StartFrom(options.start_from);
  }
  if (group != nullptr) {
    TellSteps(group, datasets, bank ? out / kBank : fs::path(), options,
              options.steps - learner.step(), /*keeps_rate=*/false);
    learner.ShareState();
  }
  run.TruncateMetrics(learner.step());
  DetectTrainResult result;
  result.parameters = learner.detector().parameters().CountTrained();
  result.frames = samples->num_frames();
  LogInfo(StrCat(result.frames, " frames of ", logs.size(), " logs, ", result.parameters,
                 " parameters"));
  KeepFreedMemory();

  const auto score = [&](int64_t count, const char* title) {
    const auto detector =
        Detector::FromSafeTensors(learner.Export(), out.string(), ParseDevice(options.device));
    LogDetectionOptions detect;
    detect.bfloat16 = options.bfloat16, detect.workers = options.workers, detect.title = title;
    return ScoreFrames(detector.get(), FramesOf(scored_logs, count), detect);
  };
  const auto add_score = [&](int64_t step, const ScoredFrames& scored) {
    run.AddMetrics(Json{{"step", step},
                        {"mAP", scored.metrics.mean_ap},
                        {"NDS", scored.metrics.nd_score},
                        {"mAP_of_classes_there", scored.present_ap},
                        {"frames", scored.truth.samples.size()}}
                       .dump());
    LogInfo(StrCat("step ", step, ": mAP ", scored.metrics.mean_ap, ", NDS ",
                   scored.metrics.nd_score, " on ", scored.truth.samples.size(), " frames"));
  };
  StepReport report;
  TrainingLoop loop;
  loop.title = "training";
  loop.first = learner.step(), loop.steps = options.steps;
  loop.checkpoint_every = options.checkpoint_every, loop.metrics_every = options.metrics_every;
  loop.step = [&] { report = learner.Step(); };
  loop.note = [&] {
    char text[32];
    std::snprintf(text, sizeof text, "loss %.2f", report.loss);
    return std::string(text);
  };
  loop.metrics = [&](int64_t step) {
    return Json{{"step", step},
                {"loss", report.loss},
                {"classes", report.classes},
                {"boxes", report.boxes},
                {"attributes", report.attributes},
                {"denoising", report.denoising},
                {"heat", report.heat},
                {"proposals", report.proposals},
                {"pixel_depths", report.pixel_depths},
                {"pixel_classes", report.pixel_classes},
                {"camera_heat", report.camera_heat},
                {"gradient_norm", report.gradient_norm},
                {"rate", report.rate},
                {"seconds", report.seconds},
                {"wait_seconds", report.wait_s}}
        .dump();
  };
  loop.observe = [&](int64_t step) {
    if (scored_logs.empty() || options.score_every <= 0 || step % options.score_every != 0) return;
    add_score(step, score(options.score_frames, ""));
  };
  loop.checkpoint = [&] { return learner.Checkpoint(); };
  loop.stop = stop;
  result.interrupted = !run.Train(loop);
  result.step = learner.step(), result.loss = report.loss;
  if (!result.interrupted) {
    result.weights = out / kWeights;
    WriteSafeTensors(result.weights, learner.Export());
    if (!scored_logs.empty()) {
      const ScoredFrames scored = score(0, "scoring");
      result.mean_ap = scored.metrics.mean_ap, result.nd_score = scored.metrics.nd_score;
      result.present_ap = scored.present_ap;
      add_score(result.step, scored);
    }
  }
  if (fs::exists(out / "metrics.jsonl")) PlotMetrics(out);
  return result;
}

DetectStepReport TrainDetectorStep(const TrainingLogs& logs, const DetectTrainOptions& given,
                                   const DetectStep& step, const fs::path& checkpoint,
                                   ProcessGroup* group) {
  DetectTrainOptions options = given;
  options.steps = step.updates, options.paste = false;
  const auto samples =
      std::make_shared<const TrainingSamples>(logs.logs, nullptr, SamplesOf(options, logs.older));
  DetectorLearner learner(options, samples, group);
  learner.KeepRate();
  int64_t before = 0;
  if (!step.from.empty()) {
    learner.Restore(step.from);
    before = learner.step();
    if (step.replace > 0) learner.RenewUnits(step.replace, MixBits(options.seed + 1));
    if (step.shrink != 1 || step.perturb != 0) {
      learner.ShrinkAndPerturb(step.shrink, step.perturb, MixBits(options.seed));
      before = 0;  // for the averages, too
    }
  } else if (!options.start_from.empty()) {
    learner.StartFrom(options.start_from);
  }
  learner.BeginSamples(before);
  if (group != nullptr) {
    TellSteps(group, step.datasets, {}, options, step.updates, /*keeps_rate=*/true);
    learner.ShareState();
  }
  DetectStepReport report;
  for (int64_t i = 0; i < step.updates; ++i) {
    report.loss += learner.Step().loss / static_cast<double>(step.updates);
  }
  double squares = 0;
  for (const auto& [name, tensor] : learner.detector().parameters().trained()) {
    const double norm = tensor.detach().norm().item<double>();
    squares += norm * norm;
  }
  report.weight_norm = std::sqrt(squares);
  if (!std::isfinite(report.weight_norm)) {
    throw TrainingDiverged("training: the weights are not finite");
  }
  report.dormant = learner.DormantShare();
  WriteSafeTensors(checkpoint, learner.Checkpoint());
  return report;
}

void FollowTraining(ProcessGroup& group) {
  std::vector<fs::path> datasets;
  std::string older;
  TrainingLogs logs;
  while (true) {
    std::string told;
    try {
      told = group.Tell("");
    } catch (const GroupLost&) {
      return;  // between trainings: the leader has nothing more to do
    }
    const Json steps = Json::parse(told);
    std::vector<fs::path> paths;
    for (const std::string path : steps["datasets"]) paths.emplace_back(path);
    DetectTrainOptions options;
    Describe(options).ParseToml(steps["options"].get<std::string>(), "the leader's options");
    if (paths != datasets || options.older != older) {
      logs = ReadTrainingLogs(paths, options);
      datasets = paths, older = options.older;
    }
    if (options.device == "cuda") {
      const int devices = c10::impl::VirtualGuardImpl(c10::kCUDA).deviceCount();
      options.device = StrCat("cuda:", group.rank() % std::max(1, devices));
    }
    std::shared_ptr<const ObjectBank> bank;
    if (const fs::path path = steps["bank"].get<std::string>(); !path.empty()) {
      bank = std::make_shared<const ObjectBank>(path);
    }
    DetectorLearner learner(
        options,
        std::make_shared<const TrainingSamples>(logs.logs, bank, SamplesOf(options, logs.older)),
        &group);
    if (steps["keeps_rate"].get<bool>()) learner.KeepRate();
    learner.ShareState();
    KeepFreedMemory();
    try {
      for (int64_t left = steps["steps"]; left > 0; --left) learner.Step();
    } catch (const TrainingDiverged& error) {
      LogWarning(error.what());  // of this training, and of no other
    }
  }
}

}  // namespace athanor
