// Scenes in which Gaussians move: the params.npz of Dynamic 3D Gaussians (Luiten et al. 2024,
// JonathonLuiten/Dynamic3DGaussians), and the scene at one of its times.
#pragma once

#include <cstdint>
#include <filesystem>
#include <vector>

#include "athanor/datasets/gaussian_cloud.h"

namespace athanor {

// Sizes and opacities are the same at all times.
struct DynamicGaussians {
  int64_t frames = 0;                  // T >= 1
  std::vector<float> means;            // [T,N,3] world frame
  std::vector<float> quats;            // [T,N,4] wxyz, any positive length
  std::vector<float> colors;           // [T,N,3] sRGB, 0..1
  std::vector<float> log_scales;       // [N,3]
  std::vector<float> opacity_logits;   // [N]
  std::vector<uint8_t> is_foreground;  // [N]; 1 where the file does not say

  int64_t size() const { return static_cast<int64_t>(opacity_logits.size()); }
  // The scene at a time, of SH degree 0. Throws Error unless 0 <= frame < frames.
  GaussianCloud At(int64_t frame) const;
};

// True for an .npz that holds moving Gaussians. Throws Error for a file that cannot be read.
bool IsDynamicGaussians(const std::filesystem::path& path);

// Arrays (float32): means3D [T,N,3], rgb_colors [T,N,3], unnorm_rotations [T,N,4], logit_opacities
// [N,1], log_scales [N,3], and seg_colors [N,3], whose first channel is above 0.5 in the
// foreground. Throws Error (path, array, expectation).
DynamicGaussians ReadDynamicGaussians(const std::filesystem::path& path);
// Written aside and renamed. Throws Error.
void WriteDynamicGaussians(const std::filesystem::path& path, const DynamicGaussians& scene);

}  // namespace athanor
