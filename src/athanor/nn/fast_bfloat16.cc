#include "athanor/nn/fast_bfloat16.h"

namespace athanor {

bool HasFastBfloat16(const c10::Device& device) {
  if (device.is_cuda()) return true;
#if defined(__x86_64__)
  static const bool has_avx512 = __builtin_cpu_supports("avx512bw") != 0 &&
                                 __builtin_cpu_supports("avx512vl") != 0 &&
                                 __builtin_cpu_supports("avx512dq") != 0;
  return has_avx512;
#else
  return false;
#endif
}

}  // namespace athanor
