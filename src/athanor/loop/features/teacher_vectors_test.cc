#include "athanor/loop/features/teacher_vectors.h"

#include <ATen/ATen.h>
#include <gmock/gmock.h>

#include "athanor/base/test_util.h"
#include "athanor/datasets/log_test_util.h"

namespace athanor {
namespace {

namespace fs = std::filesystem;
using ::testing::ElementsAre;
using ::testing::FloatNear;

// The colours of the pixels, and nothing else.
class ColorTeacher : public Teacher {
 public:
  explicit ColorTeacher(bool dense) : dense_(dense) {}
  std::string key() const override { return dense_ ? "colours" : "colours of masks"; }
  int dimension() const override { return 3; }
  std::string text_space() const override { return {}; }
  ViewFeatures Describe(const Image& rgb, const std::string&) override {
    ++described;
    ViewFeatures features;
    features.width_px = rgb.width;
    features.height_px = rgb.height;
    const at::Tensor pixels =
        at::from_blob(const_cast<uint8_t*>(rgb.data.data()), {rgb.height, rgb.width, 3}, at::kByte);
    if (dense_) {
      features.features = pixels.to(at::kHalf);
    } else {
      // The left half and the right half.
      features.features =
          at::stack({pixels.slice(1, 0, rgb.width / 2).to(at::kFloat).mean(at::IntArrayRef{0, 1}),
                     pixels.slice(1, rgb.width / 2).to(at::kFloat).mean(at::IntArrayRef{0, 1})})
              .to(at::kHalf);
      features.mask_ids = at::zeros({1, rgb.height, rgb.width}, at::kInt);
      features.mask_ids.slice(2, rgb.width / 2).fill_(1);
    }
    return features;
  }
  int described = 0;

 private:
  bool dense_;
};

Image HalfRedHalfGreen() {
  Image image(40, 20, 3);
  for (int y = 0; y < 20; ++y) {
    for (int x = 0; x < 40; ++x) image.at(x, y)[x < 20 ? 0 : 1] = 200;
  }
  return image;
}

TEST(PoolFeatures, TakesWhatLiesInTheRectangle) {
  for (const bool dense : {true, false}) {
    ColorTeacher teacher(dense);
    const ViewFeatures features = teacher.Describe(HalfRedHalfGreen(), "");
    EXPECT_THAT(PoolFeatures(features, 0, 0, 20, 20), ElementsAre(1, 0, 0));
    EXPECT_THAT(PoolFeatures(features, 25, 3, 30, 9), ElementsAre(0, 1, 0));
    const auto half = FloatNear(std::sqrt(0.5f), 1e-3f);
    EXPECT_THAT(PoolFeatures(features, 10, 0, 30, 20), ElementsAre(half, half, 0));
    // Less than a pixel is a pixel, and outside the picture its edge.
    EXPECT_THAT(PoolFeatures(features, 39.9, 19.9, 39.95, 19.95), ElementsAre(0, 1, 0));
    EXPECT_THAT(PoolFeatures(features, -5, -5, -1, -1), ElementsAre(1, 0, 0));
  }
}

TEST(TeacherVectors, DescribesEachPictureOnce) {
  const fs::path folder = TestFolder("teacher vectors");
  const MinedData data(WriteTestTown(folder / "town"));
  const BoxSource boxes = BoxSource::Annotations();
  ColorTeacher teacher(true);
  std::vector<float> first(3);
  {
    TeacherVectors vectors(&teacher, folder / "vectors");
    const TeacherVectors::Report report = vectors.Update(data, boxes);
    EXPECT_EQ(report.frames, 6);
    EXPECT_EQ(report.boxes, 8);  // a car in each, a dog in two
    EXPECT_EQ(report.pictures, teacher.described);
    EXPECT_EQ(teacher.described, 6);
    EXPECT_EQ(vectors.frames().table->live_rows(), 6);
    EXPECT_EQ(vectors.boxes().table->live_rows(), 8 - report.unseen);
    EXPECT_EQ(vectors.boxes().items.size(), 8u);
    const std::shared_ptr<const Log> log = data.Read(0);
    const int64_t id = BoxVectorId(*log, 0, log->frames[0].boxes[0].box);
    EXPECT_EQ(vectors.boxes().items.at(id), (FrameRef{0, 0, 0}));
    const int64_t row = vectors.boxes().table->Find(id);
    ASSERT_GE(row, 0);
    vectors.boxes().table->Read(row, first.data());
    EXPECT_NEAR(Eigen::Map<Eigen::Vector3f>(first.data()).norm(), 1, 1e-3);
    EXPECT_NE(id, FrameVectorId(*log, 0));
  }
  TeacherVectors again(&teacher, folder / "vectors");
  EXPECT_EQ(again.Update(data, boxes).pictures, 0);
  EXPECT_EQ(teacher.described, 6);
  // Another teacher's are others.
  ColorTeacher other(false);
  TeacherVectors beside(&other, folder / "vectors");
  EXPECT_EQ(beside.Update(data, boxes).pictures, 6);
}

}  // namespace
}  // namespace athanor
