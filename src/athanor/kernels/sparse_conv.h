// Sparse convolution over a kernel map: out[o] = sum over pairs (i, k) of o of in[i] W[k], and its
// gradients. Graham et al. 2018; Choy et al. 2019.
//
// On the CPU nothing is gathered or scattered in memory: a tile of 14 output rows by 32 channels
// stays in registers, its inputs are read in place, and the sums of a block of outputs stay in
// cache until all offsets are done (implicit GEMM). Same input, same bytes, whatever the threads.
#pragma once

#include <cstdint>

#include "athanor/base/aligned.h"
#include "athanor/kernels/voxel_map.h"

namespace athanor {

enum class ConvPrecision {
  kFloat32,
  kBfloat16,  // features and weights rounded to bfloat16, sums in float32
};

struct WeightLayout {
  int volume;        // K
  int in_channels;   // of the weights as given: [K,in,out]
  int out_channels;  // of the same
  bool transposed;   // used from out to in, as the gradient with respect to inputs does
  bool mirrored;     // offset k takes the weights of K-1-k
  ConvPrecision precision;
};

// Weights in the order in which the kernel of this processor reads them.
class PackedWeights {
 public:
  PackedWeights() = default;
  // weights: [K,in,out], dense.
  PackedWeights(const float* weights, const WeightLayout& layout);

  int volume() const { return volume_; }
  int in_channels() const { return in_channels_; }
  int out_channels() const { return out_channels_; }
  ConvPrecision precision() const { return precision_; }
  // Those of output channels panel * width ..., at offset k.
  const void* Panel(int panel, int k) const {
    return data_.data() + (static_cast<size_t>(panel) * volume_ + k) * panel_bytes_;
  }

 private:
  int volume_ = 0, in_channels_ = 0, out_channels_ = 0;
  ConvPrecision precision_ = ConvPrecision::kFloat32;
  size_t panel_bytes_ = 0;
  AlignedVector<uint8_t> data_;
};

// Features are float32, or bfloat16 (as uint16_t) when the weights are; `residual` is of the type
// of `out`.
struct SparseConvForwardArgs {
  const KernelMap* map;
  const PackedWeights* weights;
  const void* features;  // [num_inputs,in]
  const float* bias;     // [out]; null: 0
  const void* residual;  // [num_outputs,out], added before the ReLU; null: 0
  bool relu;
  bool out_is_bfloat16;
  void* out;  // [num_outputs,out]
};
// Throws Error when map and weights do not fit.
void SparseConvForwardCpu(const SparseConvForwardArgs& args);

struct SparseConvWeightsArgs {
  const KernelMap* map;
  int in_channels, out_channels;
  const float* features;  // [num_inputs,in]
  const float* d_out;     // [num_outputs,out]
  float* d_weights;       // [K,in,out] out, overwritten
};
void SparseConvBackwardWeightsCpu(const SparseConvWeightsArgs& args);

// The gradient with respect to inputs is SparseConvForward over the transposed map with transposed
// weights; a submanifold map is its own transpose with offsets mirrored.

// Whether this processor multiplies bfloat16 by itself. Where it does not, bfloat16 features are
// widened in registers: same rounding of the operands, no more speed.
bool HasBfloat16Dot();

// Rounds to nearest, ties to even; NaN stays NaN.
void ToBfloat16Cpu(const float* in, int64_t n, uint16_t* out);

// CUDA. The map is a table [K,num_outputs] i32 of inputs, -1 = none; all values are float32.
struct SparseConvTableArgs {
  const int32_t* table;
  int64_t num_outputs;
  int volume, in_channels, out_channels;  // of this product: features [.,in] to out [.,out]
  const float* features;
  const float* weights;  // [K,in,out]; transposed: [K,out,in]
  bool transposed;
  float* out;  // [num_outputs,out]
};
void SparseConvForwardCuda(const SparseConvTableArgs& args, void* stream);

struct SparseConvTableWeightsArgs {
  const int32_t* table;
  int64_t num_outputs;
  int volume, in_channels, out_channels;
  const float* features;
  const float* d_out;
  float* d_weights;  // [K,in,out] out, overwritten
};
// Same input, same bytes: no sum is atomic.
void SparseConvBackwardWeightsCuda(const SparseConvTableWeightsArgs& args, void* stream);

}  // namespace athanor
