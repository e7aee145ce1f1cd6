#include "athanor/datasets/scannet_reader.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <zlib.h>

#include <sstream>

#include "athanor/base/files.h"
#include "athanor/datasets/dataset_test_util.h"

namespace athanor {
namespace {

namespace fs = std::filesystem;
using testing::ElementsAre;
using testing::HasSubstr;

std::string Matrix(std::array<float, 16> values) { return Bytes(values); }

constexpr std::array<float, 16> kIntrinsic = {100, 0, 31.5f, 0, 0, 101, 23.5f, 0,
                                              0,   0, 1,     0, 0, 0,   0,     1};
constexpr std::array<float, 16> kIdentity = {1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1};
// Camera at (1, 2, 3), turned by 90 degrees about its z.
constexpr std::array<float, 16> kPose = {0, -1, 0, 1, 1, 0, 0, 2, 0, 0, 1, 3, 0, 0, 0, 1};

DepthImage MakeDepth() {
  DepthImage depth(32, 24, 1);
  for (size_t i = 0; i < depth.data.size(); ++i) depth.data[i] = static_cast<uint16_t>(1000 + i);
  return depth;
}

std::string Zipped(const DepthImage& depth) {
  std::string out(compressBound(depth.size_bytes()), '\0');
  uLongf size = out.size();
  EXPECT_EQ(compress(reinterpret_cast<Bytef*>(out.data()), &size,
                     reinterpret_cast<const Bytef*>(depth.data.data()), depth.size_bytes()),
            Z_OK);
  out.resize(size);
  return out;
}

// Two frames, the second without a pose.
std::string MakeSens() {
  std::string bytes = Bytes(uint32_t{4}) + Bytes(uint64_t{4}) + "test";
  bytes += Matrix(kIntrinsic) + Matrix(kIdentity) + Matrix(kIntrinsic) + Matrix(kIdentity);
  bytes += Bytes(int32_t{2}) + Bytes(int32_t{1});
  for (const uint32_t side : {64, 48, 32, 24}) bytes += Bytes(side);
  bytes += Bytes(1000.0f) + Bytes(uint64_t{2});
  const std::string color = EncodeJpeg(WavyImage(64, 48), "color");
  const std::string depth = Zipped(MakeDepth());
  for (int i = 0; i < 2; ++i) {
    std::array<float, 16> pose = kPose;
    if (i == 1) pose.fill(-INFINITY);
    bytes += Matrix(pose) + Bytes(uint64_t(10 * i)) + Bytes(uint64_t(10 * i + 1));
    bytes += Bytes(uint64_t{color.size()}) + Bytes(uint64_t{depth.size()}) + color + depth;
  }
  return bytes + Bytes(uint64_t{0});  // no readings of the motion sensor
}

ScanNetSens Open(std::string bytes) {
  return ScanNetSens(std::make_unique<std::istringstream>(std::move(bytes)), "s.sens");
}

std::string MeshPly(bool labels) {
  std::string text = "ply\nformat ascii 1.0\nelement vertex 2\n";
  text += "property float x\nproperty float y\nproperty float z\n";
  text += "property uchar red\nproperty uchar green\nproperty uchar blue\nproperty uchar alpha\n";
  if (labels) text += "property ushort label\n";
  text += "end_header\n";
  text += StrCat("0 0 0 255 0 0 255", labels ? " 5" : "", "\n1 2 3 0 255 0 255",
                 labels ? " 39" : "", "\n");
  return text;
}

TEST(ScanNetSens, ReadsFrames) {
  const ScanNetSens sens = Open(MakeSens());
  EXPECT_EQ(sens.sensor_name(), "test");
  EXPECT_EQ(sens.color_size().width, 64);
  EXPECT_EQ(sens.depth_size().height, 24);
  EXPECT_EQ(sens.intrinsic_color()(0, 2), 31.5f);
  ASSERT_EQ(sens.frames().size(), 2u);
  ASSERT_TRUE(sens.frames()[0].world_from_camera);
  EXPECT_EQ(sens.frames()[0].world_from_camera->translation, Eigen::Vector3d(1, 2, 3));
  EXPECT_FALSE(sens.frames()[1].world_from_camera);
  EXPECT_EQ(sens.frames()[1].depth_time_us, 11u);
  EXPECT_EQ(sens.ReadDepth(1).data, MakeDepth().data);
  EXPECT_EQ(sens.ReadColor(1).width, 64);
  EXPECT_EQ(sens.ReadColorBytes(0), EncodeJpeg(WavyImage(64, 48), "color"));
  EXPECT_THAT(ErrorOf([&] { sens.ReadDepth(2); }), HasSubstr("expected a frame of 0 to 1"));
}

TEST(ScanNetSens, ExportedFoldersAreReadAsPosedImages) {
  const fs::path folder = TestFolder("scene0000_00");
  Open(MakeSens()).Export(folder);
  WriteFile(folder / "scene0000_00_vh_clean_2.ply", MeshPly(false));
  EXPECT_EQ(ReadFile(folder / "pose" / "1.txt").substr(0, 4), "-inf");
  EXPECT_TRUE(IsScanNetFolder(folder));
  const PosedImages posed = ReadPosedImages(folder);
  ASSERT_EQ(posed.images.size(), 1u);
  EXPECT_EQ(posed.images[0].name, "0.jpg");
  EXPECT_EQ(ReadDepthPng(posed.images[0].depth_path).data, MakeDepth().data);
  EXPECT_EQ(posed.depth_unit_m, 0.001);
  EXPECT_EQ(posed.points.size(), 2u);
  EXPECT_EQ(posed.cameras[0].cx(), 32);
  EXPECT_EQ(posed.cameras[0].cy(), 24);
  EXPECT_EQ(posed.cameras[0].fy(), 101);
  const Rigid3 world_from_camera = posed.images[0].camera_from_world.Inverse();
  EXPECT_NEAR((world_from_camera * Eigen::Vector3d(1, 0, 0) - Eigen::Vector3d(1, 3, 3)).norm(), 0,
              1e-6);

  // Photographs of half the size with the intrinsics of the large ones.
  WriteImage(folder / "color" / "0.jpg", WavyImage(32, 24));
  EXPECT_THAT(ErrorOf([&] { ReadScanNet(folder); }), HasSubstr("images of another size"));
  fs::remove(folder / "pose" / "0.txt");
  EXPECT_THAT(ErrorOf([&] { ReadScanNet(folder); }), HasSubstr("with poses in pose/, found none"));
}

TEST(ScanNetSens, RefusesWhatIsDamaged) {
  const std::string good = MakeSens();
  const auto error = [&](size_t offset, const std::string& lie) {
    std::string bad = good;
    bad.replace(offset, lie.size(), lie);
    return ErrorOf([&] { Open(bad); });
  };
  EXPECT_THAT(error(0, Bytes(uint32_t{3})), HasSubstr("s.sens: byte 4: expected a .sens file of"));
  EXPECT_THAT(error(4, Bytes(~uint64_t{0})), HasSubstr("sensor's name of at most"));
  const size_t header = 16 + 4 * 64;
  EXPECT_THAT(error(header, Bytes(int32_t{7})), HasSubstr("expected colour stored raw"));
  EXPECT_THAT(error(header + 4, Bytes(int32_t{2})), HasSubstr("expected depth stored raw"));
  EXPECT_THAT(error(header + 8, Bytes(uint32_t{0})), HasSubstr("pixels a side, found 0"));
  EXPECT_THAT(error(header + 28, Bytes(~uint64_t{0})), HasSubstr("frames, which do not fit"));
  EXPECT_THAT(error(header + 36, Matrix(kIntrinsic)), HasSubstr("frame 0: expected a pose"));
  EXPECT_THAT(error(header + 36 + 80, Bytes(~uint64_t{0})), HasSubstr("expected pictures within"));
  for (size_t cut = 0; cut < header + 200; ++cut) {
    EXPECT_NE(ErrorOf([&] { Open(good.substr(0, cut)); }), "") << cut;
  }
  // The depth of the first frame, spoilt.
  std::string bad = good;
  const auto frame = Open(good).frames()[0];
  bad[frame.color_offset + frame.color_bytes] ^= 0x55;
  EXPECT_THAT(ErrorOf([&] { Open(bad).ReadDepth(0); }), HasSubstr("depth of frame 0: expected"));
}

TEST(ScanNet, PointsCarryLabels) {
  const fs::path folder = TestFolder("scannet points");
  WriteFile(folder / "s_vh_clean_2.ply", MeshPly(false));
  EXPECT_TRUE(ReadScanNetPoints(folder).labels.empty());
  WriteFile(folder / "s_vh_clean_2.labels.ply", MeshPly(true));
  const ScanNetPoints points = ReadScanNetPoints(folder);
  EXPECT_THAT(points.labels, ElementsAre(5, 39));
  EXPECT_EQ(points.points[1].position[2], 3);
  EXPECT_EQ(points.points[1].color[1], 255);
  WriteFile(folder / "s_vh_clean_2.labels.ply", MeshPly(false));
  EXPECT_THAT(ErrorOf([&] { ReadScanNetPoints(folder); }),
              HasSubstr("expected the property label"));
}

TEST(ScanNet, LabelImagesBecomeClasses) {
  const auto table = ParseScanNetLabels(
      "id\traw_category\tcategory\tcount\tnyu40id\tnyu40class\n"
      "1\twall\twall\t8277\t1\twall\n"
      "7\toffice chair\tchair\t4646\t5\tchair\r\n"
      "1191\tkey\t\t1\t\t\n",
      "labels.tsv");
  ASSERT_EQ(table.size(), 3u);
  EXPECT_EQ(table[1].raw_category, "office chair");
  EXPECT_EQ(table[1].nyu40_class, "chair");
  EXPECT_EQ(table[2].nyu40_id, 0);
  const fs::path path = TestFolder("labels") / "0.png";
  DepthImage image(2, 2, 1);
  image.data = {0, 1, 7, 1191};
  WriteDepthPng(path, image);
  EXPECT_THAT(ReadScanNetLabelImage(path, table).data, ElementsAre(0, 1, 5, 0));
  image.data[3] = 8;
  WriteDepthPng(path, image);
  EXPECT_THAT(ErrorOf([&] { ReadScanNetLabelImage(path, table); }),
              HasSubstr("pixel 1, 1: expected an id of the table of labels, found 8"));
  EXPECT_THAT(ErrorOf([] { ParseScanNetLabels("id\tcategory\n", "t"); }),
              HasSubstr("t: line 1: expected a column 'raw_category'"));
  EXPECT_THAT(ErrorOf([] {
                ParseScanNetLabels("id\traw_category\tcategory\tnyu40id\tnyu40class\n1\ta\n", "t");
              }),
              HasSubstr("t: line 2: expected 5 columns, found 2"));
}

}  // namespace
}  // namespace athanor
