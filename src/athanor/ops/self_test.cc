#include "athanor/ops/self_test.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>

#include "athanor/kernels/gaussian_step.h"
#include "athanor/kernels/lift.h"
#include "athanor/ops/device.h"
#include "athanor/ops/rasterize.h"
#include "athanor/ops/rasterize_reference.h"
#include "athanor/ops/self_test_checks.h"

namespace athanor::self_test {
namespace {

constexpr int64_t kGaussians = 200;
constexpr int kDegree = 3, kCoefficients = 16;
constexpr int kChannels = 5;
constexpr float kCenter[3] = {-0.1f, 0.05f, -1.0f};  // of the view below

// On the host, float32.
struct Scene {
  Random random{20};
  GaussianTensors gaussians;
  at::Tensor sh = Uniform({kGaussians, 3, kCoefficients}, -0.3f, 0.4f, &random);
  at::Tensor features = Uniform({kGaussians, kChannels}, -1, 1, &random);
  at::Tensor background = Uniform({kChannels}, 0, 1, &random);
  PinholeView view = {{1, 0, 0, -kCenter[0], 0, 1, 0, -kCenter[1], 0, 0, 1, -kCenter[2]},
                      60,
                      55,
                      33.3f,
                      22.7f,
                      61,
                      45};
  ProjectOptions options;

  Scene() {
    options.antialias = true;
    at::Tensor xy = Uniform({kGaussians, 2}, -1.3f, 1.3f, &random);
    at::Tensor z = Uniform({kGaussians, 1}, -1.5f, 4, &random);  // some are behind the camera
    gaussians = {at::cat({xy, z}, 1), Uniform({kGaussians, 4}, -1, 1, &random),
                 Uniform({kGaussians, 3}, -3.5f, -1.5f, &random),
                 Uniform({kGaussians}, -4, 4, &random)};
  }
};

GaussianTensors Leaves(const GaussianTensors& g, const c10::Device& device, at::ScalarType type) {
  return {Leaf(g.means, device, type), Leaf(g.quats, device, type),
          Leaf(g.log_scales, device, type), Leaf(g.opacity_logits, device, type)};
}

// The kernel's splats on the device.
at::Tensor CheckProjection(const Scene& s, const c10::Device& device, Random* random,
                           Checks* checks) {
  const GaussianTensors g = Leaves(s.gaussians, device, at::kFloat);
  const GaussianTensors oracle = Leaves(s.gaussians, c10::kCPU, at::kDouble);
  const at::Tensor splats = Project(g, s.view, s.options);
  const at::Tensor expected = ProjectReference(oracle, s.view, s.options);
  const at::Tensor visible = splats.detach().select(1, 7) > 0;
  const at::Tensor shown =
      at::where(visible.unsqueeze(1), splats.detach(), at::zeros_like(splats.detach()));
  checks->Add("project forward", 1e-4, {{shown, expected}});
  at::Tensor weights = Uniform({kGaussians, 8}, -1, 1, random);
  weights.select(1, 7).zero_();  // the radius has no gradient
  splats.backward(weights.to(device));
  expected.backward(weights.to(at::kDouble));
  checks->Add("project backward", 1e-3,
              {{g.means.grad(), oracle.means.grad()},
               {g.quats.grad(), oracle.quats.grad()},
               {g.log_scales.grad(), oracle.log_scales.grad()},
               {g.opacity_logits.grad(), oracle.opacity_logits.grad()}});
  return splats.detach();
}

void CheckHarmonics(const Scene& s, const c10::Device& device, Random* random, Checks* checks) {
  const at::Tensor means = Leaf(s.gaussians.means, device, at::kFloat);
  const at::Tensor sh = Leaf(s.sh, device, at::kFloat);
  const at::Tensor oracle_means = Leaf(s.gaussians.means, c10::kCPU, at::kDouble);
  const at::Tensor oracle_sh = Leaf(s.sh, c10::kCPU, at::kDouble);
  const at::Tensor colors = ShColors(means, sh, kDegree, kCenter, {});
  const at::Tensor expected = ShColorsReference(oracle_means, oracle_sh, kDegree, kCenter);
  checks->Add("harmonics forward", 1e-5, {{colors, expected}});
  const at::Tensor weights = Uniform({kGaussians, 3}, -1, 1, random);
  colors.backward(weights.to(device));
  expected.backward(weights.to(at::kDouble));
  checks->Add("harmonics backward", 1e-4,
              {{means.grad(), oracle_means.grad()}, {sh.grad(), oracle_sh.grad()}});
}

// Entries that are missing, out of order, twice there or of splats that do not reach the tile.
int64_t WrongEntries(const at::Tensor& splats, const TileBinTensors& bins) {
  const at::Tensor host_splats = splats.cpu(), offsets = bins.offsets.cpu(), ids = bins.ids.cpu();
  const auto* all = reinterpret_cast<const Splat*>(host_splats.data_ptr<float>());
  const auto* first = offsets.data_ptr<int32_t>();
  const auto* id = ids.data_ptr<int32_t>();
  const int columns = MakeTileGrid(bins.width_px, bins.height_px).columns;
  int64_t wrong = 0;
  for (int tile = 0; tile < offsets.numel() - 1; ++tile) {
    const int x0 = tile % columns * kTileSize, x1 = std::min(x0 + kTileSize, bins.width_px);
    const int y0 = tile / columns * kTileSize, y1 = std::min(y0 + kTileSize, bins.height_px);
    std::vector<bool> listed(splats.size(0));
    for (int32_t k = first[tile]; k < first[tile + 1]; ++k) {
      const Splat& s = all[id[k]];
      if (k > first[tile]) {
        const Splat& before = all[id[k - 1]];
        wrong += s.depth < before.depth || (s.depth == before.depth && id[k] <= id[k - 1]);
      }
      const float reach = s.radius + 1;
      wrong += !(s.radius > 0) || s.x + reach < x0 || s.x - reach > x1 || s.y + reach < y0 ||
               s.y - reach > y1;
      listed[id[k]] = true;
    }
    for (int64_t i = 0; i < splats.size(0); ++i) {
      const Splat& s = all[i];
      if (!(s.radius > 0) || listed[i]) continue;
      double most = 0;
      for (int y = y0; y < y1; ++y) {
        for (int x = x0; x < x1; ++x) {
          const double dx = x + 0.5 - s.x, dy = y + 0.5 - s.y;
          most = std::max(
              most, s.opacity * std::exp(-0.5 * (s.a * dx * dx + s.c * dy * dy) - s.b * dx * dy));
        }
      }
      wrong += most > kMinAlpha * 1.001;  // nearer, rounding decides
    }
  }
  return wrong;
}

void CheckRasterizer(const Scene& s, const c10::Device& device, const at::Tensor& splats,
                     Random* random, Checks* checks) {
  const int width = s.view.width_px, height = s.view.height_px;
  TileBinTensors bins;
  BinTiles(splats, width, height, &bins);
  checks->list.push_back({"tile binning", static_cast<double>(WrongEntries(splats, bins)), 0.0});

  const at::Tensor leaf = Leaf(splats, device, at::kFloat);
  const at::Tensor features = Leaf(s.features, device, at::kFloat);
  const at::Tensor absolute = at::zeros({kGaussians, 2}, leaf.options());
  const Rasterized r =
      Rasterize(leaf, features, bins, s.background.to(device), width, height, absolute);
  const at::Tensor oracle_leaf = Leaf(splats, c10::kCPU, at::kDouble);
  const at::Tensor oracle_features = Leaf(s.features, c10::kCPU, at::kDouble);
  const at::Tensor shifts =
      at::zeros({2, kGaussians, int64_t{width} * height}, at::kDouble).requires_grad_(true);
  const RasterizedReference oracle = RasterizeReference(
      oracle_leaf, oracle_features, s.background.to(at::kDouble), width, height, shifts);

  const at::Tensor sure = oracle.doubtful.logical_not();
  const auto sure_pixels = [&](const at::Tensor& planes) {
    return planes.cpu().reshape({-1, int64_t{width} * height}).t().index({sure.flatten()});
  };
  checks->Add("rasterize forward", 1e-4,
              {{sure_pixels(r.image), sure_pixels(oracle.image)},
               {sure_pixels(r.transmittance), sure_pixels(oracle.transmittance)},
               {sure_pixels(r.depth), sure_pixels(oracle.depth)}});

  const at::Tensor keep = sure.to(at::kFloat);
  const at::Tensor d_image = Uniform({kChannels, height, width}, -1, 1, random) * keep;
  const at::Tensor d_transmittance = Uniform({height, width}, -1, 1, random) * keep;
  const at::Tensor d_depth = Uniform({height, width}, -1, 1, random) * keep;
  ((r.image * d_image.to(device)).sum() + (r.transmittance * d_transmittance.to(device)).sum() +
   (r.depth * d_depth.to(device)).sum())
      .backward();
  ((oracle.image * d_image).sum() + (oracle.transmittance * d_transmittance).sum() +
   (oracle.depth * d_depth).sum())
      .backward();
  checks->Add("rasterize backward", 1e-3,
              {{leaf.grad(), oracle_leaf.grad()},
               {features.grad(), oracle_features.grad()},
               {absolute, shifts.grad().abs().sum(2).t()}});
}

void CheckImageLoss(const c10::Device& device, Random* random, Checks* checks) {
  const at::Tensor image = Uniform({3, 37, 43}, 0, 1, random);
  const at::Tensor target = 0.5 * image + 0.5 * Uniform({3, 37, 43}, 0, 1, random);
  const at::Tensor mask = Uniform({37, 43}, 0, 1, random) > 0.2;
  const at::Tensor leaf = Leaf(image, device, at::kFloat);
  const at::Tensor oracle = Leaf(image, c10::kCPU, at::kDouble);
  const at::Tensor loss = ImageLoss(leaf, target.to(device), mask.to(device), 0.2);
  const at::Tensor expected = ImageLossReference(oracle, target.to(at::kDouble), mask, 0.2);
  loss.backward();
  expected.backward();
  checks->Add("image loss", 1e-3,
              {{loss, expected}, {leaf.grad().flatten(), oracle.grad().flatten()}});
}

// What Adam does to a parameter.
at::Tensor AdamChange(const GaussianStepArgs& args, const at::Tensor& gradient,
                      const at::Tensor& first, const at::Tensor& new_second, double rate) {
  const at::Tensor m = args.beta1 * first + (1.0 - args.beta1) * gradient;
  const double steps = static_cast<double>(args.step);
  const at::Tensor spread = (new_second / (1 - std::pow(args.beta2, steps))).sqrt();
  return -rate / (1 - std::pow(args.beta1, steps)) * m / (spread + args.epsilon);
}

void CheckStep(const Scene& s, const c10::Device& device, const at::Tensor& splats, Random* random,
               Checks* checks) {
  // Moments as in mid-training: from zero, Adam's first step is the sign of the gradient.
  const at::Tensor first =
      Uniform({kGaussians, kNumMoments}, -0.5f, 0.5f, random).to(at::kBFloat16);
  const at::Tensor second = Uniform({kGaussians, kNumMoments}, 0.5f, 1.5f, random);
  const at::Tensor d_splats = Uniform({kGaussians, 9}, -0.1f, 0.1f, random);
  const at::Tensor d_colors = Uniform({kGaussians, 3}, -1, 1, random);
  const at::Tensor colors =
      ShColors(s.gaussians.means.to(device), s.sh.to(device), kDegree, kCenter, splats);

  const auto on_device = [&](const at::Tensor& t) { return t.to(device).clone(); };
  const GaussianTensors& g = s.gaussians;
  const at::Tensor means = on_device(g.means), quats = on_device(g.quats),
                   log_scales = on_device(g.log_scales), logits = on_device(g.opacity_logits),
                   sh = on_device(s.sh), device_first = on_device(first),
                   device_second = on_device(second), device_d_splats = on_device(d_splats),
                   device_d_colors = on_device(d_colors);
  GaussianStepArgs args = {};
  args.n = kGaussians;
  args.sh_degree = kDegree;
  args.sh_coefficients = kCoefficients;
  args.parameters = {means.data_ptr<float>(), quats.data_ptr<float>(), log_scales.data_ptr<float>(),
                     logits.data_ptr<float>(), sh.data_ptr<float>()};
  args.moments = {static_cast<uint16_t*>(device_first.data_ptr()), device_second.data_ptr<float>()};
  args.view = s.view;
  args.options = s.options;
  std::copy_n(kCenter, 3, args.camera_center);
  args.splats = reinterpret_cast<const Splat*>(splats.data_ptr<float>());
  args.colors = colors.data_ptr<float>();
  args.d_splats = reinterpret_cast<const SplatGradient*>(device_d_splats.data_ptr<float>());
  args.d_colors = device_d_colors.data_ptr<float>();
  args.lr_means = 0.01f, args.lr_quats = 0.02f, args.lr_log_scales = 0.03f;
  args.lr_opacity_logits = 0.04f, args.lr_sh_dc = 0.05f, args.lr_sh_rest = 0.06f;
  args.beta1 = 0.9f, args.beta2 = 0.999f, args.epsilon = 1e-15f;
  args.step = 1000;
  args.opacity_regularizer = 0.01f, args.scale_regularizer = 0.02f;
  ATHANOR_RUN_KERNEL(device, GaussianStep, args);

  const GaussianTensors oracle = Leaves(g, c10::kCPU, at::kDouble);
  const at::Tensor oracle_sh = Leaf(s.sh, c10::kCPU, at::kDouble);
  const at::Tensor visible = (splats.cpu().select(1, 7) > 0).to(at::kDouble).unsqueeze(1);
  at::Tensor d_fields = d_splats.narrow(1, 0, 8).to(at::kDouble).clone();
  d_fields.select(1, 7).zero_();
  ((ProjectReference(oracle, s.view, s.options) * d_fields).sum() +
   (ShColorsReference(oracle.means, oracle_sh, kDegree, kCenter) * visible * d_colors).sum() +
   args.opacity_regularizer * oracle.opacity_logits.sigmoid().mean() +
   args.scale_regularizer * oracle.log_scales.exp().mean())
      .backward();

  // Of the parameters whose moments begin at column `at`.
  const auto change = [&](const at::Tensor& gradient, int64_t at, int64_t width, double rate) {
    const at::Tensor d = gradient.reshape({kGaussians, width});
    const at::Tensor new_second =
        args.beta2 * second.narrow(1, at, width).to(at::kDouble) + (1.0 - args.beta2) * d.square();
    return AdamChange(args, d, first.narrow(1, at, width).to(at::kDouble), new_second, rate)
        .reshape(gradient.sizes());
  };
  // Above DC: no first moment, and the second moment of DC.
  const at::Tensor d_sh = oracle_sh.grad();
  const at::Tensor spread = ((args.beta2 * second.narrow(1, 11, 3).to(at::kDouble) +
                              (1.0 - args.beta2) * d_sh.select(2, 0).square()) /
                             (1 - std::pow(args.beta2, static_cast<double>(args.step))))
                                .sqrt();
  const at::Tensor sh_change = -args.lr_sh_rest * d_sh / (spread + args.epsilon).unsqueeze(2);
  sh_change.select(2, 0).copy_(change(d_sh.select(2, 0), 11, 3, args.lr_sh_dc));

  checks->Add("gaussian step", 1e-3,
              {{Host(means) - Host(g.means), change(oracle.means.grad(), 0, 3, args.lr_means)},
               {Host(quats) - Host(g.quats), change(oracle.quats.grad(), 3, 4, args.lr_quats)},
               {Host(log_scales) - Host(g.log_scales),
                change(oracle.log_scales.grad(), 7, 3, args.lr_log_scales)},
               {Host(logits) - Host(g.opacity_logits),
                change(oracle.opacity_logits.grad(), 10, 1, args.lr_opacity_logits)},
               {Host(sh) - Host(s.sh), sh_change}});
}

// Lifting is the gradient of blending with respect to what is blended.
void CheckLift(const Scene& s, const c10::Device& device, const at::Tensor& splats, Random* random,
               Checks* checks) {
  const int width = s.view.width_px, height = s.view.height_px;
  TileBinTensors bins;
  BinTiles(splats, width, height, &bins);
  const at::Tensor features = Leaf(s.features, c10::kCPU, at::kDouble);
  const at::Tensor shifts =
      at::zeros({2, kGaussians, int64_t{width} * height}, at::kDouble).requires_grad_(true);
  const RasterizedReference oracle = RasterizeReference(
      splats.cpu().to(at::kDouble), features, s.background.to(at::kDouble), width, height, shifts);
  const at::Tensor pixels =
      Uniform({int64_t{height} * width, kChannels}, -1, 1, random).to(at::kHalf);
  const at::Tensor sure = oracle.doubtful.logical_not().flatten();
  const at::Tensor d_image =
      (pixels.to(at::kDouble) * sure.unsqueeze(1)).t().reshape({kChannels, height, width});
  (oracle.image * d_image).sum().backward();

  const at::Tensor device_pixels = pixels.to(device);
  const at::Tensor cells =
      at::where(sure, at::arange(int64_t{height} * width, at::kInt), at::full({1}, -1, at::kInt))
          .to(at::kInt)
          .to(device);
  const at::Tensor sums =
      at::zeros({kGaussians, kChannels}, device_pixels.options().dtype(at::kFloat));
  LiftTilesArgs args = {};
  args.view.width_px = width, args.view.height_px = height;
  args.view.n = kGaussians;
  args.view.splats = reinterpret_cast<const Splat*>(splats.data_ptr<float>());
  args.view.tile_offsets = bins.offsets.data_ptr<int32_t>();
  args.view.tile_ids = bins.ids.data_ptr<int32_t>();
  args.view.cells = cells.data_ptr<int32_t>();
  args.dimension = kChannels;
  args.features = static_cast<const uint16_t*>(device_pixels.data_ptr());
  args.factor = 1;
  args.sums = sums.data_ptr<float>();
  args.stride = kChannels;
  ATHANOR_RUN_KERNEL(device, LiftTiles, args);
  checks->Add("lift", 1e-3, {{sums, features.grad()}});
}

Checks CheckAll(const c10::Device& device) {
  const c10::AutoGradMode with_gradients(true);
  const Scene scene;
  Random random(21);
  Checks checks;
  const at::Tensor splats = CheckProjection(scene, device, &random, &checks);
  CheckHarmonics(scene, device, &random, &checks);
  CheckRasterizer(scene, device, splats, &random, &checks);
  CheckImageLoss(device, &random, &checks);
  CheckStep(scene, device, splats, &random, &checks);
  CheckLift(scene, device, splats, &random, &checks);
  CheckFeatureKernels(device, &random, &checks);
  return checks;
}

}  // namespace
}  // namespace athanor::self_test

namespace athanor {

std::vector<KernelCheck> CheckKernels(const c10::Device& device) {
  CheckKernelDevice(device, "kernel check");
  return self_test::CheckAll(device).list;
}

}  // namespace athanor
