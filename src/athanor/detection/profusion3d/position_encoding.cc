#include "athanor/detection/profusion3d/position_encoding.h"

#include <ATen/ATen.h>
#include <ATen/CPUGeneratorImpl.h>

#include <cmath>
#include <numbers>
#include <string>

#include "athanor/base/error.h"
#include "athanor/base/hash.h"
#include "athanor/base/random.h"
#include "athanor/detection/profusion3d/box_code.h"

namespace athanor {
namespace {

void CheckCalibration(const at::Tensor& camera_from_ego, const at::Tensor& intrinsics) {
  const int64_t cameras = camera_from_ego.size(0);
  ATHANOR_CHECK(camera_from_ego.dim() == 3 && camera_from_ego.size(1) == 4 &&
                    camera_from_ego.size(2) == 4 &&
                    intrinsics.sizes() == at::IntArrayRef({cameras, 3, 3}),
                "calibration: expected camera_from_ego [C,4,4] and intrinsics [C,3,3], found ",
                camera_from_ego.sizes(), " and ", intrinsics.sizes());
  for (int64_t i = 0; i < cameras; ++i) {
    const bool finite = camera_from_ego[i].isfinite().all().item<bool>() &&
                        intrinsics[i].isfinite().all().item<bool>();
    ATHANOR_CHECK(finite, "calibration of camera ", i, ": expected finite numbers");
    const auto focal = intrinsics[i].diagonal().slice(0, 0, 2).min().item<double>();
    ATHANOR_CHECK(focal > 0, "calibration of camera ", i,
                  ": expected focal lengths above 0, found ", focal);
  }
}

// Centres of `count` equal parts of 0..1.
at::Tensor Centres(int64_t count) { return (at::arange(count, at::kFloat) + 0.5) / count; }

}  // namespace

std::vector<float> FrustumDepths(const PositionEncodingOptions& options, const BevGrid& grid) {
  const double nearest = options.nearest_m, far = grid.range_m[3];
  ATHANOR_CHECK(options.depths > 0 && nearest > 0 && nearest < far,
                "frustum: expected depths > 0 and 0 < nearest < ", far, " m, found ",
                options.depths, " and ", nearest, " m");
  std::vector<float> depths(options.depths);
  for (int i = 0; i < options.depths; ++i) {
    const double part = options.growing_depths
                            ? i * (i + 1.0) / (options.depths * (options.depths + 1.0))
                            : static_cast<double>(i) / options.depths;
    depths[i] = static_cast<float>(nearest + part * (far - nearest));
  }
  return depths;
}

at::Tensor Waves(const at::Tensor& x, int frequencies) {
  const at::Tensor rates = at::pow(2, at::arange(frequencies, x.options())) * std::numbers::pi;
  const at::Tensor angles = x.unsqueeze(-1) * rates;  // [N,K,F]
  return at::cat({angles.sin(), angles.cos()}, -1).flatten(-2);
}

ImagePositions::ImagePositions(const LayerScope& scope, const BevGrid& grid,
                               const PositionEncodingOptions& options)
    : grid_(grid),
      depths_(FrustumDepths(options, grid)),
      weight_((scope / "0")
                  .Normal("weight", {options.hidden, options.depths * 3},
                          std::sqrt(2.0 / (options.hidden + 3.0 * options.depths)))),
      bias_((scope / "0").Constant("bias", {options.hidden}, 0)),
      second_(scope / "1", options.hidden, options.width) {}

at::Tensor ImagePositions::Forward(const at::Tensor& camera_from_ego, const at::Tensor& intrinsics,
                                   int64_t height, int64_t columns, double stride) const {
  CheckCalibration(camera_from_ego, intrinsics);
  const int64_t cameras = camera_from_ego.size(0);
  const at::Tensor turn = camera_from_ego.slice(1, 0, 3).slice(2, 0, 3).to(at::kDouble);
  const at::Tensor shift = camera_from_ego.slice(1, 0, 3).slice(2, 3, 4).to(at::kDouble);
  const at::Tensor ego_from_pixel =
      turn.transpose(1, 2).matmul(at::inverse(intrinsics.to(at::kDouble)));
  // A pixel's points are origin + depth * ray.
  const at::TensorOptions plain = turn.options();
  const at::Tensor u = (at::arange(columns, plain) + 0.5) * stride;
  const at::Tensor v = (at::arange(height, plain) + 0.5) * stride;
  const at::Tensor pixels =
      at::stack({u.expand({height, columns}), v.unsqueeze(1).expand({height, columns}),
                 at::ones({height, columns}, plain)},
                0)
          .view({3, height * columns});
  const at::Tensor ray = ego_from_pixel.matmul(pixels).transpose(1, 2);  // [C,h w,3]
  const at::Tensor origin = -turn.transpose(1, 2).matmul(shift).transpose(1, 2);
  const at::Tensor start = NormalizePoints(origin, grid_);  // [C,1,3]
  const at::Tensor step = NormalizePoints(origin + ray, grid_) - start;
  const at::Tensor features =
      at::cat({start.expand_as(step), step}, 2).to(weight_.options().requires_grad(false));

  const at::Tensor by_depth = weight_.view({weight_.size(0), -1, 3});
  const at::Tensor depths = at::tensor(depths_, weight_.options().requires_grad(false));
  const at::Tensor folded =
      at::cat({by_depth.sum(1), (by_depth * depths.view({1, -1, 1})).sum(1)}, 1);
  const at::Tensor hidden = at::relu(at::linear(features, folded, bias_));
  return second_.Forward(hidden).transpose(1, 2).reshape({cameras, -1, height, columns});
}

BevPositions::BevPositions(const LayerScope& scope, const PositionEncodingOptions& options)
    : heights_(options.heights),
      frequencies_(options.frequencies),
      mlp_(scope, {3 * options.heights + 4 * options.frequencies, options.hidden, options.width}) {}

at::Tensor BevPositions::Forward(int64_t rows, int64_t columns, const c10::Device& device) const {
  const at::Tensor x = Centres(columns).expand({rows, columns});
  const at::Tensor y = Centres(rows).unsqueeze(1).expand({rows, columns});
  const at::Tensor plane = at::stack({x, y}, -1).view({rows * columns, 2});
  const at::Tensor z = Centres(heights_).view({1, heights_, 1}).expand({rows * columns, -1, 1});
  const at::Tensor column =
      at::cat({plane.unsqueeze(1).expand({-1, heights_, 2}), z}, 2).flatten(1);
  const at::Tensor encoded =
      mlp_.Forward(at::cat({column, Waves(plane, frequencies_)}, 1).to(device));
  return encoded.t().reshape({-1, rows, columns});
}

AnchorQueries::AnchorQueries(const LayerScope& scope, int64_t count,
                             const PositionEncodingOptions& options)
    : frequencies_(options.frequencies),
      mlp_(scope, {3 + 6 * options.frequencies, options.width, options.width}) {
  const std::string name = scope.prefix + "anchors";
  at::Generator generator = at::detail::createCPUGenerator(MixBits(scope.seed ^ HashBytes(name)));
  anchors_ = scope.parameters->Add(name, at::rand({count, 3}, generator, at::kFloat));
}

at::Tensor AnchorQueries::Anchors() const { return anchors_.clamp(0, 1); }

at::Tensor AnchorQueries::Embed(const at::Tensor& anchors) const {
  return mlp_.Forward(at::cat({anchors, Waves(anchors, frequencies_)}, 1));
}

}  // namespace athanor
