#include "athanor/scenes/semantics/teachers/window_network.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>
#include <cstring>

#include "athanor/base/error.h"

namespace athanor {
namespace {

// A window's border sees less around it than its middle: it counts this much.
constexpr float kBorderWeight = 0.05f;

// Begins of windows of `size` that cover `length`, evenly spread.
std::vector<int> WindowBegins(int length, int size, double overlap) {
  if (length <= size) return {(length - size) / 2};
  const double step = std::max(1.0, size * (1 - overlap));
  const int count = 1 + static_cast<int>(std::ceil((length - size) / step));
  std::vector<int> begins;
  for (int i = 0; i < count; ++i) {
    begins.push_back(
        static_cast<int>(std::lround(static_cast<double>(length - size) * i / (count - 1))));
  }
  return begins;
}

// Cells whose centres lie in [begin, begin + size) of a picture of `length` pixels.
std::pair<int, int> CellsIn(int cells, int length, int begin, int size) {
  const double pitch = static_cast<double>(length) / cells;
  const int first = static_cast<int>(std::ceil(begin / pitch - 0.5));
  const int last = static_cast<int>(std::ceil((begin + size) / pitch - 0.5));
  return {std::clamp(first, 0, cells), std::clamp(last, 0, cells)};
}

// Where the centres of cells lie in the window, from -1 to 1 at its ends.
at::Tensor PlacesOf(int first, int last, int cells, int length, int begin, int size) {
  const double pitch = static_cast<double>(length) / cells;
  return ((at::arange(first, last, at::kDouble) + 0.5) * pitch - begin) / size * 2 - 1;
}

std::array<uint8_t, 3> MeanColour(const ModelInput& input) {
  std::array<uint8_t, 3> colour;
  for (int i = 0; i < 3; ++i) {
    colour[i] = static_cast<uint8_t>(std::clamp(std::lround(input.mean[i]), 0L, 255L));
  }
  return colour;
}

}  // namespace

Image Crop(const Image& image, int left, int top, int width_px, int height_px,
           const std::array<uint8_t, 3>& outside) {
  ATHANOR_CHECK(image.channels == 3, "expected an RGB picture, found ", image.channels,
                " channels");
  Image crop(width_px, height_px, 3);
  for (size_t i = 0; i < crop.data.size(); ++i) crop.data[i] = outside[i % 3];
  const int x0 = std::max(0, -left), x1 = std::min(width_px, image.width - left);
  const int y0 = std::max(0, -top), y1 = std::min(height_px, image.height - top);
  for (int y = y0; y < y1 && x1 > x0; ++y) {
    std::memcpy(crop.at(x0, y), image.at(left + x0, top + y),
                static_cast<size_t>(x1 - x0) * image.channels);
  }
  return crop;
}

at::Tensor InputTensor(const Image& rgb, int width_px, int height_px, const ModelInput& input) {
  ATHANOR_CHECK(rgb.channels == 3 && rgb.width > 0 && rgb.height > 0, "expected an RGB picture, ",
                "found ", rgb.width, " x ", rgb.height, " x ", rgb.channels);
  const bool same = rgb.width == width_px && rgb.height == height_px;
  const Image resized = same ? Image() : Resize(rgb, width_px, height_px);
  const Image& image = same ? rgb : resized;
  at::Tensor pixels =
      at::from_blob(const_cast<uint8_t*>(image.data.data()), {height_px, width_px, 3}, at::kByte)
          .to(at::kFloat);
  const auto constant = [](const std::array<float, 3>& values) {
    return at::tensor({values[0], values[1], values[2]});
  };
  if (input.bgr) pixels = pixels.flip(2);
  pixels.sub_(constant(input.mean)).div_(constant(input.std));
  if (input.layout == "hwc") return pixels;
  pixels = pixels.unsqueeze(0);
  return input.layout == "nhwc" ? pixels : pixels.permute({0, 3, 1, 2}).contiguous();
}

GridSize GridOf(const Image& rgb, int cell_px) {
  return {std::max(1, (rgb.height + cell_px / 2) / cell_px),
          std::max(1, (rgb.width + cell_px / 2) / cell_px)};
}

WindowNetwork::WindowNetwork(std::unique_ptr<ForeignModel> model, const ModelCard& card,
                             std::string output, int channels, bool channels_last,
                             WindowOptions options)
    : model_(std::move(model)),
      input_(card.input),
      where_(card.name),
      output_(std::move(output)),
      channels_(channels),
      channels_last_(channels_last),
      options_(std::move(options)) {
  ATHANOR_CHECK(input_.width_px > 0 && input_.height_px > 0, card.path.string(),
                ": [input] should say width and height");
  ATHANOR_CHECK(options_.overlap >= 0 && options_.overlap <= 0.9, card.path.string(), ": overlap ",
                options_.overlap, ", expected 0 to 0.9");
  for (const double scale : options_.scales) {
    ATHANOR_CHECK(scale == 0 || (scale >= 0.1 && scale <= 16), card.path.string(), ": scale ",
                  scale, ", expected 0, or 0.1 to 16");
  }
}

at::Tensor WindowNetwork::RunWindow(const Image& window) {
  const at::Tensor input = InputTensor(window, input_.width_px, input_.height_px, input_);
  at::Tensor map = model_->Run({{model_->inputs().front().name, input}}, {output_}).front();
  if (map.dim() == 4 && channels_last_) map = map.permute({0, 3, 1, 2});
  ATHANOR_CHECK(map.dim() == 4 && map.size(0) == 1 && map.size(1) == channels_, where_,
                ": output '", output_, "' should be a map of ", channels_, " channels, found ",
                map.sizes());
  map = map.to(at::kFloat);
  ATHANOR_CHECK(at::isfinite(map).all().item<bool>(), where_, ": output '", output_,
                "' holds NaN or infinity");
  return options_.softmax ? map.softmax(1) : map;
}

at::Tensor WindowNetwork::Map(const Image& rgb, GridSize grid) {
  at::Tensor sum = at::zeros({channels_, grid.rows, grid.columns});
  at::Tensor weight = at::zeros({1, grid.rows, grid.columns});
  for (const double scale : options_.scales) {
    const int height = scale == 0
                           ? input_.height_px
                           : std::max(1, static_cast<int>(std::lround(input_.height_px * scale)));
    const int width = scale == 0
                          ? input_.width_px
                          : std::max(1, static_cast<int>(std::lround(
                                            static_cast<double>(rgb.width) * height / rgb.height)));
    const Image scaled =
        width == rgb.width && height == rgb.height ? rgb : Resize(rgb, width, height);
    for (const int top : WindowBegins(height, input_.height_px, options_.overlap)) {
      for (const int left : WindowBegins(width, input_.width_px, options_.overlap)) {
        const auto [row0, row1] = CellsIn(grid.rows, height, top, input_.height_px);
        const auto [column0, column1] = CellsIn(grid.columns, width, left, input_.width_px);
        if (row1 <= row0 || column1 <= column0) continue;
        const at::Tensor map = RunWindow(
            Crop(scaled, left, top, input_.width_px, input_.height_px, MeanColour(input_)));
        const at::Tensor y = PlacesOf(row0, row1, grid.rows, height, top, input_.height_px);
        const at::Tensor x = PlacesOf(column0, column1, grid.columns, width, left, input_.width_px);
        const at::Tensor places = at::stack({x.unsqueeze(0).expand({y.size(0), x.size(0)}),
                                             y.unsqueeze(1).expand({y.size(0), x.size(0)})},
                                            2)
                                      .to(at::kFloat)
                                      .unsqueeze(0);
        // Bilinear, edges repeated, -1 and 1 at the outer sides of the border pixels.
        const at::Tensor sampled = at::grid_sampler(map, places, 0, 1, false)[0];
        at::Tensor trust = (((1 - y.abs()).clamp_min(kBorderWeight)).unsqueeze(1) *
                            ((1 - x.abs()).clamp_min(kBorderWeight)).unsqueeze(0))
                               .to(at::kFloat)
                               .unsqueeze(0);
        if (options_.sureness > 0) trust = trust * sampled.amax(0, true).pow(options_.sureness);
        sum.slice(1, row0, row1).slice(2, column0, column1).add_(sampled * trust);
        weight.slice(1, row0, row1).slice(2, column0, column1).add_(trust);
      }
    }
  }
  return (sum / weight).permute({1, 2, 0}).contiguous();
}

}  // namespace athanor
