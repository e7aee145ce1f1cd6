#include "athanor/datasets/colmap_writer.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "athanor/base/error.h"
#include "athanor/base/files.h"
#include "athanor/base/random.h"
#include "athanor/datasets/dataset_test_util.h"

namespace athanor {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

PosedImages RandomPosedImages() {
  Random random(4);
  PosedImages posed;
  posed.source = "made up";
  for (int k = 0; k < kNumCameraModels; ++k) {
    Camera camera;
    camera.model = static_cast<CameraModel>(k);
    camera.width_px = 640 + k;
    camera.height_px = 480;
    for (int j = 0; j < NumCameraParameters(camera.model); ++j) {
      camera.parameters[j] = j < 4 ? 300.0 + random.Uniform() : 1e-3 * random.Uniform();
    }
    posed.cameras.push_back(camera);
  }
  for (int k = 0; k < 5; ++k) {
    PosedImage image;
    image.name = StrCat("left/é picture ", k, ".png");
    image.camera = (k * 3) % kNumCameraModels;
    image.camera_from_world.rotation =
        Eigen::Quaterniond(random.Normal(), random.Normal(), random.Normal(), random.Normal())
            .normalized();
    image.camera_from_world.translation = {random.Normal() / 3, 1e5 * random.Normal(), 0};
    posed.images.push_back(image);
  }
  for (int k = 0; k < 20; ++k) {
    posed.points.push_back(
        {{random.Normal(), 1e-9f * random.Normal(), 7}, {static_cast<uint8_t>(k), 0, 255}});
  }
  return posed;
}

TEST(ColmapWriterTest, BothEncodingsReadBackExactly) {
  const PosedImages posed = RandomPosedImages();
  for (const auto encoding : {ColmapEncoding::kBinary, ColmapEncoding::kText}) {
    const auto folder = TestFolder("colmap writer") / "sparse" / "0";
    WriteColmapModel(folder, posed, encoding);
    EXPECT_TRUE(IsColmapModel(folder));
    const std::string extension = encoding == ColmapEncoding::kBinary ? ".bin" : ".txt";
    const auto cameras =
        ParseColmapCameras(ReadFile(folder / ("cameras" + extension)), "c", encoding);
    const auto images = ParseColmapImages(ReadFile(folder / ("images" + extension)), "i", encoding);
    const auto points =
        ParseColmapPoints(ReadFile(folder / ("points3D" + extension)), "p", encoding);
    ASSERT_EQ(cameras.size(), posed.cameras.size());
    for (size_t k = 0; k < posed.cameras.size(); ++k) {
      const Camera& camera = cameras.at(static_cast<uint32_t>(k + 1));
      EXPECT_EQ(camera.model, posed.cameras[k].model);
      EXPECT_EQ(camera.width_px, posed.cameras[k].width_px);
      EXPECT_EQ(camera.height_px, posed.cameras[k].height_px);
      EXPECT_EQ(camera.parameters, posed.cameras[k].parameters);
    }
    ASSERT_EQ(images.size(), posed.images.size());
    for (size_t k = 0; k < posed.images.size(); ++k) {
      EXPECT_EQ(images[k].name, posed.images[k].name);
      EXPECT_EQ(images[k].camera_id, static_cast<uint32_t>(posed.images[k].camera + 1));
      EXPECT_TRUE(images[k].camera_from_world.ToMatrix().isApprox(
          posed.images[k].camera_from_world.ToMatrix(), 1e-15));
    }
    ASSERT_EQ(points.size(), posed.points.size());
    for (size_t k = 0; k < points.size(); ++k) {
      for (int j = 0; j < 3; ++j) {
        EXPECT_EQ(points[k].position[j], posed.points[k].position[j]);
        EXPECT_EQ(points[k].color[j], posed.points[k].color[j]);
      }
    }
  }
}

TEST(ColmapWriterTest, RefusesWhatTheFormatCannotHold) {
  const auto folder = TestFolder("colmap writer bad") / "0";
  PosedImages posed = RandomPosedImages();
  posed.images[2].camera = 7;
  EXPECT_THAT(ErrorOf([&] { WriteColmapModel(folder, posed); }),
              AllOf(HasSubstr("made up"), HasSubstr("picture 2"), HasSubstr("found 7")));
  posed.images[2].camera = 0;
  posed.images[3].name = "two\nlines.png";
  EXPECT_THAT(ErrorOf([&] { WriteColmapModel(folder, posed); }), HasSubstr("one line"));
  EXPECT_FALSE(std::filesystem::exists(folder)) << "nothing half-written";
}

}  // namespace
}  // namespace athanor
