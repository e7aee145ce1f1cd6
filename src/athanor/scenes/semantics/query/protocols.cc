#include "athanor/scenes/semantics/query/protocols.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>

#include "athanor/base/error.h"

namespace athanor {
namespace {

constexpr double kRuleThreshold = 0.4;

// A mask at another size, nearest pixel.
std::vector<uint8_t> ResizeMask(const Image& mask, int width, int height) {
  std::vector<uint8_t> out(static_cast<size_t>(width) * height);
  for (int y = 0; y < height; ++y) {
    const int from_y = static_cast<int>((2 * int64_t{y} + 1) * mask.height / (2 * int64_t{height}));
    for (int x = 0; x < width; ++x) {
      const int from_x = static_cast<int>((2 * int64_t{x} + 1) * mask.width / (2 * int64_t{width}));
      out[static_cast<size_t>(y) * width + x] = *mask.at(from_x, from_y);
    }
  }
  return out;
}

}  // namespace

void AddLabelViews(const QueriedScene& scene, std::span<const std::string> names,
                   std::span<const int32_t> class_ids, std::span<const PinholeView> views,
                   const std::function<std::vector<int32_t>(int view)>& truth,
                   ConfusionMatrix* confusion) {
  const GaussianLabels labels =
      LabelGaussians(*scene.fields, scene.encoder, names, kLabelTemperature);
  for (size_t v = 0; v < views.size(); ++v) {
    const at::Tensor map = RenderLabels(*scene.model, views[v], scene.project, labels.labels,
                                        labels.confidence, static_cast<int>(names.size()));
    int32_t* label = map.data_ptr<int32_t>();
    for (int64_t p = 0; p < map.numel(); ++p) {
      if (label[p] >= 0) label[p] = class_ids[label[p]];
    }
    const std::vector<int32_t> expected = truth(static_cast<int>(v));
    confusion->Add(expected, {map.data_ptr<int32_t>(), static_cast<size_t>(map.numel())});
  }
}

at::Tensor SelectGaussians(const at::Tensor& scores, const at::Tensor& seen) {
  const at::Tensor of_seen = scores.masked_select(seen > 0);
  if (of_seen.numel() == 0) return at::zeros_like(seen, at::kBool);
  const float low = of_seen.min().item<float>(), high = of_seen.max().item<float>();
  const double limit = low + (1 + kRuleThreshold) / 2 * (double{high} - low);
  return at::logical_and(scores > limit, seen > 0);
}

std::vector<PhraseScore> ScorePhrases(const QueriedScene& scene,
                                      std::span<const AnnotatedView> annotated,
                                      std::span<const PinholeView> views) {
  ATHANOR_CHECK(annotated.size() == views.size(), "evaluation: expected a view for each of ",
                annotated.size(), " annotated pictures, found ", views.size());
  std::vector<PhraseScore> results;
  for (size_t v = 0; v < annotated.size(); ++v) {
    const AnnotatedView& picture = annotated[v];
    if (picture.regions.empty()) continue;
    const PinholeView& view = views[v];
    const int width = view.width_px, height = view.height_px;
    std::vector<std::string> phrases;
    for (const PhraseRegion& region : picture.regions) phrases.push_back(region.phrase);
    const at::Tensor scores = ScorePrompts(*scene.fields, scene.encoder, phrases, kNegativePhrases,
                                           kRelevancyTemperature, /*all_negatives=*/true)
                                  .scores;
    const ScoreMaps drawn = RenderScores(*scene.model, view, scene.project, scores);
    for (size_t p = 0; p < phrases.size(); ++p) {
      const PhraseRegion& region = picture.regions[p];
      PhraseScore result;
      result.view = picture.image_name, result.phrase = region.phrase;
      const at::Tensor map = drawn.maps[static_cast<int64_t>(p)].contiguous();
      const at::Tensor smooth = SmoothRelevancy(map).contiguous();
      std::vector<PixelBox> boxes;
      for (const auto& box : region.boxes) {
        const double sx = static_cast<double>(width) / picture.width_px;
        const double sy = static_cast<double>(height) / picture.height_px;
        boxes.push_back({box[0] * sx, box[1] * sy, box[2] * sx, box[3] * sy});
      }
      const auto pixels = static_cast<size_t>(map.numel());
      result.localized = IsLocalized({{smooth.data_ptr<float>(), pixels}, width, height}, boxes);
      result.iou_2d = result.iou_3d = -1;
      if (!region.polygons.empty()) {
        const std::vector<uint8_t> truth = ResizeMask(picture.Mask(region), width, height);
        const std::vector<uint8_t> mask = MaskFromRelevancy(map);
        result.iou_2d = MaskIou({truth, width, height}, {mask, width, height});
        const at::Tensor chosen = SelectGaussians(
            scores.select(1, static_cast<int64_t>(p)).contiguous(), scene.fields->seen());
        const at::Tensor silhouette =
            RenderSilhouette(*scene.model, view, scene.project, chosen).contiguous();
        const std::vector<uint8_t> shape = SilhouetteMask({silhouette.data_ptr<float>(), pixels});
        result.iou_3d = MaskIou({truth, width, height}, {shape, width, height});
      }
      results.push_back(result);
    }
  }
  return results;
}

PhraseSummary SummarizePhrases(std::span<const std::vector<PhraseScore>> scenes) {
  PhraseSummary summary;
  std::vector<SceneHits> hits;
  std::vector<double> selected;
  double scene_sum = 0, query_sum = 0;
  int scenes_with_masks = 0, masks = 0;
  for (const std::vector<PhraseScore>& scene : scenes) {
    SceneHits of_scene;
    double sum = 0;
    int count = 0;
    for (const PhraseScore& score : scene) {
      ++of_scene.queries;
      of_scene.hits += score.localized;
      if (score.iou_2d < 0) continue;
      sum += score.iou_2d;
      ++count;
      selected.push_back(score.iou_3d);
    }
    hits.push_back(of_scene);
    summary.queries += of_scene.queries;
    if (count > 0) {
      scene_sum += sum / count;
      ++scenes_with_masks;
    }
    query_sum += sum;
    masks += count;
  }
  summary.localization = PoolAccuracy(hits);
  if (masks > 0) {
    summary.iou_2d_scenes = scene_sum / scenes_with_masks;
    summary.iou_2d_queries = query_sum / masks;
    summary.selection = ScoreSelections(selected);
  }
  return summary;
}

}  // namespace athanor
