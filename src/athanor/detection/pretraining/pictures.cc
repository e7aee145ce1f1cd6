#include "athanor/detection/pretraining/pictures.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>

#include "athanor/base/error.h"
#include "athanor/media/color_map.h"
#include "athanor/media/draw.h"

namespace athanor {
namespace {

constexpr int kCellWidth = 480;  // pixels of a column of the sheet
constexpr Color kSeen = {110, 110, 110};

// images [C,3,H,W] u8.
Image PictureOf(const at::Tensor& images, int64_t camera) {
  const at::Tensor pixels = images[camera].permute({1, 2, 0}).contiguous();
  Image image(static_cast<int>(pixels.size(1)), static_cast<int>(pixels.size(0)), 3);
  std::copy_n(pixels.data_ptr<uint8_t>(), pixels.numel(), image.data.begin());
  return image;
}

// The input with the masked patches filled in.
at::Tensor FillIn(const MaskedSample& masked, const at::Tensor& said) {
  const at::Tensor images = masked.input.images.clone();
  if (!said.defined()) return images;
  const int64_t side = masked.stride_px;
  const at::Tensor pixels =
      (said.view({-1, 3, side, side}) * masked.patch_spread.view({-1, 1, 1, 1}) +
       masked.patch_mean.view({-1, 1, 1, 1}))
          .round()
          .clamp(0, 255)
          .to(at::kByte);
  for (int64_t t = 0; t < pixels.size(0); ++t) {
    const int64_t cell = masked.masked_patches.data_ptr<int64_t>()[t];
    const int64_t row = cell / masked.map_width;
    images[row / masked.map_height]
        .narrow(1, row % masked.map_height * side, side)
        .narrow(2, cell % masked.map_width * side, side)
        .copy_(pixels[t]);
  }
  return images;
}

// Points from above.
class Ground {
 public:
  explicit Ground(const BevGrid& grid) : grid_(grid), image_(kCellWidth, kCellWidth, 3) {}

  void Draw(float x, float y, Color color) {
    const float scale = kCellWidth / (grid_.range_m[3] - grid_.range_m[0]);
    const int column = static_cast<int>(std::floor((x - grid_.range_m[0]) * scale));
    const int row = static_cast<int>(std::floor((grid_.range_m[4] - y) * scale));
    FillRectangle(&image_, column, row, 1, 1, color);
  }
  Color ColorOf(float z) const {
    // Most of what there is to see lies within 4 m above the ground.
    return MapColor(ColorMap::kTurbo, 0.1f + 0.8f * std::clamp((z + 0.5f) / 4, 0.0f, 1.0f));
  }
  // [N, kPointColumns]
  void DrawPoints(const at::Tensor& points, bool is_colored) {
    const at::Tensor rows = points.contiguous();
    const auto* p = rows.data_ptr<float>();
    for (int64_t n = 0; n < rows.size(0); ++n, p += rows.size(1)) {
      Draw(p[0], p[1], is_colored ? ColorOf(p[2]) : kSeen);
    }
  }
  // places [M,K,3 or more] of cells [M]; `counts` (undefined: all) of each are points.
  void DrawCells(const at::Tensor& cells, const at::Tensor& places, const at::Tensor& counts) {
    if (!places.defined()) return;
    const at::Tensor rows = places.contiguous();
    for (int64_t m = 0; m < cells.size(0); ++m) {
      const int64_t cell = cells.data_ptr<int64_t>()[m];
      const float x =
          grid_.range_m[0] + (static_cast<float>(cell % grid_.columns()) + 0.5f) * grid_.cell_m;
      const float y =
          grid_.range_m[1] + (static_cast<float>(cell / grid_.columns()) + 0.5f) * grid_.cell_m;
      const int64_t count = counts.defined() ? counts.data_ptr<int32_t>()[m] : rows.size(1);
      for (int64_t k = 0; k < count; ++k) {
        const float* p = rows.data_ptr<float>() + (m * rows.size(1) + k) * rows.size(2);
        Draw(x + p[0], y + p[1], ColorOf(p[2]));
      }
    }
  }
  const Image& image() const { return image_; }

 private:
  const BevGrid& grid_;
  Image image_;
};

}  // namespace

Image DrawPretraining(const DetectionSample& truth, const MaskedSample& masked,
                      const PretrainOutputs& outputs, const BevGrid& grid) {
  std::vector<std::vector<SheetCell>> rows;
  const at::Tensor filled = FillIn(masked, outputs.pixels);
  for (int64_t c = 0; c < truth.images.size(0); ++c) {
    if (truth.has_camera[c].item<uint8_t>() == 0) continue;
    rows.push_back({{PictureOf(masked.input.images, c), StrCat("camera ", c)},
                    {PictureOf(filled, c), "mean and contrast of patches from the truth"},
                    {PictureOf(truth.images, c), ""}});
  }
  Ground seen(grid), made(grid), all(grid);
  seen.DrawPoints(masked.input.points, true);
  made.DrawPoints(masked.input.points, false);
  made.DrawCells(masked.masked_points.cells, outputs.points, {});
  all.DrawPoints(masked.input.points, false);
  all.DrawCells(masked.masked_points.cells, masked.masked_points.places,
                masked.masked_points.counts);
  rows.push_back({{seen.image(), "points from above"},
                  {made.image(), "masked points, reconstructed"},
                  {all.image(), "masked points"}});
  return ContactSheet({"seen", "reconstructed", "truth"}, rows, kCellWidth);
}

}  // namespace athanor
