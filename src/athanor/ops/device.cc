#include "athanor/ops/device.h"

#include <c10/util/Exception.h>

#ifdef ATHANOR_HAS_CUDA
#include <c10/cuda/CUDAFunctions.h>
#endif

namespace athanor {
namespace {

c10::DeviceType other_host = c10::kCPU;

}  // namespace

bool IsHost(const c10::Device& device) {
  return device.is_cpu() || (other_host != c10::kCPU && device.type() == other_host);
}

void TreatAsHost(c10::DeviceType type) { other_host = type; }

c10::Device ParseDevice(std::string_view name) {
  try {
    const c10::Device device{std::string(name)};
    if (device.is_cpu()) return c10::kCPU;  // tensors are on "cpu", never on "cpu:0"
    ATHANOR_CHECK(device.is_cuda(), "device '", name, "': expected cpu, cuda or cuda:N");
#ifdef ATHANOR_HAS_CUDA
    const int count = c10::cuda::device_count();
    ATHANOR_CHECK(count > 0, "device '", name, "': this machine has no usable NVIDIA GPU");
    const int index = device.has_index() ? device.index() : 0;
    ATHANOR_CHECK(index < count, "device '", name, "': this machine has ", count, " GPUs");
    return {c10::kCUDA, static_cast<c10::DeviceIndex>(index)};
#else
    throw Error(StrCat("device '", name, "': this build has no CUDA (ATHANOR_WITH_CUDA is off)"));
#endif
  } catch (const c10::Error&) {
    throw Error(StrCat("device '", name, "': expected cpu, cuda or cuda:N"));
  }
}

void CheckKernelDevice(const c10::Device& device, const char* name) {
#ifdef ATHANOR_HAS_CUDA
  ATHANOR_CHECK(IsHost(device) || device.is_cuda(), name, ": expected device cpu or cuda, found ",
                device);
#else
  ATHANOR_CHECK(IsHost(device), name, ": expected device cpu (ATHANOR_WITH_CUDA is off), found ",
                device);
#endif
}

c10::Device KernelDevice(const at::Tensor& tensor, const char* name) {
  ATHANOR_CHECK(tensor.defined(), name, ": expected a tensor, found none");
  CheckKernelDevice(tensor.device(), name);
  return tensor.device();
}

void CheckTensor(const at::Tensor& tensor, const char* name, at::ScalarType type,
                 const c10::Device& device, std::initializer_list<int64_t> shape) {
  ATHANOR_CHECK(tensor.defined(), name, ": expected a tensor, found none");
  ATHANOR_CHECK(tensor.scalar_type() == type, name, ": expected type ", c10::toString(type),
                ", found ", c10::toString(tensor.scalar_type()));
  ATHANOR_CHECK(tensor.device() == device, name, ": expected device ", device, ", found ",
                tensor.device());
  bool same = tensor.dim() == static_cast<int64_t>(shape.size());
  int axis = 0;
  for (const int64_t size : shape) {
    same = same && (size < 0 || tensor.size(axis) == size);
    ++axis;
  }
  ATHANOR_CHECK(same, name, ": expected shape ", c10::IntArrayRef(shape), " (-1: any), found ",
                tensor.sizes());
  ATHANOR_CHECK(tensor.is_contiguous(), name, ": expected a dense (contiguous) tensor");
}

}  // namespace athanor
