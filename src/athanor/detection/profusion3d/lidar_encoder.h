// From points to a bird's-eye-view map: voxels, sparse convolutions, height folded into channels,
// dense convolutions (SECOND, Yan et al. 2018; voxel features are means, as there).
#pragma once

#include <ATen/core/Tensor.h>

#include <array>
#include <memory>
#include <vector>

#include "athanor/detection/profusion3d/bev_grid.h"
#include "athanor/nn/dense_layers.h"
#include "athanor/nn/sparse_layers.h"

namespace athanor {

struct LidarEncoderOptions {
  std::array<float, 3> voxel_m = {0.1f, 0.1f, 0.2f};
  std::vector<int64_t> channels = {16, 32, 64, 64};  // per stage; each but the first halves
  int blocks = 1;        // residual blocks of two convolutions per stage
  int64_t width = 64;    // of the map
  int dense_layers = 2;  // 3x3 convolutions of the map
};

// The voxels of one sample.
struct LidarVoxels {
  SparseTensor
      tensor;        // features [V,5]: mean offset from the voxel's middle in voxels, intensity, dt
  at::Tensor means;  // [V,3] f32: mean position of the points, ego frame
};

class LidarEncoder {
 public:
  // Throws Error unless grid.cell_m is voxel_m x and y times 2^(stages - 1).
  LidarEncoder(const LayerScope& scope, const BevGrid& grid, const LidarEncoderOptions& options);

  // Points outside the grid's range are left out; the same whatever the order of the points but for
  // rounding. points: [N,5] as in DetectionSample, on the CPU. Throws Error for another shape or a
  // number that is not finite.
  LidarVoxels Voxelize(const at::Tensor& points) const;

  // [width,rows,columns]. Zeros before the dense convolutions when there are no voxels.
  at::Tensor Forward(const LidarVoxels& voxels, bool training,
                     ConvPrecision precision = ConvPrecision::kFloat32) const;

 private:
  struct Stage {
    ConvLayer down;  // the first stage's is the stem
    std::vector<std::pair<ConvLayer, ConvLayer>> blocks;
  };
  ConvLayer AddLayer(const LayerScope& scope, const std::string& name, int kernel, int64_t in,
                     int64_t out) const;

  BevGrid grid_;
  LidarEncoderOptions options_;
  std::vector<Stage> stages_;
  int64_t slices_ = 0;  // of height, at the last stage
  Convolution2d fold_;
  std::vector<Convolution2d> dense_;
};

}  // namespace athanor
