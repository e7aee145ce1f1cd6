// ProFusion3D's decoder: queries look at the bird's-eye view and at the camera views apart, and
// then at both together (Mohan, Cattaneo, Drews and Valada, "Progressive Multi-Modal Fusion for
// Robust 3D Object Detection", CoRL 2024, section 3.1). A re-implementation from the paper's text.
//
//   anchors -> Q0 -> 2 layers on BEV features ---> Q_bev \                      both sets of
//   queries
//              Q0 -> 2 layers on camera features -> Q_pv  -> 2 layers on both -> (2 Q) -> boxes
//
// Where the paper is silent: Q0 is both what queries hold at first and the position that attention
// compares beside it; boxes are said relative to the anchors after every layer, and the anchors of
// the second copy are those of the first; layers normalise after each step, as DETR's do.
#pragma once

#include <ATen/core/Generator.h>
#include <ATen/core/Tensor.h>

#include <cstdint>
#include <string>
#include <vector>

#include "athanor/detection/profusion3d/bev_grid.h"
#include "athanor/detection/profusion3d/decoder_layer.h"
#include "athanor/detection/profusion3d/denoising.h"
#include "athanor/detection/profusion3d/position_encoding.h"
#include "athanor/nn/dense_layers.h"

namespace athanor {

// Metres that a head's offset of 1 leads from the anchor of a proposal (CodeOfHead). Proposals lie
// on their objects, learnt places anywhere.
inline constexpr double kProposalUnit_m = 2;

struct DecoderOptions {
  int64_t bev_channels = 128, image_channels = 128;  // of the feature maps
  int64_t queries = 300;
  int view_layers = 2, joint_layers = 2;
  // The paper's ablation: one set of queries, view_layers + joint_layers layers that see both
  // views.
  bool view_agnostic = false;
  DecoderLayerOptions layers;
  PositionEncodingOptions positions;  // of the width of the layers
};

struct DecoderInputs {
  at::Tensor bev;     // [bev_channels,rows,columns] over the grid's range; undefined: none
  at::Tensor images;  // [C,image_channels,h,w]; undefined: none
  // Used with images only; as in DetectionSample.
  at::Tensor camera_from_ego, intrinsics;
  at::Tensor has_camera;    // undefined: all are there
  double image_stride = 8;  // image pixels per pixel of `images`
  // The first P queries, when they do not begin at learnt places: [P,3] in 0..1, and what they hold
  // beside their position, [P,width]; what classes and boxes they are taken for (QuerySet).
  at::Tensor proposals, proposal_content, proposal_logits, proposal_heads;
  // The same of the denoising queries; with proposals only.
  at::Tensor denoising_content, denoising_logits, denoising_heads;
};

struct LayerOutputs {
  std::string name;      // "bev.0", "pv.1", "joint.0"
  HeadOutputs queries;   // Q rows, or 2 Q after a joint layer
  HeadOutputs denoised;  // of the denoising queries, in their order, once or twice; undefined: none
};

class QueryDecoder {
 public:
  // Throws Error when the widths of `positions` and `layers` differ.
  QueryDecoder(const LayerScope& scope, const BevGrid& grid, const DecoderOptions& options);

  // The outputs after each layer, the final ones last. A view that is missing (undefined, or
  // without one camera that is there) leaves its queries as they are and says nothing about them;
  // with both missing the joint layers pass queries on, too. Feature maps may be bfloat16; what
  // follows their first linear layer is float32. `dropout`: see DecoderLayer.
  std::vector<LayerOutputs> Forward(const DecoderInputs& inputs,
                                    const DenoisingQueries& denoising = {},
                                    at::Generator* dropout = nullptr) const;

 private:
  struct Stage {
    std::string name;
    std::vector<DecoderLayer> layers;
    std::vector<DetectionHeads> heads;
  };
  Stage MakeStage(const LayerScope& scope, const std::string& name, int layers) const;
  FeatureSet BevFeatures(const DecoderInputs& inputs) const;
  FeatureSet ImageFeatures(const DecoderInputs& inputs) const;
  void Run(const Stage& stage, const FeatureSet& features, int64_t copies, at::Generator* dropout,
           QuerySet* queries, std::vector<LayerOutputs>* outputs) const;

  BevGrid grid_;
  DecoderOptions options_;
  Linear bev_in_, image_in_;  // 1x1 convolutions
  BevPositions bev_positions_;
  ImagePositions image_positions_;
  AnchorQueries queries_;
  Stage bev_, pv_, joint_;
};

}  // namespace athanor
