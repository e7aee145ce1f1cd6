#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <zlib.h>
#include <zstd.h>

#include <Eigen/Geometry>
#include <array>
#include <cmath>
#include <cstring>
#include <limits>
#include <map>

#include "athanor/base/error.h"
#include "athanor/base/files.h"
#include "athanor/base/random.h"
#include "athanor/datasets/dataset_test_util.h"
#include "athanor/datasets/gaussian_formats.h"

namespace athanor {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

GaussianCloud RandomCloud(int64_t n, int sh_degree, uint64_t seed) {
  Random random(seed);
  GaussianCloud cloud;
  cloud.sh_degree = sh_degree;
  cloud.Resize(n);
  for (float& v : cloud.means) v = random.Uniform(-5, 5);
  for (float& v : cloud.quats) v = random.Normal();
  for (float& v : cloud.log_scales) v = random.Uniform(-6, -1);
  for (float& v : cloud.opacity_logits) v = random.Uniform(-4, 4);
  for (float& v : cloud.sh) v = random.Uniform(-0.9f, 0.9f);
  return cloud;
}

// R S S^T R^T, the shape of Gaussian i whatever its axes are called.
Eigen::Matrix3d Covariance(const GaussianCloud& cloud, int64_t i) {
  const float* q = &cloud.quats[i * 4];
  const Eigen::Matrix3d rotation =
      Eigen::Quaterniond(q[0], q[1], q[2], q[3]).normalized().toRotationMatrix();
  Eigen::Vector3d variance;
  for (int j = 0; j < 3; ++j) variance[j] = std::exp(2.0 * cloud.log_scales[i * 3 + j]);
  return rotation * variance.asDiagonal() * rotation.transpose();
}

// The largest difference of two shapes, relative to the size of the first.
double ShapeError(const GaussianCloud& a, int64_t i, const GaussianCloud& b, int64_t j) {
  const Eigen::Matrix3d expected = Covariance(a, i);
  return (expected - Covariance(b, j)).norm() / expected.norm();
}

double Probability(float logit) { return 1 / (1 + std::exp(-double{logit})); }

template <typename T>
void Append(std::string& bytes, T value) {
  bytes += Bytes(value);
}

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

void ExpectSame(const GaussianCloud& a, const GaussianCloud& b) {
  EXPECT_EQ(a.sh_degree, b.sh_degree);
  EXPECT_EQ(a.means, b.means);
  EXPECT_EQ(a.quats, b.quats);
  EXPECT_EQ(a.log_scales, b.log_scales);
  EXPECT_EQ(a.opacity_logits, b.opacity_logits);
  EXPECT_EQ(a.sh, b.sh);
}

TEST(GaussianPlyTest, RoundTripIsExactAtEveryDegree) {
  for (int degree = 0; degree <= 3; ++degree) {
    GaussianCloud cloud = RandomCloud(10000, degree, 7 + degree);
    cloud.opacity_logits[3] = std::numeric_limits<float>::infinity();
    const auto path = TestFolder("gaussians") / "scene.ply";
    WriteGaussians(path, cloud, GaussianFormat::kPly);
    ExpectSame(ReadGaussians(path), cloud);
  }
}

TEST(GaussianPlyTest, WritesTheBytesOfInria) {
  GaussianCloud cloud = RandomCloud(2, 3, 1);
  std::string expected = "ply\nformat binary_little_endian 1.0\nelement vertex 2\n";
  std::vector<std::string> names = {"x", "y", "z", "nx", "ny", "nz", "f_dc_0", "f_dc_1", "f_dc_2"};
  for (int k = 0; k < 45; ++k) names.push_back(StrCat("f_rest_", k));
  for (const char* name :
       {"opacity", "scale_0", "scale_1", "scale_2", "rot_0", "rot_1", "rot_2", "rot_3"}) {
    names.push_back(name);
  }
  ASSERT_EQ(names.size(), 62u);
  for (const auto& name : names) expected += "property float " + name + "\n";
  expected += "end_header\n";
  for (int i = 0; i < 2; ++i) {
    for (int j = 0; j < 3; ++j) Append(expected, cloud.means[i * 3 + j]);
    for (int j = 0; j < 3; ++j) Append(expected, 0.0f);
    // All of red's coefficients, then green's, then blue's.
    for (int channel = 0; channel < 3; ++channel) Append(expected, cloud.sh[i * 48 + channel * 16]);
    for (int channel = 0; channel < 3; ++channel) {
      for (int k = 1; k < 16; ++k) Append(expected, cloud.sh[i * 48 + channel * 16 + k]);
    }
    Append(expected, cloud.opacity_logits[i]);
    for (int j = 0; j < 3; ++j) Append(expected, cloud.log_scales[i * 3 + j]);
    for (int j = 0; j < 4; ++j) Append(expected, cloud.quats[i * 4 + j]);
  }
  EXPECT_EQ(internal::EncodeGaussianPly(cloud), expected);
}

TEST(GaussianPlyTest, ReadsAnyOrderOfPropertiesAndOtherElements) {
  std::string bytes =
      "ply\r\ncomment made by hand with more than five words\nformat binary_little_endian 1.0\n"
      "element camera 1\nproperty uchar id\nelement vertex 1\n"
      "property double rot_3\nproperty float32 opacity\nproperty float rot_0\nproperty float "
      "rot_1\n"
      "property float rot_2\nproperty uchar label\nproperty float scale_2\nproperty float scale_1\n"
      "property float scale_0\nproperty float f_dc_0\nproperty float f_dc_1\n"
      "property float f_dc_2\nproperty double z\nproperty float y\nproperty short x\n"
      "element face 1\nproperty list uchar int vertex_indices\nend_header\n";
  Append<uint8_t>(bytes, 9);
  Append<double>(bytes, 0.25);
  for (const float v : {2.0f, 1.0f, 0.5f, -0.5f}) Append(bytes, v);
  Append<uint8_t>(bytes, 200);
  for (const float v : {-3.0f, -2.0f, -1.0f, 0.1f, 0.2f, 0.3f}) Append(bytes, v);
  Append<double>(bytes, 30);
  Append<float>(bytes, 20);
  Append<int16_t>(bytes, -10);
  const GaussianCloud cloud = internal::DecodeGaussianPly(bytes, "hand.ply");
  EXPECT_EQ(cloud.size(), 1);
  EXPECT_THAT(cloud.means, testing::ElementsAre(-10, 20, 30));
  EXPECT_THAT(cloud.quats, testing::ElementsAre(1, 0.5, -0.5, 0.25));
  EXPECT_THAT(cloud.log_scales, testing::ElementsAre(-1, -2, -3));
  EXPECT_THAT(cloud.opacity_logits, testing::ElementsAre(2));
  EXPECT_THAT(cloud.sh, testing::ElementsAre(0.1f, 0.2f, 0.3f));
}

TEST(GaussianPlyTest, RefusesWhatItCannotReadWithALineThatSaysWhy) {
  const std::string good = internal::EncodeGaussianPly(RandomCloud(3, 1, 5));
  const auto error_with = [&](std::string_view from, std::string_view to) {
    std::string bytes = good;
    const size_t at = bytes.find(from);
    EXPECT_NE(at, std::string::npos) << from;
    bytes.replace(at, from.size(), to);
    return ErrorOf([&] { internal::DecodeGaussianPly(bytes, "bad.ply"); });
  };
  EXPECT_THAT(error_with("binary_little", "binary_big"),
              AllOf(HasSubstr("bad.ply: header line 2"), HasSubstr("binary_big_endian")));
  EXPECT_THAT(error_with("binary_little_endian", "ascii"),
              AllOf(HasSubstr("expected format binary_little_endian"), HasSubstr("ascii")));
  EXPECT_THAT(error_with("vertex 3", "vertex 1152921504606846976"),
              AllOf(HasSubstr("1152921504606846976 records of 104 bytes"), HasSubstr("byte ")));
  EXPECT_THAT(error_with("vertex 3", "vertex 18446744073709551615"), HasSubstr("records of"));
  EXPECT_THAT(error_with("vertex 3", "vertex 99999999999999999999"), HasSubstr("header line 3"));
  EXPECT_THAT(error_with("vertex 3", "vertex -3"), HasSubstr("expected a count"));
  EXPECT_THAT(error_with("float opacity", "float transparency"), HasSubstr("'opacity'"));
  EXPECT_THAT(error_with("f_rest_8", "g_rest_8"), HasSubstr("0, 9, 24 or 45"));
  EXPECT_THAT(error_with("float f_rest_7", "float f_rest_9"), HasSubstr("'f_rest_7'"));
  EXPECT_THAT(error_with("float x", "quad x"), HasSubstr("'quad'"));
  EXPECT_THAT(error_with("end_header", "and_header"), HasSubstr("found 'and_header'"));
  EXPECT_THAT(error_with("property float rot_3", "property float rot_2"), HasSubstr("twice"));

  GaussianCloud cloud = RandomCloud(5, 0, 5);
  cloud.log_scales[3 * 3 + 1] = std::numeric_limits<float>::quiet_NaN();
  EXPECT_THAT(
      ErrorOf([&] { internal::DecodeGaussianPly(internal::EncodeGaussianPly(cloud), "nan.ply"); }),
      AllOf(HasSubstr("nan.ply"), HasSubstr("Gaussian 3"), HasSubstr("log-scale")));
}

// Fractions that the integers of the packed PLY below stand for.
uint32_t Pack111011(double x, double y, double z) {
  return static_cast<uint32_t>(std::lround(x * 2047)) << 21 |
         static_cast<uint32_t>(std::lround(y * 1023)) << 11 |
         static_cast<uint32_t>(std::lround(z * 2047));
}

TEST(PackedPlyTest, UnpacksEveryAttribute) {
  std::string bytes = "ply\nformat binary_little_endian 1.0\nelement chunk 2\n";
  for (const char* what : {"", "scale_"}) {
    for (const char* bound : {"min_", "max_"}) {
      for (const char* axis : {"x", "y", "z"}) {
        bytes += StrCat("property float ", bound, what, axis, "\n");
      }
    }
  }
  for (const char* name : {"min_r", "min_g", "min_b", "max_r", "max_g", "max_b"}) {
    bytes += StrCat("property float ", name, "\n");
  }
  bytes += "element vertex 257\n";
  for (const char* name : {"packed_position", "packed_rotation", "packed_scale", "packed_color"}) {
    bytes += StrCat("property uint ", name, "\n");
  }
  bytes += "element sh 257\n";
  for (int k = 0; k < 9; ++k) bytes += StrCat("property uchar f_rest_", k, "\n");
  bytes += "end_header\n";
  for (int chunk = 0; chunk < 2; ++chunk) {
    for (const float v : {-1, -2, -3, 1, 2, 3, -8, -7, -6, -2, -1, 0}) Append(bytes, v + chunk);
    for (const float v : {0.0f, 0.1f, 0.2f, 1.0f, 0.9f, 0.8f}) Append(bytes, v);
  }
  for (int i = 0; i < 257; ++i) {
    Append(bytes, Pack111011(1, 0.5, 0.25));
    // The second component, x, is left out; w = 0.5, y = -0.5, z = 0 beside it.
    const auto small = [](double v) {
      return static_cast<uint32_t>(std::lround((v / std::sqrt(2.0) + 0.5) * 1023));
    };
    Append(bytes, 1u << 30 | small(0.5) << 20 | small(-0.5) << 10 | small(0));
    Append(bytes, Pack111011(0, 1, 0.5));
    Append(bytes, 255u << 24 | 0u << 16 | 51u << 8 | 204u);
  }
  for (int i = 0; i < 257 * 9; ++i) Append<uint8_t>(bytes, i % 9 == 0 ? 255 : i % 9 * 16);

  const GaussianCloud cloud = internal::DecodeGaussianPly(bytes, "packed.ply");
  ASSERT_EQ(cloud.size(), 257);
  EXPECT_EQ(cloud.sh_degree, 1);
  for (const int i : {0, 256}) {
    const float shift = i == 256 ? 1 : 0;  // the second chunk
    EXPECT_NEAR(cloud.means[i * 3], 1 + shift, 1e-6);
    EXPECT_NEAR(cloud.means[i * 3 + 1], 0 + shift, 4.0 / 1023);
    EXPECT_NEAR(cloud.means[i * 3 + 2], -1.5 + shift, 6.0 / 2047);
    EXPECT_NEAR(cloud.log_scales[i * 3], -8 + shift, 1e-6);
    EXPECT_NEAR(cloud.log_scales[i * 3 + 1], -1 + shift, 1e-6);
    EXPECT_NEAR(cloud.log_scales[i * 3 + 2], -3 + shift, 6.0 / 2047);
    const double quat[] = {0.5, std::sqrt(0.5), -0.5, 0};
    for (int j = 0; j < 4; ++j) EXPECT_NEAR(cloud.quats[i * 4 + j], quat[j], 2e-3);
    EXPECT_NEAR(Probability(cloud.opacity_logits[i]), 0.8, 1e-6);
    EXPECT_NEAR(0.5 + 0.28209479 * cloud.sh[i * 12], 1.0, 1e-6);
    EXPECT_NEAR(0.5 + 0.28209479 * cloud.sh[i * 12 + 4], 0.1, 1e-6);
    EXPECT_NEAR(0.5 + 0.28209479 * cloud.sh[i * 12 + 8], 0.2 + 0.6 * 51 / 255, 1e-6);
    // Bytes of SH: steps of 1/32 over [-4, 4], the ends exact.
    EXPECT_FLOAT_EQ(cloud.sh[i * 12 + 1], 4.0f);
    EXPECT_FLOAT_EQ(cloud.sh[i * 12 + 2], -4 + 16.5f / 32);
    EXPECT_FLOAT_EQ(cloud.sh[i * 12 + 5], -4 + 48.5f / 32);
    EXPECT_FLOAT_EQ(cloud.sh[i * 12 + 11], -4 + 128.5f / 32);
  }
  const size_t chunks = bytes.find("chunk 2");
  bytes.replace(chunks, 7, "chunk 1");
  EXPECT_THAT(ErrorOf([&] { internal::DecodeGaussianPly(bytes, "packed.ply"); }),
              HasSubstr("expected 2 chunks"));
}

TEST(SplatTest, RoundTripWithinItsBytesSortedByImportance) {
  const GaussianCloud cloud = RandomCloud(5000, 2, 11);
  const auto path = TestFolder("gaussians") / "scene.SPLAT";
  WriteGaussians(path, cloud, GaussianFormatFromPath(path));
  const GaussianCloud read = ReadGaussians(path);
  ASSERT_EQ(read.size(), cloud.size());
  EXPECT_EQ(read.sh_degree, 0);
  std::map<std::array<float, 3>, int64_t> index;
  for (int64_t i = 0; i < cloud.size(); ++i) {
    index[{cloud.means[i * 3], cloud.means[i * 3 + 1], cloud.means[i * 3 + 2]}] = i;
  }
  double last = std::numeric_limits<double>::infinity();
  for (int64_t k = 0; k < read.size(); ++k) {
    const auto found =
        index.find({read.means[k * 3], read.means[k * 3 + 1], read.means[k * 3 + 2]});
    ASSERT_NE(found, index.end()) << "positions are exact";
    const int64_t i = found->second;
    EXPECT_LT(ShapeError(cloud, i, read, k), 0.03);
    EXPECT_NEAR(Probability(read.opacity_logits[k]), Probability(cloud.opacity_logits[i]), 0.0021);
    for (int j = 0; j < 3; ++j) {
      EXPECT_NEAR(read.sh[k * 3 + j], cloud.sh[(i * 3 + j) * 9], 0.51 / 255 / 0.28209479);
    }
    const double importance = std::exp(cloud.log_scales[i * 3] + cloud.log_scales[i * 3 + 1] +
                                       cloud.log_scales[i * 3 + 2]) *
                              Probability(cloud.opacity_logits[i]);
    EXPECT_LE(importance, last * (1 + 1e-5));
    last = importance;
  }
}

TEST(SplatTest, RefusesCutOffAndImpossibleRecords) {
  std::string bytes = internal::EncodeSplat(RandomCloud(4, 0, 2));
  EXPECT_THAT(ErrorOf([&] { internal::DecodeSplat(bytes.substr(0, 100), "a.splat"); }),
              AllOf(HasSubstr("a.splat: byte 96"), HasSubstr("cut off")));
  const float negative = -1;
  std::memcpy(&bytes[2 * 32 + 16], &negative, 4);
  EXPECT_THAT(ErrorOf([&] { internal::DecodeSplat(bytes, "a.splat"); }),
              AllOf(HasSubstr("byte 80"), HasSubstr("Gaussian 2"), HasSubstr("scale")));
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

// A zip archive of npy arrays, stored or deflated.
class ZipWriter {
 public:
  void Add(const std::string& name, const std::string& plain, bool deflated) {
    std::string data = plain;
    if (deflated) {
      data.resize(plain.size() + 100);
      z_stream stream = {};
      deflateInit2(&stream, 9, Z_DEFLATED, -MAX_WBITS, 8, Z_DEFAULT_STRATEGY);
      stream.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(plain.data()));
      stream.avail_in = static_cast<uInt>(plain.size());
      stream.next_out = reinterpret_cast<Bytef*>(data.data());
      stream.avail_out = static_cast<uInt>(data.size());
      deflate(&stream, Z_FINISH);
      data.resize(stream.total_out);
      deflateEnd(&stream);
    }
    const uint32_t crc = crc32(0, reinterpret_cast<const Bytef*>(plain.data()), plain.size());
    const uint32_t offset = bytes_.size();
    const uint16_t method = deflated ? 8 : 0;
    std::string common;  // of both headers: version needed ... length of the extra field
    Append<uint16_t>(common, 20);
    Append<uint16_t>(common, 0);
    Append<uint16_t>(common, method);
    Append<uint32_t>(common, 0);
    Append<uint32_t>(common, crc);
    Append<uint32_t>(common, data.size());
    Append<uint32_t>(common, plain.size());
    Append<uint16_t>(common, name.size());
    Append<uint16_t>(common, 0);
    bytes_ += "PK\3\4" + common + name + data;
    directory_ += "PK\1\2";
    Append<uint16_t>(directory_, 20);
    directory_ += common;
    directory_.append(10, '\0');
    Append<uint32_t>(directory_, offset);
    directory_ += name;
    ++members_;
  }

  std::string Finish() const {
    std::string bytes = bytes_ + directory_ + "PK\5\6";
    Append<uint32_t>(bytes, 0);
    Append<uint16_t>(bytes, members_);
    Append<uint16_t>(bytes, members_);
    Append<uint32_t>(bytes, directory_.size());
    Append<uint32_t>(bytes, bytes_.size());
    Append<uint16_t>(bytes, 0);
    return bytes;
  }

 private:
  std::string bytes_, directory_;
  uint16_t members_ = 0;
};

template <typename T>
std::string Npy(const std::string& descr, const std::string& shape, const std::vector<T>& values) {
  const std::string header =
      "{'descr': '" + descr + "', 'fortran_order': False, 'shape': (" + shape + "), }\n";
  std::string bytes("\x93NUMPY\1\0", 8);
  Append<uint16_t>(bytes, header.size());
  bytes += header;
  for (const T v : values) Append(bytes, v);
  return bytes;
}

std::string SmallGarden(const std::string& points_shape = "4, 3") {
  ZipWriter zip;
  zip.Add("means3d.npy", Npy<float>("<f4", points_shape, {0, 0, 0, 1, 0, 0, 0, 2, 0, 0, 0, 3}),
          true);
  zip.Add("colors.npy", Npy<uint8_t>("|u1", "4, 3", {0, 51, 255, 1, 2, 3, 4, 5, 6, 7, 8, 9}),
          false);
  zip.Add("viewmats.npy",
          Npy<float>("<f4", "1, 4, 4", {0, -1, 0, 5, 1, 0, 0, 6, 0, 0, 1, 7, 0, 0, 0, 1}), true);
  zip.Add("Ks.npy", Npy<float>("<f4", "1, 3, 3", {100, 0, 32, 0, 110, 24, 0, 0, 1}), false);
  zip.Add("width.npy", Npy<int64_t>("<i8", "", {64}), false);
  zip.Add("height.npy", Npy<int64_t>("<i8", "", {48}), false);
  return zip.Finish();
}

TEST(GardenTest, ReadsPointsAndViewsOfAnArchive) {
  const std::string bytes = SmallGarden();
  const GaussianCloud cloud = internal::DecodeGardenNpz(bytes, "garden.npz");
  ASSERT_EQ(cloud.size(), 4);
  // The first point's neighbours are at 1, 2 and 3.
  EXPECT_NEAR(std::exp(cloud.log_scales[0]), std::sqrt((1 + 4 + 9) / 3.0), 1e-5);
  EXPECT_EQ(cloud.log_scales[0], cloud.log_scales[2]);
  EXPECT_NEAR(0.5 + 0.28209479 * cloud.sh[1], 0.2, 1e-6);
  EXPECT_NEAR(Probability(cloud.opacity_logits[3]), 0.9, 1e-6);

  const PosedImages posed = internal::DecodeGardenViews(bytes, "garden.npz");
  ASSERT_EQ(posed.images.size(), 1u);
  EXPECT_EQ(posed.points.size(), 4u);
  EXPECT_EQ(posed.cameras[0].width_px, 64);
  EXPECT_DOUBLE_EQ(posed.cameras[0].fy(), 110);
  const Eigen::Vector3d in_camera = posed.images[0].camera_from_world * Eigen::Vector3d(1, 2, 3);
  EXPECT_TRUE(in_camera.isApprox(Eigen::Vector3d(-2 + 5, 1 + 6, 3 + 7), 1e-6)) << in_camera;
}

TEST(GardenTest, RefusesWhatDoesNotFit) {
  const auto error = [](const std::string& bytes) {
    return ErrorOf([&] { internal::DecodeGardenNpz(bytes, "bad.npz"); });
  };
  EXPECT_THAT(error(SmallGarden("1152921504606846976, 3")), HasSubstr("does not fit"));
  EXPECT_THAT(error(SmallGarden("4294967296, 4294967296")), HasSubstr("does not fit"));
  EXPECT_THAT(error(SmallGarden("99999999999999999999, 3")), HasSubstr("does not fit"));
  EXPECT_THAT(error(SmallGarden("12")), HasSubstr("shape"));
  EXPECT_THAT(error(SmallGarden("5, 3")), HasSubstr("means3d.npy: expected 15 values, found 12"));
  std::string bytes = SmallGarden();
  const size_t at = bytes.find("|u1");
  bytes[at + 50] ^= 1;
  EXPECT_THAT(error(bytes), AllOf(HasSubstr("colors.npy"), HasSubstr("checksum")));
  ZipWriter other;
  other.Add("poses.npy", Npy<float>("<f4", "1", {1}), false);
  EXPECT_THAT(error(other.Finish()), HasSubstr("expected an array 'means3d'"));
}

TEST(GaussianFilesTest, EveryTruncationAndFlippedByteIsSurvived) {
  const GaussianCloud cloud = RandomCloud(3, 1, 9);
  using Decoder = GaussianCloud (*)(std::string_view, std::string_view);
  const struct {
    const char* name;
    std::string bytes;
    Decoder decode;
  } kCases[] = {
      {"ply", internal::EncodeGaussianPly(cloud), internal::DecodeGaussianPly},
      {"splat", internal::EncodeSplat(cloud), internal::DecodeSplat},
      {"spz2", internal::EncodeSpz(cloud, "x"), internal::DecodeSpz},
      {"spz4", SpzVersion4(cloud), internal::DecodeSpz},
      {"npz", SmallGarden(), internal::DecodeGardenNpz},
  };
  for (const auto& c : kCases) {
    EXPECT_NO_THROW(c.decode(c.bytes, c.name)) << c.name;
    for (size_t size = 0; size < c.bytes.size(); ++size) {
      // From memory of exactly this size, so that a read past its end is seen by a sanitizer.
      const std::vector<char> cut(c.bytes.begin(), c.bytes.begin() + size);
      const bool whole_records = std::string_view(c.name) == "splat" && size % 32 == 0;
      const std::string error =
          ErrorOf([&] { c.decode(std::string_view(cut.data(), cut.size()), c.name); });
      EXPECT_EQ(error.empty(), whole_records) << c.name << " of " << size << " bytes";
      if (!whole_records) {
        EXPECT_THAT(error, HasSubstr(c.name));
      }
    }
    for (size_t at = 0; at < c.bytes.size(); ++at) {
      std::string flipped = c.bytes;
      flipped[at] = static_cast<char>(flipped[at] ^ 0x55);
      ErrorOf([&] { c.decode(flipped, c.name); });
    }
  }
}

TEST(GaussianFilesTest, SaysWhatAFileIsNot) {
  const auto path = TestFolder("gaussians") / "notes.txt";
  WriteFile(path, "hello");
  EXPECT_THAT(ErrorOf([&] { ReadGaussians(path); }),
              AllOf(HasSubstr("notes.txt"), HasSubstr("expected a scene of Gaussians")));
  WriteFile(path, "");
  EXPECT_THAT(ErrorOf([&] { ReadGaussians(path); }), HasSubstr("an empty file"));
  EXPECT_THAT(ErrorOf([&] { GaussianFormatFromPath("a.obj"); }), HasSubstr(".splat"));
  GaussianCloud cloud = RandomCloud(2, 0, 1);
  cloud.quats.assign(8, 0.0f);
  EXPECT_THAT(ErrorOf([&] { WriteGaussians(path, cloud, GaussianFormat::kPly); }),
              AllOf(HasSubstr("notes.txt"), HasSubstr("Gaussian 0"), HasSubstr("quaternion")));
  cloud.quats.resize(7);
  EXPECT_THAT(ErrorOf([&] { cloud.Check("here"); }), HasSubstr("expected 8 values of quaternions"));
}

TEST(GaussianFilesTest, AnEmptySceneIsAScene) {
  for (const auto format : {GaussianFormat::kPly, GaussianFormat::kSplat, GaussianFormat::kSpz}) {
    const auto path =
        TestFolder("gaussians") / (format == GaussianFormat::kSplat ? "none.splat" : "none.any");
    WriteGaussians(path, GaussianCloud(), format);
    EXPECT_EQ(ReadGaussians(path).size(), 0);
  }
}

struct Extent {
  Eigen::Vector3f low, high;
};

Extent ExtentOf(const GaussianCloud& cloud) {
  const Eigen::Map<const Eigen::Matrix3Xf> means(cloud.means.data(), 3, cloud.size());
  return {means.rowwise().minCoeff(), means.rowwise().maxCoeff()};
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

TEST(RealFilesTest, GuitarPackedPly) {
  ATHANOR_SKIP_WITHOUT("splats/guitar.compressed.ply");
  const auto path = SharedData("splats/guitar.compressed.ply");
  const GaussianCloud cloud = ReadGaussians(path);
  EXPECT_EQ(cloud.size(), 90854);
  EXPECT_EQ(cloud.sh_degree, 0);
  // The bounds of its 355 chunks, read here without the reader under test.
  const std::string bytes = ReadFile(path);
  size_t at = bytes.find("end_header\n") + 11;
  Eigen::Vector3f low = Eigen::Vector3f::Constant(1e9f), high = -low;
  for (int chunk = 0; chunk < 355; ++chunk, at += 18 * 4) {
    float bounds[6];
    std::memcpy(bounds, &bytes[at], sizeof bounds);
    low = low.cwiseMin(Eigen::Vector3f(bounds));
    high = high.cwiseMax(Eigen::Vector3f(bounds + 3));
  }
  const Extent extent = ExtentOf(cloud);
  EXPECT_LT((extent.low - low).norm(), 1e-3) << extent.low.transpose();
  EXPECT_LT((extent.high - high).norm(), 1e-3) << extent.high.transpose();
}

TEST(RealFilesTest, TestGarden) {
  ATHANOR_SKIP_WITHOUT("splats/test_garden.npz");
  const auto path = SharedData("splats/test_garden.npz");
  const GaussianCloud cloud = ReadGaussians(path);
  EXPECT_EQ(cloud.size(), 138766);
  const PosedImages posed = ReadGardenViews(path);
  ASSERT_EQ(posed.images.size(), 3u);
  ASSERT_EQ(posed.points.size(), 138766u);
  // Its cameras look at its points: most of them project into each picture.
  for (const PosedImage& image : posed.images) {
    const Camera& camera = posed.cameras[image.camera];
    int inside = 0;
    for (const ColoredPoint& point : posed.points) {
      const Eigen::Vector3d in_camera =
          image.camera_from_world *
          Eigen::Vector3d(point.position[0], point.position[1], point.position[2]);
      if (in_camera.z() <= 0) continue;
      const double u = camera.fx() * in_camera.x() / in_camera.z() + camera.parameters[2];
      const double v = camera.fy() * in_camera.y() / in_camera.z() + camera.parameters[3];
      inside += u >= 0 && u < camera.width_px && v >= 0 && v < camera.height_px;
    }
    EXPECT_GT(inside, 138766 / 3) << image.name;
  }
}

}  // namespace
}  // namespace athanor
