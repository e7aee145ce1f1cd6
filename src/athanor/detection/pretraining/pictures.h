// What pre-training makes of a frame, to look at.
#pragma once

#include "athanor/detection/pretraining/masking.h"
#include "athanor/detection/pretraining/objectives.h"
#include "athanor/detection/profusion3d/bev_grid.h"
#include "athanor/media/image.h"

namespace athanor {

// A sheet of three columns: what the network saw, what it made of it, what was there. A row for
// each camera that is there, and one of all points from above, x to the right and y up, coloured by
// height; what was visible is grey there in the second and the third. Patches that are filled in
// take mean and contrast from the truth, since the network is asked for neither. Parts that
// `outputs` lacks stay hidden.
Image DrawPretraining(const DetectionSample& truth, const MaskedSample& masked,
                      const PretrainOutputs& outputs, const BevGrid& grid);

}  // namespace athanor
