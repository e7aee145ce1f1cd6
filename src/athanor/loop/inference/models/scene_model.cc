// Scenes of Gaussians as a model of frames: what a teacher's features on them say of some words.
#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>
#include <iterator>
#include <limits>
#include <numeric>
#include <optional>
#include <sstream>

#include "athanor/base/error.h"
#include "athanor/loop/inference/models/open_model.h"
#include "athanor/loop/labeling/words/word_labeler.h"

namespace athanor {
namespace {

struct MomentInput : FrameInput {
  MomentScene scene;
  Rigid3 ego_from_world;
};

std::vector<std::string> Lines(const std::string& text) {
  std::vector<std::string> lines;
  std::istringstream stream(text);
  for (std::string line; std::getline(stream, line);) lines.push_back(line);
  return lines;
}

std::vector<float> ToFloats(const at::Tensor& values) {
  const at::Tensor plain = values.contiguous();
  return {plain.data_ptr<float>(), plain.data_ptr<float>() + plain.numel()};
}

class SceneModel : public FrameModel {
 public:
  explicit SceneModel(const ModelSpec& spec)
      : teacher_(OpenTeacherWithWords(spec.weights.string())) {
    CheckTeacher(spec, *teacher_.teacher);
    Describe(options_).ParseToml(spec.settings.at("options"), "options of the labels");
    std::vector<AskedWords> asked;
    for (const std::string& text : Lines(spec.settings.at("texts"))) asked.push_back(AskFor(text));
    labeler_.emplace(teacher_.teacher.get(), teacher_.encoder.get(), asked,
                     std::vector<std::string>(), options_);
  }

  int frame_dimension() const override { return teacher_.teacher->dimension(); }
  int object_dimension() const override { return teacher_.teacher->dimension(); }

  std::unique_ptr<FrameInput> Read(const Log& log, int frame) const override {
    auto input = std::make_unique<MomentInput>();
    input->scene = MakeMomentScene(log, frame, options_.moment);
    input->ego_from_world = log.frames[frame].world_from_ego.Inverse();
    ATHANOR_CHECK(!input->scene.is_empty(), log.source, ": log ", log.name, ", frame ", frame,
                  ": expected a sweep and a picture that sees it, found none");
    return input;
  }

  FrameOutput Forward(const FrameInput& input) override {
    const auto& moment = static_cast<const MomentInput&>(input);
    const WordLabeler::Found found = labeler_->Look(moment.scene, /*with_vectors=*/true);
    std::vector<size_t> order(found.boxes.size());
    std::iota(order.begin(), order.end(), 0);
    std::stable_sort(order.begin(), order.end(), [&](size_t a, size_t b) {
      return found.boxes[a].score > found.boxes[b].score;
    });
    order.resize(std::min<size_t>(order.size(), kMaxFrameObjects));
    FrameOutput output;
    output.vector = ToFloats(found.vector);
    for (const size_t i : order) {
      const NuscenesBox& box = found.boxes[i];
      const Eigen::Vector4d& q = box.rotation_wxyz;
      const Eigen::Quaterniond rotation =
          moment.ego_from_world.rotation * Eigen::Quaterniond(q[0], q[1], q[2], q[3]);
      const Eigen::Vector3d centre = moment.ego_from_world * box.translation_m;
      const Eigen::Vector3d forward = rotation * Eigen::Vector3d::UnitX();
      FoundObject& object = output.objects.emplace_back();
      object.class_index = box.class_index;
      object.score = static_cast<float>(box.score);
      const Eigen::Vector3d& wlh = box.size_wlh_m;
      const double values[] = {centre.x(),
                               centre.y(),
                               centre.z(),
                               wlh.y(),
                               wlh.x(),
                               wlh.z(),
                               std::atan2(forward.y(), forward.x())};
      std::copy(std::begin(values), std::end(values), object.box.begin());
      object.box[7] = object.box[8] = std::numeric_limits<float>::quiet_NaN();  // of one moment
      const std::vector<float> vector = ToFloats(found.box_vectors[static_cast<int64_t>(i)]);
      output.object_vectors.insert(output.object_vectors.end(), vector.begin(), vector.end());
    }
    return output;
  }

 private:
  TeacherWithWords teacher_;
  WordLabelOptions options_;
  std::optional<WordLabeler> labeler_;
};

}  // namespace

std::unique_ptr<FrameModel> OpenSceneModel(const ModelSpec& spec) {
  return std::make_unique<SceneModel>(spec);
}

}  // namespace athanor
