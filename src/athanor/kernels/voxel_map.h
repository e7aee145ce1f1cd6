// Kernel maps of sparse convolution: which input voxel meets which output voxel under which offset
// of the kernel (Graham et al. 2018, "3D Semantic Segmentation with Submanifold Sparse
// Convolutional Networks"; Choy et al. 2019, "4D Spatio-Temporal ConvNets").
//
// Offsets of a kernel of size s are numbered x before y before z; they run over -(s-1)/2 .. (s-1)/2
// for an odd s and over 0 .. s-1 for an even one. Output voxel o meets input voxel
// o * stride + offset.
#pragma once

#include <cstdint>
#include <vector>

#include "athanor/kernels/voxel_set.h"

namespace athanor {

inline constexpr int kMapBlock = 1024;  // outputs that are worked on together; fits 16 bits
inline constexpr int kMaxKernelSize = 7;

// The pairs of a block of outputs, offset by offset, by rising output: those of offset k are
// starts[k] .. starts[k+1].
struct MapBlock {
  std::vector<int32_t> starts;  // [volume+1]
  std::vector<int32_t> inputs;
  std::vector<uint16_t> outputs;  // less the first of the block
};

struct KernelMap {
  int64_t num_inputs = 0, num_outputs = 0;
  int volume = 1;                // number of offsets
  std::vector<MapBlock> blocks;  // of kMapBlock outputs each, but the last

  int64_t num_pairs() const;
};

// Outputs are the inputs. 1 <= kernel_size <= kMaxKernelSize, odd.
KernelMap SubmanifoldMapCpu(const VoxelSet& voxels, int kernel_size);

// The outputs that meet any input. 1 <= kernel_size <= kMaxKernelSize, stride >= 2.
VoxelSet StridedVoxelsCpu(const VoxelSet& inputs, int kernel_size, int stride);
KernelMap StridedMapCpu(const VoxelSet& inputs, const VoxelSet& outputs, int kernel_size,
                        int stride);

struct StridedMaps {
  VoxelSet outputs;
  KernelMap map, transposed;
};
// The three at once: one pass over the voxels where kernel and stride are 2.
StridedMaps StridedMapsCpu(const VoxelSet& inputs, int kernel_size, int stride);

// Inputs and outputs change places; offsets keep their numbers.
KernelMap TransposeMapCpu(const KernelMap& map);

// Each row by itself: what a 1x1x1 kernel uses.
KernelMap IdentityMap(int64_t rows);

// Throws Error unless kernel size and stride are as StridedMapCpu wants them.
void CheckKernel(int kernel_size, int stride);

}  // namespace athanor
