// The detector as a model of frames. Its vectors are what the fused maps hold: of a frame, their
// mean and their maximum over the bird's-eye view and their mean over the camera views; of an
// object, the 3 x 3 cells around its centre in the bird's-eye view, and the pixels of the camera
// views where its centre is seen.
#include <ATen/ATen.h>

#include <array>
#include <cmath>
#include <cstdlib>

#include "athanor/base/error.h"
#include "athanor/base/memory.h"
#include "athanor/detection/evaluation/nuscenes_eval.h"
#include "athanor/detection/profusion3d/detector.h"
#include "athanor/detection/profusion3d/log_detections.h"
#include "athanor/loop/inference/models/open_model.h"
#include "athanor/nn/safetensors.h"
#include "athanor/ops/device.h"

namespace athanor {
namespace {

struct SampleInput : FrameInput {
  DetectionSample sample;
};

at::Tensor Plain(const at::Tensor& tensor) {
  return tensor.to(at::kCPU).to(at::kFloat).contiguous();
}

class DetectorModel : public FrameModel {
 public:
  explicit DetectorModel(const ModelSpec& spec)
      : detector_(Detector::FromSafeTensors(ReadSafeTensors(spec.weights), spec.weights.string(),
                                            ParseDevice(spec.settings.at("device")))),
        sample_options_(SampleOptionsOf(detector_->options())),
        width_(detector_->options().width) {
    pass_.bfloat16 = spec.settings.at("bfloat16") == "1";
    predictions_.min_score = std::strtof(spec.settings.at("min_score").c_str(), nullptr);
    predictions_.max_boxes = std::atoi(spec.settings.at("max_boxes").c_str());
    KeepFreedMemory();
  }

  int frame_dimension() const override { return 3 * width_; }
  int object_dimension() const override { return 2 * width_; }

  std::unique_ptr<FrameInput> Read(const Log& log, int frame) const override {
    auto input = std::make_unique<SampleInput>();
    input->sample = MakeFrameSample(log, frame, sample_options_);
    return input;
  }

  FrameOutput Forward(const FrameInput& input) override {
    const at::NoGradGuard no_grad;
    const DetectionSample& sample = static_cast<const SampleInput&>(input).sample;
    const DetectorOutputs outputs = detector_->Forward(sample, pass_);
    const std::vector<Detection> detections =
        ReadDetections(outputs.layers.back().queries, predictions_);
    const ViewMaps& maps = outputs.maps;
    FrameOutput output;
    at::Tensor bev, pv;
    output.vector.resize(frame_dimension());
    if (maps.bev.defined()) {
      bev = Plain(maps.bev);
      const at::Tensor flat = bev.flatten(1);
      Put(flat.mean(1), output.vector.data());
      Put(flat.amax(1), output.vector.data() + width_);
    }
    if (maps.pv.defined()) {
      pv = Plain(maps.pv);
      Put(pv.mean({0, 2, 3}), output.vector.data() + 2 * width_);
    }
    output.object_vectors.resize(detections.size() * object_dimension());
    float* vector = output.object_vectors.data();
    for (const Detection& detection : detections) {
      FoundObject& object = output.objects.emplace_back();
      object.class_index = FindNuscenesClass(kDetectionClasses[detection.label]);
      object.score = detection.score;
      object.box = detection.box;
      object.attribute = detection.attribute;
      if (bev.defined()) AddCells(bev, detection, vector);
      if (pv.defined()) AddPixels(pv, sample, detection, vector + width_);
      vector += object_dimension();
    }
    return output;
  }

 private:
  static void Put(const at::Tensor& values, float* out) {
    const at::Tensor plain = values.contiguous();
    std::copy_n(plain.data_ptr<float>(), plain.numel(), out);
  }

  // Mean over the cells within one of the centre's.
  void AddCells(const at::Tensor& bev, const Detection& detection, float* out) const {
    const std::array<float, 6>& range = detector_->grid().range_m;
    const int64_t rows = bev.size(1), columns = bev.size(2);
    const auto cell = [](float at, float low, float high, int64_t cells) {
      return std::clamp<int64_t>(std::llround((at - low) / (high - low) * cells - 0.5f), 0,
                                 cells - 1);
    };
    const int64_t row = cell(detection.box[1], range[1], range[4], rows);
    const int64_t column = cell(detection.box[0], range[0], range[3], columns);
    const int64_t top = std::max<int64_t>(row - 1, 0), bottom = std::min(row + 2, rows);
    const int64_t left = std::max<int64_t>(column - 1, 0), right = std::min(column + 2, columns);
    const float share = 1.0f / static_cast<float>((bottom - top) * (right - left));
    const float* map = bev.data_ptr<float>();
    for (int64_t c = 0; c < width_; ++c) {
      for (int64_t y = top; y < bottom; ++y) {
        for (int64_t x = left; x < right; ++x) {
          out[c] += share * map[(c * rows + y) * columns + x];
        }
      }
    }
  }

  // Mean over the cameras that see the centre.
  void AddPixels(const at::Tensor& pv, const DetectionSample& sample, const Detection& detection,
                 float* out) const {
    constexpr float kNearest_m = 0.5f;
    const int64_t cameras = pv.size(0), height = pv.size(2), width = pv.size(3);
    const float stride_x = static_cast<float>(sample_options_.width_px) / width;
    const float stride_y = static_cast<float>(sample_options_.height_px) / height;
    const float* poses = sample.camera_from_ego.data_ptr<float>();
    const float* pinholes = sample.intrinsics.data_ptr<float>();
    const float* map = pv.data_ptr<float>();
    int seen = 0;
    for (int64_t camera = 0; camera < cameras; ++camera) {
      if (sample.has_camera.data_ptr<uint8_t>()[camera] == 0) continue;
      const float* pose = poses + camera * 16;
      std::array<float, 3> p = {};
      for (int i = 0; i < 3; ++i) {
        p[i] = pose[4 * i] * detection.box[0] + pose[4 * i + 1] * detection.box[1] +
               pose[4 * i + 2] * detection.box[2] + pose[4 * i + 3];
      }
      if (!(p[2] > kNearest_m)) continue;
      const float* k = pinholes + camera * 9;
      const float u = (k[0] * p[0] / p[2] + k[2]) / stride_x;
      const float v = (k[4] * p[1] / p[2] + k[5]) / stride_y;
      if (!(u >= 0 && v >= 0 && u < static_cast<float>(width) && v < static_cast<float>(height))) {
        continue;
      }
      ++seen;
      const int64_t pixel = static_cast<int64_t>(v) * width + static_cast<int64_t>(u);
      for (int64_t c = 0; c < width_; ++c) {
        out[c] += map[(camera * width_ + c) * height * width + pixel];
      }
    }
    for (int64_t c = 0; c < width_ && seen > 1; ++c) out[c] /= static_cast<float>(seen);
  }

  std::unique_ptr<Detector> detector_;
  FrameSampleOptions sample_options_;
  DetectorPass pass_;
  PredictionOptions predictions_;
  int width_;
};

}  // namespace

std::unique_ptr<FrameModel> OpenDetectorModel(const ModelSpec& spec) {
  return std::make_unique<DetectorModel>(spec);
}

}  // namespace athanor
