// Lists of splats per tile as tensors, on either device. See kernels/tile_binning.h.
#pragma once

#include <ATen/core/Tensor.h>

#include "athanor/kernels/tile_binning.h"

namespace athanor {

struct TileBinTensors {
  TileBinTensors() = default;
  TileBinTensors(TileBinTensors&&) = default;
  TileBinTensors& operator=(TileBinTensors&&) = default;
  // A copy would look into the memory of the original.
  TileBinTensors(const TileBinTensors&) = delete;
  TileBinTensors& operator=(const TileBinTensors&) = delete;

  at::Tensor offsets;  // [tiles+1] i32
  at::Tensor ids;      // [entries] i32
  // What the lists were made for.
  int64_t num_splats = -1;  // -1: nothing yet
  int width_px = 0, height_px = 0;
  TileBins memory;  // of the CPU, kept from call to call; offsets and ids look into it
};

inline constexpr int kMaxSidePx = 1 << 16;

// Throws Error unless both sides are in 1..kMaxSidePx.
void CheckImageSize(int width_px, int height_px);

// splats: [N,8] f32, the fields of Splat. The tensors hold until the next call. Throws Error for
// other tensors and sizes, and where BinTilesCpu does.
void BinTiles(const at::Tensor& splats, int width_px, int height_px, TileBinTensors* bins);

}  // namespace athanor
