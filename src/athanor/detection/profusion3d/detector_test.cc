// The whole detector: what it says without a sensor, that all of it learns, that weights come back.
#include "athanor/detection/profusion3d/detector.h"

#include <ATen/ATen.h>
#include <ATen/CPUGeneratorImpl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <set>

#include "athanor/base/random.h"
#include "athanor/base/test_util.h"
#include "athanor/detection/profusion3d/detection_loss.h"
#include "athanor/detection/profusion3d/sample_test_util.h"
#include "athanor/nn/fast_bfloat16.h"
#include "athanor/ops/strict_device_test_util.h"

namespace athanor {
namespace {

using ::testing::HasSubstr;

// Two cameras, one ahead and one behind, noise in the pictures, points all around, two boxes.
DetectionSample MakeSample() {
  Random random(7);
  DetectionSample sample;
  sample.id = "made up";
  sample.points = at::zeros({800, kPointColumns});
  auto points = sample.points.accessor<float, 2>();
  for (int64_t i = 0; i < 800; ++i) {
    points[i][0] = random.Uniform(-12, 12), points[i][1] = random.Uniform(-12, 12);
    points[i][2] = random.Uniform(-1.5f, 1.5f), points[i][3] = random.Uniform();
  }
  sample.images = at::zeros({2, 3, 64, 96}, at::kByte);
  auto* bytes = sample.images.data_ptr<uint8_t>();
  for (int64_t i = 0; i < sample.images.numel(); ++i) {
    bytes[i] = static_cast<uint8_t>(random.Below(256));
  }
  AddTwoCameras(&sample);
  sample.boxes = at::tensor({5.0f, 1.0f, 0.0f, 4.0f, 1.8f, 1.5f, 0.3f, 1.0f, 0.0f,  //
                             -6.0f, -2.0f, 0.0f, 0.7f, 0.7f, 1.7f, 0.0f, 0.0f, 0.0f})
                     .view({2, kBoxColumns});
  sample.labels = at::tensor({0, 8}, at::kLong);
  sample.attributes = at::tensor({5, 2}, at::kLong);  // vehicle.moving, pedestrian.standing
  return sample;
}

TEST(Detector, FindsWithWhateverSensorsThereAre) {
  Detector detector(SmallDetector(), 3);
  DetectionSample both = MakeSample();
  const size_t all = detector.Detect(both, {.max_boxes = 20}).size();
  EXPECT_EQ(all, 20u);
  DetectionSample no_lidar = both;
  no_lidar.points = at::zeros({0, kPointColumns}), no_lidar.has_lidar = false;
  DetectionSample no_cameras = both;
  no_cameras.has_camera = at::zeros({2}, at::kByte);
  no_cameras.images = at::zeros_like(both.images);
  DetectionSample one_camera = both;
  one_camera.has_camera = at::tensor({1, 0}, at::kByte);
  DetectionSample nothing = no_lidar;
  nothing.has_camera = no_cameras.has_camera, nothing.images = no_cameras.images;
  std::set<float> best;
  for (const DetectionSample* sample : {&both, &no_lidar, &no_cameras, &one_camera, &nothing}) {
    const std::vector<Detection> found = detector.Detect(*sample, {.max_boxes = 20});
    ASSERT_EQ(found.size(), 20u);
    for (const Detection& detection : found) {
      for (const float number : detection.box) EXPECT_TRUE(std::isfinite(number));
    }
    best.insert(found[0].score);
  }
  EXPECT_EQ(best.size(), 5u) << "each sensor has a say";
  // What a missing camera's picture shows does not matter.
  DetectionSample other = one_camera;
  other.images = one_camera.images.clone();
  other.images[1].fill_(200);
  EXPECT_EQ(detector.Detect(one_camera, {})[0].score, detector.Detect(other, {})[0].score);
}

// Where bfloat16 is slow, float32 is what is computed.
TEST(Detector, RoundsOnlyWhereThatIsFast) {
  const Detector detector(SmallDetector(), 3);
  const DetectionSample sample = MakeSample();
  const float plain = detector.Detect(sample, {}, /*bfloat16=*/false)[0].score;
  const float rounded = detector.Detect(sample, {}, /*bfloat16=*/true)[0].score;
  EXPECT_EQ(rounded != plain, HasFastBfloat16(c10::kCPU)) << rounded << " and " << plain;
  EXPECT_NEAR(rounded, plain, 0.03);
}

TEST(Detector, AllOfItLearnsAndTheLossFalls) {
  Detector detector(SmallDetector(), 4);
  const DetectionSample sample = MakeSample();
  AdamW adam(&detector.parameters(), {});
  const DetectionTruth truth = {sample.boxes, sample.labels, sample.attributes};
  DetectorPass pass;
  pass.training = true;
  pass.proposal_places = NormalizePoints(sample.boxes.slice(1, 0, 3), detector.grid());
  pass.proposal_labels = sample.labels;
  double first = 0, last = 0, first_proposals = 0, last_proposals = 0;
  for (int step = 0; step < 12; ++step) {
    const DetectorOutputs outputs = detector.Forward(sample, pass);
    const at::Tensor proposals = BoxLoss(outputs.proposal_codes, truth.boxes, {});
    const PixelTruth pixels = detector.PixelTruthOf(sample);
    const at::Tensor loss =
        ComputeDetectionLoss(outputs.layers, {}, truth, {}).total +
        HeatLoss(outputs.heat, truth.boxes, truth.labels, detector.grid()) +
        HeatLoss(outputs.maps.camera_heat, truth.boxes, truth.labels, detector.grid()) +
        PixelLoss(outputs.maps.pixel_classes, pixels.classes,
                  pixels.classes.ne(kNumDetectionClasses)) +
        proposals;
    (step == 0 ? first_proposals : last_proposals) = proposals.item<double>();
    loss.backward();
    if (step == 0) {
      first = loss.item<double>();
      for (const auto& [name, tensor] : detector.parameters().trained()) {
        // Nothing is missing here.
        if (name.find("missing") != std::string::npos) continue;
        EXPECT_TRUE(tensor.grad().defined()) << name;
      }
    }
    adam.Step(2e-3);
    last = loss.item<double>();
  }
  EXPECT_LT(last, 0.8 * first);
  EXPECT_LT(last_proposals, 0.8 * first_proposals);
}

// What pixels show is learned from the LiDAR, also where it is not to be seen, and whatever size
// augmentation gives the world.
TEST(Detector, LearnsWhatPixelsShow) {
  Detector detector(SmallDetector(), 4);
  DetectionSample sample = MakeSample();
  const PixelTruth truth = detector.PixelTruthOf(sample);
  EXPECT_GT(truth.depths.ge(0).sum().item<int64_t>(), 50);
  EXPECT_LT(truth.depths.max().item<int64_t>(), SmallDetector().depths);
  // The car is ahead, 3 to 7 m away (bins of 2 m from 1 m on), the pedestrian behind.
  const at::Tensor car = truth.classes.eq(0), person = truth.classes.eq(8);
  EXPECT_GT(car[0].sum().item<int64_t>(), 0);
  EXPECT_EQ(car[1].sum().item<int64_t>(), 0);
  EXPECT_EQ(person[0].sum().item<int64_t>(), 0);
  EXPECT_GE(truth.depths.masked_select(car).min().item<int64_t>(), 0);
  EXPECT_LE(truth.depths.masked_select(car).max().item<int64_t>(), 3);
  sample.depth_points = sample.points;
  sample.points = at::empty({0, kPointColumns}), sample.has_lidar = false;
  EXPECT_TRUE(detector.PixelTruthOf(sample).depths.equal(truth.depths));
  EXPECT_TRUE(detector.PixelTruthOf(sample).classes.equal(truth.classes));
  DetectionSample larger = sample;
  larger.world_scale = 2;
  larger.depth_points = sample.depth_points.clone();
  larger.depth_points.slice(1, 0, 3) *= 2;
  EXPECT_TRUE(detector.PixelTruthOf(larger).depths.equal(truth.depths));

  AdamW adam(&detector.parameters(), {});
  DetectorPass pass;
  pass.training = true;
  double first = 0, last = 0;
  for (int step = 0; step < 20; ++step) {
    const ViewMaps maps = detector.Encode(sample, pass);
    const at::Tensor all = at::ones_like(car);
    const at::Tensor loss = PixelLoss(maps.pixel_depth, truth.depths, all) +
                            PixelLoss(maps.pixel_classes, truth.classes, all);
    loss.backward();
    adam.Step(5e-3);
    last = loss.item<double>();
    if (step == 0) first = last;
  }
  EXPECT_NEAR(first, std::log(8.0) + std::log(12.0), 2);
  EXPECT_LT(last, 0.6 * first);
}

// Where the heat map sees two classes in one cell, two queries begin, each for one of them.
TEST(Detector, AProposalIsForItsOwnClass) {
  Detector detector(SmallDetector(), 4);
  const at::NoGradGuard no_gradient;
  at::Tensor bias = detector.parameters().Get("heat.out.bias");
  bias[0] = 3, bias[8] = 3;
  const HeadOutputs first = detector.Forward(MakeSample(), {}).layers.front().queries;
  const at::Tensor sure = first.logits.slice(0, 0, SmallDetector().proposals).gt(0);
  EXPECT_TRUE(sure.sum(1).eq(1).all().item<bool>()) << sure.sum(1);
  EXPECT_TRUE(at::logical_or(sure.select(1, 0), sure.select(1, 8)).all().item<bool>());
}

// On a device that, like a GPU, does not take tensors of the CPU.
TEST(Detector, LearnsAndDetectsTheSameOnAnotherDevice) {
  const DetectionSample sample = MakeSample();
  const DetectionTruth truth = {sample.boxes, sample.labels, sample.attributes};
  struct Result {
    double loss;
    std::vector<at::Tensor> gradients;
    std::vector<Detection> before, found;  // a step of training
  };
  const auto run = [&](DetectorOptions options, const c10::Device& device, bool bfloat16) {
    Detector detector(options, 4, device);
    DetectorPass pass;
    pass.training = true, pass.bfloat16 = bfloat16;
    pass.proposal_places = NormalizePoints(sample.boxes.slice(1, 0, 3), detector.grid());
    pass.proposal_labels = sample.labels;
    Random random(5);
    pass.denoising = MakeDenoisingQueries(truth.boxes, detector.grid(), {.groups = 2}, &random);
    at::Generator generator = at::detail::createCPUGenerator(6);
    pass.dropout = &generator;
    const DetectorOutputs outputs = detector.Forward(sample, pass);
    at::Tensor loss = ComputeDetectionLoss(outputs.layers, pass.denoising, truth, {}).total;
    if (outputs.heat.defined()) {
      loss = loss + HeatLoss(outputs.heat, truth.boxes, truth.labels, detector.grid()) +
             BoxLoss(outputs.proposal_codes, truth.boxes, {});
    }
    const PixelTruth pixels = detector.PixelTruthOf(sample);
    loss = loss + PixelLoss(outputs.maps.pixel_depth, pixels.depths, pixels.depths.ge(0)) +
           PixelLoss(outputs.maps.pixel_classes, pixels.classes, pixels.classes.ge(0));
    EXPECT_EQ(loss.device(), device);
    loss.backward();
    Result result = {loss.item<double>(), {}, {}, {}};
    for (const auto& [name, tensor] : detector.parameters().trained()) {
      result.gradients.push_back(tensor.grad().defined() ? tensor.grad().cpu() : at::Tensor());
    }
    result.before = detector.Detect(sample, {.max_boxes = 20}, bfloat16);
    AdamW(&detector.parameters(), {}).Step(1e-3);
    result.found = detector.Detect(sample, {.max_boxes = 20}, bfloat16);
    return result;
  };
  DetectorOptions learnt = SmallDetector();
  learnt.proposals = 0;
  DetectorOptions swin = SmallDetector();
  swin.camera_backbone = "swin";
  swin.swin_embed = 8, swin.swin_depths = "1,2", swin.swin_heads = "1,2", swin.swin_window = 4;
  for (const DetectorOptions& options : {SmallDetector(), learnt, swin}) {
    for (const bool bfloat16 : {false, true}) {
      const Result here = run(options, c10::kCPU, bfloat16);
      const Result there = run(options, StrictDevice(), bfloat16);
      EXPECT_NEAR(there.loss, here.loss, (bfloat16 ? 0.02 : 1e-5) * here.loss);
      ASSERT_EQ(there.gradients.size(), here.gradients.size());
      // All gradients together: memory in another order is summed in another order.
      double difference = 0, length = 0;
      for (size_t i = 0; i < here.gradients.size(); ++i) {
        ASSERT_EQ(there.gradients[i].defined(), here.gradients[i].defined()) << i;
        if (!here.gradients[i].defined()) continue;
        length += here.gradients[i].square().sum().item<double>();
        difference += (there.gradients[i] - here.gradients[i]).square().sum().item<double>();
      }
      EXPECT_LT(std::sqrt(difference / length), bfloat16 ? 0.05 : 1e-3);
      ASSERT_EQ(there.found.size(), here.found.size());
      EXPECT_NEAR(there.before[0].score, here.before[0].score, 0.01);
      // A step of Adam is as long for gradients that are nearly nothing, whose signs differ.
      EXPECT_NEAR(there.found[0].score, here.found[0].score, bfloat16 ? 0.03 : 0.01);
    }
  }
}

TEST(Detector, WeightsComeBackWithTheirOptions) {
  const Detector detector(SmallDetector(), 5);
  const DetectionSample sample = MakeSample();
  SafeTensors file = detector.ToSafeTensors();
  const auto read = Detector::FromSafeTensors(file, "weights");
  EXPECT_EQ(read->options().queries, 12);
  EXPECT_EQ(read->Detect(sample, {})[0].score, detector.Detect(sample, {})[0].score);
  file.tensors.pop_back();
  EXPECT_THAT(ErrorOf([&] { Detector::FromSafeTensors(file, "weights"); }), HasSubstr("weights"));
  EXPECT_THAT(ErrorOf([&] { Detector::FromSafeTensors({}, "other"); }),
              HasSubstr("other: expected weights of a detector"));
}

TEST(Detector, LooksThroughASwinTransformer) {
  DetectorOptions options = SmallDetector();
  options.camera_backbone = "swin";
  options.swin_embed = 8, options.swin_depths = "1,2", options.swin_heads = "1,2";
  options.swin_window = 4;
  Detector detector(options, 8);
  const DetectionSample sample = MakeSample();
  const std::vector<Detection> found = detector.Detect(sample, {});
  const auto read = Detector::FromSafeTensors(detector.ToSafeTensors(), "weights");
  EXPECT_EQ(read->options().swin_depths, "1,2");
  EXPECT_EQ(read->Detect(sample, {})[0].score, found[0].score);
  DetectionSample other = sample;
  other.images = sample.images.flip({3});
  EXPECT_NE(detector.Detect(other, {})[0].score, found[0].score);
  // The names under which public weights are put there.
  EXPECT_EQ(detector.parameters().Get("camera.swin.patch.weight").size(0), 8);
  options.swin_heads = "1,0";
  EXPECT_THAT(ErrorOf([&] { Detector(options, 1); }), HasSubstr("swin-heads: expected numbers"));
}

TEST(Detector, RefusesWhatDoesNotFit) {
  DetectionSample sample = MakeSample();
  Detector detector(SmallDetector(), 6);
  sample.images = at::zeros({2, 3, 32, 96}, at::kByte);
  EXPECT_THAT(ErrorOf([&] { detector.Detect(sample, {}); }),
              HasSubstr("made up: expected pictures of 96 x 64"));
  DetectorOptions blind = SmallDetector();
  blind.use_lidar = blind.use_cameras = false;
  EXPECT_THAT(ErrorOf([&] { Detector(blind, 1); }), HasSubstr("found neither"));
  DetectorOptions odd = SmallDetector();
  odd.range_m = 12.7f;
  EXPECT_THAT(ErrorOf([&] { Detector(odd, 1); }), HasSubstr("whole cells"));
  odd = SmallDetector();
  odd.lidar_channels = "8,x";
  EXPECT_THAT(ErrorOf([&] { Detector(odd, 1); }), HasSubstr("found '8,x'"));
}

}  // namespace
}  // namespace athanor
