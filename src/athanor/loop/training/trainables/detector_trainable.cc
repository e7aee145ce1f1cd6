#include <ATen/core/Tensor.h>
#include <ATen/record_function.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <filesystem>
#include <optional>

#include "athanor/base/error.h"
#include "athanor/base/files.h"
#include "athanor/base/log.h"
#include "athanor/detection/evaluation/nuscenes_eval.h"
#include "athanor/detection/profusion3d/detector.h"
#include "athanor/detection/profusion3d/detector_trainer.h"
#include "athanor/detection/profusion3d/log_detections.h"
#include "athanor/loop/training/toml_section.h"
#include "athanor/loop/training/trainables/open_trainable.h"
#include "athanor/nn/safetensors.h"

namespace athanor {
namespace {

namespace fs = std::filesystem;

// Multiply-adds of convolutions and matrix products on this thread while it lives. (Voxel layers
// are our own kernels, whose work depends on the scene, and are left out.)
class MultiplyAddCounter {
 public:
  MultiplyAddCounter() {
    count_ = 0;
    handle_ = at::addThreadLocalCallback(at::RecordFunctionCallback(&Begin, &End)
                                             .needsInputs(true)
                                             .needsOutputs(true)
                                             .scopes({at::RecordScope::FUNCTION}));
  }
  ~MultiplyAddCounter() { at::removeCallback(handle_); }
  MultiplyAddCounter(const MultiplyAddCounter&) = delete;
  MultiplyAddCounter& operator=(const MultiplyAddCounter&) = delete;
  static double count() { return count_; }

 private:
  // Multiply-adds of each number that comes out; taken before the call, which may change inputs.
  struct PerOutput : at::ObserverContext {
    double count = 0;
  };
  static std::unique_ptr<at::ObserverContext> Begin(const at::RecordFunction& function) {
    const std::string_view name = function.name();
    const auto inputs = function.inputs();
    const auto tensor = [&](size_t i) { return inputs.at(i).toTensor(); };
    auto per_output = std::make_unique<PerOutput>();
    if (name == "aten::convolution" && inputs.size() > 1) {
      per_output->count = static_cast<double>(tensor(1).numel()) /
                          static_cast<double>(std::max<int64_t>(tensor(1).size(0), 1));
    } else if ((name == "aten::mm" || name == "aten::bmm") && inputs.size() > 1) {
      per_output->count = static_cast<double>(tensor(0).size(-1));
    } else if ((name == "aten::addmm" || name == "aten::baddbmm") && inputs.size() > 2) {
      per_output->count = static_cast<double>(tensor(1).size(-1));
    }
    return per_output;
  }
  static void End(const at::RecordFunction& function, at::ObserverContext* context) {
    const double per_output = static_cast<PerOutput*>(context)->count;
    if (per_output == 0 || function.outputs().empty()) return;
    const auto& output = function.outputs()[0];
    if (output.isTensor()) count_ += per_output * static_cast<double>(output.toTensor().numel());
  }

  static thread_local double count_;
  at::CallbackHandle handle_ = 0;
};
thread_local double MultiplyAddCounter::count_ = 0;

class DetectorTrainable : public Trainable {
 public:
  DetectorTrainable(const DetectorTrainableOptions& options, FollowerCommand follower)
      : options_(options),
        follower_(std::move(follower)),
        rare_(FindNuscenesClass(options.rare)),
        training_(options.training) {
    ATHANOR_CHECK(rare_ >= 0, "detector: rare: there is no class '", options.rare, "'");
    ATHANOR_CHECK(!options.data.empty() && !options.scored_on.empty(),
                  "detector: expected data and score-on, paths of driving logs");
    ATHANOR_CHECK(options.processes == 1 || follower_,
                  "detector: processes: other processes cannot be started here");
    ATHANOR_CHECK(training_.batch % options.processes == 0, "detector: expected a batch that ",
                  options.processes, " processes can share evenly, found ", training_.batch);
    training_.paste = false;
  }

  std::string kind() const override { return "detector"; }
  std::vector<Objective> objectives() const override {
    return {{"rare_ap", 0, 1},
            {"map", 0, 1},
            {"cost", options_.most_cost, 0},
            {"latency_ms", options_.most_latency_ms, 0}};
  }
  std::string work_unit() const override { return "samples"; }

  void CheckSpace(const SearchSpace& space) const override {
    DetectTrainOptions all = training_;
    OptionList known = Describe(all), of_network = Describe(all.model);
    for (const HyperRange& range : space.ranges()) {
      for (const char* name : {"steps", "batch", "seed", "start-from", "device", "workers", "rise",
                               "paste", "paste-until", "score-every", "score-frames",
                               "checkpoint-every", "metrics-every", "share", "older"}) {
        ATHANOR_CHECK(range.name != name, "detector: '", name, "' is no hyper-parameter");
      }
      ATHANOR_CHECK(range.name != "replay" || !training_.older.empty(),
                    "detector: replay: expected older logs (older = \"PATH\") to replay");
      Option* option = known.Find(range.name);
      ATHANOR_CHECK(option != nullptr, "detector: `detect train` has no option '", range.name, "'");
      ATHANOR_CHECK(of_network.Find(range.name) == nullptr || range.is_fixed, "detector: '",
                    range.name, "': expected fixed = true: a network keeps its shape");
      try {
        if (range.kind == HyperRange::Kind::kChoice) {
          for (const std::string& choice : range.choices) option->Set(choice);
        } else {
          option->Set(HyperText(range.low));
          option->Set(HyperText(range.high));
        }
      } catch (const Error& error) {
        throw Error(StrCat("detector: ", error.what()));
      }
    }
  }

  TrainReport Train(const TrainRequest& request, const fs::path& checkpoint) override {
    const std::vector<fs::path> datasets = SplitPaths(options_.data);
    if (logs_.logs.empty()) logs_ = ReadTrainingLogs(datasets, training_);
    DetectTrainOptions training = OptionsOf(request.hyper);
    training.seed = static_cast<int64_t>(request.seed & 0x7fffffff);
    DetectStep step;
    step.from = request.from;
    step.updates = request.updates;
    step.datasets = datasets;
    step.shrink = request.mutation.shrink, step.perturb = request.mutation.perturb;
    step.replace = request.mutation.replace;
    try {
      const DetectStepReport done = TakeStep(training, step, checkpoint);
      TrainReport report;
      report.monitors = {
          {"loss", done.loss}, {"weight_norm", done.weight_norm}, {"dormant", done.dormant}};
      report.work = static_cast<double>(request.updates * training.batch);
      return report;
    } catch (const TrainingDiverged& error) {
      throw MemberFailure(error.what());
    }
  }

  std::map<std::string, double> Evaluate(const fs::path& checkpoint,
                                         const HyperParameters&) override {
    if (frames_.empty()) {
      frames_ = FramesOf(ReadLogs(SplitPaths(options_.scored_on)), training_.score_frames);
      ATHANOR_CHECK(!frames_.empty(), options_.scored_on, ": expected frames to score on");
    }
    const SafeTensors weights =
        Detector::ExportOf(ReadSafeTensors(checkpoint), checkpoint.string(), "float32");
    const auto detector = Detector::FromSafeTensors(weights, checkpoint.string());
    LogDetectionOptions detect;
    detect.bfloat16 = training_.bfloat16;
    const ScoredFrames scored = ScoreFrames(detector.get(), frames_, detect);
    const double rare = scored.metrics.mean_dist_aps[rare_];
    std::vector<double> seconds;
    double multiply_adds = 0;
    constexpr size_t kTimed = 5;  // frames
    for (size_t i = 0; i < std::min(kTimed, frames_.size()); ++i) {
      const DetectionSample sample =
          MakeFrameSample(*frames_[i].log, frames_[i].frame, SampleOptionsOf(detector->options()));
      const MultiplyAddCounter counter;
      const auto start = std::chrono::steady_clock::now();
      detector->Detect(sample, detect.predictions, detect.bfloat16);
      seconds.push_back(
          std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count());
      multiply_adds += counter.count();
    }
    std::nth_element(seconds.begin(), seconds.begin() + std::ssize(seconds) / 2, seconds.end());
    return {{"rare_ap", std::isfinite(rare) ? rare : 0},
            {"map", scored.present_ap},
            {"cost", 1e-9 * multiply_adds / static_cast<double>(seconds.size())},
            {"latency_ms", 1e3 * seconds[seconds.size() / 2]}};
  }

  void Export(const fs::path& checkpoint, const fs::path& weights) override {
    WriteSafeTensors(
        weights, Detector::ExportOf(ReadSafeTensors(checkpoint), checkpoint.string(), "float32"));
  }

 private:
  DetectStepReport TakeStep(const DetectTrainOptions& training, const DetectStep& step,
                            const fs::path& checkpoint) {
    constexpr int kAttempts = 3;  // processes that are killed are no fault of the step's
    for (int attempt = 1;; ++attempt) {
      if (options_.processes > 1 && !group_) {
        group_ = ProcessGroup::Lead({.processes = options_.processes, .follower = follower_});
      }
      try {
        return TrainDetectorStep(logs_, training, step, checkpoint, group_.get());
      } catch (const TrainingDiverged&) {
        throw;  // all processes have seen it, and wait for the next step
      } catch (const GroupLost& error) {
        group_.reset();
        if (attempt == kAttempts) throw;
        LogWarning(StrCat(error.what(), "; the step begins anew"));
      } catch (...) {
        group_.reset();  // its other processes are somewhere in the middle
        throw;
      }
    }
  }

  DetectTrainOptions OptionsOf(const HyperParameters& hyper) const {
    DetectTrainOptions options = training_;
    OptionList list = Describe(options);
    for (const auto& [name, text] : hyper) list.Find(name)->Set(text);
    return options;
  }

  const DetectorTrainableOptions options_;
  const FollowerCommand follower_;
  std::unique_ptr<ProcessGroup> group_;
  const int rare_;
  DetectTrainOptions training_;
  TrainingLogs logs_;
  std::vector<FrameOfLog> frames_;
};

}  // namespace

OptionList Describe(DetectorTrainableOptions& o) {
  OptionList list;
  list.Add("data", &o.data, "driving logs to learn from, PATH,PATH,...");
  list.Add("score-on", &o.scored_on, "driving logs to score on, PATH,PATH,...");
  list.Add("preset", &o.preset, "one of configs/detect, or a TOML file; empty: none");
  list.Add("rare", &o.rare, "class of nuScenes whose precision is an objective");
  list.Add("most-cost", &o.most_cost, "giga multiply-adds of a frame: the worst",
           {.min = 1e-6, .max = 1e9});
  list.Add("most-latency", &o.most_latency_ms, "milliseconds of a frame: the worst",
           {.min = 1e-3, .max = 1e9});
  list.Add("processes", &o.processes, "of a short step, each with a part of the batch",
           {.min = 1, .max = 4096});
  OptionList training = Describe(o.training);
  for (Option& option : training.options()) list.options().push_back(std::move(option));
  return list;
}

DetectorTrainableOptions ParseDetectorTrainable(std::string_view toml, std::string_view name) {
  DetectorTrainableOptions options;
  OptionList list = Describe(options);
  const std::string section = TomlSection(toml, name, "detector");
  list.ParseToml(section, name);
  if (!options.preset.empty()) {
    const bool is_file = options.preset.ends_with(".toml");
    Describe(options.training)
        .ReadToml(is_file ? fs::path(options.preset)
                          : FindShared("configs/detect/" + options.preset + ".toml"));
    list.ParseToml(section, name);  // what it says goes before the preset
  }
  return options;
}

std::unique_ptr<Trainable> MakeDetectorTrainable(const DetectorTrainableOptions& options,
                                                 const FollowerCommand& follower) {
  return std::make_unique<DetectorTrainable>(options, follower);
}

}  // namespace athanor
