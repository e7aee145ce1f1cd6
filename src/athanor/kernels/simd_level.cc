#include "athanor/kernels/simd_level.h"

#include <hwy/highway.h>

namespace athanor {

std::string SimdLevelName() {
  // Better targets have lower bits.
  const int64_t usable = hwy::SupportedTargets() & HWY_TARGETS;
  return hwy::TargetName(usable & -usable);
}

}  // namespace athanor
