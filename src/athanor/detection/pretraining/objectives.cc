#include "athanor/detection/pretraining/objectives.h"

#include <ATen/ATen.h>

#include <cmath>
#include <limits>

#include "athanor/base/error.h"
#include "athanor/base/parallel.h"

namespace athanor {
namespace {

// Distances are rounded off below this, where their gradient would jump.
constexpr double kSmoothM = 1e-3;
// exp: 15 m. What the depth is before anything is learned.
constexpr double kUsualLogDepth = 2.7;
constexpr int64_t kNoiseAxes = 3;

// For each predicted point the nearest true one, and for each true one (0 in rows that are none)
// the nearest predicted.
struct Meetings {
  at::Tensor truth;      // [M,K] i64
  at::Tensor predicted;  // [M,N] i64
};

Meetings Meet(const at::Tensor& predicted, const PointTargets& targets) {
  const at::Tensor from = predicted.detach().cpu().contiguous();
  const at::Tensor to = targets.places.contiguous();
  const int64_t m = from.size(0), k = from.size(1), n = to.size(1), numbers = from.size(2);
  Meetings met = {at::zeros({m, k}, at::kLong), at::zeros({m, n}, at::kLong)};
  const auto* from_data = from.data_ptr<float>();
  const auto* to_data = to.data_ptr<float>();
  const auto* counts = targets.counts.data_ptr<int32_t>();
  auto* truth = met.truth.data_ptr<int64_t>();
  auto* back = met.predicted.data_ptr<int64_t>();
  ParallelFor(m, 64, [&](int64_t begin, int64_t end) {
    std::vector<float> nearest(n);
    for (int64_t cell = begin; cell < end; ++cell) {
      nearest.assign(n, std::numeric_limits<float>::infinity());
      for (int64_t i = 0; i < k; ++i) {
        const float* a = from_data + (cell * k + i) * numbers;
        float best = std::numeric_limits<float>::infinity();
        for (int64_t j = 0; j < counts[cell]; ++j) {
          const float* b = to_data + (cell * n + j) * 3;
          const float x = a[0] - b[0], y = a[1] - b[1], z = a[2] - b[2];
          const float squared = x * x + y * y + z * z;
          if (squared < best) best = squared, truth[cell * k + i] = j;
          if (squared < nearest[j]) nearest[j] = squared, back[cell * n + j] = i;
        }
      }
    }
  });
  return {met.truth.to(predicted.device()), met.predicted.to(predicted.device())};
}

// Rows `index` [M,P] of values [M,Q,D]: [M,P,D].
at::Tensor Rows(const at::Tensor& values, const at::Tensor& index) {
  return values.gather(1, index.unsqueeze(2).expand({-1, -1, values.size(2)}));
}

at::Tensor Distances(const at::Tensor& a, const at::Tensor& b) {
  return ((a.narrow(2, 0, 3) - b.narrow(2, 0, 3)).square().sum(2) + kSmoothM * kSmoothM).sqrt() -
         kSmoothM;
}

// L1 where the truth is known; and how many numbers that are.
std::pair<at::Tensor, at::Tensor> KnownDifference(const at::Tensor& said, const at::Tensor& truth,
                                                  const at::Tensor& counts) {
  const at::Tensor known = at::isfinite(truth).logical_and(counts);
  const at::Tensor difference = (said - at::where(known, truth, at::zeros_like(truth))).abs();
  return {at::where(known, difference, at::zeros_like(difference)).sum(), known.sum()};
}

at::Tensor L1(const at::Tensor& said, const at::Tensor& truth) {
  return (said - truth.view(said.sizes()).to(said.device())).abs().mean();
}

Mlp MakeHead(const LayerScope& scope, int64_t width, int64_t out) {
  return Mlp(scope, {width, 2 * width, out});
}

}  // namespace

SetDistance CompareSets(const at::Tensor& predicted, const PointTargets& given) {
  SetDistance result;
  const PointTargets targets = given.To(predicted.device());
  const int64_t cells = targets.cells.size(0), attributes = predicted.size(2) - 3;
  ATHANOR_CHECK(predicted.dim() == 3 && predicted.size(0) == cells && predicted.size(1) > 0 &&
                    (attributes == 0 || attributes == targets.attributes.size(2)),
                "sets of points: expected [", cells, ",K,3 or ", 3 + targets.attributes.size(2),
                "], found ", StrCat(predicted.sizes()));
  if (cells == 0) return result;
  const Meetings met = Meet(predicted, given);
  const at::Tensor said_back = Rows(predicted, met.predicted);
  const at::Tensor is_point = at::arange(targets.places.size(1), targets.counts.options())
                                  .unsqueeze(0)
                                  .lt(targets.counts.unsqueeze(1));  // [M,N]
  const at::Tensor forth = Distances(predicted, Rows(targets.places, met.truth)).mean();
  const at::Tensor back = Distances(said_back, targets.places) * is_point.to(at::kFloat);
  result.places = forth + (back.sum(1) / targets.counts.to(at::kFloat)).mean();
  if (attributes == 0) return result;
  const auto [sum_forth, known_forth] =
      KnownDifference(predicted.narrow(2, 3, attributes), Rows(targets.attributes, met.truth),
                      at::ones({1, 1, 1}, predicted.options().dtype(at::kBool)));
  const auto [sum_back, known_back] = KnownDifference(said_back.narrow(2, 3, attributes),
                                                      targets.attributes, is_point.unsqueeze(2));
  const at::Tensor known = known_forth + known_back;
  if (known.item<int64_t>() > 0) result.attributes = (sum_forth + sum_back) / known;
  return result;
}

PretrainHeads::PretrainHeads(const LayerScope& scope, int64_t width, int stride_px,
                             const MaskingOptions& masking, const ObjectiveOptions& options)
    : options_(options) {
  ATHANOR_CHECK(options.reconstruction || options.denoising || options.attributes,
                "pre-training: expected an objective, found none");
  ATHANOR_CHECK(options.points_per_cell > 0,
                "pre-training: expected at least one point per cell, found ",
                options.points_per_cell);
  const int64_t points = options.points_per_cell, blocks = stride_px / masking.noise_block_px;
  if (options.reconstruction) {
    pixels_ = MakeHead(scope / "pixels", width, int64_t{3} * stride_px * stride_px);
    points_ = MakeHead(scope / "points", width, points * (options.attributes ? 4 : 3));
  }
  if (options.denoising) {
    pixel_noise_ = MakeHead(scope / "pixel_noise", width, 3 * blocks * blocks);
    point_noise_ = MakeHead(scope / "point_noise", width, points * (3 + kNoiseAxes));
  }
  if (options.attributes) log_depth_ = MakeHead(scope / "depth", width, 1);
}

PretrainOutputs PretrainHeads::Forward(const ViewMaps& maps, const MaskedSample& sample) const {
  PretrainOutputs out;
  const int64_t points = options_.points_per_cell;
  if (maps.pv.defined()) {
    ATHANOR_CHECK(maps.pv.size(2) == sample.map_height && maps.pv.size(3) == sample.map_width,
                  "pre-training: expected camera maps of ", sample.map_height, " x ",
                  sample.map_width, ", found ", maps.pv.size(2), " x ", maps.pv.size(3));
    const at::Tensor features = maps.pv.permute({0, 2, 3, 1}).reshape({-1, maps.pv.size(1)});
    if (sample.masked_patches.numel() > 0) {
      const at::Tensor masked =
          features.index_select(0, sample.masked_patches.to(features.device()));
      if (options_.reconstruction) out.pixels = pixels_.Forward(masked);
      if (options_.attributes) out.log_depth = log_depth_.Forward(masked).view(-1) + kUsualLogDepth;
    }
    if (options_.denoising && sample.visible_patches.numel() > 0) {
      out.pixel_noise = pixel_noise_.Forward(
          features.index_select(0, sample.visible_patches.to(features.device())));
    }
  }
  if (maps.bev.defined()) {
    const at::Tensor features = maps.bev.permute({1, 2, 0}).reshape({-1, maps.bev.size(0)});
    const at::Tensor masked = sample.masked_points.cells.to(features.device());
    const at::Tensor visible = sample.visible_points.cells.to(features.device());
    if (options_.reconstruction && masked.numel() > 0) {
      out.points =
          points_.Forward(features.index_select(0, masked)).view({masked.numel(), points, -1});
    }
    if (options_.denoising && visible.numel() > 0) {
      out.point_noise = point_noise_.Forward(features.index_select(0, visible))
                            .view({visible.numel(), points, -1});
    }
  }
  return out;
}

PretrainOutputs PretrainOutputs::To(const c10::Device& device) const {
  const auto move = [&](const at::Tensor& x) { return x.defined() ? x.to(device) : x; };
  return {move(pixels), move(pixel_noise), move(log_depth), move(points), move(point_noise)};
}

at::Tensor PretrainLoss::Total() const {
  at::Tensor total;
  for (const at::Tensor& part : parts) {
    if (part.defined()) total = total.defined() ? total + part : part;
  }
  return total;
}

PretrainLoss ComputePretrainLoss(const PretrainOutputs& out, const MaskedSample& sample) {
  PretrainLoss loss;
  auto& [pixels, points, pixel_noise, point_noise, brightness, depth] = loss.parts;
  if (out.pixels.defined()) pixels = L1(out.pixels, sample.patch_pixels);
  if (out.pixel_noise.defined()) pixel_noise = L1(out.pixel_noise, sample.patch_noise);
  if (out.log_depth.defined()) {
    const auto [sum, known] =
        KnownDifference(out.log_depth, sample.patch_log_depth.to(out.log_depth.device()),
                        at::ones({1}, out.log_depth.options().dtype(at::kBool)));
    if (known.item<int64_t>() > 0) depth = sum / known;
  }
  if (out.points.defined()) {
    const SetDistance distance = CompareSets(out.points, sample.masked_points);
    points = distance.places;
    brightness = distance.attributes;
  }
  if (out.point_noise.defined()) {
    const SetDistance distance = CompareSets(out.point_noise, sample.visible_points);
    point_noise = distance.places + distance.attributes;
  }
  return loss;
}

}  // namespace athanor
