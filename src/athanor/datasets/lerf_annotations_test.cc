#include "athanor/datasets/lerf_annotations.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <numeric>

#include "athanor/base/files.h"
#include "athanor/datasets/dataset_test_util.h"
#include "athanor/datasets/polygon_raster.h"

namespace athanor {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using Box = std::array<double, 4>;

constexpr char kLangSplat[] = R"({
  "info": {"name": "frame_00041.jpg", "width": 20, "height": 10, "note": ""},
  "objects": [
    {"category": "apple", "bbox": [6.5, 4, 2, 1], "segmentation": [[2, 1], [6, 1], [6.9, 4], [2, 4]]},
    {"category": "cup", "bbox": [10, 2, 12, 4], "segmentation": [[10, 2], [12, 2], [12, 4]]},
    {"category": "apple", "bbox": [15, 5, 15, 5], "segmentation": [[15, 5], [15, 5], [15, 5]]}]})";

constexpr char kLabelme[] = R"({
  "version": "5.1", "flags": {}, "imagePath": "2_rgb.png", "imageData": null,
  "imageHeight": 10, "imageWidth": 20,
  "shapes": [{"label": "wavy noodles", "points": [[9, 8], [3, 2]], "shape_type": "rectangle"},
             {"label": "egg", "points": [[1, 1], [4, 1], [4, 3]], "shape_type": "polygon"}]})";

TEST(LerfAnnotations, LangSplatObjectsAreJoinedByPhrase) {
  const AnnotatedView view = ParseLerfAnnotations(kLangSplat, "l.json");
  EXPECT_EQ(view.image_name, "frame_00041.jpg");
  EXPECT_EQ(view.width_px, 20);
  EXPECT_EQ(view.height_px, 10);
  ASSERT_EQ(view.regions.size(), 2u);
  const PhraseRegion& apple = view.regions[0];
  EXPECT_EQ(apple.phrase, "apple");
  EXPECT_THAT(apple.boxes, ElementsAre(Box{2, 1, 6.5, 4}, Box{15, 5, 15, 5}));
  EXPECT_TRUE(apple.InBox(2, 4));
  EXPECT_TRUE(apple.InBox(15, 5));
  EXPECT_FALSE(apple.InBox(7, 4));
  const Image mask = view.Mask(apple);
  EXPECT_EQ(mask.width, 20);
  // 5 x 4 pixels (6.9 is cut to 6), and the single one of the second.
  EXPECT_EQ(std::accumulate(mask.data.begin(), mask.data.end(), 0), 255 * 21);
  EXPECT_EQ(*mask.at(6, 4), 255);
  EXPECT_EQ(*mask.at(15, 5), 255);
  EXPECT_EQ(*mask.at(7, 4), 0);
}

TEST(LerfAnnotations, LabelmeShapesAreRead) {
  const AnnotatedView view = ParseLerfAnnotations(kLabelme, "2_rgb.json");
  EXPECT_EQ(view.image_name, "2_rgb.png");
  ASSERT_EQ(view.regions.size(), 2u);
  EXPECT_THAT(view.regions[0].boxes, ElementsAre(Box{3, 2, 9, 8}));
  EXPECT_TRUE(view.regions[0].polygons.empty());
  EXPECT_THAT(view.regions[1].boxes, ElementsAre(Box{1, 1, 4, 3}));
  EXPECT_EQ(view.regions[1].polygons.size(), 1u);
}

TEST(LerfAnnotations, FoldersAreReadInTheOrderOfTheirNumbers) {
  const auto folder = TestFolder("lerf");
  for (const char* name : {"10_rgb.json", "2_rgb.json", "keyframes.json"}) {
    WriteFile(folder / name, kLabelme);
  }
  EXPECT_EQ(ReadLerfAnnotations(folder).size(), 2u);
  WriteFile(folder / "2_rgb.json", "{}");
  EXPECT_THAT(ErrorOf([&] { ReadLerfAnnotations(folder); }), HasSubstr("2_rgb.json: expected"));
  EXPECT_THAT(ErrorOf([] { ReadLerfAnnotations(TestFolder("no lerf")); }),
              HasSubstr("expected annotations"));
}

TEST(LerfAnnotations, BadFilesEndInOneLine) {
  const auto error = [](std::string text, std::string_view from, std::string_view to) {
    text.replace(text.find(from), from.size(), to);
    return ErrorOf([&] { ParseLerfAnnotations(text, "a.json"); });
  };
  EXPECT_THAT(error(kLangSplat, "{", "["), HasSubstr("a.json: "));
  EXPECT_THAT(error(kLangSplat, "\"width\": 20", "\"width\": 0"),
              HasSubstr("info: expected width"));
  EXPECT_THAT(error(kLangSplat, "[6.5, 4, 2, 1]", "[6.5, 4, 2]"),
              HasSubstr("object 0: expected 4 numbers as bbox, found 3"));
  EXPECT_THAT(error(kLangSplat, "[6.5, 4", "[1e99, 4"), HasSubstr("expected coordinates within"));
  EXPECT_THAT(error(kLangSplat, "[2, 1], [6, 1], [6.9, 4], ", ""),
              HasSubstr("expected a polygon of at least 3 points, found 1"));
  EXPECT_THAT(error(kLangSplat, "\"cup\"", "7"),
              HasSubstr("object 1: expected a text as category"));
  EXPECT_THAT(error(kLabelme, "rectangle", "circle"), HasSubstr("shape 0: expected a rectangle"));
}

TEST(PolygonRaster, FillsAsOpenCvDoes) {
  // Sums that cv::fillPoly of OpenCV 4.6 gives for the same polygons.
  uint64_t state = 12345;
  const auto below = [&](int n) {
    state = (state * 1103515245 + 12345) % (uint64_t{1} << 31);
    return static_cast<int>((state >> 16) % n);
  };
  int64_t cells_set = 0, hash = 0;
  for (int k = 0; k < 300; ++k) {
    std::vector<Eigen::Vector2i> corners(3 + below(6));
    for (Eigen::Vector2i& corner : corners) {
      corner.x() = below(64);
      corner.y() = below(k % 3 != 0 ? 48 : 6);
    }
    std::vector<uint8_t> cells(64 * 48, 0);
    FillPolygonAsOpenCv(corners, 64, 48, 1, cells);
    int64_t sum = 0;
    for (size_t i = 0; i < cells.size(); ++i) {
      cells_set += cells[i];
      sum += cells[i] != 0 ? static_cast<int64_t>(i) : 0;
    }
    hash = (hash * 31 + sum) % 1000000007;
  }
  EXPECT_EQ(cells_set, 105243);
  EXPECT_EQ(hash, 926726484);
}

TEST(PolygonRaster, CornersOutsideAreCutOff) {
  std::vector<uint8_t> cells(4 * 4, 0);
  FillPolygonAsOpenCv({{-100, -100}, {100, -100}, {100, 100}, {-100, 100}}, 4, 4, 1, cells);
  EXPECT_EQ(std::accumulate(cells.begin(), cells.end(), 0), 16);
  FillPolygonAsOpenCv({}, 4, 4, 1, cells);
  FillPolygonAsPillow({}, 4, 4, 1, cells);
}

}  // namespace
}  // namespace athanor
