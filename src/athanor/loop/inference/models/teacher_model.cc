// A teacher of pictures and words as a model of frames. A frame's vector is the mean over all
// pictures; its objects are regions of the pictures that are as unlike each other as can be, so
// that what is rare and small has a vector of its own.
#include <ATen/ATen.h>

#include <algorithm>
#include <cstdlib>

#include "athanor/base/error.h"
#include "athanor/loop/inference/models/open_model.h"
#include "athanor/media/image.h"

namespace athanor {
namespace {

struct Pictures : FrameInput {
  std::vector<Image> images;
  std::vector<int> sensors;
};

// A region is so many cells of 4 x 4 pixels of the network's picture wide and high; regions begin a
// step apart.
constexpr int64_t kRegionCells = 4, kRegionStep = 2;

at::Tensor UnitRows(const at::Tensor& rows) {
  return rows / rows.norm(2, 1, true).clamp_min(1e-12);
}

// Indices of `count` rows of [N,D], lengths 1: the one least like `mean` [D], then always the one
// least like those that were chosen (farthest first: Gonzalez 1985).
std::vector<int64_t> FarthestFirst(const at::Tensor& rows, const at::Tensor& mean, int64_t count) {
  std::vector<int64_t> chosen;
  at::Tensor likeness = at::mv(rows, mean);
  count = std::min(count, rows.size(0));
  for (int64_t i = 0; i < count; ++i) {
    const int64_t next = likeness.argmin().item<int64_t>();
    chosen.push_back(next);
    const at::Tensor to_next = at::mv(rows, rows[next]);
    likeness = i == 0 ? to_next : at::maximum(likeness, to_next);
  }
  return chosen;
}

class TeacherModel : public FrameModel {
 public:
  explicit TeacherModel(const ModelSpec& spec)
      : teacher_(OpenTeacher(spec.weights.string())),
        regions_(std::atoi(spec.settings.at("regions").c_str())) {
    CheckTeacher(spec, *teacher_);
  }

  int frame_dimension() const override { return teacher_->dimension(); }
  int object_dimension() const override { return teacher_->dimension(); }

  std::unique_ptr<FrameInput> Read(const Log& log, int frame) const override {
    auto input = std::make_unique<Pictures>();
    for (const int index : log.frames[frame].readings) {
      if (index < 0) continue;
      const LogReading& reading = log.readings[index];
      if (log.sensors[reading.sensor].kind != SensorKind::kCamera) continue;
      if (!HasPayload(log, reading)) continue;
      input->images.push_back(DecodeImage(ReadPayload(log, reading), reading.path.string(), 3));
      input->sensors.push_back(reading.sensor);
    }
    ATHANOR_CHECK(!input->images.empty(), log.source, ": log ", log.name, ", frame ", frame,
                  ": expected a picture, found none");
    return input;
  }

  FrameOutput Forward(const FrameInput& input) override {
    const at::NoGradGuard no_grad;
    const auto& pictures = static_cast<const Pictures&>(input);
    FrameOutput output;
    at::Tensor sum = at::zeros({frame_dimension()});
    for (size_t i = 0; i < pictures.images.size(); ++i) {
      const ViewFeatures features = teacher_->Describe(pictures.images[i], "picture");
      const at::Tensor map = features.features.to(at::kFloat);  // [h,w,D]
      const at::Tensor mean = UnitRows(map.flatten(0, 1)).mean(0);
      sum += mean;
      AddRegions(map, mean, features, pictures.sensors[i], &output);
    }
    const at::Tensor vector = UnitRows(sum.unsqueeze(0)).contiguous();
    output.vector.assign(vector.data_ptr<float>(), vector.data_ptr<float>() + vector.numel());
    return output;
  }

 private:
  void AddRegions(const at::Tensor& map, const at::Tensor& mean, const ViewFeatures& features,
                  int sensor, FrameOutput* output) const {
    const int64_t size = std::min({kRegionCells, map.size(0), map.size(1)});
    const at::Tensor pooled = at::avg_pool2d(map.permute({2, 0, 1}).unsqueeze(0), {size, size},
                                             {kRegionStep, kRegionStep});
    const int64_t columns = pooled.size(3);
    const at::Tensor rows = UnitRows(pooled[0].flatten(1).t().contiguous());
    const float cell_x = static_cast<float>(features.width_px) / map.size(1);
    const float cell_y = static_cast<float>(features.height_px) / map.size(0);
    const at::Tensor of_picture = UnitRows(mean.unsqueeze(0))[0];
    for (const int64_t row : FarthestFirst(rows, of_picture, regions_)) {
      FoundObject& object = output->objects.emplace_back();
      object.sensor = sensor;
      object.score = 1;
      const auto left = static_cast<float>(row % columns * kRegionStep);
      const auto top = static_cast<float>(row / columns * kRegionStep);
      object.region_px = {left * cell_x, top * cell_y, (left + size) * cell_x,
                          (top + size) * cell_y};
      const float* vector = rows.data_ptr<float>() + row * rows.size(1);
      output->object_vectors.insert(output->object_vectors.end(), vector, vector + rows.size(1));
    }
  }

  std::unique_ptr<Teacher> teacher_;
  int64_t regions_;
};

}  // namespace

std::unique_ptr<FrameModel> OpenTeacherModel(const ModelSpec& spec) {
  return std::make_unique<TeacherModel>(spec);
}

}  // namespace athanor
