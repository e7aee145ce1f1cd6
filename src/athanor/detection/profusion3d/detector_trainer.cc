#include "athanor/detection/profusion3d/detector_trainer.h"

#include <ATen/ATen.h>
#include <ATen/CPUGeneratorImpl.h>
#include <c10/core/impl/VirtualGuardImpl.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <exception>
#include <map>
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
#include "athanor/detection/profusion3d/detection_loss.h"
#include "athanor/detection/profusion3d/detector.h"
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

TrainingSampleOptions SamplesOf(const DetectTrainOptions& o) {
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

// What a step did, means over its samples.
struct StepReport {
  double loss = 0, classes = 0, boxes = 0, attributes = 0, denoising = 0, heat = 0, proposals = 0;
  double pixel_depths = 0, pixel_classes = 0, camera_heat = 0;  // without their weight
  double gradient_norm = 0, rate = 0;
  double wait_s = 0, seconds = 0;  // for samples; in all

  std::array<double*, 10> Sums() {
    return {&loss, &classes,   &boxes,        &attributes,    &denoising,
            &heat, &proposals, &pixel_depths, &pixel_classes, &camera_heat};
  }
};

using Clock = std::chrono::steady_clock;
double SecondsSince(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

class Trainer {
 public:
  Trainer(const DetectTrainOptions& options, std::shared_ptr<const TrainingSamples> samples,
          ProcessGroup* group = nullptr)
      : options_(options),
        samples_(std::move(samples)),
        group_(group),
        detector_(options.model, static_cast<uint64_t>(options.seed), ParseDevice(options.device)),
        adam_(
            &detector_.parameters(),
            {.beta2 = 0.99, .weight_decay = options.weight_decay, .clip_norm = options.clip_norm}) {
    ATHANOR_CHECK(group == nullptr || options.batch % group->size() == 0,
                  "training: expected a batch that ", group->size(),
                  " processes can share evenly, found --batch ", options.batch);
    StartAverages();
  }

  int64_t step() const { return step_; }
  const Detector& detector() const { return detector_; }

  // Takes the tensors that the network has, too. Throws Error when there is none.
  void StartFrom(const fs::path& weights);
  StepReport Step();
  // The rate stays what the options say.
  void KeepRate() { keeps_rate_ = true; }
  // From here on samples come in the order of their seed, from its first; `step` steps are behind.
  void BeginSamples(int64_t step) {
    step_ = first_of_samples_ = step;
    loader_.reset();
  }
  void ShrinkAndPerturb(double shrink, double perturb, uint64_t seed);
  SafeTensors Checkpoint() const;
  void Restore(const fs::path& checkpoint) {
    Restore(ReadSafeTensors(checkpoint), checkpoint.string());
  }
  // All processes of the group go on from where its leader is.
  void ShareState();
  // The averaged weights.
  SafeTensors Export() const;

 private:
  void StartAverages() {
    averages_.clear();
    for (const auto& [name, tensor] : detector_.parameters().trained()) {
      averages_.push_back(tensor.detach().clone());
    }
  }
  void Average();
  // Samples of a step that this process learns from.
  int64_t own_samples() const {
    return group_ == nullptr ? options_.batch : options_.batch / group_->size();
  }
  // Where they come among those of all processes.
  int64_t IndexOfSample(int64_t own) const {
    if (group_ == nullptr) return own;
    return own / own_samples() * options_.batch + own % own_samples() * group_->size() +
           group_->rank();
  }
  void Learn(const DetectionSample& sample, int64_t index, StepReport* report);
  void LearnBatch(StepReport* report);
  void AddUpOverGroup(const std::exception_ptr& failure, StepReport* report);
  void Restore(const SafeTensors& file, const std::string& where);

  DetectTrainOptions options_;
  std::shared_ptr<const TrainingSamples> samples_;
  ProcessGroup* group_;  // null: this process alone
  Detector detector_;
  AdamW adam_;
  std::vector<at::Tensor> averages_;  // of the trained tensors, in their order
  std::optional<SampleLoader> loader_;
  int64_t step_ = 0;
  int64_t first_of_samples_ = 0;  // the step whose samples are the first
  bool keeps_rate_ = false;
};

void Trainer::ShrinkAndPerturb(double shrink, double perturb, uint64_t seed) {
  const at::NoGradGuard no_gradient;
  const Detector fresh(options_.model, seed, detector_.device());
  for (size_t i = 0; i < averages_.size(); ++i) {
    const auto& [name, tensor] = detector_.parameters().trained()[i];
    at::Tensor own = tensor;
    own.mul_(shrink).add_(fresh.parameters().Get(name), perturb);
  }
  adam_ = AdamW(
      &detector_.parameters(),
      {.beta2 = 0.99, .weight_decay = options_.weight_decay, .clip_norm = options_.clip_norm});
  StartAverages();
}

void Trainer::StartFrom(const fs::path& weights) {
  const at::NoGradGuard no_gradient;
  const SafeTensors file = ReadSafeTensors(weights);
  std::map<std::string, at::Tensor> there(file.tensors.begin(), file.tensors.end());
  int64_t taken = 0, all = 0;
  for (const auto* list : {&detector_.parameters().trained(), &detector_.parameters().buffers()}) {
    for (const auto& [name, tensor] : *list) {
      ++all;
      const auto found = there.find(name);
      if (found == there.end() || found->second.sizes() != tensor.sizes()) continue;
      at::Tensor mine = tensor;
      mine.copy_(found->second);
      ++taken;
    }
  }
  ATHANOR_CHECK(taken > 0, weights.string(), ": expected weights of a detector, found none that ",
                "this network has too");
  LogInfo(StrCat("started from ", weights.string(), ": ", taken, " of ", all, " tensors"));
  StartAverages();
}

void Trainer::Average() {
  const at::NoGradGuard no_gradient;
  // Early weights are soon forgotten.
  const double kept = std::min(
      options_.average, (1.0 + static_cast<double>(step_)) / (10.0 + static_cast<double>(step_)));
  for (size_t i = 0; i < averages_.size(); ++i) {
    averages_[i].lerp_(detector_.parameters().trained()[i].second.detach(), 1 - kept);
  }
}

void Trainer::Learn(const DetectionSample& sample, int64_t index, StepReport* report) {
  const uint64_t seed = MixBits(static_cast<uint64_t>(options_.seed) ^
                                MixBits(static_cast<uint64_t>(index) + 0x5eed));
  Random random(seed);
  const DetectionTruth truth =
      TruthInRange({sample.boxes, sample.labels, sample.attributes}, detector_.grid());
  DetectorPass pass;
  pass.training = true, pass.bfloat16 = options_.bfloat16;
  pass.cameras_alone = options_.cameras_alone;
  pass.denoising = MakeDenoisingQueries(truth.boxes, detector_.grid(),
                                        {.groups = options_.denoising_groups}, &random);
  if (detector_.options().proposals > 0) {
    // Peaks come in a cell's reach of their object.
    const at::Tensor centres = NormalizePoints(truth.boxes.slice(1, 0, 3), detector_.grid());
    const double cell =
        detector_.grid().cell_m / (detector_.grid().range_m[3] - detector_.grid().range_m[0]);
    at::Tensor shift = at::zeros_like(centres);
    for (int64_t i = 0; i < shift.size(0); ++i) {
      for (int64_t k = 0; k < 2; ++k) shift[i][k] = random.Uniform(-cell, cell);
    }
    pass.proposal_places = centres + shift, pass.proposal_labels = truth.labels;
  }
  at::Generator generator = at::detail::createCPUGenerator(seed);
  if (options_.dropout) pass.dropout = &generator;
  const DetectorOutputs outputs = detector_.Forward(sample, pass);
  DetectionLoss loss;
  at::Tensor total = at::zeros({}, at::device(detector_.device()));
  if (!options_.cameras_alone) {
    loss = ComputeDetectionLoss(outputs.layers, pass.denoising, truth, {});
    total = loss.total;
  }
  if (outputs.heat.defined()) {
    const at::Tensor heat = HeatLoss(outputs.heat, truth.boxes, truth.labels, detector_.grid());
    total = total + options_.heat_weight * heat;
    report->heat += options_.heat_weight * heat.item<double>() / options_.batch;
    const at::Tensor boxes = BoxLoss(outputs.proposal_codes, truth.boxes, {});
    total = total + options_.proposal_weight * boxes;
    report->proposals += options_.proposal_weight * boxes.item<double>() / options_.batch;
  }
  if (outputs.maps.pixel_depth.defined() && options_.camera_weight > 0) {
    const PixelTruth pixels = detector_.PixelTruthOf(sample);
    const at::Tensor objects = pixels.classes.ge(0) & pixels.classes.lt(kNumDetectionClasses);
    const at::Tensor depths = PixelLoss(outputs.maps.pixel_depth, pixels.depths, objects);
    const at::Tensor classes = PixelLoss(outputs.maps.pixel_classes, pixels.classes, objects);
    report->pixel_depths += depths.item<double>() / options_.batch;
    report->pixel_classes += classes.item<double>() / options_.batch;
    at::Tensor cameras = depths + classes;
    if (outputs.maps.camera_heat.defined()) {
      const at::Tensor heat =
          HeatLoss(outputs.maps.camera_heat, truth.boxes, truth.labels, detector_.grid());
      report->camera_heat += heat.item<double>() / options_.batch;
      cameras = cameras + heat;
    }
    total = total + options_.camera_weight * cameras;
  }
  const double value = total.item<double>();
  if (!std::isfinite(value)) {
    throw TrainingDiverged(
        StrCat("training: the loss of sample ", sample.id, " at step ", step_, " is not finite"));
  }
  if (total.requires_grad()) (total / options_.batch).backward();
  report->loss += value / options_.batch;
  report->classes += loss.classes / options_.batch;
  report->boxes += loss.boxes / options_.batch;
  report->attributes += loss.attributes / options_.batch;
  report->denoising += loss.denoising / options_.batch;
}

void Trainer::LearnBatch(StepReport* report) {
  for (int64_t i = 0; i < own_samples(); ++i) {
    const auto asked = Clock::now();
    const std::optional<DetectionSample> sample = loader_->Next();
    report->wait_s += SecondsSince(asked);
    try {
      Learn(*sample, IndexOfSample(step_ * own_samples() + i), report);
    } catch (const TrainingDiverged&) {
      throw;
    } catch (const Error& error) {
      // The sample was read: it is the network that says what no part of it takes.
      throw TrainingDiverged(error.what());
    }
  }
}

// Gradients and the report become sums over the processes, running means their means.
void Trainer::AddUpOverGroup(const std::exception_ptr& failure, StepReport* report) {
  const at::NoGradGuard no_gradient;
  const auto& trained = detector_.parameters().trained();
  const auto& buffers = detector_.parameters().buffers();
  std::vector<at::Tensor> parts;
  at::Tensor has_gradient = at::zeros({std::ssize(trained)});
  for (size_t i = 0; i < trained.size(); ++i) {
    const at::Tensor& gradient = trained[i].second.grad();
    parts.push_back(gradient.defined() ? gradient.flatten()
                                       : at::zeros_like(trained[i].second).flatten());
    has_gradient[static_cast<int64_t>(i)] = gradient.defined() ? 1 : 0;
  }
  for (const auto& [name, tensor] : buffers) parts.push_back(tensor.flatten().to(at::kFloat));
  parts.push_back(has_gradient.to(detector_.device()));
  const std::array<double*, 10> sums = report->Sums();
  at::Tensor others = at::zeros({std::ssize(sums) + 1});
  for (int64_t i = 0; i < std::ssize(sums); ++i) others[i] = *sums[i];
  others[-1] = failure ? 1 : 0;
  parts.push_back(others.to(detector_.device()));
  const at::Tensor all = at::cat(parts).cpu();
  group_->Sum(all);

  if (all[-1].item<float>() > 0) {
    std::string what = "";
    bool has_diverged = false;
    try {
      if (failure) std::rethrow_exception(failure);
    } catch (const TrainingDiverged& error) {
      what = error.what(), has_diverged = true;
    } catch (const std::exception& error) {
      what = error.what();
    }
    // The first process that has failed says why, to all.
    for (int rank = 0; rank < group_->size(); ++rank) {
      const std::string said = group_->Tell(what, rank);
      const bool diverged = !group_->Tell(has_diverged ? "diverged" : "", rank).empty();
      if (diverged) throw TrainingDiverged(said);
      if (!said.empty()) throw Error(said);
    }
  }
  int64_t place = 0;
  const auto next = [&](const at::Tensor& like) {
    const at::Tensor part = all.narrow(0, place, like.numel()).view(like.sizes());
    place += like.numel();
    return part;
  };
  std::vector<at::Tensor> gradients;
  for (const auto& [name, tensor] : trained) gradients.push_back(next(tensor));
  for (const auto& [name, tensor] : buffers) {
    at::Tensor mine = tensor;
    mine.copy_(next(tensor) / group_->size());
  }
  has_gradient = next(has_gradient);
  for (size_t i = 0; i < trained.size(); ++i) {
    at::Tensor tensor = trained[i].second;
    if (has_gradient[static_cast<int64_t>(i)].item<float>() > 0) {
      tensor.mutable_grad() = gradients[i].to(detector_.device());
    }
  }
  const at::Tensor summed = next(others);
  for (int64_t i = 0; i < std::ssize(sums); ++i) *sums[i] = summed[i].item<double>();
}

StepReport Trainer::Step() {
  if (!loader_) {
    loader_.emplace(
        [this, samples = samples_](int64_t own) { return samples->Make(IndexOfSample(own)); },
        (step_ - first_of_samples_) * own_samples(), options_.steps * own_samples(),
        LoaderOptions{.workers = options_.workers, .ahead = 2 + static_cast<int>(own_samples())});
  }
  const auto start = Clock::now();
  StepReport report;
  if (group_ == nullptr) {
    LearnBatch(&report);
  } else {
    std::exception_ptr failure;
    try {
      LearnBatch(&report);
    } catch (const Error&) {
      failure = std::current_exception();
    }
    AddUpOverGroup(failure, &report);
  }
  report.rate =
      keeps_rate_ ? options_.rate : OneCycle(step_, options_.steps, options_.rate, options_.rise);
  report.gradient_norm = adam_.Step(report.rate);
  ++step_;
  Average();
  report.seconds = SecondsSince(start);
  return report;
}

SafeTensors Trainer::Checkpoint() const {
  SafeTensors file = detector_.ToSafeTensors();
  adam_.Save("", &file);
  for (size_t i = 0; i < averages_.size(); ++i) {
    file.tensors.emplace_back("average." + detector_.parameters().trained()[i].first,
                              averages_[i].cpu());
  }
  file.metadata["step"] = StrCat(step_);
  return file;
}

void Trainer::ShareState() {
  SafeTensors state = Checkpoint();
  for (auto& [name, tensor] : state.tensors) {
    tensor = tensor.contiguous().clone();
    group_->Share(tensor);
  }
  state.metadata["step"] = group_->Tell(state.metadata["step"]);
  first_of_samples_ = std::stoll(group_->Tell(StrCat(first_of_samples_)));
  if (group_->rank() > 0) Restore(state, "the leader's state");
}

void Trainer::Restore(const SafeTensors& file, const std::string& where) {
  detector_.parameters().Load("", file, where);
  adam_.Load("", file, where);
  for (size_t i = 0; i < averages_.size(); ++i) {
    averages_[i].copy_(file.Get("average." + detector_.parameters().trained()[i].first, where));
  }
  const auto step = file.metadata.find("step");
  ATHANOR_CHECK(step != file.metadata.end(), where, ": expected metadata 'step', found none");
  step_ = std::stoll(step->second);
}

SafeTensors Trainer::Export() const {
  SafeTensors file = detector_.ToSafeTensors();
  std::map<std::string, at::Tensor> averages;
  for (size_t i = 0; i < averages_.size(); ++i) {
    averages[detector_.parameters().trained()[i].first] = averages_[i].cpu();
  }
  for (auto& [name, tensor] : file.tensors) {
    if (const auto found = averages.find(name); found != averages.end()) tensor = found->second;
  }
  return file;
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
  const Logs logs = ReadLogs(datasets), scored_logs = ReadLogs(scored_on);
  if (!resume) {
    DetectTrainOptions copy = options;
    run.Create(Describe(copy).ToToml(), about.dump(2) + "\n");
  }
  const LogFile log(out / "log.txt");
  std::shared_ptr<const ObjectBank> bank;
  if (options.paste) bank = BankOf(logs, options, out / kBank);
  const auto samples = std::make_shared<const TrainingSamples>(logs, bank, SamplesOf(options));
  Trainer trainer(options, samples, group);
  const auto checkpoint = run.NewestCheckpoint();
  if (resume && checkpoint) {
    trainer.Restore(*checkpoint);
    LogInfo(StrCat("resumed from ", checkpoint->string(), " at step ", trainer.step()));
  } else if (!options.start_from.empty()) {
    trainer.StartFrom(options.start_from);
  }
  if (group != nullptr) {
    TellSteps(group, datasets, bank ? out / kBank : fs::path(), options,
              options.steps - trainer.step(), /*keeps_rate=*/false);
    trainer.ShareState();
  }
  run.TruncateMetrics(trainer.step());
  DetectTrainResult result;
  result.parameters = trainer.detector().parameters().CountTrained();
  result.frames = samples->num_frames();
  LogInfo(StrCat(result.frames, " frames of ", logs.size(), " logs, ", result.parameters,
                 " parameters"));
  KeepFreedMemory();

  const auto score = [&](int64_t count, const char* title) {
    const auto detector =
        Detector::FromSafeTensors(trainer.Export(), out.string(), ParseDevice(options.device));
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
  loop.first = trainer.step(), loop.steps = options.steps;
  loop.checkpoint_every = options.checkpoint_every, loop.metrics_every = options.metrics_every;
  loop.step = [&] { report = trainer.Step(); };
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
  loop.checkpoint = [&] { return trainer.Checkpoint(); };
  loop.stop = stop;
  result.interrupted = !run.Train(loop);
  result.step = trainer.step(), result.loss = report.loss;
  if (!result.interrupted) {
    result.weights = out / kWeights;
    WriteSafeTensors(result.weights, trainer.Export());
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

DetectStepReport TrainDetectorStep(const Logs& logs, const DetectTrainOptions& given,
                                   const DetectStep& step, const fs::path& checkpoint,
                                   ProcessGroup* group) {
  DetectTrainOptions options = given;
  options.steps = step.updates, options.paste = false;
  const auto samples = std::make_shared<const TrainingSamples>(logs, nullptr, SamplesOf(options));
  Trainer trainer(options, samples, group);
  trainer.KeepRate();
  int64_t before = 0;
  if (!step.from.empty()) {
    trainer.Restore(step.from);
    before = trainer.step();
    if (step.shrink != 1 || step.perturb != 0) {
      trainer.ShrinkAndPerturb(step.shrink, step.perturb, MixBits(options.seed));
      before = 0;  // for the averages, too
    }
  } else if (!options.start_from.empty()) {
    trainer.StartFrom(options.start_from);
  }
  trainer.BeginSamples(before);
  if (group != nullptr) {
    TellSteps(group, step.datasets, {}, options, step.updates, /*keeps_rate=*/true);
    trainer.ShareState();
  }
  DetectStepReport report;
  for (int64_t i = 0; i < step.updates; ++i) {
    report.loss += trainer.Step().loss / static_cast<double>(step.updates);
  }
  double squares = 0;
  for (const auto& [name, tensor] : trainer.detector().parameters().trained()) {
    const double norm = tensor.detach().norm().item<double>();
    squares += norm * norm;
  }
  report.weight_norm = std::sqrt(squares);
  if (!std::isfinite(report.weight_norm)) {
    throw TrainingDiverged("training: the weights are not finite");
  }
  WriteSafeTensors(checkpoint, trainer.Checkpoint());
  return report;
}

void FollowTraining(ProcessGroup& group) {
  std::vector<fs::path> datasets;
  Logs logs;
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
    if (paths != datasets) logs = ReadLogs(paths), datasets = paths;
    DetectTrainOptions options;
    Describe(options).ParseToml(steps["options"].get<std::string>(), "the leader's options");
    if (options.device == "cuda") {
      const int devices = c10::impl::VirtualGuardImpl(c10::kCUDA).deviceCount();
      options.device = StrCat("cuda:", group.rank() % std::max(1, devices));
    }
    std::shared_ptr<const ObjectBank> bank;
    if (const fs::path path = steps["bank"].get<std::string>(); !path.empty()) {
      bank = std::make_shared<const ObjectBank>(path);
    }
    Trainer trainer(
        options, std::make_shared<const TrainingSamples>(logs, bank, SamplesOf(options)), &group);
    if (steps["keeps_rate"].get<bool>()) trainer.KeepRate();
    trainer.ShareState();
    KeepFreedMemory();
    try {
      for (int64_t left = steps["steps"]; left > 0; --left) trainer.Step();
    } catch (const TrainingDiverged& error) {
      LogWarning(error.what());  // of this training, and of no other
    }
  }
}

DetectTrainOptions DetectTrainPreset(const std::string& name) {
  DetectTrainOptions options;
  Describe(options).ReadToml(FindShared("configs/detect/" + name + ".toml"));
  return options;
}

OptionList Describe(DetectTrainOptions& o) {
  OptionList list = Describe(o.model);
  list.Add("steps", &o.steps, "of the training", {.min = 1, .max = 1e9});
  list.Add("batch", &o.batch, "samples per step", {.min = 1, .max = 1024});
  list.Add("rate", &o.rate, "highest learning rate; it rises first and then falls to 0",
           {.min = 0, .max = 1});
  list.Add("rise", &o.rise, "part of the steps over which the rate rises", {.min = 0, .max = 1});
  list.Add("weight-decay", &o.weight_decay, "of AdamW", {.min = 0, .max = 10});
  list.Add("clip", &o.clip_norm, "longest gradient that is taken whole; 0: any",
           {.min = 0, .max = 1e9});
  list.Add("average", &o.average, "of weights over steps, exponential: these are the result",
           {.min = 0, .max = 1});
  list.Add("bfloat16", &o.bfloat16, "convolutions compute in bfloat16");
  list.Add("dropout", &o.dropout, "in the decoder, a tenth");
  list.Add("heat-weight", &o.heat_weight, "of the heat map's loss", {.min = 0, .max = 1000});
  list.Add("proposal-weight", &o.proposal_weight,
           "of the boxes that proposals say at the true places", {.min = 0, .max = 1000});
  list.Add("camera-weight", &o.camera_weight,
           "of what teaches cameras by themselves: depths and classes of pixels, a heat map",
           {.min = 0, .max = 1000});
  list.Add(
      "cameras-alone", &o.cameras_alone,
      "teaches cameras by themselves and nothing else, for --start-from; several times faster");
  list.Add("denoising-groups", &o.denoising_groups,
           "of true boxes, moved a little, that queries are to find back", {.min = 0, .max = 100});
  list.Add("share", &o.share, "of the frames that is trained on", {.min = 0.001, .max = 1});
  list.Add("balanced", &o.balanced, "each class is seen equally often");
  list.Add("paste", &o.paste, "objects of other frames into each sample");
  list.Add("paste-until", &o.paste_until, "part of the steps that paste", {.min = 0, .max = 1});
  list.Add("augment", &o.augment, "turn, flip, scale and move the world, zoom pictures, colours");
  AugmentationOptions& a = o.augmentation;
  list.Add("flip", &a.flip_probability, "how often the world is flipped, along x and along y",
           {.min = 0, .max = 1});
  list.Add("rotation", &a.max_rotation_rad, "of the world, at most, radians",
           {.min = 0, .max = 3.15});
  list.Add("scale-low", &a.min_scale, "least scale of the world", {.min = 0.1, .max = 10});
  list.Add("scale-high", &a.max_scale, "largest", {.min = 0.1, .max = 10});
  list.Add("translation", &a.translation_sigma_m, "of the world, standard deviation, metres",
           {.min = 0, .max = 100});
  list.Add("zoom-low", &a.min_zoom, "least zoom of a picture", {.min = 0.1, .max = 10});
  list.Add("zoom-high", &a.max_zoom, "largest", {.min = 0.1, .max = 10});
  list.Add("drop-cameras", &a.drop_pictures, "how often all pictures are taken away",
           {.min = 0, .max = 1});
  list.Add("drop-lidar", &a.drop_points, "how often all points are", {.min = 0, .max = 1});
  list.Add("drop-camera", &a.drop_camera, "how often each picture is", {.min = 0, .max = 1});
  list.Add("start-from", &o.start_from,
           "weights of `detect pretrain` or of another run; tensors that fit are taken");
  list.Add("score-every", &o.score_every, "steps between scores on the data of --score; 0: none",
           {.min = 0, .max = 1e9});
  list.Add("score-frames", &o.score_frames, "of each of these scores; the last takes all",
           {.min = 1, .max = 1e9});
  list.Add("checkpoint-every", &o.checkpoint_every, "steps between checkpoints",
           {.min = 0, .max = 1e9});
  list.Add("metrics-every", &o.metrics_every, "steps between lines of metrics.jsonl",
           {.min = 1, .max = 1e9});
  list.Add("device", &o.device, "cpu, cuda or cuda:N");
  list.Add("workers", &o.workers, "threads that make samples", {.min = 0, .max = 256});
  list.Add("seed", &o.seed, "of weights and of everything random", {.min = 0, .max = 2147483647});
  return list;
}

}  // namespace athanor
