#include "athanor/detection/profusion3d/detector_learner.h"

#include <ATen/ATen.h>
#include <ATen/CPUGeneratorImpl.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <map>
#include <utility>

#include "athanor/base/error.h"
#include "athanor/base/log.h"
#include "athanor/base/random.h"
#include "athanor/detection/profusion3d/detection_loss.h"
#include "athanor/ops/device.h"

namespace athanor {
namespace {

using Clock = std::chrono::steady_clock;
double SecondsSince(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

}  // namespace

DetectorLearner::DetectorLearner(const DetectTrainOptions& options,
                                 std::shared_ptr<const TrainingSamples> samples,
                                 ProcessGroup* group)
    : options_(options),
      samples_(std::move(samples)),
      group_(group),
      detector_(options.model, static_cast<uint64_t>(options.seed), ParseDevice(options.device)),
      adam_(&detector_.parameters(),
            {.beta2 = 0.99, .weight_decay = options.weight_decay, .clip_norm = options.clip_norm}) {
  ATHANOR_CHECK(group == nullptr || options.batch % group->size() == 0,
                "training: expected a batch that ", group->size(),
                " processes can share evenly, found --batch ", options.batch);
  StartAverages();
}

void DetectorLearner::ShrinkAndPerturb(double shrink, double perturb, uint64_t seed) {
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

void DetectorLearner::RenewUnits(double share, uint64_t seed) {
  const at::NoGradGuard no_gradient;
  const Detector fresh(options_.model, seed, detector_.device());
  const auto& trained = detector_.parameters().trained();
  std::vector<at::Tensor> before;
  for (const auto& [name, tensor] : trained) before.push_back(tensor.detach().clone());
  RenewLeastUsed(share, fresh.parameters(), &detector_.parameters(), &adam_);
  for (size_t i = 0; i < averages_.size(); ++i) {
    const at::Tensor now = trained[i].second.detach();
    averages_[i] = at::where(now.ne(before[i]), now, averages_[i]);
  }
}

void DetectorLearner::StartFrom(const std::filesystem::path& weights) {
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

void DetectorLearner::Average() {
  const at::NoGradGuard no_gradient;
  // Early weights are soon forgotten.
  const double kept = std::min(
      options_.average, (1.0 + static_cast<double>(step_)) / (10.0 + static_cast<double>(step_)));
  for (size_t i = 0; i < averages_.size(); ++i) {
    averages_[i].lerp_(detector_.parameters().trained()[i].second.detach(), 1 - kept);
  }
}

void DetectorLearner::Learn(const DetectionSample& sample, int64_t index, StepReport* report) {
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

void DetectorLearner::LearnBatch(StepReport* report) {
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
void DetectorLearner::AddUpOverGroup(const std::exception_ptr& failure, StepReport* report) {
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

StepReport DetectorLearner::Step() {
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

SafeTensors DetectorLearner::Checkpoint() const {
  SafeTensors file = detector_.ToSafeTensors();
  adam_.Save("", &file);
  for (size_t i = 0; i < averages_.size(); ++i) {
    file.tensors.emplace_back("average." + detector_.parameters().trained()[i].first,
                              averages_[i].cpu());
  }
  file.metadata["step"] = StrCat(step_);
  return file;
}

void DetectorLearner::ShareState() {
  SafeTensors state = Checkpoint();
  for (auto& [name, tensor] : state.tensors) {
    tensor = tensor.contiguous().clone();
    group_->Share(tensor);
  }
  state.metadata["step"] = group_->Tell(state.metadata["step"]);
  first_of_samples_ = std::stoll(group_->Tell(StrCat(first_of_samples_)));
  if (group_->rank() > 0) Restore(state, "the leader's state");
}

void DetectorLearner::Restore(const SafeTensors& file, const std::string& where) {
  detector_.parameters().Load("", file, where);
  adam_.Load("", file, where);
  for (size_t i = 0; i < averages_.size(); ++i) {
    averages_[i].copy_(file.Get("average." + detector_.parameters().trained()[i].first, where));
  }
  const auto step = file.metadata.find("step");
  ATHANOR_CHECK(step != file.metadata.end(), where, ": expected metadata 'step', found none");
  step_ = std::stoll(step->second);
}

SafeTensors DetectorLearner::Export() const {
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

}  // namespace athanor
