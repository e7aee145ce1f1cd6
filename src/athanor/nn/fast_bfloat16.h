// Whether bfloat16 is worth its rounding.
#pragma once

#include <c10/core/Device.h>

namespace athanor {

// CUDA, and CPUs with AVX-512, for which oneDNN has kernels. For other CPUs it falls back to plain
// loops, many times slower than float32.
bool HasFastBfloat16(const c10::Device& device);

}  // namespace athanor
