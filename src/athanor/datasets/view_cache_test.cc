#include "athanor/datasets/view_cache.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>

#include "athanor/base/random.h"
#include "athanor/datasets/dataset_test_util.h"
#include "athanor/media/undistort.h"

namespace athanor {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

Camera MakeCamera(CameraModel model, int width, int height, std::array<double, 12> parameters) {
  Camera camera;
  camera.model = model;
  camera.width_px = width;
  camera.height_px = height;
  camera.parameters = parameters;
  return camera;
}

// `n` photographs of 120x80, each different.
PosedImages WriteCapture(const std::string& name, int n) {
  PosedImages posed;
  const auto folder = TestFolder(name);
  posed.source = folder.string();
  posed.cameras = {MakeCamera(CameraModel::kPinhole, 120, 80, {100, 100, 60, 40})};
  for (int i = 0; i < n; ++i) {
    PosedImage image;
    image.name = StrCat(i, ".png");
    image.image_path = folder / image.name;
    WriteImage(image.image_path, WavyImage(120, 80, 20 + i));
    posed.images.push_back(image);
  }
  return posed;
}

constexpr int64_t kViewBytes = 120 * 80 * 3;

TEST(ViewCacheTest, KeepsAllViewsThatFit) {
  const PosedImages posed = WriteCapture("fits", 4);
  ViewCache cache(posed, {.cache_bytes = 4 * kViewBytes});
  std::vector<std::shared_ptr<const View>> views;
  for (int i = 0; i < 4; ++i) views.push_back(cache.Get(i));
  EXPECT_EQ(cache.resident_bytes(), 4 * kViewBytes);
  for (int i = 0; i < 4; ++i) {
    EXPECT_EQ(cache.Get(i), views[i]) << "not decoded again";
    EXPECT_EQ(views[i]->rgb.data, WavyImage(120, 80, 20 + i).data);
    EXPECT_TRUE(views[i]->mask.data.empty());
    EXPECT_TRUE(views[i]->depth.data.empty());
  }
}

TEST(ViewCacheTest, EvictsTheLeastRecentlyUsedWithinTheBudget) {
  const PosedImages posed = WriteCapture("evicts", 3);
  ViewCache cache(posed, {.cache_bytes = 3 * kViewBytes - 1});
  const auto first = cache.Get(0);
  const auto second = cache.Get(1);
  EXPECT_EQ(cache.Get(0), first);
  cache.Get(2);  // pushes out 1
  EXPECT_EQ(cache.Get(0), first);
  EXPECT_EQ(cache.resident_bytes(), 2 * kViewBytes);
  const auto again = cache.Get(1);
  EXPECT_NE(again, second);
  EXPECT_EQ(again->rgb.data, second->rgb.data);

  ViewCache tiny(posed, {.cache_bytes = 10});
  EXPECT_EQ(tiny.Get(2)->rgb.data, WavyImage(120, 80, 22).data);
  EXPECT_EQ(tiny.resident_bytes(), 0);
}

TEST(ViewCacheTest, ManyThreadsAndPrefetchesSeeTheSameViews) {
  const PosedImages posed = WriteCapture("threads", 12);
  ViewCache cache(posed, {.cache_bytes = 5 * kViewBytes});
  std::atomic<int> wrong = 0;
  std::atomic<bool> over_budget = false;
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&, t] {
      Random random(t);
      for (int i = 0; i < 150; ++i) {
        const int image = static_cast<int>(random.Below(12));
        cache.Prefetch(static_cast<int>(random.Below(12)));
        if (cache.Get(image)->rgb.data != WavyImage(120, 80, 20 + image).data) ++wrong;
        if (cache.resident_bytes() > 5 * kViewBytes) over_budget = true;
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(wrong, 0);
  EXPECT_FALSE(over_budget);
}

TEST(ViewCacheTest, PrefetchDecodesInTheBackground) {
  const PosedImages posed = WriteCapture("prefetch", 2);
  ViewCache cache(posed, {});
  cache.Prefetch(1);
  for (int i = 0; i < 1000 && cache.resident_bytes() == 0; ++i) {
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
  }
  EXPECT_EQ(cache.resident_bytes(), kViewBytes);
  std::filesystem::remove(posed.images[1].image_path);
  EXPECT_EQ(cache.Get(1)->rgb.width, 120) << "the file is not read again";
  std::filesystem::remove(posed.images[0].image_path);
  cache.Prefetch(0);
  EXPECT_THAT(ErrorOf([&] { cache.Get(0); }), HasSubstr("0.png"));
}

TEST(ViewCacheTest, ShrinksButNeverEnlarges) {
  const PosedImages posed = WriteCapture("shrinks", 1);
  ViewCache smaller(posed, {.max_side_px = 60});
  EXPECT_EQ(smaller.camera(0).width_px, 60);
  EXPECT_EQ(smaller.camera(0).height_px, 40);
  EXPECT_DOUBLE_EQ(smaller.camera(0).fx(), 50);
  EXPECT_EQ(smaller.Get(0)->rgb.data, Resize(WavyImage(120, 80), 60, 40).data);
  ViewCache larger(posed, {.max_side_px = 500});
  EXPECT_EQ(larger.camera(0).width_px, 120);
  EXPECT_EQ(larger.Get(0)->rgb.width, 120);
}

TEST(ViewCacheTest, ComposesTransparentAndWidensGrey) {
  PosedImages posed = WriteCapture("alpha", 2);
  Image rgba(120, 80, 4, 0);
  rgba.at(1, 0)[0] = 200;
  rgba.at(1, 0)[3] = 255;
  rgba.at(2, 0)[0] = 100;
  rgba.at(2, 0)[3] = 51;  // a fifth
  WriteImage(posed.images[0].image_path, rgba);
  WriteImage(posed.images[1].image_path, Image(120, 80, 1, 77));
  ViewCache cache(posed, {.background = {10, 20, 250}});
  const auto view = cache.Get(0);
  ASSERT_EQ(view->rgb.channels, 3);
  EXPECT_THAT(std::vector<uint8_t>(view->rgb.data.begin(), view->rgb.data.begin() + 9),
              testing::ElementsAre(10, 20, 250, 200, 0, 0, 28, 16, 200));
  EXPECT_EQ(cache.Get(1)->rgb.data, std::vector<uint8_t>(kViewBytes, 77));
}

TEST(ViewCacheTest, MasksAndDepthFollowThePhotograph) {
  PosedImages posed = WriteCapture("parts", 1);
  posed.depth_unit_m = 0.01;
  const auto folder = posed.images[0].image_path.parent_path();
  Image mask(120, 80, 1, 0);
  DepthImage depth(60, 40, 1, 100);  // half the pixels
  for (int y = 0; y < 80; ++y) {
    for (int x = 60; x < 120; ++x) *mask.at(x, y) = 1;
  }
  for (int y = 0; y < 40; ++y) {
    for (int x = 30; x < 60; ++x) *depth.at(x, y) = y < 20 ? 500 : 0;
  }
  posed.images[0].mask_path = folder / "mask.png";
  posed.images[0].depth_path = folder / "depth.png";
  WriteImage(posed.images[0].mask_path, mask);
  WriteDepthPng(posed.images[0].depth_path, depth);
  const auto view = ViewCache(posed, {.max_side_px = 30}).Get(0);
  ASSERT_EQ(view->mask.width, 30);
  ASSERT_EQ(view->depth.width, 30);
  ASSERT_EQ(view->depth.height, 20);
  for (int y = 0; y < 20; ++y) {
    for (int x = 0; x < 30; ++x) {
      ASSERT_EQ(*view->mask.at(x, y), x < 15 ? 0 : 255);
      ASSERT_FLOAT_EQ(*view->depth.at(x, y), x < 15   ? 1.0f
                                             : y < 10 ? 5.0f
                                                      : 0.0f)
          << "metres, not blended";
    }
  }
}

// A picture of directions, so that what a camera should see is known at every pixel. `detail`
// says how fine it is.
double Pattern(double x, double y, double detail) {
  return 128 + 60 * std::sin(detail * (25 * x + 8 * y)) + 50 * std::cos(detail * (31 * y - 6 * x));
}

Image Photograph(const Camera& camera, int samples, double detail = 1) {
  Image image(camera.width_px, camera.height_px, 3);
  for (int y = 0; y < camera.height_px; ++y) {
    for (int x = 0; x < camera.width_px; ++x) {
      double sum = 0;
      for (int i = 0; i < samples * samples; ++i) {
        const auto ray = camera.Unproject(
            {x + (i % samples + 0.5) / samples, y + (i / samples + 0.5) / samples});
        if (ray) sum += Pattern(ray->x(), ray->y(), detail);
      }
      const auto value = static_cast<uint8_t>(std::lround(sum / (samples * samples)));
      for (int c = 0; c < 3; ++c) image.at(x, y)[c] = value;
    }
  }
  return image;
}

double RootMeanSquare(const Image& a, const Image& b) {
  double sum = 0;
  for (size_t i = 0; i < a.data.size(); ++i) {
    const double d = static_cast<double>(a.data[i]) - b.data[i];
    sum += d * d;
  }
  return std::sqrt(sum / a.data.size());
}

TEST(ViewCacheTest, UndistortedViewIsWhatAPinholeWouldSee) {
  PosedImages posed = WriteCapture("distorted", 1);
  posed.cameras = {
      MakeCamera(CameraModel::kOpenCv, 400, 300, {300, 310, 205, 146, -0.12, 0.03, 0.002, -0.003}),
      MakeCamera(CameraModel::kOpenCvFisheye, 400, 300,
                 {220, 220, 200, 150, 0.02, -0.01, 0.003, -0.001})};
  posed.images.push_back(posed.images[0]);
  posed.images[1].camera = 1;
  posed.images[1].image_path.replace_filename("fisheye.png");
  for (int i = 0; i < 2; ++i) {
    WriteImage(posed.images[i].image_path, Photograph(posed.cameras[i], 2));
    // Depth that is constant along z stays so; the mask leaves nothing out.
    posed.images[i].depth_path = posed.images[i].image_path.parent_path() / "depth.png";
    posed.images[i].mask_path = posed.images[i].image_path.parent_path() / "mask.png";
  }
  WriteDepthPng(posed.images[0].depth_path, DepthImage(400, 300, 1, 3000));
  WriteImage(posed.images[0].mask_path, Image(400, 300, 1, 255));
  for (const int max_side : {0, 150}) {
    ViewCache cache(posed, {.max_side_px = max_side});
    for (int i = 0; i < 2; ++i) {
      const Camera& camera = cache.camera(i);
      EXPECT_EQ(camera.model, CameraModel::kPinhole);
      const auto view = cache.Get(i);
      ASSERT_EQ(view->rgb.width, camera.width_px);
      ASSERT_EQ(view->rgb.height, camera.height_px);
      const double error = RootMeanSquare(view->rgb, Photograph(camera, 4));
      RecordProperty(StrCat("rms_", i, "_", max_side), std::to_string(error));
      EXPECT_LT(error, 1.5) << "camera " << i << ", side " << max_side;
      for (const float depth : view->depth.data) ASSERT_FLOAT_EQ(depth, 3.0f);
      for (const uint8_t use : view->mask.data) ASSERT_EQ(use, 255);
    }
  }
}

TEST(ViewCacheTest, UndistortingBeforeShrinkingIsTheSharperOrder) {
  PosedImages posed = WriteCapture("order", 1);
  posed.cameras = {
      MakeCamera(CameraModel::kOpenCv, 400, 300, {300, 310, 205, 146, -0.12, 0.03, 0.002, -0.003})};
  const Image photograph = Photograph(posed.cameras[0], 2, 7);
  WriteImage(posed.images[0].image_path, photograph);
  ViewCache cache(posed, {.max_side_px = 150});
  const Camera& target = cache.camera(0);
  const Image expected = Photograph(target, 6, 7);
  const Camera& source = posed.cameras[0];
  const double shrink = target.fx() / source.fx();
  const auto side = [&](int pixels) { return static_cast<int>(std::lround(pixels * shrink)); };
  const Camera small = source.Resized(side(400), side(300));
  const Image other_order =
      Undistort(Resize(photograph, small.width_px, small.height_px), small, target);
  const double ours = RootMeanSquare(cache.Get(0)->rgb, expected);
  const double other = RootMeanSquare(other_order, expected);
  RecordProperty("rms_undistort_first", std::to_string(ours));
  RecordProperty("rms_shrink_first", std::to_string(other));
  EXPECT_LT(ours, 0.7 * other);
}

TEST(ViewCacheTest, RefusesFilesOfAnotherSize) {
  PosedImages posed = WriteCapture("sizes", 1);
  WriteImage(posed.images[0].image_path, WavyImage(121, 80));
  EXPECT_THAT(ErrorOf([&] { ViewCache(posed, {}).Get(0); }),
              AllOf(HasSubstr("0.png"), HasSubstr("120x80"), HasSubstr("121x80")));
  WriteImage(posed.images[0].image_path, WavyImage(120, 80));
  posed.images[0].mask_path = posed.images[0].image_path.parent_path() / "mask.png";
  WriteImage(posed.images[0].mask_path, Image(80, 80, 1));
  EXPECT_THAT(ErrorOf([&] { ViewCache(posed, {}).Get(0); }),
              AllOf(HasSubstr("mask.png"), HasSubstr("80x80")));
  EXPECT_THAT(ErrorOf([&] { ViewCache(posed, {.max_side_px = -1}); }), HasSubstr("max_side_px"));
}

TEST(ViewCacheTest, FoxStaysWithinItsBudget) {
  ATHANOR_SKIP_WITHOUT_FOX();
  const PosedImages posed = ReadPosedImages(FoxFolder());
  ViewCache cache(posed, {.max_side_px = 320, .cache_bytes = 1'000'000});
  const Camera& camera = cache.camera(0);
  EXPECT_EQ(std::max(camera.width_px, camera.height_px), 320);
  for (int i = 0; i < 8; ++i) {
    EXPECT_EQ(cache.Get(i)->rgb.height, camera.height_px);
    EXPECT_LE(cache.resident_bytes(), 1'000'000);
  }
}

}  // namespace
}  // namespace athanor
