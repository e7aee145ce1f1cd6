// Single masks and relevancy maps: IoU, boundary IoU, localisation, and the scores of objects that
// were selected in 3D by a text query.
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <vector>

namespace athanor {

// A mask or a map, rows from the top; not owned. Masks: 0 is outside, all else inside.
template <typename T>
struct Raster {
  std::span<const T> values;  // [H,W]
  int width_px = 0, height_px = 0;
};
using Mask = Raster<uint8_t>;

// Area of the overlap over that of the union; 1 when both masks are empty. Throws Error for masks
// of different sizes.
double MaskIou(const Mask& truth, const Mask& predicted);

// IoU of the two bands inside the masks' outlines (Cheng et al., CVPR 2021, "Boundary IoU"): a band
// is what d erosions by 3 x 3 take away, with zeros around the image; d = `dilation_ratio` times
// the image's diagonal, rounded, at least 1. The mean over masks is the mBIoU of LERF-Mask. 1 when
// both masks are empty.
double BoundaryIou(const Mask& truth, const Mask& predicted, double dilation_ratio = 0.02);

// (x0, y0, x1, y1) in pixel indices, both ends inside, as LERF and LangSplat annotate.
using PixelBox = std::array<double, 4>;

// True when a pixel with the map's highest value lies in any of the boxes (LERF's localisation).
// NaN counts as lowest. Throws Error for an empty map.
bool IsLocalized(const Raster<float>& relevancy, std::span<const PixelBox> boxes);

// The mask of a rendered silhouette (accumulated opacity): values above `threshold`.
std::vector<uint8_t> SilhouetteMask(std::span<const float> silhouette, float threshold = 0.7f);

// Over all queries of a benchmark; a query that found nothing counts with IoU 0.
struct SelectionScores {
  double mean_iou = 0;
  double accuracy_25 = 0, accuracy_50 = 0;  // share of queries with IoU > 0.25, > 0.5
};
SelectionScores ScoreSelections(std::span<const double> ious);

// A share of hits over several scenes, both ways that papers report it.
struct SceneHits {
  int hits = 0, queries = 0;
};
struct PooledAccuracy {
  double scene_mean = 0;      // mean of the scenes' shares
  double query_weighted = 0;  // hits of all over queries of all
};
// Scenes without queries are left out. Throws Error when no scene has any.
PooledAccuracy PoolAccuracy(std::span<const SceneHits> scenes);

}  // namespace athanor
