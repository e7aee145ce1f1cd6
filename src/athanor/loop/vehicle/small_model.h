// The small model of a car, as mining sees it: what is there, and a vector of what it looks like.
#pragma once

#include <filesystem>
#include <memory>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

#include "athanor/datasets/log.h"
#include "athanor/detection/evaluation/nuscenes_eval.h"
#include "athanor/loop/inference/frame_model.h"
#include "athanor/loop/mining/mined_box.h"

namespace athanor {

struct SmallModelSight {
  std::vector<MinedBox> boxes;  // world frame, classes of kNuscenesClassNames
  std::vector<float> feature;   // of the whole frame; always as many numbers
};

class SmallModel {
 public:
  virtual ~SmallModel() = default;
  // Throws Error for a frame that it cannot see.
  virtual SmallModelSight Look(const Log& log, int frame) = 0;
};

// What an earlier `detect predict` wrote. The feature is a coarse picture of the boxes: for each
// class, the sum of scores in 3 rings around the car by 4 sides.
class PredictedModel : public SmallModel {
 public:
  // results_nusc.json. Throws Error.
  explicit PredictedModel(const std::filesystem::path& results);
  SmallModelSight Look(const Log& log, int frame) override;

 private:
  std::string source_;
  std::unordered_map<std::string, std::vector<NuscenesBox>> boxes_;  // by the frame's id
};

// Any model that `infer` runs (loop/inference/frame_model.h): its boxes, and its vector of the
// frame.
class FrameModelSight : public SmallModel {
 public:
  explicit FrameModelSight(std::unique_ptr<FrameModel> model) : model_(std::move(model)) {}
  SmallModelSight Look(const Log& log, int frame) override;

 private:
  std::unique_ptr<FrameModel> model_;
};

// The boxes as MinedBox; in the world frame, as results have them.
std::vector<MinedBox> MinedBoxesOf(const std::vector<NuscenesBox>& boxes, int64_t frame);
// What PredictedModel calls a feature.
std::vector<float> BoxPicture(const std::vector<MinedBox>& boxes, const Rigid3& world_from_ego);

}  // namespace athanor
