#include "athanor/kernels/cuda_check.cuh"
#include "athanor/kernels/project.h"
#include "athanor/kernels/project_math.h"

namespace athanor {
namespace {

constexpr int kThreads = 256;

__device__ GaussianValues LoadGaussian(const GaussianArrays& g, int64_t i) {
  GaussianValues v;
  for (int f = 0; f < 3; ++f) v.mean[f] = g.means[3 * i + f];
  for (int f = 0; f < 4; ++f) v.quat[f] = g.quats[4 * i + f];
  for (int f = 0; f < 3; ++f) v.log_scale[f] = g.log_scales[3 * i + f];
  v.opacity_logit = g.opacity_logits[i];
  return v;
}

__global__ void __launch_bounds__(kThreads)
    ProjectForwardKernel(GaussianArrays gaussians, ProjectionConstants constants, Splat* splats) {
  const int64_t i = int64_t{blockIdx.x} * kThreads + threadIdx.x;
  if (i >= gaussians.n) return;
  splats[i] = MakeSplat(ProjectGaussian(LoadGaussian(gaussians, i), constants), constants);
}

__global__ void __launch_bounds__(kThreads)
    ProjectBackwardKernel(ProjectBackwardArgs args, ProjectionConstants constants) {
  const int64_t i = int64_t{blockIdx.x} * kThreads + threadIdx.x;
  if (i >= args.gaussians.n) return;
  GaussianGradient d = {};
  if (args.splats[i].radius > 0) {
    d = ProjectGaussianBackward(ProjectGaussian(LoadGaussian(args.gaussians, i), constants),
                                constants, args.gradients[i]);
  }
  for (int f = 0; f < 3; ++f) args.d_means[3 * i + f] = d.mean[f];
  for (int f = 0; f < 4; ++f) args.d_quats[4 * i + f] = d.quat[f];
  for (int f = 0; f < 3; ++f) args.d_log_scales[3 * i + f] = d.log_scale[f];
  args.d_opacity_logits[i] = d.opacity_logit;
}

}  // namespace

void ProjectForwardCuda(const ProjectForwardArgs& args, void* stream) {
  if (args.gaussians.n == 0) return;
  ProjectForwardKernel<<<BlockCount(args.gaussians.n, kThreads), kThreads, 0,
                         static_cast<cudaStream_t>(stream)>>>(
      args.gaussians, MakeProjectionConstants(args.view, args.options), args.splats);
  CheckLaunch("project forward");
}

void ProjectBackwardCuda(const ProjectBackwardArgs& args, void* stream) {
  if (args.gaussians.n == 0) return;
  ProjectBackwardKernel<<<BlockCount(args.gaussians.n, kThreads), kThreads, 0,
                          static_cast<cudaStream_t>(stream)>>>(
      args, MakeProjectionConstants(args.view, args.options));
  CheckLaunch("project backward");
}

}  // namespace athanor
