#include "athanor/media/image.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <numeric>

#include "athanor/base/error.h"
#include "athanor/base/files.h"
#include "athanor/base/hash.h"
#include "athanor/base/parallel.h"
#include "athanor/base/random.h"
#include "athanor/base/test_util.h"

namespace athanor {
namespace {

using ::testing::AllOf;
using ::testing::AnyOf;
using ::testing::Each;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

Image Noise(int width, int height, int channels) {
  Random random(5);
  Image image(width, height, channels);
  for (uint8_t& value : image.data) value = static_cast<uint8_t>(random.Below(256));
  return image;
}

// What photographs are like: smooth, with an edge.
Image Smooth(int width, int height, int channels) {
  Image image(width, height, channels);
  for (int y = 0; y < height; ++y) {
    for (int x = 0; x < width; ++x) {
      for (int c = 0; c < channels; ++c) {
        const double wave = std::sin(0.11 * x + c) * std::cos(0.07 * y - 0.5 * c);
        image.at(x, y)[c] = static_cast<uint8_t>(128 + 80 * wave + (x > width / 2 ? 30 : 0));
      }
    }
  }
  return image;
}

double Psnr(const Image& a, const Image& b) {
  EXPECT_EQ(a.data.size(), b.data.size());
  double sum = 0;
  for (size_t i = 0; i < a.data.size(); ++i) {
    sum += std::pow(static_cast<double>(a.data[i]) - b.data[i], 2);
  }
  return 10 * std::log10(255.0 * 255 * static_cast<double>(a.data.size()) / sum);
}

double Mean(const Image& image) {
  return std::accumulate(image.data.begin(), image.data.end(), 0.0) /
         static_cast<double>(image.data.size());
}

TEST(ImageFileTest, PngKeepsEveryValue) {
  const auto folder = TestFolder("png");
  for (const int channels : {1, 3, 4}) {
    for (const auto& [width, height] : {std::pair{1, 1}, {1, 57}, {57, 1}, {131, 67}}) {
      const Image image = Noise(width, height, channels);
      const auto path = folder / "with space ü.png";
      WriteImage(path, image);
      const Image read = ReadImage(path, 0);
      EXPECT_EQ(read.channels, channels);
      EXPECT_EQ(read.data, image.data);
      const ImageSize size = ReadImageSize(path);
      EXPECT_EQ(size.width, width);
      EXPECT_EQ(size.height, height);
    }
  }
}

TEST(ImageFileTest, JpegKeepsThePicture) {
  const auto folder = TestFolder("jpeg");
  for (const int channels : {1, 3}) {
    for (const auto& [width, height] : {std::pair{1, 1}, {131, 67}}) {
      const Image image = Smooth(width, height, channels);
      for (const char* name : {"a b ü.jpg", "a.JPEG"}) {
        WriteImage(folder / name, image);
        const Image read = ReadImage(folder / name, 0);
        EXPECT_EQ(read.channels, channels);
        ASSERT_EQ(read.width, width);
        EXPECT_GT(Psnr(image, read), 35);
        EXPECT_EQ(ReadImageSize(folder / name).height, height);
      }
    }
  }
  const Image image = Smooth(200, 100, 3);
  EXPECT_GT(EncodeJpeg(image, "x", 95).size(), EncodeJpeg(image, "x", 50).size());
}

TEST(ImageFileTest, DepthPngKeepsAll16Bits) {
  DepthImage image(256, 256, 1);
  std::iota(image.data.begin(), image.data.end(), uint16_t{0});
  const auto path = TestFolder("depth") / "d.png";
  WriteDepthPng(path, image);
  EXPECT_EQ(ReadDepthPng(path).data, image.data);
  // As a picture: the upper 8 bits, rounded.
  const Image picture = ReadImage(path, 1);
  EXPECT_EQ(picture.data[0], 0);
  EXPECT_EQ(picture.data[65535], 255);
  EXPECT_EQ(picture.data[32768], 128);
  // Big-endian in the file, as the format demands: the bytes of the first row, undone by hand.
  WriteImage(path, Noise(5, 4, 1));
  const DepthImage labels = ReadDepthPng(path);
  const Image bytes = Noise(5, 4, 1);
  EXPECT_TRUE(std::equal(bytes.data.begin(), bytes.data.end(), labels.data.begin()));
  WriteImage(path, Noise(5, 4, 3));
  EXPECT_THAT(ErrorOf([&] { ReadDepthPng(path); }),
              AllOf(HasSubstr("d.png"), HasSubstr("grey"), HasSubstr("colour type 2")));
}

// Other programs' files: a 2 x 2 palette PNG with one transparent entry, 2 bits per pixel, and a
// grey one of 1 bit per pixel, written out by hand.
TEST(ImageFileTest, PngOfOtherKinds) {
  const auto chunk = [](std::string_view type, std::string_view data) {
    // CRC-32, bit by bit.
    uint32_t crc = 0xffffffff;
    for (const char c : std::string(type) + std::string(data)) {
      crc ^= static_cast<uint8_t>(c);
      for (int i = 0; i < 8; ++i) crc = (crc >> 1) ^ ((crc & 1) != 0 ? 0xedb88320 : 0);
    }
    const auto big_endian = [](uint32_t value) {
      std::string text;
      for (int shift = 24; shift >= 0; shift -= 8)
        text.push_back(static_cast<char>(value >> shift));
      return text;
    };
    return big_endian(static_cast<uint32_t>(data.size())) + std::string(type) + std::string(data) +
           big_endian(~crc);
  };
  // zlib stream with one stored block.
  const auto stored = [](std::string data) {
    uint32_t a = 1, b = 0;
    for (const char c : data) {
      a = (a + static_cast<uint8_t>(c)) % 65521;
      b = (b + a) % 65521;
    }
    const auto n = static_cast<char>(data.size());
    return std::string("\x78\x01\x01", 3) + n + '\0' + static_cast<char>(~n) + '\xff' + data +
           static_cast<char>(b >> 8) + static_cast<char>(b) + static_cast<char>(a >> 8) +
           static_cast<char>(a);
  };
  const std::string signature = "\x89PNG\r\n\x1a\n";
  const std::string palette =
      signature + chunk("IHDR", std::string("\0\0\0\2\0\0\0\2\2\3\0\0\0", 13)) +
      chunk("PLTE", std::string("\xff\0\0\0\xff\0\0\0\xff", 9)) + chunk("tRNS", "\xff\x80") +
      chunk("IDAT", stored(std::string("\0\x10\0\x80", 4))) + chunk("IEND", "");
  const Image rgba = DecodeImage(palette, "palette", 0);
  EXPECT_THAT(rgba.data,
              ElementsAre(255, 0, 0, 255, 0, 255, 0, 128, 0, 0, 255, 255, 255, 0, 0, 255));
  EXPECT_THAT(DecodeImage(palette, "palette", 3).data,
              ElementsAre(255, 0, 0, 0, 255, 0, 0, 0, 255, 255, 0, 0));
  EXPECT_THAT(ErrorOf([&] { DecodeDepthPng(palette, "palette"); }), HasSubstr("colour type 3"));

  const std::string grey = signature +
                           chunk("IHDR", std::string("\0\0\0\2\0\0\0\1\1\0\0\0\0", 13)) +
                           chunk("IDAT", stored(std::string("\0\x40", 2))) + chunk("IEND", "");
  EXPECT_THAT(DecodeImage(grey, "grey", 0).data, ElementsAre(0, 255));
  EXPECT_THAT(DecodeDepthPng(grey, "grey").data, ElementsAre(0, 1)) << "labels stay as they are";
}

TEST(ImageFileTest, ChannelsConvert) {
  Image rgba(2, 1, 4);
  rgba.data = {255, 0, 0, 10, 10, 200, 30, 255};
  const std::string bytes = EncodePng(rgba, "x");
  EXPECT_THAT(DecodeImage(bytes, "x", 3).data, ElementsAre(255, 0, 0, 10, 200, 30));
  EXPECT_THAT(DecodeImage(bytes, "x", 1).data, ElementsAre(76, 124));  // .299 R + .587 G + .114 B
  Image grey(1, 1, 1, 77);
  EXPECT_THAT(DecodeImage(EncodePng(grey, "x"), "x", 4).data, ElementsAre(77, 77, 77, 255));
  EXPECT_THAT(DecodeImage(EncodeJpeg(grey, "x"), "x", 4).data, ElementsAre(77, 77, 77, 255));
  EXPECT_NEAR(DecodeImage(EncodeJpeg(Image(8, 8, 3, 60), "x"), "x", 1).data[9], 60, 1);
  EXPECT_THAT(ErrorOf([&] { DecodeImage(bytes, "x", 2); }), HasSubstr("found 2"));
}

// Whole only at its full length, whatever is missing.
TEST(ImageFileTest, TruncatedAnywhereIsAnError) {
  for (const bool png : {true, false}) {
    const std::string bytes =
        png ? EncodePng(Noise(40, 30, 3), "x") : EncodeJpeg(Noise(40, 30, 3), "x");
    const char* format = png ? "damaged PNG" : "damaged JPEG";
    for (size_t length = 0; length < bytes.size(); ++length) {
      const std::string message =
          ErrorOf([&] { DecodeImage(std::string_view(bytes).substr(0, length), "dir/cut.img"); });
      ASSERT_THAT(message, HasSubstr("dir/cut.img: ")) << length << " of " << bytes.size();
      ASSERT_THAT(message, AnyOf(HasSubstr(format), HasSubstr("expected a PNG or JPEG"))) << length;
    }
    EXPECT_EQ(DecodeImage(bytes, "whole").width, 40);
  }
}

TEST(ImageFileTest, ADamagedByteNeverEscapes) {
  Random random(9);
  int refused = 0;
  for (const std::string& bytes :
       {EncodePng(Noise(20, 20, 3), "x"), EncodeJpeg(Smooth(20, 20, 3), "x")}) {
    for (int i = 0; i < 3000; ++i) {
      std::string damaged = bytes;
      damaged[random.Below(static_cast<uint32_t>(bytes.size()))] ^= 1 << random.Below(8);
      refused += !ErrorOf([&] { DecodeImage(damaged, "damaged"); }).empty();
    }
  }
  EXPECT_GT(refused, 3000) << "each flipped bit of a PNG fails its CRC, many of a JPEG";
}

// What the fuzzer found worth keeping: whole images and broken ones.
TEST(ImageFileTest, TheFuzzCorpusRaisesNothingButErrors) {
  const auto folder = std::filesystem::path(ATHANOR_SOURCE_DIR) / "src/athanor/media/fuzz_corpus";
  const auto files = ListFiles(folder / "image");
  EXPECT_GE(files.size(), 20u);
  int whole = 0;
  for (const auto& path : files) {
    const std::string bytes = ReadFile(path);
    for (const int channels : {0, 1, 3, 4}) {
      whole += ErrorOf([&] { DecodeImage(bytes, path.string(), channels); }).empty();
    }
    ErrorOf([&] { DecodeDepthPng(bytes, path.string()); });
  }
  EXPECT_GE(whole, 40);
}

TEST(ImageFileTest, ReadsAPhotograph) {
  const auto path =
      std::filesystem::path(ATHANOR_SOURCE_DIR) / "../shared/data/fox/images/0001.jpg";
  if (!std::filesystem::exists(path)) GTEST_SKIP() << path << " is not there";
  const Image photo = ReadImage(path);
  EXPECT_EQ(photo.width, 1080);
  EXPECT_EQ(photo.height, 1920);
  EXPECT_GT(Psnr(photo, DecodeImage(EncodeJpeg(photo, "x"), "x")), 35);
  EXPECT_EQ(DecodeImage(EncodePng(photo, "x"), "x").data, photo.data);
  EXPECT_NEAR(Mean(Resize(photo, 270, 480)), Mean(photo), 0.1);
}

TEST(ImageFileTest, SaysWhatAFileIsInstead) {
  EXPECT_THAT(
      ErrorOf([] { DecodeImage("GIF89a", "a.gif"); }),
      AllOf(HasSubstr("a.gif: byte 0"), HasSubstr("PNG or JPEG"), HasSubstr("47 49 46 38")));
  EXPECT_THAT(ErrorOf([] { DecodeImage("", "a.png"); }), HasSubstr("an empty file"));
  EXPECT_THAT(ErrorOf([] { ReadImage("/no/such.png"); }), HasSubstr("/no/such.png"));
  EXPECT_THAT(ErrorOf([] { ReadImageSize("/no/such.png"); }), HasSubstr("/no/such.png"));
  EXPECT_THAT(ErrorOf([] { ReadImage(testing::TempDir()); }), HasSubstr("folder"));
}

// The header's size is raised, and in the PNG its CRC made good: the claim alone must not allocate.
TEST(ImageFileTest, AClaimedSizeIsCheckedFirst) {
  std::string jpeg = EncodeJpeg(Image(16, 16, 3, 9), "x");
  const size_t sof = jpeg.find("\xff\xc0");
  ASSERT_NE(sof, std::string::npos);
  for (const int i : {5, 7}) {
    jpeg[sof + i] = '\x3f';
    jpeg[sof + i + 1] = '\xff';
  }
  EXPECT_THAT(ErrorOf([&] { DecodeImage(jpeg, "a.jpg"); }),
              AllOf(HasSubstr("a.jpg"), HasSubstr("cannot hold 16383x16383")));
  jpeg[sof + 5] = jpeg[sof + 7] = '\xfe';
  EXPECT_THAT(ErrorOf([&] { DecodeImage(jpeg, "a.jpg"); }),
              AllOf(HasSubstr("268435456 pixels"), HasSubstr("found 65279x65279")));
}

TEST(ImageFileTest, TheHeaderBehindALargeThumbnailIsFound) {
  const std::string jpeg = EncodeJpeg(Image(33, 21, 3, 9), "x");
  std::string app1 = "\xff\xe1\xff\xff";
  app1.resize(2 + 0xffff, 'x');
  const auto path = TestFolder("thumbnail") / "a.jpg";
  WriteFile(path, jpeg.substr(0, 2) + app1 + app1 + jpeg.substr(2));
  EXPECT_EQ(ReadImageSize(path).width, 33);
  EXPECT_EQ(ReadImageSize(path).height, 21);
  EXPECT_EQ(ReadImage(path).width, 33);
}

TEST(ImageFileTest, RefusesWhatItCannotWrite) {
  const auto folder = TestFolder("write") / "new";
  const Image image(4, 4, 3);
  EXPECT_THAT(ErrorOf([&] { WriteImage(folder / "a.bmp", image); }),
              AllOf(HasSubstr("a.bmp"), HasSubstr(".png, .jpg or .jpeg"), HasSubstr("'.bmp'")));
  EXPECT_THAT(ErrorOf([&] { WriteImage(folder / "a.jpg", Image(4, 4, 4)); }),
              HasSubstr("1 or 3 channels, found 4"));
  EXPECT_THAT(ErrorOf([&] { WriteImage(folder / "a.png", Image(4, 4, 2)); }), HasSubstr("found 2"));
  EXPECT_THAT(ErrorOf([&] { WriteImage(folder / "a.png", Image()); }), HasSubstr("found 0x0"));
  EXPECT_THAT(ErrorOf([&] { WriteImage(folder / "a.jpg", image, 0); }), HasSubstr("1 to 100"));
  EXPECT_THAT(ErrorOf([&] { WriteImage(folder / "a.jpg", Image(70000, 1, 3)); }),
              HasSubstr("cannot encode as JPEG"));
  Image short_of_data = image;
  short_of_data.data.pop_back();
  EXPECT_THAT(ErrorOf([&] { WriteImage(folder / "a.png", short_of_data); }),
              HasSubstr("expected 48 values"));
  EXPECT_THAT(ErrorOf([&] { WriteImage("/proc/none/a.png", image); }), HasSubstr("/proc/none"));
  EXPECT_THAT(ErrorOf([&] { WriteDepthPng("/proc/none/a.png", DepthImage(2, 2, 1)); }),
              HasSubstr("/proc/none"));
  EXPECT_FALSE(std::filesystem::exists(folder)) << "nothing half-written is left";
}

TEST(ImageFileTest, ReadOnlyFolder) {
  if (::geteuid() == 0) GTEST_SKIP() << "the superuser may write anywhere";
  const auto folder = TestFolder("read only");
  MakeFolder(folder);
  std::filesystem::permissions(
      folder, std::filesystem::perms::owner_read | std::filesystem::perms::owner_exec);
  EXPECT_THAT(ErrorOf([&] { WriteImage(folder / "a.png", Image(4, 4, 3)); }),
              AllOf(HasSubstr("a.png"), HasSubstr("Permission denied")));
  std::filesystem::permissions(folder, std::filesystem::perms::owner_all);
}

TEST(ResizeTest, AConstantStaysConstant) {
  for (const int channels : {1, 2, 3, 4}) {
    for (const auto& [width, height] : {std::pair{1, 1}, {7, 93}, {50, 13}, {211, 100}}) {
      for (const int value : {0, 77, 255}) {
        const Image resized = Resize(Image(50, 37, channels, value), width, height);
        EXPECT_EQ(resized.width, width);
        EXPECT_EQ(resized.height, height);
        EXPECT_THAT(resized.data, Each(value));
      }
    }
  }
}

TEST(ResizeTest, HalfIsTheMeanOfFour) {
  const Image image = Noise(24, 18, 3);
  const Image half = Resize(image, 12, 9);
  for (int y = 0; y < 9; ++y) {
    for (int x = 0; x < 12; ++x) {
      for (int c = 0; c < 3; ++c) {
        const int sum = image.at(2 * x, 2 * y)[c] + image.at(2 * x + 1, 2 * y)[c] +
                        image.at(2 * x, 2 * y + 1)[c] + image.at(2 * x + 1, 2 * y + 1)[c];
        ASSERT_EQ(half.at(x, y)[c], (sum + 2) / 4);
      }
    }
  }
}

// Areas by brute force: each pixel cut into 10 x 10, from 21 to 15: 14 small ones to a new pixel.
TEST(ResizeTest, OddRatioIsTheMeanOfTheArea) {
  const Image image = Noise(21, 21, 1);
  const Image resized = Resize(image, 15, 15);
  for (int y = 0; y < 15; ++y) {
    for (int x = 0; x < 15; ++x) {
      double sum = 0;
      for (int v = 14 * y; v < 14 * (y + 1); ++v) {
        for (int u = 14 * x; u < 14 * (x + 1); ++u) sum += *image.at(u / 10, v / 10);
      }
      ASSERT_NEAR(*resized.at(x, y), sum / (14 * 14), 0.502);
    }
  }
}

TEST(ResizeTest, ARampStaysARampAtTheSamePlace) {
  Image ramp(100, 4, 1);
  for (int y = 0; y < 4; ++y) {
    for (int x = 0; x < 100; ++x) *ramp.at(x, y) = static_cast<uint8_t>(20 + 2 * x);
  }
  for (const int width : {40, 63, 150, 400}) {
    const Image resized = Resize(ramp, width, 3);
    for (int x = 0; x < width; ++x) {
      // The value at the new pixel's centre; the outermost half pixels repeat the border. The mean
      // of steps is not quite that of a slope.
      const double center = std::clamp((x + 0.5) * 100 / width - 0.5, 0.0, 99.0);
      ASSERT_NEAR(*resized.at(x, 1), 20 + 2 * center, 0.75) << width << " " << x;
    }
  }
}

TEST(ResizeTest, KeepsTheMean) {
  const Image image = Noise(317, 211, 3);
  for (const auto& [width, height] : {std::pair{100, 80}, {1, 1}, {316, 13}}) {
    EXPECT_NEAR(Mean(Resize(image, width, height)), Mean(image), 0.6);
  }
}

TEST(ResizeTest, SameWhateverTheThreads) {
  const Image image = Noise(301, 203, 3);
  SetNumThreads(1);
  const Image one = Resize(image, 77, 120);
  SetNumThreads(3);
  EXPECT_EQ(Resize(image, 77, 120).data, one.data);
  SetNumThreads(0);
}

TEST(ResizeTest, RefusesEmptySizes) {
  EXPECT_THAT(ErrorOf([] { Resize(Image(4, 4, 3), 0, 2); }), HasSubstr("4x4x3 to 0x2"));
  EXPECT_THAT(ErrorOf([] { Resize(Image(), 2, 2); }), HasSubstr("0x0x0"));
}

}  // namespace
}  // namespace athanor
