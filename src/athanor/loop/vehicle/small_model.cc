#include "athanor/loop/vehicle/small_model.h"

#include <cmath>

#include "athanor/base/error.h"
#include "athanor/detection/evaluation/nuscenes_files.h"

namespace athanor {

std::vector<MinedBox> MinedBoxesOf(const std::vector<NuscenesBox>& boxes, int64_t frame) {
  std::vector<MinedBox> mined;
  for (const NuscenesBox& box : boxes) {
    MinedBox& out = mined.emplace_back();
    out.frame = frame;
    out.class_index = box.class_index;
    out.score = box.score;
    out.center_m = box.translation_m;
    out.size_m = {box.size_wlh_m.y(), box.size_wlh_m.x(), box.size_wlh_m.z()};
    const Eigen::Vector4d& q = box.rotation_wxyz;
    out.yaw_rad = Box3{{Eigen::Quaterniond(q[0], q[1], q[2], q[3]).normalized(), {}}, {}}.yaw_rad();
  }
  return mined;
}

std::vector<float> BoxPicture(const std::vector<MinedBox>& boxes, const Rigid3& world_from_ego) {
  constexpr int kRings = 3, kSides = 4;
  std::vector<float> picture(kNuscenesAllClasses * kRings * kSides);
  const Rigid3 ego_from_world = world_from_ego.Inverse();
  for (const MinedBox& box : boxes) {
    const Eigen::Vector2d in_ego = (ego_from_world * box.center_m).head<2>();
    const double distance_m = in_ego.norm();
    const int ring = distance_m < 10 ? 0 : distance_m < 25 ? 1 : 2;
    // Ahead, left, behind, right.
    const int side =
        static_cast<int>(std::lround(std::atan2(in_ego.y(), in_ego.x()) / (M_PI / 2)) + kSides) %
        kSides;
    picture[(box.class_index * kRings + ring) * kSides + side] += static_cast<float>(box.score);
  }
  return picture;
}

SmallModelSight FrameModelSight::Look(const Log& log, int frame) {
  FrameOutput output = model_->Forward(*model_->Read(log, frame));
  ATHANOR_CHECK(output.failure.empty(), "log ", log.name, ", frame ", frame, ": ", output.failure);
  SmallModelSight sight;
  sight.feature = std::move(output.vector);
  const Rigid3& world_from_ego = log.frames.at(frame).world_from_ego;
  for (const FoundObject& object : output.objects) {
    if (object.class_index < 0) continue;
    const auto& b = object.box;
    const Box3 box = world_from_ego * MakeBox3({b[0], b[1], b[2]}, {b[3], b[4], b[5]}, b[6]);
    MinedBox& out = sight.boxes.emplace_back();
    out.frame = frame;
    out.class_index = object.class_index;
    out.score = object.score;
    out.center_m = box.frame_from_box.translation;
    out.size_m = box.size_m;
    out.yaw_rad = box.yaw_rad();
  }
  return sight;
}

PredictedModel::PredictedModel(const std::filesystem::path& results) : source_(results.string()) {
  const NuscenesResults read = ReadNuscenesResults(results);
  for (size_t i = 0; i < read.sample_tokens.size(); ++i) {
    boxes_[read.sample_tokens[i]] = {read.boxes.begin() + read.first_box[i],
                                     read.boxes.begin() + read.first_box[i + 1]};
  }
}

SmallModelSight PredictedModel::Look(const Log& log, int frame) {
  const auto found = boxes_.find(log.frames.at(frame).id);
  ATHANOR_CHECK(found != boxes_.end(), source_, ": there are no predictions for frame ", frame,
                " of log ", log.name, " (", log.frames[frame].id, ")");
  SmallModelSight sight;
  sight.boxes = MinedBoxesOf(found->second, frame);
  sight.feature = BoxPicture(sight.boxes, log.frames[frame].world_from_ego);
  return sight;
}

}  // namespace athanor
