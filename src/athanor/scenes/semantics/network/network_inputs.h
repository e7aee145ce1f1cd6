// What the 3D semantic network sees of a scene: voxels, and features of the Gaussians in them.
// Guo et al. 2024, "Semantic Gaussians" (arXiv 2403.15624), section III-C.
#pragma once

#include <ATen/core/Tensor.h>

#include <string>
#include <vector>

#include "athanor/datasets/gaussian_cloud.h"
#include "athanor/nn/sparse_layers.h"

namespace athanor {

enum class NetworkInput {
  kGaussian,  // 56: opacity logit, 3 x 16 harmonics (DC first, per channel), log-scales, wxyz
  kColor,     // 6: position relative to the middle of the scene, RGB of the base colour
};
// "gaussian", "color". Throws Error for others.
NetworkInput NetworkInputFromName(const std::string& name);
int NumInputChannels(NetworkInput input);

// [N,C] f32. Values are raw, before any activation, as the paper has them; but that quaternions
// have length 1 and w >= 0, so that one rotation is one input, and infinite opacity logits are cut
// at +-20. Harmonics that a scene does not have are 0.
at::Tensor NetworkFeatures(const GaussianCloud& cloud, NetworkInput input);

// Voxels reach this many sides from the origin. Gaussians beyond, the strays that reconstructions
// throw out, are in none.
double VoxelReach(double voxel_size);
// The Gaussians within reach, of means [N,3].
std::vector<int64_t> RowsWithinReach(const float* means, int64_t n, double voxel_size);

struct NetworkSample {
  SparseTensor voxels;  // features are means over the Gaussians of each voxel
  at::Tensor
      voxel_of_gaussian;  // [N] i64: every Gaussian has its voxel's answer; -1 = out of reach
};
// `shift`: whole voxels by which positions are moved; 3 of them.
NetworkSample MakeNetworkSample(const GaussianCloud& cloud, NetworkInput input, double voxel_size,
                                const int* shift);

// The Gaussians of these numbers, in this order.
GaussianCloud SelectGaussians(const GaussianCloud& cloud, const std::vector<int64_t>& rows);

}  // namespace athanor
