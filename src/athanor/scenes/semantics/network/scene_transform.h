// Moves a whole scene of Gaussians, appearance and all: positions, rotations, sizes and the view-
// dependent colour. A picture of the moved scene from the moved camera is the picture of the scene.
#pragma once

#include <Eigen/Core>

#include "athanor/base/random.h"
#include "athanor/datasets/gaussian_cloud.h"

namespace athanor {

// Every point x becomes scale * q * x, q orthogonal: a rotation, or a rotation and a mirror. Throws
// Error when q is not, or scale is not above 0.
void TransformCloud(const Eigen::Matrix3d& q, double scale, GaussianCloud* cloud);

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
