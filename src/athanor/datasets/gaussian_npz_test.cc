// Coloured points and views in a NumPy archive.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <zlib.h>

#include <cstring>
#include <string>
#include <vector>

#include "athanor/datasets/gaussian_test_util.h"

namespace athanor {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

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

TEST(GardenTest, EveryTruncationAndFlippedByteIsSurvived) {
  ExpectDamageIsSurvived("npz", SmallGarden(), internal::DecodeGardenNpz);
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
