// Projection of 3D Gaussians to splats (EWA splatting, Zwicker et al. 2001; Kerbl et al. 2023), and
// its gradient. Work per Gaussian is independent; the functions run on all threads.
#pragma once

#include <cstdint>

#include "athanor/kernels/splat.h"

namespace athanor {

struct ProjectOptions {
  float near = 0.01f;           // nearer Gaussians are not visible; scene units
  float far = 1e10f;            // nor are those farther than this
  float radius_clip_px = 0.0f;  // nor those whose radius is at most this
  float low_pass_px2 = 0.3f;    // added to the variance along x and y
  bool antialias = false;       // scale the opacity so that the low-pass keeps the energy
                                // (Mip-Splatting, Yu et al. 2024)
};

struct ProjectForwardArgs {
  GaussianArrays gaussians;
  PinholeView view;
  ProjectOptions options;
  Splat* splats;  // [N] out; not visible, or not finite: radius 0, the other fields unspecified
};

struct ProjectBackwardArgs {
  GaussianArrays gaussians;
  PinholeView view;
  ProjectOptions options;
  const Splat* splats;             // [N] as the forward pass left them
  const SplatGradient* gradients;  // [N]
  // Out, overwritten; 0 for Gaussians that are not visible.
  float* d_means;           // [N,3]
  float* d_quats;           // [N,4]
  float* d_log_scales;      // [N,3]
  float* d_opacity_logits;  // [N]
};

void ProjectForwardCpu(const ProjectForwardArgs& args);
void ProjectBackwardCpu(const ProjectBackwardArgs& args);

// For the Gaussians [begin, end) only, on the calling thread; the outputs begin with Gaussian
// `begin`.
void ProjectBackwardRangeCpu(const ProjectBackwardArgs& args, int64_t begin, int64_t end);

void ProjectForwardCuda(const ProjectForwardArgs& args, void* stream);
void ProjectBackwardCuda(const ProjectBackwardArgs& args, void* stream);

}  // namespace athanor
