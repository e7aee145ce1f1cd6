// Sparse convolution on tensors, with gradients. The maths is that of kernels/sparse_conv.h; here
// are checks, autograd and the maps, which are built once and shared by all layers that use them.
#pragma once

#include <ATen/core/Tensor.h>

#include <map>
#include <memory>
#include <utility>

#include "athanor/kernels/sparse_conv.h"

namespace athanor {

// A kernel map and the same with inputs and outputs exchanged.
struct ConvMap {
  std::shared_ptr<const KernelMap> map;
  // Null for a submanifold map, which is its own with offsets mirrored.
  std::shared_ptr<const KernelMap> transposed;

  // From coarse voxels back to fine ones: what a transposed convolution goes by.
  ConvMap Inverse() const { return {transposed, map}; }
};

// The voxels of one resolution and what was built for them. Not thread-safe.
class VoxelGrid {
 public:
  explicit VoxelGrid(VoxelSet voxels) : voxels_(std::move(voxels)) {}

  const VoxelSet& voxels() const { return voxels_; }
  int64_t size() const { return voxels_.size(); }
  // Each is built at the first call and kept. Throws Error as CheckKernel does.
  const ConvMap& Submanifold(int kernel_size);
  struct Strided {
    std::shared_ptr<VoxelGrid> grid;  // of the outputs
    ConvMap map;
  };
  const Strided& Down(int kernel_size, int stride);

 private:
  VoxelSet voxels_;
  std::map<int, ConvMap> submanifold_;
  std::map<std::pair<int, int>, Strided> strided_;
};

struct VoxelizedPoints {
  std::shared_ptr<VoxelGrid> grid;
  at::Tensor voxel_of_point;  // [N] i64
  VoxelMembers members;
};
// points [N,3] f32, batch [N] i32 (undefined: all 0), on the CPU. Throws Error as Voxelize does.
VoxelizedPoints VoxelizePoints(const at::Tensor& points, const at::Tensor& batch,
                               double voxel_size);
// The mean of features [N,C] over the points of each voxel: [V,C]. Has no gradient.
at::Tensor VoxelMeans(const VoxelizedPoints& points, const at::Tensor& features);

// out[o] = sum over pairs (i, k) of o of features[i] weights[k]: [num_outputs,out] f32,
// differentiable in features [num_inputs,in] and weights [K,in,out]. With kBfloat16 both are
// rounded, forward and in the gradient with respect to features; that of the weights is float32.
// On CUDA everything is float32. Throws Error for other shapes and types.
at::Tensor SparseConv(const at::Tensor& features, const at::Tensor& weights, const ConvMap& map,
                      ConvPrecision precision = ConvPrecision::kFloat32);

// One layer of inference: convolution, bias, residual, ReLU in one pass. On the CPU only.
struct FusedConv {
  const PackedWeights* weights;
  at::Tensor bias;      // [out] f32; undefined: 0
  at::Tensor residual;  // [num_outputs,out] of type `out`; undefined: 0
  bool relu = false;
  at::ScalarType out = at::kFloat;  // or at::kBFloat16
};
// features [num_inputs,in], float32 or bfloat16 as the precision of the weights is.
at::Tensor SparseConvFused(const at::Tensor& features, const KernelMap& map, const FusedConv& conv);

}  // namespace athanor
