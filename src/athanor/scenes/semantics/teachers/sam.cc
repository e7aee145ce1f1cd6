#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>

#include "athanor/base/error.h"
#include "athanor/scenes/semantics/teachers/conse_teacher.h"
#include "athanor/scenes/semantics/teachers/mask_source.h"

namespace athanor {
namespace {

// A mask is stable when it hardly changes as its threshold moves this far (logits).
constexpr float kStabilityOffset = 1.0f;
constexpr float kPadding = -1, kForeground = 1, kBoxCorner = 2, kBoxOpposite = 3;

struct Prompt {
  std::vector<float> coordinates;  // x, y of each point, in pixels of the picture
  std::vector<float> labels;
};

class Sam : public MaskSource {
 public:
  Sam(const ModelCard& card, const ModelStore& store)
      : card_(card),
        key_(CardKey(card, store)),
        encoder_(OpenForeignModel(store.Require(card, "encoder"))),
        decoder_(OpenForeignModel(store.Require(card, "decoder"))),
        long_side_(static_cast<int>(card.Number("long_side", 1024))),
        mask_side_(static_cast<int>(card.Number("mask_side", 512))) {
    ATHANOR_CHECK(long_side_ >= 16 && long_side_ <= 4096 && mask_side_ >= 16 && mask_side_ <= 8192,
                  card.path.string(), ": long_side ", long_side_, ", mask_side ", mask_side_);
    const int points = Points();
    ATHANOR_CHECK(points >= 1 && points <= 256, card.path.string(), ": points ", points,
                  ", expected 1 to 256 a side");
  }

  std::string key() const override { return key_; }

  std::vector<BitMask> Everything(const Image& rgb) override {
    Encode(rgb);
    const double min_iou = card_.Number("min_iou", 0.7);
    const double min_stability = card_.Number("min_stability", 0.85);
    std::vector<BitMask> masks;
    std::vector<float> scores;
    const int points = Points();
    for (int row = 0; row < points; ++row) {
      for (int column = 0; column < points; ++column) {
        const Prompt prompt = {{static_cast<float>((column + 0.5) * rgb.width / points),
                                static_cast<float>((row + 0.5) * rgb.height / points), 0, 0},
                               {kForeground, kPadding}};
        const auto [logits, quality] = Decode(prompt, rgb);
        for (int64_t i = 0; i < logits.size(0); ++i) {
          const float iou = quality[i].item<float>();
          if (iou < min_iou || Stability(logits[i]) < min_stability) continue;
          masks.push_back(MaskOf(logits[i]));
          scores.push_back(iou);
        }
      }
    }
    const auto min_area =
        static_cast<int64_t>(card_.Number("min_area", 100) * static_cast<double>(mask_width_) *
                             mask_height_ / (static_cast<double>(rgb.width) * rgb.height));
    std::vector<BitMask> kept;
    for (const size_t index : SuppressMasks(masks, scores, card_.Number("max_iou", 0.7))) {
      const BitMask clean = CleanMask(masks[index], min_area, min_area);
      if (clean.area() < min_area || clean.area() == 0) continue;
      kept.push_back(ResizeMask(clean, rgb.width, rgb.height));
    }
    return kept;
  }

  std::vector<BitMask> InBoxes(const Image& rgb, const std::vector<PixelRect>& boxes) override {
    if (boxes.empty()) return {};
    Encode(rgb);
    std::vector<BitMask> found;
    for (const PixelRect& box : boxes) {
      const Prompt prompt = {{static_cast<float>(box.left), static_cast<float>(box.top),
                              static_cast<float>(box.right), static_cast<float>(box.bottom)},
                             {kBoxCorner, kBoxOpposite}};
      const auto [logits, quality] = Decode(prompt, rgb);
      found.push_back(
          ResizeMask(MaskOf(logits[quality.argmax().item<int64_t>()]), rgb.width, rgb.height));
    }
    return found;
  }

 private:
  int Points() const { return static_cast<int>(card_.Number("points", 32)); }

  void Encode(const Image& rgb) {
    ATHANOR_CHECK(rgb.channels == 3 && rgb.width > 0 && rgb.height > 0, card_.name,
                  ": expected an RGB picture");
    const double to_input = static_cast<double>(long_side_) / std::max(rgb.width, rgb.height);
    const int width = std::max(1, static_cast<int>(std::lround(rgb.width * to_input)));
    const int height = std::max(1, static_cast<int>(std::lround(rgb.height * to_input)));
    scale_x_ = static_cast<float>(width) / static_cast<float>(rgb.width);
    scale_y_ = static_cast<float>(height) / static_cast<float>(rgb.height);
    at::Tensor input = InputTensor(rgb, width, height, card_.input);
    // An export of a fixed size wants the rest as zeros, to the right and below.
    if (card_.input.layout == "nchw" && card_.input.width_px > 0) {
      input = at::constant_pad_nd(
          input, {0, card_.input.width_px - width, 0, card_.input.height_px - height}, 0);
    }
    embeddings_ =
        encoder_->Run({{card_.Port("image"), input}}, {card_.Port("embeddings_out")}).front();
    const double to_mask =
        std::min(1.0, static_cast<double>(mask_side_) / std::max(rgb.width, rgb.height));
    mask_width_ = std::max(1, static_cast<int>(std::lround(rgb.width * to_mask)));
    mask_height_ = std::max(1, static_cast<int>(std::lround(rgb.height * to_mask)));
  }

  // Logits [K,h,w] and predicted IoU [K] of the masks that a prompt gives.
  std::pair<at::Tensor, at::Tensor> Decode(const Prompt& prompt, const Image& rgb) {
    const auto points = static_cast<int64_t>(prompt.labels.size());
    at::Tensor coordinates = at::tensor(prompt.coordinates).view({1, points, 2});
    coordinates = coordinates * at::tensor({scale_x_, scale_y_});
    const at::Tensor size =
        at::tensor({static_cast<float>(mask_height_), static_cast<float>(mask_width_)});
    const auto found =
        decoder_->Run({{card_.Port("embeddings"), embeddings_},
                       {card_.Port("point_coords"), coordinates},
                       {card_.Port("point_labels"), at::tensor(prompt.labels).view({1, points})},
                       {card_.Port("mask_input"), at::zeros({1, 1, 256, 256})},
                       {card_.Port("has_mask_input"), at::zeros({1})},
                       {card_.Port("orig_im_size"), size}},
                      {card_.Port("masks"), card_.Port("iou")});
    const at::Tensor &masks = found[0], &iou = found[1];
    ATHANOR_CHECK(masks.dim() == 4 && masks.size(0) == 1 && masks.size(1) > 0 &&
                      masks.size(2) == mask_height_ && masks.size(3) == mask_width_,
                  card_.name, ": masks should be [1,K,", mask_height_, ",", mask_width_,
                  "], found ", masks.sizes(), " for a picture of ", rgb.width, " x ", rgb.height);
    ATHANOR_CHECK(iou.dim() == 2 && iou.size(1) == masks.size(1), card_.name,
                  ": predicted IoU should be [1,", masks.size(1), "], found ", iou.sizes());
    ATHANOR_CHECK(at::isfinite(masks).all().item<bool>() && at::isfinite(iou).all().item<bool>(),
                  card_.name, ": masks hold NaN or infinity");
    return {masks[0].to(at::kFloat).contiguous(), iou[0].to(at::kFloat)};
  }

  static double Stability(const at::Tensor& logits) {
    const int64_t inside = (logits > kStabilityOffset).sum().item<int64_t>();
    const int64_t around = (logits > -kStabilityOffset).sum().item<int64_t>();
    return around == 0 ? 0 : static_cast<double>(inside) / static_cast<double>(around);
  }

  static BitMask MaskOf(const at::Tensor& logits) {
    const at::Tensor labels = (logits > 0).to(at::kInt).contiguous();
    return BitMask::FromLabels({labels.data_ptr<int32_t>(), static_cast<size_t>(labels.numel())},
                               static_cast<int>(labels.size(1)), static_cast<int>(labels.size(0)),
                               1);
  }

  ModelCard card_;
  std::string key_;
  std::unique_ptr<ForeignModel> encoder_, decoder_;
  int long_side_, mask_side_;
  at::Tensor embeddings_;
  float scale_x_ = 1, scale_y_ = 1;
  int mask_width_ = 0, mask_height_ = 0;
};

}  // namespace

std::unique_ptr<MaskSource> OpenSam(const ModelCard& card, const ModelStore& store) {
  return std::make_unique<Sam>(card, store);
}

}  // namespace athanor
