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
// grey, RGB or RGBA). Colour becomes grey as ITU-R BT.601 weighs it; an unwanted alpha is dropped,
// not blended; 16 bits become 8. A JPEG's EXIF orientation is not applied: poses refer to the
// stored pixels.
// Throws Error with the path, the byte and the codec's reason for anything else, damaged or
// truncated, of more than 2^28 pixels, or for a JPEG in CMYK or with arithmetic coding.
Image ReadImage(const std::filesystem::path& path, int channels = 3);
// Size without decoding the pixels.
ImageSize ReadImageSize(const std::filesystem::path& path);
// From bytes in memory; `name` is what messages call them.
Image DecodeImage(std::string_view bytes, std::string_view name, int channels = 3);
ImageSize DecodeImageSize(std::string_view bytes, std::string_view name);
// Grey PNG of up to 16 bits, as depth maps and label maps come. Values are those in the file:
// narrower ones are not stretched.
DepthImage ReadDepthPng(const std::filesystem::path& path);
DepthImage DecodeDepthPng(std::string_view bytes, std::string_view name);

// By the extension: .png (1, 3 or 4 channels), .jpg, .jpeg (1 or 3; full-resolution colour from
// quality 90). Written aside and renamed. Throws Error.
void WriteImage(const std::filesystem::path& path, const Image& image, int jpeg_quality = 92);
void WriteDepthPng(const std::filesystem::path& path, const DepthImage& image);
// As the bytes of a file; `name` is what messages call it.
std::string EncodePng(const Image& image, std::string_view name);
std::string EncodeJpeg(const Image& image, std::string_view name, int quality = 92);

// Area-averaged when smaller (each output pixel is the mean of what it covers), bilinear when
// larger. Any number of channels.
Image Resize(const Image& image, int new_width, int new_height);

}  // namespace athanor
