#include "athanor/media/undistort.h"

#include <algorithm>
#include <cmath>

#include "athanor/base/error.h"
#include "athanor/base/parallel.h"

namespace athanor {
namespace {

// The mean of the four pixels around (x, y), which lies in the image. kChannels = 0: any number.
template <int kChannels>
void SampleBilinear(const Image& image, double x, double y, uint8_t* out) {
  const int channels = kChannels > 0 ? kChannels : image.channels;
  x = std::clamp(x - 0.5, 0.0, image.width - 1.0);
  y = std::clamp(y - 0.5, 0.0, image.height - 1.0);
  const int left = static_cast<int>(x), top = static_cast<int>(y);
  const auto right_share = static_cast<float>(x - left);
  const auto bottom_share = static_cast<float>(y - top);
  const uint8_t* p = image.data.data() + (static_cast<size_t>(top) * image.width + left) * channels;
  const int right = left + 1 < image.width ? channels : 0;
  const size_t below = top + 1 < image.height ? static_cast<size_t>(image.width) * channels : 0;
  for (int c = 0; c < channels; ++c) {
    const auto upper =
        static_cast<float>(p[c]) + right_share * static_cast<float>(p[c + right] - p[c]);
    const auto lower = static_cast<float>(p[c + below]) +
                       right_share * static_cast<float>(p[c + below + right] - p[c + below]);
    out[c] = static_cast<uint8_t>(static_cast<int>(upper + bottom_share * (lower - upper) + 0.5f));
  }
}

template <typename T, typename Sample>
ImageOf<T> Resample(const ImageOf<T>& image, const Camera& source, const Camera& target,
                    Sample&& sample) {
  source.Check("undistorting: source camera");
  target.Check("undistorting: target camera");
  ATHANOR_CHECK(image.width == source.width_px && image.height == source.height_px,
                "undistorting: expected an image of the camera's ", source.width_px, "x",
                source.height_px, " pixels, found ", image.width, "x", image.height);
  ATHANOR_CHECK(target.IsPinhole(), "undistorting: expected a target camera without distortion");
  std::vector<double> ray_x(target.width_px);
  for (int x = 0; x < target.width_px; ++x) ray_x[x] = (x + 0.5 - target.cx()) / target.fx();
  ImageOf<T> result(target.width_px, target.height_px, image.channels);
  ParallelFor(target.height_px, 16, [&](int64_t begin, int64_t end) {
    for (auto y = static_cast<int>(begin); y < end; ++y) {
      const double ray_y = (y + 0.5 - target.cy()) / target.fy();
      for (int x = 0; x < target.width_px; ++x) {
        const auto pixel = source.Project({ray_x[x], ray_y, 1});
        if (!pixel || !(pixel->x() >= 0 && pixel->x() < image.width && pixel->y() >= 0 &&
                        pixel->y() < image.height)) {
          continue;
        }
        sample(*pixel, result.at(x, y));
      }
    }
  });
  return result;
}

template <typename T>
ImageOf<T> ResampleNearest(const ImageOf<T>& image, const Camera& source, const Camera& target) {
  return Resample(image, source, target, [&](const Eigen::Vector2d& pixel, T* out) {
    const T* in = image.at(static_cast<int>(pixel.x()), static_cast<int>(pixel.y()));
    std::copy(in, in + image.channels, out);
  });
}

}  // namespace

Image Undistort(const Image& image, const Camera& source, const Camera& target, Sampling sampling) {
  if (sampling == Sampling::kNearest) return ResampleNearest(image, source, target);
  const auto sample = image.channels == 1   ? SampleBilinear<1>
                      : image.channels == 3 ? SampleBilinear<3>
                                            : SampleBilinear<0>;
  return Resample(image, source, target, [&](const Eigen::Vector2d& pixel, uint8_t* out) {
    sample(image, pixel.x(), pixel.y(), out);
  });
}

DepthImage Undistort(const DepthImage& image, const Camera& source, const Camera& target) {
  return ResampleNearest(image, source, target);
}

}  // namespace athanor
