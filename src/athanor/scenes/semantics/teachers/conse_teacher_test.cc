#include "athanor/scenes/semantics/teachers/conse_teacher.h"

#include <ATen/ATen.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <cstdio>

#include "athanor/base/files.h"
#include "athanor/base/test_util.h"
#include "athanor/scenes/semantics/evaluation/segmentation_metrics.h"
#include "athanor/scenes/semantics/teachers/open_teacher.h"

namespace athanor {
namespace {

namespace fs = std::filesystem;
using ::testing::HasSubstr;
using ::testing::StartsWith;

#define SKIP_WITHOUT_ONNX() \
  if (OnnxRuntimeInfo().empty()) GTEST_SKIP() << "needs ONNX Runtime"

// Waymo's panoptic classes (waymo_open_dataset/protos/camera_segmentation.proto) as we ask for them
// in words; the rest has no counterpart in Cityscapes.
const std::vector<std::pair<int, const char*>> kWaymoWords = {
    {2, "car"},           {3, "truck"},          {4, "bus"},
    {6, "bicycle"},       {7, "motorcycle"},     {9, "pedestrian"},
    {10, "rider"},        {11, "rider"},         {15, "pole"},
    {17, "traffic sign"}, {18, "traffic light"}, {19, "building"},
    {20, "road"},         {21, "road"},          {22, "road"},
    {23, "sidewalk"},     {24, "vegetation"},    {25, "sky"},
    {26, "terrain"}};

TEST(ConseTest, MixesTheTopClassesByProbability) {
  const at::Tensor vectors = at::eye(4);
  const at::Tensor probabilities = at::tensor({0.1f, 0.5f, 0.1f, 0.3f}).view({1, 1, 4});
  EXPECT_TRUE(at::allclose(ConseTeacher::Mix(probabilities, vectors, 2)[0][0],
                           at::tensor({0.f, 0.625f, 0.f, 0.375f})));
  EXPECT_TRUE(
      at::allclose(ConseTeacher::Mix(probabilities, vectors, 99)[0][0], probabilities[0][0]));
}

class ConseTeacherTest : public ::testing::Test {
 protected:
  void SetUp() override {
    SKIP_WITHOUT_ONNX();
    ATHANOR_SKIP_WITHOUT("models_vision");
    ATHANOR_SKIP_WITHOUT("clip_text_space");
    store_.folder = TestFolder("conse");
    FetchModel(FindModelCard("clip-vit-b-32-names"), store_, SharedData("clip_text_space"));
    FetchModel(FindModelCard("deeplab-cityscapes"), store_, SharedData("models_vision"));
    FetchModel(FindModelCard("deeplab-voc"), store_, SharedData("models_vision"));
  }

  ModelStore store_;
};

TEST_F(ConseTeacherTest, JoinedEncodersSayHowTheyRead) {
  const std::string space = FindModelCard("clip-vit-b-32-names").text_space;
  const auto one = OpenTextEncoder(space, store_);
  const auto joined = OpenTextEncoder(space + "+" + space, store_);
  const std::string prompt = "something to walk on";
  ASSERT_FALSE(one->Explain(prompt).empty());
  EXPECT_EQ(joined->Explain(prompt), one->Explain(prompt));
  EXPECT_EQ(joined->dimension(), 2 * one->dimension());
  const std::vector<std::string> prompts = {prompt};
  EXPECT_NEAR(joined->Encode(prompts).norm().item<float>(), 1, 1e-5);
}

TEST_F(ConseTeacherTest, FindsThingsByWordsThatItWasNotTaught) {
  ATHANOR_SKIP_WITHOUT("nuscenes_keyframe");
  const auto teacher = OpenTeacher("deeplab-cityscapes", store_);
  const auto words = OpenTextEncoder(teacher->text_space(), store_);
  const Image rgb = ReadImage(SharedData("nuscenes_keyframe") / "CAM_FRONT.jpg");
  const at::Tensor vectors = teacher->Describe(rgb, "CAM_FRONT").features.to(at::kFloat);
  const std::vector<std::string> prompts = {"automobile", "road", "sky", "trees"};
  const at::Tensor best = at::matmul(vectors, words->Encode(prompts).t()).argmax(-1);
  const auto at_pixel = [&](int x, int y) {
    return best[y * best.size(0) / rgb.height][x * best.size(1) / rgb.width].item<int64_t>();
  };
  // The street in front, a tall tree on the right.
  EXPECT_EQ(prompts[at_pixel(1418, 308)], "trees");
  EXPECT_EQ(prompts[at_pixel(900, 700)], "road");
  EXPECT_EQ(prompts[at_pixel(800, 60)], "sky");
}

TEST_F(ConseTeacherTest, ManyClassesShareOneSpace) {
  const auto both = OpenTeacher("deeplab-cityscapes|deeplab-voc", store_);
  EXPECT_EQ(both->text_space(), "clip-vit-b-32");
  EXPECT_EQ(both->dimension(), 512);
  EXPECT_NE(OpenTeacher("deeplab-voc", store_)->key(), both->key());
}

TEST_F(ConseTeacherTest, ACardThatDoesNotFitItsNetworkIsRefused) {
  const std::string text = ReadFile(FindModelCard("deeplab-cityscapes").path);
  const auto error_of = [&](const std::string& from, const std::string& to) {
    std::string changed = text;
    changed.replace(changed.find(from), from.size(), to);
    WriteFile(store_.folder / "changed.toml", changed);
    return ErrorOf([&] {
      OpenTeacher((store_.folder / "changed.toml").string(), store_)
          ->Describe(Image(64, 48, 3), "view");
    });
  };
  EXPECT_THAT(error_of("\"bicycle\"", "\"bicycle\", \"boat\""),
              HasSubstr("should be a map of 20 channels, found [1, 19, 513, 513]"));
  EXPECT_THAT(error_of("\"bicycle\"", "\"qwertyuiop\""), StartsWith("prompt 'qwertyuiop'"));
  EXPECT_THAT(error_of("logits = \"logits\"", "logits = \"scores\""),
              HasSubstr("has no output 'scores', but 'logits'"));
  EXPECT_THAT(error_of("width = 513", "width = 512"),
              HasSubstr("input 'input' should be [1,3,513,513], found [1,3,513,512]"));
  EXPECT_THAT(error_of("scale2 = ", "scale2 = -"), HasSubstr("expected 0, or 0.1 to 16"));
}

// Asked in words, with Waymo's true masks: docs/teachers.md has the table.
TEST_F(ConseTeacherTest, SlowNamesThePixelsOfAWaymoFrame) {
  ATHANOR_SKIP_WITHOUT("waymo_panoptic_frame");
  const auto teacher = OpenTeacher("deeplab-cityscapes", store_);
  const auto words = OpenTextEncoder(teacher->text_space(), store_);
  std::vector<std::string> prompts;
  std::vector<int32_t> prompt_of(64, -1);
  for (const auto& [id, word] : kWaymoWords) {
    const auto found = std::find(prompts.begin(), prompts.end(), word);
    prompt_of[id] = static_cast<int32_t>(found - prompts.begin());
    if (found == prompts.end()) prompts.emplace_back(word);
  }
  const at::Tensor vectors = words->Encode(prompts);
  const auto classes = static_cast<int>(prompts.size());
  // Waymo calls delivery vans cars, Cityscapes calls them trucks or buses: also with vehicles as
  // one class of three phrases.
  const auto as_vehicle = [&](std::vector<int32_t> labels) {
    for (int32_t& label : labels) {
      if (label >= 0 && (prompts[label] == "truck" || prompts[label] == "bus")) {
        label = static_cast<int32_t>(std::find(prompts.begin(), prompts.end(), "car") -
                                     prompts.begin());
      }
    }
    return labels;
  };
  ConfusionMatrix all(classes), with_vehicles(classes);
  for (const char* camera : {"FRONT", "FRONT_LEFT", "FRONT_RIGHT", "SIDE_LEFT", "SIDE_RIGHT"}) {
    const fs::path folder = SharedData("waymo_panoptic_frame");
    const Image rgb = ReadImage(folder / (std::string(camera) + ".jpg"));
    const DepthImage panoptic = ReadDepthPng(folder / (std::string(camera) + "_panoptic.png"));
    ASSERT_EQ(panoptic.width, rgb.width);
    const at::Tensor features = teacher->Describe(rgb, camera).features.to(at::kFloat);
    const at::Tensor best = at::matmul(features, vectors.t()).argmax(-1);
    const auto cells = best.accessor<int64_t, 2>();
    std::vector<int32_t> truth, predicted;
    for (int y = 0; y < rgb.height; ++y) {
      for (int x = 0; x < rgb.width; ++x) {
        truth.push_back(prompt_of[*panoptic.at(x, y) / 1000]);
        predicted.push_back(
            static_cast<int32_t>(cells[(2 * y + 1) * best.size(0) / (2 * rgb.height)]
                                      [(2 * x + 1) * best.size(1) / (2 * rgb.width)]));
      }
    }
    ConfusionMatrix one(classes);
    one.Add(truth, predicted);
    all.Merge(one);
    with_vehicles.Add(as_vehicle(truth), as_vehicle(predicted));
    std::printf("%-14s pixel accuracy %.3f\n", camera, one.Scores().pixel_accuracy);
  }
  const SegmentationScores scores = all.Scores();
  for (int i = 0; i < classes; ++i) {
    if (std::isnan(scores.iou[i])) continue;
    std::printf("%-14s IoU %.3f\n", prompts[i].c_str(), scores.iou[i]);
  }
  std::printf("%-14s %.3f, mean IoU %.3f over %d classes\n", "pixel accuracy",
              scores.pixel_accuracy, scores.mean_iou, scores.classes_present);
  const SegmentationScores merged = with_vehicles.Scores();
  std::printf("%-14s %.3f, mean IoU %.3f\n", "vehicles as one", merged.pixel_accuracy,
              merged.mean_iou);
  EXPECT_GE(scores.pixel_accuracy, 0.75);
  EXPECT_GE(merged.pixel_accuracy, scores.pixel_accuracy);
}

}  // namespace
}  // namespace athanor
