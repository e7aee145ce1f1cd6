#include "athanor/loop/vehicle/rarity_sketch.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "athanor/base/error.h"
#include "athanor/base/hash.h"

namespace athanor {
namespace {

// Counts are halved after so many: what came long ago is no longer usual.
constexpr double kMemory = 200'000;

void Halve(std::vector<float>* counts, double* total) {
  if (*total < kMemory) return;
  for (float& count : *counts) count *= 0.5f;
  *total *= 0.5;
}

}  // namespace

CountMin::CountMin(int width, int depth)
    : width_(width), depth_(depth), counts_(static_cast<size_t>(width) * depth) {}

size_t CountMin::Slot(std::string_view word, int row) const {
  return static_cast<size_t>(row) * width_ + HashBytes(word, 1 + row) % width_;
}

void CountMin::Add(std::string_view word) {
  const auto raised = static_cast<float>(Count(word) + 1);
  for (int row = 0; row < depth_; ++row) {
    float& count = counts_[Slot(word, row)];
    count = std::max(count, raised);
  }
  ++total_;
  Halve(&counts_, &total_);
}

double CountMin::Count(std::string_view word) const {
  float least = counts_[Slot(word, 0)];
  for (int row = 1; row < depth_; ++row) least = std::min(least, counts_[Slot(word, row)]);
  return least;
}

namespace {

// Eight sums, so that compilers may vectorise.
float SquaredDistance(const float* a, const float* b, size_t n) {
  float sums[8] = {};
  size_t i = 0;
  for (; i + 8 <= n; i += 8) {
    for (size_t j = 0; j < 8; ++j) sums[j] += (a[i + j] - b[i + j]) * (a[i + j] - b[i + j]);
  }
  float sum = 0;
  for (; i < n; ++i) sum += (a[i] - b[i]) * (a[i] - b[i]);
  for (const float part : sums) sum += part;
  return sum;
}

}  // namespace

void FeatureSketch::Prepare(std::span<const float> first) {
  if (!mean_.empty() || first.empty()) return;
  mean_.assign(first.size(), 0);
  centers_.reserve(first.size() * static_cast<size_t>(most_kinds_));
  counts_.reserve(most_kinds_);
}

double FeatureSketch::SurpriseThenAdd(std::span<const float> feature) {
  constexpr double kUsual = 0.7, kLearn = 0.02, kRadius = 1.25;
  constexpr float kMembers = 64;  // a kind follows its last members
  Prepare(feature);
  const size_t n = feature.size();
  ATHANOR_CHECK(n == mean_.size(), "features: expected ", mean_.size(), " numbers, found ", n);
  for (const float x : feature) {
    ATHANOR_CHECK(std::isfinite(x), "features: expected finite numbers, found ", x);
  }
  const auto part = static_cast<float>(1 / (std::min(total_, kMemory) + 1));
  for (size_t i = 0; i < n; ++i) mean_[i] += part * (feature[i] - mean_[i]);
  if (!last_.empty()) {
    const double moved = SquaredDistance(feature.data(), last_.data(), n);
    // The quantile of such distances, by steps up and down.
    if (step_ == 0) step_ = moved;
    step_ *= 1 + kLearn * (moved > step_ ? kUsual : kUsual - 1);
  }
  last_.assign(feature.begin(), feature.end());
  size_t nearest = 0;
  float nearest_squared = std::numeric_limits<float>::infinity();
  for (size_t k = 0; k < counts_.size(); ++k) {
    const float squared = SquaredDistance(feature.data(), &centers_[k * n], n);
    if (squared < nearest_squared) nearest_squared = squared, nearest = k;
  }
  double count = 0;
  if (!counts_.empty() && nearest_squared <= kRadius * kRadius * step_) {
    count = counts_[nearest]++;
    const float share = 1 / std::min(kMembers, counts_[nearest]);
    float* center = &centers_[nearest * n];
    for (size_t i = 0; i < n; ++i) center[i] += share * (feature[i] - center[i]);
  } else if (std::ssize(counts_) < most_kinds_) {
    counts_.push_back(1);
    centers_.insert(centers_.end(), feature.begin(), feature.end());
  } else {
    const auto rarest = std::min_element(counts_.begin(), counts_.end());
    count = (*rarest)++;
    std::copy(feature.begin(), feature.end(),
              centers_.begin() + (rarest - counts_.begin()) * static_cast<int64_t>(n));
  }
  const double surprise = std::log2((total_ + 1) / (count + 1));
  ++total_;
  Halve(&counts_, &total_);
  return surprise;
}

double TailBits::BitsThenAdd(double score) {
  const int bin = std::clamp(static_cast<int>(score / most_ * kBins), 0, kBins - 1);
  double as_high = 0;
  for (int i = bin; i < kBins; ++i) as_high += counts_[i];
  const double bits = std::log2((total_ + 1) / (as_high + 1));
  ++counts_[bin];
  ++total_;
  Halve(&counts_, &total_);
  return bits;
}

}  // namespace athanor
