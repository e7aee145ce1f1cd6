// The one table of all miners: a frame is a row, a miner a column.
#pragma once

#include <span>
#include <string>
#include <vector>

#include "athanor/loop/mining/mined_hits.h"

namespace athanor {

// The frames of all lists, each once. Scores of different miners do not compare, places do: the
// first of n hits of a miner counts 1, the last 1 / n, a frame's best hit counts for it, and the
// score of a frame is the sum over miners. `why` says the place in each. A frame keeps the box of
// the miner whose place is best. Best first; equal scores in the order of lists.
std::vector<MinedHit> MergeHits(std::span<const MinedHits> lists);

}  // namespace athanor
