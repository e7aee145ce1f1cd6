// Pictures of what a miner found: one for each hit, for people to agree with or not.
#pragma once

#include <vector>

#include "athanor/loop/mining/mined_hits.h"
#include "athanor/media/image.h"

namespace athanor {

struct ContactSheetOptions {
  int most = 60;         // hits drawn
  int columns = 6;       //
  int cell_width = 300;  // pixels
};

// In the hits' order: around a hit's box, in the camera that sees most of it, with the box drawn
// in; around a region of a picture; of a frame, the camera that looks ahead, or the view from above
// where no picture is at hand; of a damaged picture, what is wrong with it. Below: rank, name,
// class and score, and why. Throws Error when there is no hit.
Image DrawMinedHits(const MinedData& data, const std::vector<MinedHit>& hits,
                    const ContactSheetOptions& options = {});

// Where a box is seen in a camera's picture of a frame.
struct BoxView {
  int sensor = -1;                        // -1: in none
  double x0 = 0, y0 = 0, x1 = 0, y1 = 0;  // pixels, cut at the edges of the picture
};
// In the camera that sees most of it, of those whose picture is at hand.
BoxView BestView(const Log& log, int frame, const Box3& box_in_world);

}  // namespace athanor
