// A scene of 3D Gaussians in memory, as files hold it, and the file formats of the field.
//
// Kerbl et al. 2023, "3D Gaussian Splatting for Real-Time Radiance Field Rendering".
//
// Axes. A cloud keeps the axes of its file, and every reader and writer here leaves them as they
// are: what is trained from a COLMAP world (y down, z forward at the first cameras, "RDF") is
// written so into PLY, .splat and SPZ alike. SPZ's own documentation names "RUB" (y up) as its
// axes, but the converter of its reference library (ply_to_spz) and those of PlayCanvas and Spark
// turn nothing, and viewers show the same scene upright from either file only when the axes agree
// (nianticlabs/spz issue 84). A scan that comes y up, as phone applications write SPZ, stays y up.
// So positions, rotations and spherical harmonics never need a change of axes here.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string_view>
#include <vector>

namespace athanor {

struct PosedImages;

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
// SPZ (versions 2, 3 and 4; a fourth SH degree is dropped with a warning), gsplat's
// test_garden.npz (coloured points, see ReadGardenViews). A .splat has no mark of its own and is
// told by its extension. Opacities stored in 8 bits stay finite: 0 and 255 become logits of -13.8
// and 13.8. Throws Error naming path, byte or Gaussian, and what was expected.
GaussianCloud ReadGaussians(const std::filesystem::path& path);

// Writes aside and renames. kPly is byte-compatible with Inria's, and exact. kSplat is sorted by
// falling size times opacity, so that a viewer can show it while it loads. SPZ is written as
// version 2, which every viewer opens; among the 24 equal ways to name a Gaussian's axes it takes
// the one that version 2's 8-bit rotations hold best. Throws Error.
void WriteGaussians(const std::filesystem::path& path, const GaussianCloud& cloud,
                    GaussianFormat format);

// The format that a file name asks for: .ply, .splat or .spz, in any case. Throws Error for others.
GaussianFormat GaussianFormatFromPath(const std::filesystem::path& path);

// The cameras of gsplat's test_garden.npz (three views of Mip-NeRF 360's garden, without their
// photographs: names "0", "1", "2" and empty paths) and its coloured points. ReadGaussians turns
// each point into a round Gaussian of its colour, opacity 0.9, whose standard deviation is the root
// of the mean squared distance to its 3 nearest neighbours, at most 4 medians. Throws Error.
PosedImages ReadGardenViews(const std::filesystem::path& path);

}  // namespace athanor
