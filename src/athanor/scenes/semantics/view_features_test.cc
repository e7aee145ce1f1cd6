#include "athanor/scenes/semantics/view_features.h"

#include <ATen/ATen.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <limits>

#include "athanor/base/error.h"
#include "athanor/base/test_util.h"

namespace athanor {
namespace {

using ::testing::HasSubstr;

ViewFeatures Dense() {
  ViewFeatures features;
  features.width_px = 8, features.height_px = 6;
  features.features = at::rand({3, 4, 5}).to(at::kHalf);
  return features;
}

ViewFeatures PerMask() {
  ViewFeatures features;
  features.width_px = 8, features.height_px = 6;
  features.features = at::rand({2, 5}).to(at::kHalf);
  features.mask_ids = at::full({2, 6, 8}, -1, at::kInt);
  features.mask_ids[0][1][2] = 1;
  return features;
}

TEST(ViewFeatures, ComeBackFromTheFile) {
  const std::filesystem::path folder = TestFolder("view_features");
  for (const ViewFeatures& written : {Dense(), PerMask()}) {
    WriteViewFeatures(folder / "view.safetensors", written);
    const ViewFeatures read = ReadViewFeatures(folder / "view.safetensors");
    EXPECT_EQ(read.width_px, 8);
    EXPECT_EQ(read.height_px, 6);
    EXPECT_TRUE(at::equal(read.features, written.features));
    ASSERT_EQ(read.is_dense(), written.is_dense());
    if (!read.is_dense()) {
      EXPECT_TRUE(at::equal(read.mask_ids, written.mask_ids));
    }
  }
}

TEST(ViewFeatures, FaultsAreNamed) {
  ViewFeatures features = Dense();
  features.features[1][2][3] = std::numeric_limits<float>::quiet_NaN();
  EXPECT_THAT(ErrorOf([&] { features.Check("a.jpg"); }), HasSubstr("a.jpg: 'features' hold NaN"));
  features = PerMask();
  features.mask_ids[1][5][7] = 2;
  EXPECT_THAT(ErrorOf([&] { features.Check("a.jpg"); }), HasSubstr("expected -1 to 1"));
  features = PerMask();
  features.width_px = 9;
  EXPECT_THAT(ErrorOf([&] { features.Check("a.jpg"); }), HasSubstr("int32 [L,6,9]"));
}

}  // namespace
}  // namespace athanor
