#include "athanor/detection/profusion3d/decoder.h"

#include <ATen/ATen.h>

#include <utility>

#include "athanor/base/error.h"
#include "athanor/detection/profusion3d/box_code.h"
#include "athanor/detection/profusion3d/sample.h"

namespace athanor {
namespace {

// Features with their positions, both [M,width]. Half precision ends here.
FeatureSet Place(const at::Tensor& features, const at::Tensor& positions) {
  const at::Tensor values = features.to(positions.scalar_type());
  return {values + positions, values};
}

FeatureSet Join(const FeatureSet& a, const FeatureSet& b) {
  if (!a.keys.defined()) return b;
  if (!b.keys.defined()) return a;
  return {at::cat({a.keys, b.keys}), at::cat({a.values, b.values})};
}

// Of rows that are `copies` times (queries, denoising queries): either of them, all copies.
HeadOutputs Rows(const HeadOutputs& outputs, int64_t copies, int64_t begin, int64_t end) {
  const auto take = [&](const at::Tensor& x) {
    return x.view({copies, -1, x.size(1)}).slice(1, begin, end).flatten(0, 1);
  };
  return {take(outputs.logits), take(outputs.codes), take(outputs.attributes)};
}

}  // namespace

QueryDecoder::QueryDecoder(const LayerScope& scope, const BevGrid& grid,
                           const DecoderOptions& options)
    : grid_(grid),
      options_(options),
      bev_in_(scope / "bev_in", options.bev_channels, options.layers.width),
      image_in_(scope / "pv_in", options.image_channels, options.layers.width),
      bev_positions_(scope / "bev_positions", options.positions),
      image_positions_(scope / "pv_positions", grid, options.positions),
      queries_(scope / "query", options.queries, options.positions) {
  ATHANOR_CHECK(options.positions.width == options.layers.width,
                "decoder: expected positions of the layers' width, ", options.layers.width,
                ", found ", options.positions.width);
  ATHANOR_CHECK(options.queries > 0 && options.joint_layers > 0 && options.view_layers >= 0,
                "decoder: expected queries and joint layers, found ", options.queries, " and ",
                options.joint_layers);
  if (options.view_agnostic) {
    joint_ = MakeStage(scope, "joint", options.view_layers + options.joint_layers);
    return;
  }
  bev_ = MakeStage(scope, "bev", options.view_layers);
  pv_ = MakeStage(scope, "pv", options.view_layers);
  joint_ = MakeStage(scope, "joint", options.joint_layers);
}

QueryDecoder::Stage QueryDecoder::MakeStage(const LayerScope& scope, const std::string& name,
                                            int layers) const {
  Stage stage = {.name = name};
  for (int i = 0; i < layers; ++i) {
    const LayerScope layer = scope / name / std::to_string(i);
    stage.layers.emplace_back(layer, options_.layers);
    stage.heads.emplace_back(layer / "heads", options_.layers.width);
  }
  return stage;
}

FeatureSet QueryDecoder::BevFeatures(const DecoderInputs& inputs) const {
  const at::Tensor& map = inputs.bev;
  if (!map.defined()) return {};
  ATHANOR_CHECK(map.dim() == 3 && map.size(0) == options_.bev_channels,
                "decoder: expected a BEV map [", options_.bev_channels, ",rows,columns], found ",
                map.sizes());
  const at::Tensor positions = bev_positions_.Forward(map.size(1), map.size(2), map.device());
  return Place(bev_in_.Forward(map.flatten(1).t()), positions.flatten(1).t());
}

FeatureSet QueryDecoder::ImageFeatures(const DecoderInputs& inputs) const {
  if (!inputs.images.defined()) return {};
  const int64_t channels = options_.image_channels;
  ATHANOR_CHECK(inputs.images.dim() == 4 && inputs.images.size(1) == channels,
                "decoder: expected camera maps [C,", channels, ",h,w], found ",
                inputs.images.sizes());
  ATHANOR_CHECK(inputs.camera_from_ego.defined() && inputs.intrinsics.defined() &&
                    inputs.camera_from_ego.size(0) == inputs.images.size(0),
                "decoder: expected a calibration for each of ", inputs.images.size(0),
                " camera maps");
  at::Tensor maps = inputs.images, poses = inputs.camera_from_ego, lenses = inputs.intrinsics;
  if (inputs.has_camera.defined()) {
    const at::Tensor there = inputs.has_camera.ne(0).nonzero().flatten();
    maps = maps.index_select(0, there.to(maps.device()));
    poses = poses.index_select(0, there), lenses = lenses.index_select(0, there);
  }
  if (maps.size(0) == 0) return {};
  const at::Tensor positions =
      image_positions_.Forward(poses, lenses, maps.size(2), maps.size(3), inputs.image_stride);
  const auto flat = [](const at::Tensor& x) {
    return x.permute({0, 2, 3, 1}).reshape({-1, x.size(1)});
  };
  return Place(image_in_.Forward(flat(maps)), flat(positions));
}

void QueryDecoder::Run(const Stage& stage, const FeatureSet& features, int64_t copies,
                       at::Generator* dropout, QuerySet* queries,
                       std::vector<LayerOutputs>* outputs) const {
  const int64_t rows = queries->content.size(0) / copies;
  for (size_t i = 0; i < stage.layers.size(); ++i) {
    if (features.keys.defined()) {
      queries->content = stage.layers[i].Forward(*queries, features, dropout);
    }
    const HeadOutputs all = stage.heads[i].Forward(*queries, grid_);
    LayerOutputs layer = {.name = stage.name + "." + std::to_string(i)};
    layer.queries = Rows(all, copies, 0, options_.queries);
    if (rows > options_.queries) layer.denoised = Rows(all, copies, options_.queries, rows);
    outputs->push_back(std::move(layer));
  }
}

std::vector<LayerOutputs> QueryDecoder::Forward(const DecoderInputs& inputs,
                                                const DenoisingQueries& denoising,
                                                at::Generator* dropout) const {
  const FeatureSet bev = BevFeatures(inputs), images = ImageFeatures(inputs);
  QuerySet first;
  first.anchors = queries_.Anchors();
  at::Tensor content;  // beside positions; undefined: nothing
  if (inputs.proposals.defined()) {
    const int64_t count = inputs.proposals.size(0), rest = options_.queries - count;
    ATHANOR_CHECK(rest >= 0, "decoder: expected at most ", options_.queries, " proposals, found ",
                  count);
    first.anchors = at::cat({inputs.proposals, first.anchors.slice(0, count)});
    first.offset_unit_m = kProposalUnit_m;
    const at::TensorOptions like = inputs.proposal_logits.options();
    content = at::cat({inputs.proposal_content, at::zeros({rest, options_.layers.width}, like)});
    first.prior = at::cat(
        {inputs.proposal_logits, at::full({rest, kNumDetectionClasses}, kPriorLogit, like)});
    first.prior_head = at::cat({inputs.proposal_heads, at::zeros({rest, kBoxCode}, like)});
  }
  at::Tensor groups;
  if (denoising.size() > 0) {
    const c10::Device device = first.anchors.device();
    first.anchors = at::cat({first.anchors, denoising.anchors.to(device)});
    groups = at::cat({at::full({options_.queries}, -1, at::kLong), denoising.groups}).to(device);
    first.allowed = GroupMask(groups);
    if (content.defined()) {
      content = at::cat({content, inputs.denoising_content});
      first.prior = at::cat({first.prior, inputs.denoising_logits});
      first.prior_head = at::cat({first.prior_head, inputs.denoising_heads});
    }
  }
  first.position = queries_.Embed(first.anchors);
  first.content = content.defined() ? first.position + content : first.position;

  std::vector<LayerOutputs> outputs;
  if (options_.view_agnostic) {
    Run(joint_, Join(bev, images), 1, dropout, &first, &outputs);
    return outputs;
  }
  QuerySet second = first;
  if (bev.keys.defined()) Run(bev_, bev, 1, dropout, &first, &outputs);
  if (images.keys.defined()) Run(pv_, images, 1, dropout, &second, &outputs);
  QuerySet both;
  both.content = at::cat({first.content, second.content});
  both.position = at::cat({first.position, first.position});
  both.anchors = at::cat({first.anchors, first.anchors});
  both.offset_unit_m = first.offset_unit_m;
  if (first.prior.defined()) {
    // Two queries for one place: the second has to find a reason.
    both.prior = at::cat({first.prior, at::full_like(first.prior, kPriorLogit)});
    both.prior_head = at::cat({first.prior_head, first.prior_head});
  }
  if (groups.defined()) both.allowed = GroupMask(at::cat({groups, groups}));
  Run(joint_, Join(bev, images), 2, dropout, &both, &outputs);
  return outputs;
}

}  // namespace athanor
