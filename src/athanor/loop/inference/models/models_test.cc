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
#include "athanor/loop/labeling/words/moment_test_util.h"
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

// Its teacher is a card: one that says of each pixel what is there.
TEST(GaussianModelTest, FindsWhatWordsMeanWhereItStands) {
  const auto folder = TestFolder("gaussian model");
  const std::vector<Box3> truth = {MakeBox3({8, 1, 0.35}, {0.9, 0.4, 0.7}, 0.4),
                                   MakeBox3({12, -2, 0.9}, {0.6, 0.6, 1.8}, 0)};
  Log log = MakeStreet(folder, truth);
  const Rigid3 world_from_ego = {Eigen::Quaterniond(std::cos(0.5), 0, 0, std::sin(0.5)),
                                 {1000, -2000, 30}};
  log.frames[0].world_from_ego = world_from_ego;
  for (LogReading& reading : log.readings) reading.world_from_ego = world_from_ego;
  Image ids(kStreetWidth, kStreetHeight, 1);
  const Image picture = ReadImage(folder / "picture.png", 3);
  for (int y = 0; y < kStreetHeight; ++y) {
    for (int x = 0; x < kStreetWidth; ++x) {
      const uint8_t* rgb = picture.at(x, y);
      *ids.at(x, y) = rgb[0] > 0 ? 1 : rgb[2] > 0 ? 2 : 3;
    }
  }
  std::filesystem::create_directories(folder / "ids");
  WriteImage(folder / "ids" / "picture.png", ids);
  const auto card = folder / "card.json";
  WriteFile(
      folder / "classes.json",
      R"([{"id": 1, "name": "dog"}, {"id": 2, "name": "person"}, {"id": 3, "name": "grass"}])");
  WriteFile(card, R"({"family": "id maps", "maps": "ids", "classes": "classes.json"})");
  const ModelSpec spec = SpecOfGaussians("scene", card.string(), {"dog", "person"});
  EXPECT_EQ(spec.kind, "gaussians");
  EXPECT_TRUE(spec.has_boxes);
  EXPECT_NE(spec.Key(), SpecOfGaussians("scene", card.string(), {"dog"}).Key());
  // Where the files lie does not count.
  std::filesystem::copy(folder, TestFolder("gaussian model elsewhere"),
                        std::filesystem::copy_options::recursive);
  const auto elsewhere = folder.parent_path() / "gaussian model elsewhere" / "card.json";
  EXPECT_EQ(spec.Key(), SpecOfGaussians("moved", elsewhere.string(), {"dog", "person"}).Key());
  const auto model = OpenFrameModel(spec);
  const FrameOutput output = model->Forward(*model->Read(log, 0));
  EXPECT_EQ(FaultOf(output, *model), "");
  ASSERT_EQ(output.objects.size(), 2u);
  for (size_t i = 0; i < 2; ++i) {
    const FoundObject& object = output.objects[i];
    const bool is_dog = object.class_index == FindNuscenesClass("animal");
    EXPECT_TRUE(is_dog || object.class_index == FindNuscenesClass("pedestrian"));
    // In the car's frame, wherever the car is and heads.
    const Eigen::Vector3d& place = truth[is_dog ? 0 : 1].frame_from_box.translation;
    EXPECT_NEAR(object.box[0], place.x(), 0.4);
    EXPECT_NEAR(object.box[1], place.y(), 0.4);
    EXPECT_GT(object.score, 0.4);
    if (is_dog) {
      EXPECT_GT(object.box[3], object.box[4]);
    }
    // What a dog is, by words and by vectors.
    const std::vector<float> words = EncodeWords(spec, is_dog ? "dog" : "person");
    double likeness = 0;
    for (int k = 0; k < model->object_dimension(); ++k) {
      likeness += words[k] * output.object_vectors[i * model->object_dimension() + k];
    }
    EXPECT_GT(likeness, 0.9);
  }
  EXPECT_GE(output.objects[0].score, output.objects[1].score);
  log.frames[0].world_from_ego = {};
  for (LogReading& reading : log.readings) reading.world_from_ego = {};
  const FrameOutput at_origin = model->Forward(*model->Read(log, 0));
  ASSERT_EQ(at_origin.objects.size(), 2u);
  for (size_t i = 0; i < 2; ++i) {
    EXPECT_EQ(at_origin.objects[i].class_index, output.objects[i].class_index);
    for (int k = 0; k < 6; ++k) {
      EXPECT_NEAR(at_origin.objects[i].box[k], output.objects[i].box[k], 1e-3) << k;
    }
    EXPECT_LT(std::abs(std::sin(at_origin.objects[i].box[6] - output.objects[i].box[6])), 1e-3);
  }
  EXPECT_EQ(model->Forward(*model->Read(log, 0)).object_vectors, at_origin.object_vectors);

  std::filesystem::remove(folder / "sweep.pcd.bin");
  EXPECT_THAT([&] { model->Read(log, 0); }, ThrowsMessage<Error>(HasSubstr("expected a sweep")));
  EXPECT_THAT([&] { SpecOfGaussians("scene", card.string(), {"zebra"}); },
              ThrowsMessage<Error>(HasSubstr("zebra")));
  EXPECT_THAT([&] { SpecOfGaussians("scene", card.string(), {"sky"}); },
              ThrowsMessage<Error>(HasSubstr("fits no class")));
  WriteFile(card, R"({"family": "id maps", "maps": "ids", "classes": "classes.json" })");
  EXPECT_THAT([&] { OpenFrameModel(spec); }, ThrowsMessage<Error>(HasSubstr("of model scene")));
}

}  // namespace
}  // namespace athanor
