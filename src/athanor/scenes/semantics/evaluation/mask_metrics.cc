#include "athanor/scenes/semantics/evaluation/mask_metrics.h"

#include <algorithm>
#include <cmath>

#include "athanor/base/error.h"

namespace athanor {
namespace {

template <typename T>
void CheckRaster(const Raster<T>& raster) {
  ATHANOR_CHECK(raster.width_px > 0 && raster.height_px > 0 &&
                    raster.values.size() == static_cast<size_t>(raster.width_px) *
                                                static_cast<size_t>(raster.height_px),
                "expected ", raster.width_px, " x ", raster.height_px, " > 0 values, found ",
                raster.values.size());
}

void CheckPair(const Mask& truth, const Mask& predicted) {
  CheckRaster(truth);
  CheckRaster(predicted);
  ATHANOR_CHECK(truth.width_px == predicted.width_px && truth.height_px == predicted.height_px,
                "expected a predicted mask of ", truth.width_px, " x ", truth.height_px,
                " as the truth, found ", predicted.width_px, " x ", predicted.height_px);
}

double Iou(std::span<const uint8_t> a, std::span<const uint8_t> b) {
  int64_t both = 0, any = 0;
  for (size_t i = 0; i < a.size(); ++i) {
    both += (a[i] != 0 && b[i] != 0) ? 1 : 0;
    any += (a[i] != 0 || b[i] != 0) ? 1 : 0;
  }
  return any == 0 ? 1 : static_cast<double>(both) / static_cast<double>(any);
}

// 1 where the mask is 1 but d erosions by 3 x 3 leave 0: where a square of 2 d + 1 pixels around is
// not all inside.
std::vector<uint8_t> Band(const Mask& mask, int d) {
  const int width = mask.width_px, height = mask.height_px;
  // Counts of the mask over the rectangles from the corner.
  std::vector<int64_t> sums(static_cast<size_t>(width + 1) * (height + 1));
  const auto sum = [&](int x, int y) -> int64_t& {
    return sums[static_cast<size_t>(y) * (width + 1) + x];
  };
  for (int y = 0; y < height; ++y) {
    for (int x = 0; x < width; ++x) {
      const int inside = mask.values[static_cast<size_t>(y) * width + x] != 0 ? 1 : 0;
      sum(x + 1, y + 1) = inside + sum(x, y + 1) + sum(x + 1, y) - sum(x, y);
    }
  }
  std::vector<uint8_t> band(mask.values.size());
  const int64_t full = (2 * int64_t{d} + 1) * (2 * int64_t{d} + 1);
  for (int y = 0; y < height; ++y) {
    for (int x = 0; x < width; ++x) {
      const size_t i = static_cast<size_t>(y) * width + x;
      if (mask.values[i] == 0) continue;
      const int x0 = std::max(x - d, 0), x1 = std::min(x + d + 1, width);
      const int y0 = std::max(y - d, 0), y1 = std::min(y + d + 1, height);
      const int64_t count = sum(x1, y1) - sum(x0, y1) - sum(x1, y0) + sum(x0, y0);
      band[i] = count < full ? 1 : 0;
    }
  }
  return band;
}

}  // namespace

double MaskIou(const Mask& truth, const Mask& predicted) {
  CheckPair(truth, predicted);
  return Iou(truth.values, predicted.values);
}

double BoundaryIou(const Mask& truth, const Mask& predicted, double dilation_ratio) {
  CheckPair(truth, predicted);
  ATHANOR_CHECK(dilation_ratio > 0 && dilation_ratio <= 1,
                "expected a dilation ratio in (0, 1], found ", dilation_ratio);
  const double diagonal = std::hypot(truth.width_px, truth.height_px);
  const int d = std::max(1, static_cast<int>(std::nearbyint(dilation_ratio * diagonal)));
  return Iou(Band(truth, d), Band(predicted, d));
}

bool IsLocalized(const Raster<float>& relevancy, std::span<const PixelBox> boxes) {
  CheckRaster(relevancy);
  float highest = -INFINITY;
  for (const float value : relevancy.values) highest = std::max(highest, value);  // skips NaN
  for (int y = 0; y < relevancy.height_px; ++y) {
    for (int x = 0; x < relevancy.width_px; ++x) {
      if (relevancy.values[static_cast<size_t>(y) * relevancy.width_px + x] != highest) continue;
      for (const PixelBox& box : boxes) {
        if (x >= box[0] && x <= box[2] && y >= box[1] && y <= box[3]) return true;
      }
    }
  }
  return false;
}

std::vector<uint8_t> SilhouetteMask(std::span<const float> silhouette, float threshold) {
  std::vector<uint8_t> mask(silhouette.size());
  for (size_t i = 0; i < mask.size(); ++i) mask[i] = silhouette[i] > threshold ? 1 : 0;
  return mask;
}

SelectionScores ScoreSelections(std::span<const double> ious) {
  SelectionScores scores;
  ATHANOR_CHECK(!ious.empty(), "expected at least one query, found none");
  for (const double iou : ious) {
    ATHANOR_CHECK(iou >= 0 && iou <= 1, "expected an IoU in [0, 1], found ", iou);
    scores.mean_iou += iou;
    scores.accuracy_25 += iou > 0.25 ? 1 : 0;
    scores.accuracy_50 += iou > 0.5 ? 1 : 0;
  }
  const auto count = static_cast<double>(ious.size());
  return {scores.mean_iou / count, scores.accuracy_25 / count, scores.accuracy_50 / count};
}

PooledAccuracy PoolAccuracy(std::span<const SceneHits> scenes) {
  PooledAccuracy pooled;
  int64_t hits = 0, queries = 0, counted = 0;
  for (const SceneHits& scene : scenes) {
    ATHANOR_CHECK(scene.hits >= 0 && scene.hits <= scene.queries, "expected 0 to ", scene.queries,
                  " hits, found ", scene.hits);
    if (scene.queries == 0) continue;
    hits += scene.hits;
    queries += scene.queries;
    ++counted;
    pooled.scene_mean += static_cast<double>(scene.hits) / scene.queries;
  }
  ATHANOR_CHECK(counted > 0, "expected a scene with queries, found none");
  pooled.scene_mean /= static_cast<double>(counted);
  pooled.query_weighted = static_cast<double>(hits) / static_cast<double>(queries);
  return pooled;
}

}  // namespace athanor
