// A layer of a DETR decoder (Carion et al., ECCV 2020) and the heads that read boxes off its
// queries.
#pragma once

#include <ATen/core/Generator.h>
#include <ATen/core/Tensor.h>

#include <cstdint>

#include "athanor/detection/profusion3d/attention.h"
#include "athanor/detection/profusion3d/bev_grid.h"
#include "athanor/nn/dense_layers.h"

namespace athanor {

struct DecoderLayerOptions {
  int64_t width = 128, heads = 8, hidden = 512;
  double dropout =
      0.1;  // of what each of the three steps adds, and of the perceptron's hidden layer
};

// What queries look at: features as values, features with their positions as keys, [M,width] each;
// undefined when there are none.
struct FeatureSet {
  at::Tensor keys, values;
};

struct QuerySet {
  at::Tensor content;   // [N,width], what layers change
  at::Tensor position;  // [N,width], what attention compares beside it
  at::Tensor anchors;   // [N,3] in 0..1
  at::Tensor allowed;   // [N,N] bool, which queries see which; undefined: all
  // What heads add to: logits of classes [N,classes], undefined: kPriorLogit; and what a box head
  // would say (box_code.h) [N,10], undefined: 0.
  at::Tensor prior, prior_head;
  double offset_unit_m = 15;  // CodeOfHead's
};

// A class is as likely as 0.01 where nothing is known (Lin et al., ICCV 2017).
inline constexpr double kPriorLogit = -4.595;

// Attention among queries, attention to features, perceptron; each is added to what it got, and
// normalised.
class DecoderLayer {
 public:
  DecoderLayer() = default;
  DecoderLayer(const LayerScope& scope, const DecoderLayerOptions& options);
  // The content of the queries after the layer, [N,width]. `dropout`: what decides what is dropped;
  // null: nothing is.
  at::Tensor Forward(const QuerySet& queries, const FeatureSet& features,
                     at::Generator* dropout) const;

 private:
  double dropout_ = 0;
  MultiHeadAttention among_, across_;
  Linear expand_, shrink_;
  LayerNorm among_norm_, across_norm_, perceptron_norm_;
};

// What is said about N queries. Float32.
struct HeadOutputs {
  at::Tensor logits;      // [N,classes], one sigmoid per class of kDetectionClasses
  at::Tensor codes;       // [N,10], of box_code.h
  at::Tensor attributes;  // [N,8], logits over kNuscenesAttributeNames
};

class DetectionHeads {
 public:
  DetectionHeads() = default;
  // Classes are as likely as their priors at first, and boxes lie at their anchors.
  DetectionHeads(const LayerScope& scope, int64_t width);
  HeadOutputs Forward(const QuerySet& queries, const BevGrid& grid) const;

 private:
  Linear class_hidden_, class_out_, box_out_;
  LayerNorm class_norm_;
  Mlp box_hidden_, attributes_;
};

}  // namespace athanor
