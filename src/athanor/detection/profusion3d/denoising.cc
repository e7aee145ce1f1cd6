#include "athanor/detection/profusion3d/denoising.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>

#include "athanor/base/error.h"
#include "athanor/detection/profusion3d/box_code.h"
#include "athanor/detection/profusion3d/sample.h"

namespace athanor {

DenoisingQueries MakeDenoisingQueries(const at::Tensor& boxes, const BevGrid& grid,
                                      const DenoisingOptions& options, Random* random) {
  ATHANOR_CHECK(boxes.dim() == 2 && boxes.size(1) == kBoxColumns,
                "denoising: expected boxes [B,9], found ", boxes.sizes());
  const int64_t count = boxes.size(0);
  if (count == 0 || options.groups <= 0) return {};
  const int64_t groups =
      std::clamp<int64_t>(options.max_queries / count, 1, int64_t{options.groups});
  const at::Tensor plain = boxes.detach().to(at::kCPU, at::kFloat).contiguous();
  DenoisingQueries queries;
  queries.anchors = at::empty({groups * count, 3}, at::kFloat);
  queries.groups = at::arange(groups, at::kLong).repeat_interleave(count);
  queries.truth = at::arange(count, at::kLong).repeat({groups});
  queries.positive = at::empty({groups * count}, at::kBool);
  auto* centre = queries.anchors.data_ptr<float>();
  auto* positive = queries.positive.data_ptr<bool>();
  for (int64_t i = 0; i < groups * count; ++i, centre += 3) {
    const float* box = plain.data_ptr<float>() + i % count * kBoxColumns;
    float offset[3];
    double length2 = 0;
    for (int axis = 0; axis < 3; ++axis) {
      const float noise = random->Uniform(-1, 1);
      length2 += double{noise} * noise;
      offset[axis] = static_cast<float>(options.noise) * noise * box[3 + axis] / 2;
    }
    const float c = std::cos(box[6]), s = std::sin(box[6]);
    centre[0] = box[0] + c * offset[0] - s * offset[1];
    centre[1] = box[1] + s * offset[0] + c * offset[1];
    centre[2] = box[2] + offset[2];
    positive[i] = std::sqrt(length2) <= options.positive_noise;
  }
  queries.anchors = NormalizePoints(queries.anchors, grid).clamp(0, 1);
  return queries;
}

at::Tensor GroupMask(const at::Tensor& groups) {
  const at::Tensor seen = groups.unsqueeze(0), seer = groups.unsqueeze(1);
  return seen.eq(-1) | seen.eq(seer);
}

}  // namespace athanor
