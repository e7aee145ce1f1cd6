#include "athanor/datasets/dynamic_capture.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "athanor/base/files.h"
#include "athanor/base/test_util.h"
#include "athanor/media/image.h"

namespace athanor {
namespace {

using ::testing::HasSubstr;
using Json = nlohmann::json;

// Two times, three cameras along x, photographs of 8 x 6.
Json WriteCapture(const std::filesystem::path& folder) {
  Json meta = {{"w", 8}, {"h", 6}, {"k", Json::array()}, {"w2c", Json::array()}};
  meta["fn"] = Json::array();
  for (int t = 0; t < 2; ++t) {
    Json k = Json::array(), w2c = Json::array(), fn = Json::array();
    for (int c = 0; c < 3; ++c) {
      const std::string name = StrCat(c, "/00000", t, ".png");
      WriteImage(folder / "ims" / name, Image(8, 6, 3));
      k.push_back({{10 + c, 0, 4}, {0, 11, 3}, {0, 0, 1}});
      w2c.push_back({{0, -1, 0, 0.5 * c}, {1, 0, 0, 0}, {0, 0, 1, 2}, {0, 0, 0, 1}});
      fn.push_back(name);
    }
    meta["k"].push_back(k);
    meta["w2c"].push_back(w2c);
    meta["fn"].push_back(fn);
  }
  WriteFile(folder / "train_meta.json", meta.dump());
  return meta;
}

TEST(DynamicCapture, IsACapturePerTime) {
  const std::filesystem::path folder = TestFolder("dynamic_capture");
  WriteCapture(folder);
  const std::vector<PosedImages> captures = ReadDynamicCapture(folder);
  ASSERT_EQ(captures.size(), 2u);
  ASSERT_EQ(captures[1].images.size(), 3u);
  const PosedImage& image = captures[1].images[2];
  EXPECT_EQ(image.name, "2/000001.png");
  EXPECT_EQ(image.image_path, folder / "ims" / "2/000001.png");
  EXPECT_EQ(captures[1].cameras[image.camera].fx(), 12);
  EXPECT_TRUE((image.camera_from_world * Eigen::Vector3d(1, 2, 3))
                  .isApprox(Eigen::Vector3d(-2 + 1, 1, 5), 1e-9));
}

TEST(DynamicCapture, FaultsAreNamed) {
  const std::filesystem::path folder = TestFolder("dynamic_capture_faults");
  const Json good = WriteCapture(folder);
  const auto error = [&](const std::function<void(Json*)>& spoil) {
    Json meta = good;
    spoil(&meta);
    WriteFile(folder / "train_meta.json", meta.dump());
    return ErrorOf([&] { ReadDynamicCapture(folder); });
  };
  EXPECT_THAT(error([](Json* m) { (*m)["w"] = "8"; }), HasSubstr("expected 'w', a whole number"));
  EXPECT_THAT(error([](Json* m) { (*m)["k"].erase(1); }), HasSubstr("'k': expected 2 times"));
  EXPECT_THAT(error([](Json* m) { (*m)["k"][1].erase(0); }),
              HasSubstr("time 1: expected as many 'fn' as 'k' and 'w2c'"));
  EXPECT_THAT(error([](Json* m) { (*m)["w2c"][0][1][0][0] = 7; }),
              HasSubstr("time 0, camera 1: 'w2c': expected a rotation"));
  EXPECT_THAT(error([](Json* m) { (*m)["k"][0][2][1] = "x"; }),
              HasSubstr("time 0, camera 2: 'k': expected 3 rows of 3 finite numbers"));
  EXPECT_THAT(error([](Json* m) { *m = 3; }), HasSubstr("train_meta.json: expected a JSON object"));
}

}  // namespace
}  // namespace athanor
