// The two miners that compare boxes, over a whole data set: what an ensemble does not agree on
// (uncertainty.h), and what a small model does not do as a large one does (undigested.h).
#pragma once

#include <cstdint>
#include <functional>
#include <vector>

#include "athanor/loop/mining/box_source.h"
#include "athanor/loop/mining/digest_book.h"
#include "athanor/loop/mining/mined_hits.h"
#include "athanor/loop/mining/uncertainty.h"
#include "athanor/loop/mining/undigested.h"

namespace athanor {

using MiningProgress = std::function<void(int64_t done, int64_t total)>;

// Best first; of each log the best hit, then the best at least `window_us` from those taken, and so
// on (0: all), until there are `count`.
std::vector<MinedHit> BestHits(std::vector<MinedHit> hits, int64_t window_us, int count);

// Scores of a class times (F / F_c)^exponent: F_c frames have a hit of the class, F one of the
// commonest. 0.5 is the repeat factor of LVIS (Gupta et al., CVPR 2019): where a mean over classes
// is what counts, what is seldom seen is worth more. Hits without a class stay as they are.
void WeighByRarity(double exponent, std::vector<MinedHit>* hits);

struct UncertainFound {
  std::vector<MinedHit> hits;  // one per box that members are not sure of, in no order
  int64_t frames = 0;          // looked at
  // Of each member, against the logs' annotations; none where there are no annotations.
  std::vector<Calibration> calibration;
};
// Frames that a member has no results for are left out. Throws Error for fewer than two members.
UncertainFound MineUncertain(const MinedData& data, const std::vector<BoxSource>& members,
                             const EnsembleMatching& matching = {},
                             const MiningProgress& progress = {});

struct UndigestedOptions {
  DisagreementOptions compare;
  double range_m = 60;         // a box this far away, or further, matters no more
  double agrees_below = 0.25;  // a frame's sum of amounts: less than it counts as agreed
};
struct UndigestedFound {
  std::vector<MinedHit> hits;  // one per disagreement, in no order
  int64_t frames = 0, agreed = 0;
  std::array<int64_t, 4> kinds = {};  // by DisagreementKind
};
// `book`, when given, records each frame as agreed or disagreed, and the amounts are weighed by the
// state that this leaves it in; else `book` is null. Not committed.
UndigestedFound MineUndigested(const MinedData& data, const BoxSource& student,
                               const BoxSource& teacher, const UndigestedOptions& options = {},
                               DigestBook* book = nullptr, const MiningProgress& progress = {});

}  // namespace athanor
