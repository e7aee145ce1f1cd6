#include "athanor/detection/profusion3d/sampler.h"

#include <utility>

#include "athanor/base/error.h"
#include "athanor/base/random.h"

namespace athanor {
namespace {

// Fisher and Yates.
void Shuffle(std::vector<int32_t>* values, Random* random) {
  for (size_t i = values->size(); i > 1; --i) {
    std::swap((*values)[i - 1], (*values)[random->Below(static_cast<uint32_t>(i))]);
  }
}

}  // namespace

Sampler::Sampler(std::vector<uint32_t> classes, const SamplerOptions& options)
    : num_frames_(static_cast<int64_t>(classes.size())),
      epoch_size_(num_frames_),
      options_(options) {
  ATHANOR_CHECK(num_frames_ > 0, "sampler: expected frames to learn from, found none");
  if (!options.is_balanced) return;
  epoch_size_ = 0;
  for (int k = 0; k < 32; ++k) {
    std::vector<int32_t> frames;
    for (size_t i = 0; i < classes.size(); ++i) {
      if ((classes[i] >> k & 1) != 0) frames.push_back(static_cast<int32_t>(i));
    }
    epoch_size_ += static_cast<int64_t>(frames.size());
    if (!frames.empty()) frames_of_class_.push_back(std::move(frames));
  }
  ATHANOR_CHECK(epoch_size_ > 0, "sampler: expected frames with objects to balance, found none in ",
                num_frames_);
}

std::vector<int32_t> Sampler::Epoch(int64_t epoch) const {
  Random random(MixBits(options_.seed ^ MixBits(static_cast<uint64_t>(epoch) + 0x5a3)));
  std::vector<int32_t> order;
  order.reserve(epoch_size_);
  if (!options_.is_balanced) {
    for (int64_t i = 0; i < num_frames_; ++i) order.push_back(static_cast<int32_t>(i));
  }
  const auto classes = static_cast<int64_t>(frames_of_class_.size());
  for (int64_t k = 0; k < classes; ++k) {
    // The shares add up to the whole.
    int64_t draws = epoch_size_ * (k + 1) / classes - epoch_size_ * k / classes;
    std::vector<int32_t> frames = frames_of_class_[k];
    const auto count = static_cast<int64_t>(frames.size());
    for (; draws >= count; draws -= count) order.insert(order.end(), frames.begin(), frames.end());
    Shuffle(&frames, &random);
    order.insert(order.end(), frames.begin(), frames.begin() + draws);
  }
  Shuffle(&order, &random);
  return order;
}

}  // namespace athanor
