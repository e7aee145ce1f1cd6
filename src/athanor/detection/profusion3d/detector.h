// ProFusion3D: objects in 3D from a LiDAR and cameras, or from what is left of them. A
// re-implementation from the text of Mohan, Cattaneo, Drews and Valada, "Progressive Multi-Modal
// Fusion for Robust 3D Object Detection", CoRL 2024 (arXiv 2410.07475); no code of it is public.
//
//   LiDAR --> bird's-eye view (BEV) ---> fused with what cameras see, in BEV ---.
//                |        ^                                                      decoder --> boxes
//                v        |                                                      |
//   cameras -> perspective view (PV) --> fused with what the LiDAR sees, in PV --'
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "athanor/detection/profusion3d/camera_encoder.h"
#include "athanor/detection/profusion3d/decoder.h"
#include "athanor/detection/profusion3d/detector_options.h"
#include "athanor/detection/profusion3d/heat_map.h"
#include "athanor/detection/profusion3d/intra_inter_fusion.h"
#include "athanor/detection/profusion3d/lidar_encoder.h"
#include "athanor/detection/profusion3d/predictions.h"
#include "athanor/detection/profusion3d/sample.h"
#include "athanor/detection/profusion3d/view_mapping.h"
#include "athanor/nn/safetensors.h"

namespace athanor {

// How a pass runs.
struct DetectorPass {
  bool training = false;  // batch statistics, which the running ones follow
  // Networks of the cameras and of the voxels compute in bfloat16, where that is fast
  // (nn/fast_bfloat16.h).
  bool bfloat16 = false;
  // No more than what teaches cameras by themselves (ViewMaps): no LiDAR, no fusion, no queries.
  bool cameras_alone = false;
  DenoisingQueries denoising;
  at::Generator* dropout = nullptr;  // of the decoder, and of paths; null: nothing is dropped
  // Places [T,3] in 0..1 of the grid's range, and classes [T] i64, for which proposals are to say
  // their box, as if the heat map had its peaks there.
  at::Tensor proposal_places, proposal_labels;
};

// Maps of both views; undefined where no sensor says anything.
struct ViewMaps {
  at::Tensor bev;  // [width,rows,columns]
  at::Tensor pv;   // [C,width,h,w]
  // What teaches the cameras by themselves: of the pixels of `pv`, logits of their bins of depth
  // [C,depths,h,w], and in training of what they show [C,classes+1,h,w], the last nothing of
  // these; HeatHead of what cameras alone say [classes,rows,columns].
  at::Tensor pixel_depth, pixel_classes, camera_heat;
  bool has_both = false;  // LiDAR and cameras have had their say
};

struct DetectorOutputs {
  std::vector<LayerOutputs> layers;  // of the decoder, the final ones last
  at::Tensor heat;            // [classes,rows,columns], logits of HeatHead; undefined without it
  at::Tensor proposal_codes;  // [T,10] (box_code.h) for the pass's places; undefined without `heat`
  ViewMaps maps;
};

// [C,h,w] i64 each, -1 where no point is.
struct PixelTruth {
  at::Tensor depths;   // bins of depth, -1 also beyond them
  at::Tensor classes;  // into kDetectionClasses; kNumDetectionClasses: none of these
};

// Seconds of the stages of passes, added up.
struct DetectorTimes {
  double voxels = 0, lidar = 0, cameras = 0, mappings = 0, fusion = 0, heat = 0, decoder = 0,
         boxes = 0;
  double total() const {
    return voxels + lidar + cameras + mappings + fusion + heat + decoder + boxes;
  }
};

class Detector {
 public:
  // Throws Error for options that do not fit together.
  Detector(const DetectorOptions& options, uint64_t seed, const c10::Device& device = c10::kCPU);
  Detector(const Detector&) = delete;
  Detector& operator=(const Detector&) = delete;

  const DetectorOptions& options() const { return options_; }
  const BevGrid& grid() const { return grid_; }
  Parameters& parameters() { return parameters_; }
  const Parameters& parameters() const { return parameters_; }

  // Where it computes, and what it returns lies; samples and passes are on the CPU.
  const c10::Device& device() const { return parameters_.device(); }

  // What both sensors say, in both views. A sensor that the sample lacks, or the options leave out,
  // is replaced by what was learned for its absence. Throws Error (sample) for shapes other than
  // the options'.
  ViewMaps Encode(const DetectionSample& sample, const DetectorPass& pass) const;
  DetectorOutputs Forward(const DetectionSample& sample, const DetectorPass& pass) const;
  // What the pixels of ViewMaps show, as far as the nearest LiDAR point there says.
  PixelTruth PixelTruthOf(const DetectionSample& sample) const;
  // The objects of a sample, best first. Without gradients.
  std::vector<Detection> Detect(const DetectionSample& sample, const PredictionOptions& options,
                                bool bfloat16 = false) const;

  // Adds the times of passes to `times` from now on; null: no longer. Not thread-safe.
  void Measure(DetectorTimes* times) { times_ = times; }

  // Weights, with the options in the metadata.
  SafeTensors ToSafeTensors() const;
  // Throws Error, naming `where`, for a file of something else, or damaged.
  static std::unique_ptr<Detector> FromSafeTensors(const SafeTensors& file,
                                                   const std::string& where,
                                                   const c10::Device& device = c10::kCPU);
  // What FromSafeTensors takes, out of weights or a checkpoint of a training, of which it is the
  // averages; floating-point numbers as "float32", "float16" or "bfloat16".
  static SafeTensors ExportOf(const SafeTensors& file, const std::string& where,
                              const std::string& precision);

 private:
  CameraRig RigOf(const DetectionSample& sample) const;
  PvGrid PvGridOf() const;
  DepthBins BinsOf(const DetectionSample& sample) const;
  void CheckSample(const DetectionSample& sample) const;

  DetectorOptions options_;
  BevGrid grid_;
  DepthBins bins_;
  Parameters parameters_;
  LayerScope scope_;
  LidarEncoder lidar_;
  CameraEncoder camera_;
  // Of camera maps: how far their pixels are, seen together with ViewRays; what goes to the BEV.
  Convolution2d depth_hidden_, depth_, context_;
  Convolution2d pixel_class_;  // and what they show: in training
  Convolution2d fold_;         // of the lifted volume, its height folded into channels
  IntraInterFusion fuse_bev_;
  std::optional<IntraInterFusion> fuse_pv_;
  std::optional<HeatHead> heat_, camera_heat_;
  Linear place_, name_;  // what a proposal holds: of the map where it is, and of its class
  Mlp box_;              // its box, from this, which the decoder's heads then change
  QueryDecoder decoder_;
  DetectorTimes* times_ = nullptr;
};

}  // namespace athanor
