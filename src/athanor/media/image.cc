#include "athanor/media/image.h"

#include <png.h>

#include <algorithm>
#include <bit>
#include <cctype>
#include <csetjmp>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <sstream>
#include <utility>

// After the above: jpeglib.h needs FILE.
#include <jerror.h>
#include <jpeglib.h>

#include "athanor/base/error.h"
#include "athanor/base/files.h"

namespace athanor {
namespace {

constexpr int64_t kMaxPixels = int64_t{1} << 28;

// Both codecs report errors by jumping (longjmp) out of C. In each class below every function that
// sets a jump target holds no object with a destructor, so a jump skips none; memory belongs to the
// class or to its caller.
//
// A small file can claim to be huge. Neither format packs pixels more tightly than these bounds, so
// a claim that the file's own size cannot bear is refused before anything is allocated.
constexpr int64_t kMaxDeflateRatio = 1032;      // bytes of pixels per byte of file: zlib's limit
constexpr int64_t kMaxJpegPixelsPerByte = 512;  // 8x8 pixels per bit: one bit per block at least

void CheckSize(int64_t width, int64_t height, std::string_view name) {
  ATHANOR_CHECK(width > 0 && height > 0 && width <= kMaxPixels / height, name,
                ": image size: expected 1 to ", kMaxPixels, " pixels, found ", width, "x", height);
}

bool IsPng(std::string_view bytes) { return bytes.starts_with("\x89PNG\r\n\x1a\n"); }
bool IsJpeg(std::string_view bytes) { return bytes.starts_with("\xff\xd8\xff"); }

[[noreturn]] void FailUnknownFormat(std::string_view bytes, std::string_view name) {
  std::ostringstream start;
  for (const char c : bytes.substr(0, 4)) {
    start << " " << std::hex << (static_cast<unsigned>(c) & 0xff);
  }
  throw Error(StrCat(name, ": byte 0: expected a PNG or JPEG image, found ",
                     bytes.empty() ? "an empty file" : "bytes" + start.str()));
}

class PngReader {
 public:
  PngReader(std::string_view bytes, std::string_view name) : bytes_(bytes), name_(name) {
    png_ = png_create_read_struct(PNG_LIBPNG_VER_STRING, this, &OnError, &OnWarning);
    if (png_ != nullptr) info_ = png_create_info_struct(png_);
    if (info_ == nullptr) {
      png_destroy_read_struct(&png_, nullptr, nullptr);
      throw Error(StrCat(name_, ": no memory for the PNG decoder"));
    }
  }
  ~PngReader() { png_destroy_read_struct(&png_, &info_, nullptr); }
  PngReader(const PngReader&) = delete;
  PngReader& operator=(const PngReader&) = delete;

  ImageSize ReadHeader() {
    if (!TryReadHeader()) Fail();
    CheckSize(width_, height_, name_);
    return {static_cast<int>(width_), static_cast<int>(height_)};
  }

  // 8 bits per channel, 1, 3 or 4 channels.
  Image ReadBytes() {
    const ImageSize size = ReadHeader();
    CheckFileBears();
    if (!TrySetByteTransforms()) Fail();
    Image image(size.width, size.height, png_get_channels(png_, info_));
    ReadRows(image.data.data(), static_cast<size_t>(size.width) * image.channels);
    return image;
  }

  // Grey values as they stand in the file, of up to 16 bits.
  DepthImage ReadGrey() {
    const ImageSize size = ReadHeader();
    ATHANOR_CHECK(png_get_color_type(png_, info_) == PNG_COLOR_TYPE_GRAY, name_,
                  ": expected a grey PNG without alpha, found colour type ",
                  static_cast<int>(png_get_color_type(png_, info_)));
    CheckFileBears();
    const bool wide = png_get_bit_depth(png_, info_) == 16;
    if (!TrySetGreyTransforms()) Fail();
    DepthImage image(size.width, size.height, 1);
    if (wide) {
      ReadRows(reinterpret_cast<uint8_t*>(image.data.data()),
               static_cast<size_t>(size.width) * sizeof(uint16_t));
    } else {
      Image narrow(size.width, size.height, 1);
      ReadRows(narrow.data.data(), size.width);
      std::copy(narrow.data.begin(), narrow.data.end(), image.data.begin());
    }
    return image;
  }

 private:
  static void OnError(png_structp png, png_const_charp message) {
    auto* reader = static_cast<PngReader*>(png_get_error_ptr(png));
    std::snprintf(reader->message_, sizeof reader->message_, "%s", message);
    std::longjmp(reader->jump_, 1);
  }
  static void OnWarning(png_structp, png_const_charp) {}
  static void OnRead(png_structp png, png_bytep out, size_t size) {
    auto* reader = static_cast<PngReader*>(png_get_io_ptr(png));
    if (size > reader->bytes_.size() - reader->position_) {
      reader->position_ = reader->bytes_.size();
      png_error(png, "the file ends too early");
    }
    std::memcpy(out, reader->bytes_.data() + reader->position_, size);
    reader->position_ += size;
  }

  [[noreturn]] void Fail() const {
    throw Error(StrCat(name_, ": byte ", position_, ": damaged PNG: ", message_));
  }

  void CheckFileBears() const {
    const auto pixel_bytes = static_cast<int64_t>(png_get_rowbytes(png_, info_)) * height_;
    ATHANOR_CHECK(pixel_bytes / kMaxDeflateRatio <= static_cast<int64_t>(bytes_.size()), name_,
                  ": damaged PNG: ", bytes_.size(), " bytes cannot hold ", width_, "x", height_,
                  " pixels");
  }

  bool TryReadHeader() {
    if (setjmp(jump_) != 0) return false;
    png_set_read_fn(png_, this, &OnRead);
    png_set_user_limits(png_, kMaxPixels, kMaxPixels);
    png_read_info(png_, info_);
    width_ = png_get_image_width(png_, info_);
    height_ = png_get_image_height(png_, info_);
    return true;
  }

  bool TrySetByteTransforms() {
    if (setjmp(jump_) != 0) return false;
    const auto color_type = png_get_color_type(png_, info_);
    png_set_expand(png_);  // palettes to RGB, few bits to 8, a transparent colour to alpha
    png_set_scale_16(png_);
    const bool alpha =
        (color_type & PNG_COLOR_MASK_ALPHA) != 0 || png_get_valid(png_, info_, PNG_INFO_tRNS) != 0;
    if (alpha) png_set_gray_to_rgb(png_);
    png_set_interlace_handling(png_);
    png_read_update_info(png_, info_);
    return true;
  }

  bool TrySetGreyTransforms() {
    if (setjmp(jump_) != 0) return false;
    png_set_packing(png_);
    if (std::endian::native == std::endian::little) png_set_swap(png_);
    png_set_interlace_handling(png_);
    png_read_update_info(png_, info_);
    return true;
  }

  void ReadRows(uint8_t* pixels, size_t row_bytes) {
    ATHANOR_CHECK(png_get_rowbytes(png_, info_) == row_bytes, name_, ": damaged PNG: expected ",
                  row_bytes, " bytes per row, found ", png_get_rowbytes(png_, info_));
    std::vector<png_bytep> rows(height_);
    for (size_t y = 0; y < rows.size(); ++y) rows[y] = pixels + y * row_bytes;
    if (!TryReadRows(rows.data())) Fail();
  }

  bool TryReadRows(png_bytepp rows) {
    if (setjmp(jump_) != 0) return false;
    png_read_image(png_, rows);
    png_read_end(png_, nullptr);  // what follows the pixels must be whole too
    return true;
  }

  std::string_view bytes_;
  std::string_view name_;
  size_t position_ = 0;
  int64_t width_ = 0;
  int64_t height_ = 0;
  png_structp png_ = nullptr;
  png_infop info_ = nullptr;
  std::jmp_buf jump_;
  char message_[256] = "";
};

// The error handler that both directions of libjpeg share. The first member, so that libjpeg's
// pointer to it is a pointer to the whole.
struct JpegErrors {
  jpeg_error_mgr manager;
  std::jmp_buf jump;
  char message[JMSG_LENGTH_MAX] = "";

  jpeg_error_mgr* Install() {
    jpeg_std_error(&manager);
    manager.error_exit = &OnError;
    manager.emit_message = &OnMessage;
    manager.output_message = [](j_common_ptr) {};
    return &manager;
  }

 private:
  [[noreturn]] static void OnError(j_common_ptr codec) {
    auto* errors = reinterpret_cast<JpegErrors*>(codec->err);
    codec->err->format_message(codec, errors->message);
    std::longjmp(errors->jump, 1);
  }
  // libjpeg only warns of missing data and paints it grey. Here that is an error; what harms no
  // pixel (padding between segments, unknown versions) is not.
  static void OnMessage(j_common_ptr codec, int level) {
    const int code = codec->err->msg_code;
    if (level < 0 && code != JWRN_EXTRANEOUS_DATA && code != JWRN_JFIF_MAJOR &&
        code != JWRN_ADOBE_XFORM) {
      OnError(codec);
    }
  }
};

class JpegReader {
 public:
  JpegReader(std::string_view bytes, std::string_view name) : bytes_(bytes), name_(name) {
    codec_.err = errors_.Install();
    if (!TryCreate()) Fail();
  }
  ~JpegReader() { jpeg_destroy_decompress(&codec_); }
  JpegReader(const JpegReader&) = delete;
  JpegReader& operator=(const JpegReader&) = delete;

  ImageSize ReadHeader() {
    if (!TryReadHeader()) Fail();
    CheckSize(codec_.image_width, codec_.image_height, name_);
    return {static_cast<int>(codec_.image_width), static_cast<int>(codec_.image_height)};
  }

  // 1, 3 or 4 channels; 0 = as in the file.
  Image Read(int channels) {
    const ImageSize size = ReadHeader();
    if (channels == 0) channels = codec_.num_components == 1 ? 1 : 3;
    const int64_t pixels = int64_t{size.width} * size.height;
    ATHANOR_CHECK(!codec_.arith_code, name_,
                  ": expected a JPEG with Huffman codes, found arithmetic coding");
    ATHANOR_CHECK(pixels / kMaxJpegPixelsPerByte <= static_cast<int64_t>(bytes_.size()), name_,
                  ": damaged JPEG: ", bytes_.size(), " bytes cannot hold ", size.width, "x",
                  size.height, " pixels");
    Image image(size.width, size.height, channels);
    if (!TryReadRows(image.data.data(), channels)) Fail();
    return image;
  }

 private:
  // A progressive file may repeat scans without end; encoders write ten or so.
  static constexpr int kMaxScans = 500;

  [[noreturn]] void Fail() const {
    const size_t left = codec_.src != nullptr ? codec_.src->bytes_in_buffer : bytes_.size();
    throw Error(StrCat(name_, ": byte ", bytes_.size() - std::min(left, bytes_.size()),
                       ": damaged JPEG: ", errors_.message));
  }

  static void OnProgress(j_common_ptr codec) {
    auto* decoder = reinterpret_cast<j_decompress_ptr>(codec);
    if (decoder->input_scan_number > kMaxScans) ERREXIT(codec, JERR_EOI_EXPECTED);
  }

  bool TryCreate() {
    if (setjmp(errors_.jump) != 0) return false;
    jpeg_create_decompress(&codec_);
    return true;
  }

  bool TryReadHeader() {
    if (setjmp(errors_.jump) != 0) return false;
    jpeg_mem_src(&codec_, reinterpret_cast<const unsigned char*>(bytes_.data()), bytes_.size());
    jpeg_read_header(&codec_, TRUE);
    return true;
  }

  bool TryReadRows(uint8_t* pixels, int channels) {
    if (setjmp(errors_.jump) != 0) return false;
    progress_.progress_monitor = &OnProgress;
    codec_.progress = &progress_;
    codec_.out_color_space = channels == 1 ? JCS_GRAYSCALE : channels == 3 ? JCS_RGB : JCS_EXT_RGBA;
    jpeg_start_decompress(&codec_);
    while (codec_.output_scanline < codec_.output_height) {
      JSAMPROW row =
          pixels + static_cast<size_t>(codec_.output_scanline) * codec_.output_width * channels;
      jpeg_read_scanlines(&codec_, &row, 1);
    }
    jpeg_finish_decompress(&codec_);
    return true;
  }

  std::string_view bytes_;
  std::string_view name_;
  JpegErrors errors_;
  jpeg_progress_mgr progress_ = {};
  jpeg_decompress_struct codec_ = {};
};

Image ConvertChannels(Image image, int channels) {
  if (channels == 0 || channels == image.channels) return image;
  Image converted(image.width, image.height, channels, 255);
  const size_t pixels = static_cast<size_t>(image.width) * image.height;
  for (size_t i = 0; i < pixels; ++i) {
    const uint8_t* from = image.data.data() + i * image.channels;
    uint8_t* to = converted.data.data() + i * channels;
    if (channels == 1) {
      // ITU-R BT.601, as JPEG's Y.
      to[0] =
          static_cast<uint8_t>((19595 * from[0] + 38470 * from[1] + 7471 * from[2] + 32768) >> 16);
    } else {
      for (int c = 0; c < 3; ++c) to[c] = from[image.channels == 1 ? 0 : c];
    }
  }
  return converted;
}

// A libpng writer into a string.
class PngWriter {
 public:
  PngWriter() {
    png_ = png_create_write_struct(PNG_LIBPNG_VER_STRING, this, &OnError, nullptr);
    if (png_ != nullptr) info_ = png_create_info_struct(png_);
    if (info_ == nullptr) {
      png_destroy_write_struct(&png_, nullptr);
      throw Error("no memory for the PNG encoder");
    }
  }
  ~PngWriter() { png_destroy_write_struct(&png_, &info_); }
  PngWriter(const PngWriter&) = delete;
  PngWriter& operator=(const PngWriter&) = delete;

  // rows: `size.height` pointers to rows of the given bits and channels, native byte order.
  std::string Write(const uint8_t* pixels, size_t row_bytes, ImageSize size, int channels, int bits,
                    std::string_view name) {
    std::vector<png_bytep> rows(size.height);
    for (size_t y = 0; y < rows.size(); ++y) {
      rows[y] = const_cast<png_bytep>(pixels) + y * row_bytes;  // libpng does not write to them
    }
    if (!TryWrite(rows.data(), size, channels, bits)) {
      throw Error(StrCat(name, ": cannot encode as PNG: ", message_));
    }
    return std::move(bytes_);
  }

 private:
  static void OnError(png_structp png, png_const_charp message) {
    auto* writer = static_cast<PngWriter*>(png_get_error_ptr(png));
    std::snprintf(writer->message_, sizeof writer->message_, "%s", message);
    std::longjmp(writer->jump_, 1);
  }
  static void OnWrite(png_structp png, png_bytep data, size_t size) {
    auto* writer = static_cast<PngWriter*>(png_get_io_ptr(png));
    bool fits = true;
    try {
      writer->bytes_.append(reinterpret_cast<const char*>(data), size);
    } catch (const std::bad_alloc&) {
      fits = false;  // no exception may pass through C
    }
    if (!fits) png_error(png, "out of memory");
  }

  bool TryWrite(png_bytepp rows, ImageSize size, int channels, int bits) {
    if (setjmp(jump_) != 0) return false;
    const int color_type = channels == 1   ? PNG_COLOR_TYPE_GRAY
                           : channels == 3 ? PNG_COLOR_TYPE_RGB
                                           : PNG_COLOR_TYPE_RGB_ALPHA;
    png_set_write_fn(png_, this, &OnWrite, nullptr);
    png_set_user_limits(png_, kMaxPixels, kMaxPixels);
    png_set_IHDR(png_, info_, size.width, size.height, bits, color_type, PNG_INTERLACE_NONE,
                 PNG_COMPRESSION_TYPE_DEFAULT, PNG_FILTER_TYPE_DEFAULT);
    if (bits == 16) {
      // Depths and labels: rows are like those above them. A few times quicker than trying all
      // filters, about as small.
      png_set_filter(png_, PNG_FILTER_TYPE_BASE, PNG_FILTER_UP);
      png_set_compression_level(png_, 2);
    } else {
      png_set_compression_level(png_,
                                4);  // half the time of the default for a few per cent of size
    }
    png_write_info(png_, info_);
    if (bits == 16 && std::endian::native == std::endian::little) png_set_swap(png_);
    png_write_image(png_, rows);
    png_write_end(png_, info_);
    return true;
  }

  png_structp png_ = nullptr;
  png_infop info_ = nullptr;
  std::string bytes_;
  std::jmp_buf jump_;
  char message_[256] = "";
};

class JpegWriter {
 public:
  JpegWriter() { codec_.err = errors_.Install(); }
  ~JpegWriter() {
    jpeg_destroy_compress(&codec_);
    std::free(buffer_);
  }
  JpegWriter(const JpegWriter&) = delete;
  JpegWriter& operator=(const JpegWriter&) = delete;

  std::string Write(const Image& image, int quality, std::string_view name) {
    if (!TryWrite(image, quality)) {
      throw Error(StrCat(name, ": cannot encode as JPEG: ", errors_.message));
    }
    return std::string(reinterpret_cast<const char*>(buffer_), size_);
  }

 private:
  bool TryWrite(const Image& image, int quality) {
    if (setjmp(errors_.jump) != 0) return false;
    jpeg_create_compress(&codec_);
    jpeg_mem_dest(&codec_, &buffer_, &size_);
    codec_.image_width = static_cast<JDIMENSION>(image.width);
    codec_.image_height = static_cast<JDIMENSION>(image.height);
    codec_.input_components = image.channels;
    codec_.in_color_space = image.channels == 1 ? JCS_GRAYSCALE : JCS_RGB;
    jpeg_set_defaults(&codec_);
    jpeg_set_quality(&codec_, quality, TRUE);
    if (quality >= 90) {
      // Who asks for quality wants colours at full resolution too.
      codec_.comp_info[0].h_samp_factor = codec_.comp_info[0].v_samp_factor = 1;
    }
    jpeg_start_compress(&codec_, TRUE);
    while (codec_.next_scanline < codec_.image_height) {
      // libjpeg does not write to the row.
      auto* row = const_cast<JSAMPROW>(image.at(0, static_cast<int>(codec_.next_scanline)));
      jpeg_write_scanlines(&codec_, &row, 1);
    }
    jpeg_finish_compress(&codec_);
    return true;
  }

  JpegErrors errors_;
  jpeg_compress_struct codec_ = {};
  unsigned char* buffer_ = nullptr;  // malloc'ed by libjpeg
  unsigned long size_ = 0;
};

template <typename T>
void CheckWritable(const ImageOf<T>& image, std::string_view name) {
  CheckSize(image.width, image.height, name);
  const size_t expected = static_cast<size_t>(image.width) * image.height * image.channels;
  ATHANOR_CHECK(image.data.size() == expected, name, ": expected ", expected,
                " values for an image of ", image.width, "x", image.height, "x", image.channels,
                ", found ", image.data.size());
}

}  // namespace

Image DecodeImage(std::string_view bytes, std::string_view name, int channels) {
  ATHANOR_CHECK(channels == 0 || channels == 1 || channels == 3 || channels == 4, name,
                ": channels: expected 0, 1, 3 or 4, found ", channels);
  if (IsPng(bytes)) return ConvertChannels(PngReader(bytes, name).ReadBytes(), channels);
  if (IsJpeg(bytes)) return JpegReader(bytes, name).Read(channels);
  FailUnknownFormat(bytes, name);
}

Image ReadImage(const std::filesystem::path& path, int channels) {
  return DecodeImage(ReadFile(path), path.string(), channels);
}

ImageSize DecodeImageSize(std::string_view bytes, std::string_view name) {
  if (IsPng(bytes)) return PngReader(bytes, name).ReadHeader();
  if (IsJpeg(bytes)) return JpegReader(bytes, name).ReadHeader();
  FailUnknownFormat(bytes, name);
}

ImageSize ReadImageSize(const std::filesystem::path& path) {
  // The header mostly stands within the first 64 KiB; a thumbnail may push it further.
  std::string start(size_t{1} << 16, '\0');
  std::ifstream file(path, std::ios::binary);
  file.read(start.data(), static_cast<std::streamsize>(start.size()));
  start.resize(static_cast<size_t>(file.gcount()));
  if (IsPng(start) || IsJpeg(start)) {
    try {
      return DecodeImageSize(start, path.string());
    } catch (const Error&) {
      // The whole file decides.
    }
  }
  return DecodeImageSize(ReadFile(path), path.string());
}

DepthImage DecodeDepthPng(std::string_view bytes, std::string_view name) {
  ATHANOR_CHECK(IsPng(bytes), name, ": byte 0: expected a PNG image");
  return PngReader(bytes, name).ReadGrey();
}

DepthImage ReadDepthPng(const std::filesystem::path& path) {
  return DecodeDepthPng(ReadFile(path), path.string());
}

std::string EncodePng(const Image& image, std::string_view name) {
  CheckWritable(image, name);
  ATHANOR_CHECK(image.channels == 1 || image.channels == 3 || image.channels == 4, name,
                ": PNG: expected 1, 3 or 4 channels, found ", image.channels);
  return PngWriter().Write(image.data.data(), static_cast<size_t>(image.width) * image.channels,
                           {image.width, image.height}, image.channels, 8, name);
}

std::string EncodeJpeg(const Image& image, std::string_view name, int quality) {
  CheckWritable(image, name);
  ATHANOR_CHECK(image.channels == 1 || image.channels == 3, name,
                ": JPEG: expected 1 or 3 channels, found ", image.channels);
  ATHANOR_CHECK(quality >= 1 && quality <= 100, name, ": JPEG quality: expected 1 to 100, found ",
                quality);
  return JpegWriter().Write(image, quality, name);
}

void WriteImage(const std::filesystem::path& path, const Image& image, int jpeg_quality) {
  std::string extension = path.extension().string();
  std::transform(extension.begin(), extension.end(), extension.begin(),
                 [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  if (extension == ".png") {
    WriteFile(path, EncodePng(image, path.string()));
  } else {
    ATHANOR_CHECK(extension == ".jpg" || extension == ".jpeg", path.string(),
                  ": expected the extension .png, .jpg or .jpeg, found '", extension, "'");
    WriteFile(path, EncodeJpeg(image, path.string(), jpeg_quality));
  }
}

void WriteDepthPng(const std::filesystem::path& path, const DepthImage& image) {
  CheckWritable(image, path.string());
  ATHANOR_CHECK(image.channels == 1, path.string(), ": depth PNG: expected 1 channel, found ",
                image.channels);
  WriteFile(path, PngWriter().Write(reinterpret_cast<const uint8_t*>(image.data.data()),
                                    static_cast<size_t>(image.width) * sizeof(uint16_t),
                                    {image.width, image.height}, 1, 16, path.string()));
}

}  // namespace athanor
