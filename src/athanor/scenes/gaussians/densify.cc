#include "athanor/scenes/gaussians/densify.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>
#include <vector>

#include "athanor/base/parallel.h"
#include "athanor/base/random.h"
#include "athanor/kernels/splat.h"

namespace athanor {
namespace {

// n x 3 standard normals that depend on (seed, row, column) alone.
at::Tensor NormalRows(int64_t n, uint64_t seed, const c10::Device& device) {
  at::Tensor rows = at::empty({n, 3}, at::kFloat);
  auto* data = rows.data_ptr<float>();
  constexpr int64_t kGrain = 4096;
  ParallelFor(n, kGrain, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      Random random(MixBits(seed) + static_cast<uint64_t>(i));
      for (int k = 0; k < 3; ++k) data[3 * i + k] = random.Normal();
    }
  });
  return rows.to(device);
}

// [N,3,3] rotation matrices of quaternions wxyz of any length.
at::Tensor RotationMatrices(const at::Tensor& quats) {
  const at::Tensor q = quats / quats.norm(2, {1}, true).clamp_min(1e-12);
  const at::Tensor w = q.select(1, 0), x = q.select(1, 1), y = q.select(1, 2), z = q.select(1, 3);
  return at::stack({1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y),
                    2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x),
                    2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)},
                   1)
      .view({-1, 3, 3});
}

at::Tensor RowsWhere(const at::Tensor& mask) { return at::nonzero(mask).squeeze(1); }

// New opacity and scale factor of a Gaussian that is replaced by `copies` equal ones, such that
// together they render as it did (3DGS-MCMC, equation 9).
struct Relocated {
  float opacity, scale_factor;
};

Relocated Relocate(float opacity, int copies) {
  constexpr int kMaxCopies = 51;
  copies = std::clamp(copies, 1, kMaxCopies);
  const double o = 1.0 - std::pow(1.0 - static_cast<double>(opacity), 1.0 / copies);
  double sum = 0;
  for (int i = 1; i <= copies; ++i) {
    double binomial = 1;
    for (int k = 0; k < i; ++k) {
      sum += binomial * (k % 2 == 0 ? 1 : -1) * std::pow(o, k + 1) / std::sqrt(k + 1.0);
      binomial = binomial * (i - 1 - k) / (k + 1);
    }
  }
  return {static_cast<float>(o), static_cast<float>(opacity / sum)};
}

// Indices drawn with replacement, in proportion to `weights` (host, n of them).
std::vector<int64_t> Draw(const float* weights, int64_t n, int64_t count, uint64_t seed) {
  std::vector<double> sums(n);
  double total = 0;
  for (int64_t i = 0; i < n; ++i) sums[i] = total += weights[i];
  std::vector<int64_t> drawn(count);
  Random random(seed);
  for (int64_t& index : drawn) {
    const double high = random.NextBits();
    const double u = (high + random.NextBits() * 0x1p-32) * 0x1p-32 * total;
    index = std::min<int64_t>(n - 1, std::upper_bound(sums.begin(), sums.end(), u) - sums.begin());
  }
  return drawn;
}

at::Tensor ToTensor(const std::vector<int64_t>& rows, const c10::Device& device) {
  return at::tensor(rows, at::kLong).to(device);
}

// Gives the sources (rows drawn, with repeats) the opacity and scale that they share with their
// copies. Returns nothing: the copies are made from the updated rows.
void ShareWithCopies(const std::vector<int64_t>& sources, GaussianModel* model) {
  std::vector<int> copies(model->size(), 0);
  for (const int64_t row : sources) ++copies[row];
  const at::Tensor opacity = at::sigmoid(model->opacity_logits()).to(at::kCPU);
  const float* o = opacity.data_ptr<float>();
  std::vector<int64_t> rows;
  std::vector<float> logits, log_factors;
  for (int64_t i = 0; i < model->size(); ++i) {
    if (copies[i] == 0) continue;
    const Relocated r = Relocate(o[i], copies[i] + 1);
    const float p = std::clamp(r.opacity, 0.005f, 1.0f - 1e-6f);
    rows.push_back(i);
    logits.push_back(std::log(p / (1 - p)));
    log_factors.push_back(std::log(r.scale_factor));
  }
  const c10::Device device = model->device();
  const at::Tensor index = ToTensor(rows, device);
  model->opacity_logits().index_copy_(0, index, at::tensor(logits).to(device));
  model->log_scales().index_add_(0, index,
                                 at::tensor(log_factors).to(device).unsqueeze(1).expand({-1, 3}));
  model->ZeroMoments(index);
}

}  // namespace

void GradientStatistics::Reset(const GaussianModel& model) {
  sum = at::zeros({model.size()}, at::TensorOptions().dtype(at::kFloat).device(model.device()));
  count = at::zeros_like(sum);
}

void GradientStatistics::Add(const at::Tensor& splats, const at::Tensor& d_splats, int width_px,
                             int height_px, bool absolute) {
  const float half_width = 0.5f * static_cast<float>(width_px);
  const float half_height = 0.5f * static_cast<float>(height_px);
  if (!splats.is_cpu()) {
    const int first = absolute ? 7 : 0;  // abs_x or x of SplatGradient
    const at::Tensor visible = (splats.select(1, 7) > 0).to(at::kFloat);
    sum += at::hypot(d_splats.select(1, first) * half_width,
                     d_splats.select(1, first + 1) * half_height) *
           visible;
    count += visible;
    return;
  }
  const auto* s = reinterpret_cast<const Splat*>(splats.data_ptr<float>());
  const auto* d = reinterpret_cast<const SplatGradient*>(d_splats.data_ptr<float>());
  auto* sums = sum.data_ptr<float>();
  auto* counts = count.data_ptr<float>();
  constexpr int64_t kGrain = 1 << 14;
  ParallelFor(splats.size(0), kGrain, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      if (!(s[i].radius > 0)) continue;
      const float x = (absolute ? d[i].abs_x : d[i].x) * half_width;
      const float y = (absolute ? d[i].abs_y : d[i].y) * half_height;
      sums[i] += std::sqrt(x * x + y * y);
      counts[i] += 1;
    }
  });
}

DensifyCounts DensifyByGradient(const ReconstructOptions& options, float extent, bool prune_large,
                                uint64_t seed, const GradientStatistics& statistics,
                                GaussianModel* model) {
  DensifyCounts counts;
  const int64_t before = model->size();
  const c10::Device device = model->device();
  const at::Tensor gradient = statistics.sum / statistics.count.clamp_min(1);
  at::Tensor wanted = gradient >= options.densify_gradient;
  if (options.max_gaussians > 0) {
    // The largest gradients first, as many as fit.
    const int64_t room = std::max<int64_t>(0, options.max_gaussians - before);
    const int64_t asked = wanted.sum().item<int64_t>();
    if (asked > room) {
      const at::Tensor order = at::argsort(gradient, 0, /*descending=*/true);
      wanted = at::zeros_like(wanted);
      wanted.index_fill_(0, order.narrow(0, 0, room), true);
    }
  }
  const at::Tensor largest = at::exp(std::get<0>(model->log_scales().max(1)));
  const at::Tensor small = largest <= options.densify_scale * extent;
  const at::Tensor clone = RowsWhere(wanted & small);
  const at::Tensor split = RowsWhere(wanted & ~small);
  counts.cloned = clone.numel();
  counts.split = split.numel();

  model->Append(clone);
  if (counts.split > 0) {
    // Two samples of each Gaussian, 1.6 times smaller, in its place.
    const at::Tensor twice = split.repeat({2});
    const int64_t first = model->size();
    model->Append(twice);
    const int64_t added = 2 * counts.split;
    at::Tensor means = model->means().narrow(0, first, added);
    at::Tensor log_scales = model->log_scales().narrow(0, first, added);
    const at::Tensor offsets = NormalRows(added, seed, device) * at::exp(log_scales);
    const at::Tensor rotations = RotationMatrices(model->quats().narrow(0, first, added));
    means += at::matmul(rotations, offsets.unsqueeze(2)).squeeze(2);
    log_scales -= std::log(1.6f);
  }

  at::Tensor keep = at::sigmoid(model->opacity_logits()) >= options.prune_opacity;
  if (prune_large) {
    keep &= at::exp(std::get<0>(model->log_scales().max(1))) <= options.prune_scale * extent;
  }
  keep.index_fill_(0, split, false);
  const at::Tensor rows = RowsWhere(keep);
  counts.pruned = model->size() - rows.numel() - counts.split;
  if (rows.numel() > 0) model->Keep(rows);
  return counts;
}

void ResetOpacity(float ceiling, GaussianModel* model) {
  model->opacity_logits().clamp_max_(std::log(ceiling / (1 - ceiling)));
  model->ZeroOpacityMoments();
}

DensifyCounts RelocateAndGrow(float dead_opacity, int64_t cap, uint64_t seed,
                              GaussianModel* model) {
  DensifyCounts counts;
  const c10::Device device = model->device();
  const auto draw_live = [&](int64_t count, uint64_t draw_seed) {
    const at::Tensor opacity = at::sigmoid(model->opacity_logits());
    const at::Tensor weights =
        at::where(opacity > dead_opacity, opacity, at::zeros_like(opacity)).to(at::kCPU);
    return Draw(weights.data_ptr<float>(), model->size(), count, draw_seed);
  };
  const at::Tensor dead = RowsWhere(at::sigmoid(model->opacity_logits()) <= dead_opacity);
  if (dead.numel() > 0 && dead.numel() < model->size()) {
    const std::vector<int64_t> sources = draw_live(dead.numel(), seed);
    ShareWithCopies(sources, model);
    const at::Tensor from = ToTensor(sources, device);
    for (at::Tensor rows : {model->means(), model->quats(), model->log_scales(),
                            model->opacity_logits(), model->sh()}) {
      rows.index_copy_(0, dead, rows.index_select(0, from));
    }
    model->ZeroMoments(dead);
    counts.pruned = dead.numel();
  }
  const auto target = std::min<int64_t>(cap, static_cast<int64_t>(1.05 * model->size()));
  if (target > model->size()) {
    const std::vector<int64_t> sources = draw_live(target - model->size(), MixBits(seed));
    ShareWithCopies(sources, model);
    counts.cloned = target - model->size();
    model->Append(ToTensor(sources, device));
  }
  return counts;
}

void AddPositionNoise(float scale, uint64_t seed, GaussianModel* model) {
  const int64_t n = model->size();
  const c10::Device device = model->device();
  if (!device.is_cpu()) {
    const at::Tensor open = at::sigmoid(-100 * (at::sigmoid(model->opacity_logits()) - 0.005));
    const at::Tensor rotations = RotationMatrices(model->quats());
    const at::Tensor factors = rotations * at::exp(model->log_scales()).unsqueeze(1);
    const at::Tensor noise =
        NormalRows(n, seed, device).unsqueeze(2) * (scale * open).view({-1, 1, 1});
    model->means() += at::matmul(factors, at::matmul(factors.transpose(1, 2), noise)).squeeze(2);
    return;
  }
  const GaussianParameters p = model->parameters();
  constexpr int64_t kGrain = 2048;
  ParallelFor(n, kGrain, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      const float opacity = 1 / (1 + std::exp(-p.opacity_logits[i]));
      const float open = 1 / (1 + std::exp(100 * (opacity - 0.005f)));
      if (open < 1e-6f) continue;  // a millionth of the step
      Random random(MixBits(seed) + static_cast<uint64_t>(i));
      float e[3];
      for (float& v : e) v = random.Normal() * scale * open;
      const float* q = p.quats + 4 * i;
      const float inverse =
          1 / std::sqrt(q[0] * q[0] + q[1] * q[1] + q[2] * q[2] + q[3] * q[3] + 1e-20f);
      const float w = q[0] * inverse, x = q[1] * inverse, y = q[2] * inverse, z = q[3] * inverse;
      const float r[9] = {
          1 - 2 * (y * y + z * z), 2 * (x * y - w * z),     2 * (x * z + w * y),
          2 * (x * y + w * z),     1 - 2 * (x * x + z * z), 2 * (y * z - w * x),
          2 * (x * z - w * y),     2 * (y * z + w * x),     1 - 2 * (x * x + y * y)};
      // R S^2 R^T e
      for (int k = 0; k < 3; ++k) {
        const float variance = std::exp(2 * p.log_scales[3 * i + k]);
        const float along = (r[k] * e[0] + r[3 + k] * e[1] + r[6 + k] * e[2]) * variance;
        for (int axis = 0; axis < 3; ++axis) p.means[3 * i + axis] += r[3 * axis + k] * along;
      }
    }
  });
}

}  // namespace athanor
