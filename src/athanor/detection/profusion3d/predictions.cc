#include "athanor/detection/profusion3d/predictions.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>
#include <numeric>

#include "athanor/base/error.h"
#include "athanor/detection/evaluation/nuscenes_eval.h"
#include "athanor/detection/profusion3d/attributes.h"
#include "athanor/detection/profusion3d/box_code.h"

namespace athanor {
namespace {

static_assert(kNuscenesAttributeNames.size() == kNumAttributes);

at::Tensor Plain(const at::Tensor& x, int64_t rows, int64_t columns, const char* what) {
  ATHANOR_CHECK(x.sizes() == at::IntArrayRef({rows, columns}), "detections: expected ", what, " [",
                rows, ",", columns, "], found ", x.sizes());
  const at::Tensor plain = x.detach().to(at::kCPU, at::kFloat).contiguous();
  const auto* values = plain.data_ptr<float>();
  for (int64_t i = 0; i < rows * columns; ++i) {
    ATHANOR_CHECK(std::isfinite(values[i]), "detections: expected finite ", what, ", found ",
                  values[i], " at query ", i / columns, ", column ", i % columns);
  }
  return plain;
}

}  // namespace

std::string_view Detection::AttributeName() const {
  return attribute < 0 ? std::string_view() : kNuscenesAttributeNames.at(attribute);
}

std::vector<Detection> ReadDetections(const HeadOutputs& outputs,
                                      const PredictionOptions& options) {
  const int64_t queries = outputs.logits.size(0);
  const at::Tensor scores =
      Plain(outputs.logits, queries, kNumDetectionClasses, "class logits").sigmoid();
  const at::Tensor boxes =
      DecodeBoxes(Plain(outputs.codes, queries, kBoxCode, "box codes")).contiguous();
  const at::Tensor attributes =
      Plain(outputs.attributes, queries, kNumAttributes, "attribute logits");
  const auto* score = scores.data_ptr<float>();
  std::vector<int64_t> order(queries * kNumDetectionClasses);
  std::iota(order.begin(), order.end(), 0);
  std::erase_if(order, [&](int64_t pair) { return score[pair] < options.min_score; });
  const auto count =
      std::min<int64_t>(std::max(0, options.max_boxes), static_cast<int64_t>(order.size()));
  std::partial_sort(order.begin(), order.begin() + count, order.end(), [&](int64_t a, int64_t b) {
    return score[a] != score[b] ? score[a] > score[b] : a < b;
  });
  std::vector<Detection> detections(count);
  for (int64_t i = 0; i < count; ++i) {
    const int64_t query = order[i] / kNumDetectionClasses;
    Detection& detection = detections[i];
    detection.label = static_cast<int>(order[i] % kNumDetectionClasses);
    detection.score = score[order[i]];
    std::copy_n(boxes.data_ptr<float>() + query * kBoxColumns, kBoxColumns, detection.box.begin());
    const AttributeRange range = kClassAttributes[detection.label];
    if (range.begin == range.end) continue;
    const auto* said = attributes.data_ptr<float>() + query * kNumAttributes;
    detection.attribute =
        static_cast<int>(std::max_element(said + range.begin, said + range.end) - said);
  }
  return detections;
}

}  // namespace athanor
