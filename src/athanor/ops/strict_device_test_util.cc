#include "athanor/ops/strict_device_test_util.h"

#include <ATen/ATen.h>
#include <ATen/EmptyTensor.h>
#include <ATen/core/dispatch/Dispatcher.h>
#include <ATen/native/TensorShape.h>
#include <c10/core/impl/DeviceGuardImplInterface.h>
#include <torch/library.h>

#include <algorithm>
#include <cstdlib>
#include <utility>
#include <vector>

#include "athanor/base/error.h"
#include "athanor/ops/device.h"

namespace athanor {
namespace {

const c10::Device kDevice(c10::kPrivateUse1, 0);
const c10::DispatchKeySet kKeys(c10::DispatchKey::PrivateUse1);

struct Guard : c10::impl::DeviceGuardImplInterface {
  c10::DeviceType type() const override { return c10::kPrivateUse1; }
  c10::Device exchangeDevice(c10::Device) const override { return kDevice; }
  c10::Device getDevice() const override { return kDevice; }
  void setDevice(c10::Device) const override {}
  void uncheckedSetDevice(c10::Device) const noexcept override {}
  c10::Stream getStream(c10::Device) const noexcept override {
    return c10::Stream(c10::Stream::DEFAULT, kDevice);
  }
  c10::Stream exchangeStream(c10::Stream stream) const noexcept override { return stream; }
  c10::DeviceIndex deviceCount() const noexcept override { return 1; }
};
C10_REGISTER_GUARD_IMPL(PrivateUse1, Guard);

struct HostMemory : c10::Allocator {
  c10::DataPtr allocate(size_t bytes) const override {
    void* memory = std::malloc(std::max<size_t>(1, bytes));
    return {memory, memory, &std::free, kDevice};
  }
  c10::DeleterFnPtr raw_deleter() const override { return &std::free; }
};
HostMemory* Memory() {
  static HostMemory memory;
  return &memory;
}

bool IsOurs(const at::Tensor& x) { return x.defined() && x.device().type() == c10::kPrivateUse1; }

// The same memory as a tensor of the CPU. An empty one can grow.
at::Tensor OnHost(const at::Tensor& x) {
  const at::TensorOptions options = at::TensorOptions(x.scalar_type());
  if (x.numel() == 0) return at::empty(x.sizes(), options);
  return at::from_blob(x.data_ptr(), x.sizes(), x.strides(), options);
}

at::Tensor Empty(at::IntArrayRef sizes, c10::optional<at::ScalarType> type,
                 c10::optional<at::Layout>, c10::optional<at::Device>, c10::optional<bool>,
                 c10::optional<at::MemoryFormat> format) {
  return at::detail::empty_generic(sizes, Memory(), kKeys, type.value_or(at::kFloat), format);
}

at::Tensor EmptyStrided(at::IntArrayRef sizes, at::IntArrayRef strides,
                        c10::optional<at::ScalarType> type, c10::optional<at::Layout>,
                        c10::optional<at::Device>, c10::optional<bool>) {
  return at::detail::empty_strided_generic(sizes, strides, Memory(), kKeys,
                                           type.value_or(at::kFloat));
}

at::Tensor OnDevice(const at::Tensor& x) {
  const at::Tensor result = EmptyStrided(x.sizes(), x.strides(), x.scalar_type(), {}, {}, {});
  if (x.numel() > 0) OnHost(result).copy_(x);
  return result;
}

at::Tensor CopyFrom(const at::Tensor& from, const at::Tensor& to, bool) {
  if (to.numel() > 0) OnHost(to).copy_(OnHost(from));
  return to;
}

at::Tensor Convolution(const at::Tensor& x, const at::Tensor& weight,
                       const c10::optional<at::Tensor>& bias, at::IntArrayRef stride,
                       at::IntArrayRef padding, at::IntArrayRef dilation, bool transposed,
                       at::IntArrayRef output_padding, int64_t groups) {
  ATHANOR_CHECK(IsOurs(x) && IsOurs(weight), "convolution: expected tensors of one device");
  c10::optional<at::Tensor> given;
  if (bias && bias->defined()) given = OnHost(*bias);
  return OnDevice(at::convolution(OnHost(x), OnHost(weight), given, stride, padding, dilation,
                                  transposed, output_padding, groups));
}

std::tuple<at::Tensor, at::Tensor, at::Tensor> ConvolutionBackward(
    const at::Tensor& gradient, const at::Tensor& x, const at::Tensor& weight,
    at::IntArrayRef stride, at::IntArrayRef padding, at::IntArrayRef dilation, bool transposed,
    at::IntArrayRef output_padding, int64_t groups, std::array<bool, 3> mask) {
  const std::vector<int64_t> bias = {weight.size(0)};
  const auto results = at::convolution_backward(OnHost(gradient), OnHost(x), OnHost(weight),
                                                at::OptionalIntArrayRef(bias), stride, padding,
                                                dilation, transposed, output_padding, groups, mask);
  const auto move = [](const at::Tensor& y) { return y.defined() ? OnDevice(y) : y; };
  return {move(std::get<0>(results)), move(std::get<1>(results)), move(std::get<2>(results))};
}

// Every other function: the CPU's, on the same memory.
void OnTheCpu(const c10::OperatorHandle& op, torch::jit::Stack* stack) {
  const std::string name = op.schema().name();
  std::vector<std::pair<at::Tensor, at::Tensor>> pairs;  // of the device, of the host
  const auto lend = [&](const at::Tensor& x) {
    if (!x.defined()) return x;
    if (!IsOurs(x)) {
      // As on a GPU: numbers may come from the host, and indices.
      ATHANOR_CHECK(x.dim() == 0 || name == "aten::index" || name == "aten::index_put_" ||
                        name == "aten::_index_put_impl_",
                    name, ": expected tensors of one device, found one of ", x.device(), ", shape ",
                    StrCat(x.sizes()));
      return x;
    }
    pairs.emplace_back(x, OnHost(x));
    return pairs.back().second;
  };
  const size_t count = op.schema().arguments().size(), base = stack->size() - count;
  for (size_t i = base; i < stack->size(); ++i) {
    c10::IValue& value = (*stack)[i];
    if (value.isTensor()) {
      value = lend(value.toTensor());
    } else if (value.isTensorList()) {
      std::vector<at::Tensor> list;
      for (const at::Tensor& x : value.toTensorVector()) list.push_back(lend(x));
      value = list;
    } else if (value.isOptionalTensorList()) {
      c10::List<c10::optional<at::Tensor>> list;
      for (const c10::optional<at::Tensor>& x : value.toOptionalTensorVector()) {
        list.push_back(x ? c10::optional<at::Tensor>(lend(*x)) : c10::nullopt);
      }
      value = list;
    } else if (value.isDevice()) {
      value = c10::Device(c10::kCPU);
    }
  }
  op.callBoxed(stack);
  const auto take = [&](const at::Tensor& x) {
    if (!x.defined()) return x;
    for (auto& [ours, host] : pairs) {
      if (host.is_same(x)) return ours;
    }
    return OnDevice(x);
  };
  for (auto& [ours, host] : pairs) {
    if (ours.sizes() == host.sizes()) continue;
    const at::Tensor grown = OnDevice(host);
    ours.unsafeGetTensorImpl()->set_storage_keep_dtype(grown.storage());
    ours.unsafeGetTensorImpl()->set_sizes_and_strides(grown.sizes(), grown.strides());
  }
  for (size_t i = stack->size() - op.schema().returns().size(); i < stack->size(); ++i) {
    c10::IValue& value = (*stack)[i];
    if (value.isTensor()) value = take(value.toTensor());
    if (value.isTensorList()) {
      std::vector<at::Tensor> list;
      for (const at::Tensor& x : value.toTensorVector()) list.push_back(take(x));
      value = list;
    }
  }
}

TORCH_LIBRARY_IMPL(aten, PrivateUse1, library) {
  library.impl("empty.memory_format", &Empty);
  library.impl("empty_strided", &EmptyStrided);
  library.impl("_copy_from", &CopyFrom);
  library.impl("as_strided", &at::native::as_strided_tensorimpl);
  library.impl("view", &at::native::view);
  library.impl("_reshape_alias", &at::native::_reshape_alias);
  library.impl("convolution_overrideable", &Convolution);
  library.impl("convolution_backward_overrideable", &ConvolutionBackward);
}

TORCH_LIBRARY_IMPL(_, PrivateUse1, library) {
  library.fallback(torch::CppFunction::makeFromBoxedFunction<&OnTheCpu>());
}

}  // namespace

c10::Device StrictDevice() {
  TreatAsHost(kDevice.type());
  return kDevice;
}

}  // namespace athanor
