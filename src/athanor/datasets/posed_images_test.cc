#include "athanor/datasets/posed_images.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "athanor/base/files.h"
#include "athanor/datasets/dataset_test_util.h"

namespace athanor {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

// `n` cameras on the x axis, at 0, 1, 2 ... and at y = 4.
PosedImages Row(int n) {
  PosedImages posed;
  posed.source = "row";
  for (int i = 0; i < n; ++i) {
    PosedImage image;
    image.name = StrCat("image ", i, ".png");
    image.camera_from_world.translation = Eigen::Vector3d(-i, -4, 0);
    posed.images.push_back(image);
  }
  return posed;
}

TEST(PosedImagesTest, SaysWhatItLookedFor) {
  const auto folder = TestFolder("empty");
  EXPECT_THAT(ErrorOf([&] { ReadPosedImages(folder); }),
              AllOf(HasSubstr(folder.string()), HasSubstr("sparse/0"), HasSubstr("transforms.json"),
                    HasSubstr("transforms_train.json")));
  EXPECT_THAT(ErrorOf([&] { ReadPosedImages(folder / "none"); }), HasSubstr("no such file"));
  WriteFile(folder / "notes.txt", "x");
  EXPECT_THAT(ErrorOf([&] { ReadPosedImages(folder / "notes.txt"); }),
              HasSubstr("expected a folder or a transforms.json"));
}

TEST(PosedImagesTest, ColmapComesFirst) {
  const auto folder = TestFolder("both");
  WriteImage(folder / "images/a.png", WavyImage(120, 80));
  WriteFile(folder / "transforms.json",
            "{\"fl_x\": 50, \"frames\": [{\"file_path\": "
            "\"images/a.png\", \"transform_matrix\": "
            "[[1,0,0,0],[0,1,0,0],[0,0,1,0]]}]}");
  EXPECT_EQ(ReadPosedImages(folder).cameras[0].fx(), 50);
  WriteFile(folder / "sparse/cameras.txt", "1 PINHOLE 120 80 100 110 60 40\n");
  WriteFile(folder / "sparse/images.txt", "1 1 0 0 0 0 0 0 1 a.png\n\n");
  EXPECT_EQ(ReadPosedImages(folder).cameras[0].fx(), 100);
  EXPECT_EQ(ReadPosedImages(folder / "transforms.json").cameras[0].fx(), 50);
  EXPECT_TRUE(ReadPosedImages(folder).points.empty());
}

TEST(PosedImagesTest, SplitsEveryNth) {
  const PosedImages posed = Row(10);
  EXPECT_THAT(SplitEvery(posed, 4).test, ElementsAre(0, 4, 8));
  EXPECT_THAT(SplitEvery(posed, 4).train, ElementsAre(1, 2, 3, 5, 6, 7, 9));
  EXPECT_TRUE(SplitEvery(posed, 0).test.empty());
  EXPECT_EQ(SplitEvery(posed, 0).train.size(), 10u);
  EXPECT_THAT(ErrorOf([&] { SplitEvery(posed, -1); }), HasSubstr("found -1"));
}

TEST(PosedImagesTest, SplitsByList) {
  const PosedImages posed = Row(4);
  const auto list = TestFolder("list") / "test.txt";
  WriteFile(list, "image 3.png\r\n\nimage 1.png");
  EXPECT_THAT(SplitByList(posed, list).test, ElementsAre(1, 3));
  EXPECT_THAT(SplitByList(posed, list).train, ElementsAre(0, 2));
  WriteFile(list, "image 3.png\nimage 9.png\n");
  EXPECT_THAT(ErrorOf([&] { SplitByList(posed, list); }),
              AllOf(HasSubstr("test.txt: line 2"), HasSubstr("'image 9.png'")));
}

TEST(PosedImagesTest, SplitsAsTheCaptureSays) {
  PosedImages posed = Row(4);
  EXPECT_FALSE(SplitAsGiven(posed).has_value());
  posed.images[2].split = GivenSplit::kValidation;
  EXPECT_THAT(SplitAsGiven(posed)->test, ElementsAre(2));
  EXPECT_THAT(SplitAsGiven(posed)->train, ElementsAre(0, 1, 3));
  posed.images[1].split = GivenSplit::kTest;
  EXPECT_THAT(SplitAsGiven(posed)->test, ElementsAre(1));
  posed.images[3].split = GivenSplit::kTrain;
  EXPECT_THAT(SplitAsGiven(posed)->train, ElementsAre(3));
}

TEST(PosedImagesTest, RandomPointsFillTheCubeAroundTheCameras) {
  const auto points = RandomPoints(Row(11), 20'000, 5);
  ASSERT_EQ(points.size(), 20'000u);
  const float low[] = {0, -1, -5};  // a cube of 10 around (5, 4, 0)
  for (int axis = 0; axis < 3; ++axis) {
    double sum = 0, square = 0;
    for (const ColoredPoint& point : points) {
      const double x = (point.position[axis] - low[axis]) / 10;
      ASSERT_GE(x, -1e-6);
      ASSERT_LE(x, 1 + 1e-6);
      sum += x;
      square += x * x;
    }
    EXPECT_NEAR(sum / points.size(), 0.5, 0.01);
    EXPECT_NEAR(square / points.size(), 1.0 / 3, 0.01) << "uniform";
  }
  EXPECT_EQ(RandomPoints(Row(11), 3, 5)[2].position[0], points[2].position[0]);
  EXPECT_NE(RandomPoints(Row(11), 3, 6)[2].position[0], points[2].position[0]);
  EXPECT_THAT(ErrorOf([] { RandomPoints(Row(1), 3); }), HasSubstr("one spot"));
}

}  // namespace
}  // namespace athanor
