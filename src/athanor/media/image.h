// Images of bytes in memory, and the files that hold them.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

namespace athanor {

// Rows from the top; pixels of a row side by side; channels of a pixel side by side.
template <typename T>
struct ImageOf {
  int width = 0;
  int height = 0;
  int channels = 0;
  std::vector<T> data;  // [height, width, channels]

  ImageOf() = default;
  ImageOf(int width_px, int height_px, int num_channels, T value = T{})
      : width(width_px),
        height(height_px),
        channels(num_channels),
        data(static_cast<size_t>(width_px) * height_px * num_channels, value) {}
  T* at(int x, int y) { return data.data() + (static_cast<size_t>(y) * width + x) * channels; }
  const T* at(int x, int y) const {
    return data.data() + (static_cast<size_t>(y) * width + x) * channels;
  }
  size_t size_bytes() const { return data.size() * sizeof(T); }
};

using Image = ImageOf<uint8_t>;        // 1 grey, 3 RGB or 4 RGBA channels, sRGB, 0..255
using FloatImage = ImageOf<float>;     // meaning as the producer says
using DepthImage = ImageOf<uint16_t>;  // 16-bit grey PNG

struct ImageSize {
  int width = 0;
  int height = 0;
};

// Reads PNG or JPEG, told apart by content, as `channels` channels (1, 3 or 4; 0 = as in the file:
// grey, RGB or RGBA). A JPEG's EXIF orientation is not applied: poses refer to the stored pixels.
// Throws Error with the path and the codec's reason for anything else, damaged or truncated.
Image ReadImage(const std::filesystem::path& path, int channels = 3);
// Size without decoding the pixels.
ImageSize ReadImageSize(const std::filesystem::path& path);
// From bytes in memory; `name` is what messages call them.
Image DecodeImage(std::string_view bytes, std::string_view name, int channels = 3);
// 16-bit grey PNG, as depth maps and label maps come. 8-bit ones are widened.
DepthImage ReadDepthPng(const std::filesystem::path& path);

// By the extension: .png, .jpg, .jpeg. Written aside and renamed. Throws Error.
void WriteImage(const std::filesystem::path& path, const Image& image, int jpeg_quality = 92);
void WriteDepthPng(const std::filesystem::path& path, const DepthImage& image);

// Area-averaged when smaller (each output pixel is the mean of what it covers), bilinear when
// larger. Any number of channels.
Image Resize(const Image& image, int new_width, int new_height);

}  // namespace athanor
