#include "athanor/detection/profusion3d/training_samples.h"

#include <ATen/ops/empty.h>

#include <cmath>
#include <utility>

#include "athanor/base/error.h"
#include "athanor/base/random.h"

namespace athanor {

bool IsOfShare(int64_t index, double share) {
  const auto count = [share](int64_t n) { return std::floor(static_cast<double>(n) * share); };
  return count(index + 1) > count(index);
}

TrainingSamples::TrainingSamples(std::vector<std::shared_ptr<const Log>> logs,
                                 std::shared_ptr<const ObjectBank> bank,
                                 const TrainingSampleOptions& options)
    : logs_(std::move(logs)), bank_(std::move(bank)), options_(options) {
  std::vector<uint32_t> classes;
  int64_t seen = 0;
  for (size_t i = 0; i < logs_.size(); ++i) {
    for (size_t f = 0; f < logs_[i]->frames.size(); ++f) {
      if (!IsOfShare(seen++, options_.share)) continue;
      DetectionSample truth;
      FrameBoxes boxes = BoxesOfFrame(*logs_[i], static_cast<int>(f), options_.frame);
      truth.points = at::empty({0, kPointColumns}, at::kFloat);
      truth.boxes = std::move(boxes.boxes);
      truth.labels = std::move(boxes.labels);
      truth.attributes = std::move(boxes.attributes);
      CutToRange(options_.frame, &truth);
      uint32_t shown = 0;
      for (int64_t b = 0; b < truth.labels.size(0); ++b) {
        shown |= uint32_t{1} << truth.labels.data_ptr<int64_t>()[b];
      }
      frames_.push_back({static_cast<int>(i), static_cast<int>(f)});
      classes.push_back(shown);
    }
  }
  sampler_ = std::make_unique<Sampler>(std::move(classes), options_.sampler);
}

TrainingSamples::Frame TrainingSamples::FrameAt(int64_t step) const {
  const int64_t epoch = step / epoch_size(), index = step % epoch_size();
  const std::lock_guard lock(mutex_);
  for (const auto& [of_epoch, order] : orders_) {
    if (of_epoch == epoch) return frames_[(*order)[index]];
  }
  if (orders_.size() >= 2) orders_.erase(orders_.begin());
  orders_.emplace_back(epoch, std::make_shared<const std::vector<int32_t>>(sampler_->Epoch(epoch)));
  return frames_[(*orders_.back().second)[index]];
}

DetectionSample TrainingSamples::Make(int64_t step) const {
  ATHANOR_CHECK(step >= 0, "training sample: expected a step of 0 or more, found ", step);
  const Frame at = FrameAt(step);
  const Log& log = *logs_[at.log];
  try {
    Random random(MixBits(options_.sampler.seed ^ MixBits(static_cast<uint64_t>(step))));
    const Augmentation drawn =
        DrawAugmentation(log, options_.frame, options_.augmentation, &random);
    FrameSampleOptions frame = options_.frame;
    frame.with_pictures &= !drawn.drops_pictures;
    DetectionSample sample = ReadFrameSample(log, at.frame, frame, drawn.Windows());
    if (bank_ != nullptr && step < options_.paste_steps) {
      PasteObjects(*bank_, options_.paste, &random, &sample);
    }
    TransformWorld(drawn, &sample);
    CutToRange(options_.frame, &sample);
    ChangeColors(drawn, &sample);
    DropSensors(drawn, &sample);
    return sample;
  } catch (const Error& error) {
    throw Error(StrCat("training sample ", step, ", frame ", at.frame, " of log ", log.name, ": ",
                       error.what()));
  }
}

}  // namespace athanor
