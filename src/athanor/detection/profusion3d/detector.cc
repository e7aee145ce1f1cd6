#include "athanor/detection/profusion3d/detector.h"

#include <ATen/ATen.h>

#include <chrono>
#include <map>

#include "athanor/base/error.h"
#include "athanor/detection/profusion3d/box_code.h"
#include "athanor/nn/fast_bfloat16.h"

namespace athanor {
namespace {

constexpr const char* kArchitecture = "athanor ProFusion3D";

class StageClock {
 public:
  StageClock(DetectorTimes* times, const c10::Device& device) : times_(times), device_(device) {}
  // What has passed since the last call belongs to `stage`.
  void Add(double DetectorTimes::*stage) {
    if (times_ == nullptr) return;
    // A GPU is still at work when its functions return; it answers when it is done.
    if (!device_.is_cpu()) at::zeros({}, at::device(device_)).item<float>();
    const auto now = std::chrono::steady_clock::now();
    times_->*stage += std::chrono::duration<double>(now - last_).count();
    last_ = now;
  }

 private:
  DetectorTimes* times_;
  c10::Device device_;
  std::chrono::steady_clock::time_point last_ = std::chrono::steady_clock::now();
};

LidarEncoderOptions LidarOptions(const DetectorOptions& o) {
  LidarEncoderOptions lidar;
  lidar.voxel_m = {o.voxel_m, o.voxel_m, o.voxel_height_m};
  lidar.channels = o.LidarChannels();
  lidar.blocks = o.lidar_blocks;
  lidar.width = o.width;
  lidar.dense_layers = o.bev_layers;
  return lidar;
}

CameraEncoderOptions CameraOptions(const DetectorOptions& o) {
  CameraEncoderOptions camera;
  camera.channels = o.CameraChannels();
  camera.blocks = o.CameraBlocks();
  if (o.camera_backbone == "swin") camera.swin = o.Swin();
  camera.stride = o.camera_stride;
  camera.width = o.width;
  return camera;
}

IntraInterFusionOptions FusionOptions(const DetectorOptions& o) {
  IntraInterFusionOptions fusion;
  fusion.width = o.width;
  fusion.heads = o.heads;
  fusion.window = o.window;
  fusion.feed_forward = 2;
  fusion.variant = o.fusion == "full"      ? FusionVariant::kFull
                   : o.fusion == "unit"    ? FusionVariant::kIntraInterUnit
                   : o.fusion == "windows" ? FusionVariant::kWindowedUnits
                   : o.fusion == "concat"  ? FusionVariant::kConcat
                                           : FusionVariant::kSelfThenCross;
  return fusion;
}

DecoderOptions DecoderOptionsOf(const DetectorOptions& o) {
  DecoderOptions decoder;
  decoder.bev_channels = decoder.image_channels = o.width;
  decoder.queries = o.queries;
  decoder.view_layers = o.view_layers;
  decoder.joint_layers = o.joint_layers;
  decoder.view_agnostic = o.view_agnostic;
  decoder.layers.width = decoder.positions.width = o.width;
  decoder.layers.heads = o.heads;
  decoder.layers.hidden = decoder.positions.hidden = o.decoder_hidden;
  return decoder;
}

// Of anchors [N,3] in 0..1, the cells of a map: [N] i64, row * columns + column.
at::Tensor CellsOf(const at::Tensor& anchors, int64_t rows, int64_t columns) {
  const auto along = [&](int64_t axis, int64_t size) {
    return (anchors.select(1, axis) * size).to(at::kLong).clamp(0, size - 1);
  };
  return along(1, rows) * columns + along(0, columns);
}

// The pass as the device does it best.
DetectorPass On(const c10::Device& device, DetectorPass pass) {
  pass.bfloat16 = pass.bfloat16 && HasFastBfloat16(device);
  return pass;
}

// A map as convolutions take it.
at::Tensor At(const at::Tensor& map, const DetectorPass& pass) {
  return pass.bfloat16 ? map.to(at::kBFloat16) : map;
}

// Of points [N,3], the label of the box that holds them, the last one of several;
// kNumDetectionClasses for none.
at::Tensor LabelsAt(const at::Tensor& points, const at::Tensor& boxes, const at::Tensor& labels) {
  at::Tensor found = at::full({points.size(0)}, kNumDetectionClasses, at::kLong);
  for (int64_t b = 0; b < boxes.size(0); ++b) {
    const at::Tensor box = boxes[b];
    const at::Tensor at = points - box.slice(0, 0, 3);
    const at::Tensor c = box[6].cos(), s = box[6].sin();
    const at::Tensor in_box =
        at::stack({c * at.select(1, 0) + s * at.select(1, 1),
                   c * at.select(1, 1) - s * at.select(1, 0), at.select(1, 2)},
                  1)
            .abs()
            .le(box.slice(0, 3, 6) / 2)
            .all(1);
    found.masked_fill_(in_box, labels[b].item<int64_t>());
  }
  return found;
}

bool HasAnyCamera(const DetectionSample& sample) {
  return sample.has_camera.defined() && sample.has_camera.numel() > 0 &&
         sample.has_camera.any().item<bool>();
}

}  // namespace

Detector::Detector(const DetectorOptions& options, uint64_t seed, const c10::Device& device)
    : options_(options),
      grid_(options.Grid()),
      bins_{options.depth_low_m, (options.depth_high_m - options.depth_low_m) / options.depths,
            options.depths},
      parameters_(device),
      scope_{&parameters_, seed, ""},
      lidar_(scope_ / "lidar", grid_, LidarOptions(options)),
      camera_(scope_ / "camera", CameraOptions(options)),
      depth_hidden_(scope_ / "depth_hidden", options.width + 3, options.width),
      depth_(scope_ / "depth", options.width, options.depths, {.kernel = 1, .norm = false}),
      context_(scope_ / "context", options.width, options.lift_width, {.kernel = 1}),
      pixel_class_(scope_ / "pixel_class", options.width, kNumDetectionClasses + 1,
                   {.kernel = 1, .norm = false}),
      fold_(scope_ / "fold", options.lift_width * options.slices, options.width),
      fuse_bev_(scope_ / "fuse_bev", FusionOptions(options)),
      decoder_(scope_ / "decoder", grid_, DecoderOptionsOf(options)) {
  ATHANOR_CHECK(options.use_lidar || options.use_cameras,
                "detector: expected a LiDAR or cameras to look at, found neither");
  ATHANOR_CHECK(options.depth_low_m < options.depth_high_m, "detector: expected depth-low below ",
                "depth-high, found ", options.depth_low_m, " and ", options.depth_high_m);
  ATHANOR_CHECK(options.proposals <= options.queries, "detector: expected at most ",
                options.queries, " proposals, the number of queries, found ", options.proposals);
  if (options.proposals > 0) {
    heat_.emplace(scope_ / "heat", options.width);
    camera_heat_.emplace(scope_ / "camera_heat", options.width);
    place_ = Linear(scope_ / "proposal_place", options.width, options.width);
    name_ = Linear(scope_ / "proposal_class", kNumDetectionClasses, options.width, false);
    box_ = Mlp(scope_ / "proposal_box", {options.width, options.width, kBoxCode});
  }
  if (options.fuse_pv) fuse_pv_.emplace(scope_ / "fuse_pv", FusionOptions(options));
}

void Detector::CheckSample(const DetectionSample& sample) const {
  const at::Tensor& images = sample.images;
  ATHANOR_CHECK(!images.defined() || images.numel() == 0 ||
                    (images.dim() == 4 && images.size(2) == options_.image_height_px &&
                     images.size(3) == options_.image_width_px),
                "sample ", sample.id, ": expected pictures of ", options_.image_width_px, " x ",
                options_.image_height_px, ", found ", StrCat(images.sizes()));
}

CameraRig Detector::RigOf(const DetectionSample& sample) const {
  return {sample.camera_from_ego, sample.intrinsics, sample.has_camera, options_.image_height_px,
          options_.image_width_px};
}

PvGrid Detector::PvGridOf() const {
  return {options_.image_height_px / camera_.stride(), options_.image_width_px / camera_.stride(),
          camera_.stride()};
}

DepthBins Detector::BinsOf(const DetectionSample& sample) const {
  return {bins_.first_m * sample.world_scale, bins_.step_m * sample.world_scale, bins_.count};
}

PixelTruth Detector::PixelTruthOf(const DetectionSample& sample) const {
  const at::Tensor& points = sample.depth_points.defined() ? sample.depth_points : sample.points;
  const NearestPoints nearest = FindNearestPoints(RigOf(sample), PvGridOf(), points);
  const DepthBins bins = BinsOf(sample);
  const at::Tensor depths = ((nearest.depth - bins.first_m) / bins.step_m).floor().to(at::kLong);
  PixelTruth truth;
  truth.depths = depths.masked_fill(nearest.index.lt(0) | depths.lt(0) | depths.ge(bins.count), -1);
  truth.classes = nearest.index.clone();
  const at::Tensor index = nearest.index.flatten();
  const at::Tensor pixels = index.ge(0).nonzero().flatten();
  const at::Tensor x = points.slice(1, 0, 3).index_select(0, index.index_select(0, pixels));
  truth.classes.view({-1}).index_put_({pixels}, LabelsAt(x, sample.boxes, sample.labels));
  return truth;
}

ViewMaps Detector::Encode(const DetectionSample& sample, const DetectorPass& asked) const {
  CheckSample(sample);
  const DetectorPass pass = On(device(), asked);
  const bool with_lidar = options_.use_lidar && sample.has_lidar && !pass.cameras_alone;
  const bool with_cameras = options_.use_cameras && HasAnyCamera(sample);
  StageClock clock(times_, device());
  at::Tensor lidar_bev, lidar_pv, camera_pv, camera_bev;
  ViewMaps maps;
  if (with_lidar) {
    const LidarVoxels voxels = lidar_.Voxelize(sample.points);
    clock.Add(&DetectorTimes::voxels);
    lidar_bev = lidar_.Forward(voxels, pass.training,
                               pass.bfloat16 ? ConvPrecision::kBfloat16 : ConvPrecision::kFloat32);
    clock.Add(&DetectorTimes::lidar);
  }
  if (with_cameras) {
    camera_pv =
        camera_.Forward(sample.images.to(device()), pass.training, pass.bfloat16, pass.dropout);
    clock.Add(&DetectorTimes::cameras);
    const CameraRig rig = RigOf(sample);
    const PvGrid pv = PvGridOf();
    const at::Tensor hidden = at::relu(depth_hidden_.Forward(
        at::cat({camera_pv, ViewRays(rig, pv).to(device())}, 1), pass.training));
    maps.pixel_depth = depth_.Forward(hidden, pass.training);
    const at::Tensor context = at::relu(context_.Forward(camera_pv, pass.training));
    const LiftPlan plan =
        MakeLiftPlan(rig, pv, BinsOf(sample), grid_, options_.slices).To(device());
    const at::Tensor lifted = LiftToBev(context, at::softmax(maps.pixel_depth, 1), plan);
    camera_bev = at::relu(fold_.Forward(At(lifted.unsqueeze(0), pass), pass.training))
                     .squeeze(0)
                     .to(at::kFloat);
    if (pass.training) {
      maps.pixel_classes = pixel_class_.Forward(camera_pv, pass.training);
      if (camera_heat_) {
        maps.camera_heat =
            camera_heat_->Forward(At(camera_bev, pass), pass.training).to(at::kFloat);
      }
    }
    if (with_lidar && fuse_pv_) {
      const OccupiedColumns occupied =
          FindOccupiedColumns(sample.points, grid_, options_.voxel_height_m);
      lidar_pv = ProjectToPv(lidar_bev, MakePvPlan(rig, pv, grid_, occupied).To(device()));
    }
    clock.Add(&DetectorTimes::mappings);
  }
  if (pass.cameras_alone) return maps;
  maps.has_both = with_lidar && with_cameras;
  if (with_lidar || with_cameras)
    maps.bev = fuse_bev_.Forward(lidar_bev, camera_bev, pass.training, pass.bfloat16);
  if (with_cameras) {
    maps.pv =
        fuse_pv_ ? fuse_pv_->Forward(camera_pv, lidar_pv, pass.training, pass.bfloat16) : camera_pv;
  }
  clock.Add(&DetectorTimes::fusion);
  return maps;
}

DetectorOutputs Detector::Forward(const DetectionSample& sample, const DetectorPass& asked) const {
  const DetectorPass pass = On(device(), asked);
  const ViewMaps maps = Encode(sample, pass);
  StageClock clock(times_, device());
  DetectorOutputs outputs;
  outputs.maps = maps;
  if (pass.cameras_alone) return outputs;
  DecoderInputs inputs;
  inputs.bev = maps.bev;
  if (maps.bev.defined() && options_.bev_pool > 1) {
    inputs.bev = at::avg_pool2d(maps.bev.unsqueeze(0), {options_.bev_pool, options_.bev_pool}, {},
                                {0, 0}, /*ceil_mode=*/true, /*count_include_pad=*/false)
                     .squeeze(0);
  }
  inputs.images = maps.pv;
  inputs.camera_from_ego = sample.camera_from_ego;
  inputs.intrinsics = sample.intrinsics;
  inputs.has_camera = sample.has_camera;
  inputs.image_stride = camera_.stride();
  if (heat_ && maps.bev.defined()) {
    outputs.heat = heat_->Forward(At(maps.bev, pass), pass.training, !maps.has_both).to(at::kFloat);
    const HeatPeaks peaks = FindPeaks(outputs.heat, options_.proposals);
    const int64_t rows = maps.bev.size(1), columns = maps.bev.size(2);
    const at::Tensor cells = maps.bev.flatten(1).t();
    // Its own loss alone teaches the heat map.
    const at::Tensor logits = outputs.heat.detach().flatten(1).t();
    inputs.proposals = CellCenters(peaks.cells, rows, columns);
    const auto content = [&](const at::Tensor& where, const at::Tensor& labels) {
      return place_.Forward(cells.index_select(0, where)) +
             name_.Forward(at::one_hot(labels, kNumDetectionClasses).to(cells.scalar_type()));
    };
    inputs.proposal_content = content(peaks.cells, peaks.labels);
    if (pass.proposal_places.defined()) {
      const at::Tensor there = CellsOf(pass.proposal_places, rows, columns).to(device());
      outputs.proposal_codes =
          CodeOfHead(box_.Forward(content(there, pass.proposal_labels.to(device()))),
                     CellCenters(there, rows, columns), grid_, kProposalUnit_m);
    }
    // A cell that is a peak for several classes gives several proposals: each is for its own class,
    // or all of them would say the likeliest.
    const at::Tensor own = at::one_hot(peaks.labels, kNumDetectionClasses).to(at::kBool);
    inputs.proposal_logits = at::where(own, logits.index_select(0, peaks.cells),
                                       at::full({}, kPriorLogit, logits.options()));
    inputs.proposal_heads = box_.Forward(inputs.proposal_content);
    if (pass.denoising.size() > 0) {
      const at::Tensor there = CellsOf(pass.denoising.anchors, rows, columns).to(device());
      inputs.denoising_content = place_.Forward(cells.index_select(0, there));
      inputs.denoising_logits = logits.index_select(0, there);
      inputs.denoising_heads = box_.Forward(inputs.denoising_content);
    }
    clock.Add(&DetectorTimes::heat);
  }
  outputs.layers = decoder_.Forward(inputs, pass.denoising, pass.dropout);
  clock.Add(&DetectorTimes::decoder);
  return outputs;
}

std::vector<Detection> Detector::Detect(const DetectionSample& sample,
                                        const PredictionOptions& options, bool bfloat16) const {
  const at::NoGradGuard no_grad;
  DetectorPass pass;
  pass.bfloat16 = bfloat16;
  const DetectorOutputs outputs = Forward(sample, pass);
  StageClock clock(times_, device());
  std::vector<Detection> detections = ReadDetections(outputs.layers.back().queries, options);
  clock.Add(&DetectorTimes::boxes);
  return detections;
}

SafeTensors Detector::ToSafeTensors() const {
  SafeTensors file;
  parameters_.Save("", &file);
  DetectorOptions copy = options_;
  file.metadata["architecture"] = kArchitecture;
  file.metadata["options"] = Describe(copy).ToToml();
  return file;
}

std::unique_ptr<Detector> Detector::FromSafeTensors(const SafeTensors& file,
                                                    const std::string& where,
                                                    const c10::Device& device) {
  const auto architecture = file.metadata.find("architecture");
  const auto text = file.metadata.find("options");
  ATHANOR_CHECK(architecture != file.metadata.end() && architecture->second == kArchitecture &&
                    text != file.metadata.end(),
                where, ": expected weights of a detector, found a file of something else");
  DetectorOptions options;
  Describe(options).ParseToml(text->second, where + " (options)");
  auto detector = std::make_unique<Detector>(options, 0, device);
  detector->parameters_.Load("", file, where);
  return detector;
}

SafeTensors Detector::ExportOf(const SafeTensors& file, const std::string& where,
                               const std::string& precision) {
  const auto detector = FromSafeTensors(file, where);
  const std::map<std::string, at::Tensor> there(file.tensors.begin(), file.tensors.end());
  SafeTensors result = detector->ToSafeTensors();
  const at::ScalarType type = precision == "float16"    ? at::kHalf
                              : precision == "bfloat16" ? at::kBFloat16
                                                        : at::kFloat;
  for (auto& [name, tensor] : result.tensors) {
    if (const auto average = there.find("average." + name); average != there.end()) {
      tensor = average->second;
    }
    if (tensor.is_floating_point()) tensor = tensor.to(type);
  }
  return result;
}

}  // namespace athanor
