// Running a kernel where its tensors are.
#pragma once

#include <ATen/core/Tensor.h>
#include <c10/core/Device.h>

#include "athanor/base/error.h"

#ifdef ATHANOR_HAS_CUDA
#include <c10/core/DeviceGuard.h>
#include <c10/cuda/CUDAStream.h>
#endif

namespace athanor {

// "cpu", "cuda" or "cuda:1". Throws Error when this build or this machine lacks the device: never
// falls back to another.
c10::Device ParseDevice(std::string_view name);

// Whether kernels of the CPU can read what lies there.
bool IsHost(const c10::Device& device);
// For tests: from now on memory of such devices is the host's, too (strict_device_test_util.h).
void TreatAsHost(c10::DeviceType type);

// Throws Error for a device where this build runs no kernels; `name` is what is there.
void CheckKernelDevice(const c10::Device& device, const char* name);
// The device of `tensor`, checked. Throws Error for no tensor, too.
c10::Device KernelDevice(const at::Tensor& tensor, const char* name);

// Throws Error unless `tensor` is dense, of this type and device and of this shape (-1: any size).
void CheckTensor(const at::Tensor& tensor, const char* name, at::ScalarType type,
                 const c10::Device& device, std::initializer_list<int64_t> shape);

}  // namespace athanor

// ATHANOR_RUN_KERNEL(device, ProjectForward, args) calls ProjectForwardCpu(args), or
// ProjectForwardCuda(args, stream) on Torch's current stream.
#ifdef ATHANOR_HAS_CUDA
#define ATHANOR_RUN_KERNEL(device, name, args)                                      \
  do {                                                                              \
    if ((device).is_cuda()) {                                                       \
      const c10::DeviceGuard guard(device);                                         \
      name##Cuda(args, c10::cuda::getCurrentCUDAStream((device).index()).stream()); \
    } else {                                                                        \
      name##Cpu(args);                                                              \
    }                                                                               \
  } while (false)
#else
#define ATHANOR_RUN_KERNEL(device, name, args) name##Cpu(args)
#endif
