#include "athanor/detection/pretraining/pretrainer.h"

#include <ATen/ATen.h>

#include <chrono>
#include <cmath>
#include <cstdio>
#include <memory>
#include <nlohmann/json.hpp>

#include "athanor/base/error.h"
#include "athanor/base/files.h"
#include "athanor/base/log.h"
#include "athanor/base/parallel.h"
#include "athanor/detection/pretraining/pictures.h"
#include "athanor/detection/profusion3d/loader.h"
#include "athanor/detection/profusion3d/log_detections.h"
#include "athanor/detection/profusion3d/training_samples.h"
#include "athanor/media/image.h"
#include "athanor/nn/training_run.h"
#include "athanor/ops/device.h"

namespace athanor {
namespace {

namespace fs = std::filesystem;

constexpr const char* kWeightsFile = "pretrained.safetensors";
constexpr const char* kPictureFile = "pretrained.png";
constexpr const char* kKind = "detect pretrain";
constexpr size_t kParts = PretrainLoss::kNames.size();

// Everything random about a sample comes from here: what a run does next depends on the number of
// the sample alone.
Random RandomAt(int64_t seed, int64_t number) {
  return Random(MixBits(static_cast<uint64_t>(seed)) ^ static_cast<uint64_t>(number));
}

TrainingSampleOptions TrainingOptions(const DetectorOptions& detector,
                                      const PretrainOptions& options) {
  TrainingSampleOptions samples;
  samples.frame = SampleOptionsOf(detector);
  samples.sampler.seed = static_cast<uint64_t>(options.seed);
  samples.sampler.is_balanced = false;
  if (!options.augment) samples.augmentation = NoAugmentation();
  // Masks take enough away.
  samples.augmentation.drop_pictures = samples.augmentation.drop_points = 0;
  samples.augmentation.drop_camera = 0;
  return samples;
}

class Trainer {
 public:
  Trainer(Logs logs, const DetectorOptions& detector, const PretrainOptions& options)
      : logs_(std::move(logs)),
        options_(options),
        samples_(logs_, nullptr, TrainingOptions(detector, options)),
        network_(detector, options),
        optimizer_(&network_.parameters(),
                   {.weight_decay = options.weight_decay, .clip_norm = options.clip_norm}),
        sums_(at::zeros({kParts}, at::kDouble)),
        counts_(at::zeros({kParts}, at::kLong)) {}

  int64_t step() const { return step_; }
  int64_t num_frames() const { return samples_.num_frames(); }
  const PretrainNetwork& network() const { return network_; }
  double last_loss() const { return last_loss_; }

  void Step();
  // Of the steps since the last call, as a line of JSON.
  std::string Metrics();
  SafeTensors State();
  void Restore(const fs::path& checkpoint);
  // A frame as it is.
  Image Draw() const;

 private:
  double rate() const {
    return WarmupStableDecay(step_, options_.steps, options_.warmup, /*decay=*/1, options_.rate);
  }

  Logs logs_;
  PretrainOptions options_;
  TrainingSamples samples_;
  PretrainNetwork network_;
  AdamW optimizer_;
  int64_t step_ = 0;
  at::Tensor sums_, counts_;  // of each part of the loss, since the last metrics
  double rate_ = 0, norm_ = 0, last_loss_ = 0;
  std::unique_ptr<SampleLoader> loader_;
};

void Trainer::Step() {
  if (loader_ == nullptr) {
    loader_ = std::make_unique<SampleLoader>(
        [this](int64_t number) { return samples_.Make(number); }, step_ * options_.batch,
        options_.steps * options_.batch, LoaderOptions{.workers = options_.workers});
  }
  rate_ = rate();
  double sum = 0;
  for (int b = 0; b < options_.batch; ++b) {
    Random random = RandomAt(options_.seed, step_ * options_.batch + b);
    const MaskedSample sample = network_.Mask(*loader_->Next(), &random);
    const PretrainLoss loss = ComputePretrainLoss(network_.Forward(sample, true), sample);
    const at::Tensor total = loss.Total();
    if (!total.defined()) continue;  // a frame without any point or picture
    (total / options_.batch).backward();
    const auto value = total.item<double>();
    ATHANOR_CHECK(std::isfinite(value), "pre-training: the loss of step ", step_, " (",
                  sample.input.id, ") is not finite");
    sum += value;
    for (size_t i = 0; i < kParts; ++i) {
      if (!loss.parts[i].defined()) continue;
      sums_.data_ptr<double>()[i] += loss.parts[i].item<double>();
      ++counts_.data_ptr<int64_t>()[i];
    }
  }
  norm_ = optimizer_.Step(rate_);
  last_loss_ = sum / options_.batch;
  ++step_;
}

std::string Trainer::Metrics() {
  nlohmann::ordered_json line = {{"step", step_}, {"loss", 0.0}};
  double total = 0;
  for (size_t i = 0; i < kParts; ++i) {
    const int64_t count = counts_.data_ptr<int64_t>()[i];
    if (count == 0) continue;
    const double mean = sums_.data_ptr<double>()[i] / static_cast<double>(count);
    line[std::string(PretrainLoss::kNames[i])] = mean;
    total += mean;
  }
  line["loss"] = total;
  line["rate"] = rate_;
  line["gradient_norm"] = norm_;
  sums_.zero_();
  counts_.zero_();
  return line.dump();
}

SafeTensors Trainer::State() {
  SafeTensors content;
  network_.parameters().Save("", &content);
  optimizer_.Save("", &content);
  content.tensors.emplace_back("metrics.sums", sums_);
  content.tensors.emplace_back("metrics.counts", counts_);
  content.metadata["step"] = StrCat(step_);
  return content;
}

void Trainer::Restore(const fs::path& checkpoint) {
  const std::string where = checkpoint.string();
  const SafeTensors content = ReadSafeTensors(checkpoint);
  network_.parameters().Load("", content, where);
  optimizer_.Load("", content, where);
  sums_.copy_(content.Get("metrics.sums", where));
  counts_.copy_(content.Get("metrics.counts", where));
  const auto step = content.metadata.find("step");
  ATHANOR_CHECK(step != content.metadata.end(), where, ": expected metadata 'step', found none");
  step_ = std::stoll(step->second);
}

Image Trainer::Draw() const {
  const at::NoGradGuard no_grad;
  const Detector& detector = network_.detector();
  const DetectionSample truth = MakeFrameSample(*logs_[0], 0, SampleOptionsOf(detector.options()));
  Random random = RandomAt(options_.seed, -1);
  const MaskedSample masked = network_.Mask(truth, &random);
  return DrawPretraining(truth, masked, network_.Forward(masked, false).To(at::kCPU),
                         detector.grid());
}

void CreateRun(const TrainingRun& folder, const std::vector<fs::path>& log_folders,
               DetectorOptions detector, PretrainOptions options) {
  nlohmann::ordered_json run = {{"kind", kKind}, {"threads", NumThreads()}};
  run["logs"] = nlohmann::ordered_json::array();
  for (const fs::path& path : log_folders) run["logs"].push_back(fs::absolute(path).string());
  folder.Create(Describe(detector).ToToml() + Describe(options).ToToml(), run.dump(2) + "\n");
}

std::vector<fs::path> ReadRunLogs(const fs::path& folder) {
  const fs::path path = folder / "run.json";
  ATHANOR_CHECK(fs::exists(path), folder.string(),
                ": expected a run folder with run.json, found none");
  const auto run = nlohmann::json::parse(ReadFile(path), nullptr, /*allow_exceptions=*/false);
  ATHANOR_CHECK(run.is_object() && run.value("kind", "") == kKind && run.contains("logs") &&
                    run["logs"].is_array(),
                path.string(), ": expected the run of a pre-training with 'logs'");
  std::vector<fs::path> folders;
  for (const auto& log : run["logs"]) {
    ATHANOR_CHECK(log.is_string(), path.string(), ": expected 'logs' to be paths");
    folders.emplace_back(log.get<std::string>());
  }
  return folders;
}

// Both kinds of options, as one file holds them.
void ReadConfig(const fs::path& path, DetectorOptions* detector, PretrainOptions* options) {
  OptionList list = Describe(*detector);
  const OptionList rest = Describe(*options);
  for (const Option& option : rest.options()) list.options().push_back(option);
  list.ReadToml(path);
}

}  // namespace

OptionList Describe(PretrainOptions& o) {
  OptionList list;
  list.Add("steps", &o.steps, "of the training", {.min = 1, .max = 1e9});
  list.Add("batch", &o.batch, "samples per step", {.min = 1, .max = 1024});
  list.Add("rate", &o.rate, "highest learning rate of AdamW; a cosine takes it to 0",
           {.min = 0, .max = 1});
  list.Add("weight-decay", &o.weight_decay, "of AdamW", {.min = 0, .max = 10});
  list.Add("clip", &o.clip_norm, "longest gradient that is taken whole; 0: any",
           {.min = 0, .max = 1e9});
  list.Add("warmup", &o.warmup, "steps over which the learning rate rises", {.min = 0, .max = 1e9});
  list.Add("high-ratio", &o.masking.high_ratio,
           "share of the tokens that the sensor drawn to lose more loses", {.min = 0, .max = 1});
  list.Add("low-ratio", &o.masking.low_ratio, "share that the other one loses",
           {.min = 0, .max = 1});
  list.Add("patch", &o.masking.patch_px,
           "side of an image token, pixels: a multiple of the camera map's stride", {.min = 2});
  list.Add("column-cells", &o.masking.column_cells,
           "side of a LiDAR token, cells of the bird's-eye view", {.min = 1, .max = 64});
  list.Add("pixel-noise", &o.masking.pixel_sigma,
           "deviation of the noise on what is seen of pictures, in units of 58 levels of 255",
           {.min = 0, .max = 4});
  list.Add("point-noise", &o.masking.point_sigma_m,
           "deviation of the noise on what is seen of points, metres", {.min = 0, .max = 10});
  list.Add("noise-clip", &o.masking.noise_clip, "where noise is cut off, deviations",
           {.min = 0.1, .max = 10});
  list.Add("noise-block", &o.masking.noise_block_px,
           "side of squares of pixels with the same noise", {.min = 1, .max = 64});
  list.Add("max-points", &o.masking.max_points, "points of a cell that are to be found, at most",
           {.min = 1, .max = 1024});
  list.Add("reconstruction", &o.objectives.reconstruction, "learn to fill in what is hidden");
  list.Add("denoising", &o.objectives.denoising, "learn the noise of what is seen");
  list.Add("attributes", &o.objectives.attributes,
           "learn what the other sensor sees: brightness of points, depth of patches");
  list.Add("points-per-cell", &o.objectives.points_per_cell, "points that are predicted",
           {.min = 1, .max = 256});
  list.Add("augment", &o.augment, "turn, flip, scale and move the world, change colours");
  list.Add("bfloat16", &o.bfloat16,
           "convolutions compute in bfloat16, where the processor has AVX-512");
  list.Add("seed", &o.seed, "of everything random");
  list.Add("device", &o.device, "cpu, cuda or cuda:N");
  list.Add("workers", &o.workers, "threads that read frames; 0 = none of their own",
           {.min = 0, .max = 256});
  list.Add("checkpoint-every", &o.checkpoint_every,
           "steps between checkpoints; 0 = only at the end", {.min = 0});
  list.Add("metrics-every", &o.metrics_every, "steps between lines of metrics.jsonl", {.min = 1});
  return list;
}

PretrainNetwork::PretrainNetwork(const DetectorOptions& detector, const PretrainOptions& options)
    : options_(options),
      detector_(detector, static_cast<uint64_t>(options.seed), ParseDevice(options.device)),
      parameters_(detector_.device()),
      heads_({&parameters_, static_cast<uint64_t>(options.seed), "pretrain."}, detector.width,
             detector.camera_stride, options.masking, options.objectives) {
  if (!options.objectives.denoising) {
    options_.masking.pixel_sigma = options_.masking.point_sigma_m = 0;
  }
  // The same tensors, so that one optimiser moves all.
  for (const auto& [name, tensor] : detector_.parameters().trained()) parameters_.Add(name, tensor);
  for (const auto& [name, tensor] : detector_.parameters().buffers()) {
    parameters_.AddBuffer(name, tensor);
  }
}

MaskedSample PretrainNetwork::Mask(const DetectionSample& sample, Random* random) const {
  return MaskSample(sample, detector_.grid(), detector_.options().camera_stride, options_.masking,
                    random);
}

PretrainOutputs PretrainNetwork::Forward(const MaskedSample& sample, bool training) const {
  DetectorPass pass;
  pass.training = training;
  pass.bfloat16 = options_.bfloat16;
  return heads_.Forward(detector_.Encode(sample.input, pass), sample);
}

PretrainResult PretrainDetector(const std::vector<fs::path>& given_folders,
                                const fs::path& run_folder, const DetectorOptions& given_detector,
                                const PretrainOptions& given_options, bool resume,
                                const std::function<bool()>& stop) {
  const auto start = std::chrono::steady_clock::now();
  const TrainingRun run(run_folder);
  DetectorOptions detector = given_detector;
  PretrainOptions options = given_options;
  std::vector<fs::path> folders = given_folders;
  if (resume) {
    folders = ReadRunLogs(run_folder);
    ReadConfig(run.config(), &detector, &options);
  } else {
    run.CheckFree();
  }
  const Logs logs = ReadLogs(folders);
  ATHANOR_CHECK(!logs.empty(), "pre-training: expected at least one log, found none");
  Trainer trainer(logs, detector, options);
  // Only now is something written: a wrong path or option leaves no folder behind.
  if (!resume) CreateRun(run, folders, detector, options);
  const LogFile log(run_folder / "log.txt");
  const auto checkpoint = run.NewestCheckpoint();
  if (resume && checkpoint) {
    trainer.Restore(*checkpoint);
    LogInfo(StrCat("resumed from ", checkpoint->string(), " at step ", trainer.step()));
  }
  run.TruncateMetrics(trainer.step());
  if (resume) run.CompareThreads();
  LogInfo(StrCat(trainer.num_frames(), " frames, ",
                 trainer.network().detector().parameters().CountTrained(), " parameters, ",
                 NumThreads(), " threads"));

  TrainingLoop loop;
  loop.title = "pre-training";
  loop.first = trainer.step(), loop.steps = options.steps;
  loop.checkpoint_every = options.checkpoint_every, loop.metrics_every = options.metrics_every;
  loop.step = [&] { trainer.Step(); };
  loop.note = [&] {
    char text[32];
    std::snprintf(text, sizeof text, "loss %.3f", trainer.last_loss());
    return std::string(text);
  };
  loop.metrics = [&](int64_t) { return trainer.Metrics(); };
  loop.checkpoint = [&] { return trainer.State(); };
  loop.stop = stop;
  PretrainResult result;
  result.interrupted = !run.Train(loop);
  result.step = trainer.step();
  result.loss = trainer.last_loss();
  if (!result.interrupted) {
    WriteSafeTensors(run_folder / kWeightsFile, trainer.network().detector().ToSafeTensors());
    WriteImage(run_folder / kPictureFile, trainer.Draw());
  }
  result.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  return result;
}

}  // namespace athanor
