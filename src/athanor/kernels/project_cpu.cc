#include <algorithm>

#include "athanor/base/parallel.h"
#include "athanor/kernels/project.h"
#include "athanor/kernels/project_math.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "athanor/kernels/project_cpu.cc"
// clang-format off
#include <hwy/foreach_target.h>
// clang-format on
#include <hwy/highway.h>

HWY_BEFORE_NAMESPACE();
namespace athanor {
namespace HWY_NAMESPACE {

// Gaussians are worked on in blocks, field by field, so that the compiler vectorises over them.
constexpr int kBlock = 16;
using Field = float[kBlock];

constexpr int kGaussianFields = 11;
constexpr int kSplatFields = sizeof(Splat) / sizeof(float);
constexpr int kGradientFields = sizeof(SplatGradient) / sizeof(float);

// rows[count][width] -> fields[width][kBlock]; the last row fills up the block.
template <int width>
HWY_ATTR void LoadFields(const float* rows, int count, Field* fields) {
  for (int i = 0; i < kBlock; ++i) {
    const float* row = rows + width * (i < count ? i : count - 1);
    for (int f = 0; f < width; ++f) fields[f][i] = row[f];
  }
}

template <int width>
HWY_ATTR void StoreFields(const Field* fields, int count, float* rows) {
  for (int i = 0; i < count; ++i) {
    for (int f = 0; f < width; ++f) rows[width * i + f] = fields[f][i];
  }
}

HWY_ATTR void LoadGaussians(const GaussianArrays& g, int64_t first, int count, Field* fields) {
  LoadFields<3>(g.means + 3 * first, count, fields);
  LoadFields<4>(g.quats + 4 * first, count, fields + 3);
  LoadFields<3>(g.log_scales + 3 * first, count, fields + 7);
  LoadFields<1>(g.opacity_logits + first, count, fields + 10);
}

ATHANOR_HOST_DEVICE GaussianValues ValuesAt(const Field* in, int i) {
  GaussianValues v;
  v.mean[0] = in[0][i], v.mean[1] = in[1][i], v.mean[2] = in[2][i];
  v.quat[0] = in[3][i], v.quat[1] = in[4][i], v.quat[2] = in[5][i], v.quat[3] = in[6][i];
  v.log_scale[0] = in[7][i], v.log_scale[1] = in[8][i], v.log_scale[2] = in[9][i];
  v.opacity_logit = in[10][i];
  return v;
}

HWY_ATTR void ForwardBlock(const Field* __restrict in, const ProjectionConstants& constants,
                           Field* __restrict out) {
  const ProjectionConstants k = constants;
#pragma omp simd
  for (int i = 0; i < kBlock; ++i) {
    const Splat s = MakeSplat(ProjectGaussian(ValuesAt(in, i), k), k);
    out[0][i] = s.x, out[1][i] = s.y;
    out[2][i] = s.a, out[3][i] = s.b, out[4][i] = s.c;
    out[5][i] = s.opacity, out[6][i] = s.depth, out[7][i] = s.radius;
  }
}

// `radius` is 0 for Gaussians that are not visible, whose gradients may be anything but finite.
HWY_ATTR void BackwardBlock(const Field* __restrict in, const Field* __restrict d,
                            const float* __restrict radius, const ProjectionConstants& constants,
                            Field* __restrict out) {
  const ProjectionConstants k = constants;
#pragma omp simd
  for (int i = 0; i < kBlock; ++i) {
    SplatGradient g;
    g.x = d[0][i], g.y = d[1][i];
    g.a = d[2][i], g.b = d[3][i], g.c = d[4][i];
    g.opacity = d[5][i], g.depth = d[6][i];
    const GaussianGradient r = ProjectGaussianBackward(ProjectGaussian(ValuesAt(in, i), k), k, g);
    out[0][i] = r.mean[0];
    out[1][i] = r.mean[1];
    out[2][i] = r.mean[2];
    out[3][i] = r.quat[0];
    out[4][i] = r.quat[1];
    out[5][i] = r.quat[2];
    out[6][i] = r.quat[3];
    out[7][i] = r.log_scale[0];
    out[8][i] = r.log_scale[1];
    out[9][i] = r.log_scale[2];
    out[10][i] = r.opacity_logit;
  }
  for (int f = 0; f < kGaussianFields; ++f) {
    for (int i = 0; i < kBlock; ++i) out[f][i] = radius[i] > 0.0f ? out[f][i] : 0.0f;
  }
}

HWY_ATTR void ProjectForwardRange(const ProjectForwardArgs& args,
                                  const ProjectionConstants& constants, int64_t begin,
                                  int64_t end) {
  alignas(64) Field in[kGaussianFields], out[kSplatFields];
  for (int64_t first = begin; first < end; first += kBlock) {
    const int count = static_cast<int>(std::min<int64_t>(kBlock, end - first));
    LoadGaussians(args.gaussians, first, count, in);
    ForwardBlock(in, constants, out);
    StoreFields<kSplatFields>(out, count, reinterpret_cast<float*>(args.splats + first));
  }
}

// Outputs begin with Gaussian `begin`.
HWY_ATTR void ProjectBackwardRange(const ProjectBackwardArgs& args,
                                   const ProjectionConstants& constants, int64_t begin,
                                   int64_t end) {
  alignas(64) Field in[kGaussianFields], d[kGradientFields], radius, out[kGaussianFields];
  for (int64_t first = begin; first < end; first += kBlock) {
    const int count = static_cast<int>(std::min<int64_t>(kBlock, end - first));
    const int64_t at = first - begin;
    bool any = false;
    for (int i = 0; i < kBlock; ++i) {
      radius[i] = i < count ? args.splats[first + i].radius : 0.0f;
      any |= radius[i] > 0;
    }
    if (any) {
      LoadGaussians(args.gaussians, first, count, in);
      LoadFields<kGradientFields>(reinterpret_cast<const float*>(args.gradients + first), count, d);
      BackwardBlock(in, d, radius, constants, out);
    } else {
      std::fill_n(out[0], kGaussianFields * kBlock, 0.0f);
    }
    StoreFields<3>(out, count, args.d_means + 3 * at);
    StoreFields<4>(out + 3, count, args.d_quats + 4 * at);
    StoreFields<3>(out + 7, count, args.d_log_scales + 3 * at);
    StoreFields<1>(out + 10, count, args.d_opacity_logits + at);
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace athanor
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace athanor {

HWY_EXPORT(ProjectForwardRange);
HWY_EXPORT(ProjectBackwardRange);

namespace {
constexpr int64_t kGrain = 2048;  // Gaussians per task
}

void ProjectForwardCpu(const ProjectForwardArgs& args) {
  const ProjectionConstants constants = MakeProjectionConstants(args.view, args.options);
  ParallelFor(args.gaussians.n, kGrain, [&](int64_t begin, int64_t end) {
    HWY_DYNAMIC_DISPATCH(ProjectForwardRange)(args, constants, begin, end);
  });
}

void ProjectBackwardRangeCpu(const ProjectBackwardArgs& args, int64_t begin, int64_t end) {
  HWY_DYNAMIC_DISPATCH(ProjectBackwardRange)
  (args, MakeProjectionConstants(args.view, args.options), begin, end);
}

void ProjectBackwardCpu(const ProjectBackwardArgs& args) {
  ParallelFor(args.gaussians.n, kGrain, [&](int64_t begin, int64_t end) {
    ProjectBackwardArgs range = args;
    range.d_means += 3 * begin;
    range.d_quats += 4 * begin;
    range.d_log_scales += 3 * begin;
    range.d_opacity_logits += begin;
    ProjectBackwardRangeCpu(range, begin, end);
  });
}

}  // namespace athanor
#endif
