// Queries that learn without a matching: true boxes, moved a little, that are to find back
// (DN-DETR, Li et al., CVPR 2022; for places in the world CMT, Yan et al., ICCV 2023). Training
// only.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>

#include "athanor/base/random.h"
#include "athanor/detection/profusion3d/bev_grid.h"

namespace athanor {

struct DenoisingOptions {
  int groups = 10;            // each with every box once; they do not see one another
  int64_t max_queries = 500;  // with many boxes there are fewer groups, but one at least
  double noise = 1;           // of half the box's size, along its axes
  // A query whose noise, three numbers in -1..1, is longer than this is to find nothing.
  double positive_noise = 0.75;
};

struct DenoisingQueries {
  at::Tensor anchors;   // [D,3] f32 in 0..1
  at::Tensor groups;    // [D] i64
  at::Tensor truth;     // [D] i64: which box
  at::Tensor positive;  // [D] bool
  int64_t size() const { return anchors.defined() ? anchors.size(0) : 0; }
};

// Of [B,9] boxes; none of no boxes.
DenoisingQueries MakeDenoisingQueries(const at::Tensor& boxes, const BevGrid& grid,
                                      const DenoisingOptions& options, Random* random);

// [N,N] bool: which queries see which. `groups` [N] i64, -1 for queries that are matched: these are
// seen by all, the others by their own group.
at::Tensor GroupMask(const at::Tensor& groups);

}  // namespace athanor
