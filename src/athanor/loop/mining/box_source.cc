#include "athanor/loop/mining/box_source.h"

#include <algorithm>

#include "athanor/base/sha256.h"
#include "athanor/detection/evaluation/evaluation_inputs.h"
#include "athanor/detection/evaluation/nuscenes_files.h"

namespace athanor {

MinedBox ToMinedBox(const SourcedBox& box, int64_t frame) {
  MinedBox mined;
  mined.frame = frame;
  mined.class_index = box.class_index;
  mined.score = box.score;
  mined.center_m = box.box.frame_from_box.translation;
  mined.size_m = box.box.size_m;
  mined.yaw_rad = box.box.yaw_rad();
  return mined;
}

BoxSource BoxSource::Annotations() {
  BoxSource source;
  source.name_ = source.identity_ = "annotations";
  return source;
}

BoxSource BoxSource::Results(const std::filesystem::path& path) {
  BoxSource source;
  source.name_ = path.string();
  source.identity_ = Sha256OfFile(path);
  auto results = std::make_shared<NuscenesResults>(ReadNuscenesResults(path));
  for (size_t i = 0; i < results->sample_tokens.size(); ++i) {
    source.sample_of_token_[results->sample_tokens[i]] = static_cast<int64_t>(i);
  }
  source.results_ = results;
  return source;
}

BoxSource BoxSource::Open(const std::string& name) {
  return name == "annotations" ? Annotations() : Results(name);
}

bool BoxSource::Has(const Log& log, int frame) const {
  return is_annotations() || sample_of_token_.contains(log.frames[frame].id);
}

std::vector<SourcedBox> BoxSource::Boxes(const Log& log, int frame) const {
  std::vector<SourcedBox> boxes;
  if (is_annotations()) {
    for (const LogBox& box : log.frames[frame].boxes) {
      SourcedBox& out = boxes.emplace_back();
      out.box = box.box;
      out.class_name = log.tracks[box.track].category;
      out.class_index = NuscenesClassOfCategory(out.class_name);
      out.track = box.track;
      out.points = box.num_lidar_points;
    }
    return boxes;
  }
  const auto found = sample_of_token_.find(log.frames[frame].id);
  if (found == sample_of_token_.end()) return boxes;
  for (int64_t b = results_->first_box[found->second]; b < results_->first_box[found->second + 1];
       ++b) {
    const NuscenesBox& box = results_->boxes[b];
    SourcedBox& out = boxes.emplace_back();
    const Eigen::Vector4d& q = box.rotation_wxyz;
    out.box.frame_from_box = {Eigen::Quaterniond(q[0], q[1], q[2], q[3]).normalized(),
                              box.translation_m};
    out.box.size_m = {box.size_wlh_m.y(), box.size_wlh_m.x(), box.size_wlh_m.z()};
    out.class_index = box.class_index;
    out.class_name = kNuscenesClassNames[box.class_index];
    out.score = std::clamp(box.score, 0.0, 1.0);
  }
  return boxes;
}

}  // namespace athanor
