// The basis functions and their derivatives, for the CPU and CUDA.
#pragma once

#include "athanor/kernels/host_device.h"

namespace athanor {

inline constexpr float kSh0 = 0.28209479177387814f;
inline constexpr float kSh1 = 0.4886025119029199f;
inline constexpr float kSh20 = 1.0925484305920792f;
inline constexpr float kSh22 = 0.31539156525252005f;
inline constexpr float kSh24 = 0.5462742152960396f;
inline constexpr float kSh30 = 0.5900435899266435f;
inline constexpr float kSh31 = 2.890611442640554f;
inline constexpr float kSh32 = 0.4570457994644658f;
inline constexpr float kSh33 = 0.3731763325901154f;
inline constexpr float kSh35 = 1.445305721320277f;

// Y_k(x, y, z) for k < (degree+1)^2; (x, y, z) of unit length.
ATHANOR_HOST_DEVICE void ShBasis(int degree, float x, float y, float z, float* basis) {
  basis[0] = kSh0;
  if (degree < 1) return;
  basis[1] = -kSh1 * y;
  basis[2] = kSh1 * z;
  basis[3] = -kSh1 * x;
  if (degree < 2) return;
  const float xx = x * x, yy = y * y, zz = z * z;
  basis[4] = kSh20 * x * y;
  basis[5] = -kSh20 * y * z;
  basis[6] = kSh22 * (2 * zz - xx - yy);
  basis[7] = -kSh20 * x * z;
  basis[8] = kSh24 * (xx - yy);
  if (degree < 3) return;
  basis[9] = -kSh30 * y * (3 * xx - yy);
  basis[10] = kSh31 * x * y * z;
  basis[11] = -kSh32 * y * (4 * zz - xx - yy);
  basis[12] = kSh33 * z * (2 * zz - 3 * xx - 3 * yy);
  basis[13] = -kSh32 * x * (4 * zz - xx - yy);
  basis[14] = kSh35 * z * (xx - yy);
  basis[15] = -kSh30 * x * (xx - 3 * yy);
}

// Gradient of sum_k s[k] Y_k with respect to (x, y, z), taken as independent variables.
ATHANOR_HOST_DEVICE void ShBasisGradient(int degree, float x, float y, float z, const float* s,
                                         float* d) {
  d[0] = d[1] = d[2] = 0;
  if (degree < 1) return;
  d[0] = -kSh1 * s[3];
  d[1] = -kSh1 * s[1];
  d[2] = kSh1 * s[2];
  if (degree < 2) return;
  d[0] += kSh20 * (y * s[4] - z * s[7]) - 2 * kSh22 * x * s[6] + 2 * kSh24 * x * s[8];
  d[1] += kSh20 * (x * s[4] - z * s[5]) - 2 * kSh22 * y * s[6] - 2 * kSh24 * y * s[8];
  d[2] += -kSh20 * (y * s[5] + x * s[7]) + 4 * kSh22 * z * s[6];
  if (degree < 3) return;
  const float xx = x * x, yy = y * y, zz = z * z;
  d[0] += -6 * kSh30 * x * y * s[9] + kSh31 * y * z * s[10] + 2 * kSh32 * x * y * s[11] -
          6 * kSh33 * x * z * s[12] - kSh32 * (4 * zz - 3 * xx - yy) * s[13] +
          2 * kSh35 * x * z * s[14] - 3 * kSh30 * (xx - yy) * s[15];
  d[1] += -3 * kSh30 * (xx - yy) * s[9] + kSh31 * x * z * s[10] -
          kSh32 * (4 * zz - xx - 3 * yy) * s[11] - 6 * kSh33 * y * z * s[12] +
          2 * kSh32 * x * y * s[13] - 2 * kSh35 * y * z * s[14] + 6 * kSh30 * x * y * s[15];
  d[2] += kSh31 * x * y * s[10] - 8 * kSh32 * y * z * s[11] +
          kSh33 * (6 * zz - 3 * xx - 3 * yy) * s[12] - 8 * kSh32 * x * z * s[13] +
          kSh35 * (xx - yy) * s[14];
}

// Gradient with respect to a vector from that with respect to its direction `unit`;
// `inverse_length` is 1 / |vector|.
ATHANOR_HOST_DEVICE void NormalizeGradient(const float* unit, float inverse_length,
                                           const float* d_unit, float* d_vector) {
  const float dot = unit[0] * d_unit[0] + unit[1] * d_unit[1] + unit[2] * d_unit[2];
  for (int i = 0; i < 3; ++i) d_vector[i] = (d_unit[i] - dot * unit[i]) * inverse_length;
}

}  // namespace athanor
