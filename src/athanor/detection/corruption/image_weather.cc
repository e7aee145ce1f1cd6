// Fog and snow on pictures.
#include <algorithm>
#include <cmath>

#include "athanor/base/error.h"
#include "athanor/detection/corruption/image_corruption.h"
#include "athanor/detection/corruption/image_filters.h"
#include "athanor/detection/corruption/lidar_fog.h"

namespace athanor {
namespace {

// The picture is cut from a plasma fractal of the next power of two. Its finest octaves are below a
// grey level: a quarter of the size will do.
constexpr int kPlasmaScale = 4;

FloatImage PlasmaFor(const Image& image, uint64_t key) {
  int side = 2;
  while (kPlasmaScale * side < std::max(image.width, image.height)) side *= 2;
  return PlasmaFractal(side, key);
}

float PlasmaAt(const FloatImage& plasma, int x, int y) {
  return SampleStretched(plasma, kPlasmaScale * plasma.width, kPlasmaScale * plasma.height, x, y);
}

// How bright the sky is: of the upper half, what nine tenths of the pixels are darker than.
float Airlight(const Image& image) {
  std::vector<int> count(256, 0);
  int total = 0;
  for (int y = 0; y < (image.height + 1) / 2; ++y) {
    for (int x = 0; x < image.width; ++x, ++total) {
      const uint8_t* pixel = image.at(x, y);
      ++count[(pixel[0] + pixel[1] + pixel[2]) / 3];
    }
  }
  int level = 255, above = count[255];
  while (level > 0 && above * 10 < total) above += count[--level];
  return std::clamp(level / 255.0f, 0.2f, 0.85f);
}

Image FogByDepth(const Image& image, int severity, uint64_t key, const FloatImage& depth) {
  const auto alpha_per_m = static_cast<float>(LidarFogOfSeverity(severity).alpha_per_m);
  const float airlight = Airlight(image);
  const FloatImage density = PlasmaFor(image, key);
  Image result = image;
  ForRows(image.height, 0, [&](int y, Random&) {
    for (int x = 0; x < image.width; ++x) {
      const float depth_m = SampleStretched(depth, image.width, image.height, x, y);
      const float thickness = 0.75f + 0.5f * PlasmaAt(density, x, y);
      const float left = std::exp(-alpha_per_m * thickness * std::max(depth_m, 0.0f));
      uint8_t* pixel = result.at(x, y);
      for (int c = 0; c < 3; ++c) {
        pixel[c] = ByteOf(pixel[c] / 255.0f * left + airlight * (1 - left));
      }
    }
  });
  return result;
}

Image FogAsPublished(const Image& image, int severity, uint64_t key) {
  const float strength = 1.0f + severity;  // 2, 3, 4
  const double beta = 0.0005 * (1 << (severity - 1));
  constexpr float kAirlight = 0.5f, kAttenuation = 0.8f, kBackscatter = 0.5f;
  const FloatImage fog = PlasmaFor(image, MixBits(key + 1));
  const FloatImage attenuation = PlasmaFor(image, MixBits(key + 2));
  const FloatImage backscatter = PlasmaFor(image, MixBits(key + 3));
  const float brightest = *std::max_element(image.data.begin(), image.data.end()) / 255.0f;
  const int width = image.width, height = image.height;
  const double size = std::sqrt(std::max(width, height));
  const int y1 = static_cast<int>(height * 0.65), x1 = static_cast<int>(width * 0.1);
  const int y2 = static_cast<int>(height * 0.99), x2 = static_cast<int>(width * 0.85);
  Image result = image;
  ForRows(height, key, [&](int y, Random& random) {
    for (int x = 0; x < width; ++x) {
      const float layer = PlasmaAt(fog, x, y) * (1 - kAttenuation * PlasmaAt(attenuation, x, y)) *
                          (1 + kBackscatter * PlasmaAt(backscatter, x, y));
      const double outside_px =
          std::hypot(std::max({0, y - y2, y1 - y}), std::max({0, x - x2, x1 - x}));
      const double depth_px = 2 * outside_px * (1 + random.Uniform() / 4) + size;
      const auto left = static_cast<float>(std::exp(-beta * depth_px));
      uint8_t* pixel = result.at(x, y);
      for (int c = 0; c < 3; ++c) {
        const float noisy =
            std::clamp((pixel[c] / 255.0f + strength * layer) * brightest / (brightest + strength),
                       0.0f, 1.0f);
        pixel[c] = ByteOf(noisy * left + kAirlight * (1 - left));
      }
    }
  });
  return result;
}

}  // namespace

FloatImage PlasmaFractal(int side, uint64_t key) {
  ATHANOR_CHECK(side >= 2 && (side & (side - 1)) == 0,
                "side of a plasma fractal: expected a power of two, found ", side);
  FloatImage map(side, side, 1);
  const int mask = side - 1;
  Random random(key);
  const auto at = [&](int x, int y) -> float& { return *map.at(x & mask, y & mask); };
  float wobble = 100;
  for (int step = side; step >= 2; step /= 2, wobble /= 1.7f) {
    const int half = step / 2;
    const auto wobbled = [&](float sum) {
      return sum / 4 + wobble * random.Uniform(-wobble, wobble);
    };
    for (int y = 0; y < side; y += step) {
      for (int x = 0; x < side; x += step) {
        at(x + half, y + half) =
            wobbled(at(x, y) + at(x + step, y) + at(x, y + step) + at(x + step, y + step));
      }
    }
    for (int y = 0; y < side; y += half) {
      for (int x = (y / half) % 2 == 0 ? half : 0; x < side; x += step) {
        at(x, y) = wobbled(at(x - half, y) + at(x + half, y) + at(x, y - half) + at(x, y + half));
      }
    }
  }
  const auto [low, high] = std::minmax_element(map.data.begin(), map.data.end());
  const float begin = *low, range = std::max(*high - *low, 1e-12f);
  for (float& value : map.data) value = (value - begin) / range;
  return map;
}

Image FogImage(const Image& image, int severity, uint64_t key, const FloatImage* depth) {
  return depth != nullptr ? FogByDepth(image, severity, key, *depth)
                          : FogAsPublished(image, severity, key);
}

Image SnowImage(const Image& image, int severity, uint64_t key) {
  struct Layer {  // of imagecorruptions, as MultiCorrupt sets it
    float mean;
    int zoom;
    float threshold;
    int radius;
    float keep;
  };
  constexpr Layer kLayers[3] = {
      {0.3f, 5, 0.9f, 7, 0.9f}, {0.4f, 4, 0.85f, 8, 0.85f}, {0.5f, 3, 0.8f, 10, 0.8f}};
  const Layer& layer = kLayers[severity - 1];
  const int width = image.width, height = image.height;
  FloatImage small((width + layer.zoom - 1) / layer.zoom, (height + layer.zoom - 1) / layer.zoom,
                   1);
  ForRows(small.height, key, [&](int y, Random& random) {
    for (int x = 0; x < small.width; ++x) *small.at(x, y) = layer.mean + 0.3f * random.Normal();
  });
  FloatImage flakes(width, height, 1);
  ForRows(height, 0, [&](int y, Random&) {
    for (int x = 0; x < width; ++x) {
      const float value = SampleStretched(small, width, height, x, y);
      *flakes.at(x, y) = value < layer.threshold ? 0 : std::min(value, 1.0f);
    }
  });
  const double angle_rad = Random(key).Uniform(-135, -45) * M_PI / 180;
  flakes = BlurAlong(flakes, layer.radius, layer.radius, angle_rad);
  Image result = image;
  ForRows(height, 0, [&](int y, Random&) {
    for (int x = 0; x < width; ++x) {
      uint8_t* pixel = result.at(x, y);
      const float grey = (0.299f * pixel[0] + 0.587f * pixel[1] + 0.114f * pixel[2]) / 255.0f;
      // The layer and itself upside down, so that flakes fall from both sides.
      const float snow = *flakes.at(x, y) + *flakes.at(width - 1 - x, height - 1 - y);
      for (int c = 0; c < 3; ++c) {
        const float light = pixel[c] / 255.0f;
        const float pale =
            layer.keep * light + (1 - layer.keep) * std::max(light, 1.5f * grey + 0.5f);
        pixel[c] = ByteOf(0.9f * pale + snow);
      }
    }
  });
  return result;
}

}  // namespace athanor
