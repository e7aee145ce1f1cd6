// What tests of CUDA kernels share: memory on the device, and how far results are apart.
#pragma once

#include <cuda_runtime.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <vector>

#include "athanor/base/error.h"
#include "athanor/base/random.h"

namespace athanor {

inline void CheckCall(cudaError_t status) {
  ATHANOR_CHECK(status == cudaSuccess, "CUDA: ", cudaGetErrorString(status));
}

// An array in device memory.
template <typename T>
class DeviceArray {
 public:
  // Filled with bytes 0xff: floats are NaN until a kernel writes them.
  explicit DeviceArray(size_t size) : size_(size) {
    CheckCall(cudaMalloc(reinterpret_cast<void**>(&data_), std::max<size_t>(size, 1) * sizeof(T)));
    CheckCall(cudaMemset(data_, 0xff, std::max<size_t>(size, 1) * sizeof(T)));
  }
  explicit DeviceArray(const std::vector<T>& host) : DeviceArray(host.size()) {
    CheckCall(cudaMemcpy(data_, host.data(), size_ * sizeof(T), cudaMemcpyHostToDevice));
  }
  ~DeviceArray() { cudaFree(data_); }
  DeviceArray(const DeviceArray&) = delete;
  DeviceArray& operator=(const DeviceArray&) = delete;

  T* data() const { return data_; }
  std::vector<T> Host() const {
    std::vector<T> host(size_);
    CheckCall(cudaDeviceSynchronize());
    CheckCall(cudaMemcpy(host.data(), data_, size_ * sizeof(T), cudaMemcpyDeviceToHost));
    return host;
  }

 private:
  T* data_ = nullptr;
  size_t size_;
};

// |found - expected| / |expected|; infinite when something found is not finite.
inline double RelativeError(const std::vector<float>& found, const std::vector<float>& expected) {
  EXPECT_EQ(found.size(), expected.size());
  double difference = 0, norm = 0;
  for (size_t i = 0; i < expected.size(); ++i) {
    if (!std::isfinite(found[i])) return std::numeric_limits<double>::infinity();
    difference += std::pow(double{found[i]} - expected[i], 2);
    norm += std::pow(double{expected[i]}, 2);
  }
  return norm > 0 ? std::sqrt(difference / norm) : std::sqrt(difference);
}

// Share of the values that are farther than `tolerance` from what is expected. A pixel at the very
// threshold of a splat may fall to either side of it.
inline double ShareOff(const std::vector<float>& found, const std::vector<float>& expected,
                       float tolerance) {
  EXPECT_EQ(found.size(), expected.size());
  size_t off = 0;
  for (size_t i = 0; i < expected.size(); ++i) {
    off += !(std::fabs(found[i] - expected[i]) <= tolerance);
  }
  return static_cast<double>(off) / std::max<size_t>(expected.size(), 1);
}

inline std::vector<float> UniformValues(size_t size, uint64_t seed, float low, float high) {
  Random random(seed);
  std::vector<float> values(size);
  for (float& v : values) v = random.Uniform(low, high);
  return values;
}

class CudaTest : public testing::Test {
 protected:
  void SetUp() override {
    int devices = 0;
    if (cudaGetDeviceCount(&devices) != cudaSuccess || devices == 0) GTEST_SKIP() << "no GPU";
  }
};

}  // namespace athanor
