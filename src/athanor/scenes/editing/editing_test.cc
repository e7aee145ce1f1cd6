#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>

#include "athanor/base/files.h"
#include "athanor/base/random.h"
#include "athanor/base/test_util.h"
#include "athanor/kernels/spherical_harmonics_math.h"
#include "athanor/scenes/editing/edit.h"
#include "athanor/scenes/editing/selection.h"

namespace athanor {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

GaussianCloud RandomCloud(int64_t n, int sh_degree) {
  Random random(5);
  GaussianCloud cloud;
  cloud.sh_degree = sh_degree;
  cloud.Resize(n);
  for (float& v : cloud.means) v = random.Uniform(-1, 1);
  for (float& v : cloud.quats) v = random.Normal();
  for (float& v : cloud.log_scales) v = random.Uniform(-3, -2);
  for (float& v : cloud.opacity_logits) v = random.Uniform(-2, 2);
  for (float& v : cloud.sh) v = random.Uniform(-0.2f, 0.2f);
  return cloud;
}

// The colour of a Gaussian seen along a direction, before it is cut at 0.
Eigen::Vector3f ColorAlong(const GaussianCloud& cloud, int64_t row, const Eigen::Vector3f& d) {
  float basis[16];
  ShBasis(cloud.sh_degree, d.x(), d.y(), d.z(), basis);
  const int k = cloud.sh_coefficients();
  Eigen::Vector3f color = Eigen::Vector3f::Constant(0.5f);
  for (int c = 0; c < 3; ++c) {
    for (int i = 0; i < k; ++i) color[c] += basis[i] * cloud.sh[(3 * row + c) * k + i];
  }
  return color;
}

TEST(Selection, BoxHoldsTheCentresInside) {
  const GaussianCloud cloud = RandomCloud(1000, 0);
  const Rows rows = RowsInBox(cloud, MakeBox3({0.2, 0, 0}, {1, 0.5, 0.8}, M_PI / 2));
  // A quarter turn swaps length and width.
  Rows expected;
  for (int64_t i = 0; i < cloud.size(); ++i) {
    const float* p = &cloud.means[3 * i];
    if (std::abs(p[0] - 0.2f) <= 0.25f && std::abs(p[1]) <= 0.5f && std::abs(p[2]) <= 0.4f) {
      expected.push_back(i);
    }
  }
  EXPECT_EQ(rows, expected);
  EXPECT_GT(rows.size(), 20u);
}

TEST(Selection, RowsComeBackFromTheFile) {
  const std::filesystem::path path = TestFolder("rows") / "rows.txt";
  WriteRows(path, Rows{1, 5, 9});
  EXPECT_THAT(ReadRows(path, 10), ElementsAre(1, 5, 9));
  WriteFile(path, "9\r\n\n5\n9\n");
  EXPECT_THAT(ReadRows(path, 10), ElementsAre(5, 9));
  WriteFile(path, "3\n10\n");
  EXPECT_THAT(ErrorOf([&] { ReadRows(path, 10); }),
              HasSubstr("rows.txt:2: expected a row from 0 to 9, found '10'"));
  WriteFile(path, "3\n4x\n");
  EXPECT_THAT(ErrorOf([&] { ReadRows(path, 10); }), HasSubstr("found '4x'"));
  WriteFile(path, "\n");
  EXPECT_THAT(ErrorOf([&] { ReadRows(path, 10); }), HasSubstr("found none"));
}

TEST(Selection, OthersAreTheRest) {
  EXPECT_THAT(OtherRows(Rows{0, 2, 3}, 6), ElementsAre(1, 4, 5));
  EXPECT_THAT(OtherRows(Rows{}, 2), ElementsAre(0, 1));
}

// A hollow ball of selected Gaussians around others, with one selected far away.
TEST(Selection, HullTakesWhatIsInsideAndNothingOutside) {
  Random random(1);
  GaussianCloud cloud;
  cloud.Resize(2001);
  Rows shell;
  for (int64_t i = 0; i < 2000; ++i) {
    Eigen::Vector3f d(random.Normal(), random.Normal(), random.Normal());
    d.normalize();
    const float radius = i % 2 == 0 ? 1 : random.Uniform(0, 2);
    Eigen::Map<Eigen::Vector3f>(&cloud.means[3 * i]) = radius * d;
    if (i % 2 == 0) shell.push_back(i);
  }
  cloud.means[6000] = 50;
  shell.push_back(2000);
  const Rows grown = GrowIntoHull(cloud, shell);
  for (int64_t i = 0; i < 2000; ++i) {
    const float radius = Eigen::Map<Eigen::Vector3f>(&cloud.means[3 * i]).norm();
    const bool taken = std::binary_search(grown.begin(), grown.end(), i);
    if (i % 2 == 0 || radius < 0.9f) {
      EXPECT_TRUE(taken) << i << " at radius " << radius;
    } else if (radius > 1.05f) {
      EXPECT_FALSE(taken) << i << " at radius " << radius;
    }
  }
}

TEST(Selection, HullOfNothingIsEmpty) { EXPECT_TRUE(GrowIntoHull(RandomCloud(50, 3), {}).empty()); }

TEST(Edit, TakenAndOthersMakeTheSceneAgain) {
  const GaussianCloud cloud = RandomCloud(100, 2);
  const Rows rows = RowsInBox(cloud, MakeBox3({0, 0, 0}, {1, 1, 1}, 0));
  ASSERT_FALSE(rows.empty());
  GaussianCloud joined = TakeRows(cloud, rows);
  AppendScene(TakeRows(cloud, OtherRows(rows, 100)), &joined);
  Rows order = rows;
  for (const int64_t row : OtherRows(rows, 100)) order.push_back(row);
  Rows back(100);
  for (int64_t i = 0; i < 100; ++i) back[order[i]] = i;
  joined = TakeRows(joined, back);
  EXPECT_EQ(joined.means, cloud.means);
  EXPECT_EQ(joined.sh, cloud.sh);
  EXPECT_EQ(joined.opacity_logits, cloud.opacity_logits);
  EXPECT_THAT(ErrorOf([&] { TakeRows(cloud, Rows{100}); }), HasSubstr("Gaussian 100 of a scene"));
}

TEST(Edit, ScenesOfDifferentDegreesJoin) {
  GaussianCloud cloud = RandomCloud(3, 0);
  const GaussianCloud other = RandomCloud(4, 2);
  const Eigen::Vector3f d = Eigen::Vector3f(1, 2, -2) / 3;
  const Eigen::Vector3f before = ColorAlong(cloud, 2, d);
  AppendScene(other, &cloud);
  cloud.Check("joined");
  EXPECT_EQ(cloud.size(), 7);
  EXPECT_EQ(cloud.sh_degree, 2);
  EXPECT_TRUE(ColorAlong(cloud, 2, d).isApprox(before));
  EXPECT_TRUE(ColorAlong(cloud, 5, d).isApprox(ColorAlong(other, 2, d)));
  AppendScene(cloud, &cloud);
  EXPECT_EQ(cloud.size(), 14);
}

TEST(Edit, TurnsLeaveTheCentreWhereItIs) {
  GaussianCloud cloud = RandomCloud(50, 1);
  const Rows rows = {3, 10, 30, 31};
  const Eigen::Vector3d center = CenterOf(cloud, rows), by(0.5, 0, -2);
  const Eigen::Quaterniond turn(Eigen::AngleAxisd(1.1, Eigen::Vector3d(1, 1, 0).normalized()));
  TransformGaussians(AboutCenter(center, turn, 3, by), rows, &cloud);
  EXPECT_TRUE(CenterOf(cloud, rows).isApprox(center + by, 1e-5));
  EXPECT_THAT(ErrorOf([&] { CenterOf(cloud, Rows{}); }), HasSubstr("found none"));
}

TEST(Edit, NewColourKeepsLightAndShade) {
  const GaussianCloud cloud = RandomCloud(40, 3);
  GaussianCloud red = cloud;
  Rows rows;
  for (int64_t i = 0; i < 20; ++i) rows.push_back(i);
  const Eigen::Vector3f color(0.8f, 0.1f, 0.2f), luma(0.2126f, 0.7152f, 0.0722f);
  Recolor(color, rows, &red);
  // One factor for all Gaussians and all directions.
  const Eigen::Vector3f z(0, 0, 1);
  const float gain = ColorAlong(red, 0, z)[0] / luma.dot(ColorAlong(cloud, 0, z)) / color[0];
  Random random(2);
  for (int64_t i = 0; i < 20; ++i) {
    Eigen::Vector3f d(random.Normal(), random.Normal(), random.Normal());
    d.normalize();
    const Eigen::Vector3f expected = color * luma.dot(ColorAlong(cloud, i, d)) * gain;
    EXPECT_TRUE(ColorAlong(red, i, d).isApprox(expected, 1e-4f)) << i;
  }
  EXPECT_NEAR(gain, 2, 0.3) << "the mean brightness of these is about one half";
  const int64_t begin = 20 * 3 * cloud.sh_coefficients();
  EXPECT_TRUE(std::equal(cloud.sh.begin() + begin, cloud.sh.end(), red.sh.begin() + begin));
}

TEST(Edit, BlackBecomesTheColourItself) {
  GaussianCloud cloud;
  cloud.Resize(2);
  for (float& v : cloud.sh) v = -0.5f / kSh0;
  Recolor({0.1f, 0.5f, 0.9f}, Rows{1}, &cloud);
  EXPECT_TRUE(ColorAlong(cloud, 1, {0, 0, 1}).isApprox(Eigen::Vector3f(0.1f, 0.5f, 0.9f), 1e-5f));
  EXPECT_NEAR(ColorAlong(cloud, 0, {0, 0, 1}).norm(), 0, 1e-6);
}

}  // namespace
}  // namespace athanor
