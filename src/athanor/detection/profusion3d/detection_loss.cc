#include "athanor/detection/profusion3d/detection_loss.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <limits>
#include <string>

#include "athanor/base/error.h"
#include "athanor/detection/profusion3d/attributes.h"
#include "athanor/detection/profusion3d/box_code.h"
#include "athanor/detection/profusion3d/sample.h"

namespace athanor {
namespace {

constexpr double kExcluded = -1e9;  // a logit that takes no part

// The truth as the loss reads it, of the type of the outputs.
struct Targets {
  at::Tensor codes;       // [B,10], zeros where not known
  at::Tensor known;       // [B,10], 1 or 0
  at::Tensor labels;      // [B] i64
  at::Tensor attributes;  // [B] i64, -1 where there is nothing to learn
  at::Tensor excluded;    // [B,8] bool: attributes that the class has not
};

// Rows of outputs that stand for boxes.
struct Pairs {
  at::Tensor rows, boxes;  // [P] i64
};

void CheckFinite(const HeadOutputs& outputs, const std::string& where) {
  const auto check = [&](const at::Tensor& x, const char* what) {
    const at::Tensor finite = x.detach().isfinite();
    if (finite.all().item<bool>()) return;
    const at::Tensor place = finite.logical_not().nonzero()[0];
    const int64_t query = place[0].item<int64_t>(), column = place[1].item<int64_t>();
    throw Error(StrCat("detection loss, layer ", where, ": expected finite ", what, ", found ",
                       x.detach()[query][column].item<double>(), " at query ", query, ", column ",
                       column));
  };
  check(outputs.logits, "class logits");
  check(outputs.codes, "box codes");
  check(outputs.attributes, "attribute logits");
}

Targets MakeTargets(const DetectionTruth& truth, const at::TensorOptions& options) {
  ATHANOR_CHECK(truth.boxes.defined() && truth.labels.defined(),
                "detection loss: expected boxes [B,9] and labels [B], found none");
  const at::Tensor codes = EncodeBoxes(truth.boxes).to(options);
  const int64_t count = codes.size(0);
  Targets targets;
  targets.known = codes.isnan().logical_not().to(options);
  targets.codes = codes.nan_to_num(0);
  targets.labels = truth.labels.to(at::kCPU, at::kLong).contiguous();
  ATHANOR_CHECK(targets.labels.sizes() == at::IntArrayRef({count}), "detection loss: expected ",
                count, " labels, found ", targets.labels.sizes());
  ATHANOR_CHECK(!truth.attributes.defined() || truth.attributes.sizes() == at::IntArrayRef({count}),
                "detection loss: expected ", count, " attributes");
  targets.attributes = truth.attributes.defined()
                           ? truth.attributes.to(at::kCPU, at::kLong, false, true).contiguous()
                           : at::full({count}, -1, at::kLong);
  targets.excluded = at::ones({count, kNumAttributes}, at::kBool);
  auto labels = targets.labels.accessor<int64_t, 1>();
  auto attributes = targets.attributes.accessor<int64_t, 1>();
  for (int64_t i = 0; i < count; ++i) {
    ATHANOR_CHECK(labels[i] >= 0 && labels[i] < kNumDetectionClasses, "detection loss: box ", i,
                  ": expected a class 0..", kNumDetectionClasses - 1, ", found ", labels[i]);
    const AttributeRange range = kClassAttributes[labels[i]];
    if (attributes[i] < range.begin || attributes[i] >= range.end) attributes[i] = -1;
    targets.excluded[i].slice(0, range.begin, range.end).fill_(false);
  }
  for (at::Tensor* x : {&targets.labels, &targets.attributes, &targets.excluded}) {
    *x = x->to(options.device());
  }
  return targets;
}

Pairs Match(const HeadOutputs& outputs, const Targets& targets, const DetectionWeights& weights,
            const std::string& where) {
  const at::Tensor truth =
      targets.codes.masked_fill(targets.known.eq(0), std::numeric_limits<double>::quiet_NaN());
  const Assignment assignment =
      SolveAssignment(MatchingCost(outputs.logits, outputs.codes, targets.labels, truth, weights),
                      "matching of layer " + where);
  std::vector<int64_t> rows, boxes;
  for (size_t box = 0; box < assignment.column_of_row.size(); ++box) {
    if (assignment.column_of_row[box] < 0) continue;
    rows.push_back(assignment.column_of_row[box]);
    boxes.push_back(static_cast<int64_t>(box));
  }
  const at::Device device = outputs.logits.device();
  return {at::tensor(rows, at::kLong).to(device), at::tensor(boxes, at::kLong).to(device)};
}

// The positive ones among denoising queries, whose outputs may be there several times.
Pairs DenoisingPairs(const DenoisingQueries& denoising, const HeadOutputs& outputs) {
  const int64_t rows = outputs.logits.size(0);
  ATHANOR_CHECK(denoising.size() > 0 && rows % denoising.size() == 0,
                "detection loss: expected outputs of ", denoising.size(),
                " denoising queries, found ", rows);
  const int64_t copies = rows / denoising.size();
  const at::Tensor positive = denoising.positive.repeat({copies}).nonzero().flatten();
  const at::Tensor boxes = denoising.truth.repeat({copies}).index_select(0, positive);
  const at::Device device = outputs.logits.device();
  return {positive.to(device), boxes.to(device)};
}

struct Parts {
  at::Tensor classes, boxes, attributes;
};

// Of codes [N,10], cosine and sine of twice the yaw, [N,2]; shorter for vectors that are hardly
// any.
at::Tensor AxesOf(const at::Tensor& codes) {
  constexpr double kShort = 0.2;
  const at::Tensor sine = codes.select(1, 6), cosine = codes.select(1, 7);
  const at::Tensor squares = sine.square() + cosine.square();
  return at::stack({cosine.square() - sine.square(), 2 * sine * cosine}, 1) /
         squares.clamp_min(kShort * kShort).unsqueeze(1);
}

// L1 of the numbers that are known, and of axes, over the number of rows.
at::Tensor CodeLoss(const at::Tensor& codes, const at::Tensor& truth, const at::Tensor& known,
                    const DetectionWeights& weights) {
  const at::Tensor code_weights =
      at::tensor(at::ArrayRef<double>(weights.code), truth.options().requires_grad(false));
  const auto rows = static_cast<double>(std::max<int64_t>(1, codes.size(0)));
  const at::Tensor numbers = ((codes - truth).abs() * known * code_weights).sum();
  const at::Tensor axes = (AxesOf(codes) - AxesOf(truth)).abs().sum();
  return (numbers + weights.axis * axes) * (weights.boxes / rows);
}

Parts LossOf(const HeadOutputs& outputs, const Pairs& pairs, const Targets& targets,
             const DetectionLossOptions& options) {
  const DetectionWeights& weights = options.weights;
  const double positives = static_cast<double>(std::max<int64_t>(1, pairs.rows.size(0)));
  const auto of_pairs = [&](const at::Tensor& x) { return x.index_select(0, pairs.boxes); };
  const at::Tensor labels = of_pairs(targets.labels);

  const at::Tensor& x = outputs.logits;
  at::Tensor target = at::zeros_like(x.detach());
  target.index_put_({pairs.rows, labels}, at::ones({}, target.options()));
  const at::Tensor p = x.sigmoid();
  const at::Tensor missed = target + p - 2 * target * p;  // 1 - p where it is there, else p
  const at::Tensor alpha = target * weights.focal_alpha + (1 - target) * (1 - weights.focal_alpha);
  const at::Tensor entropy = at::softplus(x) - x * target;
  Parts parts;
  parts.classes =
      (alpha * missed.pow(weights.focal_gamma) * entropy).sum() * (weights.classes / positives);

  parts.boxes = CodeLoss(outputs.codes.index_select(0, pairs.rows), of_pairs(targets.codes),
                         of_pairs(targets.known), weights);

  const at::Tensor attributes = of_pairs(targets.attributes);
  const at::Tensor counts = attributes.ge(0).to(x.scalar_type());
  const at::Tensor logs = at::log_softmax(outputs.attributes.index_select(0, pairs.rows)
                                              .masked_fill(of_pairs(targets.excluded), kExcluded),
                                          -1);
  const at::Tensor said = logs.gather(1, attributes.clamp_min(0).unsqueeze(1)).squeeze(1);
  parts.attributes = -(said * counts).sum() / counts.sum().clamp_min(1) * options.attributes;
  return parts;
}

}  // namespace

at::Tensor BoxLoss(const at::Tensor& codes, const at::Tensor& boxes,
                   const DetectionWeights& weights) {
  const at::Tensor truth = EncodeBoxes(boxes).to(codes.detach().options());
  const at::Tensor known = truth.isnan().logical_not().to(codes.scalar_type());
  return CodeLoss(codes, truth.nan_to_num(0), known, weights);
}

at::Tensor PixelLoss(const at::Tensor& logits, const at::Tensor& labels,
                     const at::Tensor& objects) {
  const at::Tensor logs = at::log_softmax(logits, 1);
  const auto mean = [&](const at::Tensor& others) {
    const at::Tensor some = labels.masked_fill(others, -1);
    const auto known = static_cast<double>(some.ge(0).sum().item<int64_t>());
    return at::nll_loss2d(logs, some.to(logits.device()), {}, at::Reduction::Sum,
                          /*ignore_index=*/-1) /
           std::max(known, 1.0);
  };
  return mean(objects) + mean(objects.logical_not());
}

DetectionTruth TruthInRange(const DetectionTruth& truth, const BevGrid& grid) {
  const at::Tensor place = NormalizePoints(truth.boxes.slice(1, 0, 3), grid);
  const at::Tensor kept = (place.ge(0) & place.le(1)).all(1).nonzero().flatten();
  DetectionTruth result;
  result.boxes = truth.boxes.index_select(0, kept);
  result.labels = truth.labels.index_select(0, kept);
  if (truth.attributes.defined()) result.attributes = truth.attributes.index_select(0, kept);
  return result;
}

DetectionLoss ComputeDetectionLoss(const std::vector<LayerOutputs>& layers,
                                   const DenoisingQueries& denoising, const DetectionTruth& truth,
                                   const DetectionLossOptions& options) {
  ATHANOR_CHECK(!layers.empty(), "detection loss: expected outputs of a layer, found none");
  const Targets targets = MakeTargets(truth, layers[0].queries.codes.detach().options());
  DetectionLoss loss;
  loss.total = at::zeros({}, targets.codes.options());
  for (const LayerOutputs& layer : layers) {
    CheckFinite(layer.queries, layer.name);
    const Pairs pairs = Match(layer.queries, targets, options.weights, layer.name);
    const Parts parts = LossOf(layer.queries, pairs, targets, options);
    loss.total = loss.total + parts.classes + parts.boxes + parts.attributes;
    loss.classes += parts.classes.item<double>();
    loss.boxes += parts.boxes.item<double>();
    loss.attributes += parts.attributes.item<double>();
    if (!layer.denoised.logits.defined()) continue;
    CheckFinite(layer.denoised, layer.name + " (denoising)");
    const Parts again =
        LossOf(layer.denoised, DenoisingPairs(denoising, layer.denoised), targets, options);
    const at::Tensor sum = (again.classes + again.boxes + again.attributes) * options.denoising;
    loss.total = loss.total + sum;
    loss.denoising += sum.item<double>();
  }
  return loss;
}

}  // namespace athanor
