// Which query answers for which true box: the assignment of least cost, and the cost itself.
#pragma once

#include <ATen/core/Tensor.h>

#include <array>
#include <cstdint>
#include <string_view>
#include <vector>

#include "athanor/detection/profusion3d/box_code.h"

namespace athanor {

struct Assignment {
  std::vector<int64_t> column_of_row;  // -1: none, where there are more rows than columns
  double cost = 0;                     // of all pairs
  // The proof that no assignment costs less: for every pair, row potential + column potential <=
  // its cost, equal for those that are assigned; the longer side's potentials are <= 0, and 0 where
  // it is not assigned.
  std::vector<double> row_potential, column_potential;
};

// Pairs min(rows, columns) rows and columns of [rows,columns] costs, each at most once, at the
// least total cost: shortest augmenting paths (Jonker and Volgenant, Computing 38, 1987; for
// rectangles Crouse, IEEE TAES 52, 2016), O(shorter^2 longer). Deterministic: on one thread, and of
// equal choices the lower index. Throws Error that begins with `where` and names the pair when a
// cost is not finite.
Assignment SolveAssignment(const at::Tensor& cost, std::string_view where);

// How much classes and boxes weigh, in the loss and in the matching alike; the defaults are CMT's.
struct DetectionWeights {
  double classes = 2, boxes = 0.25;
  double focal_alpha = 0.25, focal_gamma = 2;
  // Of the numbers of box_code.h.
  std::array<double, kBoxCode> code = {2, 2, 1, 1, 1, 1, 1, 1, 0.2, 0.2};
  double axis = 1;  // ours, in the loss alone (detection_loss.h)
};

// [B,Q] f32: what it costs that a query stands for a box. Classes: the focal loss (Lin et al., ICCV
// 2017) of "this class" less that of "not this class"; boxes: L1 of codes, numbers of the truth
// that are NaN left out. logits [Q,classes], codes [Q,10]; labels [B] i64, true_codes [B,10].
at::Tensor MatchingCost(const at::Tensor& logits, const at::Tensor& codes, const at::Tensor& labels,
                        const at::Tensor& true_codes, const DetectionWeights& weights);

}  // namespace athanor
