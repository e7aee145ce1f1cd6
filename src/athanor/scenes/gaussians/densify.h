// Where a scene needs more Gaussians and where fewer.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>

#include "athanor/scenes/gaussians/gaussian_model.h"
#include "athanor/scenes/gaussians/trainer.h"

namespace athanor {

// View-space gradients since the last refinement.
struct GradientStatistics {
  at::Tensor sum;    // [N] f32 norm of the gradient of the splat's centre, half image sizes
  at::Tensor count;  // [N] f32 views in which the Gaussian was visible

  void Reset(const GaussianModel& model);
  // `splats`, `d_splats` as the renderer leaves them.
  void Add(const at::Tensor& splats, const at::Tensor& d_splats, int width_px, int height_px,
           bool absolute);
};

struct DensifyCounts {
  int64_t cloned = 0, split = 0, pruned = 0;
};

// Kerbl et al. 2023, section 5.2: clones small Gaussians of large gradient, splits large ones in
// two, removes the transparent and, when `prune_large`, the huge. `extent` is the scene's size.
DensifyCounts DensifyByGradient(const ReconstructOptions& options, float extent, bool prune_large,
                                uint64_t seed, const GradientStatistics& statistics,
                                GaussianModel* model);

// opacity = min(opacity, ceiling), moments forgotten.
void ResetOpacity(float ceiling, GaussianModel* model);

// 3DGS-MCMC (Kheradmand et al. 2024): moves dead Gaussians onto live ones drawn by opacity, then
// adds 5 % more, up to `cap`, such that the rendered image stays as it is.
DensifyCounts RelocateAndGrow(float dead_opacity, int64_t cap, uint64_t seed, GaussianModel* model);

// Its noise: moves each mean by its covariance times a normal, most where opacity is near 0.
void AddPositionNoise(float scale, uint64_t seed, GaussianModel* model);

}  // namespace athanor
