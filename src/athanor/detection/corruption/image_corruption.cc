#include "athanor/detection/corruption/image_corruption.h"

#include <array>

#include "athanor/base/error.h"
#include "athanor/detection/corruption/image_filters.h"
#include "athanor/detection/corruption/lidar_corruption.h"

namespace athanor {
namespace {

// Adds to V of HSV, which scales R, G and B alike.
Image Brighten(const Image& image, float by) {
  Image result = image;
  ForRows(image.height, 0, [&](int y, Random&) {
    for (int x = 0; x < image.width; ++x) {
      uint8_t* pixel = result.at(x, y);
      const float value = std::max({pixel[0], pixel[1], pixel[2]}) / 255.0f;
      const float brighter = std::min(value + by, 1.0f);
      for (int c = 0; c < 3; ++c) {
        pixel[c] = ByteOf(value > 0 ? pixel[c] / 255.0f * (brighter / value) : brighter);
      }
    }
  });
  return result;
}

// Draws from one Poisson distribution by inversion.
class PoissonTable {
 public:
  explicit PoissonTable(double mean) {
    double probability = std::exp(-mean), sum = 0;
    const int last = static_cast<int>(mean + 10 * std::sqrt(mean) + 10);
    for (int k = 0; k <= last; ++k) {
      sum += probability;
      cumulative_.push_back(static_cast<float>(sum));
      probability *= mean / (k + 1);
    }
    for (int i = 0, k = 0; i < kGuides; ++i) {
      while (k < last && cumulative_[k] <= static_cast<float>(i) / kGuides) ++k;
      guide_[i] = k;
    }
  }
  int Draw(float uniform) const {
    int k = guide_[static_cast<int>(uniform * kGuides)];
    while (k + 1 < static_cast<int>(cumulative_.size()) && cumulative_[k] <= uniform) ++k;
    return k;
  }

 private:
  static constexpr int kGuides = 64;
  std::vector<float> cumulative_;
  std::array<int, kGuides> guide_ = {};
};

Image Darken(const Image& image, const Corruption& corruption, uint64_t key) {
  const double scale = corruption.Of<double>({0.6, 0.4, 0.3});
  const double photons = corruption.Of<double>({250, 120, 50});
  const float sigma = corruption.Of<float>({0.008f, 0.018f, 0.026f});
  const auto [low, high] = std::minmax_element(image.data.begin(), image.data.end());
  // A picture of one shade has no range to stretch.
  const double begin = *low == *high ? 0 : *low / 255.0;
  const double end = *low == *high ? 1 : *high / 255.0;
  std::vector<PoissonTable> tables;
  for (int value = 0; value < 256; ++value) {
    const double stretched = std::clamp((value / 255.0 - begin) / (end - begin), 0.0, 1.0);
    tables.emplace_back(photons * scale * stretched * stretched);
  }
  Image result = image;
  ForRows(image.height, key, [&](int y, Random& random) {
    uint8_t* row = result.at(0, y);
    for (int i = 0; i < 3 * image.width; ++i) {
      const float light =
          std::min(static_cast<float>(tables[row[i]].Draw(random.Uniform()) / photons), 1.0f);
      row[i] = ByteOf(light + sigma * random.Normal());
    }
  });
  return result;
}

Image BlurByMotion(const Image& image, double sigma, uint64_t key) {
  const double angle_rad = Random(key).Uniform(-45, 45) * M_PI / 180;
  FloatImage light(image.width, image.height, 3);
  std::copy(image.data.begin(), image.data.end(), light.data.begin());
  const FloatImage blurred = BlurAlong(light, 15, 100 * sigma, angle_rad);
  Image result = image;
  for (size_t i = 0; i < result.data.size(); ++i) {
    result.data[i] = static_cast<uint8_t>(std::clamp(blurred.data[i], 0.0f, 255.0f));
  }
  return result;
}

}  // namespace

FloatImage BlurAlong(const FloatImage& image, int radius, double sigma_px, double angle_rad) {
  const int taps = 2 * radius + 1, channels = image.channels;
  std::vector<float> weights(taps);
  std::vector<int> dx(taps), dy(taps);
  double sum = 0;
  for (int i = 0; i < taps; ++i) sum += std::exp(-i * i / (2 * sigma_px * sigma_px));
  for (int i = 0; i < taps; ++i) {
    weights[i] = static_cast<float>(std::exp(-i * i / (2 * sigma_px * sigma_px)) / sum);
    dx[i] = static_cast<int>(std::ceil(i * std::cos(angle_rad) - 0.5));
    dy[i] = static_cast<int>(std::ceil(i * std::sin(angle_rad) - 0.5));
  }
  FloatImage result(image.width, image.height, channels);
  ForRows(image.height, 0, [&](int y, Random&) {
    float* out = result.at(0, y);
    for (int i = 0; i < taps; ++i) {
      const int from_y = std::clamp(y + dy[i], 0, image.height - 1);
      for (int x = 0; x < image.width; ++x) {
        const float* from = image.at(std::clamp(x + dx[i], 0, image.width - 1), from_y);
        for (int c = 0; c < channels; ++c) out[x * channels + c] += weights[i] * from[c];
      }
    }
  });
  return result;
}

Image CorruptImage(const Image& image, const Corruption& corruption, uint64_t key,
                   const FloatImage* depth) {
  corruption.Check();
  if (image.data.empty()) return image;
  ATHANOR_CHECK(image.channels == 3, "picture to corrupt: expected 3 channels, found ",
                image.channels);
  ATHANOR_CHECK(depth == nullptr || (depth->channels == 1 && !depth->data.empty()),
                "depth of a picture: expected one channel and some pixels");
  const Image black(image.width, image.height, 3);
  switch (corruption.kind) {
    case CorruptionKind::kMissingCamera:
      return IsDrawn(corruption, key) ? black : image;
    case CorruptionKind::kNoCameras:
    case CorruptionKind::kLostCamera:
      return black;
    case CorruptionKind::kBrightness:
      return Brighten(image, corruption.Of<float>({0.5f, 0.6f, 0.7f}));
    case CorruptionKind::kDark:
      return Darken(image, corruption, key);
    case CorruptionKind::kMotionBlur:
      return BlurByMotion(image, corruption.Of<double>({0.06, 0.1, 0.13}), key);
    case CorruptionKind::kFog:
      return FogImage(image, corruption.severity, key, depth);
    case CorruptionKind::kSnow:
      return SnowImage(image, corruption.severity, key);
    default:
      return image;
  }
}

}  // namespace athanor
