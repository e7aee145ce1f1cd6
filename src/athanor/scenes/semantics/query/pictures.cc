#include "athanor/scenes/semantics/query/pictures.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>

#include "athanor/base/error.h"
#include "athanor/media/draw.h"
#include "athanor/ops/rasterize.h"
#include "athanor/scenes/gaussians/evaluate.h"

namespace athanor {
namespace {

constexpr float kMinCover = 0.5f;
constexpr int kFilterSide = 30, kMajoritySide = 7;
constexpr double kMaskThreshold = 0.4;

GaussianTensors TensorsOf(const GaussianModel& model) {
  return {model.means(), model.quats(), model.log_scales(), model.opacity_logits()};
}

// Mean of values over a window of `side` pixels that reaches side/2 back and side - 1 - side/2
// forward (as OpenCV centres an even kernel), over what lies in the image.
at::Tensor WindowMean(const at::Tensor& map, int side) {
  const int64_t height = map.size(0), width = map.size(1);
  // Sums of all above and to the left.
  at::Tensor table = at::zeros({height + 1, width + 1}, at::kDouble);
  table.narrow(0, 1, height).narrow(1, 1, width).copy_(map.to(at::kDouble).cumsum(0).cumsum(1));
  const at::Tensor out = at::empty({height, width});
  const double* sums = table.data_ptr<double>();
  float* to = out.data_ptr<float>();
  for (int64_t y = 0; y < height; ++y) {
    const int64_t top = std::max<int64_t>(0, y - side / 2);
    const int64_t bottom = std::min(height, y - side / 2 + side);
    for (int64_t x = 0; x < width; ++x) {
      const int64_t left = std::max<int64_t>(0, x - side / 2);
      const int64_t right = std::min(width, x - side / 2 + side);
      const double sum = sums[bottom * (width + 1) + right] - sums[top * (width + 1) + right] -
                         sums[bottom * (width + 1) + left] + sums[top * (width + 1) + left];
      *to++ = static_cast<float>(sum / static_cast<double>((bottom - top) * (right - left)));
    }
  }
  return out;
}

}  // namespace

ScoreMaps RenderScores(const GaussianModel& model, const PinholeView& view,
                       const ProjectOptions& options, const at::Tensor& scores) {
  const at::NoGradGuard no_gradients;
  const GaussianTensors gaussians = TensorsOf(model);
  const at::Tensor splats = Project(gaussians, view, options);
  TileBinTensors bins;
  BinTiles(splats, view.width_px, view.height_px, &bins);
  ScoreMaps result;
  result.maps = at::empty({scores.size(1), view.height_px, view.width_px});
  constexpr int64_t kBlock = 32;
  for (int64_t first = 0; first < scores.size(1); first += kBlock) {
    const int64_t count = std::min(kBlock, scores.size(1) - first);
    const Rasterized drawn =
        Rasterize(splats, scores.narrow(1, first, count), bins, {}, view.width_px, view.height_px);
    result.alpha = 1 - drawn.transmittance;
    result.maps.narrow(0, first, count).copy_(drawn.image / at::clamp_min(result.alpha, kMinCover));
  }
  return result;
}

at::Tensor RenderSilhouette(const GaussianModel& model, const PinholeView& view,
                            const ProjectOptions& options, const at::Tensor& selected) {
  const at::NoGradGuard no_gradients;
  const at::Tensor rows = at::nonzero(selected).view({-1});
  if (rows.numel() == 0) return at::zeros({view.height_px, view.width_px});
  const GaussianTensors all = TensorsOf(model);
  const GaussianTensors some = {all.means.index_select(0, rows), all.quats.index_select(0, rows),
                                all.log_scales.index_select(0, rows),
                                all.opacity_logits.index_select(0, rows)};
  FeatureRenderOptions render;
  render.project = options;
  return 1 - RenderFeatures(some, at::empty({rows.numel(), 0}), view, render).transmittance;
}

at::Tensor RenderLabels(const GaussianModel& model, const PinholeView& view,
                        const ProjectOptions& options, const at::Tensor& labels,
                        const at::Tensor& confidence, int num_labels) {
  const at::NoGradGuard no_gradients;
  const at::Tensor splats = Project(TensorsOf(model), view, options);
  TileBinTensors bins;
  BinTiles(splats, view.width_px, view.height_px, &bins);
  constexpr int kVoters = 24;  // what is fainter than the 24 largest weights does not count
  const TopContributors top =
      FindTopContributors(splats, bins, view.width_px, view.height_px, kVoters);
  at::Tensor map = at::full({view.height_px, view.width_px}, -1, at::kInt);
  const int32_t* ids = top.ids.data_ptr<int32_t>();
  const float* weights = top.weights.data_ptr<float>();
  const int32_t* label_of = labels.data_ptr<int32_t>();
  const float* trust = confidence.data_ptr<float>();
  int32_t* out = map.data_ptr<int32_t>();
  std::vector<float> votes(num_labels, 0.0f);
  for (int64_t p = 0; p < map.numel(); ++p) {
    float cover = 0;
    int32_t best = -1;
    for (int k = 0; k < kVoters && ids[p * kVoters + k] >= 0; ++k) {
      const int32_t label = label_of[ids[p * kVoters + k]];
      cover += weights[p * kVoters + k];
      if (label < 0) continue;
      votes[label] += weights[p * kVoters + k] * trust[ids[p * kVoters + k]];
      if (best < 0 || votes[label] > votes[best]) best = label;
    }
    for (int k = 0; k < kVoters && ids[p * kVoters + k] >= 0; ++k) {
      const int32_t label = label_of[ids[p * kVoters + k]];
      if (label >= 0) votes[label] = 0;
    }
    if (cover >= kMinCover) out[p] = best;
  }
  return map;
}

Image DrawHeatMap(const Image& rgb, const at::Tensor& map, double low, double high,
                  const std::string& title) {
  ATHANOR_CHECK(map.size(0) == rgb.height && map.size(1) == rgb.width && rgb.channels == 3,
                "heat map: expected an RGB picture of ", map.size(1), " x ", map.size(0),
                " pixels, found ", rgb.width, " x ", rgb.height);
  const int scale = rgb.width >= 640 ? 2 : 1;
  const int line = kLetterHeight * scale + 8;
  Image out(rgb.width, rgb.height + line, 3);
  const at::Tensor dense = map.contiguous();
  const float* values = dense.data_ptr<float>();
  for (int y = 0; y < rgb.height; ++y) {
    for (int x = 0; x < rgb.width; ++x) {
      const uint8_t* c = rgb.at(x, y);
      const float grey = 0.299f * c[0] + 0.587f * c[1] + 0.114f * c[2];
      const double t = std::clamp((*values++ - low) / std::max(high - low, 1e-9), 0.0, 1.0);
      const Color color = MapColor(ColorMap::kTurbo, static_cast<float>(0.15 + 0.85 * t));
      const double share = t > 0 ? 0.35 + 0.45 * t : 0.0;
      const uint8_t channels[3] = {color.r, color.g, color.b};
      for (int k = 0; k < 3; ++k) {
        out.at(x, y)[k] =
            static_cast<uint8_t>(std::lround((1 - share) * grey + share * channels[k]));
      }
    }
  }
  FillRectangle(&out, 0, rgb.height, rgb.width, line, kWhite);
  char range[64];
  std::snprintf(range, sizeof range, "%.2f to %.2f, max %.3f", low, high,
                dense.numel() > 0 ? dense.max().item<float>() : 0.0f);
  const int room = std::max(0, rgb.width - TextWidth(range, scale) - 12);
  DrawText(&out, 4, rgb.height + 4, FitText(title, room, scale), kBlack, scale);
  DrawText(&out, rgb.width - TextWidth(range, scale) - 4, rgb.height + 4, range, kGrey, scale);
  return out;
}

Color LabelColor(int label) {
  // Hues a golden section apart; brightness changes every few labels.
  const double hue = std::fmod(0.12 + 0.6180339887 * label, 1.0) * 6;
  const double value = label / 5 % 2 == 0 ? 235 : 165;
  const double saturation = label / 10 % 2 == 0 ? 0.85 : 0.5;
  const auto channel = [&](double offset) {
    const double k = std::fmod(hue + offset, 6.0);
    const double part = std::clamp(std::min(k, 4 - k), 0.0, 1.0);
    return static_cast<uint8_t>(std::lround(value * (1 - saturation * part)));
  };
  return {channel(5), channel(3), channel(1)};
}

Image DrawLabels(const Image& rgb, const at::Tensor& labels) {
  Image out = ToRgb(rgb);
  ATHANOR_CHECK(labels.size(0) == rgb.height && labels.size(1) == rgb.width,
                "labels: expected a picture of ", labels.size(1), " x ", labels.size(0),
                " pixels, found ", rgb.width, " x ", rgb.height);
  const int32_t* label = labels.data_ptr<int32_t>();
  for (int y = 0; y < out.height; ++y) {
    for (int x = 0; x < out.width; ++x, ++label) {
      uint8_t* c = out.at(x, y);
      const float grey = 0.299f * c[0] + 0.587f * c[1] + 0.114f * c[2];
      const Color color = *label >= 0 ? LabelColor(*label) : kGrey;
      const uint8_t channels[3] = {color.r, color.g, color.b};
      for (int k = 0; k < 3; ++k) {
        c[k] = static_cast<uint8_t>(std::lround(0.35f * grey + 0.65f * channels[k]));
      }
    }
  }
  return out;
}

Image DrawLegend(const std::vector<std::string>& names, const std::vector<bool>& is_used) {
  constexpr int kScale = 2, kBox = 20, kLine = 26;
  std::vector<int> shown;
  int width = 120;
  for (int i = 0; i < static_cast<int>(names.size()); ++i) {
    if (!is_used.empty() && !is_used[i]) continue;
    shown.push_back(i);
    width = std::max(width, TextWidth(names[i], kScale) + kBox + 24);
  }
  Image legend(width, std::max(1, static_cast<int>(shown.size())) * kLine + 8, 3, 255);
  for (size_t k = 0; k < shown.size(); ++k) {
    const int y = 6 + static_cast<int>(k) * kLine;
    FillRectangle(&legend, 6, y, kBox, kBox, LabelColor(shown[k]));
    DrawText(&legend, kBox + 14, y + 2, names[shown[k]], kBlack, kScale);
  }
  if (shown.empty()) DrawText(&legend, 6, 8, "nothing", kBlack, kScale);
  return legend;
}

GaussianCloud ColorByLabel(const GaussianCloud& cloud, const at::Tensor& labels) {
  GaussianCloud out = cloud;
  out.sh_degree = 0;
  out.sh.resize(3 * cloud.size());
  constexpr float kDcBasis = 0.28209479177387814f;
  const int32_t* label = labels.data_ptr<int32_t>();
  for (int64_t i = 0; i < cloud.size(); ++i) {
    const Color color = label[i] >= 0 ? LabelColor(label[i]) : kGrey;
    const uint8_t channels[3] = {color.r, color.g, color.b};
    for (int k = 0; k < 3; ++k) {
      out.sh[3 * i + k] = (static_cast<float>(channels[k]) / 255.0f - 0.5f) / kDcBasis;
    }
  }
  return out;
}

at::Tensor SmoothRelevancy(const at::Tensor& map) { return WindowMean(map, kFilterSide); }

std::vector<uint8_t> MaskFromRelevancy(const at::Tensor& map) {
  at::Tensor mixed = 0.5 * (SmoothRelevancy(map) + map);
  const float low = mixed.min().item<float>(), high = mixed.max().item<float>();
  // A flat map has no inside.
  std::vector<uint8_t> mask(static_cast<size_t>(map.numel()), 0);
  if (!(high - low > 1e-9f)) return mask;
  mixed = at::clamp((mixed - low) / (high - low) * 2 - 1, 0, 1);
  const at::Tensor inside = (mixed > kMaskThreshold).to(at::kFloat);
  const at::Tensor share = WindowMean(inside, kMajoritySide).contiguous();
  const float* s = share.data_ptr<float>();
  for (size_t i = 0; i < mask.size(); ++i) mask[i] = s[i] > 0.5f ? 255 : 0;
  return mask;
}

}  // namespace athanor
