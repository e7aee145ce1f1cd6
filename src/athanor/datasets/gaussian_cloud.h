// A scene of 3D Gaussians in memory, as files hold it, and the file formats of the field.
//
// Kerbl et al. 2023, "3D Gaussian Splatting for Real-Time Radiance Field Rendering".
#pragma once

#include <cstdint>
#include <filesystem>
#include <string_view>
#include <vector>

namespace athanor {

// Parameters as the optimiser sees them: scales are logarithms, opacities are logits.
struct GaussianCloud {
  int sh_degree = 0;  // 0..3

  std::vector<float> means;           // [N,3]    world frame
  std::vector<float> quats;           // [N,4]    wxyz, any positive length
  std::vector<float> log_scales;      // [N,3]    natural logarithm of the standard deviation
  std::vector<float> opacity_logits;  // [N]
  std::vector<float> sh;              // [N,3,K]  K = (sh_degree+1)^2; per channel R, G, B: DC first

  int64_t size() const { return static_cast<int64_t>(opacity_logits.size()); }
  int sh_coefficients() const { return (sh_degree + 1) * (sh_degree + 1); }
  void Resize(int64_t n);
  // Throws Error, naming `where`, unless the sizes agree and every value is finite (an opacity
  // logit may be infinite: fully opaque or transparent).
  void Check(std::string_view where) const;
};

enum class GaussianFormat {
  kPly,    // Inria: 62 float properties at SH degree 3
  kSplat,  // antimatter15: 32 bytes per Gaussian, colour without view dependence
  kSpz,    // Niantic SPZ
};

// Reads a scene, telling the format by content: Inria PLY (any SH degree), SuperSplat packed PLY,
// .splat, SPZ (versions 2, 3 and 4), gsplat's test_garden.npz (coloured points). Throws Error.
GaussianCloud ReadGaussians(const std::filesystem::path& path);

// Writes aside and renames. kPly is byte-compatible with Inria's; SPZ is written as version 2,
// which every viewer opens. Throws Error.
void WriteGaussians(const std::filesystem::path& path, const GaussianCloud& cloud,
                    GaussianFormat format);

}  // namespace athanor
