// Procedural surface patterns, filtered to the size of a pixel so that they do not alias.
#pragma once

#include <Eigen/Core>
#include <cstdint>

#include "athanor/simulation/mesh.h"

namespace athanor {

// What a pattern makes of a material at a place.
struct PatternSample {
  Eigen::Vector3f color;
  float emission = 0;  // lit windows, on top of the material's
  float mirror = 0;    // panes, on top of the material's
};

// `color` is the material's, or the instance's paint. `width_m`: size of what is seen, metres (or
// units of uv); details smaller than it are averaged. `lit_share`: of the panes of kWindows;
// `seed` varies from instance to instance.
PatternSample EvaluatePattern(const SurfaceMaterial& material, const Eigen::Vector3f& color,
                              const Eigen::Vector3f& position, const Eigen::Vector2f& uv,
                              float width_m, float lit_share, uint32_t seed);

// Smooth noise in 0..1 (mean 0.5) with four octaves, the coarsest one 1 unit long; details below
// `width` are averaged.
float Noise(const Eigen::Vector3f& position, float width);

}  // namespace athanor
