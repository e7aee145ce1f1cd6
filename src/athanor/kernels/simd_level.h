// Which vector instructions the kernels use on this processor.
#pragma once

#include <string>

namespace athanor {

// The best of those that this build holds and this processor has, as Highway names them: "AVX3",
// "AVX2", "SSE4", "NEON", "EMU128" and so on.
std::string SimdLevelName();

}  // namespace athanor
