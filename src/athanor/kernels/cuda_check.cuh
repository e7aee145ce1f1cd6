// What every CUDA file of the kernels needs on the host: checks that throw, launch sizes, scratch.
#pragma once

#include <cuda_runtime.h>

#include <algorithm>
#include <cstdint>

#include "athanor/base/error.h"

namespace athanor {

// Throws Error when a call of the CUDA runtime did not succeed.
inline void CheckCuda(cudaError_t status, const char* what) {
  ATHANOR_CHECK(status == cudaSuccess, "CUDA: ", what, ": expected success, found ",
                cudaGetErrorName(status), " (", cudaGetErrorString(status), ")");
}

// To be called right after a launch: reports launches that the driver refused. What fails while a
// kernel runs is reported by a later call.
inline void CheckLaunch(const char* kernel) { CheckCuda(cudaGetLastError(), kernel); }

// Number of blocks of `threads` threads that cover n.
inline unsigned BlockCount(int64_t n, int threads) {
  const int64_t blocks = (n + threads - 1) / threads;
  ATHANOR_CHECK(n >= 0 && blocks <= INT32_MAX, "CUDA: expected at most ",
                int64_t{INT32_MAX} * threads, " elements for one launch, found ", n);
  return static_cast<unsigned>(blocks);
}

// Device memory for `count` values (at least one), for the work of one call on one stream.
template <typename T>
class DeviceScratch {
 public:
  DeviceScratch(int64_t count, cudaStream_t stream) : stream_(stream) {
    // By default the pool hands its memory back at every synchronisation, and the next call would
    // wait for the driver to map it again.
    int device = 0;
    cudaMemPool_t pool = nullptr;
    uint64_t keep = UINT64_MAX;
    CheckCuda(cudaGetDevice(&device), "find the current device");
    CheckCuda(cudaDeviceGetDefaultMemPool(&pool, device), "find the memory pool");
    CheckCuda(cudaMemPoolSetAttribute(pool, cudaMemPoolAttrReleaseThreshold, &keep),
              "set up the memory pool");
    CheckCuda(cudaMallocAsync(reinterpret_cast<void**>(&data_),
                              std::max<int64_t>(count, 1) * sizeof(T), stream),
              "allocate scratch memory");
  }
  ~DeviceScratch() { cudaFreeAsync(data_, stream_); }
  DeviceScratch(const DeviceScratch&) = delete;
  DeviceScratch& operator=(const DeviceScratch&) = delete;

  T* data() const { return data_; }

 private:
  T* data_ = nullptr;
  cudaStream_t stream_;
};

}  // namespace athanor
