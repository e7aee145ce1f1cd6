// Scores and labels of Gaussians as pictures: maps splatted into a view, drawn over the view.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <string>
#include <vector>

#include "athanor/datasets/gaussian_cloud.h"
#include "athanor/media/color_map.h"
#include "athanor/media/image.h"
#include "athanor/scenes/gaussians/gaussian_model.h"
#include "athanor/scenes/gaussians/renderer.h"

namespace athanor {

struct ScoreMaps {
  // [P,H,W] f32: sum_i w_i score_ip / max(sum_i w_i, 1/2): fades out where hardly anything is.
  at::Tensor maps;
  at::Tensor alpha;  // [H,W] what is covered
};
// scores: [N,P] f32. In blocks of channels, whatever P is.
ScoreMaps RenderScores(const GaussianModel& model, const PinholeView& view,
                       const ProjectOptions& options, const at::Tensor& scores);

// Where the selected Gaussians alone would be seen: 1 - transmittance of these only, [H,W].
// selected: [N] bool.
at::Tensor RenderSilhouette(const GaussianModel& model, const PinholeView& view,
                            const ProjectOptions& options, const at::Tensor& selected);

// [H,W] i32: the label whose Gaussians weigh most in the pixel, weights times confidence; -1 where
// less than half of the pixel is covered or by Gaussians without labels only. Counted are the 24
// largest weights of the pixel: of many faint Gaussians one behind the other, as in fog, these may
// cover less than half where all of them cover more. labels: [N] i32, confidence: [N] f32.
at::Tensor RenderLabels(const GaussianModel& model, const PinholeView& view,
                        const ProjectOptions& options, const at::Tensor& labels,
                        const at::Tensor& confidence, int num_labels);

// The picture in grey under the map in colour: at `low` and below only the picture, at `high` and
// above the full colour. A line below says the title and the range, so that a map of zeros is seen
// to be one. map: [H,W] f32.
Image DrawHeatMap(const Image& rgb, const at::Tensor& map, double low, double high,
                  const std::string& title);

// A colour per label, far from that of its neighbours.
Color LabelColor(int label);
// The picture under the labels' colours. labels: [H,W] i32.
Image DrawLabels(const Image& rgb, const at::Tensor& labels);
// Names beside their colours; those that `is_used`, or all when it is empty.
Image DrawLegend(const std::vector<std::string>& names, const std::vector<bool>& is_used);

// The scene in the labels' colours, without view dependence: any viewer shows it. Gaussians without
// a label are grey.
GaussianCloud ColorByLabel(const GaussianCloud& cloud, const at::Tensor& labels);

// LangSplat's rule for the mask of a relevancy map: half the sum of the map and its mean over 30 x
// 30 pixels, stretched to [-1, 1], below 0 cut off, above 0.4 inside, then the majority of 7 x 7.
// The threshold is the published one; nothing is tuned. map: [H,W] f32 -> [H,W] 0 or 255.
std::vector<uint8_t> MaskFromRelevancy(const at::Tensor& map);
// Mean over 30 x 30 pixels, fewer at the edges: what localisation takes the peak of.
at::Tensor SmoothRelevancy(const at::Tensor& map);

}  // namespace athanor
