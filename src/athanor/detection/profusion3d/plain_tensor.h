// Tensors made and copied by the calling thread alone: ATen's own loops would start a team of
// threads for each thread of a loader.
#pragma once

#include <ATen/core/Tensor.h>
#include <ATen/ops/empty.h>

#include <cstring>

namespace athanor {

// All bits zero.
inline at::Tensor PlainZeros(at::IntArrayRef sizes, at::ScalarType type) {
  at::Tensor tensor = at::empty(sizes, type);
  std::memset(tensor.data_ptr(), 0, tensor.nbytes());
  return tensor;
}

// Of a contiguous tensor.
inline at::Tensor PlainCopy(const at::Tensor& tensor) {
  TORCH_INTERNAL_ASSERT(tensor.is_contiguous());
  at::Tensor copy = at::empty(tensor.sizes(), tensor.scalar_type());
  std::memcpy(copy.data_ptr(), tensor.data_ptr(), tensor.nbytes());
  return copy;
}

}  // namespace athanor
