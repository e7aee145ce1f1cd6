// What a car kept, as miners show what they found: a picture for each snippet, with the reason
// under it.
#pragma once

#include <vector>

#include "athanor/loop/mining/mined_hits.h"
#include "athanor/loop/vehicle/vehicle.h"

namespace athanor {

// The frame of most value of each snippet: those that were sent first, in that order, then those
// that are still on the car, with what they wait for. `data`: what was driven. Snippets of logs
// that it does not have are left out.
std::vector<MinedHit> KeptHits(const VehicleReport& report, const MinedData& data);

}  // namespace athanor
