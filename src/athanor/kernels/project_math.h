// The projection of one Gaussian and its gradient, for the CPU (vectorised by the compiler over
// Gaussians: hence no branches) and for CUDA.
//
// Notation: camera = W mean + t; M = R(q) diag(s); V = W M; J = Jacobian of the perspective
// division; U = J V, so that the 2D covariance is U U^T + low-pass.
#pragma once

#include <cmath>

#include "athanor/kernels/fast_math.h"
#include "athanor/kernels/project.h"

namespace athanor {

// Everything of a view that does not depend on the Gaussian.
struct ProjectionConstants {
  float w[9], t[3];
  float fx, fy, cx, cy;
  float width, height;
  float min_x, max_x, min_y, max_y;  // x/z and y/z are clamped to this in J: the linearisation is
                                     // worthless far outside the image
  float near, far, radius_clip, low_pass;
  float antialias;  // 1 or 0
};

inline ProjectionConstants MakeProjectionConstants(const PinholeView& view,
                                                   const ProjectOptions& options) {
  ProjectionConstants k;
  for (int row = 0; row < 3; ++row) {
    for (int column = 0; column < 3; ++column) {
      k.w[3 * row + column] = view.camera_from_world[4 * row + column];
    }
    k.t[row] = view.camera_from_world[4 * row + 3];
  }
  k.fx = view.fx_px, k.fy = view.fy_px, k.cx = view.cx_px, k.cy = view.cy_px;
  k.width = static_cast<float>(view.width_px);
  k.height = static_cast<float>(view.height_px);
  // 30 % of half the field of view beyond the image, as Inria and gsplat do.
  const float margin_x = 0.15f * k.width / k.fx;
  const float margin_y = 0.15f * k.height / k.fy;
  k.min_x = -k.cx / k.fx - margin_x, k.max_x = (k.width - k.cx) / k.fx + margin_x;
  k.min_y = -k.cy / k.fy - margin_y, k.max_y = (k.height - k.cy) / k.fy + margin_y;
  k.near = options.near, k.far = options.far;
  k.radius_clip = options.radius_clip_px, k.low_pass = options.low_pass_px2;
  k.antialias = options.antialias ? 1.0f : 0.0f;
  return k;
}

struct GaussianValues {
  float mean[3], quat[4], log_scale[3], opacity_logit;
};

// What forward and backward both need.
struct ProjectionState {
  float x, y, z, inverse_z;   // in the camera frame
  float u_ratio, v_ratio;     // x/z and y/z, clamped
  float r[9];                 // R(q)
  float s[3];                 // scales
  float inverse_norm;         // 1 / |q|
  float q[4];                 // q / |q|
  float v[9];                 // V
  float u0[3], u1[3];         // rows of U
  float cov_a, cov_b, cov_c;  // U U^T, without the low-pass
  float sigmoid;              // opacity before compensation
};

ATHANOR_HOST_DEVICE float ProjectionSqrt(float x) {
#if defined(__CUDACC__)
  return sqrtf(x);
#else
  return __builtin_sqrtf(x);
#endif
}

ATHANOR_HOST_DEVICE ProjectionState ProjectGaussian(const GaussianValues& g,
                                                    const ProjectionConstants& k) {
  ProjectionState p;
  const float mx = g.mean[0], my = g.mean[1], mz = g.mean[2];
  p.x = k.w[0] * mx + k.w[1] * my + k.w[2] * mz + k.t[0];
  p.y = k.w[3] * mx + k.w[4] * my + k.w[5] * mz + k.t[1];
  p.z = k.w[6] * mx + k.w[7] * my + k.w[8] * mz + k.t[2];
  p.inverse_z = 1.0f / p.z;
  const float u_ratio = p.x * p.inverse_z, v_ratio = p.y * p.inverse_z;
  p.u_ratio = u_ratio < k.min_x ? k.min_x : (u_ratio > k.max_x ? k.max_x : u_ratio);
  p.v_ratio = v_ratio < k.min_y ? k.min_y : (v_ratio > k.max_y ? k.max_y : v_ratio);

  const float norm2 =
      g.quat[0] * g.quat[0] + g.quat[1] * g.quat[1] + g.quat[2] * g.quat[2] + g.quat[3] * g.quat[3];
  p.inverse_norm = 1.0f / ProjectionSqrt(norm2);
  for (int i = 0; i < 4; ++i) p.q[i] = g.quat[i] * p.inverse_norm;
  const float w = p.q[0], x = p.q[1], y = p.q[2], z = p.q[3];
  p.r[0] = 1 - 2 * (y * y + z * z), p.r[1] = 2 * (x * y - w * z), p.r[2] = 2 * (x * z + w * y);
  p.r[3] = 2 * (x * y + w * z), p.r[4] = 1 - 2 * (x * x + z * z), p.r[5] = 2 * (y * z - w * x);
  p.r[6] = 2 * (x * z - w * y), p.r[7] = 2 * (y * z + w * x), p.r[8] = 1 - 2 * (x * x + y * y);
  for (int j = 0; j < 3; ++j) p.s[j] = FastExp(g.log_scale[j]);
  for (int i = 0; i < 3; ++i) {
    for (int j = 0; j < 3; ++j) {
      p.v[3 * i + j] =
          (k.w[3 * i] * p.r[j] + k.w[3 * i + 1] * p.r[3 + j] + k.w[3 * i + 2] * p.r[6 + j]) *
          p.s[j];
    }
  }
  const float jx = k.fx * p.inverse_z, jy = k.fy * p.inverse_z;
  for (int j = 0; j < 3; ++j) {
    p.u0[j] = jx * (p.v[j] - p.u_ratio * p.v[6 + j]);
    p.u1[j] = jy * (p.v[3 + j] - p.v_ratio * p.v[6 + j]);
  }
  p.cov_a = p.u0[0] * p.u0[0] + p.u0[1] * p.u0[1] + p.u0[2] * p.u0[2];
  p.cov_b = p.u0[0] * p.u1[0] + p.u0[1] * p.u1[1] + p.u0[2] * p.u1[2];
  p.cov_c = p.u1[0] * p.u1[0] + p.u1[1] * p.u1[1] + p.u1[2] * p.u1[2];
  p.sigmoid = 1.0f / (1.0f + FastExp(-g.opacity_logit));
  return p;
}

// Ratio by which antialiasing scales the opacity: sqrt(det before / det after the low-pass).
ATHANOR_HOST_DEVICE float AntialiasRatio(const ProjectionState& p, float low_pass) {
  const float before = p.cov_a * p.cov_c - p.cov_b * p.cov_b;
  const float after = (p.cov_a + low_pass) * (p.cov_c + low_pass) - p.cov_b * p.cov_b;
  const float ratio = before / after;
  return ProjectionSqrt(ratio > 0.0f ? ratio : 0.0f);
}

ATHANOR_HOST_DEVICE Splat MakeSplat(const ProjectionState& p, const ProjectionConstants& k) {
  Splat s;
  s.x = k.fx * p.x * p.inverse_z + k.cx;
  s.y = k.fy * p.y * p.inverse_z + k.cy;
  const float a = p.cov_a + k.low_pass, b = p.cov_b, c = p.cov_c + k.low_pass;
  const float det = a * c - b * b;
  const float inverse_det = 1.0f / det;
  s.a = c * inverse_det;
  s.b = -b * inverse_det;
  s.c = a * inverse_det;
  s.opacity = p.sigmoid * (1.0f + k.antialias * (AntialiasRatio(p, k.low_pass) - 1.0f));
  s.depth = p.z;
  // alpha >= 1/255 inside the ellipse d^T cov^-1 d <= 2 log(255 opacity).
  const float opacity = s.opacity > kMinAlpha ? s.opacity : kMinAlpha;
  const float extent2 = 2.0f * FastLog(opacity * 255.0f);
  const float half_x = ProjectionSqrt(extent2 * a), half_y = ProjectionSqrt(extent2 * c);
  const float radius = half_x > half_y ? half_x : half_y;
  // Comparisons are false for NaN, so anything that is not finite is not visible. A float holds a
  // pixel position to 1/8 px up to 2^20; a splat larger than that is no splat.
  float visible = p.z >= k.near ? radius : 0.0f;
  visible = p.z <= k.far ? visible : 0.0f;
  visible = det > 0.0f ? visible : 0.0f;
  visible = inverse_det < 1e30f ? visible : 0.0f;
  visible = s.opacity >= kMinAlpha ? visible : 0.0f;
  visible = radius > k.radius_clip ? visible : 0.0f;
  visible = radius < 1e6f ? visible : 0.0f;
  visible = s.x + half_x > 0.0f ? visible : 0.0f;
  visible = s.x - half_x < k.width ? visible : 0.0f;
  visible = s.y + half_y > 0.0f ? visible : 0.0f;
  s.radius = s.y - half_y < k.height ? visible : 0.0f;
  return s;
}

struct GaussianGradient {
  float mean[3], quat[4], log_scale[3], opacity_logit;
};

ATHANOR_HOST_DEVICE GaussianGradient ProjectGaussianBackward(const ProjectionState& p,
                                                             const ProjectionConstants& k,
                                                             const SplatGradient& d) {
  GaussianGradient out;
  // Inverse of the 2D covariance: d cov = -Q G Q, G the symmetric gradient with respect to Q.
  const float a = p.cov_a + k.low_pass, b = p.cov_b, c = p.cov_c + k.low_pass;
  const float inverse_det = 1.0f / (a * c - b * b);
  const float qa = c * inverse_det, qb = -b * inverse_det, qc = a * inverse_det;
  const float ga = d.a, gb = 0.5f * d.b, gc = d.c;
  const float t00 = qa * ga + qb * gb, t01 = qa * gb + qb * gc;
  const float t10 = qb * ga + qc * gb, t11 = qb * gb + qc * gc;
  float h00 = -(t00 * qa + t01 * qb);
  float h01 = -(t00 * qb + t01 * qc);
  float h11 = -(t10 * qb + t11 * qc);

  // ratio^2 = D0 / D1: d ratio = (dD0 / D1 - ratio^2 dD1 / D1) / (2 ratio)
  const float ratio = AntialiasRatio(p, k.low_pass);
  const float d_sigmoid = d.opacity * (1.0f + k.antialias * (ratio - 1.0f));
  const float safe_ratio = ratio > 1e-6f ? ratio : 1e-6f;
  const float f = k.antialias * d.opacity * p.sigmoid * 0.5f * inverse_det / safe_ratio;
  const float r2 = ratio * ratio;
  h00 += f * (p.cov_c - r2 * c);
  h11 += f * (p.cov_a - r2 * a);
  h01 += f * (r2 - 1.0f) * b;  // D contains -b^2; h01 stands for half of d/db
  out.opacity_logit = d_sigmoid * p.sigmoid * (1.0f - p.sigmoid);

  const float jx = k.fx * p.inverse_z, jy = k.fy * p.inverse_z;
  float dv[9];
  float d_u_ratio = 0, d_v_ratio = 0, u_dot = 0;
  for (int j = 0; j < 3; ++j) {
    const float du0 = 2.0f * (h00 * p.u0[j] + h01 * p.u1[j]);
    const float du1 = 2.0f * (h01 * p.u0[j] + h11 * p.u1[j]);
    dv[j] = jx * du0;
    dv[3 + j] = jy * du1;
    dv[6 + j] = -(jx * p.u_ratio * du0 + jy * p.v_ratio * du1);
    d_u_ratio -= jx * du0 * p.v[6 + j];
    d_v_ratio -= jy * du1 * p.v[6 + j];
    u_dot += du0 * p.u0[j] + du1 * p.u1[j];
  }
  const float u_ratio = p.x * p.inverse_z, v_ratio = p.y * p.inverse_z;
  // Where the ratio was clamped it is a constant.
  const float free_u = u_ratio == p.u_ratio ? d_u_ratio : 0.0f;
  const float free_v = v_ratio == p.v_ratio ? d_v_ratio : 0.0f;
  const float dx = (k.fx * d.x + free_u) * p.inverse_z;
  const float dy = (k.fy * d.y + free_v) * p.inverse_z;
  const float dz = d.depth - u_dot * p.inverse_z - dx * u_ratio - dy * v_ratio;
  for (int j = 0; j < 3; ++j) {
    out.mean[j] = k.w[j] * dx + k.w[3 + j] * dy + k.w[6 + j] * dz;
  }

  float dr[9];
  for (int j = 0; j < 3; ++j) {
    float along = 0;
    for (int i = 0; i < 3; ++i) {
      const float dm = k.w[i] * dv[j] + k.w[3 + i] * dv[3 + j] + k.w[6 + i] * dv[6 + j];
      dr[3 * i + j] = dm * p.s[j];
      along += dm * p.r[3 * i + j];
    }
    out.log_scale[j] = along * p.s[j];
  }
  const float w = p.q[0], x = p.q[1], y = p.q[2], z = p.q[3];
  float dq[4];
  dq[0] = 2 * (x * (dr[7] - dr[5]) + y * (dr[2] - dr[6]) + z * (dr[3] - dr[1]));
  dq[1] = 2 * (w * (dr[7] - dr[5]) + y * (dr[1] + dr[3]) + z * (dr[2] + dr[6]) -
               2 * x * (dr[4] + dr[8]));
  dq[2] = 2 * (w * (dr[2] - dr[6]) + x * (dr[1] + dr[3]) + z * (dr[5] + dr[7]) -
               2 * y * (dr[0] + dr[8]));
  dq[3] = 2 * (w * (dr[3] - dr[1]) + x * (dr[2] + dr[6]) + y * (dr[5] + dr[7]) -
               2 * z * (dr[0] + dr[4]));
  // Through the normalisation only what is perpendicular to q remains.
  const float dot = dq[0] * w + dq[1] * x + dq[2] * y + dq[3] * z;
  for (int i = 0; i < 4; ++i) out.quat[i] = (dq[i] - dot * p.q[i]) * p.inverse_norm;
  return out;
}

}  // namespace athanor
