#include "athanor/scenes/semantics/lifting/lift_features.h"

#include <ATen/ATen.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>

#include "athanor/base/files.h"
#include "athanor/base/random.h"
#include "athanor/base/test_util.h"
#include "athanor/media/image.h"
#include "athanor/scenes/gaussians/camera_path.h"
#include "athanor/scenes/gaussians/renderer.h"
#include "athanor/scenes/semantics/lifting/feature_cache.h"
#include "athanor/scenes/semantics/teachers/id_maps.h"

namespace athanor {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

constexpr int kWidth = 64, kHeight = 48, kClasses = 3;

// A wall at z = 4 that is of class 0 on the left and of class 1 on the right, a ball of class 2 at
// z = 3 in front of it, and hidden Gaussians of no class at z = 5.
struct TestScene {
  GaussianCloud cloud;
  std::vector<int> classes;
  std::vector<PinholeView> views;

  TestScene() {
    Random random(1);
    const auto add = [&](double x, double y, double z, int label) {
      for (const double v : {x, y, z}) cloud.means.push_back(static_cast<float>(v));
      for (const float v : {1.0f, 0.0f, 0.0f, 0.0f}) cloud.quats.push_back(v);
      for (int axis = 0; axis < 3; ++axis) cloud.log_scales.push_back(std::log(0.05f));
      cloud.opacity_logits.push_back(4.0f);
      for (int k = 0; k < 3; ++k) cloud.sh.push_back(0.1f * static_cast<float>(label));
      classes.push_back(label);
    };
    for (double y = -2; y <= 2; y += 0.08) {
      for (double x = -2.6; x <= 2.6; x += 0.08) add(x, y, 4, x < 0 ? 0 : 1);
    }
    for (int i = 0; i < 400; ++i) {
      const double a = random.Uniform(0, 6.283f), r = 0.4 * std::sqrt(random.Uniform());
      add(r * std::cos(a), r * std::sin(a), 3, 2);
    }
    for (double x = -1; x <= 1; x += 0.1) add(x, 0.5, 5, -1);
    for (int v = 0; v < 14; ++v) {
      Camera camera;
      camera.width_px = kWidth, camera.height_px = kHeight;
      camera.parameters = {60, 60, kWidth / 2.0 - 1.5, kHeight / 2.0 + 2};  // not at the middle
      const Rigid3 pose = LookAt({0.05 * (v - 7), 0.04 * (v % 3), 0}, {0, 0, 4}, {0, -1, 0});
      views.push_back(MakeView(camera, pose));
    }
  }
  GaussianModel Model() const { return GaussianModel::FromCloud(cloud, false, at::kCPU); }

  // What is seen in each pixel: the class of the nearest surface along the pixel's ray.
  at::Tensor TrueLabels(int v) const {
    at::Tensor labels = at::full({1, kHeight, kWidth}, -1, at::kInt);
    const PinholeView& view = views[v];
    const float* m = view.camera_from_world;
    float center[3];
    CameraCenter(view, center);
    for (int y = 0; y < kHeight; ++y) {
      for (int x = 0; x < kWidth; ++x) {
        const double d[3] = {(x + 0.5 - view.cx_px) / view.fx_px,
                             (y + 0.5 - view.cy_px) / view.fy_px, 1};
        double ray[3] = {};
        for (int axis = 0; axis < 3; ++axis) {
          for (int k = 0; k < 3; ++k) ray[axis] += m[4 * k + axis] * d[k];
        }
        const auto at = [&](double z, int axis) {
          return center[axis] + (z - center[2]) / ray[2] * ray[axis];
        };
        const bool ball = std::hypot(at(3, 0), at(3, 1)) < 0.42;
        labels[0][y][x] = ball ? 2 : at(4, 0) < 0 ? 0 : 1;
      }
    }
    return labels;
  }
  ViewFeatures MaskFeatures(int v) const {
    ViewFeatures features;
    features.width_px = kWidth, features.height_px = kHeight;
    features.features = at::eye(kClasses).to(at::kHalf);
    features.mask_ids = TrueLabels(v);
    return features;
  }
  // The same as a vector per pixel.
  ViewFeatures DenseFeatures(int v) const {
    ViewFeatures features;
    features.width_px = kWidth, features.height_px = kHeight;
    features.features = at::eye(kClasses)
                            .to(at::kHalf)
                            .index_select(0, TrueLabels(v).view({-1}).to(at::kLong))
                            .view({kHeight, kWidth, kClasses});
    return features;
  }
};

const TestScene& Scene() {
  static const TestScene scene;
  return scene;
}

SemanticField Lift(const LiftOptions& options, const std::function<ViewFeatures(int)>& features,
                   LiftSummary* summary = nullptr) {
  const GaussianModel model = Scene().Model();
  return LiftFeatures(model, Scene().views, {}, features, options, summary);
}

TEST(LiftFeatures, EveryModeFindsTheClasses) {
  for (const char* mode : {"weights", "topk", "max", "paper"}) {
    SCOPED_TRACE(mode);
    LiftOptions options;
    options.mode = mode;
    options.border_px = 2;
    options.depth_threshold = 0.05;
    LiftSummary summary;
    const SemanticField field = Lift(
        options, [](int v) { return Scene().MaskFeatures(v); }, &summary);
    field.Check("test");
    const at::Tensor rows = field.features.DecodeAll();
    const at::Tensor labels = rows.argmax(1);
    int64_t seen = 0, right = 0;
    for (int64_t i = 0; i < field.size(); ++i) {
      if (field.seen[i].item<int>() == 0) {
        EXPECT_EQ(rows[i].abs().sum().item<float>(), 0);
        EXPECT_EQ(field.agreement[i].item<float>(), 0);
        continue;
      }
      EXPECT_NEAR(rows[i].norm().item<float>(), 1, 2e-3);
      // Those behind the wall are not to be seen.
      EXPECT_GE(Scene().classes[i], 0) << i;
      ++seen;
      right += labels[i].item<int64_t>() == Scene().classes[i];
    }
    EXPECT_GT(seen, field.size() / 2);
    EXPECT_GT(static_cast<double>(right) / static_cast<double>(seen), 0.97);
    EXPECT_EQ(summary.seen, seen);
    EXPECT_EQ(summary.views, 14);
  }
}

TEST(LiftFeatures, MasksAndPixelsOfTheSameContentAgree) {
  for (const char* mode : {"weights", "topk", "max", "paper"}) {
    for (const char* outliers : {"never", "always"}) {
      SCOPED_TRACE(testing::Message() << mode << " " << outliers);
      LiftOptions options;
      options.mode = mode;
      options.outliers = outliers;
      options.border_px = 2;
      options.z_limit = 2;
      LiftSummary of_masks, of_pixels;
      const SemanticField masks = Lift(
          options, [](int v) { return Scene().MaskFeatures(v); }, &of_masks);
      const SemanticField pixels = Lift(
          options, [](int v) { return Scene().DenseFeatures(v); }, &of_pixels);
      EXPECT_TRUE(at::equal(masks.seen, pixels.seen));
      EXPECT_TRUE(at::allclose(masks.max_weight, pixels.max_weight));
      // A view that stands right at the limit may fall on either side.
      const at::Tensor differs =
          (masks.features.DecodeAll() - pixels.features.DecodeAll()).abs().amax(1) > 3e-3;
      const int64_t different = differs.sum().item<int64_t>();
      EXPECT_LE(different, std::string(outliers) == "never" ? 0 : 5);
      EXPECT_NEAR(of_masks.rejected, of_pixels.rejected, 5);
      EXPECT_NEAR(of_masks.mean_agreement, of_pixels.mean_agreement, 1e-3);
      EXPECT_EQ(of_masks.rejected > 0, std::string(outliers) == "always");
    }
  }
}

TEST(LiftFeatures, AViewThatLiesIsLeftOut) {
  const auto liar = [](int v) {
    ViewFeatures features = Scene().MaskFeatures(v);
    if (v == 9) features.mask_ids = (features.mask_ids + 1) % kClasses;
    return features;
  };
  LiftOptions options;
  const auto mean_agreement = [&](const char* outliers) {
    options.outliers = outliers;
    LiftSummary summary;
    Lift(options, liar, &summary);
    return summary.mean_agreement;
  };
  const double kept = mean_agreement("never"), left_out = mean_agreement("masks");
  LiftSummary honest;
  options.outliers = "never";
  Lift(
      options, [](int v) { return Scene().MaskFeatures(v); }, &honest);
  // Most of what the liar takes away comes back.
  EXPECT_LT(kept, honest.mean_agreement - 0.03);
  EXPECT_GT(left_out, honest.mean_agreement - 0.01);
}

TEST(LiftFeatures, MasksInMasksAddUp) {
  const auto nested = [](int v) {
    ViewFeatures features = Scene().MaskFeatures(v);
    // Everything also lies in a mask whose vector is twice that of class 1.
    features.features = at::cat({features.features, 2 * features.features.narrow(0, 1, 1)});
    features.mask_ids = at::cat({features.mask_ids, at::full({1, kHeight, kWidth}, 3, at::kInt)});
    return features;
  };
  LiftOptions options;
  const SemanticField field = Lift(options, nested);
  const at::Tensor rows = field.features.DecodeAll();
  // A Gaussian in the middle of the left half of the wall: (1, 2, 0) / sqrt(5) everywhere.
  for (int64_t i = 0; i < field.size(); ++i) {
    const float* mean = Scene().cloud.means.data() + 3 * i;
    if (std::abs(mean[0] + 1) > 0.1 || std::abs(mean[1]) > 0.1 || mean[2] != 4) continue;
    EXPECT_NEAR(rows[i][0].item<float>(), 1 / std::sqrt(5.0), 2e-3);
    EXPECT_NEAR(rows[i][1].item<float>(), 2 / std::sqrt(5.0), 2e-3);
    EXPECT_NEAR(field.agreement[i].item<float>(), 1, 1e-3);
  }
}

TEST(LiftFeatures, BadInputIsNamed) {
  LiftOptions options;
  const auto error_with = [&](const auto& change) {
    return ErrorOf([&] {
      Lift(options, [&](int v) {
        ViewFeatures features = Scene().DenseFeatures(v);
        change(v, features);
        return features;
      });
    });
  };
  EXPECT_THAT(error_with([](int v, ViewFeatures& f) {
                if (v == 3) f.features[2][2][1] = std::numeric_limits<float>::quiet_NaN();
              }),
              AllOf(HasSubstr("view 3"), HasSubstr("NaN")));
  EXPECT_THAT(error_with([](int v, ViewFeatures& f) {
                if (v == 2) f.width_px = 63, f.features = f.features.narrow(1, 0, 63).contiguous();
              }),
              AllOf(HasSubstr("view 2"), HasSubstr("expected them for 64 x 48"),
                    HasSubstr("found 63 x 48")));
  EXPECT_THAT(error_with([](int v, ViewFeatures& f) {
                if (v == 1) f.features = f.features.narrow(2, 0, 2).contiguous();
              }),
              AllOf(HasSubstr("view 1"), HasSubstr("length 3"), HasSubstr("length 2")));
  EXPECT_THAT(error_with([](int, ViewFeatures& f) { f.features.zero_(); }),
              HasSubstr("no Gaussian is seen"));
  options.mode = "best";
  EXPECT_THAT(error_with([](int, ViewFeatures&) {}), HasSubstr("found 'best'"));
}

// Counts how often it is asked.
class CountingTeacher : public Teacher {
 public:
  std::string key() const override { return "counting/1 (ü)"; }
  int dimension() const override { return 2; }
  std::string text_space() const override { return {}; }
  ViewFeatures Describe(const Image& rgb, const std::string&) override {
    ++asked;
    ViewFeatures features;
    features.width_px = rgb.width, features.height_px = rgb.height;
    features.features = at::ones({1, 1, 2}, at::kHalf) * asked;
    return features;
  }
  int asked = 0;
};

TEST(FeatureCache, AsksTheTeacherOnce) {
  const auto folder = TestFolder("feature_cache");
  CountingTeacher teacher;
  const Image black(8, 6, 3), grey(8, 6, 3, 128);
  const auto number = [](FeatureCache* cache, const std::string& name, const Image& picture) {
    return cache->Get(name, picture).features[0][0][0].item<float>();
  };
  {
    FeatureCache cache(folder, &teacher);
    EXPECT_EQ(number(&cache, "left/1.jpg", black), 1);
    EXPECT_EQ(number(&cache, "left/2.jpg", black), 2);
  }
  FeatureCache cache(folder, &teacher);
  EXPECT_EQ(number(&cache, "left/1.jpg", black), 1);
  EXPECT_EQ(cache.described(), 0);
  // A damaged file is made anew.
  for (const auto& entry : std::filesystem::directory_iterator(cache.folder() / "left")) {
    WriteFile(entry.path(), "broken");
  }
  EXPECT_EQ(number(&cache, "left/1.jpg", black), 3);
  EXPECT_EQ(cache.described(), 1);
  // Another capture has a view of this name and size, or one of the same bytes in another shape.
  EXPECT_EQ(number(&cache, "left/1.jpg", grey), 4);
  EXPECT_EQ(number(&cache, "left/1.jpg", Image(6, 8, 3)), 5);
  EXPECT_EQ(number(&cache, "left/1.jpg", black), 3);
  EXPECT_EQ(number(&cache, "left/1.jpg", grey), 4);
  EXPECT_THAT(ErrorOf([&] { cache.Get("../x", black); }), HasSubstr("'../x'"));
}

TEST(IdMaps, GiveOneHotMasks) {
  const auto folder = TestFolder("id_maps");
  DepthImage map(4, 2, 1);
  map.data = {0, 7, 7, 300, 0, 7, 300, 300};
  WriteDepthPng(folder / "maps/a.png", map);
  WriteFile(folder / "classes.json",
            R"({"classes": [{"id": 7, "name": "mug"}, {"id": 9, "name": "x"}]})");
  WriteFile(folder / "card.json",
            R"({"family": "id maps", "maps": "maps", "classes": "classes.json"})");
  IdMapTeacher teacher(folder / "card.json");
  EXPECT_EQ(teacher.labels(), (std::vector<std::string>{"mug", "300"}));
  EXPECT_TRUE(IsIdMaps(folder / "card.json"));
  EXPECT_TRUE(IsIdMaps(folder / "maps"));
  // Twice the size.
  const ViewFeatures features = teacher.Describe(Image(8, 4, 3), "a.jpg");
  features.Check("test");
  const at::Tensor expected = at::tensor({-1, -1, 0, 0, 0, 0, 1, 1}, at::kInt);
  EXPECT_TRUE(at::equal(features.mask_ids[0][0], expected));
  EXPECT_TRUE(at::equal(features.mask_ids[0][1], expected));
  EXPECT_TRUE(at::equal(features.features, at::eye(2).to(at::kHalf)));
  EXPECT_THAT(ErrorOf([&] { teacher.Describe(Image(8, 4, 3), "b.jpg"); }), HasSubstr("b.png"));

  const auto encoder = MakeLabelEncoder(teacher.labels());
  const std::vector<std::string> known = {"MUG"}, unknown = {"茶杯 🍵"};
  EXPECT_EQ(encoder->Encode(known)[0][0].item<float>(), 1);
  EXPECT_THAT(ErrorOf([&] { encoder->Encode(unknown); }),
              AllOf(HasSubstr("茶杯 🍵"), HasSubstr("mug, 300")));

  WriteFile(folder / "empty.json", R"({"family": "id maps", "maps": "nowhere"})");
  EXPECT_THAT(ErrorOf([&] { IdMapTeacher(folder / "empty.json"); }), HasSubstr("nowhere"));
  WriteFile(folder / "bad.json", R"({"family": "id maps"})");
  EXPECT_THAT(ErrorOf([&] { IdMapTeacher(folder / "bad.json"); }), HasSubstr("bad.json"));
}

}  // namespace
}  // namespace athanor
