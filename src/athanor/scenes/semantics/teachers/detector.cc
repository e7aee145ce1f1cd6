#include "athanor/scenes/semantics/teachers/detector.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <array>
#include <cmath>

#include "athanor/base/error.h"
#include "athanor/scenes/semantics/teachers/window_network.h"

namespace athanor {
namespace {

struct Anchor {
  double cx, cy, width, height;  // of the picture's sides
};

// Anchors of SSD for 300 x 300 pixels, in the order of TensorFlow's detection API.
std::vector<Anchor> SsdAnchors() {
  constexpr std::array<int, 6> kGrids = {19, 10, 5, 3, 2, 1};
  constexpr double kMinScale = 0.2, kMaxScale = 0.95;
  std::vector<Anchor> anchors;
  for (size_t layer = 0; layer < kGrids.size(); ++layer) {
    const auto scale_of = [&](size_t i) {
      return i < kGrids.size() ? kMinScale + (kMaxScale - kMinScale) * static_cast<double>(i) /
                                                 (kGrids.size() - 1)
                               : 1.0;
    };
    const double scale = scale_of(layer);
    std::vector<std::pair<double, double>> shapes;  // scale, width / height
    if (layer == 0) {
      shapes = {{0.1, 1.0}, {scale, 2.0}, {scale, 0.5}};
    } else {
      shapes = {{scale, 1.0}, {scale, 2.0},       {scale, 0.5},
                {scale, 3.0}, {scale, 1.0 / 3.0}, {std::sqrt(scale * scale_of(layer + 1)), 1.0}};
    }
    const int grid = kGrids[layer];
    for (int row = 0; row < grid; ++row) {
      for (int column = 0; column < grid; ++column) {
        for (const auto& [size, ratio] : shapes) {
          anchors.push_back({(column + 0.5) / grid, (row + 0.5) / grid, size * std::sqrt(ratio),
                             size / std::sqrt(ratio)});
        }
      }
    }
  }
  return anchors;
}

double Sigmoid(double x) { return 1 / (1 + std::exp(-x)); }

// A box given by fractions of the picture's sides, cut to the picture.
PixelRect ToPixels(double cx, double cy, double width, double height, const Image& rgb) {
  const auto at = [](double fraction, int size) {
    return static_cast<int>(std::lround(std::clamp(fraction, 0.0, 1.0) * size));
  };
  return {at(cx - width / 2, rgb.width), at(cy - height / 2, rgb.height),
          at(cx + width / 2, rgb.width), at(cy + height / 2, rgb.height)};
}

double Iou(const PixelRect& a, const PixelRect& b) {
  const auto common = static_cast<double>(a.Intersect(b).area());
  return common / std::max(1.0, static_cast<double>(a.area() + b.area()) - common);
}

}  // namespace

PictureDetector::PictureDetector(const ModelCard& card, const ModelStore& store)
    : card_(card),
      decoder_(card.Port("decoder")),
      model_(OpenForeignModel(store.Require(card, "network"))),
      min_score_(static_cast<float>(card.Number("min_score", 0.3))) {
  ATHANOR_CHECK(decoder_ == "ssd" || decoder_ == "fastestdet", card.path.string(), ": decoder '",
                decoder_, "', expected ssd or fastestdet");
  ATHANOR_CHECK(card.input.width_px > 0 && card.input.height_px > 0, card.path.string(),
                ": [input] should say width and height");
  ATHANOR_CHECK(!card.labels.empty(), card.path.string(), ": expected 'labels'");
}

std::vector<FoundBox> PictureDetector::DecodeSsd(const at::Tensor& boxes, const at::Tensor& logits,
                                                 const Image& rgb) const {
  static const std::vector<Anchor> anchors = SsdAnchors();
  const auto count = static_cast<int64_t>(anchors.size());
  const auto classes = static_cast<int64_t>(card_.labels.size());
  ATHANOR_CHECK(boxes.sizes() == at::IntArrayRef({1, count, 4}) &&
                    logits.sizes() == at::IntArrayRef({1, count, classes + 1}),
                card_.name, ": expected boxes [1,", count, ",4] and scores [1,", count, ",",
                classes + 1, "], found ", boxes.sizes(), " and ", logits.sizes());
  const auto box = boxes.accessor<float, 3>()[0], logit = logits.accessor<float, 3>()[0];
  std::vector<FoundBox> found;
  for (int64_t i = 0; i < count; ++i) {
    const Anchor& anchor = anchors[i];
    for (int64_t label = 0; label < classes; ++label) {
      const double score = Sigmoid(logit[i][label + 1]);
      if (score < min_score_) continue;
      found.push_back({ToPixels(anchor.cx + box[i][1] / 10 * anchor.width,
                                anchor.cy + box[i][0] / 10 * anchor.height,
                                anchor.width * std::exp(std::min(box[i][3] / 5.0, 10.0)),
                                anchor.height * std::exp(std::min(box[i][2] / 5.0, 10.0)), rgb),
                       static_cast<int>(label), static_cast<float>(score)});
    }
  }
  return found;
}

std::vector<FoundBox> PictureDetector::DecodeFastestDet(const at::Tensor& map,
                                                        const Image& rgb) const {
  const auto classes = static_cast<int64_t>(card_.labels.size());
  ATHANOR_CHECK(map.dim() == 4 && map.size(0) == 1 && map.size(1) == 5 + classes, card_.name,
                ": expected a map of ", 5 + classes, " channels, found ", map.sizes());
  const auto cells = map.accessor<float, 4>()[0];
  const auto rows = map.size(2), columns = map.size(3);
  std::vector<FoundBox> found;
  for (int64_t row = 0; row < rows; ++row) {
    for (int64_t column = 0; column < columns; ++column) {
      int64_t best = 0;
      for (int64_t c = 1; c < classes; ++c) {
        if (cells[5 + c][row][column] > cells[5 + best][row][column]) best = c;
      }
      // The network's own weighting of objectness against class.
      const double score = std::pow(std::max(0.0f, cells[0][row][column]), 0.6) *
                           std::pow(std::max(0.0f, cells[5 + best][row][column]), 0.4);
      if (score < min_score_) continue;
      found.push_back(
          {ToPixels((static_cast<double>(column) + std::tanh(cells[1][row][column])) /
                        static_cast<double>(columns),
                    (static_cast<double>(row) + std::tanh(cells[2][row][column])) /
                        static_cast<double>(rows),
                    Sigmoid(cells[3][row][column]), Sigmoid(cells[4][row][column]), rgb),
           static_cast<int>(best), static_cast<float>(score)});
    }
  }
  return found;
}

std::vector<FoundBox> PictureDetector::Find(const Image& rgb) {
  const at::Tensor input =
      InputTensor(rgb, card_.input.width_px, card_.input.height_px, card_.input);
  const bool is_ssd = decoder_ == "ssd";
  const std::vector<std::string> ports =
      is_ssd ? std::vector<std::string>{card_.Port("boxes"), card_.Port("scores")}
             : std::vector<std::string>{card_.Port("map")};
  std::vector<at::Tensor> outputs = model_->Run({{model_->inputs().front().name, input}}, ports);
  for (at::Tensor& output : outputs) {
    output = output.to(at::kFloat).contiguous();
    ATHANOR_CHECK(at::isfinite(output).all().item<bool>(), card_.name,
                  ": the output holds NaN or infinity");
  }
  std::vector<FoundBox> found =
      is_ssd ? DecodeSsd(outputs[0], outputs[1], rgb) : DecodeFastestDet(outputs[0], rgb);
  std::stable_sort(found.begin(), found.end(),
                   [](const FoundBox& a, const FoundBox& b) { return a.score > b.score; });
  const double max_iou = card_.Number("max_iou", 0.5);
  std::vector<FoundBox> kept;
  for (const FoundBox& each : found) {
    if (each.box.empty()) continue;
    const bool is_new = std::none_of(kept.begin(), kept.end(), [&](const FoundBox& better) {
      return better.label == each.label && Iou(better.box, each.box) > max_iou;
    });
    if (is_new) kept.push_back(each);
  }
  return kept;
}

}  // namespace athanor
