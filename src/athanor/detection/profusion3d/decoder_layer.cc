#include "athanor/detection/profusion3d/decoder_layer.h"

#include <ATen/ATen.h>

#include <cmath>

#include "athanor/detection/profusion3d/attributes.h"
#include "athanor/detection/profusion3d/box_code.h"
#include "athanor/detection/profusion3d/sample.h"

namespace athanor {
namespace {

constexpr double kFirstScale = 0.1;  // of weights, so that what is said at first changes little

at::Tensor Drop(const at::Tensor& x, double part, at::Generator* generator) {
  if (generator == nullptr || part <= 0) return x;
  // The same on every device.
  const at::Tensor kept = at::empty(x.sizes(), at::kFloat).bernoulli_(1 - part, *generator);
  return x * kept.to(x.options().requires_grad(false)) / (1 - part);
}

}  // namespace

DecoderLayer::DecoderLayer(const LayerScope& scope, const DecoderLayerOptions& options)
    : dropout_(options.dropout),
      among_(scope / "among", options.width, options.heads),
      across_(scope / "across", options.width, options.heads),
      expand_(scope / "expand", options.width, options.hidden),
      shrink_(scope / "shrink", options.hidden, options.width),
      among_norm_(scope / "among_norm", options.width),
      across_norm_(scope / "across_norm", options.width),
      perceptron_norm_(scope / "perceptron_norm", options.width) {}

at::Tensor DecoderLayer::Forward(const QuerySet& queries, const FeatureSet& features,
                                 at::Generator* dropout) const {
  const auto add = [&](const at::Tensor& x, const at::Tensor& change, const LayerNorm& norm) {
    return norm.Forward(x + Drop(change, dropout_, dropout));
  };
  at::Tensor x = queries.content;
  const at::Tensor placed = x + queries.position;
  x = add(x, among_.Forward(placed, placed, x, queries.allowed), among_norm_);
  x = add(x, across_.Forward(x + queries.position, features.keys, features.values), across_norm_);
  const at::Tensor hidden = Drop(at::relu(expand_.Forward(x)), dropout_, dropout);
  return add(x, shrink_.Forward(hidden), perceptron_norm_);
}

DetectionHeads::DetectionHeads(const LayerScope& scope, int64_t width)
    : class_hidden_(scope / "class_hidden", width, width),
      class_out_(scope / "class", width, kNumDetectionClasses),
      box_out_(scope / "box", width, kBoxCode),
      class_norm_(scope / "class_norm", width),
      box_hidden_(scope / "box_hidden", {width, width, width}),
      attributes_(scope / "attribute", {width, width, kNumAttributes}) {
  const at::NoGradGuard no_gradient;
  for (const char* name : {"class.weight", "box.weight"}) {
    scope.parameters->Get(scope.prefix + name).mul_(kFirstScale);
  }
}

HeadOutputs DetectionHeads::Forward(const QuerySet& queries, const BevGrid& grid) const {
  const at::Tensor& x = queries.content;
  HeadOutputs outputs;
  const at::Tensor change =
      class_out_.Forward(at::relu(class_norm_.Forward(class_hidden_.Forward(x))));
  outputs.logits = queries.prior.defined() ? queries.prior + change : change + kPriorLogit;
  at::Tensor head = box_out_.Forward(at::relu(box_hidden_.Forward(x)));
  if (queries.prior_head.defined()) head = queries.prior_head + head;
  outputs.codes = CodeOfHead(head, queries.anchors, grid, queries.offset_unit_m);
  outputs.attributes = attributes_.Forward(x);
  return outputs;
}

}  // namespace athanor
