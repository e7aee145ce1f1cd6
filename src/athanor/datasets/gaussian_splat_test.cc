// Splats as .splat, 32 bytes each.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <array>
#include <cmath>
#include <cstring>
#include <limits>
#include <map>
#include <string>

#include "athanor/datasets/gaussian_test_util.h"

namespace athanor {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

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

TEST(SplatTest, EveryTruncationAndFlippedByteIsSurvived) {
  ExpectDamageIsSurvived("splat", internal::EncodeSplat(RandomCloud(3, 1, 9)),
                         internal::DecodeSplat, 32);
}

}  // namespace
}  // namespace athanor
