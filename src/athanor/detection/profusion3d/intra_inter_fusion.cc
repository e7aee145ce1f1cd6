#include "athanor/detection/profusion3d/intra_inter_fusion.h"

#include <ATen/ATen.h>

#include <string>

#include "athanor/base/error.h"

namespace athanor {
namespace {

// [B,C,H,W] to [B,H,W,C] and back, without a copy where memory is channels last.
at::Tensor ChannelsLast(const at::Tensor& map) { return map.permute({0, 2, 3, 1}).contiguous(); }
at::Tensor ChannelsFirst(const at::Tensor& map) { return map.permute({0, 3, 1, 2}); }

void CheckMap(const at::Tensor& map, const char* name, int64_t width) {
  ATHANOR_CHECK((map.dim() == 3 || map.dim() == 4) && map.size(-3) == width, "fusion: expected ",
                name, " as [", width, ",H,W] or [B,", width, ",H,W], found ", map.sizes());
}

std::vector<WindowStep> MakeSteps(const LayerScope& scope, const IntraInterFusionOptions& options,
                                  int64_t context_width, const std::vector<int>& shifts) {
  std::vector<WindowStep> steps;
  for (size_t i = 0; i < shifts.size(); ++i) {
    steps.emplace_back(scope / std::to_string(i), options, context_width, shifts[i]);
  }
  return steps;
}

at::Tensor RunSteps(const std::vector<WindowStep>& steps, at::Tensor x, const at::Tensor& context) {
  for (const WindowStep& step : steps) x = step.Forward(x, context);
  return x;
}

}  // namespace

WindowStep::WindowStep(const LayerScope& scope, const IntraInterFusionOptions& options,
                       int64_t context_width, int shift)
    : attention_norm_(scope / "attention_norm", options.width),
      perceptron_norm_(scope / "perceptron_norm", options.width),
      attention_(scope / "attention", options.width, context_width,
                 {options.window, options.heads, shift, shift}),
      perceptron_(scope / "perceptron",
                  {options.width, options.feed_forward * options.width, options.width}) {}

at::Tensor WindowStep::Forward(const at::Tensor& x, const at::Tensor& context) const {
  const at::Tensor met = x + attention_.Forward(attention_norm_.Forward(x), context);
  return met + perceptron_.Forward(perceptron_norm_.Forward(met));
}

IntraInterFusion::IntraInterFusion(const LayerScope& scope, const IntraInterFusionOptions& options)
    : options_(options) {
  const int64_t width = options.width;
  // As large as a normalised feature.
  missing_intra_ = scope.Normal("missing_intra", {width}, 1);
  missing_inter_ = scope.Normal("missing_inter", {width}, 1);
  if (options.variant == FusionVariant::kConcat) {
    out_ = Convolution2d(scope / "out", 2 * width, width);
    return;
  }
  intra_norm_ = LayerNorm(scope / "intra_norm", width);
  inter_norm_ = LayerNorm(scope / "inter_norm", width);
  const std::vector<int> unit = {0, options.window / 2};
  switch (options.variant) {
    case FusionVariant::kConcat:
      break;
    case FusionVariant::kSelfThenCross:
      first_ = MakeSteps(scope / "self", options, width, {0});
      second_ = MakeSteps(scope / "cross", options, width, {0});
      break;
    case FusionVariant::kWindowedUnits:
      first_ = MakeSteps(scope / "self", options, width, unit);
      second_ = MakeSteps(scope / "cross", options, width, unit);
      break;
    case FusionVariant::kFull:
      convolutions_ = {Convolution2d(scope / "convolution0", 2 * width, width),
                       Convolution2d(scope / "convolution1", width, width)};
      second_ = MakeSteps(scope / "unit2", options, width, unit);
      if (options.project) {
        out_ = Convolution2d(scope / "out", 2 * width, width, {.kernel = 1, .norm = false});
      }
      [[fallthrough]];
    case FusionVariant::kIntraInterUnit:
      first_ = MakeSteps(scope / "unit1", options, 2 * width, unit);
      break;
  }
}

int64_t IntraInterFusion::out_width() const {
  const bool both = options_.variant == FusionVariant::kFull && !options_.project;
  return both ? 2 * options_.width : options_.width;
}

at::Tensor IntraInterFusion::Forward(const at::Tensor& intra, const at::Tensor& inter,
                                     bool training, bool bfloat16) const {
  const at::Tensor& present = intra.defined() ? intra : inter;
  ATHANOR_CHECK(present.defined(), "fusion: expected a map, found intra and inter undefined");
  CheckMap(present, intra.defined() ? "intra" : "inter", options_.width);
  if (intra.defined() && inter.defined()) {
    ATHANOR_CHECK(inter.sizes() == intra.sizes() && inter.scalar_type() == intra.scalar_type(),
                  "fusion: expected inter as intra is, ", intra.scalar_type(), " ", intra.sizes(),
                  ", found ", inter.scalar_type(), " ", inter.sizes());
  }
  const bool single = present.dim() == 3;
  const auto take = [&](const at::Tensor& map, const at::Tensor& missing) {
    if (map.defined()) return ChannelsLast(single ? map.unsqueeze(0) : map);
    const at::Tensor like = single ? present.unsqueeze(0) : present;
    return missing.to(like.scalar_type())
        .expand({like.size(0), like.size(2), like.size(3), options_.width})
        .contiguous();
  };
  const at::Tensor other = take(inter, missing_inter_);
  // What asks is otherwise the same everywhere.
  const at::Tensor x = intra.defined() ? take(intra, missing_intra_)
                                       : other + missing_intra_.to(other.scalar_type());
  const auto finish = [&](const at::Tensor& map) { return single ? map.squeeze(0) : map; };
  const auto convolve = [&](const Convolution2d& layer, const at::Tensor& map) {
    const bool both = intra.defined() && inter.defined();
    return both ? layer.Forward(map, training) : layer.ForwardByBatch(map);
  };
  if (options_.variant == FusionVariant::kConcat) {
    return finish(at::relu(convolve(out_, ChannelsFirst(at::cat({x, other}, -1)))));
  }
  const at::Tensor own = intra_norm_.Forward(x), mapped = inter_norm_.Forward(other);
  if (options_.variant == FusionVariant::kSelfThenCross ||
      options_.variant == FusionVariant::kWindowedUnits) {
    return finish(ChannelsFirst(RunSteps(second_, RunSteps(first_, x, own), mapped)));
  }
  const at::Tensor both = at::cat({own, mapped}, -1);
  const at::Tensor local = RunSteps(first_, x, both);
  if (options_.variant == FusionVariant::kIntraInterUnit) return finish(ChannelsFirst(local));
  at::Tensor around = ChannelsFirst(both);
  if (bfloat16) around = around.to(at::kBFloat16);
  for (const Convolution2d& layer : convolutions_) {
    around = at::relu(convolve(layer, around));
  }
  const at::Tensor wide = RunSteps(second_, x, ChannelsLast(around).to(x.scalar_type()));
  const at::Tensor result = ChannelsFirst(at::cat({local, wide}, -1));
  return finish(options_.project ? out_.Forward(result, training) : result);
}

}  // namespace athanor
