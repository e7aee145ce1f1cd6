#include "athanor/scenes/semantics/evaluation/segmentation_metrics.h"

#include <cmath>
#include <limits>

#include "athanor/base/error.h"

namespace athanor {

ConfusionMatrix::ConfusionMatrix(int num_classes, std::span<const int> ignored)
    : num_classes_(num_classes) {
  ATHANOR_CHECK(num_classes > 0 && num_classes <= 65536, "expected 1 to 65536 classes, found ",
                num_classes);
  is_ignored_.resize(num_classes);
  for (const int index : ignored) {
    ATHANOR_CHECK(index >= 0 && index < num_classes, "expected an ignored class in [0, ",
                  num_classes, "), found ", index);
    is_ignored_[index] = true;
  }
  counts_.resize(static_cast<size_t>(num_classes) * (num_classes + 1));
}

void ConfusionMatrix::Add(std::span<const int32_t> truth, std::span<const int32_t> predicted) {
  ATHANOR_CHECK(truth.size() == predicted.size(),
                "expected as many predicted labels as true ones (", truth.size(), "), found ",
                predicted.size());
  for (size_t i = 0; i < truth.size(); ++i) {
    if (truth[i] < 0 || truth[i] >= num_classes_ || is_ignored_[truth[i]]) continue;
    const bool is_class = predicted[i] >= 0 && predicted[i] < num_classes_;
    ++counts_[static_cast<size_t>(truth[i]) * (num_classes_ + 1) +
              (is_class ? predicted[i] : num_classes_)];
  }
}

void ConfusionMatrix::Merge(const ConfusionMatrix& other) {
  ATHANOR_CHECK(other.num_classes_ == num_classes_ && other.is_ignored_ == is_ignored_,
                "expected a confusion matrix of the same classes (", num_classes_, "), found ",
                other.num_classes_, " or others ignored");
  for (size_t i = 0; i < counts_.size(); ++i) counts_[i] += other.counts_[i];
}

SegmentationScores ConfusionMatrix::Scores() const {
  constexpr double kNan = std::numeric_limits<double>::quiet_NaN();
  SegmentationScores scores;
  std::vector<int64_t> of_truth(num_classes_), of_prediction(num_classes_);
  int64_t total = 0, right = 0;
  for (int i = 0; i < num_classes_; ++i) {
    for (int j = 0; j <= num_classes_; ++j) {
      of_truth[i] += count(i, j);
      if (j < num_classes_) of_prediction[j] += count(i, j);
    }
    total += of_truth[i];
    right += count(i, i);
  }
  double iou_sum = 0, accuracy_sum = 0;
  for (int i = 0; i < num_classes_; ++i) {
    if (of_truth[i] == 0) {
      scores.iou.push_back(kNan);
      scores.accuracy.push_back(kNan);
      continue;
    }
    const auto hit = static_cast<double>(count(i, i));
    scores.iou.push_back(hit / static_cast<double>(of_truth[i] + of_prediction[i] - count(i, i)));
    scores.accuracy.push_back(hit / static_cast<double>(of_truth[i]));
    iou_sum += scores.iou.back();
    accuracy_sum += scores.accuracy.back();
    ++scores.classes_present;
  }
  const int present = scores.classes_present;
  scores.mean_iou = present == 0 ? kNan : iou_sum / present;
  scores.mean_accuracy = present == 0 ? kNan : accuracy_sum / present;
  scores.pixel_accuracy =
      total == 0 ? kNan : static_cast<double>(right) / static_cast<double>(total);
  return scores;
}

}  // namespace athanor
