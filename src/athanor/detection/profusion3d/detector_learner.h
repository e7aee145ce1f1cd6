// A detector that learns step by step: samples in, gradients, AdamW, averages of the weights. Runs
// of it, with folders and scores, are detector_trainer.h.
#pragma once

#include <ATen/core/Tensor.h>

#include <array>
#include <cstdint>
#include <exception>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "athanor/detection/profusion3d/detect_train_options.h"
#include "athanor/detection/profusion3d/detector.h"
#include "athanor/detection/profusion3d/loader.h"
#include "athanor/detection/profusion3d/training_samples.h"
#include "athanor/nn/adamw.h"
#include "athanor/nn/hidden_units.h"
#include "athanor/nn/process_group.h"

namespace athanor {

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

class DetectorLearner {
 public:
  // `group` may be null, else it must outlive this; each of its processes learns from its part of a
  // batch. Throws Error for a batch that cannot be shared evenly.
  DetectorLearner(const DetectTrainOptions& options, std::shared_ptr<const TrainingSamples> samples,
                  ProcessGroup* group = nullptr);

  int64_t step() const { return step_; }
  const Detector& detector() const { return detector_; }

  // Takes the tensors that the network has, too. Throws Error when there is none.
  void StartFrom(const std::filesystem::path& weights);
  // Throws TrainingDiverged; Error for a sample that cannot be read, in all processes of the group.
  StepReport Step();
  // The rate stays what the options say.
  void KeepRate() { keeps_rate_ = true; }
  // From here on samples come in the order of their seed, from its first; `step` steps are behind.
  void BeginSamples(int64_t step) {
    step_ = first_of_samples_ = step;
    loader_.reset();
  }
  // DetectStep (detector_trainer.h).
  void ShrinkAndPerturb(double shrink, double perturb, uint64_t seed);
  void RenewUnits(double share, uint64_t seed);
  // hidden_units.h
  double DormantShare() const { return athanor::DormantShare(detector_.parameters(), adam_); }
  // Parameters, running means, moments, averages, the number of steps.
  SafeTensors Checkpoint() const;
  void Restore(const std::filesystem::path& checkpoint) {
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

}  // namespace athanor
