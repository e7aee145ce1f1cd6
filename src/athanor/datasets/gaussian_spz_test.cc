// Splats as SPZ, versions 2 to 4.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <zlib.h>
#include <zstd.h>

#include <array>
#include <cmath>
#include <cstring>
#include <string>

#include "athanor/datasets/gaussian_test_util.h"

namespace athanor {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

std::string Gzip(const std::string& bytes) {
  std::string out(bytes.size() + 1000, '\0');
  z_stream stream = {};
  deflateInit2(&stream, 9, Z_DEFLATED, 16 + MAX_WBITS, 8, Z_DEFAULT_STRATEGY);
  stream.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(bytes.data()));
  stream.avail_in = static_cast<uInt>(bytes.size());
  stream.next_out = reinterpret_cast<Bytef*>(out.data());
  stream.avail_out = static_cast<uInt>(out.size());
  EXPECT_EQ(deflate(&stream, Z_FINISH), Z_STREAM_END);
  out.resize(stream.total_out);
  deflateEnd(&stream);
  return out;
}

std::string Zstd(const std::string& bytes) {
  std::string out(ZSTD_compressBound(bytes.size()), '\0');
  out.resize(ZSTD_compress(out.data(), out.size(), bytes.data(), bytes.size(), 3));
  return out;
}

// The worst errors of a cloud that went through SPZ.
void ExpectNearThroughSpz(const GaussianCloud& cloud, const GaussianCloud& read, double position,
                          double shape) {
  ASSERT_EQ(read.size(), cloud.size());
  ASSERT_EQ(read.sh_degree, cloud.sh_degree);
  const int coefficients = cloud.sh_coefficients();
  for (int64_t i = 0; i < cloud.size(); ++i) {
    EXPECT_LT(ShapeError(cloud, i, read, i), shape) << i;
    EXPECT_NEAR(Probability(read.opacity_logits[i]), Probability(cloud.opacity_logits[i]), 0.0021);
    for (int j = 0; j < 3; ++j) {
      EXPECT_NEAR(read.means[i * 3 + j], cloud.means[i * 3 + j], position);
      const float* expected = &cloud.sh[(i * 3 + j) * coefficients];
      const float* found = &read.sh[(i * 3 + j) * coefficients];
      EXPECT_NEAR(found[0], expected[0], 0.51 / 255 / 0.15);
      for (int k = 1; k < coefficients; ++k) {
        // 5 bits in degree 1, 4 bits above, over [-1, 1].
        EXPECT_NEAR(found[k], expected[k], (k <= 3 ? 4.5 : 8.5) / 128) << i << " " << k;
      }
    }
  }
}

TEST(SpzTest, PlyToSpzToPlyStaysWithinQuantisation) {
  for (int degree = 0; degree <= 3; ++degree) {
    const GaussianCloud cloud = RandomCloud(5000, degree, 20 + degree);
    const auto ply = TestFolder("gaussians") / "a.ply";
    const auto spz = TestFolder("gaussians") / "a.spz";
    WriteGaussians(ply, cloud, GaussianFormat::kPly);
    WriteGaussians(spz, ReadGaussians(ply), GaussianFormat::kSpz);
    WriteGaussians(ply, ReadGaussians(spz), GaussianFormat::kPly);
    // 12 fractional bits would be 2^-13; this scene gets 13. A log-scale is off by up to 1/32, a
    // variance by up to 6.5 %; the rotation adds little.
    ExpectNearThroughSpz(cloud, ReadGaussians(ply), 0x1p-14 * 1.01, 0.09);
  }
}

TEST(SpzTest, Version2KeepsRotationsThatItsBytesHoldBadly) {
  // w close to 0, where w cannot be derived from three bytes: 13 degrees off when written as it is.
  GaussianCloud cloud = RandomCloud(2000, 0, 31);
  for (int64_t i = 0; i < cloud.size(); ++i) {
    cloud.quats[i * 4] *= 0.01f;
    // Log-scales that SPZ holds exactly, so that the rotation alone is measured.
    for (int j = 0; j < 3; ++j) cloud.log_scales[i * 3 + j] = -1.0f - 1.5f * static_cast<float>(j);
  }
  const GaussianCloud read = internal::DecodeSpz(internal::EncodeSpz(cloud, "x"), "x");
  for (int64_t i = 0; i < cloud.size(); ++i) {
    // One degree changes a needle's covariance by sin(1 degree) x sqrt(2).
    EXPECT_LT(ShapeError(cloud, i, read, i), 0.0247) << i;
  }
}

TEST(SpzTest, ChoosesFractionalBitsThatHoldTheScene) {
  for (const float size : {1e-3f, 1.0f, 1000.0f, 3e4f, 8e6f}) {
    GaussianCloud cloud = RandomCloud(100, 0, 1);
    for (float& v : cloud.means) v *= size / 5;
    cloud.means[0] = size;
    const GaussianCloud read = internal::DecodeSpz(internal::EncodeSpz(cloud, "x"), "x");
    for (size_t i = 0; i < cloud.means.size(); ++i) {
      EXPECT_NEAR(read.means[i], cloud.means[i], std::max(size * 0x1p-15, 0x1p-24 * 1.01)) << size;
    }
  }
  GaussianCloud cloud = RandomCloud(1, 0, 1);
  cloud.means[0] = 1e7f;
  EXPECT_THAT(ErrorOf([&] { internal::EncodeSpz(cloud, "far.spz"); }),
              AllOf(HasSubstr("far.spz"), HasSubstr("2^23"), HasSubstr("1e+07")));
}

// Packs a cloud as versions 3 and 4 do: rotations by their three smallest components.
std::array<std::string, 6> PackStreams(const GaussianCloud& cloud) {
  std::array<std::string, 6> streams;
  const int coefficients = cloud.sh_coefficients();
  for (int64_t i = 0; i < cloud.size(); ++i) {
    for (int j = 0; j < 3; ++j) {
      const auto fixed = static_cast<int32_t>(std::lround(cloud.means[i * 3 + j] * 4096));
      streams[0].append(reinterpret_cast<const char*>(&fixed), 3);
      Append<uint8_t>(streams[2],
                      std::lround(cloud.sh[(i * 3 + j) * coefficients] * 38.25 + 127.5));
      Append<uint8_t>(streams[3], std::lround((cloud.log_scales[i * 3 + j] + 10) * 16));
    }
    Append<uint8_t>(streams[1], std::lround(Probability(cloud.opacity_logits[i]) * 255));
    const float* wxyz = &cloud.quats[i * 4];
    Eigen::Vector4d q(wxyz[1], wxyz[2], wxyz[3], wxyz[0]);
    q.normalize();
    int largest;
    q.cwiseAbs().maxCoeff(&largest);
    if (q[largest] < 0) q = -q;
    uint32_t bits = largest;
    for (int j = 0; j < 4; ++j) {
      if (j == largest) continue;
      const auto size = static_cast<uint32_t>(std::lround(std::abs(q[j]) * std::sqrt(2.0) * 511));
      bits = bits << 10 | (q[j] < 0 ? 512u : 0u) | size;
    }
    Append(streams[4], bits);
    for (int k = 1; k < coefficients; ++k) {
      for (int j = 0; j < 3; ++j) {
        const float value = cloud.sh[(i * 3 + j) * coefficients + k];
        Append<uint8_t>(streams[5], std::lround(value * 128) + 128);
      }
    }
  }
  return streams;
}

std::string SpzHeader(uint32_t version, uint32_t count, uint8_t degree, uint8_t streams) {
  std::string bytes = "NGSP";
  Append(bytes, version);
  Append(bytes, count);
  for (const int v : {int{degree}, 12, 1, int{streams}}) Append<uint8_t>(bytes, v);
  return bytes;
}

std::string SpzVersion3(const GaussianCloud& cloud) {
  std::string bytes = SpzHeader(3, cloud.size(), cloud.sh_degree, 0);
  for (const auto& stream : PackStreams(cloud)) bytes += stream;
  return Gzip(bytes);
}

std::string SpzVersion4(const GaussianCloud& cloud, const std::string& extensions = {}) {
  const auto streams = PackStreams(cloud);
  const int present = cloud.sh_degree == 0 ? 5 : 6;
  std::string bytes = SpzHeader(4, cloud.size(), cloud.sh_degree, present);
  Append<uint32_t>(bytes, 32 + extensions.size());
  bytes.append(12, '\0');
  bytes += extensions;
  std::string body;
  for (int k = 0; k < present; ++k) {
    const std::string compressed = Zstd(streams[k]);
    Append<uint64_t>(bytes, compressed.size());
    Append<uint64_t>(bytes, streams[k].size());
    body += compressed;
  }
  return bytes + body;
}

TEST(SpzTest, ReadsVersions3And4) {
  for (int degree = 0; degree <= 3; ++degree) {
    const GaussianCloud cloud = RandomCloud(500, degree, 40 + degree);
    const GaussianCloud three = internal::DecodeSpz(SpzVersion3(cloud), "3.spz");
    ExpectNearThroughSpz(cloud, three, 0x1p-13 * 1.01, 0.09);
    for (int64_t i = 0; i < cloud.size(); ++i) {
      Eigen::Vector4f expected(&cloud.quats[i * 4]), found(&three.quats[i * 4]);
      expected.normalize();
      EXPECT_GT(std::abs(expected.dot(found)), 1 - 5e-6) << "up to 0.3 degrees";
    }
    ExpectSame(internal::DecodeSpz(SpzVersion4(cloud), "4.spz"), three);
    ExpectSame(internal::DecodeSpz(SpzVersion4(cloud, "\2\0\xBE\xAD...."), "4.spz"), three);
  }
}

TEST(SpzTest, RefusesLyingHeadersAndDamage) {
  const GaussianCloud cloud = RandomCloud(50, 1, 3);
  const auto error = [](const std::string& bytes) {
    return ErrorOf([&] { internal::DecodeSpz(bytes, "bad.spz"); });
  };
  const std::string four = SpzVersion4(cloud);
  const auto with = [](std::string bytes, size_t at, auto value) {
    std::memcpy(&bytes[at], &value, sizeof value);
    return bytes;
  };
  EXPECT_THAT(error(with(four, 4, 5u)), AllOf(HasSubstr("byte 4"), HasSubstr("found 5")));
  EXPECT_THAT(error(with(four, 8, 0xffffffffu)),
              AllOf(HasSubstr("bad.spz: byte 8"), HasSubstr("4294967295 Gaussians")));
  EXPECT_THAT(error(with(four, 12, uint8_t{7})), HasSubstr("SH degree"));
  EXPECT_THAT(error(with(four, 13, uint8_t{60})), HasSubstr("fractional bits"));
  EXPECT_THAT(error(with(four, 15, uint8_t{3})), HasSubstr("expected 6 streams, found 3"));
  EXPECT_THAT(error(with(four, 16, 0xfffffff0u)), HasSubstr("bytes of header and extensions"));
  EXPECT_THAT(error(with(four, 16, 3u)), HasSubstr("byte 16"));
  EXPECT_THAT(error(with(four, 32, uint64_t{1} << 60)), HasSubstr("1152921504606846976 bytes"));
  EXPECT_THAT(error(with(four, 40, uint64_t{1} << 60)),
              AllOf(HasSubstr("byte 40"), HasSubstr("expected 450 bytes of positions")));
  EXPECT_THAT(error(with(four, 32 + 96, uint32_t{0})), HasSubstr("zstd stream of positions"));

  // A bomb: a gzip stream of zeros behind an honest header, and behind one that promises them.
  std::string bomb = SpzHeader(3, 10, 0, 0);
  bomb.append(size_t{16} << 20, '\0');
  EXPECT_THAT(error(Gzip(bomb)), HasSubstr("expected the end of the gzip stream"));
  bomb.replace(0, 16, SpzHeader(3, 1u << 31, 0, 0));
  EXPECT_THAT(error(Gzip(bomb)), HasSubstr("cannot be in a file of"));
  EXPECT_THAT(error(Gzip("hello, this is no scene")), HasSubstr("NGSP"));
  std::string damaged = SpzVersion3(cloud);
  damaged[damaged.size() - 6] ^= 1;  // its checksum
  EXPECT_THAT(error(damaged), HasSubstr("incorrect data check"));
}

TEST(SpzTest, EveryTruncationAndFlippedByteIsSurvived) {
  const GaussianCloud cloud = RandomCloud(3, 1, 9);
  ExpectDamageIsSurvived("spz2", internal::EncodeSpz(cloud, "x"), internal::DecodeSpz);
  ExpectDamageIsSurvived("spz4", SpzVersion4(cloud), internal::DecodeSpz);
}

TEST(RealFilesTest, BikerSpzVersion4) {
  ATHANOR_SKIP_WITHOUT("splats/biker.spz");
  const auto path = SharedData("splats/biker.spz");
  const GaussianCloud cloud = ReadGaussians(path);
  EXPECT_EQ(cloud.size(), 152746);
  EXPECT_EQ(cloud.sh_degree, 0);
  const Extent extent = ExtentOf(cloud);
  EXPECT_LT((extent.high - extent.low).maxCoeff(), 8) << "a motorcyclist, about 3 units long";
  EXPECT_GT((extent.high - extent.low).minCoeff(), 0.5);
  // Written as version 2 and read again: all but the rotations is the same to the last bit.
  const auto spz = TestFolder("gaussians") / "biker.spz";
  WriteGaussians(spz, cloud, GaussianFormat::kSpz);
  const GaussianCloud again = ReadGaussians(spz);
  EXPECT_EQ(again.means, cloud.means);
  EXPECT_EQ(again.opacity_logits, cloud.opacity_logits);
  EXPECT_EQ(again.sh, cloud.sh);
  double worst = 0;
  for (int64_t i = 0; i < cloud.size(); ++i)
    worst = std::max(worst, ShapeError(cloud, i, again, i));
  EXPECT_LT(worst, 0.02);
}

}  // namespace
}  // namespace athanor
