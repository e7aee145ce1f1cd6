// The innermost loops of sparse convolution, chosen once for the processor.
#pragma once

#include <cstdint>

namespace athanor {

// sums[outputs[i]][0..width) += features[inputs[i]] W for a few pairs i.
struct ConvTile {
  const void* features;     // [.,channels]
  const int32_t* inputs;    // [rows]
  const uint16_t* outputs;  // [rows]
  const void* weights;      // packed panel: [channels][width], pairs of channels for bfloat16
  int channels;
  float* sums;  // [.,width], aligned
};

// d_weights[c][0..width) += sum over pairs of features[inputs[i]][c] d_out[i] for a few channels c.
struct WeightTile {
  const float* features;  // at the first of these channels; rows of `stride`
  int64_t stride;
  const int32_t* inputs;  // [pairs]
  int pairs;
  const float* d_out;  // [pairs,width], gathered, aligned
  float* d_weights;    // [channels of the tile][width], aligned
};

// What becomes of the sums of a block of outputs: bias is in them already.
struct ConvEpilogue {
  const float* sums;  // [rows,width]
  int width;
  int64_t rows;
  int channels;          // of the panel that exist
  const void* residual;  // at the first of them; rows of `stride`; may be null
  void* out;
  int64_t stride;
  bool is_bfloat16, relu;
};

inline constexpr int kMaxTileRows = 14;

struct ConvKernels {
  int width;  // channels of a panel
  int rows;   // pairs of a tile at most
  // Entry r - 1 takes r rows.
  void (*float_tiles[kMaxTileRows])(const ConvTile&);
  void (*bfloat16_tiles[kMaxTileRows])(const ConvTile&);
  void (*weight_tiles[kMaxTileRows])(const WeightTile&);
  void (*epilogue)(const ConvEpilogue&);
  void (*to_bfloat16)(const float* in, int64_t n, uint16_t* out);
  bool packs_pairs;  // bfloat16 panels hold bfloat16 [channels/2][width][2], else float32
};

const ConvKernels& GetConvKernels();

// Puts those of processors that multiply bfloat16 in their place; false when this one does not. To
// panels of 32 channels.
bool AddNativeBfloat16(ConvKernels* kernels);

}  // namespace athanor
