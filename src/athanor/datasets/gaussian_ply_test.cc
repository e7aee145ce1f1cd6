// Splats as PLY: that of Inria, and the packed one of SuperSplat.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <limits>
#include <string>
#include <vector>

#include "athanor/datasets/gaussian_test_util.h"

namespace athanor {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

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

TEST(GaussianPlyTest, EveryTruncationAndFlippedByteIsSurvived) {
  ExpectDamageIsSurvived("ply", internal::EncodeGaussianPly(RandomCloud(3, 1, 9)),
                         internal::DecodeGaussianPly);
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

}  // namespace
}  // namespace athanor
