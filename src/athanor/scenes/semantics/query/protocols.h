// The frozen protocols by which language scenes are compared. No threshold is tuned per scene.
#pragma once

#include <functional>
#include <span>
#include <string>
#include <vector>

#include "athanor/datasets/lerf_annotations.h"
#include "athanor/scenes/semantics/evaluation/mask_metrics.h"
#include "athanor/scenes/semantics/evaluation/segmentation_metrics.h"
#include "athanor/scenes/semantics/query/pictures.h"
#include "athanor/scenes/semantics/query/scores.h"

namespace athanor {

struct QueriedScene {
  const GaussianModel* model;
  ProjectOptions project;
  const FieldSet* fields;
  TextEncoder* encoder;
};

// Temperature of the softmax over labels in every label protocol.
inline constexpr double kLabelTemperature = 10;

// Labels of rendered views against label maps (ScanNet-12 of Semantic Gaussians: one matrix over
// all scenes). names[k] is the class class_ids[k] of the matrix. `truth(v)`: [H,W] classes of view
// v, -1 = unlabelled.
void AddLabelViews(const QueriedScene& scene, std::span<const std::string> names,
                   std::span<const int32_t> class_ids, std::span<const PinholeView> views,
                   const std::function<std::vector<int32_t>(int view)>& truth,
                   ConfusionMatrix* confusion);

struct PhraseScore {
  std::string view, phrase;
  bool localized = false;  // the peak of the smoothed map lies in a box (LERF, LangSplat)
  double iou_2d = 0;       // of MaskFromRelevancy (LangSplat); -1: no polygons
  double iou_3d = 0;       // of the silhouette of the Gaussians chosen in 3D (OpenGaussian); -1
};
// `annotated[k]` was marked in a picture of `views[k]`, at any size.
std::vector<PhraseScore> ScorePhrases(const QueriedScene& scene,
                                      std::span<const AnnotatedView> annotated,
                                      std::span<const PinholeView> views);

struct PhraseSummary {
  PooledAccuracy localization;  // of all scenes
  // Means over the queries of each scene, then over scenes; and over all queries.
  double iou_2d_scenes = 0, iou_2d_queries = 0;
  SelectionScores selection;  // of all queries
  int queries = 0;
};
PhraseSummary SummarizePhrases(std::span<const std::vector<PhraseScore>> scenes);

// Gaussians that the 0.4 rule takes: scores stretched to [-1, 1] over the seen ones, above 0.4.
// scores: [N] f32, seen: [N] u8 -> [N] bool.
at::Tensor SelectGaussians(const at::Tensor& scores, const at::Tensor& seen);

}  // namespace athanor
