#include "athanor/datasets/colmap_program.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <Eigen/Geometry>
#include <cstdlib>

#include "athanor/base/files.h"
#include "athanor/datasets/dataset_test_util.h"

namespace athanor {
namespace {

namespace fs = std::filesystem;
using ::testing::AllOf;
using ::testing::HasSubstr;

// A stand-in for colmap: writes each command's name to the file `calls`, and a model of two images
// where the mapper should. `fails` is the command that does not succeed.
std::string WriteStandIn(const fs::path& folder, const std::string& fails) {
  const fs::path program = folder / "stand in é";
  WriteFile(program,
            StrCat(R"(#!/bin/sh
echo "$1" >> ")",
                   (folder / "calls").string(), R"("
test "$QT_QPA_PLATFORM" = offscreen || exit 9
if [ "$1" = ")",
                   fails, R"(" ]; then echo "first line"; echo "no good pair" >&2; exit 3; fi
for argument in "$@"; do
  case "$last" in
    --database_path) : > "$argument" ;;
    --output_path)
      for model in 0 1; do
        mkdir -p "$argument/$model"
        cp ")",
                   folder.string(), R"("/model$model/* "$argument/$model/"
      done ;;
  esac
  last="$argument"
done
)"));
  fs::permissions(program, fs::perms::owner_all);
  return program.string();
}

void WriteModel(const fs::path& folder, int images) {
  std::string cameras = Bytes(uint64_t{1}) + Bytes(uint32_t{1}) + Bytes(int32_t{1}) +
                        Bytes(uint64_t{40}) + Bytes(uint64_t{30});
  for (const double value : {30.0, 30.0, 20.0, 15.0}) cameras += Bytes(value);
  std::string bytes = Bytes(uint64_t(images));
  for (int i = 0; i < images; ++i) {
    bytes += Bytes(uint32_t(i + 1));
    for (const double value : {1.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0}) bytes += Bytes(value);
    bytes += Bytes(uint32_t{1}) + StrCat(i, ".png") + '\0' + Bytes(uint64_t{0});
  }
  WriteFile(folder / "cameras.bin", cameras);
  WriteFile(folder / "images.bin", bytes);
  WriteFile(folder / "points3D.bin", Bytes(uint64_t{0}));
}

class ColmapProgramTest : public testing::Test {
 protected:
  void SetUp() override {
    folder_ = TestFolder("colmap program");
    for (int i = 0; i < 3; ++i) {
      WriteImage(folder_ / "photo graphs" / StrCat(i, ".png"), WavyImage(40, 30));
    }
    WriteModel(folder_ / "model0", 2);
    WriteModel(folder_ / "model1", 3);
  }
  std::string Calls() const {
    return fs::exists(folder_ / "calls") ? ReadFile(folder_ / "calls") : "";
  }
  fs::path folder_;
};

TEST_F(ColmapProgramTest, TakesTheLargestModelAndGoesOnWhereItStopped) {
  ColmapOptions options;
  options.program = WriteStandIn(folder_, "mapper");
  const fs::path out = folder_ / "out";
  const auto import = [&] { return ImportImages(folder_ / "photo graphs", out, options); };
  EXPECT_THAT(ErrorOf(import),
              AllOf(HasSubstr("colmap mapper"), HasSubstr("exit status 3"),
                    HasSubstr("it said: no good pair"), HasSubstr((out / "colmap.log").string())));
  EXPECT_EQ(Calls(), "feature_extractor\nexhaustive_matcher\nmapper\n");
  WriteStandIn(folder_, "none");
  const PosedImages posed = import();
  EXPECT_EQ(Calls(), "feature_extractor\nexhaustive_matcher\nmapper\nmapper\n")
      << "finished steps are not repeated";
  ASSERT_EQ(posed.images.size(), 3u) << "the larger of two models";
  EXPECT_EQ(ReadImageSize(posed.images[2].image_path).width, 40);
  import();
  EXPECT_EQ(Calls(), "feature_extractor\nexhaustive_matcher\nmapper\nmapper\n");
  EXPECT_EQ(ReadPosedImages(out).images.size(), 3u) << "the folder is a capture";

  WriteImage(folder_ / "photo graphs/3.png", WavyImage(40, 30));
  import();
  EXPECT_THAT(Calls(), HasSubstr("mapper\nmapper\nfeature_extractor\nexhaustive_matcher\nmapper\n"))
      << "another photograph: all is done again";
}

TEST_F(ColmapProgramTest, RefusesWhatItCannotDo) {
  ColmapOptions options;
  options.program = "no such program";
  const fs::path photographs = folder_ / "photo graphs";
  EXPECT_THAT(ErrorOf([&] { ImportImages(photographs, folder_ / "out", options); }),
              AllOf(HasSubstr("no such program"), HasSubstr("apt-get install colmap")));
  WriteFile(folder_ / "mine/sparse/0/images.bin", "x");
  EXPECT_THAT(ErrorOf([&] { ImportImages(photographs, folder_ / "mine", options); }),
              HasSubstr("another's sparse"));
  EXPECT_EQ(ReadFile(folder_ / "mine/sparse/0/images.bin"), "x");
  EXPECT_THAT(ErrorOf([&] { ImportImages(folder_ / "model0", folder_ / "out", options); }),
              HasSubstr("at least 2 PNG or JPEG files, found 0"));
  options.matcher = "magic";
  EXPECT_THAT(ErrorOf([&] { ImportImages(photographs, folder_ / "out", options); }),
              HasSubstr("'magic'"));
}

bool HasColmap() { return std::system("colmap help >/dev/null 2>&1") == 0; }

// Every second of the first photographs of fox, small.
PosedImages SmallFox(const fs::path& folder, int count) {
  PosedImages posed = ReadPosedImages(FoxFolder());
  posed.images.resize(2 * count);
  for (int i = 0; i < count; ++i) {
    PosedImage& image = posed.images[i] = posed.images[2 * i];
    const fs::path path = folder / ("smäll " + image.name);
    WriteImage(path, Resize(ReadImage(image.image_path), 450, 800));
    image.image_path = path;
  }
  posed.images.resize(count);
  posed.cameras[0] = posed.cameras[0].Resized(450, 800);
  return posed;
}

TEST_F(ColmapProgramTest, SlowFindsThePosesOfFox) {
  ATHANOR_SKIP_WITHOUT_FOX();
  if (!HasColmap()) GTEST_SKIP() << "needs the program colmap";
  const PosedImages fox = SmallFox(folder_ / "fox images", 8);
  const PosedImages found = ImportImages(folder_ / "fox images", folder_ / "fox out");
  ASSERT_EQ(found.images.size(), 8u);
  EXPECT_GT(found.points.size(), 300u);
  Eigen::Matrix3Xd from(3, 8);
  Eigen::Matrix3Xd to(3, 8);
  for (int i = 0; i < 8; ++i) {
    ASSERT_EQ(found.images[i].name, "smäll " + fox.images[i].name);
    from.col(i) = found.images[i].camera_from_world.Inverse().translation;
    to.col(i) = fox.images[i].camera_from_world.Inverse().translation;
  }
  const Eigen::Matrix4d similarity = Eigen::umeyama(from, to);
  const Eigen::Matrix3Xd moved = (similarity.topLeftCorner<3, 3>() * from).colwise() +
                                 similarity.topRightCorner<3, 1>().eval();
  const double extent = (to.colwise() - to.rowwise().mean()).colwise().norm().maxCoeff();
  const double error = (moved - to).colwise().norm().maxCoeff() / extent;
  RecordProperty("largest_centre_error_of_extent", std::to_string(error));
  EXPECT_LT(error, 0.1);
}

TEST_F(ColmapProgramTest, SlowTriangulatesFoxFromItsPoses) {
  ATHANOR_SKIP_WITHOUT_FOX();
  if (!HasColmap()) GTEST_SKIP() << "needs the program colmap";
  PosedImages fox = SmallFox(folder_ / "fox images", 8);
  const std::vector<ColoredPoint> known = std::move(fox.points);
  fox.points.clear();
  // In another order than COLMAP's, so that poses given to the wrong photographs would show.
  std::reverse(fox.images.begin(), fox.images.end());
  const PosedImages found = TriangulateFromPoses(fox, folder_ / "triangulated");
  ASSERT_GT(found.points.size(), 300u);
  EXPECT_EQ(found.images.size(), 8u);
  EXPECT_EQ(found.images[0].name, fox.images[0].name);

  // The same poses, so the same surfaces: most points lie close to one of the full capture's.
  int close = 0;
  const double near_2 = 0.1 * 0.1;
  for (const ColoredPoint& point : found.points) {
    for (const ColoredPoint& other : known) {
      double distance_2 = 0;
      for (int i = 0; i < 3; ++i) {
        distance_2 += std::pow(point.position[i] - other.position[i], 2);
      }
      if (distance_2 < near_2) {
        ++close;
        break;
      }
    }
  }
  RecordProperty("points", static_cast<int>(found.points.size()));
  RecordProperty("close", close);
  EXPECT_GT(close, 0.8 * static_cast<double>(found.points.size()));
}

}  // namespace
}  // namespace athanor
