// Semantic segmentation: mean IoU and mean accuracy from ONE confusion matrix over all pixels or
// points of all scenes, as Semantic Gaussians and the ScanNet benchmark have it. (The mean of
// per-image values is another number.)
#pragma once

#include <cstdint>
#include <span>
#include <vector>

namespace athanor {

struct SegmentationScores {
  // [classes]; NaN for a class that the truth does not hold.
  std::vector<double> iou;       // tp / (tp + fp + fn)
  std::vector<double> accuracy;  // tp / (tp + fn)
  // Over the classes that the truth holds; NaN when it holds none.
  double mean_iou, mean_accuracy;
  double pixel_accuracy;  // of all pixels that count
  int classes_present = 0;
};

// Counts of (true class, predicted class). Not thread-safe; matrices of several threads are merged.
class ConfusionMatrix {
 public:
  // Pixels whose true class is in `ignored` do not count, whatever was predicted there: give
  // "other" here, and the same for all methods that are compared. Throws Error for a class outside
  // [0, num_classes).
  explicit ConfusionMatrix(int num_classes, std::span<const int> ignored = {});

  // Two labels per pixel or point, of equal number (Error otherwise). A true class outside
  // [0, num_classes), such as -1 or 255, means unlabelled: it does not count. A predicted class
  // outside means "nothing found": always wrong.
  void Add(std::span<const int32_t> truth, std::span<const int32_t> predicted);
  // Adds the counts of another matrix of as many classes.
  void Merge(const ConfusionMatrix& other);

  int64_t count(int true_class, int predicted_class) const {
    return counts_[true_class * (num_classes_ + 1) + predicted_class];
  }
  SegmentationScores Scores() const;

 private:
  int num_classes_;
  std::vector<bool> is_ignored_;
  std::vector<int64_t> counts_;  // [classes, classes + 1]; the last column: nothing found
};

}  // namespace athanor
