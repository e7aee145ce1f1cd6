// One optimiser step for Gaussians: gradients of splats and colours flow back through projection
// and spherical harmonics straight into Adam. Parameter gradients never reach memory.
//
// Spherical harmonics are most of a Gaussian's bytes, so their optimiser state is small:
// - For any direction, the mean of Y_k^2 over a band is 1 / 4pi (Unsoeld's theorem), so the mean
//   squared gradient of a band is that of the colour over 4pi, and the second moment of DC serves
//   all coefficients of its channel. Like VectorAdam (Ling et al. 2022), the step of a band then
//   does not depend on the frame.
// - Coefficients above DC have no first moment: it delays a gradient, and does not change what the
//   steps add up to. Their learning rate is low, so nothing is to be damped.
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

inline constexpr int kNumMoments = 14;  // means 3, quats 4, log_scales 3, opacity_logit, DC of sh 3

// Adam's moments; zero for a new Gaussian. 84 bytes per Gaussian.
struct GaussianMoments {
  uint16_t* first;  // [N,14] bfloat16
  float* second;    // [N,14]
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
