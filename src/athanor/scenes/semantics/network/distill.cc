#include "athanor/scenes/semantics/network/distill.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <nlohmann/json.hpp>
#include <numeric>

#include "athanor/base/error.h"
#include "athanor/base/files.h"
#include "athanor/base/log.h"
#include "athanor/base/parallel.h"
#include "athanor/base/progress.h"
#include "athanor/nn/adamw.h"
#include "athanor/nn/mink_unet.h"
#include "athanor/nn/training_run.h"
#include "athanor/scenes/semantics/network/augment.h"
#include "athanor/scenes/semantics/network/network_inputs.h"

namespace athanor {
namespace {

namespace fs = std::filesystem;

constexpr const char* kNetworkFile = "network.safetensors";
constexpr const char* kMeanTensor = "feature_mean";

ConvPrecision PrecisionFromName(const std::string& name) {
  ATHANOR_CHECK(name == "float32" || name == "bfloat16",
                "precision: expected float32 or bfloat16, found '", name, "'");
  return name == "float32" ? ConvPrecision::kFloat32 : ConvPrecision::kBfloat16;
}

// What features mean: the same for all scenes of a run.
struct FeatureSpace {
  int dimension = 0;
  std::string text_space, teacher_key;
  std::vector<std::string> labels, classes;
  bool operator==(const FeatureSpace&) const = default;
};

FeatureSpace SpaceOf(const SemanticField& field) {
  return {field.dimension(), field.text_space, field.teacher_key, field.labels, field.classes};
}

struct LoadedScene {
  GaussianCloud cloud;
  SemanticField field;
};

LoadedScene Load(const DistillScene& scene) {
  LoadedScene loaded;
  loaded.cloud = ReadGaussians(scene.scene_file);
  loaded.field = ReadSemanticField(scene.field_file);
  loaded.field.CheckScene(scene.scene_file, loaded.cloud.size(), scene.field_file.string());
  return loaded;
}

at::Tensor Unit(const at::Tensor& rows) { return rows / rows.norm(2, 1, true).clamp_min(1e-12); }

// Features of one teacher share a large mean: between any two, the embedded teacher's have a cosine
// of 0.9. The network learns what is left without it.
struct FeatureMean {
  at::Tensor mean;    // [D] of unit features
  double spread = 0;  // root mean square distance from it

  // Unit vectors from what the network says, of any length.
  at::Tensor Features(const at::Tensor& answer) const { return Unit(mean + spread * Unit(answer)); }
};

// Reads every scene once, so that what is wrong is said before hours have passed.
std::pair<FeatureSpace, FeatureMean> CheckScenes(const std::vector<DistillScene>& scenes,
                                                 double voxel_size) {
  ATHANOR_CHECK(!scenes.empty(), "distillation: expected at least one scene, found none");
  FeatureSpace space;
  at::Tensor sum;
  int64_t count = 0;
  for (size_t i = 0; i < scenes.size(); ++i) {
    const LoadedScene loaded = Load(scenes[i]);
    const FeatureSpace found = SpaceOf(loaded.field);
    if (i == 0) space = found;
    ATHANOR_CHECK(found == space, scenes[i].field_file.string(),
                  ": expected features like those of ", scenes[0].field_file.string(), " (",
                  space.dimension, " numbers, text space '", space.text_space, "', teacher '",
                  space.teacher_key, "'), found ", found.dimension, ", '", found.text_space, "', '",
                  found.teacher_key, "'");
    ATHANOR_CHECK(loaded.field.num_seen() > 0, scenes[i].field_file.string(),
                  ": no Gaussian was seen by any view");
    const std::vector<int64_t> within =
        RowsWithinReach(loaded.cloud.means.data(), loaded.cloud.size(), voxel_size);
    const at::Tensor of_within = loaded.field.seen.index_select(0, at::tensor(within, at::kLong));
    ATHANOR_CHECK(of_within.any().item<bool>(), scenes[i].scene_file.string(),
                  ": expected Gaussians that some view saw within ", VoxelReach(voxel_size),
                  " of the origin, as far as voxels of ", voxel_size,
                  " reach, found none; larger voxels reach farther (--voxel)");
    if (const int64_t strays = loaded.cloud.size() - std::ssize(within); strays > 0) {
      LogInfo(StrCat(scenes[i].scene_file.string(), ": ", strays, " Gaussians lie more than ",
                     VoxelReach(voxel_size), " from the origin and are left out"));
    }
    const at::Tensor seen = loaded.field.seen.nonzero().view({-1});
    const at::Tensor part = Unit(loaded.field.features.Decode(seen)).sum(0, false, at::kDouble);
    sum = i == 0 ? part : sum + part;
    count += seen.size(0);
  }
  const at::Tensor mean = sum / static_cast<double>(count);
  // Of unit vectors x: E|x - m|^2 = 1 - |m|^2.
  const double spread = std::sqrt(std::max(0.0, 1 - mean.square().sum().item<double>()));
  return {space, {mean.to(at::kFloat), spread}};
}

class Trainer {
 public:
  Trainer(std::vector<DistillScene> scenes, const FeatureSpace& space, const FeatureMean& mean,
          const DistillOptions& options)
      : scenes_(std::move(scenes)),
        mean_(mean),
        options_(options),
        input_(NetworkInputFromName(options.input)),
        precision_(PrecisionFromName(options.precision)),
        network_(NamedMinkUNet(options.network, NumInputChannels(input_), space.dimension),
                 static_cast<uint64_t>(options.seed)),
        parameters_(Trained(network_)),
        optimizer_(&parameters_,
                   {.beta2 = 0.999, .weight_decay = options.weight_decay, .clip_norm = 0}) {}

  int64_t step() const { return step_; }
  int64_t steps() const { return int64_t{options_.epochs} * std::ssize(scenes_); }
  double loss() const { return loss_; }
  double rate() const { return WarmupStableDecay(step_, steps(), 0, 1, options_.lr); }
  double epoch_loss() const { return count_ > 0 ? sum_ / static_cast<double>(count_) : 0; }
  const MinkUNet& network() const { return network_; }

  void Step();
  SafeTensors State() const;
  void Restore(const fs::path& checkpoint);

 private:
  static Parameters Trained(const MinkUNet& network) {
    Parameters parameters;
    for (const auto& [name, tensor] : network.Parameters()) parameters.Add(name, tensor);
    return parameters;
  }
  // Everything random about a step comes from here: what a run does next depends on the number of
  // the step alone.
  Random RandomAt(int64_t number) const {
    return Random(MixBits(static_cast<uint64_t>(options_.seed)) ^ static_cast<uint64_t>(number));
  }
  const LoadedScene& SceneAt(int64_t step);

  std::vector<DistillScene> scenes_;
  FeatureMean mean_;
  DistillOptions options_;
  NetworkInput input_;
  ConvPrecision precision_;
  MinkUNet network_;
  Parameters parameters_;
  AdamW optimizer_;
  LoadedScene loaded_;
  int loaded_index_ = -1;
  int64_t step_ = 0;
  double loss_ = 0;
  double sum_ = 0;  // of the losses of this epoch
  int64_t count_ = 0;
};

// Every epoch takes the scenes in an order of its own.
const LoadedScene& Trainer::SceneAt(int64_t step) {
  const auto n = static_cast<int64_t>(scenes_.size());
  std::vector<int> order(n);
  std::iota(order.begin(), order.end(), 0);
  Random random = RandomAt(-1 - step / n);
  for (auto i = static_cast<uint32_t>(n); i > 1; --i) {
    std::swap(order[i - 1], order[random.Below(i)]);
  }
  const int index = order[step % n];
  if (index != loaded_index_) loaded_ = Load(scenes_[index]);
  loaded_index_ = index;
  return loaded_;
}

void Trainer::Step() {
  const LoadedScene& scene = SceneAt(step_);
  if (step_ % std::ssize(scenes_) == 0) sum_ = 0, count_ = 0;
  Random random = RandomAt(step_);
  const int64_t n = scene.cloud.size(), wanted = std::min(n, options_.subset);
  // A sample without repetition, in the scene's order: each Gaussian in turn, with the odds that
  // fill what is left to choose.
  std::vector<int64_t> rows;
  for (int64_t i = 0; i < n && std::ssize(rows) < wanted; ++i) {
    if (random.Below(static_cast<uint32_t>(n - i)) < static_cast<uint32_t>(wanted) - rows.size()) {
      rows.push_back(i);
    }
  }
  GaussianCloud cloud = SelectGaussians(scene.cloud, rows);
  AugmentCloud({options_.rotate, options_.mirror, options_.resize, options_.elastic}, &random,
               &cloud);
  int shift[3];
  for (int& s : shift) {
    s = static_cast<int>(random.Below(static_cast<uint32_t>(options_.translate_voxels) + 1));
  }
  const NetworkSample sample = MakeNetworkSample(cloud, input_, options_.voxel_size, shift);

  std::vector<int64_t> seen_rows, places;  // in the scene, and in the sample
  const auto* seen = scene.field.seen.data_ptr<uint8_t>();
  const auto* voxel_of = sample.voxel_of_gaussian.data_ptr<int64_t>();
  for (size_t i = 0; i < rows.size(); ++i) {
    if (seen[rows[i]] == 0 || voxel_of[i] < 0) continue;
    seen_rows.push_back(rows[i]);
    places.push_back(static_cast<int64_t>(i));
  }
  const double rate = this->rate();
  loss_ = 0;
  if (!places.empty()) {
    const at::Tensor target = scene.field.features.Decode(at::tensor(seen_rows, at::kLong));
    const at::Tensor voxels =
        sample.voxel_of_gaussian.index_select(0, at::tensor(places, at::kLong));
    const at::Tensor answer = network_.Forward(sample.voxels, /*training=*/true, precision_);
    // 1 - cosine, the mean over the Gaussians that some view saw. All of a voxel share its answer,
    // so that their targets are added up first.
    const at::Tensor target_sum = at::zeros_like(answer, at::TensorOptions().requires_grad(false))
                                      .index_add(0, voxels, Unit(Unit(target) - mean_.mean));
    const at::Tensor loss =
        1 - (Unit(answer) * target_sum).sum() / static_cast<double>(places.size());
    loss.backward();
    loss_ = loss.item<double>();
    ATHANOR_CHECK(std::isfinite(loss_), "distillation: the loss of step ", step_, " (",
                  scenes_[loaded_index_].scene_file.string(), ") is not finite");
    optimizer_.Step(rate);
    sum_ += loss_, ++count_;
  }
  ++step_;
}

SafeTensors Trainer::State() const {
  SafeTensors content = network_.ToSafeTensors();
  optimizer_.Save("", &content);
  content.tensors.emplace_back("epoch.sum", at::full({1}, sum_, at::kDouble));
  content.tensors.emplace_back("epoch.count", at::full({1}, count_, at::kLong));
  content.metadata["step"] = StrCat(step_);
  return content;
}

void Trainer::Restore(const fs::path& checkpoint) {
  const std::string where = checkpoint.string();
  const SafeTensors content = ReadSafeTensors(checkpoint);
  network_.SetState(content, where);
  optimizer_.Load("", content, where);
  sum_ = content.Get("epoch.sum", where).item<double>();
  count_ = content.Get("epoch.count", where).item<int64_t>();
  const auto step = content.metadata.find("step");
  ATHANOR_CHECK(step != content.metadata.end(), where, ": expected metadata 'step', found none");
  step_ = std::stoll(step->second);
}

void CreateRun(const TrainingRun& folder, const std::vector<DistillScene>& scenes,
               const DistillOptions& options) {
  nlohmann::ordered_json run = {{"kind", "semantic distill"}, {"threads", NumThreads()}};
  run["scenes"] = nlohmann::ordered_json::array();
  for (const DistillScene& scene : scenes) {
    run["scenes"].push_back({{"scene", fs::absolute(scene.scene_file).string()},
                             {"features", fs::absolute(scene.field_file).string()}});
  }
  DistillOptions copy = options;
  folder.Create(Describe(copy).ToToml(), run.dump(2) + "\n");
}

std::vector<DistillScene> ReadRunScenes(const fs::path& folder) {
  const fs::path path = folder / "run.json";
  ATHANOR_CHECK(fs::exists(path), folder.string(),
                ": expected a run folder with run.json, found none");
  const auto run = nlohmann::json::parse(ReadFile(path), nullptr, /*allow_exceptions=*/false);
  ATHANOR_CHECK(run.is_object() && run.value("kind", "") == "semantic distill" &&
                    run.contains("scenes") && run["scenes"].is_array(),
                path.string(), ": expected the run of a distillation with 'scenes'");
  std::vector<DistillScene> scenes;
  for (const auto& scene : run["scenes"]) {
    ATHANOR_CHECK(scene.is_object() && scene.contains("scene") && scene["scene"].is_string() &&
                      scene.contains("features") && scene["features"].is_string(),
                  path.string(), ": scene ", scenes.size(), ": expected 'scene' and 'features'");
    scenes.push_back({scene["scene"].get<std::string>(), scene["features"].get<std::string>()});
  }
  return scenes;
}

}  // namespace

OptionList Describe(DistillOptions& o) {
  OptionList list;
  list.Add("network", &o.network, "size of the sparse U-Net", {.choices = {"14A", "18A", "34A"}});
  list.Add("input", &o.input,
           "what it sees: all of a Gaussian (56 numbers), or position and base colour (6)",
           {.choices = {"gaussian", "color"}});
  list.Add("voxel", &o.voxel_size, "side of a voxel, scene units (metres)",
           {.min = 1e-6, .max = 1e6});
  list.Add("epochs", &o.epochs, "times that every scene is seen", {.min = 1});
  list.Add("subset", &o.subset, "Gaussians of a step, drawn at random", {.min = 1, .max = 1e8});
  list.Add("lr", &o.lr, "learning rate of AdamW at the start; a cosine takes it to 0", {.min = 0});
  list.Add("weight-decay", &o.weight_decay, "of AdamW", {.min = 0});
  list.Add("translate", &o.translate_voxels, "move a scene by 0 to this many voxels",
           {.min = 0, .max = 10000});
  list.Add("rotate", &o.rotate, "turn it: any angle about z (up), a little about x and y");
  list.Add("mirror", &o.mirror, "mirror it in x and y, each half of the time");
  list.Add("resize", &o.resize, "scale it by 0.9 to 1.1");
  list.Add("elastic", &o.elastic, "bend it smoothly");
  list.Add("precision", &o.precision, "of the convolutions", {.choices = {"float32", "bfloat16"}});
  list.Add("seed", &o.seed, "of everything random");
  list.Add("checkpoint-every", &o.checkpoint_every,
           "steps between checkpoints; 0 = only at the end", {.min = 0});
  list.Add("metrics-every", &o.metrics_every, "steps between lines of metrics.jsonl", {.min = 1});
  return list;
}

DistillResult Distill(const std::vector<DistillScene>& given_scenes, const fs::path& run_folder,
                      const DistillOptions& given_options, bool resume,
                      const std::function<bool()>& stop) {
  const auto start = std::chrono::steady_clock::now();
  const TrainingRun run(run_folder);
  DistillOptions options = given_options;
  std::vector<DistillScene> scenes = given_scenes;
  if (resume) {
    scenes = ReadRunScenes(run_folder);
    Describe(options).ReadToml(run_folder / "config.toml");
  } else {
    run.CheckFree();
  }
  const auto [space, mean] = CheckScenes(scenes, options.voxel_size);
  Trainer trainer(scenes, space, mean, options);
  // Only now is something written: a wrong path or option leaves no folder behind.
  if (!resume) CreateRun(run, scenes, options);
  const LogFile log(run_folder / "log.txt");
  if (resume) run.CompareThreads();
  const auto checkpoint = run.NewestCheckpoint();
  if (resume && checkpoint) {
    trainer.Restore(*checkpoint);
    LogInfo(StrCat("resumed from ", checkpoint->string(), " at step ", trainer.step()));
  }
  run.TruncateMetrics(trainer.step());
  LogInfo(StrCat(scenes.size(), " scenes, ", space.dimension, " numbers per feature, ",
                 NumThreads(), " threads"));

  DistillResult result;
  TrainingLoop loop;
  loop.title = "distilling";
  loop.first = trainer.step(), loop.steps = trainer.steps();
  loop.checkpoint_every = options.checkpoint_every, loop.metrics_every = options.metrics_every;
  double rate = 0;
  loop.step = [&] {
    rate = trainer.rate();
    trainer.Step();
  };
  loop.note = [&] {
    char text[32];
    std::snprintf(text, sizeof text, "loss %.4f", trainer.epoch_loss());
    return std::string(text);
  };
  loop.metrics = [&](int64_t step) {
    return nlohmann::json({{"step", step}, {"loss", trainer.loss()}, {"lr", rate}}).dump();
  };
  loop.checkpoint = [&] { return trainer.State(); };
  loop.stop = stop;
  result.interrupted = !run.Train(loop);
  result.step = trainer.step();
  result.loss = trainer.epoch_loss();
  if (!result.interrupted) {
    SafeTensors network = trainer.network().ToSafeTensors();
    network.tensors.emplace_back(kMeanTensor, mean.mean);
    network.metadata["spread"] = StrCat(mean.spread);
    network.metadata["input"] = options.input;
    network.metadata["voxel_size"] = StrCat(options.voxel_size);
    network.metadata["text_space"] = space.text_space;
    network.metadata["teacher_key"] = space.teacher_key;
    network.metadata["labels"] = nlohmann::json(space.labels).dump();
    network.metadata["classes"] = nlohmann::json(space.classes).dump();
    WriteSafeTensors(run_folder / kNetworkFile, network);
  }
  result.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  return result;
}

SemanticField PredictField(const fs::path& scene_file, const fs::path& run_or_network,
                           const std::string& precision) {
  fs::path file = run_or_network;
  if (fs::is_directory(file)) {
    file /= kNetworkFile;
    ATHANOR_CHECK(fs::exists(file), run_or_network.string(),
                  ": expected a finished distillation with ", kNetworkFile,
                  ", found none; go on with --resume");
  }
  const std::string where = file.string();
  const SafeTensors content = ReadSafeTensors(file);
  const MinkUNet network = MinkUNet::FromSafeTensors(content, where);
  const auto metadata = [&](const std::string& key) {
    const auto found = content.metadata.find(key);
    ATHANOR_CHECK(found != content.metadata.end(), where, ": expected metadata '", key,
                  "', found none");
    return found->second;
  };
  const NetworkInput input = NetworkInputFromName(metadata("input"));
  ATHANOR_CHECK(network.options().in_channels == NumInputChannels(input), where, ": expected ",
                NumInputChannels(input), " input channels for input '", metadata("input"),
                "', found ", network.options().in_channels);
  const double voxel_size = std::strtod(metadata("voxel_size").c_str(), nullptr);
  const FeatureMean mean = {content.Get(kMeanTensor, where),
                            std::strtod(metadata("spread").c_str(), nullptr)};
  ATHANOR_CHECK(mean.mean.sizes() == c10::IntArrayRef({network.options().out_channels}), where,
                ": tensor '", kMeanTensor, "': expected ", network.options().out_channels,
                " numbers, found ", mean.mean.sizes());

  const GaussianCloud cloud = ReadGaussians(scene_file);
  constexpr int kNoShift[3] = {};
  const NetworkSample sample = MakeNetworkSample(cloud, input, voxel_size, kNoShift);
  ATHANOR_CHECK(sample.voxels.grid->size() > 0, scene_file.string(), ": expected Gaussians within ",
                VoxelReach(voxel_size), " of the origin, as far as voxels of ", voxel_size,
                " reach, found none");
  const at::Tensor answer =
      MinkUNetPredictor(network, PrecisionFromName(precision)).Predict(sample.voxels);
  SemanticField field;
  // Strays are in no voxel: the network has not seen them.
  const at::Tensor within = sample.voxel_of_gaussian >= 0;
  field.features =
      FeatureTable::FromRows(mean.Features(answer)
                                 .to(at::kHalf)
                                 .index_select(0, sample.voxel_of_gaussian.clamp_min(0))
                                 .masked_fill(within.logical_not().unsqueeze(1), 0));
  field.seen = within.to(at::kByte);
  field.agreement = within.to(at::kFloat);
  field.max_weight = within.to(at::kFloat);
  field.text_space = metadata("text_space");
  field.teacher_key = metadata("teacher_key");
  for (const auto& [key, list] :
       {std::pair("labels", &field.labels), std::pair("classes", &field.classes)}) {
    const auto json = nlohmann::json::parse(metadata(key), nullptr, /*allow_exceptions=*/false);
    ATHANOR_CHECK(json.is_array(), where, ": metadata '", key, "': expected a list of names");
    for (const auto& name : json) {
      ATHANOR_CHECK(name.is_string(), where, ": metadata '", key, "': expected a list of names");
      list->push_back(name.get<std::string>());
    }
  }
  field.lift_mode = "network";
  field.scene_hash = SceneFileHash(scene_file);
  return field;
}

}  // namespace athanor
