// Marks maths that both the C++ and the CUDA compiler build. Kernel maths is always inlined: on the
// CPU it is compiled again for every instruction set that we dispatch to.
#pragma once

#if defined(__CUDACC__)
#define ATHANOR_HOST_DEVICE __host__ __device__ __forceinline__
#else
#define ATHANOR_HOST_DEVICE __attribute__((always_inline)) inline
#endif
