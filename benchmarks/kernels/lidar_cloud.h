// The LiDAR cloud of spconv's published benchmark, of 198,130 points, and its voxels of 0.1 m.
#pragma once

#include <vector>

#include "athanor/kernels/voxel_set.h"

namespace athanor {

// [N,3], metres; `stacked`: 8 copies beside each other in y. Where the cloud is not at hand
// (../shared/data/voxel_benchmark): a floor and a wall of random points.
const std::vector<float>& LidarCloud(bool stacked);

// 125,565 of the one cloud.
VoxelSet LidarVoxels(bool stacked);

}  // namespace athanor
