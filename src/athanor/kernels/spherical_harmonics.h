// View-dependent colour from real spherical harmonics of degree 0..3, and its gradient.
// Basis, order and signs are those of Kerbl et al. 2023 (Inria's PLY files).
#pragma once

#include <cstdint>

#include "athanor/kernels/splat.h"

namespace athanor {

struct ShForwardArgs {
  int64_t n;
  int degree;              // 0..3: how many bands to evaluate
  int coefficients;        // K, stored per channel; at least (degree+1)^2, one of 1, 4, 9, 16
  const float* means;      // [N,3] world frame
  const float* sh;         // [N,3,K]
  float camera_center[3];  // world frame
  const Splat* splats;     // [N]; Gaussians of radius 0 are skipped. Null: none is skipped
  float* colors;           // [N,3] out: max(0, 0.5 + sum Y_k sh_k)
};

struct ShBackwardArgs {
  int64_t n;
  int degree;
  int coefficients;
  const float* means;
  const float* sh;
  float camera_center[3];
  const Splat* splats;
  const float* colors;    // [N,3] as the forward pass left them: no gradient where clamped at 0
  const float* d_colors;  // [N,3]
  float* d_sh;            // [N,3,K] out, overwritten
  float* d_means;         // [N,3] out, overwritten
};

void ShForwardCpu(const ShForwardArgs& args);
void ShBackwardCpu(const ShBackwardArgs& args);

void ShForwardCuda(const ShForwardArgs& args, void* stream);
void ShBackwardCuda(const ShBackwardArgs& args, void* stream);

}  // namespace athanor
