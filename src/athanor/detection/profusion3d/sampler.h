// The order in which frames are learned from: shuffled anew in each epoch, and balanced by class.
#pragma once

#include <cstdint>
#include <vector>

namespace athanor {

struct SamplerOptions {
  uint64_t seed = 0;
  // Zhu et al., "Class-balanced Grouping and Sampling for Point Cloud 3D Object Detection", 2019:
  // each class gets the same number of draws among the frames that show it; frames that show none
  // are left out. Otherwise every frame comes once in each epoch.
  bool is_balanced = true;
};

// An endless sequence of frames that is known at every step: nothing needs to be saved to resume.
// Const use is thread-safe.
class Sampler {
 public:
  // `classes`: for each frame, bit k is set when it shows class k. Throws Error when there is no
  // frame, or, balanced, none that shows anything.
  Sampler(std::vector<uint32_t> classes, const SamplerOptions& options);

  // Steps in an epoch: the number of frames, or, balanced, of pairs of a frame and a class that it
  // shows, as in the paper.
  int64_t epoch_size() const { return epoch_size_; }
  // Frames in the order of epoch `epoch`: [epoch_size()]. It depends on seed and epoch alone.
  // Each class's draws take all of its frames equally often, and once more a random part of them.
  std::vector<int32_t> Epoch(int64_t epoch) const;

 private:
  std::vector<std::vector<int32_t>> frames_of_class_;  // of classes that are shown
  int64_t num_frames_ = 0;
  int64_t epoch_size_ = 0;
  SamplerOptions options_;
};

}  // namespace athanor
