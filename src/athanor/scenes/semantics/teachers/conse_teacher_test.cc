#include "athanor/scenes/semantics/teachers/conse_teacher.h"

#include <ATen/ATen.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "athanor/base/files.h"
#include "athanor/base/test_util.h"
#include "athanor/scenes/semantics/evaluation/segmentation_metrics.h"
#include "athanor/scenes/semantics/teachers/open_teacher.h"

namespace athanor {
namespace {

namespace fs = std::filesystem;
using ::testing::HasSubstr;

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

TEST(ConseTeacherTest, WaymoSlow) {
  SKIP_WITHOUT_ONNX();
  ATHANOR_SKIP_WITHOUT("waymo_panoptic_frame");
  ATHANOR_SKIP_WITHOUT("models_vision");
  ATHANOR_SKIP_WITHOUT("clip_text_space");
  const ModelStore store{TestFolder("waymo")};
  FetchModel(FindModelCard("clip-vit-b-32-names"), store, SharedData("clip_text_space"));
  FetchModel(FindModelCard("deeplab-cityscapes"), store, SharedData("models_vision"));
  const auto teacher = OpenTeacher("deeplab-cityscapes", store);
  const auto words = OpenTextEncoder(teacher->text_space(), store);

  std::vector<std::string> prompts;
  std::vector<int32_t> prompt_of(64, -1);
  for (const auto& [id, word] : kWaymoWords) {
    const auto found = std::find(prompts.begin(), prompts.end(), word);
    prompt_of[id] = static_cast<int32_t>(found - prompts.begin());
    if (found == prompts.end()) prompts.emplace_back(word);
  }
  const at::Tensor vectors = words->Encode(prompts);
  const at::Tensor cosines = at::matmul(vectors, vectors.t());
  for (size_t i = 0; i < prompts.size(); ++i) {
    std::printf("%-14s", prompts[i].c_str());
    for (size_t j = 0; j < prompts.size(); ++j) std::printf(" %.2f", cosines[i][j].item<float>());
    std::printf("\n");
  }

  ConfusionMatrix all(static_cast<int>(prompts.size()));
  for (const char* camera : {"FRONT", "FRONT_LEFT", "FRONT_RIGHT", "SIDE_LEFT", "SIDE_RIGHT"}) {
    const fs::path folder = SharedData("waymo_panoptic_frame");
    const Image rgb = ReadImage(folder / (std::string(camera) + ".jpg"));
    const DepthImage panoptic = ReadDepthPng(folder / (std::string(camera) + "_panoptic.png"));
    ASSERT_EQ(panoptic.width, rgb.width);
    const ViewFeatures features = teacher->Describe(rgb, camera);
    const at::Tensor best = at::matmul(features.features.to(at::kFloat), vectors.t()).argmax(-1);
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
    ConfusionMatrix one(static_cast<int>(prompts.size()));
    one.Add(truth, predicted);
    all.Merge(one);
    std::printf("%-12s accuracy %.3f\n", camera, one.Scores().pixel_accuracy);
  }
  const SegmentationScores scores = all.Scores();
  for (size_t i = 0; i < prompts.size(); ++i) {
    std::printf("%-14s IoU %.3f  accuracy %.3f\n", prompts[i].c_str(), scores.iou[i],
                scores.accuracy[i]);
  }
  std::printf("pixel accuracy %.3f, mIoU %.3f over %d classes\n", scores.pixel_accuracy,
              scores.mean_iou, scores.classes_present);
  EXPECT_GE(scores.pixel_accuracy, 0.7);
}

}  // namespace
}  // namespace athanor
