#include <algorithm>
#include <cmath>

#include "athanor/base/error.h"
#include "athanor/base/parallel.h"
#include "athanor/media/image.h"

namespace athanor {
namespace {

// What one output position reads along one axis: `count` inputs from `first` on. The weights add up
// to 1.
struct Taps {
  int first;
  int count;
  size_t weights;  // index into AxisWeights::weights
};

struct AxisWeights {
  std::vector<Taps> taps;
  std::vector<float> weights;
};

AxisWeights MakeWeights(int from, int to) {
  AxisWeights axis;
  axis.taps.reserve(to);
  const double scale = static_cast<double>(from) / to;
  for (int i = 0; i < to; ++i) {
    const size_t start = axis.weights.size();
    int first;
    if (to < from) {
      // The share of each input pixel in [low, high).
      const double low = i * scale, high = (i + 1) * scale;
      first = static_cast<int>(low);
      const int last = std::min(static_cast<int>(std::ceil(high)), from);
      for (int j = first; j < last; ++j) {
        const double share = std::min(high, j + 1.0) - std::max(low, static_cast<double>(j));
        axis.weights.push_back(static_cast<float>(std::max(share, 0.0) / scale));
      }
    } else {
      const double center = std::clamp((i + 0.5) * scale - 0.5, 0.0, from - 1.0);
      first = static_cast<int>(center);
      const auto fraction = static_cast<float>(center - first);
      axis.weights.push_back(1 - fraction);
      if (fraction > 0) axis.weights.push_back(fraction);
    }
    axis.taps.push_back({first, static_cast<int>(axis.weights.size() - start), start});
  }
  return axis;
}

// One row of the result from a row that is already averaged vertically. kChannels = 0: any number.
template <int kChannels>
void ResizeRow(const float* row, const AxisWeights& axis, int any_channels, uint8_t* out) {
  const int channels = kChannels > 0 ? kChannels : any_channels;
  for (const Taps& taps : axis.taps) {
    const float* weights = axis.weights.data() + taps.weights;
    for (int c = 0; c < channels; ++c) {
      const float* in = row + static_cast<size_t>(taps.first) * channels + c;
      float sum = 0.5f;  // rounds
      for (int j = 0; j < taps.count; ++j) sum += weights[j] * in[j * channels];
      *out++ = static_cast<uint8_t>(static_cast<int>(std::min(sum, 255.0f)));
    }
  }
}

}  // namespace

Image Resize(const Image& image, int new_width, int new_height) {
  ATHANOR_CHECK(
      image.width > 0 && image.height > 0 && image.channels > 0 && new_width > 0 && new_height > 0,
      "resizing an image: expected positive sizes, found ", image.width, "x", image.height, "x",
      image.channels, " to ", new_width, "x", new_height);
  if (new_width == image.width && new_height == image.height) return image;
  const AxisWeights columns = MakeWeights(image.width, new_width);
  const AxisWeights rows = MakeWeights(image.height, new_height);
  const auto resize_row = image.channels == 1   ? ResizeRow<1>
                          : image.channels == 3 ? ResizeRow<3>
                          : image.channels == 4 ? ResizeRow<4>
                                                : ResizeRow<0>;
  Image resized(new_width, new_height, image.channels);
  ParallelFor(new_height, 16, [&](int64_t begin, int64_t end) {
    const size_t row_values = static_cast<size_t>(image.width) * image.channels;
    std::vector<float> averaged(row_values);
    for (auto y = static_cast<int>(begin); y < end; ++y) {
      const Taps& taps = rows.taps[y];
      std::fill(averaged.begin(), averaged.end(), 0.0f);
      for (int j = 0; j < taps.count; ++j) {
        const uint8_t* in = image.at(0, taps.first + j);
        const float weight = rows.weights[taps.weights + j];
        for (size_t i = 0; i < row_values; ++i) averaged[i] += weight * in[i];
      }
      resize_row(averaged.data(), columns, image.channels, resized.at(0, y));
    }
  });
  return resized;
}

}  // namespace athanor
