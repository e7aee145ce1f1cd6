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
  ATHANOR_CHECK(options.older_logs >= 0 && std::cmp_less_equal(options.older_logs, logs_.size()),
                "training: expected at most ", logs_.size(), " older logs, found ",
                options.older_logs);
  const size_t newer = logs_.size() - static_cast<size_t>(options.older_logs);
  int64_t seen = 0;
  newer_ = PartOf(0, newer, &seen);
  if (options.older_logs > 0 && options.replay > 0) older_ = PartOf(newer, logs_.size(), &seen);
  num_frames_ = std::ssize(newer_->frames) + (older_ ? std::ssize(older_->frames) : 0);
}

std::unique_ptr<TrainingSamples::Part> TrainingSamples::PartOf(size_t first_log, size_t end_log,
                                                               int64_t* seen) const {
  std::vector<Frame> frames;
  std::vector<uint32_t> classes;
  for (size_t i = first_log; i < end_log; ++i) {
    for (size_t f = 0; f < logs_[i]->frames.size(); ++f) {
      if (!IsOfShare((*seen)++, options_.share)) continue;
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
      frames.push_back({static_cast<int>(i), static_cast<int>(f)});
      classes.push_back(shown);
    }
  }
  return std::make_unique<Part>(
      Part{std::move(frames), Sampler(std::move(classes), options_.sampler), {}});
}

TrainingSamples::Frame TrainingSamples::Part::At(int64_t index) {
  const int64_t epoch = index / sampler.epoch_size(), place = index % sampler.epoch_size();
  for (const auto& [of_epoch, order] : orders) {
    if (of_epoch == epoch) return frames[order[place]];
  }
  if (orders.size() >= 2) orders.erase(orders.begin());
  orders.emplace_back(epoch, sampler.Epoch(epoch));
  return frames[orders.back().second[place]];
}

TrainingSamples::Frame TrainingSamples::FrameAt(int64_t step) const {
  const std::lock_guard lock(mutex_);
  if (!older_) return newer_->At(step);
  const auto replayed =
      static_cast<int64_t>(std::floor(static_cast<double>(step) * options_.replay));
  return IsOfShare(step, options_.replay) ? older_->At(replayed) : newer_->At(step - replayed);
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
