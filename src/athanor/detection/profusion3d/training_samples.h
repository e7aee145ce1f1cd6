// All steps of a training run: which frame comes at which step, and its sample with everything
// random about it.
#pragma once

#include <cstdint>
#include <limits>
#include <memory>
#include <mutex>
#include <utility>
#include <vector>

#include "athanor/datasets/log.h"
#include "athanor/detection/profusion3d/augmentation.h"
#include "athanor/detection/profusion3d/frame_sample.h"
#include "athanor/detection/profusion3d/object_paste.h"
#include "athanor/detection/profusion3d/sampler.h"

namespace athanor {

struct TrainingSampleOptions {
  FrameSampleOptions frame;
  SamplerOptions sampler;  // its seed is that of everything random
  AugmentationOptions augmentation;
  PasteOptions paste;
  // Objects are pasted in steps below this one: the last are to be as the world is.
  int64_t paste_steps = std::numeric_limits<int64_t>::max();
  // Of the frames, evenly spread over the logs: what is learned from a part of the labels.
  double share = 1;
};

// Whether the frame of this index, counted over all logs, is one of the share 0..1 of them.
bool IsOfShare(int64_t index, double share);

// Thread-safe.
class TrainingSamples {
 public:
  // `bank` may be null. Throws Error when no frame has an object in range, or none at all.
  TrainingSamples(std::vector<std::shared_ptr<const Log>> logs,
                  std::shared_ptr<const ObjectBank> bank, const TrainingSampleOptions& options);

  int64_t num_frames() const { return static_cast<int64_t>(frames_.size()); }
  // Steps in an epoch.
  int64_t epoch_size() const { return sampler_->epoch_size(); }
  // The sample of a step, from 0 on without end: read, pasted into, augmented, cut to the range,
  // sensors dropped. It depends on the seed and the step alone. Throws Error, naming the frame.
  DetectionSample Make(int64_t step) const;

 private:
  struct Frame {
    int log;
    int frame;
  };
  Frame FrameAt(int64_t step) const;

  std::vector<std::shared_ptr<const Log>> logs_;
  std::shared_ptr<const ObjectBank> bank_;
  TrainingSampleOptions options_;
  std::vector<Frame> frames_;
  std::unique_ptr<Sampler> sampler_;
  // Orders of the last epochs asked for: workers meet at the border of two.
  mutable std::mutex mutex_;
  mutable std::vector<std::pair<int64_t, std::shared_ptr<const std::vector<int32_t>>>> orders_;
};

}  // namespace athanor
