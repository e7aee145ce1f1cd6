// Pre-training: that all of it learns, that it goes on exactly, and what it leaves behind.
#include "athanor/detection/pretraining/pretrainer.h"

#include <ATen/ATen.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>

#include "athanor/base/files.h"
#include "athanor/base/test_util.h"
#include "athanor/datasets/log_test_util.h"
#include "athanor/detection/pretraining/pictures.h"
#include "athanor/detection/pretraining/pretraining_test_util.h"
#include "athanor/media/image.h"

namespace athanor {
namespace {

namespace fs = std::filesystem;
using ::testing::HasSubstr;

PretrainOptions Quick() {
  PretrainOptions options;
  options.steps = 6, options.warmup = 2, options.batch = 2;
  options.metrics_every = 2, options.checkpoint_every = 4;
  options.rate = 2e-3;
  options.bfloat16 = false;
  return options;
}

TEST(PretrainNetwork, LearnsWhatIsHidden) {
  PretrainNetwork network(SmallDetector(), Quick());
  AdamW adam(&network.parameters(), {});
  const DetectionSample sample = WavySample();
  // Always other masks, so that what is learned is the scene.
  const auto loss_at = [&](uint64_t seed, bool training) {
    Random random(seed);
    const MaskedSample masked = network.Mask(sample, &random);
    return ComputePretrainLoss(network.Forward(masked, training), masked);
  };
  std::array<double, 6> first = {}, last = {};
  constexpr uint64_t kSteps = 60;
  for (uint64_t step = 0; step < kSteps; ++step) {
    const PretrainLoss loss = loss_at(step, true);
    loss.Total().backward();
    if (step == 0) {
      for (const auto& [name, tensor] : network.parameters().trained()) {
        // Nothing is missing here, and what finds or teaches boxes has nothing to say.
        const bool takes_part =
            name.find("missing") == std::string::npos && !name.starts_with("decoder.") &&
            !name.starts_with("heat.") && !name.starts_with("proposal_") &&
            !name.starts_with("pixel_class.") && !name.starts_with("camera_heat.");
        EXPECT_EQ(tensor.grad().defined(), takes_part) << name;
      }
    }
    adam.Step(4e-3);
    for (size_t i = 0; i < first.size(); ++i) {
      const auto value = loss.parts[i].item<double>();
      if (step < 4) first[i] += value / 4;
      if (step >= kSteps - 4) last[i] += value / 4;
    }
  }
  EXPECT_LT(last[0], 0.9 * first[0]);
  EXPECT_LT(last[1], 0.6 * first[1]);
  EXPECT_LT(last[2], 0.95 * first[2]);
  EXPECT_LT(last[3], 0.8 * first[3]);
  EXPECT_LT(last[4], first[4]);
  EXPECT_LT(last[5], 0.7 * first[5]);

  const at::NoGradGuard no_grad;
  Random random(99);
  const MaskedSample masked = network.Mask(sample, &random);
  const PretrainOutputs out = network.Forward(masked, false);
  const Image sheet = DrawPretraining(sample, masked, out, network.detector().grid());
  EXPECT_GT(sheet.width, 3 * 480);
  EXPECT_GT(sheet.height, 2 * 320 + 480);
}

TEST(PretrainNetwork, DoesWithoutASensor) {
  PretrainNetwork network(SmallDetector(), Quick());
  DetectionSample no_lidar = WavySample(), no_cameras = WavySample();
  no_lidar.points = at::zeros({0, kPointColumns}), no_lidar.has_lidar = false;
  no_cameras.has_camera.zero_();
  for (const DetectionSample* sample : {&no_lidar, &no_cameras}) {
    Random random(1);
    const MaskedSample masked = network.Mask(*sample, &random);
    const PretrainOutputs out = network.Forward(masked, true);
    EXPECT_EQ(out.pixels.defined(), sample == &no_lidar);
    EXPECT_EQ(out.points.defined(), sample == &no_cameras);
    const PretrainLoss loss = ComputePretrainLoss(out, masked);
    loss.Total().backward();
    EXPECT_TRUE(std::isfinite(loss.Total().item<double>()));
    DrawPretraining(*sample, masked, out, network.detector().grid());
  }
}

// A data set of one log on disk.
fs::path WriteLogs(const std::string& name) {
  const fs::path root = TestFolder(name);
  NuscenesWriter writer(root);
  writer.AddScene(WriteTestLog(root, "scene-1", 3));
  writer.Finish();
  return root;
}

TEST(PretrainDetector, GoesOnExactlyWhereItWasKilled) {
  const fs::path logs = WriteLogs("logs"), folder = TestFolder("resume");
  const PretrainResult whole =
      PretrainDetector({logs}, folder / "unbroken", SmallDetector(), Quick(), false);
  EXPECT_EQ(whole.step, 6);
  EXPECT_FALSE(whole.interrupted);
  EXPECT_TRUE(fs::exists(folder / "unbroken" / "pretrained.png"));
  int steps = 0;
  const PretrainResult broken = PretrainDetector({logs}, folder / "broken", SmallDetector(),
                                                 Quick(), false, [&] { return ++steps == 3; });
  EXPECT_TRUE(broken.interrupted);
  EXPECT_EQ(broken.step, 3);
  EXPECT_FALSE(fs::exists(folder / "broken" / "pretrained.safetensors"));
  PretrainDetector({}, folder / "broken", {}, {}, true);
  for (const char* name : {"pretrained.safetensors", "metrics.jsonl", "pretrained.png"}) {
    EXPECT_TRUE(ReadFile(folder / "broken" / name) == ReadFile(folder / "unbroken" / name)) << name;
  }
  EXPECT_THAT(ErrorOf([&] {
                PretrainDetector({logs}, folder / "broken", SmallDetector(), Quick(), false);
              }),
              HasSubstr("already holds a run"));

  // The weights are those of a detector: what was learned moved, the decoder did not.
  const fs::path file = folder / "unbroken" / "pretrained.safetensors";
  const auto detector = Detector::FromSafeTensors(ReadSafeTensors(file), file.string());
  const Detector fresh(SmallDetector(), 0);
  int moved = 0, kept = 0;
  for (const auto& [name, tensor] : fresh.parameters().trained()) {
    const bool is_same = tensor.equal(detector->parameters().Get(name));
    if (name.starts_with("decoder.")) {
      EXPECT_TRUE(is_same) << name;
    }
    ++(is_same ? kept : moved);
  }
  EXPECT_GT(moved, 50);
  EXPECT_EQ(detector->Detect(WavySample(), {.max_boxes = 5}).size(), 5u);
}

TEST(PretrainDetector, RefusesWhatDoesNotFit) {
  const fs::path logs = WriteLogs("refused"), folder = TestFolder("refuse");
  PretrainOptions odd = Quick();
  odd.objectives = {false, false, false};
  EXPECT_THAT(
      ErrorOf([&] { PretrainDetector({logs}, folder / "run", SmallDetector(), odd, false); }),
      HasSubstr("expected an objective"));
  EXPECT_THAT(
      ErrorOf([&] { PretrainDetector({}, folder / "run", SmallDetector(), Quick(), false); }),
      HasSubstr("at least one log"));
  EXPECT_FALSE(fs::exists(folder / "run"));
  EXPECT_THAT(ErrorOf([&] { PretrainDetector({}, folder / "run", {}, {}, true); }),
              HasSubstr("run.json, found none"));
}

}  // namespace
}  // namespace athanor
