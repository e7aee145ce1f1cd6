// The library that libtorch's matrix products come from: whichever the system has chosen.
#pragma once

#include <string>

namespace athanor {

// Its path, behind the links of the system's alternatives; "inside Torch".
std::string BlasLibrary();

// OpenBLAS: the processor that its kernels are written for, as it calls it ("Haswell"). Else "".
std::string BlasKernels();

// OpenBLAS knows processors by their model, and gives one that is newer than itself the kernels of
// 2004. The kernels that this processor could have instead, as OPENBLAS_CORETYPE takes them when
// the library is loaded; "" when there is nothing to gain.
std::string BetterBlasKernels();

// OpenBLAS has threads of its own, which know nothing of ours or of libtorch's: where cores are
// shared they wait for one another most of the time.
void SetBlasThreads(int threads);

}  // namespace athanor
