// Scenes as training varies them: turned, mirrored, resized, bent.
#pragma once

#include "athanor/base/random.h"
#include "athanor/datasets/gaussian_cloud.h"

namespace athanor {

struct AugmentOptions {
  bool rotate = true;   // +-pi/64 about x and y, any angle about z
  bool mirror = true;   // x, y: each half of the time
  bool resize = true;   // 0.9 to 1.1
  bool elastic = true;  // smooth noise of 0.4 and 1.6 m on grids of 0.2 and 0.8 m
};
// Moves the scene at random. The elastic part moves positions alone.
void AugmentCloud(const AugmentOptions& options, Random* random, GaussianCloud* cloud);

// Adds smooth noise to positions (Graham et al. 2018): normal numbers on a grid of `spacing`,
// averaged with their neighbours twice per axis, interpolated linearly, times `magnitude`.
void DistortElastically(double spacing, double magnitude, Random* random, GaussianCloud* cloud);

}  // namespace athanor
