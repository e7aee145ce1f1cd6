// The part of lifting that multiplies pairs of bfloat16: for processors with AVX-512 BF16, which
// Highway of Debian 12 does not reach.
#pragma once

#include "athanor/kernels/lift.h"
#include "athanor/kernels/tile_weights.h"

namespace athanor {

// Whether this processor multiplies pairs of bfloat16.
bool HasNativeBfloat16();

// Adds the weights of a band of tiles, [rows,columns], to channels [first, first + count). Tiles
// hold pairs (PairRuns).
void AddChannelsBfloat16(const LiftTilesArgs& args, const TileWeights* tiles, int num_tiles,
                         int columns, int first, int count);

}  // namespace athanor
