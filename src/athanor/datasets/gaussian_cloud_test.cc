// What holds for splat files of every format.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "athanor/datasets/gaussian_test_util.h"

namespace athanor {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

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

}  // namespace
}  // namespace athanor
