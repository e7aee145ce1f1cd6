// Boxes as the decoder's heads and its loss see them: ten numbers, as in CMT (Yan et al., ICCV
// 2023) and PETR (Liu et al., ECCV 2022).
//
//   0 centre x   1 centre y   2 log width   3 log length   4 centre z   5 log height
//   6 sin yaw    7 cos yaw    8 velocity x  9 velocity y
//
// Centres of codes are metres of the ego frame, so the L1 loss weighs them in metres. What is
// normalised is how a head says them: the sigmoid of (inverse sigmoid of its query's anchor + the
// head's number) is the place within the grid's range, 0 at its low corner and 1 at its high one,
// axis by axis. A centre outside of the range cannot be said. Everything differentiable, any
// floating type.
#pragma once

#include <ATen/core/Tensor.h>

#include "athanor/detection/profusion3d/bev_grid.h"

namespace athanor {

inline constexpr int kBoxCode = 10;

// [...,3] metres to 0..1 over the grid's range (beyond, outside of it), and back.
at::Tensor NormalizePoints(const at::Tensor& points_m, const BevGrid& grid);
at::Tensor DenormalizePoints(const at::Tensor& normalized, const BevGrid& grid);

// [B,9], the columns of DetectionSample::boxes, to [B,10]. A velocity that is NaN stays so. Throws
// Error (which box, what it is) for any other number that is not finite and a size that is not
// above 0.
at::Tensor EncodeBoxes(const at::Tensor& boxes);
// [...,10] to [...,9]; yaw in (-pi, pi]. Sine and cosine need not lie on the circle. Sizes stay
// within e^-5 to e^5 m, whatever a head says.
at::Tensor DecodeBoxes(const at::Tensor& code);

// What a head says, [...,10], about queries with these anchors, [...,3] in 0..1, as codes [...,10].
// An offset of 1 leads `unit_m` metres from the anchor, as far as the range goes. (CMT and PETR add
// offsets before a sigmoid over the range: 1 is then a quarter of it in the middle, and little at
// the edges.)
at::Tensor CodeOfHead(const at::Tensor& head, const at::Tensor& anchors, const BevGrid& grid,
                      double unit_m);

}  // namespace athanor
