#include "athanor/scenes/gaussians/trainer.h"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <nlohmann/json.hpp>
#include <numeric>

#include "athanor/base/error.h"
#include "athanor/base/files.h"
#include "athanor/base/hash.h"
#include "athanor/base/log.h"
#include "athanor/base/parallel.h"
#include "athanor/base/progress.h"
#include "athanor/base/random.h"
#include "athanor/datasets/view_cache.h"
#include "athanor/kernels/image_loss.h"
#include "athanor/nn/safetensors.h"
#include "athanor/ops/device.h"
#include "athanor/scenes/gaussians/densify.h"
#include "athanor/scenes/gaussians/exposure.h"
#include "athanor/scenes/gaussians/gaussian_model.h"
#include "athanor/scenes/gaussians/open_scene.h"
#include "athanor/scenes/gaussians/reconstruct_run.h"
#include "athanor/scenes/gaussians/renderer.h"

namespace athanor {
namespace {

// The radius of the camera centres around their mean, times 1.1: the scene's size, as Inria's
// trainer takes it.
float SceneExtent(const PosedImages& posed, const std::vector<int>& images) {
  Eigen::Vector3d mean = Eigen::Vector3d::Zero();
  for (const int i : images) mean += posed.images[i].camera_from_world.Inverse().translation;
  mean /= static_cast<double>(images.size());
  double radius = 0;
  for (const int i : images) {
    radius =
        std::max(radius, (posed.images[i].camera_from_world.Inverse().translation - mean).norm());
  }
  ATHANOR_CHECK(radius > 0, posed.source, ": all cameras stand on one spot; ",
                "reconstruction needs views from different places");
  return static_cast<float>(1.1 * radius);
}

// A photograph at 1 / 2^level of its size, as kernels want it.
struct Target {
  Camera camera;
  at::Tensor rgb;    // [3,H,W] f32 in [0,1]
  at::Tensor mask;   // [H,W] u8; undefined when there is none
  at::Tensor depth;  // [H,W] f32, 0 = unknown; undefined when there is none
};

Target LoadTarget(const View& view, const Camera& camera, int level, bool use_mask, bool use_depth,
                  const c10::Device& device) {
  const int factor = 1 << level;
  Target target;
  target.camera = camera;
  const int width = camera.width_px / factor, height = camera.height_px / factor;
  if (level > 0) {
    // Pixels of a block are averaged; what does not fill a block at the right and below is dropped.
    target.camera.width_px = width, target.camera.height_px = height;
    for (int k = 0; k < 4; ++k) target.camera.parameters[k] /= factor;
  }
  target.rgb = at::empty({3, height, width}, at::kFloat);
  auto* rgb = target.rgb.data_ptr<float>();
  const size_t plane = static_cast<size_t>(width) * height;
  const float scale = 1.0f / (255.0f * static_cast<float>(factor * factor));
  constexpr int64_t kRows = 32;
  ParallelFor(height, kRows, [&](int64_t begin, int64_t end) {
    for (int64_t y = begin; y < end; ++y) {
      float* out = rgb + y * width;
      if (factor == 1) {
        const uint8_t* in = view.rgb.at(0, static_cast<int>(y));
        for (int x = 0; x < width; ++x) {
          for (int c = 0; c < 3; ++c)
            out[c * plane + x] = static_cast<float>(in[3 * x + c]) * scale;
        }
        continue;
      }
      for (int x = 0; x < width; ++x) {
        int sum[3] = {};
        for (int j = 0; j < factor; ++j) {
          const uint8_t* in = view.rgb.at(x * factor, static_cast<int>(y) * factor + j);
          for (int i = 0; i < factor; ++i) {
            for (int c = 0; c < 3; ++c) sum[c] += in[3 * i + c];
          }
        }
        for (int c = 0; c < 3; ++c) out[c * plane + x] = static_cast<float>(sum[c]) * scale;
      }
    }
  });
  target.rgb = target.rgb.to(device);
  // Masks and depths take the block's first pixel: they are not to be averaged over edges.
  const auto strided = [&](const auto* data, at::ScalarType type) {
    return at::from_blob(const_cast<void*>(static_cast<const void*>(data)),
                         {camera.height_px, camera.width_px}, type)
        .slice(0, 0, height * factor, factor)
        .slice(1, 0, width * factor, factor)
        .clone(at::MemoryFormat::Contiguous)
        .to(device);
  };
  if (use_mask && !view.mask.data.empty()) target.mask = strided(view.mask.data.data(), at::kByte);
  if (use_depth && !view.depth.data.empty()) {
    target.depth = strided(view.depth.data.data(), at::kFloat);
  }
  return target;
}

class Trainer {
 public:
  Trainer(const PosedImages& posed, const TrainingRun& run, const ReconstructOptions& options);

  // Everything below depends on the step, the seed and the saved state alone.
  void Restore(const std::filesystem::path& checkpoint);
  SafeTensors State() const;
  void Step();
  void WriteScene() const {
    WriteGaussians(SceneOfRun(run_.path()), model_.ToCloud(), GaussianFormat::kPly);
  }

  int64_t step() const { return step_; }
  const GaussianModel& model() const { return model_; }
  double loss() const { return loss_; }
  nlohmann::json Metrics() const;

 private:
  int ImageAt(int64_t step) const;
  int LevelAt(int64_t step) const;
  void Optimize(const PinholeView& view);
  void Refine();
  int64_t DensifyUntil() const;
  uint64_t SeedAt(int64_t step) const {
    return MixBits(static_cast<uint64_t>(options_.seed) * 0x9e3779b97f4a7c15ull + step);
  }

  const PosedImages& posed_;
  const TrainingRun& run_;
  ReconstructOptions options_;
  c10::Device device_;
  std::vector<int> train_;
  float extent_;
  ViewCache views_;
  GaussianModel model_;
  GaussianRenderer renderer_;
  RenderOptions render_options_;
  GradientStatistics statistics_;
  ExposureModel exposure_;
  at::Tensor d_image_;
  int64_t step_ = 0;
  double loss_ = 0, l1_ = 0, ssim_ = 0, depth_loss_ = 0;
};

GaussianModel StartingModel(const PosedImages& posed, const ReconstructOptions& options,
                            const c10::Device& device) {
  ATHANOR_CHECK(!posed.points.empty(), posed.source,
                ": the capture has no points to start from; `athanor scene import` triangulates "
                "them, or makes random ones");
  const bool mcmc = options.strategy == "mcmc";
  return GaussianModel::FromPoints(posed.points, options.sh_degree, mcmc ? 0.5f : 0.1f,
                                   mcmc ? 0.1f : 1.0f, device);
}

Trainer::Trainer(const PosedImages& posed, const TrainingRun& run,
                 const ReconstructOptions& options)
    : posed_(posed),
      run_(run),
      options_(options),
      device_(ParseDevice(options.device)),
      train_(MakeSplit(posed, options).train),
      extent_(SceneExtent(posed, train_)),
      views_(posed, ViewOptionsOf(options)),
      model_(StartingModel(posed, options, device_)),
      exposure_(options.exposure ? static_cast<int64_t>(posed.images.size()) : 0, device_) {
  statistics_.Reset(model_);
  if (options_.depth_weight < 0) options_.depth_weight = options_.clip.empty() ? 0 : 0.5;
  render_options_ = RenderOptionsOf(options);
  render_options_.depth = options_.depth_weight > 0;
}

// Every epoch is a permutation of the training images of its own.
int Trainer::ImageAt(int64_t step) const {
  const auto n = static_cast<int64_t>(train_.size());
  std::vector<int> order = train_;
  Random random(SeedAt(-1 - step / n));
  for (auto i = static_cast<uint32_t>(n); i > 1; --i)
    std::swap(order[i - 1], order[random.Below(i)]);
  return order[step % n];
}

int Trainer::LevelAt(int64_t step) const {
  const int level =
      options_.coarse_levels - static_cast<int>(step / std::max(1, options_.coarse_iterations));
  return std::max(0, level);
}

int64_t Trainer::DensifyUntil() const {
  return options_.densify_until > 0 ? options_.densify_until
                                    : std::min(15000, options_.iterations / 2);
}

void Trainer::Step() {
  const int index = ImageAt(step_);
  const int level = LevelAt(step_);
  const auto view_data = views_.Get(index);
  if (step_ + 1 < options_.iterations) views_.Prefetch(ImageAt(step_ + 1));
  const Target target = LoadTarget(*view_data, views_.camera(index), level, options_.use_masks,
                                   options_.depth_weight > 0, device_);
  const PinholeView view = MakeView(target.camera, posed_.images[index].camera_from_world);
  render_options_.sh_degree = static_cast<int>(
      std::min<int64_t>(options_.sh_degree, step_ / std::max(1, options_.sh_interval)));

  renderer_.Render(model_, view, render_options_);
  if (!d_image_.defined() || d_image_.sizes() != renderer_.image.sizes()) {
    d_image_ = at::empty_like(renderer_.image);
  }
  const at::Tensor exposed =
      options_.exposure ? exposure_.Apply(index, renderer_.image) : renderer_.image;
  ImageLossArgs loss = {};
  loss.width_px = view.width_px, loss.height_px = view.height_px, loss.channels = 3;
  loss.image = exposed.data_ptr<float>();
  loss.target = target.rgb.data_ptr<float>();
  loss.mask = target.mask.defined() ? target.mask.data_ptr<uint8_t>() : nullptr;
  loss.ssim_weight = static_cast<float>(options_.ssim_weight);
  loss.d_image = d_image_.data_ptr<float>();
#ifdef ATHANOR_HAS_CUDA
  if (device_.is_cuda()) {
    const at::Tensor sums = at::zeros({2}, at::TensorOptions().dtype(at::kDouble).device(device_));
    ImageLossCuda(loss, sums.data_ptr<double>(),
                  c10::cuda::getCurrentCUDAStream(device_.index()).stream());
    const at::Tensor values = sums.to(at::kCPU);
    loss.l1 = values[0].item<double>();
    loss.ssim = values[1].item<double>();
  } else {
    ImageLossCpu(&loss);
  }
#else
  ImageLossCpu(&loss);
#endif
  l1_ = loss.l1, ssim_ = loss.ssim;
  loss_ = (1 - options_.ssim_weight) * l1_ + options_.ssim_weight * (1 - ssim_);
  at::Tensor d_image = d_image_;
  if (options_.exposure) {
    const double progress = static_cast<double>(step_) / options_.iterations;
    d_image = exposure_.Backward(index, renderer_.image, d_image_, step_ + 1, progress);
  }

  at::Tensor d_transmittance, d_depth;
  depth_loss_ = 0;
  if (target.depth.defined()) {
    // L1 between inverse depths, in units of the scene's size, where the truth is known and
    // something was rendered.
    const at::Tensor alpha = 1 - renderer_.transmittance;
    const at::Tensor known = (target.depth > 0) & (alpha > 0.01) & (renderer_.depth > 0);
    const at::Tensor inverse = at::where(known, alpha / renderer_.depth, at::zeros_like(alpha));
    const at::Tensor truth = at::where(known, 1 / target.depth, at::zeros_like(alpha));
    const double scale =
        options_.depth_weight * extent_ / std::max<int64_t>(1, known.sum().item<int64_t>());
    const at::Tensor difference = inverse - truth;
    depth_loss_ = difference.abs().sum().item<double>() * scale;
    const at::Tensor d_inverse = at::sign(difference) * scale;
    d_depth = at::where(known, -d_inverse * inverse / renderer_.depth, at::zeros_like(alpha));
    d_transmittance = at::where(known, -d_inverse / renderer_.depth, at::zeros_like(alpha));
    loss_ += depth_loss_;
  }
  renderer_.Backward(model_, view, render_options_, d_image, d_transmittance, d_depth,
                     options_.absolute_gradients);
  const bool gradient_strategy = options_.strategy == "default";
  if (gradient_strategy && step_ < DensifyUntil()) {
    statistics_.Add(renderer_.splats, renderer_.d_splats, view.width_px, view.height_px,
                    options_.absolute_gradients);
  }
  Optimize(view);
  ++step_;
  Refine();
  ATHANOR_CHECK(std::isfinite(loss_), "training: the loss of step ", step_, " (image ",
                posed_.images[index].name, ") is not finite");
}

void Trainer::Optimize(const PinholeView& view) {
  const bool mcmc = options_.strategy == "mcmc";
  GaussianStepArgs args = {};
  args.n = model_.size();
  args.sh_degree = render_options_.sh_degree;
  args.sh_coefficients = model_.sh_coefficients();
  args.parameters = model_.parameters();
  args.moments = model_.moments();
  args.view = view;
  args.options = render_options_.project;
  CameraCenter(view, args.camera_center);
  args.splats = reinterpret_cast<const Splat*>(renderer_.splats.data_ptr<float>());
  args.colors = renderer_.colors.data_ptr<float>();
  args.d_splats = reinterpret_cast<const SplatGradient*>(renderer_.d_splats.data_ptr<float>());
  args.d_colors = renderer_.d_colors.data_ptr<float>();
  const double progress = static_cast<double>(step_) / std::max(1, options_.iterations);
  const double lr_means =
      options_.lr_means * std::pow(options_.lr_means_final / options_.lr_means, progress) * extent_;
  args.lr_means = static_cast<float>(lr_means);
  args.lr_quats = static_cast<float>(options_.lr_quats);
  args.lr_log_scales = static_cast<float>(options_.lr_scales);
  args.lr_opacity_logits = static_cast<float>(options_.lr_opacity);
  args.lr_sh_dc = static_cast<float>(options_.lr_sh_dc);
  args.lr_sh_rest = static_cast<float>(options_.lr_sh_rest);
  args.beta1 = 0.9f, args.beta2 = 0.999f, args.epsilon = 1e-15f;
  args.step = step_ + 1;
  args.visible_only = options_.visible_only && !mcmc;
  if (mcmc) {
    args.opacity_regularizer = static_cast<float>(options_.opacity_regularizer);
    args.scale_regularizer = static_cast<float>(options_.scale_regularizer);
  }
  ATHANOR_RUN_KERNEL(device_, GaussianStep, args);
  if (mcmc) {
    AddPositionNoise(static_cast<float>(lr_means * options_.noise_rate), SeedAt(step_), &model_);
  }
}

void Trainer::Refine() {
  const bool due = step_ > options_.densify_from && step_ < DensifyUntil() &&
                   step_ % std::max(1, options_.densify_every) == 0;
  if (options_.strategy == "mcmc") {
    if (due) {
      const int64_t cap = options_.max_gaussians > 0 ? options_.max_gaussians : 1'000'000;
      RelocateAndGrow(static_cast<float>(options_.prune_opacity), cap, SeedAt(step_), &model_);
    }
    return;
  }
  if (due) {
    renderer_.ReleaseSceneMemory();
    const bool prune_large =
        options_.opacity_reset_every > 0 && step_ > options_.opacity_reset_every;
    DensifyByGradient(options_, extent_, prune_large, SeedAt(step_), statistics_, &model_);
    statistics_.Reset(model_);
  }
  if (options_.opacity_reset_every > 0 && step_ < DensifyUntil() &&
      step_ % options_.opacity_reset_every == 0) {
    ResetOpacity(static_cast<float>(2 * options_.prune_opacity), &model_);
  }
}

nlohmann::json Trainer::Metrics() const {
  nlohmann::json metrics = {
      {"step", step_}, {"loss", loss_}, {"l1", l1_}, {"ssim", ssim_}, {"gaussians", model_.size()}};
  if (options_.depth_weight > 0) metrics["depth_loss"] = depth_loss_;
  return metrics;
}

SafeTensors Trainer::State() const {
  SafeTensors content;
  content.tensors = model_.State();
  content.tensors.emplace_back("statistics.sum", statistics_.sum);
  content.tensors.emplace_back("statistics.count", statistics_.count);
  for (auto& [name, tensor] : exposure_.State()) content.tensors.emplace_back(name, tensor);
  content.metadata["step"] = StrCat(step_);
  content.metadata["sh_degree"] = StrCat(model_.sh_degree());
  return content;
}

void Trainer::Restore(const std::filesystem::path& checkpoint) {
  const SafeTensors content = ReadSafeTensors(checkpoint);
  const std::string where = checkpoint.string();
  try {
    model_.SetState(content.tensors);
    exposure_.SetState(content, where);
  } catch (const Error& error) {
    throw Error(StrCat(where, ": ", error.what()));
  }
  statistics_.sum = content.Get("statistics.sum", where).to(device_);
  statistics_.count = content.Get("statistics.count", where).to(device_);
  ATHANOR_CHECK(
      statistics_.sum.numel() == model_.size() && statistics_.count.numel() == model_.size(), where,
      ": expected statistics of ", model_.size(), " Gaussians");
  const auto step = content.metadata.find("step");
  ATHANOR_CHECK(step != content.metadata.end(), where, ": expected metadata 'step'");
  step_ = std::stoll(step->second);
}

}  // namespace

OptionList Describe(ReconstructOptions& o) {
  OptionList list;
  list.Add("iterations", &o.iterations, "training steps, one image each", {.min = 1});
  list.Add("strategy", &o.strategy,
           "how Gaussians are added and removed: by view-space gradient, or as MCMC up to a cap",
           {.choices = {"default", "mcmc"}});
  list.Add("device", &o.device, "cpu, cuda or cuda:N");
  list.Add("seed", &o.seed, "of everything random");
  list.Add(
      "clip", &o.clip,
      "INPUT is a driving data set (nuScenes, Argoverse 2, ...): its log of this name, or number "
      "from 0");
  list.Add("max-side", &o.max_side_px,
           "longest side of the images in training, pixels; 0 = as photographed", {.min = 0});
  list.Add("test-every", &o.test_every,
           "hold out every n-th image; 0 = none, or as the capture says", {.min = 0});
  list.Add("test-list", &o.test_list,
           "file with the names of the images to hold out, one per line");
  list.Add("cache-mb", &o.cache_mb, "memory for decoded images, MiB", {.min = 1});
  list.Add("masks", &o.use_masks, "ignore what the capture's masks leave out");
  list.Add("background", &o.background, "colour behind the scene", {.choices = {"black", "white"}});
  list.Add("coarse-levels", &o.coarse_levels,
           "begin at 1/2^n of the size and double it step by step", {.min = 0, .max = 5});
  list.Add("coarse-iterations", &o.coarse_iterations, "steps at each of the smaller sizes",
           {.min = 1});
  list.Add("sh-degree", &o.sh_degree, "degree of the spherical harmonics in the end",
           {.min = 0, .max = 3});
  list.Add("sh-interval", &o.sh_interval, "steps until the degree grows by one", {.min = 1});
  list.Add("max-gaussians", &o.max_gaussians,
           "never more than this; 0 = no limit (mcmc: 1,000,000)", {.min = 0});
  list.Add("densify-from", &o.densify_from, "first step that adds and removes Gaussians",
           {.min = 0});
  list.Add("densify-until", &o.densify_until,
           "last such step; 0 = half of the iterations, at most 15000", {.min = 0});
  list.Add("densify-every", &o.densify_every, "steps between", {.min = 1});
  list.Add("densify-gradient", &o.densify_gradient,
           "mean view-space gradient that asks for more Gaussians", {.min = 0});
  list.Add("absgrad", &o.absolute_gradients,
           "sum absolute gradients (AbsGS); wants a densify-gradient of about 8e-4");
  list.Add("densify-scale", &o.densify_scale, "clone below, split above this scale, in scene sizes",
           {.min = 0});
  list.Add("prune-opacity", &o.prune_opacity, "remove Gaussians of less opacity",
           {.min = 0, .max = 0.5});
  list.Add("prune-scale", &o.prune_scale,
           "remove Gaussians of more than this scale, in scene sizes, after the first reset",
           {.min = 0});
  list.Add("opacity-reset-every", &o.opacity_reset_every,
           "steps between resets of the opacity; 0 = never", {.min = 0});
  list.Add("ssim-weight", &o.ssim_weight, "weight of 1 - SSIM; L1 has the rest",
           {.min = 0, .max = 1});
  list.Add("depth-weight", &o.depth_weight,
           "weight of the inverse depth's L1 where the capture has depth; -1 = 0.5 for a clip of a "
           "driving data set, else 0",
           {.min = -1});
  list.Add("exposure", &o.exposure, "learn an affine colour correction per image");
  list.Add("antialias", &o.antialias, "keep the energy of small Gaussians (Mip-Splatting)");
  list.Add("opacity-regularizer", &o.opacity_regularizer, "mcmc: weight of the mean opacity",
           {.min = 0});
  list.Add("scale-regularizer", &o.scale_regularizer, "mcmc: weight of the mean scale", {.min = 0});
  list.Add("noise-rate", &o.noise_rate, "mcmc: noise of the positions, in learning rates",
           {.min = 0});
  list.Add("lr-means", &o.lr_means, "learning rate of positions at the start, in scene sizes",
           {.min = 0});
  list.Add("lr-means-final", &o.lr_means_final, "the same at the end", {.min = 0});
  list.Add("lr-scales", &o.lr_scales, "learning rate of log-scales", {.min = 0});
  list.Add("lr-quats", &o.lr_quats, "learning rate of rotations", {.min = 0});
  list.Add("lr-opacity", &o.lr_opacity, "learning rate of opacity logits", {.min = 0});
  list.Add("lr-sh-dc", &o.lr_sh_dc, "learning rate of the base colour", {.min = 0});
  list.Add("lr-sh-rest", &o.lr_sh_rest, "learning rate of the view-dependent colour", {.min = 0});
  list.Add("visible-only", &o.visible_only,
           "a step leaves Gaussians that its image does not see alone (default strategy)");
  list.Add("checkpoint-every", &o.checkpoint_every,
           "steps between checkpoints; 0 = only at the end", {.min = 0});
  list.Add("metrics-every", &o.metrics_every, "steps between lines of metrics.jsonl", {.min = 1});
  return list;
}

ReconstructResult Reconstruct(const std::filesystem::path& input,
                              const std::filesystem::path& run_folder,
                              const ReconstructOptions& given_options, bool resume,
                              const std::function<bool()>& stop) {
  const auto start = std::chrono::steady_clock::now();
  const TrainingRun run(run_folder);
  ReconstructOptions options = given_options;
  std::filesystem::path source = input;
  if (resume) {
    const RunInfo info = ReadRun(run_folder);
    options = info.options;
    source = info.input;
  } else {
    run.CheckFree();
  }
  PosedImages posed = ReadCapture(source, options, run.path());
  Trainer trainer(posed, run, options);
  posed.points = {};  // they are in the model now, and may be millions
  // Only now is something written: a wrong path or option leaves no folder behind.
  if (!resume) CreateReconstructRun(run, source, options);
  const LogFile log(run.path() / "log.txt");
  if (resume) run.CompareThreads();
  const auto checkpoint = run.NewestCheckpoint();
  if (resume && checkpoint) {
    trainer.Restore(*checkpoint);
    LogInfo(StrCat("resumed from ", checkpoint->string(), " at step ", trainer.step()));
  }
  run.TruncateMetrics(trainer.step());
  LogInfo(StrCat("device ", options.device, ", ", NumThreads(), " threads; ", posed.images.size(),
                 " images, ", trainer.model().size(), " Gaussians"));

  ReconstructResult result;
  TrainingLoop loop;
  loop.title = "training";
  loop.first = trainer.step(), loop.steps = options.iterations;
  loop.checkpoint_every = options.checkpoint_every, loop.metrics_every = options.metrics_every;
  loop.step = [&] { trainer.Step(); };
  loop.note = [&] {
    char text[64];
    std::snprintf(text, sizeof text, "loss %.4f  %ld Gaussians", trainer.loss(),
                  static_cast<long>(trainer.model().size()));
    return std::string(text);
  };
  loop.metrics = [&](int64_t) { return trainer.Metrics().dump(); };
  loop.checkpoint = [&] { return trainer.State(); };
  loop.stop = stop;
  result.interrupted = !run.Train(loop);
  result.step = trainer.step();
  result.gaussians = trainer.model().size();
  if (!result.interrupted) trainer.WriteScene();
  result.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  return result;
}

}  // namespace athanor
