#include "athanor/ops/rasterize_reference.h"

#include <ATen/ATen.h>

#include <cmath>
#include <vector>

namespace athanor {
namespace {

constexpr double kDoubt = 1e-3;  // relative distance from a cut

at::Tensor FromFloats(const float* values, at::IntArrayRef shape,
                      const at::TensorOptions& options) {
  return at::from_blob(const_cast<float*>(values), shape, at::kFloat).to(options).clone();
}

// [N,3,3] from quaternions of any length.
at::Tensor Rotations(const at::Tensor& quats) {
  const std::vector<at::Tensor> q = (quats / quats.square().sum(1, true).sqrt()).unbind(1);
  const at::Tensor &w = q[0], &x = q[1], &y = q[2], &z = q[3];
  return at::stack({w * w + x * x - y * y - z * z, 2 * (x * y - w * z), 2 * (x * z + w * y),
                    2 * (x * y + w * z), w * w - x * x + y * y - z * z, 2 * (y * z - w * x),
                    2 * (x * z - w * y), 2 * (y * z + w * x), w * w - x * x - y * y + z * z},
                   1)
      .view({-1, 3, 3});
}

// Where the Jacobian of the perspective division is taken: the ratio x/z, kept within 15 % of the
// image's width around the image.
at::Tensor ClampedRatio(const at::Tensor& ratio, double center_px, int size_px, double focal_px) {
  const double margin = 0.15 * size_px / focal_px;
  return ratio.clamp(-center_px / focal_px - margin, (size_px - center_px) / focal_px + margin);
}

// [N,8], visible or not; `visible` [N] bool.
at::Tensor ProjectAll(const GaussianTensors& g, const PinholeView& view,
                      const ProjectOptions& options, at::Tensor* visible) {
  const at::Tensor pose = FromFloats(view.camera_from_world, {3, 4}, g.means.options());
  const at::Tensor rotation = pose.narrow(1, 0, 3);
  const std::vector<at::Tensor> in_camera =
      (g.means.matmul(rotation.t()) + pose.select(1, 3)).unbind(1);
  const at::Tensor &x = in_camera[0], &y = in_camera[1], &z = in_camera[2];

  const at::Tensor axes = Rotations(g.quats) * g.log_scales.exp().unsqueeze(1);
  const at::Tensor covariance = axes.matmul(axes.transpose(1, 2));  // [N,3,3] world frame
  const double fx = view.fx_px, fy = view.fy_px;
  const at::Tensor u = ClampedRatio(x / z, view.cx_px, view.width_px, fx);
  const at::Tensor v = ClampedRatio(y / z, view.cy_px, view.height_px, fy);
  const at::Tensor zero = at::zeros_like(z);
  const at::Tensor jacobian =
      at::stack({fx / z, zero, -fx * u / z, zero, fy / z, -fy * v / z}, 1).view({-1, 2, 3});
  const at::Tensor to_image = jacobian.matmul(rotation);
  const at::Tensor cov = to_image.matmul(covariance).matmul(to_image.transpose(1, 2));
  const at::Tensor cov_xx = cov.select(1, 0).select(1, 0), cov_xy = cov.select(1, 0).select(1, 1),
                   cov_yy = cov.select(1, 1).select(1, 1);
  const double low_pass = options.low_pass_px2;
  const at::Tensor wide_xx = cov_xx + low_pass, wide_yy = cov_yy + low_pass;
  const at::Tensor det = wide_xx * wide_yy - cov_xy.square();
  at::Tensor opacity = g.opacity_logits.sigmoid();
  if (options.antialias) {
    opacity = opacity * ((cov_xx * cov_yy - cov_xy.square()) / det).clamp_min(0).sqrt();
  }
  const at::Tensor center_x = fx * x / z + view.cx_px, center_y = fy * y / z + view.cy_px;

  // The box of the ellipse alpha >= 1/255.
  const at::Tensor extent2 = 2 * (opacity.detach() / kMinAlpha).clamp_min(1).log();
  const at::Tensor half_x = (extent2 * wide_xx.detach()).sqrt();
  const at::Tensor half_y = (extent2 * wide_yy.detach()).sqrt();
  const at::Tensor radius = at::maximum(half_x, half_y);
  *visible = (z >= options.near) & (z <= options.far) & (det > 0) & (det > 1e-30) &
             (opacity >= kMinAlpha) & (radius > options.radius_clip_px) & (radius < 1e6) &
             (center_x + half_x > 0) & (center_x - half_x < view.width_px) &
             (center_y + half_y > 0) & (center_y - half_y < view.height_px);
  return at::stack(
      {center_x, center_y, wide_yy / det, -cov_xy / det, wide_xx / det, opacity, z, radius}, 1);
}

double Factorial(int n) { return std::tgamma(n + 1.0); }

// Y_k of unit vectors [N,3] for k < (degree+1)^2, as [N,K]: associated Legendre polynomials in z by
// their recurrence, times the real and imaginary part of (x + iy)^m.
at::Tensor Harmonics(int degree, const at::Tensor& units) {
  const at::Tensor x = units.select(1, 0), y = units.select(1, 1), z = units.select(1, 2);
  std::vector<at::Tensor> real = {at::ones_like(x)}, imaginary = {at::zeros_like(x)};
  for (int m = 1; m <= degree; ++m) {
    real.push_back(x * real[m - 1] - y * imaginary[m - 1]);
    imaginary.push_back(x * imaginary[m - 1] + y * real[m - 1]);
  }
  // legendre[m][l - m], without the factor (1 - z^2)^(m/2) that (x + iy)^m holds.
  std::vector<std::vector<at::Tensor>> legendre(degree + 1);
  double odd_product = 1;  // (2m - 1)!!
  for (int m = 0; m <= degree; ++m) {
    legendre[m].push_back(at::full_like(z, odd_product));
    odd_product *= 2 * m + 1;
    for (int l = m + 1; l <= degree; ++l) {
      at::Tensor p = (2 * l - 1) * z * legendre[m][l - m - 1];
      if (l - m >= 2) p = p - (l + m - 1) * legendre[m][l - m - 2];
      legendre[m].push_back(p / (l - m));
    }
  }
  std::vector<at::Tensor> basis;
  for (int l = 0; l <= degree; ++l) {
    for (int order = -l; order <= l; ++order) {
      const int m = std::abs(order);
      double norm = std::sqrt((2 * l + 1) / (4 * M_PI) * Factorial(l - m) / Factorial(l + m));
      if (m > 0) norm *= std::sqrt(2.0) * (m % 2 == 1 ? -1 : 1);
      basis.push_back(norm * legendre[m][l - m] * (order < 0 ? imaginary[m] : real[m]));
    }
  }
  return at::stack(basis, 1);
}

at::Tensor Near(const at::Tensor& value, double cut) { return (value / cut - 1).abs() < kDoubt; }

}  // namespace

at::Tensor ProjectReference(const GaussianTensors& gaussians, const PinholeView& view,
                            const ProjectOptions& options) {
  at::Tensor visible;
  {
    const c10::NoGradGuard no_gradient;
    ProjectAll(gaussians, view, options, &visible);
  }
  // Only what is visible takes part: gradients through the rest would be NaN, not 0.
  const at::Tensor rows = visible.nonzero().squeeze(1);
  const GaussianTensors seen = {
      gaussians.means.index_select(0, rows), gaussians.quats.index_select(0, rows),
      gaussians.log_scales.index_select(0, rows), gaussians.opacity_logits.index_select(0, rows)};
  return at::zeros({gaussians.means.size(0), 8}, gaussians.means.options())
      .index_copy(0, rows, ProjectAll(seen, view, options, &visible));
}

at::Tensor ShColorsReference(const at::Tensor& means, const at::Tensor& sh, int degree,
                             const float camera_center[3]) {
  const at::Tensor rays = means - FromFloats(camera_center, {3}, means.options());
  const at::Tensor basis = Harmonics(degree, rays / rays.square().sum(1, true).sqrt());
  const at::Tensor used = sh.narrow(2, 0, (degree + 1) * (degree + 1));
  return (0.5 + (used * basis.unsqueeze(1)).sum(2)).relu();
}

RasterizedReference RasterizeReference(const at::Tensor& splats, const at::Tensor& features,
                                       const at::Tensor& background, int width_px, int height_px,
                                       const at::Tensor& center_shifts) {
  const at::TensorOptions options = splats.options();
  const int64_t pixels = int64_t{width_px} * height_px;
  const at::Tensor visible = (splats.select(1, 7) > 0).nonzero().squeeze(1);
  const at::Tensor depths = splats.select(1, 6).index_select(0, visible);
  const at::Tensor order =
      visible.index_select(0, std::get<1>(at::sort(depths.detach(), true, 0, false)));
  const at::Tensor sorted = splats.index_select(0, order);
  const auto column = [&](int64_t k) { return sorted.narrow(1, k, 1); };

  const at::Tensor number = at::arange(pixels, options.dtype(at::kLong));
  at::Tensor dx = number.remainder(width_px).to(options) + 0.5 - column(0);  // [n,pixels]
  at::Tensor dy = number.div(width_px, "floor").to(options) + 0.5 - column(1);
  if (center_shifts.defined()) {
    const at::Tensor shifts = center_shifts.index_select(1, order);
    dx = dx - shifts[0];
    dy = dy - shifts[1];
  }
  const at::Tensor alpha =
      column(5) * (-0.5 * (column(2) * dx * dx + column(4) * dy * dy) - column(3) * dx * dy).exp();
  const at::Tensor blended =
      at::where(alpha >= kMinAlpha, alpha.clamp_max(kMaxAlpha), at::zeros_like(alpha));
  // A pixel is full at the first splat that would take it below the least transmittance; the
  // product over all splats only falls from there on.
  const at::Tensor product = (1 - blended.detach()).cumprod(0);
  const at::Tensor open = product >= kMinTransmittance;
  const at::Tensor passed = at::where(open, 1 - blended, at::ones_like(blended));
  const at::Tensor before = passed.cumprod(0) / passed;
  const at::Tensor weights = at::where(open, blended * before, at::zeros_like(blended));

  RasterizedReference out;
  const at::Tensor left = passed.prod(0);
  at::Tensor image = features.index_select(0, order).t().matmul(weights);
  if (background.defined()) image = image + background.unsqueeze(1) * left;
  out.image = image.view({features.size(1), height_px, width_px});
  out.transmittance = left.view({height_px, width_px});
  out.depth = (column(6) * weights).sum(0).view({height_px, width_px});
  out.weights = at::zeros({splats.size(0), pixels}, options).index_copy(0, order, weights);
  const at::Tensor doubtful =
      Near(alpha, kMinAlpha) | Near(alpha, kMaxAlpha) | Near(product, kMinTransmittance);
  out.doubtful = doubtful.any(0).view({height_px, width_px});
  return out;
}

at::Tensor ImageLossReference(const at::Tensor& image, const at::Tensor& target,
                              const at::Tensor& mask, double ssim_weight) {
  const at::Tensor seen = mask.defined() ? at::where(mask != 0, image, target) : image;
  const at::Tensor steps = at::arange(-5, 6, image.options());
  const at::Tensor line = (-steps.square() / (2 * 1.5 * 1.5)).exp();
  const at::Tensor window = (at::outer(line, line) / line.sum().square()).view({1, 1, 11, 11});
  const auto mean = [&](const at::Tensor& planes) {
    return at::conv2d(planes.unsqueeze(1), window, {}, 1, 5).squeeze(1);
  };
  const at::Tensor x = mean(seen), y = mean(target);
  const at::Tensor xx = mean(seen * seen) - x * x, yy = mean(target * target) - y * y;
  const at::Tensor xy = mean(seen * target) - x * y;
  constexpr double kC1 = 0.01 * 0.01, kC2 = 0.03 * 0.03;
  const at::Tensor ssim =
      (2 * x * y + kC1) * (2 * xy + kC2) / ((x * x + y * y + kC1) * (xx + yy + kC2));
  return (1 - ssim_weight) * (seen - target).abs().mean() + ssim_weight * (1 - ssim.mean());
}

}  // namespace athanor
