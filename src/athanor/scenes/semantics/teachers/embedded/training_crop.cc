#include "athanor/scenes/semantics/teachers/embedded/training_crop.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <array>
#include <cmath>

#include "athanor/base/error.h"
#include "athanor/scenes/semantics/teachers/embedded/network.h"

namespace athanor {
namespace {

// One plane of S x S, blurred by a Gaussian; edges are repeated.
void Blur(float* plane, int side, float sigma) {
  const int radius = std::max(1, static_cast<int>(std::ceil(2.5f * sigma)));
  std::vector<float> weights(2 * radius + 1);
  float sum = 0;
  for (int i = -radius; i <= radius; ++i) {
    sum += weights[i + radius] = std::exp(-0.5f * static_cast<float>(i * i) / (sigma * sigma));
  }
  for (float& w : weights) w /= sum;
  std::vector<float> line(side + 2 * radius);
  const auto pass = [&](int stride, int other) {
    for (int row = 0; row < side; ++row) {
      float* first = plane + static_cast<ptrdiff_t>(row) * other;
      for (int i = 0; i < side + 2 * radius; ++i) {
        line[i] = first[static_cast<ptrdiff_t>(std::clamp(i - radius, 0, side - 1)) * stride];
      }
      for (int i = 0; i < side; ++i) {
        float value = 0;
        for (int k = 0; k <= 2 * radius; ++k) value += weights[k] * line[i + k];
        first[static_cast<ptrdiff_t>(i) * stride] = value;
      }
    }
  };
  pass(1, side);
  pass(side, 1);
}

}  // namespace

TrainingCrop MakeCrop(const LabelledView& view, int side_px, const ZoomRange& zoom,
                      Random& random) {
  const int width = view.rgb.width, height = view.rgb.height;
  ATHANOR_CHECK(std::min(width, height) >= 2, "crop: expected a picture, found ", width, " x ",
                height, " pixels");
  const float wanted = static_cast<float>(side_px) /
                       std::exp(random.Uniform(std::log(zoom.low), std::log(zoom.high)));
  const float window_y = std::min({wanted, static_cast<float>(height), static_cast<float>(width)});
  const float window_x =
      std::min(window_y * random.Uniform(0.88f, 1.14f), static_cast<float>(width));
  const float x0 = random.Uniform(0, static_cast<float>(width) - window_x);
  const float y0 = random.Uniform(0, static_cast<float>(height) - window_y);
  const float step_x = window_x / static_cast<float>(side_px);
  const float step_y = window_y / static_cast<float>(side_px);
  const bool mirror = random.Uniform() < 0.5f;

  std::array<std::array<float, 256>, 3> curve;  // byte to [0,1], per channel
  const float gain = std::exp(random.Uniform(-0.3f, 0.3f)), gamma = random.Uniform(0.8f, 1.25f);
  const float contrast = random.Uniform(0.8f, 1.2f);
  for (auto& channel : curve) {
    const float tint = random.Uniform(0.95f, 1.05f);
    for (int v = 0; v < 256; ++v) {
      const float linear = gain * tint * std::pow(static_cast<float>(v) / 255, gamma);
      channel[v] = std::clamp(0.45f + contrast * (linear - 0.45f), 0.0f, 1.0f);
    }
  }

  TrainingCrop crop;
  crop.image = at::empty({3, side_px, side_px}, at::kFloat);
  float* out = crop.image.data_ptr<float>();
  const ptrdiff_t plane = static_cast<ptrdiff_t>(side_px) * side_px;
  const auto source_x = [&](float x) {
    return x0 + (mirror ? static_cast<float>(side_px) - x : x) * step_x;
  };
  for (int y = 0; y < side_px; ++y) {
    const float sy = std::clamp(y0 + (static_cast<float>(y) + 0.5f) * step_y - 0.5f, 0.0f,
                                static_cast<float>(height - 1));
    const int top = std::min(static_cast<int>(sy), height - 2);
    const float fy = sy - static_cast<float>(top);
    for (int x = 0; x < side_px; ++x) {
      const float sx = std::clamp(source_x(static_cast<float>(x) + 0.5f) - 0.5f, 0.0f,
                                  static_cast<float>(width - 1));
      const int left = std::min(static_cast<int>(sx), width - 2);
      const float fx = sx - static_cast<float>(left);
      const uint8_t* above = view.rgb.at(left, top);
      const uint8_t* below = view.rgb.at(left, top + 1);
      for (int c = 0; c < 3; ++c) {
        const auto& values = curve[c];
        const float upper = values[above[c]] + fx * (values[above[3 + c]] - values[above[c]]);
        const float lower = values[below[c]] + fx * (values[below[3 + c]] - values[below[c]]);
        out[c * plane + static_cast<ptrdiff_t>(y) * side_px + x] = upper + fy * (lower - upper);
      }
    }
  }
  if (random.Uniform() < 0.4f) {
    const float sigma = random.Uniform(0.4f, 1.8f);
    for (int c = 0; c < 3; ++c) Blur(out + c * plane, side_px, sigma);
  }
  if (random.Uniform() < 0.4f) {
    const float spread = random.Uniform(0.005f, 0.035f) * 1.7f;
    // Uniform noise of that deviation: a sum of normals would cost more than the crop.
    for (ptrdiff_t i = 0; i < 3 * plane; ++i) {
      out[i] = std::clamp(out[i] + spread * (random.Uniform() + random.Uniform() - 1), 0.0f, 1.0f);
    }
  }

  const int cells = side_px / kEmbeddedStride;
  crop.labels.resize(static_cast<size_t>(cells) * cells);
  for (int row = 0; row < cells; ++row) {
    const int y = std::clamp(
        static_cast<int>(y0 + (static_cast<float>(row) + 0.5f) * kEmbeddedStride * step_y), 0,
        height - 1);
    for (int column = 0; column < cells; ++column) {
      const int x = std::clamp(
          static_cast<int>(source_x((static_cast<float>(column) + 0.5f) * kEmbeddedStride)), 0,
          width - 1);
      crop.labels[static_cast<size_t>(row) * cells + column] =
          view.labels[static_cast<size_t>(y) * width + x];
    }
  }
  return crop;
}

}  // namespace athanor
