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
  // The last so many of the logs are older ones: of the steps this share, evenly spread, replays
  // them, the others are of the rest.
  int older_logs = 0;
  double replay = 0.5;
};

// Whether the frame of this index, counted over all logs, is one of the share 0..1 of them.
bool IsOfShare(int64_t index, double share);

// Thread-safe.
class TrainingSamples {
 public:
  // `bank` may be null. Throws Error when no frame has an object in range, or none at all.
  TrainingSamples(std::vector<std::shared_ptr<const Log>> logs,
                  std::shared_ptr<const ObjectBank> bank, const TrainingSampleOptions& options);

  int64_t num_frames() const { return num_frames_; }
  // Steps in an epoch, of logs that are not older.
  int64_t epoch_size() const { return newer_->sampler.epoch_size(); }
  // The sample of a step, from 0 on without end: read, pasted into, augmented, cut to the range,
  // sensors dropped. It depends on the seed and the step alone. Throws Error, naming the frame.
  DetectionSample Make(int64_t step) const;

 private:
  struct Frame {
    int log;
    int frame;
  };
  struct Part {
    std::vector<Frame> frames;
    Sampler sampler;
    // Orders of the last epochs asked for: workers meet at the border of two.
    std::vector<std::pair<int64_t, std::vector<int32_t>>> orders;

    Frame At(int64_t index);
  };
  std::unique_ptr<Part> PartOf(size_t first_log, size_t end_log, int64_t* seen) const;
  Frame FrameAt(int64_t step) const;

  std::vector<std::shared_ptr<const Log>> logs_;
  std::shared_ptr<const ObjectBank> bank_;
  TrainingSampleOptions options_;
  int64_t num_frames_ = 0;
  std::unique_ptr<Part> newer_, older_;  // older_: null when there are none, or none is replayed
  mutable std::mutex mutex_;             // of their orders
};

}  // namespace athanor
