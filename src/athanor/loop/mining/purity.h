// How pure what was mined is: the share of frames that show a class, over its share in all frames.
#pragma once

#include <cstdint>
#include <set>
#include <string>
#include <vector>

#include "athanor/datasets/log.h"
#include "athanor/loop/mining/mined_hits.h"

namespace athanor {

// Ids of the log's frames in which a true box of the class counts, as the nuScenes benchmark
// counts: its centre nearer than `range_m` to the ego vehicle in the plane, and not known to hold
// no point. `class_index` as in kNuscenesClassNames.
std::set<std::string> FramesWithClass(const Log& log, int class_index, double range_m);

// Of the best `frames` frames of a list.
struct PurityAt {
  int64_t frames = 0, with = 0;
  double share = 0;
  double low = 0, high = 0;  // 95 % interval of the share (Wilson, JASA 1927)
};
struct Purity {
  PurityAt all;                // of the data
  std::vector<PurityAt> best;  // for the counts that were asked for, as far as there are hits
  // How many times as often as in all data.
  double Gain(const PurityAt& at) const;
};

// A frame of several hits counts once, at its best place; one of `without` (ids), as what a miner
// was shown, counts nowhere. `truth`: frames by their ids. Throws Error when none of the hits is in
// `truth`.
Purity MeasurePurity(const MinedData& truth, const std::vector<MinedHit>& hits, int class_index,
                     double range_m, const std::vector<int64_t>& counts,
                     const std::set<std::string>& without = {});

}  // namespace athanor
