#include <ATen/ATen.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>

#include "athanor/base/files.h"
#include "athanor/base/test_util.h"
#include "athanor/detection/evaluation/nuscenes_eval.h"
#include "athanor/detection/profusion3d/detector.h"
#include "athanor/detection/profusion3d/log_detections.h"
#include "athanor/detection/profusion3d/sample_test_util.h"
#include "athanor/loop/inference/models/open_model.h"
#include "athanor/nn/safetensors.h"
#include "athanor/scenes/semantics/teachers/embedded/embedded_teacher.h"

namespace athanor {
namespace {

using ::testing::HasSubstr;
using ::testing::ThrowsMessage;

std::filesystem::path WriteSmallDetector(const std::filesystem::path& folder) {
  const Detector detector(SmallDetector(), 5);
  WriteSafeTensors(folder / "small.safetensors", detector.ToSafeTensors());
  return folder / "small.safetensors";
}

TEST(DetectorModelTest, FindsWhatTheDetectorFinds) {
  const auto folder = TestFolder("detector model");
  const Log log = OpenTestLog(folder);
  const ModelSpec spec = SpecOfWeights("small", WriteSmallDetector(folder), {.min_score = 0});
  EXPECT_EQ(spec.kind, "detector");
  const auto model = OpenFrameModel(spec);
  const auto detector = Detector::FromSafeTensors(ReadSafeTensors(spec.weights), "small");
  for (int f = 0; f < 3; ++f) {
    const FrameOutput output = model->Forward(*model->Read(log, f));
    EXPECT_EQ(FaultOf(output, *model), "");
    const DetectionSample sample = MakeFrameSample(log, f, SampleOptionsOf(detector->options()));
    const auto expected = detector->Detect(sample, {.max_boxes = 200}, true);
    ASSERT_EQ(output.objects.size(), expected.size());
    ASSERT_FALSE(expected.empty());
    for (size_t k = 0; k < expected.size(); ++k) {
      EXPECT_EQ(output.objects[k].box, expected[k].box);
      EXPECT_EQ(output.objects[k].score, expected[k].score);
      EXPECT_EQ(kNuscenesClassNames[output.objects[k].class_index],
                kDetectionClasses[expected[k].label]);
    }
    // Mean and maximum of the bird's-eye view, mean of the camera views.
    const at::NoGradGuard no_grad;
    const ViewMaps maps = detector->Encode(sample, {.bfloat16 = true});
    const int width = static_cast<int>(maps.bev.size(0));
    ASSERT_EQ(std::ssize(output.vector), 3 * width);
    for (int c = 0; c < width; ++c) {
      EXPECT_NEAR(output.vector[c], maps.bev[c].mean().item<float>(), 1e-4);
      EXPECT_EQ(output.vector[width + c], maps.bev[c].max().item<float>());
      EXPECT_NEAR(output.vector[2 * width + c], maps.pv.select(1, c).mean().item<float>(), 1e-4);
    }
    // An object's cells, one of its numbers by hand.
    const FoundObject& object = output.objects[0];
    const auto grid = detector->grid();
    const int64_t rows = maps.bev.size(1), columns = maps.bev.size(2);
    const auto row = static_cast<int64_t>((object.box[1] - grid.range_m[1]) /
                                          (grid.range_m[4] - grid.range_m[1]) * rows);
    const auto column = static_cast<int64_t>((object.box[0] - grid.range_m[0]) /
                                             (grid.range_m[3] - grid.range_m[0]) * columns);
    if (row > 0 && row + 1 < rows && column > 0 && column + 1 < columns) {
      EXPECT_NEAR(output.object_vectors[0],
                  maps.bev[0].narrow(0, row - 1, 3).narrow(1, column - 1, 3).mean().item<float>(),
                  1e-4);
    }
  }
}

TEST(DetectorModelTest, RefusesOtherWeightsThanThoseOfItsKey) {
  const auto folder = TestFolder("other weights");
  const auto weights = WriteSmallDetector(folder);
  const ModelSpec spec = SpecOfWeights("small", weights);
  EXPECT_NE(spec.Key(), SpecOfWeights("small", weights, {.bfloat16 = false}).Key());
  EXPECT_EQ(spec.Key(), SpecOfWeights("other-name", weights).Key());
  WriteSafeTensors(weights, Detector(SmallDetector(), 6).ToSafeTensors());
  EXPECT_THAT([&] { OpenFrameModel(spec); }, ThrowsMessage<Error>(HasSubstr("of model small")));
  SafeTensors nothing;
  nothing.tensors.emplace_back("a", at::zeros({1}));
  WriteSafeTensors(weights, nothing);
  EXPECT_THAT([&] { SpecOfWeights("small", weights); },
              ThrowsMessage<Error>(HasSubstr("a file of something else")));
}

TEST(DetectorModelTest, WeightsOfNaNAreAFailureOfTheFrame) {
  const auto folder = TestFolder("nan weights");
  const Log log = OpenTestLog(folder);
  SafeTensors file = Detector(SmallDetector(), 5).ToSafeTensors();
  for (auto& [name, tensor] : file.tensors) {
    if (tensor.is_floating_point()) tensor.fill_(NAN);
  }
  WriteSafeTensors(folder / "nan.safetensors", file);
  const auto model = OpenFrameModel(SpecOfWeights("nan", folder / "nan.safetensors"));
  EXPECT_THAT([&] { model->Forward(*model->Read(log, 0)); }, ::testing::Throws<std::exception>());
}

TEST(TeacherModelTest, VectorsOfPicturesLiveWithWords) {
  const auto folder = TestFolder("teacher model");
  const Log log = OpenTestLog(folder);
  const ModelSpec spec = SpecOfWeights("words", FindEmbeddedModel(), {.regions = 5});
  EXPECT_EQ(spec.kind, "teacher");
  EXPECT_FALSE(spec.has_boxes);
  const auto model = OpenFrameModel(spec);
  const FrameOutput output = model->Forward(*model->Read(log, 0));
  EXPECT_EQ(FaultOf(output, *model), "");
  EXPECT_EQ(output.objects.size(), 5u);
  for (const FoundObject& object : output.objects) {
    EXPECT_EQ(object.sensor, 0);
    EXPECT_GE(object.region_px[0], 0);
    EXPECT_LE(object.region_px[2], 64.01f);
    EXPECT_LE(object.region_px[3], 36.01f);
    EXPECT_LT(object.region_px[0], object.region_px[2]);
  }
  EXPECT_EQ(model->Forward(*model->Read(log, 0)), output);
  const std::vector<float> dog = EncodeWords(spec, "dog");
  EXPECT_EQ(std::ssize(dog), model->frame_dimension());
  double length = 0;
  for (const float x : dog) length += x * x;
  EXPECT_NEAR(length, 1, 1e-4);
  EXPECT_THAT([&] { EncodeWords(SpecOfWeights("d", WriteSmallDetector(folder)), "dog"); },
              ThrowsMessage<Error>(HasSubstr("expected a teacher")));
}

}  // namespace
}  // namespace athanor
