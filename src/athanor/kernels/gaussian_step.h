// One optimiser step for Gaussians: gradients of splats and colours flow back through projection
// and spherical harmonics straight into Adam. Parameter gradients never reach memory.
//
// Moments of the spherical harmonics are small: for any direction, the mean of Y_k^2 over a band is
// 1 / 4pi (Unsoeld's theorem), so the mean squared gradient of a band is that of the colour over
// 4pi and one second moment per channel serves all coefficients (for DC it is exactly Adam's). Like
// VectorAdam (Ling et al. 2022) the step then does not depend on the frame. First moments of the
// harmonics are kept as bfloat16.
#pragma once

#include <cstdint>

#include "athanor/kernels/project.h"

namespace athanor {

struct GaussianParameters {
  float* means;           // [N,3]
  float* quats;           // [N,4]
  float* log_scales;      // [N,3]
  float* opacity_logits;  // [N]
  float* sh;              // [N,3,K]
};

// Adam's moments; zero for a new Gaussian. 196 bytes per Gaussian at K = 16.
struct GaussianMoments {
  float* geometry_first;   // [N,11] means, quats, log_scales, opacity_logit
  float* geometry_second;  // [N,11]
  uint16_t* sh_first;      // [N,3,K] bfloat16
  float* sh_second;        // [N,3]
};

struct GaussianStepArgs {
  int64_t n;
  int sh_degree;        // bands in use, 0..3
  int sh_coefficients;  // K
  GaussianParameters parameters;
  GaussianMoments moments;
  PinholeView view;
  ProjectOptions options;
  float camera_center[3];         // world frame
  const Splat* splats;            // [N]
  const float* colors;            // [N,3]
  const SplatGradient* d_splats;  // [N]
  const float* d_colors;          // [N,3]
  // Learning rates.
  float lr_means, lr_quats, lr_log_scales, lr_opacity_logits, lr_sh_dc, lr_sh_rest;
  float beta1, beta2, epsilon;
  int64_t step;       // 1, 2, ...: for the bias correction
  bool visible_only;  // leave Gaussians that this view does not see, and their moments, alone
  // Regularisers of 3DGS-MCMC (Kheradmand et al. 2024): these times mean(opacity), mean(scale) are
  // added to the loss.
  float opacity_regularizer, scale_regularizer;
};

void GaussianStepCpu(const GaussianStepArgs& args);
void GaussianStepCuda(const GaussianStepArgs& args, void* stream);

}  // namespace athanor
